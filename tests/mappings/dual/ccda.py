"""A record as a C-CDA Continuity of Care Document.

American ways: the kind of an allergy in `value`, its status in the concern around it, severity beside each reaction,
"none known" as a denial of the kind, "no information" as a null section; the product by its code.
Source: C-CDA R2.1 (templates 2.16.840.1.113883.10.20.22.*).
"""

from collections.abc import Callable, Sequence
from typing import Any

from tests.mappings.cda.documents import minimal
from tests.mappings.dual import xml
from tests.mappings.dual.expected import SECTIONS, unit_of
from tests.mappings.dual.model import (
    SNOMED,
    Allergy,
    Code,
    Frequency,
    Immunization,
    Medication,
    NoneKnown,
    NothingKnown,
    Panel,
    Problem,
    Reaction,
    Record,
    Result,
)
from tests.mappings.dual.xml import coded, interval, loinc, moment, null, plain, quantity, tag, template

_T = "2.16.840.1.113883.10.20.22"
_ACT_CODE, _ASSERTED, _ACT_CLASS = "2.16.840.1.113883.5.4", "ASSERTION", "2.16.840.1.113883.5.6"
_TEMPLATES = {"allergies": "2.6.1", "problems": "2.5.1", "medications": "2.1.1", "immunizations": "2.2.1"}
KINDS = {
    ("allergy", "medication"): Code(SNOMED, "416098002", "Drug allergy"),
    ("allergy", "food"): Code(SNOMED, "414285001", "Food allergy"),
    ("allergy", "environment"): Code(SNOMED, "426232007", "Environmental allergy"),
    ("intolerance", "medication"): Code(SNOMED, "59037007", "Drug intolerance"),
    ("intolerance", "food"): Code(SNOMED, "235719002", "Food intolerance"),
}
STATUSES = {
    "active": Code(SNOMED, "55561003", "Active"),
    "inactive": Code(SNOMED, "73425007", "Inactive"),
    "resolved": Code(SNOMED, "413322009", "Resolved"),
    "recurrence": Code(SNOMED, "246455001", "Recurrence"),
    "relapse": Code(SNOMED, "263855007", "Relapse"),
    "remission": Code(SNOMED, "277022003", "Remission"),
}
_ANY_ALLERGY = Code(SNOMED, "419199007", "Allergy to substance")
PROBLEM = Code(SNOMED, "55607006", "Problem")
SEVERITIES = {
    "mild": Code(SNOMED, "255604002", "Mild"),
    "moderate": Code(SNOMED, "6736007", "Moderate"),
    "severe": Code(SNOMED, "24484000", "Severe"),
}
CRITICALITIES = {"low": "CRITL", "high": "CRITH", "unable-to-assess": "CRITU"}
BOUND = {"active": "active", "completed": "completed", "stopped": "aborted", "on-hold": "suspended",
          "cancelled": "cancelled"}  # fmt: skip
RESULT_STATUS = {"final": "completed", "registered": "active", "cancelled": "aborted", "entered-in-error": "nullified"}
_MEDICATION, _VACCINE = (f"{_T}.4.{number}" for number in (23, 54))


def document(record: Record) -> bytes:
    sections = [_section(name, getattr(record, name)) for name in SECTIONS]
    sections.append(results(record.panels, f"{_T}.2.3.1"))
    return minimal("".join(sections), recordTarget=xml.record_target(record.patient), code=loinc("code", "34133-9"))


def _section(name: str, said: Sequence[object] | NoneKnown | NothingKnown) -> str:
    templates = [f"{_T}.{_TEMPLATES[name]}"]
    if isinstance(said, NothingKnown):
        return xml.section(SECTIONS[name], name, templates, flavor="NI")
    entries = [_NONE[name]()] if isinstance(said, NoneKnown) else [_WRITE[type(each)](each) for each in said]
    return xml.section(SECTIONS[name], name, templates, *entries) if entries else ""


def observation(inside: str, *, root: str, denied: bool = False) -> str:
    said = {"classCode": "OBS", "moodCode": "EVN", "negationInd": "true" if denied else None}
    return tag("observation", said, template(root), inside)


def about(kind: str, inside: str, **more: str) -> str:
    return tag("entryRelationship", {"typeCode": kind, **more}, inside)


def concern(root: str, status: str, inside: str) -> str:
    head = template(root) + plain("code", "CONC", _ACT_CLASS) + plain("statusCode", status)
    return tag("act", {"classCode": "ACT", "moodCode": "EVN"}, head, about("SUBJ", inside))


def clinical_status(status: str, root: str) -> str:
    inside = loinc("code", "33999-4") + plain("statusCode", "completed") + coded("value", STATUSES[status], kind="CD")
    return about("REFR", observation(inside, root=root))


# allergies ------------------------------------------------------------------------------------------------------------


def _allergy(allergy: Allergy) -> str:
    inside = plain("code", _ASSERTED, _ACT_CODE) + plain("statusCode", "completed")
    inside += interval("effectiveTime", allergy.onset, None)
    inside += coded("value", KINDS[allergy.type, allergy.category], kind="CD") + consumed(allergy.substance)
    inside += "".join(about("MFST", _reaction(each), inversionInd="true") for each in allergy.reactions)
    if allergy.status == "resolved":  # a concern has no word for it
        inside += clinical_status("resolved", f"{_T}.4.28")
    inside += criticality(allergy)
    made = observation(inside, root=f"{_T}.4.7", denied=allergy.status == "refuted")
    return concern(f"{_T}.4.30", "active" if allergy.status == "active" else "completed", made)


def consumed(substance: Code) -> str:
    entity = tag("playingEntity", {"classCode": "MMAT"}, coded("code", substance))
    return tag("participant", {"typeCode": "CSM"}, tag("participantRole", {"classCode": "MANU"}, entity))


def _reaction(reaction: Reaction) -> str:
    inside = plain("code", _ASSERTED, _ACT_CODE) + plain("statusCode", "completed")
    inside += coded("value", reaction.manifestation, kind="CD")
    if reaction.severity is not None:
        inside += about("SUBJ", severity(reaction.severity, f"{_T}.4.8"), inversionInd="true")
    return observation(inside, root=f"{_T}.4.9")


def severity(code: str, root: str) -> str:
    inside = plain("code", "SEV", _ACT_CODE) + plain("statusCode", "completed")
    return observation(inside + coded("value", SEVERITIES[code], kind="CD"), root=root)


def criticality(allergy: Allergy) -> str:
    if allergy.criticality is None:
        return ""
    value = {"xsi:type": "CD", "code": CRITICALITIES[allergy.criticality], "codeSystem": "2.16.840.1.113883.5.1063"}
    inside = loinc("code", "82606-5") + plain("statusCode", "completed") + tag("value", value)
    return about("SUBJ", observation(inside, root=f"{_T}.4.145"), inversionInd="true")


def _no_allergy() -> str:
    inside = plain("code", _ASSERTED, _ACT_CODE) + plain("statusCode", "completed")
    inside += coded("value", _ANY_ALLERGY, kind="CD")
    role = tag(
        "participantRole", {"classCode": "MANU"}, tag("playingEntity", {"classCode": "MMAT"}, null("code", "NA"))
    )
    inside += tag("participant", {"typeCode": "CSM"}, role)
    return concern(f"{_T}.4.30", "active", observation(inside, root=f"{_T}.4.7", denied=True))


# problems -------------------------------------------------------------------------------------------------------------


def _problem(problem: Problem) -> str:
    refuted = problem.status == "refuted"
    inside = plain("code", _ASSERTED, _ACT_CODE) + plain("statusCode", "completed")
    inside += interval("effectiveTime", problem.onset, problem.ended) + coded("value", problem.code, kind="CD")
    inside += "" if refuted else clinical_status(problem.status, f"{_T}.4.6")
    made = observation(inside, root=f"{_T}.4.4", denied=refuted)
    return concern(f"{_T}.4.3", "active" if problem.status == "active" else "completed", made)


def _no_problem() -> str:
    inside = plain("code", _ASSERTED, _ACT_CODE) + plain("statusCode", "completed") + coded("value", PROBLEM, kind="CD")
    return concern(f"{_T}.4.3", "active", observation(inside, root=f"{_T}.4.4", denied=True))


# medications, immunizations -------------------------------------------------------------------------------------------


def _medication(medication: Medication) -> str:
    times = interval("effectiveTime", medication.start, medication.end, "IVL_TS")
    times += frequency(medication.frequency)
    inside = template(f"{_T}.4.16") + plain("statusCode", BOUND[medication.status]) + times
    inside += given(medication.route, medication.dose)
    inside += product(material(coded("code", medication.product)), _MEDICATION)
    inside += as_needed(medication) + supply(medication, f"{_T}.4.17")
    return administration(inside, "INT" if medication.mood == "order" else "EVN", medication.refused)


def administration(inside: str, mood: str, denied: bool) -> str:
    said = {"classCode": "SBADM", "moodCode": mood, "negationInd": "true" if denied else "false"}
    return tag("substanceAdministration", said, inside)


def given(route: Code | None, dose: object) -> str:
    said = coded("routeCode", route) if route is not None else ""
    return said + (quantity("doseQuantity", dose) if dose is not None else "")  # type: ignore[arg-type]


def frequency(found: Frequency | None) -> str:
    """So many a day is a period that the institution places; every so many hours is one that it does not."""
    if found is None:
        return ""
    daily = found.times > 1 or (found.period, found.unit) == (1, "d")
    period = (24 // found.times, "h") if daily else (found.period, found.unit)
    said = {"xsi:type": "PIVL_TS", "operator": "A", "institutionSpecified": "true" if daily else "false"}
    return tag("effectiveTime", said, tag("period", {"value": str(period[0]), "unit": period[1]}))


def material(inside: str) -> str:
    return tag("manufacturedMaterial", None, inside)


def product(inside: str, root: str) -> str:
    made = tag("manufacturedProduct", {"classCode": "MANU"}, template(root), inside)
    return tag("consumable", None, made)


def as_needed(medication: Medication) -> str:
    if not medication.as_needed:
        return ""
    criterion = tag("criterion", None, plain("code", _ASSERTED, _ACT_CODE), null("value", "NI", "CD"))
    return tag("precondition", {"typeCode": "PRCN"}, criterion)


def supply(medication: Medication, root: str) -> str:
    """What is to be handed out: CDA counts the first supply."""
    if medication.repeats is None and medication.supply is None:
        return ""
    inside = template(root) + plain("statusCode", "completed")
    inside += tag("repeatNumber", {"value": str(medication.repeats + 1)}) if medication.repeats is not None else ""
    inside += quantity("quantity", medication.supply) if medication.supply is not None else ""
    return about("REFR", tag("supply", {"classCode": "SPLY", "moodCode": "INT"}, inside))


def _no_medication() -> str:
    inside = template(f"{_T}.4.16") + plain("statusCode", "active")
    return administration(inside + product(material(null("code", "NA")), _MEDICATION), "EVN", True)


def _immunization(found: Immunization) -> str:
    inside = template(f"{_T}.4.52") + plain("statusCode", "completed") + moment("effectiveTime", found.given)
    inside += tag("repeatNumber", {"value": str(found.number)}) if found.number is not None else ""
    inside += given(found.route, found.dose)
    lot = tag("lotNumberText", None, text=found.lot) if found.lot is not None else ""
    inside += product(material(coded("code", found.vaccine) + lot), _VACCINE) + why_not(found, f"{_T}.4.53")
    return administration(inside, "EVN", found.refused)


def why_not(found: Immunization, root: str) -> str:
    if found.why_not is None:
        return ""
    inside = coded("code", found.why_not) + plain("statusCode", "completed")
    return about("RSON", observation(inside, root=root))


def _no_immunization() -> str:
    inside = template(f"{_T}.4.52") + plain("statusCode", "completed") + null("effectiveTime", "NA")
    return administration(inside + product(material(null("code", "NA")), _VACCINE), "EVN", True)


# results --------------------------------------------------------------------------------------------------------------


def results(panels: Sequence[Panel], *templates: str) -> str:
    return xml.section("30954-2", "results", templates, *map(_panel, panels)) if panels else ""


def _panel(panel: Panel) -> str:
    inside = template(f"{_T}.4.1") + coded("code", panel.code) + plain("statusCode", "completed")
    inside += moment("effectiveTime", panel.time)
    inside += "".join(tag("component", None, result(each, f"{_T}.4.2")) for each in panel.results)
    return tag("organizer", {"classCode": "BATTERY", "moodCode": "EVN"}, inside)


def result(found: Result, root: str) -> str:
    inside = coded("code", found.code) + plain("statusCode", RESULT_STATUS[found.status])
    inside += moment("effectiveTime", found.time)
    inside += xml.value(found.value) if found.value is not None else ""
    inside += "".join(plain("interpretationCode", each, "2.16.840.1.113883.5.83") for each in found.interpretations)
    if found.note is not None:
        comment = loinc("code", "48767-8") + tag("text", None, text=found.note)
        inside += about("SUBJ", tag("act", {"classCode": "ACT", "moodCode": "EVN"}, comment), inversionInd="true")
    if found.limits is not None:
        inside += xml.limits(found.limits, unit_of(found.value))
    return observation(inside, root=root)


_WRITE: dict[type, Callable[[Any], str]] = {
    Allergy: _allergy,
    Problem: _problem,
    Medication: _medication,
    Immunization: _immunization,
}
_NONE = {
    "allergies": _no_allergy, "problems": _no_problem, "medications": _no_medication,
    "immunizations": _no_immunization,
}  # fmt: skip
