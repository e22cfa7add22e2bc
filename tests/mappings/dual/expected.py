"""What a record means in FHIR, and what each form says of it otherwise.

`meant` is FHIR's side alone: no emitter, no mapping. `told` is that as one form can tell it: `DIFFERENCES` has a row
for whatever a form cannot say, says with less, or says besides, with its reason; nothing else may differ.
Source: FHIR R4; C-CDA on FHIR; HL7 v2-to-FHIR guide; the tables that the reasons name.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, NamedTuple

from tests.mappings.dual.facts import Fact, plain
from tests.mappings.dual.model import (
    SNOMED,
    Allergy,
    Amount,
    Between,
    Code,
    Immunization,
    Limits,
    Measured,
    Medication,
    Moment,
    Name,
    NoneKnown,
    NothingKnown,
    Panel,
    Patient,
    Problem,
    Record,
    Result,
    Text,
    Titre,
    Unsaid,
    Value,
)

Form = Literal["ccda", "ehdsi", "v2"]
SECTIONS: Final = {
    "allergies": "48765-2", "problems": "11450-4", "medications": "10160-0", "immunizations": "11369-6",
}  # fmt: skip
_CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/condition-category|problem-list-item"
_LABORATORY: Final = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
_REPORT: Final = "http://terminology.hl7.org/CodeSystem/v2-0074|LAB"
_SIGNS: Final = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
_MARITAL: Final = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"
_UNKNOWN: Final = plain(
    {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}
)
_NONE: Final = {
    "allergies": ("AllergyIntolerance", Code(SNOMED, "716186003", "No known allergy")),
    "problems": ("Condition", Code(SNOMED, "160245001", "No current problems or disability")),
    "medications": ("MedicationStatement", Code(SNOMED, "787481004", "No known medications")),
    "immunizations": ("Immunization", Code(SNOMED, "787482006", "No known immunizations")),
}
_THAT_THERE_IS_NONE: Final = {
    "AllergyIntolerance": [("clinical", "active")],
    "Condition": [("clinical", "active"), ("category", _CATEGORY)],
    "MedicationStatement": [("status", "active")],
    "Immunization": [("status", "not-done"), ("_occurrenceDateTime", _UNKNOWN)],
}


def meant(record: Record) -> frozenset[Fact]:
    """All facts of a record."""
    return frozenset(_all(record))


def _all(record: Record) -> Iterator[Fact]:
    whose = f"{record.patient.numbers[0].system}|{record.patient.numbers[0].value}"
    yield from (Fact("Patient", "patient", *said) for said in _patient(record.patient))
    for name, section in SECTIONS.items():
        said = getattr(record, name)
        if isinstance(said, NothingKnown):
            yield Fact("Composition", section, "emptyReason", "unavailable")
        elif isinstance(said, NoneKnown):
            yield from _none(name, whose)
        else:
            for each in said:
                kind, code, pairs = _SAYS[type(each)](each)
                yield from _statement(kind, code, whose, pairs)
    for panel in record.panels:
        yield from _statement("DiagnosticReport", panel.code, whose, _report(panel))
        for result in panel.results:
            yield from _statement("Observation", result.code, whose, _result(result, panel))


def _statement(kind: str, code: Code, whose: str, pairs: Iterator[tuple[str, str]]) -> Iterator[Fact]:
    for element, value in (("code", shown(code)), ("of", whose), *pairs):
        yield Fact(kind, shown(code), element, value)


def _none(name: str, whose: str) -> Iterator[Fact]:
    kind, code = _NONE[name]
    return _statement(kind, code, whose, iter(_THAT_THERE_IS_NONE[kind]))


def shown(code: Code) -> str:
    """A coding; the words of HL7's own systems are HL7's to choose, and what was sent is text."""
    if code.system.uri.startswith("http://terminology.hl7.org/"):
        return f"{code.system.uri}|{code.code}| ; ({code.display})"
    return f"{code.system.uri}|{code.code}|{code.display}"


# statements -----------------------------------------------------------------------------------------------------------

Pairs = Iterator[tuple[str, str]]


def _patient(patient: Patient) -> Pairs:
    for number in patient.numbers:
        yield "number", f"{number.system}|{number.value}"
    for name in patient.names:
        yield "name", plain(_named(name))
    yield "sex", patient.sex
    if patient.birth is not None:
        yield "birth", patient.birth[:10]
        if "T" in patient.birth:
            yield "birth time", patient.birth
    for address in patient.addresses:
        parts = {
            "line": list(address.lines), "city": address.city, "postalCode": address.postal_code,
            "state": address.state, "country": address.country, "use": address.use,
        }  # fmt: skip
        yield "address", plain({key: part for key, part in parts.items() if part is not None})
    for telecom in patient.telecoms:
        yield "telecom", plain({"system": telecom.system, "value": telecom.value, "use": telecom.use})
    if patient.dead:
        yield "dead", "true" if patient.dead is True else str(patient.dead)
    if patient.marital is not None:
        yield "marital", f"{_MARITAL}|{patient.marital}"


def _named(name: Name) -> dict[str, object]:
    parts = {"family": name.family, "given": " ".join(name.given), "use": name.use}
    lists = {"prefix": name.prefix, "suffix": name.suffix}
    return {key: part for key, part in parts.items() if part} | {key: [part] for key, part in lists.items() if part}


def _allergy(allergy: Allergy) -> tuple[str, Code, Pairs]:
    def said() -> Pairs:
        refuted = allergy.status == "refuted"
        yield "clinical", "inactive" if refuted else allergy.status
        if refuted:
            yield "verification", "refuted"
        yield "type", allergy.type
        yield "category", allergy.category
        if allergy.criticality is not None:
            yield "criticality", allergy.criticality
        if allergy.onset is not None:
            yield "onset", allergy.onset
        for reaction in allergy.reactions:
            yield "reaction", f"{shown(reaction.manifestation)} {reaction.severity or ''}".strip()

    return "AllergyIntolerance", allergy.substance, said()


def _problem(problem: Problem) -> tuple[str, Code, Pairs]:
    def said() -> Pairs:
        refuted = problem.status == "refuted"
        yield "clinical", "inactive" if refuted else problem.status
        if refuted:
            yield "verification", "refuted"
        yield "category", _CATEGORY
        if problem.onset is not None:
            yield "onset", problem.onset
        if problem.ended == "unknown":
            yield "_abatementDateTime", _UNKNOWN
        elif problem.ended is not None:
            yield "abatement", problem.ended

    return "Condition", problem.code, said()


def _medication(medication: Medication) -> tuple[str, Code, Pairs]:
    listed, refused = medication.mood == "listed", medication.refused

    def said() -> Pairs:
        if listed and refused:
            yield "status", "not-taken"
            if medication.start is not None or medication.end is not None:
                yield "when", f"{medication.start or ''} to {medication.end or ''}"
        else:
            yield "status", medication.status
            yield "intent", "plan" if listed else "order"
            if refused:
                yield "do not", "true"
        yield from _dosage(medication)
        if not (listed and refused):
            if medication.repeats is not None:
                yield "supply.numberOfRepeatsAllowed", str(medication.repeats)
            if medication.supply is not None:
                yield "supply.quantity", amount(medication.supply)

    return "MedicationStatement" if listed and refused else "MedicationRequest", medication.product, said()


def _dosage(medication: Medication) -> Pairs:
    if medication.dose is not None:
        yield "dosage.dose", amount(medication.dose)
    if medication.route is not None:
        yield "dosage.route", shown(medication.route)
    if medication.frequency is not None:
        every = medication.frequency
        yield "dosage.every", f"{every.times} {every.period} {every.unit}"
    if medication.start is not None or medication.end is not None:
        yield "dosage.bounds", f"{medication.start or ''} to {medication.end or ''}"
    if medication.as_needed:
        yield "dosage.asNeededBoolean", "true"


def _immunization(given: Immunization) -> tuple[str, Code, Pairs]:
    def said() -> Pairs:
        yield "status", "not-done" if given.refused or given.vaccine.code == "998" else "completed"
        yield "when", given.given
        if given.why_not is not None:
            yield "why not", shown(given.why_not)
        if given.lot is not None:
            yield "lot", given.lot
        if given.dose is not None:
            yield "dose", amount(given.dose)
        if given.route is not None:
            yield "route", shown(given.route)
        if given.number is not None:
            yield "series", plain({"doseNumberPositiveInt": str(given.number)})

    return "Immunization", given.vaccine, said()


def _report(panel: Panel) -> Pairs:
    yield "status", "partial" if any(each.status == "registered" for each in panel.results) else "final"
    yield "category", _REPORT
    yield "when", panel.time
    for result in panel.results:
        if result.status != "entered-in-error":
            yield "result", shown(result.code)


def _result(result: Result, panel: Panel) -> Pairs:
    yield "status", result.status
    yield "category", _LABORATORY
    yield "when", result.time or panel.time
    if result.value is not None:
        yield _value(result.value)
    for sign in result.interpretations:
        yield "interpretation", f"{_SIGNS}|{sign}"
    if result.limits is not None:
        yield "limits", _limits(result.limits, unit_of(result.value))
    if result.note is not None:
        yield "note", result.note


def unit_of(value: Value | None) -> str:
    if isinstance(value, Measured):
        return value.amount.unit
    return value.low.unit if isinstance(value, Between) else ""


def _limits(limits: Limits, unit: str) -> str:
    ends = [amount(Amount(end, unit)) if end is not None else "" for end in (limits.low, limits.high)]
    return f"{ends[0]} to {ends[1]} ({limits.text})"


def _value(value: Value) -> tuple[str, str]:
    match value:
        case Measured():
            return "value", (value.comparator or "") + amount(value.amount)
        case Between():
            return "value", f"{amount(value.low)} to {amount(value.high)}"
        case Titre():
            return "value", f"{value.numerator} : {value.denominator}"
        case Text():
            return "value", value.text
        case Moment():
            return "value", value.time
        case Code():
            return "value", shown(value)
        case Unsaid():
            return "no value", value.reason


def amount(found: Amount) -> str:
    return f"{found.number} {found.unit}".strip()


_SAYS: Final[dict[type, Callable[[Any], tuple[str, Code, Pairs]]]] = {
    Allergy: _allergy,
    Problem: _problem,
    Medication: _medication,
    Immunization: _immunization,
}


# differences ----------------------------------------------------------------------------------------------------------


class Difference(NamedTuple):
    """What a form says otherwise of a statement that has a fact like `where` ("element=value", a pattern)."""

    forms: tuple[Form, ...]
    kind: str
    where: str
    element: str  # what gives way: that fact, else all of this element; `*`: the statement is not told at all
    said: tuple[str, ...]  # what stands there instead; \\1 is a group of `where`
    reason: str
    unless: str = "nothing"  # another fact of the statement, for which the difference does not hold


_V2: Final[tuple[Form, ...]] = ("v2",)
_TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem/"
_WORD: Final = (
    '{{"extension": [{{"url": "{}", "valueCodeableConcept": {{"coding": [{{"code": "{}", "system": "{}"}}]}}}}]}}'
)
_ABSENT: Final = "http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-uv-ips"
_ALTERNATE: Final = "http://hl7.org/fhir/StructureDefinition/alternate-codes"
DIFFERENCES: Final = (
    # what European documents say besides
    *(
        Difference(("ehdsi",), kind, f"code=({re.escape(shown(code))})", "code", (rf"\1 ; {_ABSENT}|no-known-{name}|",),
                   "the absent-unknown code that was sent stands beside IPS 2.0's")
        for name, (kind, code) in _NONE.items()
    ),
    Difference(("ehdsi",), "Condition", "category=(.*)", "category", (r"\1", f"{SNOMED.uri}|55607006"),
               "condition.Condition:category-code, the kind of problem; American ones are assertions"),
    # what documents say otherwise
    Difference(("ccda", "ehdsi"), "Observation", r"value=(\S+( \S+)?) to \1", "value", (r"\1",),
               "an interval whose ends are one number is that number"),
    *(
        Difference(("ccda", "ehdsi"), kind, r"dosage.bounds=(\S+) to \1", element, said,
                   "GTS[Timing]: an interval of equal ends is a time", "dosage.every=.*")
        for kind in ("MedicationRequest", "MedicationStatement")
        for element, said in (("dosage.bounds", ()), ("dosage.event", (r'["\1"]',)))
    ),
    *(
        Difference(("ccda", "ehdsi"), "MedicationStatement", r"when=(\S+) to \1", element, said,
                   "GTS[effective]: an interval of equal ends is a time", "dosage.every=.*")
        for element, said in (("when", ()), ("effectiveDateTime", (r"\1",)))
    ),
    # what v2 cannot say
    Difference(_V2, "Composition", "emptyReason=.*", "*", (), "no field says that nothing is known"),
    Difference(_V2, "MedicationStatement", "status=.*", "*", (), "no segment says what is not taken"),
    Difference(_V2, "MedicationRequest", "intent=plan", "*", (), "pharmacy messages order; none lists what is taken"),
    Difference(_V2, "MedicationRequest", "do not=true", "*", (), "no order not to give (table 0119 has none)"),
    Difference(_V2, "Immunization", "code=.*No known immunizations", "*", (), "RXA tells of one vaccine, given or not"),
    Difference(_V2, "AllergyIntolerance", "verification=refuted", "*", (), "table 0438 has no refuted"),
    Difference(_V2, "AllergyIntolerance", "clinical=resolved", "clinical", ("inactive",), "table 0438 has no resolved"),
    Difference(_V2, "Condition", "_abatementDateTime=.*", "_abatementDateTime", (), "PRB-9 is a time or empty"),
    Difference(_V2, "Observation", "no value=.*", "no value", (), "OBX-5 is empty and says not why"),
    Difference(_V2, "AllergyIntolerance", "criticality=unable-to-assess", "criticality", (),
               "table 0128 has unknown, which the guide maps to nothing"),
    # what v2 says besides, by the rows that are named
    Difference(_V2, "AllergyIntolerance", "clinical=.*", "verification", ("confirmed",),
               "table 0438, C and I: confirmed; CDA has no word of it"),
    Difference(_V2, "AllergyIntolerance", "criticality=low", "_criticality",
               (_WORD.format(_ALTERNATE, "MI", _TERMINOLOGY + "v2-0128"),), "IAM.AllergyIntolerance:4b, the word sent"),
    Difference(_V2, "AllergyIntolerance", "criticality=high", "_criticality",
               (_WORD.format(_ALTERNATE, "SV", _TERMINOLOGY + "v2-0128"),), "IAM.AllergyIntolerance:4b, the word sent"),
    Difference(_V2, "AllergyIntolerance", "criticality=unable-to-assess", "extension urn:chartbridge:source-code",
               (f'{{"valueCoding": {{"code": "U", "system": "{_TERMINOLOGY}v2-0128"}}}}',), "the word sent, unmapped"),
    Difference(_V2, "Patient", r"marital=(.*)\|(.)", "marital", (rf"\1|\2 ; {_TERMINOLOGY}v2-0002|\2",),
               "PID.Patient:16, table 0002's code stands beside"),
    Difference(_V2, "Observation", r"interpretation=(.*)\|(.*)", "interpretation",
               (rf"\1|\2 ; {_TERMINOLOGY}v2-0078|\2",), "OBX.Observation:8, table 0078's code stands beside"),
    Difference(_V2, "MedicationRequest", "intent=order", "extension urn:chartbridge:business-event",
               (plain({"extension": [{"url": "value", "valueCodeableConcept": {"coding": [
                   {"code": "NW", "system": f"{_TERMINOLOGY}v2-0119"}]}}]}),), "ORC.MedicationRequest:1, ORC-1"),
    Difference(_V2, "Observation", "status=registered", "no value", ("temp-unknown",), "OBX-11 I: still to come"),
    Difference(_V2, "Observation", "status=cancelled", "no value", ("not-performed",), "OBX-11 X: could not be got"),
    # what v2 says in other words
    Difference(_V2, "MedicationRequest", "intent=order", "intent", ("original-order",), "RXE.MedicationRequest:0"),
    Difference(_V2, "Observation", "category=.*", "category", (), "OBR-24 is of the report, OBX has no category"),
)  # fmt: skip


def told(record: Record, form: Form) -> frozenset[Fact]:
    """What a form tells of a record."""
    found: set[Fact] = set()
    whole = meant(record)
    for kind, statement in {(fact.kind, fact.statement) for fact in whole}:
        found |= _otherwise([fact for fact in whole if fact[:2] == (kind, statement)], form)
    return frozenset(found)


def _otherwise(statement: list[Fact], form: Form) -> set[Fact]:
    kind, name = statement[0][:2]
    found = set(statement)
    for each, fact, match in applied(statement, form):
        if each.element == "*":
            return set()
        found -= {fact} if fact.element == each.element else {one for one in found if one.element == each.element}
        found |= {Fact(kind, name, each.element, match.expand(said)) for said in each.said}
    return found


def applied(statement: list[Fact], form: Form) -> Iterator[tuple[Difference, Fact, re.Match[str]]]:
    """The differences of a statement, with what they match."""
    for each in DIFFERENCES:
        if form in each.forms and each.kind == statement[0].kind:
            if any(re.fullmatch(each.unless, f"{fact.element}={fact.value}", re.DOTALL) for fact in statement):
                continue
            for fact in statement:
                if (match := re.fullmatch(each.where, f"{fact.element}={fact.value}", re.DOTALL)) is not None:
                    yield each, fact, match
