"""What must survive: the safety facts of resources, one tuple each, comparable whatever ids the resources have.

Negation, status, code, value with unit, dose, whose it is, and "there is none" against "nobody knows" (design chapter
CDA §16, §20). A concept is its codings and its text; a number its lexeme.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from mappings.fhir.codec import encode
from mappings.vitals import beside

Json = dict[str, Any]
Fact = tuple[str, ...]

ROOT = Path(__file__).parents[4]
# what a statement says of itself, besides which: element → how it is read
_STATED = {
    "AllergyIntolerance": ("clinicalStatus", "verificationStatus", "criticality", "onset", "type"),
    "Condition": ("clinicalStatus", "verificationStatus", "severity", "onset", "abatement"),
    "Immunization": ("status", "occurrence", "lotNumber", "doseQuantity", "statusReason", "route"),
    "Procedure": ("status", "performed", "bodySite"),
    "DiagnosticReport": ("status", "effective", "conclusion"),
    "Observation": ("status", "effective", "value", "dataAbsentReason", "interpretation", "referenceRange"),
    "DeviceUseStatement": ("status", "timing"),
}


def facts(resources: list[Json]) -> Counter[Fact]:
    """The facts of every statement, and of the document's empty sections."""
    return Counter(fact for fact, _ in told_by(resources))


def told_by(resources: list[Json]) -> list[tuple[Fact, str]]:
    """The same, each with the resource that tells it."""
    known = {f"{each['resourceType']}/{each['id']}": each for each in resources}
    return [(fact, ref) for ref, body in known.items() for fact in _facts(body, known)]


def _facts(body: Json, known: dict[str, Json]) -> Iterator[Fact]:
    kind = body["resourceType"]
    if kind in ("MedicationRequest", "MedicationStatement"):
        yield from _medication(body, known)
    elif kind == "Patient":
        yield "Patient", _numbers(body)
        for name in ("name", "birthDate", "gender", "deceasedBoolean", "deceasedDateTime"):
            yield "Patient", name, _plain(body.get(name))
    elif kind == "Composition":
        yield from (fact for each in body.get("section", ()) for fact in _empty(each))
    elif kind in _STATED:
        code = _code(body.get("code") or body.get("vaccineCode"))
        yield kind, code, "of", _owner(body, known)
        for name in _STATED[kind] if not code.startswith("none: ") else ("clinicalStatus",):
            for member in sorted(body):
                stem = member.removeprefix("_")
                if stem == name or (stem.startswith(name) and stem[len(name) :][:1].isupper()):
                    yield kind, code, member, _plain(body[member])
        for each in body.get("reaction", ()) if kind == "AllergyIntolerance" else ():
            yield kind, code, "reaction", str([*map(_code, each["manifestation"]), each.get("severity")])
        for each in body.get("component", ()):
            yield from _component(each, body)


def _component(component: Json, body: Json) -> Iterator[Fact]:
    """A component says what an observation of its own would: what is measured together may be told apart."""
    code = _code(component["code"])
    for member in sorted(component):
        if member.startswith(("value", "dataAbsentReason")):
            yield "Observation", code, member, _plain(component[member])


def _medication(body: Json, known: dict[str, Json]) -> Iterator[Fact]:
    code = _code(_product(body, known))
    status = body["status"]
    denied = body.get("doNotPerform") is True or status == "not-taken"
    yield "medication", code, "of", _owner(body, known)
    yield "medication", code, "denied" if denied else f"status {status}", body.get("intent", "")
    for dosage in [*body.get("dosage", ()), *body.get("dosageInstruction", ())]:
        yield (
            "medication",
            code,
            "dosage",
            _plain({name: value for name, value in dosage.items() if name != "sequence"}),
        )
    for name in ("numberOfRepeatsAllowed", "quantity"):
        if name in body.get("dispenseRequest", {}):
            yield "medication", code, name, _plain(body["dispenseRequest"][name])


def _product(body: Json, known: dict[str, Json]) -> Any:
    if "medicationCodeableConcept" in body:
        return body["medicationCodeableConcept"]
    target = body.get("medicationReference", {}).get("reference", "")
    inside = {f"#{each['id']}": each for each in body.get("contained", ())}
    return (inside.get(target) or known.get(target) or {}).get("code")


def _empty(section: Json) -> Iterator[Fact]:
    code = _code(section.get("code"), display=False)
    if "emptyReason" in section:
        yield "nobody knows", code
    for each in section.get("section", ()):
        yield from _empty(each)


def _owner(body: Json, known: dict[str, Json]) -> str:
    """Whose it is, by numbers."""
    target = (body.get("subject") or body.get("patient") or {}).get("reference", "")
    return _numbers(known.get(target, {}))


def _numbers(patient: Json) -> str:
    names = ("system", "value", "_value")
    found = [{name: each[name] for name in names if name in each} for each in patient.get("identifier", ())]
    return _plain(found) if found else "[]"


@cache
def no_known() -> frozenset[str]:
    """SNOMED CT's codes of a known absence: what else was sent for one says the same in other words."""
    with (ROOT / "mappings/cda/absent.csv").open(encoding="utf-8", newline="") as file:
        return frozenset(row["snomed"] for row in csv.DictReader(file) if row["snomed"])


def _code(concept: Json | None, *, display: bool = True) -> str:
    names = ("system", "code", "display") if display else ("system", "code")
    if none := {each.get("code") for each in (concept or {}).get("coding", ())} & no_known():
        return f"none: {min(none)}"
    sent = (concept or {}).get("coding", [])
    codings = [tuple(each.get(name) for name in names) for each in sent if len(sent) == 1 or not _added(each)]
    return str((sorted(codings, key=str), (concept or {}).get("text") if display else None))


def _added(coding: Json) -> bool:
    """Whether a coding is one that R4's profile of a vital sign has us add: nobody sent it."""
    return "display" not in coding and coding.get("code") in {
        "85353-1",
        *beside(),
        *" ".join(beside().values()).split(),
    }


def _plain(value: Any) -> str:
    """A value as text, keys in order."""
    return json.dumps(_measured(json.loads(encode({"v": value}), parse_float=str)), sort_keys=True)


def _measured(value: Any) -> Any:
    """A unit that has its UCUM code needs no words; the digits of a number are text."""
    if isinstance(value, dict):
        kept = {name: _measured(each) for name, each in value.items() if not (name == "unit" and "code" in value)}
        return kept
    return [_measured(each) for each in value] if isinstance(value, list) else value
