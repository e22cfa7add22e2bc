"""fhirpathpy as the oracle: the same question in the dialect it understands.

It takes `x as T` for single items only, where R4's search expressions mean `ofType`; it knows a root by the
resource's own type only; and it has no `hasValue`, no `htmlChecks` and, without a server, no `resolve`. `verdict` asks
it a constraint of any node: there `hasValue` and a `resolve` that knows types are lent to it.
"""

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import fhirpathpy
import fhirpathpy.engine.nodes
import fhirpathpy.parser
from fhirpathpy.models import models

from mappings.fhir.codec import Json, encode
from mappings.fhir.fhirpath import Env
from mappings.fhir.fhirpath_env import resolved
from mappings.fhir.invariants import Asked

# It has no types for these.
_parse: Callable[[str], Any] = fhirpathpy.parser.parse
_run: Callable[..., list[Any]] = fhirpathpy.apply_parsed_path
_node: Callable[[Any, str], Any] = fhirpathpy.engine.nodes.ResourceNode.create_node

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


NO_VERDICT = {"rng-2"}  # it cannot order Quantities


def _has_value(items: list[Any]) -> list[bool]:
    values = [getattr(item, "data", item) for item in items]
    return [len(values) == 1 and values[0] is not None and not isinstance(values[0], dict | list)]


def verdict(one: Asked) -> bool | None:
    """The truth of a constraint at its node, by the oracle."""
    kind, value, _ = one.node
    resource = _plain(one.where.resource)
    focus = resource if value is one.where.resource else _node(_plain(value), kind)

    def resolve(items: list[Any]) -> list[Any]:
        found = (resolved(getattr(item, "data", item), Env(*one.where)) for item in items)
        return [_node({"resourceType": node[0], **node[1]}, node[0]) for node in found if node]

    lent = {"hasValue": _has_value, "resolve": resolve, "htmlChecks": lambda items: [True]}
    options = {"userInvocationTable": {name: {"fn": run, "arity": {0: []}} for name, run in lent.items()}}
    variables = {"resource": resource, "rootResource": _plain(one.where.root)}
    answer = _run(focus, _tree(one.rule.expression), variables, models["r4"], options)
    assert len(answer) < 2
    return (answer[0] if isinstance(answer[0], bool) else True) if answer else None


@cache
def _tree(expression: str) -> Any:
    text = re.sub(r"\.trace\('[a-z]+'(, id)?\)", "", expression)
    text = re.sub(r"\(([A-Za-z.]+) as ([A-Za-z]+)\)", r"\1.ofType(\2)", text)
    return _parse(re.sub(r"\.as\(([A-Za-z]+)\)", r".ofType(\1)", text))


def _plain(value: Any) -> Any:
    return json.loads(encode(value))


def canonical(values: list[Any]) -> list[str]:
    """Values as texts that are equal for equal values, whatever each side takes its numbers for."""
    return sorted(json.dumps(json.loads(encode(value)), sort_keys=True) for value in values)
