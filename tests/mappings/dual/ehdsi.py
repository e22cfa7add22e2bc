"""A record as a European patient summary.

European ways: the kind of an allergy in `code`, its status always in an observation, one severity for all reactions;
codes with the words of the pivot and of the country as translations; drugs by the class of their substance (ATC);
times in the other order; "none known" and "no information" as codes.
Source: eHDSI patient summary (templates 1.3.6.1.4.1.12559.11.10.1.3.1.*), IHE PCC TF-2; HL7 pharmacy extensions.
"""

from collections.abc import Callable, Sequence
from typing import Any

from tests.mappings.cda.documents import minimal
from tests.mappings.dual import ccda, xml
from tests.mappings.dual.ccda import about, administration, frequency, given, observation, product
from tests.mappings.dual.expected import SECTIONS
from tests.mappings.dual.model import (
    ATC,
    SNOMED,
    Allergy,
    Amount,
    Code,
    Immunization,
    Medication,
    NoneKnown,
    NothingKnown,
    Panel,
    Problem,
    Reaction,
    Record,
)
from tests.mappings.dual.xml import coded, interval, loinc, moment, null, plain, quantity, tag, template

_Q = "1.3.6.1.4.1.12559.11.10.1.3.1"
_ABSENT = "2.16.840.1.113883.5.1150.1"
_SECTIONS = {"allergies": 12, "problems": 9, "medications": 3, "immunizations": 15}
_SINGULAR = {
    "allergies": "allergy",
    "problems": "problem",
    "medications": "medication",
    "immunizations": "immunization",
}
_FINDING = Code(SNOMED, "404684003", "Clinical finding")
_PHARMACY = "urn:hl7-org:pharm"


def document(record: Record) -> bytes:
    sections = [_section(name, getattr(record, name)) for name in SECTIONS]
    sections.append(_results(record.panels))
    return minimal(
        "".join(sections),
        templateId=template(f"{_Q}.1.3"),
        code=loinc("code", "60591-5"),
        languageCode=tag("languageCode", {"code": "de-AT"}),
        recordTarget=xml.record_target(record.patient),
    )


def _section(name: str, said: Sequence[object] | NoneKnown | NothingKnown) -> str:
    if isinstance(said, NoneKnown):
        entries = [_absent(name, f"no-known-{name}")]
    elif isinstance(said, NothingKnown):
        entries = [_absent(name, f"no-{_SINGULAR[name]}-info")]
    else:
        entries = [_WRITE[type(each)](each) for each in said]
    return xml.section(SECTIONS[name], name, [f"{_Q}.2.{_SECTIONS[name]}"], *entries) if entries else ""


def _translated(name: str, code: Code, kind: str | None = None) -> str:
    """The code with the pivot's words for it, inside them those of the country."""
    national = tag("translation", {"displayName": f"{code.display} (national)"})
    said = {"code": code.code, "codeSystem": code.system.oid, "displayName": f"{code.display} (pivot)"}
    return coded(name, code, tag("translation", said, national), kind=kind)


def _absent(name: str, code: str) -> str:
    """That there is none, or no information, stands where the code of the statement would."""
    if name in ("medications", "immunizations"):
        number = 4 if name == "medications" else 19
        inside = template(f"{_Q}.3.{number}") + plain("code", code, _ABSENT) + plain("statusCode", "completed")
        return administration(inside + product(ccda.material(null("code", "NA")), f"{_Q}.3.1"), "EVN", False)
    if name == "problems":
        inside = _problem_type() + tag("value", {"xsi:type": "CD", "code": code, "codeSystem": _ABSENT})
        return _concern(15, "active", observation(inside, root=f"{_Q}.3.7"))
    inside = plain("code", code, _ABSENT) + plain("statusCode", "completed")
    return _concern(16, "active", observation(inside, root=f"{_Q}.3.17"))


def _concern(number: int, status: str, inside: str) -> str:
    head = template(f"{_Q}.3.{number}") + null("code", "NA") + plain("statusCode", status)
    return tag("act", {"classCode": "ACT", "moodCode": "EVN"}, head, about("SUBJ", inside, inversionInd="false"))


# allergies, problems --------------------------------------------------------------------------------------------------


def _allergy(allergy: Allergy) -> str:
    severities = {each.severity for each in allergy.reactions}
    common = severities.pop() if len(severities) == 1 else None
    inside = coded("code", ccda.KINDS[allergy.type, allergy.category]) + plain("statusCode", "completed")
    inside += interval("effectiveTime", allergy.onset, None) + ccda.consumed(allergy.substance)
    inside += "".join(about("MFST", _reaction(each, common is None), inversionInd="true") for each in allergy.reactions)
    if common is not None:
        inside += about("SUBJ", ccda.severity(common, f"{_Q}.3.8"), inversionInd="true")
    if allergy.status != "refuted":
        inside += ccda.clinical_status(allergy.status, f"{_Q}.3.9")
    inside += ccda.criticality(allergy)
    made = observation(inside, root=f"{_Q}.3.17", denied=allergy.status == "refuted")
    return _concern(16, "active" if allergy.status == "active" else "completed", made)


def _reaction(reaction: Reaction, alone: bool) -> str:
    inside = coded("code", _FINDING) + plain("statusCode", "completed")
    inside += _translated("value", reaction.manifestation, kind="CD")
    if reaction.severity is not None and alone:
        inside += about("SUBJ", ccda.severity(reaction.severity, f"{_Q}.3.8"), inversionInd="true")
    return observation(inside, root=f"{_Q}.3.44")


def _problem_type() -> str:
    return coded("code", ccda.PROBLEM) + plain("statusCode", "completed")


def _problem(problem: Problem) -> str:
    refuted = problem.status == "refuted"
    inside = _problem_type() + interval("effectiveTime", problem.onset, problem.ended)
    inside += _translated("value", problem.code, kind="CD")
    inside += "" if refuted else ccda.clinical_status(problem.status, f"{_Q}.3.9")
    return _concern(15, "active", observation(inside, root=f"{_Q}.3.7", denied=refuted))


# medications, immunizations -------------------------------------------------------------------------------------------


def _medication(medication: Medication) -> str:
    inside = template(f"{_Q}.3.4") + plain("statusCode", ccda.BOUND[medication.status])
    inside += frequency(medication.frequency) + interval("effectiveTime", medication.start, medication.end, "IVL_TS")
    inside += given(medication.route, None) + _dose(medication.dose)
    inside += product(_material(medication.product), f"{_Q}.3.1") + ccda.as_needed(medication)
    inside += ccda.supply(medication, f"{_Q}.3.3")
    return administration(inside, "INT" if medication.mood == "order" else "EVN", medication.refused)


def _dose(dose: Amount | None) -> str:
    """Doses are ranges; one amount is both its ends."""
    if dose is None:
        return ""
    return tag("doseQuantity", None, quantity("low", dose) + quantity("high", dose))


def _material(code: Code) -> str:
    """A class of substances stands beside the product, which has no code of its own."""
    if code.system != ATC:
        return ccda.material(_translated("code", code))
    kind = tag("pharm:generalizedMaterialKind", None, _translated("pharm:code", code))
    inside = null("code", "NI") + tag("pharm:asSpecializedKind", {"classCode": "GRIC"}, kind)
    return tag("manufacturedMaterial", {"xmlns:pharm": _PHARMACY}, inside)


def _immunization(found: Immunization) -> str:
    inside = template(f"{_Q}.3.19") + plain("statusCode", "completed") + moment("effectiveTime", found.given)
    inside += given(found.route, found.dose)
    lot = tag("lotNumberText", None, text=found.lot) if found.lot is not None else ""
    inside += product(ccda.material(_translated("code", found.vaccine) + lot), f"{_Q}.3.18")
    inside += ccda.why_not(found, "1.3.6.1.4.1.19376.1.5.3.1.4.5")
    if found.number is not None:
        number = tag("value", {"xsi:type": "INT", "value": str(found.number)})
        inside += about("SUBJ", observation(loinc("code", "30973-2") + number, root=f"{_Q}.3.28"))
    return administration(inside, "EVN", found.refused)


# results --------------------------------------------------------------------------------------------------------------


def _results(panels: Sequence[Panel]) -> str:
    return xml.section("30954-2", "results", [f"{_Q}.2.5"], *map(_panel, panels)) if panels else ""


def _panel(panel: Panel) -> str:
    inside = template(f"{_Q}.3.42") + _translated("code", panel.code) + plain("statusCode", "completed")
    inside += moment("effectiveTime", panel.time)
    inside += "".join(tag("component", None, ccda.result(each, f"{_Q}.3.43")) for each in panel.results)
    return tag("organizer", {"classCode": "CLUSTER", "moodCode": "EVN"}, inside)


_WRITE: dict[type, Callable[[Any], str]] = {
    Allergy: _allergy,
    Problem: _problem,
    Medication: _medication,
    Immunization: _immunization,
}
