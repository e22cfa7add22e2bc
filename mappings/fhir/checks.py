"""The pieces of a type's check: object, array, primitive, extension, choice, reference, binding.

`validate.py` puts them together. A check is a closure `(value, the object it stands in) -> findings`, None where all
is well. A finding's expression starts where its check stands; each level adds its own segment in front, and only
where something is wrong. No finding holds a value.

Source: FHIR R4 4.0.1 §2.6.2 (JSON: arrays, nulls, `_name`), constraints ele-1 and ext-1.
"""

import re
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Final

from mappings.fhir.codec import Json
from mappings.fhir.primitives import Test, json_type

if TYPE_CHECKING:
    from mappings.fhir.fits import Fit

MAX_FAULTS: Final = 100  # of one resource; a file of garbage must not cost us a list as long as itself

Finding = tuple[str, str, str]  # issue code, FHIRPath from here on, text
Found = list[Finding] | None
Check = Callable[[Any, Json], Found]
Explain = Callable[[Any], list[Finding]]  # what to say of a primitive whose test failed

NAME: Final = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}")  # a member that an expression can name
TYPED_REFERENCE: Final = re.compile(
    r"(?:https?://.+/)?([A-Z][A-Za-z]+)(?:/[A-Za-z0-9.-]{1,64}(?:/_history/[^/]+)?|\?.*)"
)


def under(segment: str, found: Iterable[Finding]) -> list[Finding]:
    """Findings as seen from one level further out."""
    return [(code, segment + path, text) for code, path, text in found]


def join(found: Found, more: list[Finding]) -> list[Finding]:
    """Two lists of findings as one, up to the cap."""
    if found is None:
        return more
    if len(found) < MAX_FAULTS:
        found += more
    return found


class Members:
    """What an object may hold, by JSON name; filled after its check is made, for types refer to each other."""

    __slots__ = ("checks", "choices", "explain", "first_names", "fits", "required", "tests")

    def __init__(self) -> None:
        self.tests: dict[str, Test] = {}  # single primitives, the bulk of all members
        self.explain: dict[str, Explain] = {}  # of the same
        self.checks: dict[str, Check] = {}  # everything else
        self.required: list[tuple[str, tuple[str, ...]]] = []  # (segment, the JSON names of an element that must occur)
        self.first_names: list[str] = []  # of the required ones
        self.fits: dict[str, Fit] = {}  # the quick test of every member
        self.choices: list[frozenset[str]] = []  # names of which one at most may stand, each with its `_name`

    def require(self, segment: str, names: tuple[str, ...]) -> None:
        """Make an element mandatory."""
        self.required.append((segment, names))
        self.first_names.append(names[0])

    def missing(self, node: Json) -> list[Finding]:
        """The required elements that are absent under each of their names; one that has extensions only is there."""
        return [
            ("required", segment, "is missing")
            for segment, names in self.required
            if not any(name in node or f"_{name}" in node for name in names)
        ]


def object_check(members: Members, *, is_element: bool) -> Check:
    """An object: its members, what is missing, and that it is not empty. The hot loop of the layer."""
    test_of, check_of, first_names = members.tests.get, members.checks.get, members.first_names

    def check(node: Any, parent: Json) -> Found:
        if node.__class__ is not dict:
            return [("structure", "", f"is {json_type(node)}, not an object")]
        found: Found = None
        for name, value in node.items():
            test = test_of(name)
            if test is not None:
                if not test(value):
                    found = join(found, members.explain[name](value))
                continue
            member = check_of(name)
            problem = _unknown(name) if member is None else member(value, node)
            if problem is not None:
                found = join(found, problem)
        for name in first_names:
            if name not in node:
                found = join(found, members.missing(node)) or None
                break
        if len(node) < 2 and is_element and (not node or "id" in node):
            found = join(found, [("invariant", "", "has neither a value nor children (ele-1)")])
        return found

    return check


def _unknown(name: str) -> list[Finding]:
    return [("structure", f".{name}" if NAME.fullmatch(name) else "", "is not an element of this type")]


def extension_rule(check: Check, value_names: Iterable[str]) -> Check:
    """ext-1: an extension has a value or extensions, not both and not neither."""
    names = frozenset(prefix + name for name in value_names for prefix in ("", "_"))

    def checked(node: Any, parent: Json) -> Found:
        found = check(node, parent)
        if node.__class__ is dict and names.isdisjoint(node) != ("extension" in node):
            return join(found, [("invariant", "", "has not exactly one of value and extensions (ext-1)")])
        return found

    return checked


def single(check: Check, segment: str) -> Check:
    """A complex element that occurs once."""

    def checked(value: Any, parent: Json) -> Found:
        found = check(value, parent)
        return None if found is None else under(segment, found)

    return checked


def array(check: Check, segment: str) -> Check:
    """A complex element that may repeat."""

    def checked(value: Any, parent: Json) -> Found:
        if value.__class__ is not list or not value:
            return no_array(value, segment)
        found: Found = None
        for index, item in enumerate(value):
            problem = check(item, parent)
            if problem is not None:
                found = join(found, under(f"{segment}[{index}]", problem))
        return found

    return checked


def no_array(value: Any, segment: str) -> list[Finding]:
    """Where an array with something in it is expected, and there is none."""
    return [("structure", segment, "is an empty array" if value == [] else f"is {json_type(value)}, not an array")]


def primitive(test: Test, explain: Explain) -> Check:
    """A primitive that occurs once, where the object's own loop does not test it."""
    return lambda value, parent: None if test(value) else explain(value)


def primitive_array(name: str, segment: str, test: Test, explain: Explain) -> Check:
    """An array of primitives; null stands for an item that has extensions only."""

    def checked(value: Any, parent: Json) -> Found:
        if value.__class__ is not list or not value:
            return no_array(value, segment)
        if all(map(test, value)):
            return None
        found: Found = None
        extended = parent.get(f"_{name}")
        for index, item in enumerate(value):
            if not test(item) and (item is not None or _at(extended, index) is None):
                found = join(found, [(code, f"{path}[{index}]", text) for code, path, text in explain(item)])
        return found

    return checked


def _at(items: Any, index: int) -> Any:
    """An item of an array that may be shorter, or no array at all."""
    return items[index] if isinstance(items, list) and index < len(items) else None


def extended(name: str, segment: str, element: Check) -> Check:
    """`_name` beside a single primitive: an id and extensions."""

    def checked(value: Any, parent: Json) -> Found:
        found = element(value, parent)
        return None if found is None else _beside(value, parent.get(name), under(segment, found))

    return checked


def extended_array(name: str, segment: str, element: Check) -> Check:
    """`_name` beside an array of primitives: item for item, null where an item has no extensions."""

    def checked(value: Any, parent: Json) -> Found:
        if value.__class__ is not list or not value:
            return no_array(value, segment)
        found: Found = None
        values = parent.get(name)
        for index, item in enumerate(value):
            here = f"{segment}[{index}]"
            if item is not None:
                problem = element(item, parent)
                if problem and (problem := _beside(item, _at(values, index), under(here, problem))):
                    found = join(found, problem)
            elif values is None or (values and isinstance(values, list) and index >= len(values)):
                # elsewhere the check of the values themselves says what is wrong
                found = join(found, [("structure", here, "has neither a value nor extensions")])
        return found

    return checked


def _beside(extension: Any, value: Any, found: list[Finding]) -> Found:
    """What remains of the findings of `_name`: an id alone satisfies ele-1 where the primitive has a value."""
    if value is not None and isinstance(extension, dict) and extension:
        found = [finding for finding in found if not finding[2].endswith("(ele-1)")]
    return found or None


def one_of(check: Check, name: str, names: Collection[str], segment: str) -> Check:
    """One name of a choice: no other may stand beside it. Of two, the later is the fault."""
    others = frozenset(prefix + other for other in names if other != name for prefix in ("", "_"))

    def checked(value: Any, parent: Json) -> Found:
        found = check(value, parent)
        if others.isdisjoint(parent):
            return found
        first = next(stem for stem in (member.removeprefix("_") for member in parent) if stem in names)
        return found if first == name else join(found, [("structure", segment, "has more than one type")])

    return checked


def reference(check: Check, targets: frozenset[str], resource_types: frozenset[str]) -> Check:
    """A Reference whose type, where it can be seen, must be one of the element's targets."""

    def checked(value: Any, parent: Json) -> Found:
        found = check(value, parent)
        if value.__class__ is not dict:
            return found
        target, kind = value.get("reference"), value.get("type")
        if target.__class__ is str and target.partition("/")[0] not in targets:
            typed = TYPED_REFERENCE.fullmatch(target)
            if typed and typed[1] in resource_types and typed[1] not in targets:
                found = join(found, [("structure", ".reference", "refers to a type that the element does not allow")])
        if kind.__class__ is str and kind in resource_types and kind not in targets:
            found = join(found, [("structure", ".type", "is a type that the element does not allow")])
        return found

    return checked


def bound_concept(check: Check, in_valueset: Callable[[Json], bool]) -> Check:
    """A CodeableConcept with a required binding: one coding must be in the set."""

    def checked(value: Any, parent: Json) -> Found:
        found = check(value, parent)
        if value.__class__ is not dict:
            return found
        codings = value.get("coding")
        if isinstance(codings, list) and any(in_valueset(coding) for coding in codings if isinstance(coding, dict)):
            return found
        return join(found, [("code-invalid", "", "has no coding of the required value set")])

    return checked


def without(check: Check, name: str, text: str) -> Check:
    """An object that may not have one of its type's members here."""

    def checked(value: Any, parent: Json) -> Found:
        found = check(value, parent)
        if value.__class__ is dict and name in value:
            return join(found, [("invariant", f".{name}", text)])
        return found

    return checked
