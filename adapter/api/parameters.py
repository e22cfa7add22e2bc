"""What a path and its parameters may say: types, ids, version numbers, `_count`, and the parameters of plain reads.

Source: FHIR R4 §2.24.0 (id, instant), §3.1.0 (URLs); fhir chapter §4 (an unknown parameter is refused, never ignored),
§10.
"""

import re
from datetime import UTC, datetime

from adapter.api.call import Call, Pairs
from adapter.errors import BadRequest, NotFound
from mappings.fhir import temporal
from mappings.fhir.primitives import is_instant
from mappings.fhir.schema import schema

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
VERSION = re.compile(r"[1-9][0-9]{0,8}")
DEFAULT_COUNT, MAX_COUNT = 50, 1000  # fhir chapter §10
EPOCH = temporal.instant(datetime(1970, 1, 1, tzinfo=UTC))

EVERYWHERE = frozenset({"_format", "_pretty"})


def resource_type(call: Call, name: str = "type") -> str:
    """The type in the path. Raises NotFound for what is no resource type of R4."""
    kind = call.params[name]
    if kind not in schema().resource_types:
        raise NotFound("there is no such resource type", code="type-unknown", issue="not-supported")
    return kind


def resource_id(call: Call, name: str = "id") -> str:
    """The id in the path. Raises BadRequest for what no id can be."""
    logical_id = call.params[name]
    if not ID.fullmatch(logical_id):
        raise BadRequest("the id in the path is not a FHIR id", code="id", issue="value")
    return logical_id


def version_number(call: Call) -> int:
    """The version in the path. Raises NotFound: a version we never give is one that never was."""
    text = call.params["version"]
    if not VERSION.fullmatch(text):
        raise NotFound("there is no such resource here")
    return int(text)


def check_read_parameters(pairs: Pairs, known: frozenset[str] = frozenset()) -> None:
    """Raises BadRequest for a parameter that this interaction does not know."""
    for name, _ in pairs:
        if name not in EVERYWHERE and name not in known:
            raise unknown_parameter()


def unknown_parameter() -> BadRequest:
    return BadRequest("a parameter is not known here", code="parameter", issue="not-supported")


def one(pairs: Pairs, name: str) -> str | None:
    """The value of a parameter that may stand once. Raises BadRequest for a second one."""
    found = [value for key, value in pairs if key == name]
    if len(found) > 1:
        raise BadRequest(f"{name} stands more than once", code="parameter")
    return found[0] if found else None


def count(pairs: Pairs) -> int:
    """`_count`: 50 where it is not given, at most 1,000, 0 counts only."""
    text = one(pairs, "_count")
    if text is None:
        return DEFAULT_COUNT
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise BadRequest("_count is not a number", code="parameter", issue="value")
    return min(int(text), MAX_COUNT)


def instant(text: str) -> int:
    """A FHIR instant, as `_since` takes it, in milliseconds. Raises BadRequest for another form of a time."""
    text = text.replace(" ", "+")  # a bare + in a query arrives as a blank
    if not is_instant(text):
        raise BadRequest("_since is not an instant", code="parameter", issue="value")
    return (temporal.interval(text, UTC).start - EPOCH) // 1_000_000
