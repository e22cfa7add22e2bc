"""Periods that end before they begin: FHIR has no such (per-1), clocks of two systems write them every day.

The start stands; the end's text stays beside it as it was read, so that nothing is lost, and the issue
`contradiction` says so. Ends that another field or segment gave are compared once all is made (`straighten`), ends of
one field where it is read (`timing.period`). Times of unlike precision that may meet are left as they are.
Source: FHIR R4 datatypes, Period; design chapter HL7 v2 §8.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from mappings.fhir import temporal, values
from mappings.fhir.schema import schema
from mappings.hl7v2.issues import issue
from mappings.hl7v2.place import Place

Json = dict[str, Any]
Bound = tuple[str | None, list[Json]] | None

_WHOLE = len("2025-01-01T00:00:00")  # times of one length and one offset are in the order of their texts


def reversed_(start: str, end: str) -> bool:
    """Whether the second time lies before the first, beyond doubt."""
    if len(start) == len(end) and start[_WHOLE:] == end[_WHOLE:]:
        return end < start
    return temporal.compare(start, end) == 1


def straighten(assembly: Any) -> None:
    """Every Period that rows have put together."""
    for builder in assembly.made:
        places = _places(builder.type)
        for name in places.keys() & builder.body.keys():
            for period in _periods(builder.body[name], places[name]):
                if _straightened(period):
                    assembly.issues.append(issue("contradiction", _place(builder)))


def _straightened(period: Json) -> bool:
    """Takes the end out of a Period that ends before it begins."""
    start, end = period.get("start"), period.get("end")
    if start is None or end is None or not reversed_(start, end):
        return False
    del period["end"]
    if "_end" not in period:
        values.put(period, "end", None, values.lexeme(end))
    return True


def _place(builder: Any) -> Place:
    """The segment that states the resource."""
    return Place(builder.segment.name, builder.segment.nth) if builder.segment is not None else Place("MSH", 1)


@cache
def _places(kind: str) -> Mapping[str, frozenset[str]]:
    """The members of a resource that are Periods (no names), or hold them under these names."""
    found = {}
    for element in schema().children(kind).values():
        for name, child in element.names.items():
            if child == "Period":
                found[name] = frozenset[str]()
            elif "." in child and (within := _within(child)):
                found[name] = within
    return found


def _within(path: str) -> frozenset[str]:
    names = (one for element in schema().children(path).values() for one in element.names.items())
    return frozenset(name for name, child in names if child == "Period")


def _periods(value: Any, names: frozenset[str]) -> list[Json]:
    """The Periods of one member."""
    items = value if isinstance(value, list) else [value]
    if not names:
        return items
    return [item[name] for item in items for name in names & item.keys()]
