"""Withdrawals and statuses of allergies, diagnoses and procedures; who pays and who is insured.

A statement is withdrawn aloud: an action code D makes it entered-in-error and takes the clinical status away
(ait-2, con-5).

Source: design chapter HL7 v2 §8 (action codes, IAM-17), §4 (insurance).
"""

from typing import Any

from mappings.fhir.values import absent
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes import coded
from mappings.hl7v2.datatypes.text import at, first
from mappings.hl7v2.rules import Json, finish, function
from mappings.hl7v2.rules.patients import patient_group
from mappings.rows.runtime import NULL
from mappings.terminology.concept_map import ConceptMap

_SYSTEM = "http://terminology.hl7.org/CodeSystem/"
DELETED = frozenset({"D", "DE"})
# IAM-17, table 0438: clinical status, verification status; empty and unknown codes are active
_ALLERGY = {
    "C": ("active", "confirmed"),
    "I": ("inactive", "confirmed"),
    **dict.fromkeys(("U", "P", "S", "D"), ("active", "unconfirmed")),
}


@function("DG1[CodeableConcept]", "CodeableConcept")
def diagnosis(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """DG1-3; before 2.4 the code stands alone, and DG1-2 says of which system it is (`I9`)."""
    parts, method = raw.split(ctx.comp), ctx.seg.field(2).split(ctx.rep)[0]
    if at(parts, 1) and not at(parts, 3) and method and method != NULL and (system := first(method, ctx)):
        parts = [*parts[:2], *[""] * (2 - len(parts)), system, *parts[3:]]
    return coded.cwe_concept(ctx.comp.join(parts), ctx, vocab)


def _status(system: str, code: str) -> Json:
    return {"coding": [{"system": _SYSTEM + system, "code": code}]}


def _code(builder: Builder, field: int, ctx: Assembly) -> str:
    segment = builder.segment
    return segment.field(field).split(ctx.comp, 1)[0].strip() if segment is not None else ""


@finish("allergy_status")
def allergy_status(ctx: Assembly, builder: Builder) -> None:
    """IAM-17, and IAM-6 over it."""
    if builder.segment is None or builder.segment.name != "IAM":
        return
    code = _code(builder, 17, ctx)
    if _code(builder, 6, ctx) in DELETED or code == "E":
        builder.body.pop("clinicalStatus", None)
        builder.body["verificationStatus"] = _status("allergyintolerance-verification", "entered-in-error")
        builder.clear.append("clinicalStatus")
        return
    clinical, verification = _ALLERGY.get(code, ("active", ""))
    builder.body["clinicalStatus"] = _status("allergyintolerance-clinical", clinical)
    if verification:
        builder.body["verificationStatus"] = _status("allergyintolerance-verification", verification)


@finish("condition_status")
def condition_status(ctx: Assembly, builder: Builder) -> None:
    """DG1-21 D withdraws the diagnosis."""
    if _code(builder, 21, ctx) in DELETED:
        builder.body["verificationStatus"] = _status("condition-ver-status", "entered-in-error")
        builder.clear.append("clinicalStatus")


@finish("procedure_status")
def procedure_status(ctx: Assembly, builder: Builder) -> None:
    """PR1-20 D withdraws the procedure."""
    if _code(builder, 20, ctx) in DELETED:
        builder.body["status"] = "entered-in-error"
        if "status" in builder.filled:
            builder.filled.remove("status")


@finish("coverage_parties")
def coverage_parties(ctx: Assembly, builder: Builder) -> None:
    """The subscriber: the patient herself, or whom IN1-16 names; a payor that no one named is absent, not guessed."""
    body = builder.body
    if _code(builder, 17, ctx) == "SEL":
        body["subscriber"] = body["beneficiary"]
    else:
        for other in ctx.made:
            if other.type == "RelatedPerson" and other.segment is builder.segment:
                body["subscriber"] = {"reference": other.ref}
    if "class" in body:
        body["class"] = [each for each in body["class"] if "value" in each]  # a name alone is no class
        if not body["class"]:
            del body["class"]
    if "payor" not in body:
        body["payor"] = [absent("unknown")]


@finish("account_coverage")
def account_coverage(ctx: Assembly, builder: Builder) -> None:
    """The plans of this patient's account, in their order; who stands good for it, where one is named."""
    if "guarantor" in builder.body:
        builder.body["guarantor"] = [each for each in builder.body["guarantor"] if each.get("party")]
        if not builder.body["guarantor"]:
            del builder.body["guarantor"]
    mine = patient_group(builder.group)
    listed = [other for other in ctx.made if other.type == "Coverage" and other.place == "IN1"]
    plans = [other for other in listed if patient_group(other.group) is mine]
    if plans:
        builder.body["coverage"] = [
            {"coverage": {"reference": plan.ref}, "priority": number} for number, plan in enumerate(plans, 1)
        ]
