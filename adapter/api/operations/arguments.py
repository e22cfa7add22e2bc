"""What an operation is asked: its parameters, from the URL and from a Parameters body.

Names, types and how often one may stand come from the standard's definition (`schema().operations`). A primitive stands
in the URL or in the body, anything else in the body. What the definition does not know, or we do not serve, is refused:
an answer to another question than the one asked would look like an answer.

Source: FHIR R4 §3.2.0.1.1 (executing an operation), parameters.html.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from adapter.api.body import resource_body
from adapter.api.call import Call
from adapter.api.parameters import EVERYWHERE
from adapter.errors import BadRequest
from mappings.fhir.codec import Json
from mappings.fhir.primitives import PRIMITIVES
from mappings.fhir.schema import Operation, OperationParameter

BOOLEANS = {"true": True, "false": False}
# a parameter that is declared with one of these may be given as any of them: clients do not agree on what a URL is
_TEXTS = frozenset({"string", "uri", "url", "canonical", "code", "id"})


@dataclass(frozen=True, slots=True)
class Arguments:
    """The values by parameter, in the order given: text, bool, int, or the object of a complex one."""

    values: dict[str, list[Any]]

    def one(self, name: str) -> Any | None:
        found = self.values.get(name)
        return found[0] if found else None

    def all(self, name: str) -> list[Any]:
        return self.values.get(name, [])


async def arguments(call: Call, asked: Operation, served: frozenset[str]) -> Arguments:
    """Those of this request. Raises BadRequest for one that is unknown, not served, given twice or no such value."""
    body = await resource_body(call) if call.method == "POST" and call.header(b"content-type") else None
    if body is not None and body.get("resourceType") != "Parameters":
        raise BadRequest("the body is no Parameters", code="parameter", expression="resourceType")
    return read(asked, served, call, body)


def read(asked: Operation, served: frozenset[str], call: Call, body: Json | None) -> Arguments:
    """The same, of a body that is read already."""
    known = {one.name: one for one in asked.parameters if one.use == "in" and one.name in served}
    values: dict[str, list[Any]] = {}
    for name, value, place in [*_from_url(call, known), *_from_body(body, known)]:
        found = values.setdefault(name, [])
        if found and known[name].max == "1":
            raise _refused(place, "stands more than once")
        found.append(value)
    return Arguments(values)


def _from_url(call: Call, known: dict[str, OperationParameter]) -> Iterator[tuple[str, Any, str]]:
    for name, text in call.pairs:
        if name in EVERYWHERE:
            continue
        kind = _known(known, name, "").type or ""
        if kind not in PRIMITIVES:
            raise _refused("", "stands in a Parameters body, not in the URL")
        yield name, _primitive(kind, _read(kind, text), ""), ""


def _read(kind: str, text: str) -> bool | int | str | None:
    """A value as the URL has it: there a number is a text, and a bare + a blank."""
    match kind:
        case "boolean":
            return BOOLEANS.get(text)
        case "integer" if text.isascii() and text.isdigit() and len(text) < 10:
            return int(text)
        case "instant" | "dateTime":
            return text.replace(" ", "+")
    return text


def _from_body(body: Json | None, known: dict[str, OperationParameter]) -> Iterator[tuple[str, Any, str]]:
    rows = body.get("parameter", []) if body else []
    if not isinstance(rows, list):
        raise _refused("Parameters.parameter", "is not a list")
    for index, row in enumerate(rows):
        place = f"Parameters.parameter[{index}]"
        if not isinstance(row, dict) or not isinstance(row.get("name"), str):
            raise _refused(place, "has no name")
        asked = _known(known, row["name"], place)
        yield row["name"], _value(row, asked.type or "", place), place


def _value(row: Json, kind: str, place: str) -> Any:
    if kind[:1].isupper() and "resource" in row:
        if not isinstance(row["resource"], dict):
            raise _refused(f"{place}.resource", "is not a resource")
        return row["resource"]
    named = [name for name in row if name.startswith("value")]
    if len(named) != 1:
        raise _refused(place, "has no value, or several")
    said, value = named[0].removeprefix("value"), row[named[0]]
    kinds = _TEXTS if kind in _TEXTS else {kind}
    if said not in {one[:1].upper() + one[1:] for one in kinds}:
        raise _refused(f"{place}.value", "is of another type than the operation's definition has")
    if kind in PRIMITIVES:
        return _primitive(kind, value, f"{place}.value")
    if not isinstance(value, dict):
        raise _refused(f"{place}.value", "is not an object")
    return value


def _primitive(kind: str, value: Any, place: str) -> Any:
    if not PRIMITIVES[kind](value):
        raise _refused(place, f"is not {kind}")
    return value


def _known(known: dict[str, OperationParameter], name: str, place: str) -> OperationParameter:
    if name not in known:
        where = f"{place}.name" if place else ""
        text = "a parameter of the operation is not known here"
        raise BadRequest(text, code="parameter", issue="not-supported", expression=where)
    return known[name]


def _refused(place: str, text: str) -> BadRequest:
    return BadRequest(f"a parameter of the operation {text}", code="parameter", issue="value", expression=place)
