"""What FHIRPath sees of a resource: typed nodes, their children, equality and order.

A node is a plain tuple (type, value, sibling), because thousands are made for each resource. `type` is the schema's:
a datatype, a resource type, or the path of an element that has children of its own (`Observation.component`). `value`
is decoded JSON. `sibling` is the `_x` member beside a primitive; a primitive with extensions only has the value None.
System types and FHIR's primitives are one (`is Boolean` asks for `boolean`), as R4's own constraints use them.
Source: FHIR R4 fhirpath.html; FHIRPath N1 §6 (equality, comparison), §10 (types).
"""

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from functools import cache
from itertools import zip_longest
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from mappings.fhir import temporal
from mappings.fhir.codec import Json, decimal
from mappings.fhir.fhirpath_syntax import FhirpathError
from mappings.fhir.schema import schema

Node: TypeAlias = tuple[str, Any, Any]
Nodes: TypeAlias = list[Node]

TRUE: Final[Node] = ("boolean", True, None)
FALSE: Final[Node] = ("boolean", False, None)

DATES: Final = frozenset({"date", "dateTime", "instant"})
_SYSTEM: Final = {
    "Boolean": "boolean",
    "String": "string",
    "Integer": "integer",
    "Decimal": "decimal",
    "Date": "date",
    "DateTime": "dateTime",
    "Time": "time",
}
_NUMBERS: Final = (int, Decimal, msgspec.Raw)


class Getter(NamedTuple):
    """Where the JSON of one type holds a child: its member, the `_` member of a primitive ("" else), the child's
    type.
    """

    key: str
    sibling: str
    type: str


def resource_node(value: Json) -> Node:
    """A whole resource; one that names no type of R4 has no children we know."""
    type_ = value.get("resourceType")
    return (type_ if isinstance(type_, str) and type_ in schema().resource_types else "", value, None)


def boolean(value: bool | None) -> Nodes:
    """A truth as a collection; unknown is the empty one."""
    return [] if value is None else [TRUE if value else FALSE]


def type_name(name: str) -> str:
    """The one name of a type in `is`, `as` and `ofType`. Raises FhirpathError for a name that is none."""
    known = _SYSTEM.get(name, name)
    if known not in schema().types:
        raise FhirpathError("not a type of R4")
    return known


@cache
def is_type(type_: str, wanted: str) -> bool:
    """Whether a node of the one type is of the other, or of a type derived from it."""
    known = schema()
    return known.is_a(type_ if type_ in known.types or not type_ else "BackboneElement", wanted)


_KNOWN: Final[dict[str, dict[str, tuple[Getter, ...]]]] = {}


def member(name: str) -> Callable[[Iterable[Node]], Nodes]:
    """The step to the children of one name; which members of the JSON these are is looked up once a type."""
    known = _KNOWN.setdefault(name, {})

    def step(items: Iterable[Node]) -> Nodes:
        found: Nodes = []
        for type_, value, sibling in items:
            getters = known.get(type_)
            if getters is None:
                getters = known[type_] = _getters(type_, name)
            for getter in getters:
                _collect(getter, value if type(value) is dict else sibling or {}, found)
        return found

    return step


def children(items: Iterable[Node]) -> Nodes:
    """All children, in the standard's order of elements."""
    found: Nodes = []
    for type_, value, sibling in items:
        holder = value if type(value) is dict else sibling or {}
        for getter in _all_getters(type_):
            _collect(getter, holder, found)
    return found


def descendants(items: Iterable[Node]) -> Nodes:
    """Children, their children and so on, level by level; the items themselves are not among them."""
    found: Nodes = []
    level = children(items)
    while level:
        found += level
        level = children(level)
    return found


def has_value(node: Node) -> bool:
    """A primitive that says more than an extension does."""
    return node[1] is not None and type(node[1]) is not dict


def _collect(getter: Getter, holder: Json, found: Nodes) -> None:
    key, sibling, type_ = getter
    value = holder.get(key)
    if sibling:
        beside = holder.get(sibling)
        if value is None and beside is None:
            return
        if type(value) is list or type(beside) is list:
            found += (
                (type_, one, two) for one, two in zip_longest(value or (), beside or ()) if (one, two) != (None, None)
            )
        else:
            found.append((type_, value, beside))
    elif value is not None:
        several = value if type(value) is list else (value,)
        found += map(resource_node, several) if type_ == "Resource" else [(type_, one, None) for one in several]


def _getters(type_: str, name: str) -> tuple[Getter, ...]:
    return tuple(getter for element, getter in _elements(type_) if element == name)


@cache
def _all_getters(type_: str) -> tuple[Getter, ...]:
    return tuple(getter for _, getter in _elements(type_))


def _elements(type_: str) -> Iterator[tuple[str, Getter]]:
    """FHIRPath's name of each child of a type, and where it is; a choice has one getter for each of its types."""
    path = "Element" if is_primitive(type_) else type_
    if schema().has_children(path):
        for element in schema().children(path).values():
            for key, child in element.names.items():
                yield element.stem, Getter(key, f"_{key}" if is_primitive(child) else "", child)


def is_primitive(type_: str) -> bool:
    known = schema().types.get(type_)
    return known is not None and known.kind == "primitive"


def identity(value: Any) -> Any:
    """A hashable that is equal for equal values: numbers by amount, objects whatever the order of their members."""
    if type(value) is dict:
        return frozenset((name, identity(member)) for name, member in value.items())
    if type(value) is list:
        return tuple(map(identity, value))
    if type(value) is bool or value is None:
        return (bool, value)
    return decimal(value) if isinstance(value, _NUMBERS) else value


def distinct(items: Iterable[Node]) -> Nodes:
    """The items without repetitions, first come first kept; equal values of two types are the same."""
    return list(
        {
            identity(node[1]) if node[2] is None else (identity(node[1]), identity(node[2])): node for node in items
        }.values()
    )


def equal(left: Nodes, right: Nodes) -> bool | None:
    """`=`: unknown where a side is empty, else item by item. Dates of unlike precision are unknown too."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    truths = [_same(one, two) for one, two in zip(left, right, strict=True)]
    return None if None in truths and False not in truths else all(truths)


def _same(left: Node, right: Node) -> bool | None:
    if left[0] in DATES and right[1].__class__ is str and left[1].__class__ is str:
        if left[1] == right[1]:
            return True
        ordered = _order_dates(left[1], right[1])
        return None if ordered is None else ordered == 0
    return bool(identity(left[1]) == identity(right[1]))


def compare(left: Nodes, right: Nodes) -> int | None:
    """-1, 0 or 1 for two single items; None where one is missing or they cannot be ordered."""
    if not left or not right:
        return None
    one, two = single(left), single(right)
    if isinstance(one[1], str) and isinstance(two[1], str):
        if one[0] in DATES or two[0] in DATES:
            return _order_dates(one[1], two[1])
        return (one[1] > two[1]) - (one[1] < two[1])
    if isinstance(one[1], dict) and isinstance(two[1], dict):
        return _compare_quantities(one[1], two[1])
    if isinstance(one[1], _NUMBERS) and isinstance(two[1], _NUMBERS):
        return _order(decimal(one[1]), decimal(two[1]))
    return None


def single(items: Nodes) -> Node:
    """The only item. Raises FhirpathError where there are several: FHIRPath N1 §5.5 wants the evaluation to end."""
    if len(items) != 1:
        raise FhirpathError(f"expected one item, got {len(items)}")
    return items[0]


def _order(left: Decimal, right: Decimal) -> int:
    return (left > right) - (left < right)


def _order_dates(left: str, right: str) -> int | None:
    try:
        return temporal.compare(left, right)
    except temporal.TemporalError:
        return None


def _compare_quantities(left: Json, right: Json) -> int | None:
    """Two Quantities of one unit; units are not converted, so two units are not ordered."""
    if "value" not in left or "value" not in right:
        return None
    if any(left.get(name) != right.get(name) for name in ("system", "code")):
        return None
    if "code" not in left and left.get("unit") != right.get("unit"):
        return None
    return _order(decimal(left["value"]), decimal(right["value"]))
