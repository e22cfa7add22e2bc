"""The order of found resources.

Source: FHIR R4 search.html §3.1.1.5.2: ascending by the least value of a parameter, descending by the greatest; we
put what has no value last both ways.
"""

from collections.abc import Callable
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


def sort_key(type_: str, sorts: tuple[Sort, ...], zone: tzinfo) -> Callable[[Json], tuple[Any, ...]]:
    """The key function for `sorted`; resources that are equal in it keep their order."""
    only = frozenset(sort.code for sort in sorts)

    def key(resource: Json) -> tuple[Any, ...]:
        found = extract(type_, resource, only)
        return tuple(_part(found.get(sort.code, ()), sort.descending, zone) for sort in sorts)

    return key


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
            return (normalise(text), text)
        case TokenValue(code=code):
            return code
        case NumberValue(low=low, high=high):
            return (_INFINITY if high is None else high) if descending else (-_INFINITY if low is None else low)
        case _:
            return None
