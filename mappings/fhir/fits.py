"""The pieces of a type's quick test: yes, or "look closer".

A resource that fits is the usual one, so `validate.py` asks first whether all is well, and looks for what is wrong only
where it is not. A quick test may say no to what is right (a rare form: contained resources, extensions beside a list);
it never says yes to what `checks.py` finds a fault in. It builds no findings and knows no paths, and costs half.

Source: as `checks.py`.
"""

from collections.abc import Callable, Collection
from typing import Any

from mappings.fhir.checks import Members
from mappings.fhir.codec import Json
from mappings.fhir.primitives import Test


def whole(members: Members, *, is_element: bool) -> Test:
    """An object: every member known and right, none missing, of each choice at most one."""
    test_of, required, choices = members.fits.get, members.first_names, members.choices

    def fits(node: Any) -> bool:
        if node.__class__ is not dict:
            return False
        for name, value in node.items():
            test = test_of(name)
            if test is None or not test(value):
                return False
        for name in required:
            if name not in node:
                return False
        for names in choices:
            if len(names.intersection(node)) > 1:
                return False
        return len(node) > 1 or not is_element or (len(node) == 1 and "id" not in node)

    return fits


def extension(members: Members, value_names: Collection[str]) -> Test:
    """ext-1: an extension has a value or extensions, not both and not neither."""
    test_of = members.fits.get
    names = frozenset(prefix + name for name in value_names for prefix in ("", "_"))

    def fits(node: Any) -> bool:
        if node.__class__ is not dict or "url" not in node:
            return False
        for name, value in node.items():
            test = test_of(name)
            if test is None or not test(value):
                return False
        values = len(names.intersection(node))
        return values == 0 if "extension" in node else values == 1

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

    return fits


def reference(test: Test, targets: Collection[str]) -> Test:
    """A Reference to one of the element's targets."""

    def fits(value: Any) -> bool:
        if not test(value):
            return False
        target, kind = value.get("reference"), value.get("type")
        return (target is None or target.partition("/")[0] in targets) and (kind is None or kind in targets)

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
