"""What a snapshot no longer lists is ended: relatives of the patient, plans and guarantors of the account.

A segment of a kind means "this is the whole list of this feed"; one with `""` alone empties it; none changes
nothing. AL1, IAM, DG1 and PR1 accumulate and are not closed here: an allergy is withdrawn aloud.

Source: design chapter HL7 v2 §8.
"""

from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.effects import Close
from mappings.hl7v2.rules import after
from mappings.hl7v2.rules.patients import leads, patient_group
from mappings.rows.runtime import NULL


@after("snapshots", "NK1", "IN1")
def snapshots(ctx: Assembly) -> None:
    """Close effects, one a kind and patient."""
    if not leads(ctx):
        return
    for patient in [builder for builder in ctx.made if builder.type == "Patient" and builder.make is not None]:
        group = patient_group(patient.group)
        if group is None:
            continue
        names = {segment.name for each in group.walk() for segment in each.segments}
        if "NK1" in names:
            _relatives(ctx, patient)
        if "IN1" in names:
            _plans(ctx, patient)


def _mine(ctx: Assembly, patient: Builder, kind: str, segment: str) -> tuple[str, ...]:
    group = patient_group(patient.group)
    return tuple(
        builder.id
        for builder in ctx.made
        if builder.type == kind and builder.place == segment and patient_group(builder.group) is group
    )


def _relatives(ctx: Assembly, patient: Builder) -> None:
    ctx.effects.append(Close("RelatedPerson", patient.ref, _mine(ctx, patient, "RelatedPerson", "NK1")))
    group = patient_group(patient.group)
    relatives = [segment for segment in (group.segments if group else ()) if segment.name == "NK1"]
    if relatives and all(_empty(segment.fields[2:]) for segment in relatives):
        patient.clear.append("contact")


def _empty(fields: list[str]) -> bool:
    return any(fields) and all(field in ("", NULL) for field in fields)


def _plans(ctx: Assembly, patient: Builder) -> None:
    """Plans belong to the account, else the stay, else the patient."""
    ctx.group = patient_group(patient.group) or ctx.root
    holder = ctx.made_near("Account") or ctx.made_near("Encounter") or patient
    ctx.effects.append(Close("Coverage", holder.ref, _mine(ctx, patient, "Coverage", "IN1")))
