"""What another implementation of FHIR thinks of a resource: `fhir.resources`, asked at `$validate` only.

It reads R4B, which dropped some types of R4 and made some elements mandatory, and it looks at no constraint and no
narrative. So its faults are told for information, and where our own layers found none. A fault names the place and its
kind, never a value.
"""

import re
from collections.abc import Iterable

from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from adapter.errors import IssueItem
from mappings.fhir.codec import Json, encode

MAX_FAULTS = 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_KIND = re.compile(r"[a-z_]{1,64}")


def second_opinion(resource: Json) -> tuple[IssueItem, ...]:
    """The faults that it finds, for information; none for a type that it does not know."""
    kind = str(resource["resourceType"])
    try:
        model = get_fhir_model_class(kind)
    except (KeyError, LookupError, ValueError):
        return ()
    try:
        model.model_validate_json(encode(resource))
    except ValidationError as exc:
        faults = exc.errors(include_input=False, include_url=False, include_context=False)
        return tuple(_issue(kind, fault["loc"], fault["type"]) for fault in faults[:MAX_FAULTS])
    return ()


def _issue(kind: str, place: Iterable[int | str], said: str) -> IssueItem:
    path = kind + "".join(_segment(step) for step in place)
    named = said if _KIND.fullmatch(said) else "fault"
    return IssueItem("informational", path, f"fhir.resources, which reads R4B, refuses this ({named})", "information")


def _segment(step: int | str) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _NAME.fullmatch(step) else ""
