"""What histories say of the person and FHIR keeps with her: extensions of Patient, and no Observation.

Sex at birth, sex, gender identity, pronouns, tribal affiliation, whether she needs an interpreter: rows are
`social.Patient.csv`. Only extensions that a standard names; sexual orientation has none and stays an Observation.
They are statements, no demographics: a patient who is known already has them too, though the document only follows what
another feed says of her name.
Source: C-CDA on FHIR, social history; US Core 8 and FHIR extensions of Patient.
"""

from typing import Final

from mappings.cda.element import Element
from mappings.cda.paths import code_of
from mappings.cda.walk import Walk

# LOINC: sex assigned at birth, gender identity, sex, pronouns, tribal affiliation, interpreter needed
_PERSONAL: Final = frozenset({"76689-9", "76691-5", "46098-0", "90778-2", "95370-3", "54588-9"})


def is_personal(el: Element, ctx: Walk) -> bool:
    """Whether a statement is about who the patient is."""
    return ctx.patient is not None and any(code_of(each) in _PERSONAL for each in el.named("code"))


def personal(walk: Walk, el: Element) -> None:
    """Into the patient; said twice it stays one."""
    patient = walk.patient
    if patient is None or walk.negated or walk.is_of_another(el):
        walk.refuse(el, "negated" if walk.negated else "about another person")
        return
    filled, known = patient.filled, len(patient.body.get("extension", ()))
    walk.fill("social.Patient", el, patient)
    patient.filled = filled + patient.filled
    said = patient.body.get("extension", [])
    if len(said) == known:
        walk.tell(el, "narrative")
        return
    if patient.mode == "stub" or walk.personal:
        patient.mode = "update"
        walk.personal |= {each["url"] for each in said[known:]}
    patient.body["extension"] = [each for number, each in enumerate(said) if each not in said[:number]]
    walk.tell(el, "mapped", patient.ref)


def follow(walk: Walk) -> None:
    """Of a patient whom the document only follows the statements count, and nothing else where she is known already."""
    if walk.patient is None or not walk.personal:
        return
    body = walk.patient.body
    others = {each["url"] for each in body["extension"]} - walk.personal
    known = [name for name in body if name not in ("extension", "id", "meta", "resourceType")]
    walk.patient.filled = known + [f"extension({url})" for url in sorted(others)]
