"""fhirpathpy as the oracle: the same question in the dialect it understands.

It takes `x as T` for single items only, where R4's search expressions mean `ofType`; it knows a root by the
resource's own type only; and it has no `hasValue`, no `htmlChecks` and, without a server, no `resolve`.
"""

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import fhirpathpy
from fhirpathpy.models import models

from mappings.fhir.codec import Json, encode

UNKNOWN = re.compile(r"resolve\(|htmlChecks\(|hasValue\(|descendants\(\)\.as|where\(as\(")


@cache
def compiled(expression: str) -> Callable[[Any, Any], list[Any]]:
    asked: Callable[[Any, Any], list[Any]] = fhirpathpy.compile(expression, models["r4"])
    return asked


def translated(expression: str, type_: str) -> str | None:
    """The expression as the oracle reads it; None where it cannot answer."""
    if UNKNOWN.search(expression):
        return None
    text = re.sub(r"\.trace\('[a-z]+'(, id)?\)", "", expression)
    text = re.sub(r"\b(?:Domain)?Resource\.", f"{type_}.", text)
    text = re.sub(r"\(([A-Za-z.]+) as ([A-Za-z]+)\)", r"\1.ofType(\2)", text)
    return re.sub(r"\.as\(([A-Za-z]+)\)", r".ofType(\1)", text)


def ask(expression: str, resource: Json) -> list[str]:
    """The oracle's answer, as sorted texts."""
    plain = json.loads(encode(resource))
    return canonical(compiled(expression)(plain, {"resource": plain}))


def canonical(values: list[Any]) -> list[str]:
    """Values as texts that are equal for equal values, whatever each side takes its numbers for."""
    return sorted(json.dumps(json.loads(encode(value)), sort_keys=True) for value in values)
