"""FHIRPath functions that need nothing but their input and their evaluated arguments.

Those that look at each item with an expression (`where`, `all` …) or at the surroundings (`resolve`) are
`fhirpath.py`'s. Three tables: TRUTHS answer true, false or None (unknown) and have no argument; PLAIN give items and
have none; APPLIED take argument collections. `htmlChecks()` is true here: the narrative layer of the validator has
looked at the XHTML before.
Source: FHIRPath N1 §5 (functions) and FHIR R4 fhirpath.html (hasValue, extension, htmlChecks).
"""

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

from mappings.fhir.codec import decimal
from mappings.fhir.fhirpath_model import (
    Nodes,
    boolean,
    children,
    descendants,
    distinct,
    has_value,
    identity,
    member,
    single,
)
from mappings.fhir.fhirpath_syntax import FhirpathError

_extension = member("extension")


def text_of(items: Nodes) -> str | None:
    """The only item as a string; None for no item. Raises FhirpathError for several, or for one that is no string."""
    if not items:
        return None
    value = single(items)[1]
    if value is not None and not isinstance(value, str):
        raise FhirpathError("expected a string")
    return value


def integer_of(items: Nodes) -> int:
    value = single(items)[1]
    if not isinstance(value, int):
        raise FhirpathError("expected an integer")
    return value


def truth_of(items: Nodes) -> bool | None:
    """A collection where a truth is wanted: its boolean, true for any other single item, unknown for none.

    Source: FHIRPath N1 §5.5, singleton evaluation of collections.
    """
    if not items:
        return None
    value = single(items)[1]
    return value if isinstance(value, bool) else True


def _strings(name: str, test: Callable[[str, str], bool]) -> "tuple[str, Applied]":
    """A function of two strings that answers true or false."""

    def run(items: Nodes, arguments: list[Nodes]) -> Nodes:
        text, other = text_of(items), text_of(arguments[0])
        return [] if text is None or other is None else boolean(test(text, other))

    return name, Applied(1, 1, run)


def _to_integer(items: Nodes) -> Nodes:
    if not items:
        return []
    value = single(items)[1]
    if isinstance(value, bool | int):
        return [("integer", int(value), None)]
    return (
        [("integer", int(value), None)] if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value) else []
    )


def _to_decimal(items: Nodes) -> Nodes:
    if not items:
        return []
    value = single(items)[1]
    try:
        number = Decimal(value) if isinstance(value, str) else decimal(value)
    except (InvalidOperation, TypeError):
        return []
    return [("decimal", number, None)]


def _to_string(items: Nodes) -> Nodes:
    if not items:
        return []
    value = single(items)[1]
    if isinstance(value, bool):
        return [("string", "true" if value else "false", None)]
    if isinstance(value, dict) or value is None:
        return []
    return [("string", value if isinstance(value, str) else str(decimal(value)), None)]


def _length(items: Nodes) -> Nodes:
    text = text_of(items)
    return [] if text is None else [("integer", len(text), None)]


def _substring(items: Nodes, arguments: list[Nodes]) -> Nodes:
    text = text_of(items)
    if text is None or not arguments[0]:
        return []
    start = integer_of(arguments[0])
    if not 0 <= start < len(text):
        return []
    end = start + max(0, integer_of(arguments[1])) if len(arguments) > 1 and arguments[1] else len(text)
    return [("string", text[start:end], None)]


def _replace_matches(items: Nodes, arguments: list[Nodes]) -> Nodes:
    text, pattern, by = text_of(items), text_of(arguments[0]), text_of(arguments[1])
    return [] if text is None or pattern is None or by is None else [("string", re.sub(pattern, by, text), None)]


def _combine(items: Nodes, arguments: list[Nodes]) -> Nodes:
    return items + arguments[0]


def _union(items: Nodes, arguments: list[Nodes]) -> Nodes:
    return distinct(items + arguments[0])


def _intersect(items: Nodes, arguments: list[Nodes]) -> Nodes:
    wanted = {identity(node[1]) for node in arguments[0]}
    return distinct(node for node in items if identity(node[1]) in wanted)


def _exclude(items: Nodes, arguments: list[Nodes]) -> Nodes:
    unwanted = {identity(node[1]) for node in arguments[0]}
    return [node for node in items if identity(node[1]) not in unwanted]


def _skip(items: Nodes, arguments: list[Nodes]) -> Nodes:
    return items[max(0, integer_of(arguments[0])) :]


def _take(items: Nodes, arguments: list[Nodes]) -> Nodes:
    return items[: max(0, integer_of(arguments[0]))]


def _extension_of(items: Nodes, arguments: list[Nodes]) -> Nodes:
    url = text_of(arguments[0])
    return [node for node in _extension(items) if node[1].get("url") == url]


def _all_true(items: Nodes) -> bool:
    return all(node[1] is True for node in items)


def _all_false(items: Nodes) -> bool:
    return all(node[1] is False for node in items)


def _any_true(items: Nodes) -> bool:
    return any(node[1] is True for node in items)


class Applied(NamedTuple):
    """A function with arguments: how few and how many, and what it does."""

    fewest: int
    most: int
    run: Callable[[Nodes, list[Nodes]], Nodes]


TRUTHS: Final[dict[str, Callable[[Nodes], bool | None]]] = {
    "empty": lambda items: not items,
    "exists": bool,
    "hasValue": lambda items: len(items) == 1 and has_value(items[0]),
    "isDistinct": lambda items: len(distinct(items)) == len(items),
    "allTrue": _all_true,
    "allFalse": _all_false,
    "anyTrue": _any_true,
    "htmlChecks": lambda items: True,
}

PLAIN: Final[dict[str, Callable[[Nodes], Nodes]]] = {
    "children": children,
    "count": lambda items: [("integer", len(items), None)],
    "descendants": descendants,
    "distinct": distinct,
    "first": lambda items: items[:1],
    "last": lambda items: items[-1:],
    "length": _length,
    "single": lambda items: [single(items)] if items else [],
    "tail": lambda items: items[1:],
    "toDecimal": _to_decimal,
    "toInteger": _to_integer,
    "toString": _to_string,
}

APPLIED: Final[dict[str, Applied]] = dict(
    [
        _strings("contains", lambda text, part: part in text),
        _strings("startsWith", str.startswith),
        _strings("endsWith", str.endswith),
        _strings("matches", lambda text, pattern: re.search(pattern, text) is not None),
        ("combine", Applied(1, 1, _combine)),
        ("exclude", Applied(1, 1, _exclude)),
        ("extension", Applied(1, 1, _extension_of)),
        ("intersect", Applied(1, 1, _intersect)),
        ("replaceMatches", Applied(2, 2, _replace_matches)),
        ("skip", Applied(1, 1, _skip)),
        ("substring", Applied(1, 2, _substring)),
        ("take", Applied(1, 1, _take)),
        ("union", Applied(1, 1, _union)),
    ]
)
