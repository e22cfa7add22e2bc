"""Whose data a resource is: the owner rule, and the Patient compartment.

`owner_references` names the patients under whose key a resource is sealed; `owners.csv` says by which references,
type by type. Where these name nobody, any patient in whose compartment the resource lies owns it: what concerns a
patient never goes under the key that the organisation shares. `()` is that key. A Follow leaves the question to the
owners of other resources; these may follow further, in circles too, so whoever walks them counts the steps.

The compartment is the standard's and wider: an Observation lies in that of its performer. It serves `GET
/Patient/1/Observation`, not keys.
Source: fhir.md §5 of the design (owner rule); FHIR R4 compartmentdefinition-patient.html.
"""

import csv
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from mappings.fhir import fhirpath
from mappings.fhir.codec import Json
from mappings.fhir.schema import schema
from mappings.fhir.search_plan import extract
from mappings.fhir.search_values import ReferenceValue, TokenValue, converter

TABLE: Final = Path(__file__).with_name("owners.csv")
PATIENT: Final = "Patient"
REFERENCE: Final = frozenset({"id", "extension", "reference", "type", "identifier", "display"})  # what a Reference has


@dataclass(frozen=True, slots=True)
class Follow:
    """The resource has the owners of these, which are references of the form `Type/id`."""

    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of `owners.csv`: where patients are named (the first that names one decides), and what to follow else.

    Each place is a search parameter of the type, or a FHIRPath expression where R4 has none.
    """

    patient: tuple[str, ...]
    follow: tuple[str, ...]


@cache
def rules() -> dict[str, Rule]:
    """The table by type; `*` is the rule of all types without a row."""
    with TABLE.open(encoding="utf-8", newline="") as rows:
        return {row["type"]: Rule(_places(row["patient"]), _places(row["follow"])) for row in csv.DictReader(rows)}


def _places(cell: str) -> tuple[str, ...]:
    return tuple(cell.split("|")) if cell else ()


def owner_references(resource: Json) -> tuple[str, ...] | Follow:
    """The patients a resource belongs to, sorted, each `Patient/id`; () for none; or what it follows.

    A patient who is not named by a local reference is given as the reference stands (a URL, `#contained`), or as the
    conditional reference `Patient?identifier=system|value`: never as (). Who cannot place such a one has to refuse
    the resource.
    """
    type_ = resource["resourceType"]
    if type_ == PATIENT:
        return (f"Patient/{resource['id']}",)
    if type_ == "Bundle":
        return _bundle(resource)
    rule = rule_of(type_)
    for place in rule.patient:
        if found := _patients(resource, type_, place):
            return found
    if followed := sorted({text for place in rule.follow for text in _followed(resource, type_, place)}):
        return Follow(tuple(followed))
    return _in_compartment(resource, type_)


def deciding_place(resource: Json, reference: str) -> str:
    """Where the reference stands that `owner_references` gave as `reference`, as FHIRPath: `Observation.subject`.

    Of several equal ones the first in the member that decides. The type alone where it stands at none: a Patient in a
    Bundle is known by her identifier. Each member is left out once, so it is for what is refused.
    """
    type_: str = resource["resourceType"]
    read = _deciding(resource, type_)
    for member, value in resource.items():
        path = next(_places_of(value, f"{type_}.{member}", resource, reference), None)
        if path and reference not in read({name: one for name, one in resource.items() if name != member}):
            return path
    return type_


def _deciding(resource: Json, type_: str) -> Callable[[Json], Collection[str]]:
    """What gave the references of `owner_references`: the first place that names a patient, or all that follow."""
    if type_ == "Bundle":
        return lambda bundle: said.references if isinstance(said := _bundle(bundle), Follow) else said
    rule = rule_of(type_)
    for place in rule.patient:
        if _patients(resource, type_, place):
            return partial(_patients, type_=type_, place=place)
    if any(True for place in rule.follow for _ in _followed(resource, type_, place)):
        return lambda body: {text for place in rule.follow for text in _followed(body, type_, place)}
    return partial(_in_compartment, type_=type_)


def _places_of(node: Any, path: str, resource: Json, reference: str) -> Iterator[str]:
    """The paths of the references below a node that read as this one."""
    if isinstance(node, list):
        for number, one in enumerate(node):
            yield from _places_of(one, f"{path}[{number}]", resource, reference)
    elif isinstance(node, dict):
        values = _as_reference(node) if node.keys() <= REFERENCE else []
        if any(reference in (_text(value, resource), f"{value.type}/{value.id}") for value in values):
            yield path
        for name, one in node.items():
            yield from _places_of(one, f"{path}.{name}", resource, reference)


def compartment_references(resource: Json) -> tuple[str, ...]:
    """The patients in whose compartment a resource lies, sorted, each as in `owner_references`."""
    type_ = resource["resourceType"]
    found = _in_compartment(resource, type_)
    return tuple(sorted({*found, f"Patient/{resource['id']}"})) if type_ == PATIENT else found


@cache
def rule_of(type_: str) -> Rule:
    """The rule of a type, without places the type does not have."""
    given = rules()
    if type_ in given:
        return given[type_]
    known, default = schema().params(type_), given["*"]
    return Rule(
        tuple(place for place in default.patient if place in known),
        tuple(place for place in default.follow if place in known),
    )


@cache
def ownable(type_: str) -> bool:
    """Whether resources of a type can belong to a patient at all: a Location cannot, and is not followed."""
    if type_ in (PATIENT, "Bundle"):
        return True
    rule = rule_of(type_)
    if rules().get(type_) is not None or _compartment(type_):
        return True
    return any(PATIENT in schema().params(type_)[place].targets for place in rule.patient)


def _compartment(type_: str) -> tuple[str, ...]:
    return schema().compartment(PATIENT).get(type_, ())


def _bundle(bundle: Json) -> tuple[str, ...] | Follow:
    """A document belongs to its Composition's subject, any other Bundle to all whose resources are in it."""
    inside = [entry["resource"] for entry in bundle.get("entry", ()) if "resource" in entry]
    if bundle.get("type") == "document" and inside:
        return owner_references(inside[0])
    patients, followed = set[str](), set[str]()
    for resource in inside:
        match _inside(resource):
            case Follow(references=references):
                followed.update(references)
            case references:
                patients.update(references)
    return tuple(sorted(patients)) if patients or not followed else Follow(tuple(sorted(followed)))


def _inside(resource: Json) -> tuple[str, ...] | Follow:
    """As `owner_references`; a Patient in a Bundle may have no id yet."""
    if resource["resourceType"] == PATIENT and "id" not in resource:
        return (_logical(resource.get("identifier", ())),)
    return owner_references(resource)


def _patients(resource: Json, type_: str, place: str) -> tuple[str, ...]:
    """The patients named at a place of the owner rule; where none is, references that do not tell their type count as
    such.
    """
    found = _read(type_, place)(resource)
    types = [_named_type(value, resource) for value in found]
    wanted = PATIENT if PATIENT in types else None
    return tuple(sorted({_text(value, resource) for value, type_ in zip(found, types, strict=True) if type_ == wanted}))


def _in_compartment(resource: Json, type_: str) -> tuple[str, ...]:
    """The patients named by the compartment's parameters, where the reference says that it is to a Patient."""
    values = (value for place in _compartment(type_) for value in _read(type_, place)(resource))
    return tuple(sorted({_text(value, resource) for value in values if _named_type(value, resource) == PATIENT}))


def _named_type(value: ReferenceValue, resource: Json) -> str | None:
    if value.type is None and value.url is not None and value.url.startswith("#"):
        return _contained(value.url, resource).get("resourceType")
    return value.type


def _contained(url: str, resource: Json) -> Json:
    return next((one for one in resource.get("contained", ()) if one.get("id") == url[1:]), {})


def _followed(resource: Json, type_: str, place: str) -> Iterator[str]:
    """Local references only: what lies elsewhere has no owner here."""
    for value in _read(type_, place)(resource):
        if value.id is not None and value.type is not None and ownable(value.type):
            yield f"{value.type}/{value.id}"


@cache
def _read(type_: str, place: str) -> Callable[[Json], list[ReferenceValue]]:
    """The references at a place, by search parameter or by FHIRPath."""
    if "." in place:
        return _read_path(place)
    only = frozenset({place})

    def read(resource: Json) -> list[ReferenceValue]:
        values = extract(type_, resource, only).get(place, ())
        return [value for value in values if isinstance(value, ReferenceValue)]

    return read


def _read_path(expression: str) -> Callable[[Json], list[ReferenceValue]]:
    compiled = fhirpath.compile(expression)
    return lambda resource: [value for reference in compiled(resource) for value in _as_reference(reference)]


def _as_reference(node: Json) -> list[ReferenceValue]:
    """What a Reference says."""
    convert = converter("reference", "Reference")
    if convert is None:
        raise RuntimeError("a reference converts to a reference")
    return [value for value in convert(node) if isinstance(value, ReferenceValue)]


def _text(value: ReferenceValue, resource: Json) -> str:
    """A reference to a patient as one text."""
    if value.id is not None:
        return f"Patient/{value.id}"
    if value.url is None:
        return _logical_token(value.identifier)
    if value.url.startswith("#") and (identifiers := _contained(value.url, resource).get("identifier")):
        return _logical(identifiers)
    return value.url


def _logical(identifiers: Iterable[Json]) -> str:
    """The first identifier that has a value, as a conditional reference."""
    for identifier in identifiers:
        if "value" in identifier:
            return _logical_token(TokenValue(identifier.get("system"), identifier["value"]))
    return "Patient?identifier="


def _logical_token(identifier: TokenValue | None) -> str:
    if identifier is None or identifier.code is None:
        return "Patient?identifier="
    code = identifier.code.replace("\\", "\\\\").replace(",", "\\,").replace("|", "\\|")
    return f"Patient?identifier={identifier.system or ''}|{code}"
