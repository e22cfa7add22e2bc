"""The order of found resources.

Source: FHIR R4 search.html §3.1.1.5.2: ascending by the least value of a parameter, descending by the greatest; we
put what has no value last both ways.

A key can be written down (`spelled`) and read again (`place`), for whoever has to go on behind a resource later. Texts
are compared by their first LONGEST characters, so that what is written down stays short.
"""

from collections.abc import Callable, Sequence
from datetime import tzinfo
from decimal import Decimal
from functools import total_ordering
from typing import Any, Final

from mappings.fhir.codec import Json
from mappings.fhir.search_match import said_interval
from mappings.fhir.search_plan import extract
from mappings.fhir.search_results import Sort
from mappings.fhir.search_text import normalise
from mappings.fhir.search_values import DateValue, NumberValue, StringValue, TokenValue, Value

_INFINITY: Final = Decimal("Infinity")
LONGEST: Final = 100

Key = tuple[Any, ...]


@total_ordering
class Descending:
    """A key that orders the other way round."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descending) and bool(self.key == other.key)

    def __lt__(self, other: "Descending") -> bool:
        return bool(other.key < self.key)


def sort_key(type_: str, sorts: tuple[Sort, ...], zone: tzinfo) -> Callable[[Json], Key]:
    """The key function for `sorted`; resources that are equal in it keep their order."""
    only = frozenset(sort.code for sort in sorts)

    def key(resource: Json) -> Key:
        found = extract(type_, resource, only)
        return tuple(_part(found.get(sort.code, ()), sort.descending, zone) for sort in sorts)

    return key


def spelled(key: Key) -> tuple[str, ...]:
    """A key as texts, one for each sort; "" for what has no value."""
    return tuple("" if absent else _spelled(part.key if isinstance(part, Descending) else part) for absent, part in key)


def place(texts: Sequence[str], sorts: tuple[Sort, ...]) -> Key:
    """The key that was spelled so."""
    return tuple(
        (False, Descending(_read(text)) if sort.descending else _read(text)) if text else (True, 0)
        for text, sort in zip(texts, sorts, strict=True)
    )


def _spelled(part: Any) -> str:
    match part:
        case int():
            return f"d{part}"
        case Decimal():
            return f"n{part}"
        case (_, text):
            return f"s{text}"
        case _:
            return f"t{part}"


def _read(text: str) -> Any:
    kind, value = text[0], text[1:]
    match kind:
        case "d":
            return int(value)
        case "n":
            return Decimal(value)
        case "s":
            return _of_text(value)
        case _:
            return value


def _part(values: tuple[Value, ...], descending: bool, zone: tzinfo) -> tuple[bool, Any]:
    keys = [key for value in values if (key := _of_value(value, descending, zone)) is not None]
    if not keys:
        return (True, 0)
    return (False, Descending(max(keys)) if descending else min(keys))


def _of_value(value: Value, descending: bool, zone: tzinfo) -> Any:
    """A period counts by its start, from the back by its end."""
    match value:
        case DateValue():
            span = said_interval(value, zone)
            return span.end if descending else span.start
        case StringValue(text=text):
            return _of_text(text)
        case TokenValue(code=code):
            return code if code is None else code[:LONGEST]
        case NumberValue(low=low, high=high):
            return (_INFINITY if high is None else high) if descending else (-_INFINITY if low is None else low)
        case _:
            return None


def _of_text(text: str) -> tuple[str, str]:
    short = text[:LONGEST]
    return (normalise(short), short)
