"""The schema and narrative layers of validation: does a resource fit R4? All faults at once, each with its FHIRPath.

`validate(resource)` checks members, JSON types, cardinalities, choices, primitive syntax, required codes, reference
targets, contained resources and narratives. Before it come the bytes (`codec.check_bytes`); after it the invariants,
which FHIRPath states, and what only a store knows. A fault names the place and the rule, never a value.

How it is fast: each path of the schema becomes two tests, made when a resource first needs them, that look at the
members present and at nothing else. The first (of the pieces in `fits.py`) says whether all is well, as it usually is;
only where it does not, the second (of those in `checks.py`) finds out what is wrong.

Source: FHIR R4 4.0.1 §2.1.28 (validation), §2.6.2 (JSON), by way of `r4.json`.
"""

from collections.abc import Callable
from threading import RLock
from typing import Any, Final

from mappings.fhir import checks, contained, fits
from mappings.fhir.checks import MAX_FAULTS, Check, Explain, Finding, Found, Members
from mappings.fhir.codec import RESOURCE, Fault, Json, check_bytes, encode, is_deeper
from mappings.fhir.narrative import narrative_fault
from mappings.fhir.primitives import JSON_TYPE_OF, PRIMITIVES, Test, is_code, is_media_type, json_type
from mappings.fhir.schema import Element, Schema, schema

__all__ = ["MAX_FAULTS", "Fault", "validate", "written"]

# Value sets that are bound but cannot be listed: of these the system is known. Media types have a syntax instead.
SYSTEM_OF: Final = {"ucum-units": "http://unitsofmeasure.org", "http://loinc.org/vs/LL379-9": "http://loinc.org"}


def validate(resource: Any) -> tuple[Fault, ...]:
    """What is wrong with a resource by the schema and narrative layers; nothing where it fits."""
    if _types.holds(resource, RESOURCE.max_depth):
        return ()
    return _faults(resource)


def written(resource: Json) -> tuple[bytes, tuple[Fault, ...]]:
    """The canonical bytes of a resource, within the limits of the bytes layer; or, with none, what `validate` finds.

    What passes the quick test keeps those limits, but for size. Raises BytesError.
    """
    fits_well = _types.holds(resource, RESOURCE.max_depth)
    if not fits_well and (faults := _faults(resource)):
        return b"", faults
    data = encode(resource)
    if not fits_well or len(data) > RESOURCE.max_string:
        check_bytes(data)
    return data, ()


def _faults(resource: Any) -> tuple[Fault, ...]:
    if is_deeper(resource, RESOURCE.max_depth):  # the checks call each other, a level a call
        return (Fault("error", "structure", "Resource", f"is deeper than {RESOURCE.max_depth} levels"),)
    found = _types.resource(resource, resource)
    if found is None:
        return ()
    name = resource.get("resourceType") if isinstance(resource, dict) else None
    start = name if isinstance(name, str) and name in _types.resource_types else "Resource"
    return tuple(Fault("error", code, start + path, text) for code, path, text in found[:MAX_FAULTS])


class _Types(fits.Fit):
    """The checks by path. They refer to each other, so a build holds the lock until all it reaches is made."""

    def __init__(self, source: Schema) -> None:
        self.resource_types = source.resource_types
        self._schema = source
        self._lock = RLock()
        self._made: dict[str, Check] = {}
        self._fits: dict[str, fits.Fit] = {}  # the quick tests of the same paths
        self._whole: dict[str, Check] = {}  # resources whose whole tree of checks is made

    def holds(self, value: Any, left: int) -> bool:
        """Whether any resource is right beyond doubt; no stands for "look closer"."""
        name = value.get("resourceType") if type(value) is dict else None
        return type(name) is str and name in self._whole and self._fits[name].holds(value, left)

    def resource(self, value: Any, parent: Json) -> Found:
        """Any resource, by its `resourceType`."""
        if value.__class__ is not dict:
            return [("structure", "", f"is {json_type(value)}, not a resource")]
        name = value.get("resourceType")
        check = self._whole.get(name) if name.__class__ is str else None
        if check is None:
            if "resourceType" not in value:
                return [("required", ".resourceType", "is missing")]
            if name.__class__ is not str or name not in self.resource_types:
                return [("value", ".resourceType", "is not a resource type of R4")]
            with self._lock:
                check = self._whole[name] = self._object(name)
        return check(value, parent)

    def _object(self, path: str) -> Check:
        """The check of everything that has members: a resource, a data type, an element with children."""
        if path in self._made:
            return self._made[path]
        members = Members()
        is_element = path not in self.resource_types
        check = checks.object_check(members, is_element=is_element)
        fit = fits.Whole(members, is_element=is_element)
        if path == "Extension":
            names = self._schema.children(path)["value[x]"].names
            check, fit = checks.extension_rule(check, names), fits.Extension(members, names)
        self._made[path], self._fits[path] = check, fit
        if not is_element:
            members.tests["resourceType"], members.fits["resourceType"] = _read_before, fits.Always()
        for element in self._schema.children(path).values():
            if element.min:
                members.require(f".{element.stem}", tuple(element.names))
            for name, kind in element.names.items():
                if kind in PRIMITIVES:
                    self._add_primitive(members, name, kind, element)
                else:
                    members.checks[name] = self._complex(name, kind, element)
                    members.fits[name] = self._complex_fit(kind, element)
            if len(element.names) > 1:
                members.choices.append(frozenset(prefix + name for name in element.names for prefix in ("", "_")))
        if path == "Reference":  # declared a string, but what it holds is a URL (§2.28.2): white space would break it
            members.tests["reference"], members.fits["reference"] = PRIMITIVES["uri"], fits.Leaf(PRIMITIVES["uri"])
            members.explain["reference"] = _explain("uri", ".reference")
        return check

    def _complex(self, name: str, kind: str, element: Element) -> Check:
        """The check of a member that is no primitive, with what its place asks of it: targets, codes, cardinality."""
        segment = _segment(element, kind)
        if kind == "Resource":
            check: Check = self.resource
        else:
            check = self._object(kind)
        if kind == "Reference" and element.targets and "Resource" not in element.targets:
            check = checks.reference(check, frozenset(element.targets), self.resource_types)
        if kind == "CodeableConcept" and element.valueset:
            check = checks.bound_concept(check, self._coding_test(element.valueset))
        if any(constraint.key == "sqty-1" for constraint in element.constraints):
            check = checks.without(check, "comparator", "is not allowed in a SimpleQuantity (sqty-1)")
        check = checks.array(check, segment) if element.many else checks.single(check, segment)
        if element.name == "contained":
            check = contained.rules(check, segment)
        return _choice(check, name, element)

    def _complex_fit(self, kind: str, element: Element) -> fits.Fit:
        """The quick test of the same."""
        if element.name == "contained":
            return fits.Fit()
        fit = self if kind == "Resource" else self._fits[kind]
        if kind == "Reference" and element.targets and "Resource" not in element.targets:
            fit = fits.Reference(fit, frozenset(element.targets))
        if kind == "CodeableConcept" and element.valueset:
            fit = fits.BoundConcept(fit, self._coding_test(element.valueset))
        if any(constraint.key == "sqty-1" for constraint in element.constraints):
            fit = fits.Without(fit, "comparator")
        return fits.Many(fit) if element.many else fit

    def _add_primitive(self, members: Members, name: str, kind: str, element: Element) -> None:
        """One primitive, and the `_name` that extends it; what XML writes as an attribute has none."""
        segment = _segment(element, kind)
        if kind == "xhtml":
            members.checks[name] = _narrative(segment)
            members.fits[name] = fits.Leaf(_readable)
            return
        test, fit = PRIMITIVES[kind], fits.PLAIN[kind]
        if kind == "code" and element.valueset:
            test, fit = self._code_test(element.valueset)
        explain = _explain(kind, segment)
        members.fits[name] = fits.Many(fit) if element.many else fit
        if element.many:
            members.checks[name] = checks.primitive_array(name, segment, test, explain)
        elif element.choice:
            members.checks[name] = _choice(checks.primitive(test, explain), name, element)
        else:
            members.tests[name], members.explain[name] = test, explain
        if not element.xml_attribute:
            extended = checks.extended_array if element.many else checks.extended
            members.checks[f"_{name}"] = _choice(extended(name, segment, self._object("Element")), name, element)
            members.fits[f"_{name}"] = fits.Fit() if element.many else self._fits["Element"]

    def _code_test(self, valueset: str) -> tuple[Test, fits.Fit]:
        """Whether a code is in a value set, carefully and quickly; a `code` compares the code alone."""
        systems = self._schema.valueset(valueset)
        if systems is None:
            return (
                (is_media_type, fits.Leaf(is_media_type)) if valueset == "mimetypes" else (is_code, fits.PLAIN["code"])
            )
        listed = fits.Listed(frozenset(code for codes in systems.values() for code in codes))
        return listed.lists, listed

    def _coding_test(self, valueset: str) -> Callable[[Json], bool]:
        """Whether a Coding is in a value set; it compares system and code."""
        systems = self._schema.valueset(valueset)
        if systems is None:
            only = SYSTEM_OF[valueset]
            return lambda coding: coding.get("system") == only and "code" in coding
        listed = systems

        def is_member(coding: Json) -> bool:
            system, code = coding.get("system"), coding.get("code")
            return isinstance(system, str) and isinstance(code, str) and code in listed.get(system, ())

        return is_member


def _segment(element: Element, kind: str) -> str:
    """How FHIRPath reaches an element; JSON's `valueQuantity` is `value.ofType(Quantity)`."""
    return f".{element.stem}.ofType({kind})" if element.choice else f".{element.name}"


def _choice(check: Check, name: str, element: Element) -> Check:
    """The check of one name of a choice; of an element that is none, the check itself."""
    return checks.one_of(check, name, element.names, f".{element.stem}") if element.choice else check


def _read_before(value: Any) -> bool:
    """`resourceType` was judged before the object was."""
    return True


def _readable(value: Any) -> bool:
    """XHTML without a fault."""
    return value.__class__ is str and narrative_fault(value) is None


def _explain(kind: str, segment: str) -> Explain:
    """What to say of a primitive whose test failed: its JSON type, its syntax, or its code."""
    syntax = PRIMITIVES[kind]

    def explain(value: Any) -> list[Finding]:
        found = json_type(value)
        if found != JSON_TYPE_OF.get(kind, "a string"):
            return [("structure", segment, f"is {found}, not {kind}")]
        if syntax(value):
            return [("code-invalid", segment, "is not a code of the required value set")]
        return [("value", segment, f"is not {kind}")]

    return explain


def _narrative(segment: str) -> Check:
    """XHTML, which `narrative.py` judges."""

    def check(value: Any, parent: Json) -> Found:
        if value.__class__ is not str:
            return [("structure", segment, f"is {json_type(value)}, not a string")]
        fault = narrative_fault(value)
        return None if fault is None else [("invariant", segment, fault)]

    return check


_types = _Types(schema())
