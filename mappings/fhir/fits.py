"""The pieces of a type's quick test: yes, or "look closer".

A resource that fits is the usual one, so `validate.py` asks first whether all is well, and looks for what is wrong only
where it is not. A quick test may say no to what is right (a rare form: contained resources, extensions beside a list);
it never says yes to what `checks.py` finds a fault in. It builds no findings and knows no paths, and costs half.

Source: as `checks.py`.
"""

from collections.abc import Callable, Collection
from decimal import Decimal
from typing import Any

from mappings.fhir.checks import Members
from mappings.fhir.codec import Json
from mappings.fhir.primitives import PRIMITIVES, Test

Shape = tuple[str, ...]  # the names of an object's members, as they stand

_SHAPES = 512  # remembered of one path; a feed's rows make a few dozen


def whole(members: Members, *, is_element: bool) -> Test:
    """An object: every member known and right, none missing, of each choice at most one."""

    def holds(shape: Shape) -> bool:
        return (
            all(name in shape for name in members.first_names)
            and all(len(names.intersection(shape)) < 2 for names in members.choices)
            and (not is_element or len(shape) > 1 or (len(shape) == 1 and "id" not in shape))
        )

    return _by_shape(members, holds)


def extension(members: Members, value_names: Collection[str]) -> Test:
    """ext-1: an extension has a value or extensions, not both and not neither."""
    names = frozenset(prefix + name for name in value_names for prefix in ("", "_"))

    def holds(shape: Shape) -> bool:
        return "url" in shape and len(names.intersection(shape)) == (0 if "extension" in shape else 1)

    return _by_shape(members, holds)


def _by_shape(members: Members, holds: Callable[[Shape], bool]) -> Test:
    """What the names alone decide is decided once for each set of names; then only the values are looked at."""
    known: dict[Shape, Test] = {}

    def read(shape: Shape) -> Test:
        if not holds(shape) or not all(name in members.fits for name in shape):
            return never
        test = _values_test([members.fits[name] for name in shape])
        if len(known) < _SHAPES:
            known[shape] = test
        return test

    def fits(node: Any) -> bool:
        if node.__class__ is not dict:
            return False
        shape = tuple(node)
        return (known.get(shape) or read(shape))(node)

    _OBJECT[fits] = known, read
    return fits


# the usual form of the commonest primitives, written out where they stand: a call would cost more than the test
_INLINE = {
    PRIMITIVES["string"]: "{v}.__class__ is str and {v}.isprintable() and {v} and not {v}.isspace()",
    PRIMITIVES["uri"]: "{v}.__class__ is str and {v}.isprintable() and {v} and ' ' not in {v}",
    PRIMITIVES["code"]: "{v}.__class__ is str and {v}.isprintable() and {v} and ' ' not in {v}",
    PRIMITIVES["id"]: "{v}.__class__ is str and len({v}) <= 64 and {v}.isascii() and {v}.replace('-', '').isalnum()",
    PRIMITIVES["decimal"]: "{v}.__class__ is Decimal and {v}.is_finite()",
}
_ITEM: dict[Test, Test] = {}  # the test of an array to that of its items: most arrays hold one
_OBJECT: dict[Test, tuple[dict[Shape, Test], Callable[[Shape], Test]]] = {}  # the test of an object to its shapes
_LISTED: dict[Test, frozenset[str]] = {}  # the test of a code to the codes it may be


def _values_test(tests: list[Test]) -> Test:
    """One straight line of Python over the values of an object whose names are known."""
    names = [f"v{number}" for number in range(len(tests))]
    scope: dict[str, Any] = {"Decimal": Decimal}
    parts = [_asked(test, name, scope) for name, test in zip(names, tests, strict=True)]
    lines = ["def fits(node):", f"    [{', '.join(names)}] = node.values()", f"    return {' and '.join(parts)}"]
    exec("\n".join(lines), scope)  # noqa: S102 - of numbered names only, no text of a resource
    made: Test = scope["fits"]
    return made


def _asked(test: Test, name: str, scope: dict[str, Any]) -> str:
    """The expression that puts a value to its test; what it calls is bound in `scope`."""
    scope[f"t_{name}"] = test
    call = f"t_{name}({name})"
    if test in _INLINE:
        return f"({_INLINE[test].format(v=name)} or {call})"
    if test in _LISTED:
        scope[f"c_{name}"] = _LISTED[test]
        return f"({name}.__class__ is str and {name} in c_{name})"
    if test in _ITEM:
        item = f"{name}_0"
        only = f"{name}.__class__ is list and len({name}) == 1 and ({item} := {name}[0]) is not None"
        return f"({_asked(_ITEM[test], item, scope)} if {only} else {call})"
    if test in _OBJECT:
        scope[f"k_{name}"], scope[f"r_{name}"] = _OBJECT[test]
        shape = f"tuple({name})"
        return f"({name}.__class__ is dict and (k_{name}.get({shape}) or r_{name}({shape}))({name}))"
    return call


def listed(codes: frozenset[str]) -> Test:
    """A code of a value set that can be listed."""

    def fits(value: Any) -> bool:
        return value.__class__ is str and value in codes

    _LISTED[fits] = codes
    return fits


def many(test: Test) -> Test:
    """An element that may repeat."""

    def fits(value: Any) -> bool:
        if value.__class__ is not list or not value:
            return False
        for item in value:
            if not test(item):
                return False
        return True

    _ITEM[fits] = test
    return fits


def reference(test: Test, targets: Collection[str]) -> Test:
    """A Reference to one of the element's targets."""

    starts = tuple(f"{target}/" for target in targets)

    def fits(value: Any) -> bool:
        if value.__class__ is dict and len(value) == 1 and (plain := value.get("reference")).__class__ is str:
            return plain.isprintable() and " " not in plain and plain.startswith(starts)  # as most are: no other member
        if not test(value) or "type" in value:
            return False
        target = value.get("reference")
        return target is None or target.startswith(starts)

    return fits


def bound_concept(test: Test, in_valueset: Callable[[Json], bool]) -> Test:
    """A CodeableConcept with a required binding: one coding must be in the set."""

    def fits(value: Any) -> bool:
        if not test(value):
            return False
        for coding in value.get("coding", ()):
            if in_valueset(coding):
                return True
        return False

    return fits


def without(test: Test, name: str) -> Test:
    """An object that may not have one of its type's members here."""
    return lambda value: test(value) and name not in value


def never(value: Any) -> bool:
    """For what is rare: look closer."""
    return False
