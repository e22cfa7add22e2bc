"""Referrals: who refers whom to whom, on which grounds, and whether it still stands.

RF1 and the providers stand before the patient and in no group of hers, so their links are a rule.

Source: HL7 v2.9 chapter 11 (events I12 to I15, table 0286); FHIR R4 ServiceRequest and its v2 mappings.
"""

from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.rules import Json, finish
from mappings.hl7v2.rules.clinical import DELETED
from mappings.hl7v2.rules.notes import annotation

_CANCELLED = "I14"
_REFERRING, _PRIMARY = "RP", "PP"
_REFERRED_TO = frozenset({"RT", "CP"})
_GROUNDS = ("Condition", "AllergyIntolerance", "Procedure", "DiagnosticReport")
_INSURANCE = ("Coverage", "ClaimResponse")


@finish("referral")
def referral(ctx: Assembly, builder: Builder) -> None:
    """Everything that the rows of RF1 cannot see."""
    body = builder.body
    for name, kind in (("subject", "Patient"), ("encounter", "Encounter")):
        if (found := _first(ctx, kind)) is not None:
            body[name] = {"reference": found.ref}
    for name, kinds in (("insurance", _INSURANCE), ("supportingInfo", _GROUNDS)):
        if references := [{"reference": each.ref} for each in ctx.made if each.type in kinds and each.make is not None]:
            body[name] = references
    _providers(ctx, builder)
    _standing(ctx, builder)
    for segment in ctx.message.segments:  # the notes at the end of a referral stand behind its stay
        if segment.name in ("PV1", "PV2") and (note := annotation(ctx, segment, builder)) is not None:
            body.setdefault("note", []).append(note)


def _first(ctx: Assembly, kind: str) -> Builder | None:
    return next((each for each in ctx.made if each.type == kind and each.make is not None), None)


def _providers(ctx: Assembly, builder: Builder) -> None:
    """PRD-1: who refers asks, to whom is referred performs, the family doctor is the patient's."""
    patient = _first(ctx, "Patient")
    for role in [each for each in ctx.made if each.type == "PractitionerRole" and each.place == "PRD"]:
        parts, reference = _parts(ctx, role), {"reference": role.ref}
        if _REFERRING in parts and "requester" not in builder.body:
            builder.body["requester"] = reference
        elif parts & _REFERRED_TO:
            builder.body.setdefault("performer", []).append(reference)
        elif _PRIMARY in parts and patient is not None:
            patient.body.setdefault("generalPractitioner", []).append(reference)
        else:
            builder.body.setdefault("supportingInfo", []).append(reference)


def _parts(ctx: Assembly, role: Builder) -> set[str]:
    repetitions = role.segment.reps(1) if role.segment is not None else []
    return {raw.split(ctx.comp, 1)[0].strip() for raw in repetitions}


def _standing(ctx: Assembly, builder: Builder) -> None:
    """I14 cancels; RF1-25 D takes back what should not have been sent."""
    told = builder.segment.field(25).split(ctx.comp, 1)[0].strip() if builder.segment is not None else ""
    status = "entered-in-error" if told in DELETED else "revoked" if ctx.event == _CANCELLED else ""
    if status:
        builder.body["status"] = status
        builder.own.append("status")
        builder.filled[:] = [path for path in builder.filled if path != "status"]


@finish("insured_referral")
def insured_referral(ctx: Assembly, builder: Builder) -> None:
    """A referral that stands with the plan which pays for it: that plan and what it authorized, nothing else."""
    inside = {id(each) for each in builder.group.walk()} if builder.group is not None else set()
    if references := [
        {"reference": each.ref} for each in ctx.made if each.type in _INSURANCE and id(each.group) in inside
    ]:
        builder.body["insurance"] = references
    _standing(ctx, builder)


@finish("authorization")
def authorization(ctx: Assembly, builder: Builder) -> None:
    """Whose it is; AUT-29 D cancels it."""
    patient = _first(ctx, "Patient")
    builder.body["patient"] = {"reference": patient.ref} if patient is not None else _nobody()
    segment = builder.segment
    if segment is not None and segment.field(29).split(ctx.comp, 1)[0].strip() in DELETED:
        builder.body["status"] = "cancelled"


def _nobody() -> Json:
    return {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]
    }
