"""The schema layer of validation: does a resource fit R4? All faults at once, each with its FHIRPath.

`validate(resource)` checks members, JSON types, cardinalities, choices, primitive syntax, required codes, reference targets and
contained resources, and calls `narrative.py` for each narrative. Before it come the bytes (`codec.check_bytes`); after it the
invariants, which FHIRPath states, and what only a store knows. A fault names the place and the rule, never a value.

How it is fast: each path of the schema becomes one closure, made when a resource first needs it, that looks at the members
present and at nothing else. A check answers None where all is well; only where it is not are expressions put together, from the
inside out, each level adding its own segment in front.

Source: FHIR R4 4.0.1 §2.1.28 (validation), §2.6.2 (JSON), §2.28 (references), `r4.json`.
"""

import re
from collections.abc import Callable, Iterable
from threading import RLock
from typing import Any

from mappings.fhir import contained
from mappings.fhir.codec import Fault, Json
from mappings.fhir.narrative import narrative_fault
from mappings.fhir.primitives import PRIMITIVES, Test, is_code, is_media_type, json_type
from mappings.fhir.schema import Element, Schema, schema

__all__ = ["MAX_FAULTS", "Fault", "validate"]

MAX_FAULTS = 100  # of one resource; a file of garbage must not cost us a list as long as itself

Finding = tuple[str, str, str]  # issue code, FHIRPath from here on, text
Found = list[Finding] | None  # None: nothing wrong
Check = Callable[[Any, Json], Found]  # (value, the object it stands in)

# The value sets that the standard binds but cannot list. Media types have a syntax; of units and of LL379-9 the system is fixed.
SYSTEM_ONLY = {"ucum-units": "http://unitsofmeasure.org", "http://loinc.org/vs/LL379-9": "http://loinc.org"}

NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}")  # a member that an expression can name
TYPED_REFERENCE = re.compile(r"(?:https?://.+/)?([A-Z][A-Za-z]+)(?:/[A-Za-z0-9.-]{1,64}(?:/_history/[^/]+)?|\?.*)")


def validate(resource: Json) -> tuple[Fault, ...]:
    """What is wrong with a resource by the schema and narrative layers; nothing where it fits."""
    found = _checks.resource(resource, resource)
    if found is None:
        return ()
    root = resource.get("resourceType") if isinstance(resource, dict) else None
    start = root if isinstance(root, str) and root in _schema.resource_types else "Resource"
    return tuple(Fault("error", code, start + path, text) for code, path, text in found[:MAX_FAULTS])


def _under(segment: str, found: list[Finding]) -> list[Finding]:
    """Findings as seen from one level further out."""
    return [(code, segment + path, text) for code, path, text in found]


def _join(found: Found, more: list[Finding]) -> list[Finding]:
    """Two sets of findings as one, up to the cap."""
    if found is None:
        return more
    if len(found) < MAX_FAULTS:
        found += more
    return found


def _unknown(name: str) -> list[Finding]:
    return [("structure", f".{name}" if NAME.fullmatch(name) else "", "is not an element of this type")]


def _segment(element: Element, kind: str) -> str:
    """How FHIRPath reaches an element; JSON's `valueQuantity` is `value.ofType(Quantity)`."""
    return f".{element.stem}.ofType({kind})" if element.choice else f".{element.name}"


class _Checks:
    """The closures by path. They refer to each other in circles, so a build holds the lock until all it reaches is made."""

    def __init__(self, source: Schema) -> None:
        self._schema = source
        self._lock = RLock()
        self._made: dict[str, Check] = {}
        self._resources: dict[str, Check] = {}  # only whole ones

    def resource(self, value: Any, parent: Json) -> Found:
        """Any resource, by its `resourceType`."""
        if value.__class__ is not dict:
            return [("structure", "", f"is {json_type(value)} where a resource is expected")]
        name = value.get("resourceType")
        check = self._resources.get(name) if name.__class__ is str else None
        if check is None:
            if name is None:
                return [("required", ".resourceType", "is missing")]
            if name not in self._schema.resource_types if name.__class__ is str else True:
                return [("value", ".resourceType", "is not a resource type of R4")]
            with self._lock:
                check = self._resources[name] = self._object(name)
        return check(value, parent)

    # -- objects -------------------------------------------------------------------------------------------------------

    def _object(self, path: str) -> Check:
        """The check of everything that has members: a resource, a data type, an element with children."""
        if path in self._made:
            return self._made[path]
        tests: dict[str, Test] = {}  # single primitives, the bulk of all members: no FHIRPath until one fails
        faults: dict[str, Callable[[Any], list[Finding]]] = {}
        members: dict[str, Check] = {}
        required: list[tuple[str, tuple[str, ...]]] = []
        optional_id = path in self._schema.resource_types  # ele-1 is a rule of elements
        check = _object_check(tests, faults, members, required, optional_id)
        if path == "Extension":
            check = _with_extension_rule(check)
        self._made[path] = check
        if optional_id:
            tests["resourceType"] = _always
        for element in self._schema.children(path).values():
            if element.min:
                required.append((f".{element.stem}", tuple(element.names)))
            for name, kind in element.names.items():
                self._member(name, kind, element, tests, faults, members)
        return check

    def _member(
        self,
        name: str,
        kind: str,
        element: Element,
        tests: dict[str, Test],
        faults: dict[str, Callable[[Any], list[Finding]]],
        members: dict[str, Check],
    ) -> None:
        """Put one JSON name of an element where the object's check looks for it."""
        segment = _segment(element, kind)
        if kind not in PRIMITIVES:
            members[name] = self._choice(self._many(self._complex(kind, element), element, segment), element, name)
            return
        test, bad = self._primitive(kind, element, segment)
        if element.many:
            members[name] = _primitive_array(name, segment, test, bad)
        elif element.choice or kind == "xhtml":
            members[name] = self._choice(_primitive(test, bad), element, name)
            if kind == "xhtml":
                members[name] = _narrative(segment)
        else:
            tests[name], faults[name] = test, bad
        if not element.xml_attribute and kind != "xhtml":  # what XML writes as an attribute cannot be extended
            extended = _extended_array if element.many else _extended
            members[f"_{name}"] = self._choice(extended(name, segment, self._object("Element")), element, name)

    def _choice(self, check: Check, element: Element, name: str) -> Check:
        return _one_of(check, element, name) if element.choice else check

    @staticmethod
    def _many(check: Check, element: Element, segment: str) -> Check:
        return _array(check, segment) if element.many else _single(check, segment)

    def _complex(self, kind: str, element: Element) -> Check:
        """The check of a value that is no primitive, with what its place asks of it: targets, codes."""
        if kind == "Resource":
            return contained.member(self.resource) if element.name == "contained" else self.resource
        check = self._object(kind)
        targets = frozenset(element.targets)
        if kind == "Reference" and targets and "Resource" not in targets:
            return _reference(check, targets, self._schema.resource_types)
        if kind == "CodeableConcept" and element.valueset:
            return _bound_concept(check, self._in_valueset(element.valueset))
        return check

    # -- primitives ----------------------------------------------------------------------------------------------------

    def _primitive(self, kind: str, element: Element, segment: str) -> tuple[Test, Callable[[Any], list[Finding]]]:
        """The test of a primitive, and what to say where it fails."""
        test = PRIMITIVES[kind]
        syntax = test
        if kind == "code" and element.valueset:
            test = self._code_test(element.valueset)

        def bad(value: Any) -> list[Finding]:
            if value is None:
                return [("structure", segment, "is null")]
            if not _same_json_type(kind, value):
                return [("structure", segment, f"is {json_type(value)}, not {kind}")]
            if syntax(value):
                return [("code-invalid", segment, "is not a code of the required value set")]
            return [("value", segment, f"is not {kind}")]

        return test, bad

    def _code_test(self, valueset: str) -> Test:
        """Whether a code is in a value set; a `code` compares the code alone."""
        systems = self._schema.valueset(valueset)
        if systems is None:
            return is_media_type if valueset == "mimetypes" else is_code
        codes = frozenset(code for listed in systems.values() for code in listed)
        return lambda value: value.__class__ is str and value in codes

    def _in_valueset(self, valueset: str) -> Callable[[Any], bool]:
        """Whether a `Coding` is in a value set; it compares system and code."""
        systems = self._schema.valueset(valueset)
        if systems is None:
            only = SYSTEM_ONLY[valueset]
            return lambda coding: coding.get("system") == only and "code" in coding
        pairs = frozenset((system, code) for system, listed in systems.items() for code in listed)
        return lambda coding: (_text(coding.get("system")), _text(coding.get("code"))) in pairs


def _text(value: Any) -> str | None:
    """A string, or None for what is none and could not be looked up."""
    return value if isinstance(value, str) else None


def _always(value: Any) -> bool:
    """`resourceType` was read before the object was."""
    return True


def _same_json_type(kind: str, value: Any) -> bool:
    """Whether JSON writes a value as it writes this primitive: true, 1 or "text"."""
    return json_type(value) == {
        "boolean": "a boolean",
        "integer": "a number",
        "positiveInt": "a number",
        "unsignedInt": "a number",
        "decimal": "a number",
    }.get(kind, "a string")


def _object_check(
    tests: dict[str, Test],
    faults: dict[str, Callable[[Any], list[Finding]]],
    members: dict[str, Check],
    required: list[tuple[str, tuple[str, ...]]],
    is_resource: bool,
) -> Check:
    """An object: its members, what is missing, and that it is not empty (ele-1). The hot loop of the layer."""
    test_of, check_of = tests.get, members.get

    def check(node: Any, parent: Json) -> Found:
        if node.__class__ is not dict:
            return [("structure", "", f"is {json_type(node)}, not an object")]
        found: Found = None
        for name, value in node.items():
            test = test_of(name)
            if test is not None:
                if not test(value):
                    found = _join(found, faults[name](value))
                continue
            check = check_of(name)
            problem = _unknown(name) if check is None else check(value, node)
            if problem is not None:
                found = _join(found, problem)
        for _segment, names in required:
            if names[0] not in node:
                missing = _missing(node, required)
                return _join(found, missing) if missing else found
        if len(node) < 2 and not is_resource and (not node or "id" in node):
            found = _join(found, [("invariant", "", "has neither a value nor children (ele-1)")])
        return found

    return check


def _missing(node: Json, required: Iterable[tuple[str, tuple[str, ...]]]) -> list[Finding]:
    """The required elements that are absent under each of their names, extended ones included."""
    return [
        ("required", segment, "is missing")
        for segment, names in required
        if not any(name in node or f"_{name}" in node for name in names)
    ]


def _with_extension_rule(check: Check) -> Check:
    """ext-1: an extension has a value or extensions, not both and not neither."""

    def checked(node: Any, parent: Json) -> Found:
        found = check(node, parent)
        if node.__class__ is dict:
            valued = any(name.startswith(("value", "_value")) for name in node)
            if valued == ("extension" in node):
                found = _join(found, [("invariant", "", "has not exactly one of value and extensions (ext-1)")])
        return found

    return checked


def _single(check: Check, segment: str) -> Check:
    """A complex element that occurs once."""

    def checked(value: Any, parent: Json) -> Found:
        found = check(value, parent)
        return None if found is None else _under(segment, found)

    return checked


def _array(check: Check, segment: str) -> Check:
    """A complex element that may repeat."""

    def checked(value: Any, parent: Json) -> Found:
        if value.__class__ is not list:
            return [("structure", segment, f"is {json_type(value)}, not an array")]
        if not value:
            return [("structure", segment, "is an empty array")]
        found: Found = None
        for index, item in enumerate(value):
            problem = check(item, parent)
            if problem is not None:
                found = _join(found, _under(f"{segment}[{index}]", problem))
        return found

    return checked


def _primitive(test: Test, bad: Callable[[Any], list[Finding]]) -> Check:
    """A primitive that occurs once, where the object's own loop does not test it."""
    return lambda value, parent: None if test(value) else bad(value)


def _primitive_array(name: str, segment: str, test: Test, bad: Callable[[Any], list[Finding]]) -> Check:
    """An array of primitives; a null stands for an item that has extensions only."""

    def checked(value: Any, parent: Json) -> Found:
        if value.__class__ is list and value and all(map(test, value)):
            return None
        if value.__class__ is not list:
            return [("structure", segment, f"is {json_type(value)}, not an array")]
        if not value:
            return [("structure", segment, "is an empty array")]
        found: list[Finding] = []
        extended = parent.get(f"_{name}")
        for index, item in enumerate(value):
            if item is None and _at(extended, index) is not None:
                continue
            if not test(item):
                found = _join(found, [(code, f"{path}[{index}]", text) for code, path, text in bad(item)])
        return found or None

    return checked


def _at(array: Any, index: int) -> Any:
    """An item of an array that may be shorter, or no array at all."""
    return array[index] if isinstance(array, list) and index < len(array) else None


def _extended(name: str, segment: str, element: Check) -> Check:
    """`_name` beside a single primitive: an id and extensions."""

    def checked(value: Any, parent: Json) -> Found:
        found = element(value, parent)
        return None if found is None else _id_beside(value, parent.get(name), _under(segment, found))

    return checked


def _id_beside(extended: Any, value: Any, found: list[Finding]) -> Found:
    """An id alone satisfies ele-1 where the primitive has a value."""
    if value is not None and isinstance(extended, dict) and "id" in extended:
        found = [finding for finding in found if finding[0] != "invariant" or "ele-1" not in finding[2]]
    return found or None


def _extended_array(name: str, segment: str, element: Check) -> Check:
    """`_name` beside an array of primitives: item for item, null where an item has no extensions."""

    def checked(value: Any, parent: Json) -> Found:
        if value.__class__ is not list or not value:
            problem = "an empty array" if value == [] else f"{json_type(value)}, not an array"
            return [("structure", segment, f"is {problem}")]
        found: list[Finding] = []
        values = parent.get(name)
        for index, item in enumerate(value):
            here = f"{segment}[{index}]"
            beside = _at(values, index)
            if item is None:
                if beside is None and not isinstance(values, list):
                    found = _join(found, [("structure", here, "is null, and has no value")])
                continue
            problem_here = element(item, parent)
            if problem_here is not None:
                found = _join(found, _id_beside(item, beside, _under(here, problem_here)) or [])
        return found or None

    return checked


def _one_of(check: Check, element: Element, name: str) -> Check:
    """One name of a choice: no other may stand beside it. Of two, the later one is the fault."""
    others = frozenset(prefix + other for other in element.names if other != name for prefix in ("", "_"))
    segment = f".{element.stem}"

    def checked(value: Any, parent: Json) -> Found:
        found = check(value, parent)
        if others.isdisjoint(parent):
            return found
        first = next(member.lstrip("_") for member in parent if member.lstrip("_") in element.names)
        if first == name:
            return found
        return _join(found, [("structure", segment, "has more than one type")])

    return checked


def _narrative(segment: str) -> Check:
    """XHTML, which `narrative.py` judges."""

    def checked(value: Any, parent: Json) -> Found:
        if value.__class__ is not str:
            return [("structure", segment, f"is {json_type(value)}, not a string")]
        fault = narrative_fault(value)
        return None if fault is None else [("invariant", segment, fault)]

    return checked


def _reference(check: Check, targets: frozenset[str], resource_types: frozenset[str]) -> Check:
    """A Reference whose type, where it can be seen, must be one of the element's targets."""

    def checked(value: Any, parent: Json) -> Found:
        found = check(value, parent)
        if value.__class__ is not dict:
            return found
        reference = value.get("reference")
        if reference.__class__ is str and reference.partition("/")[0] not in targets:
            typed = TYPED_REFERENCE.fullmatch(reference)
            if typed and typed[1] in resource_types and typed[1] not in targets:
                found = _join(found, [("structure", ".reference", "refers to a type that the element does not allow")])
        kind = value.get("type")
        if kind.__class__ is str and kind in resource_types and kind not in targets:
            found = _join(found, [("structure", ".type", "is a type that the element does not allow")])
        return found

    return checked


def _bound_concept(check: Check, in_valueset: Callable[[Any], bool]) -> Check:
    """A CodeableConcept with a required binding: one coding must be in the set."""

    def checked(value: Any, parent: Json) -> Found:
        found = check(value, parent)
        if value.__class__ is not dict:
            return found
        codings = value.get("coding")
        if isinstance(codings, list) and any(in_valueset(coding) for coding in codings if isinstance(coding, dict)):
            return found
        return _join(found, [("code-invalid", "", "has no coding of the required value set")])

    return checked


_schema = schema()
_checks = _Checks(_schema)
