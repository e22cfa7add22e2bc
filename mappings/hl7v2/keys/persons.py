"""What identifies patients and the persons around them.

Source: design chapter HL7 v2 §6, the key table.
"""

from typing import Any

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.keys.parts import Key, code, components, identifier, key, number_of, patient_id, position
from mappings.hl7v2.message import Segment
from mappings.rows.runtime import NULL


@key("patient")
def patient(segment: Segment, ctx: Assembly) -> Key:
    """The PID-3 that the profile chose, else PID-2, else the place of this PID."""
    return known_patient(segment, ctx) or position(segment, ctx)


def known_patient(segment: Segment, ctx: Assembly) -> Key | None:
    """The same where a number identifies the patient."""
    return choose_identity(segment.reps(3), ctx) or identifier(segment.field(2), ctx)


def choose_identity(repetitions: list[str], ctx: Any) -> Key | None:
    """By `patient.identity`, each wish in turn: `MR@HOSP`, `PI`; by default the first MR or PI with an authority, then
    the first that is valued."""
    found = [parts for raw in repetitions if (parts := components(raw, ctx)) and parts[0]]
    if not found:
        return None
    for wish in ctx.profile.identity:
        kind, _, where = wish.partition("@")
        for parts in found:
            if _is_kind(parts, kind) and (not where or _names(parts, where, ctx)):
                return number_of(parts, ctx)
    if not ctx.profile.identity:
        for parts in found:
            if len(parts) > 4 and parts[4] in ("MR", "PI") and parts[3]:
                return number_of(parts, ctx)
    return number_of(found[0], ctx)


def _is_kind(parts: list[str], kind: str) -> bool:
    return len(parts) > 4 and parts[4] == kind


def _names(parts: list[str], where: str, ctx: Any) -> bool:
    hd = parts[3].split(ctx.sub) if len(parts) > 3 else []
    return where in hd[:2] or (number_of(parts, ctx) or ("",))[0] == where


@key("mother")
def mother(segment: Segment, ctx: Assembly) -> Key:
    """RelatedPerson of PID-21: the patient and the mother's number."""
    return ("mother", patient_id(ctx), *(identifier(segment.field(21), ctx) or ()))


@key("next_of_kin")
def next_of_kin(segment: Segment, ctx: Assembly) -> Key | None:
    """RelatedPerson: patient and NK1-33, else patient, name and relationship."""
    if (number := identifier(segment.field(33), ctx)) is not None:
        return ("NK1", patient_id(ctx), *number)
    name = "^".join(components(segment.field(2), ctx)[:3]).casefold()
    organization = "^".join(components(segment.field(13), ctx)[:1]).casefold()
    if not name and not organization:
        return None if segment.field(2) == NULL else ("NK1", patient_id(ctx), *position(segment, ctx))
    return ("NK1", patient_id(ctx), name or organization, *(code(segment.field(3), ctx) or ("", "")))


@key("living_will")
def living_will(segment: Segment, ctx: Assembly) -> Key:
    """Observation of PD1-7: one a patient, and its last word counts."""
    return ("PD1-7", patient_id(ctx))


@key("last_update")
def last_update(segment: Segment, ctx: Assembly) -> Key:
    """Provenance of PID-33 and PID-34: the patient, when and where her record last changed."""
    return ("PID-34", patient_id(ctx), segment.field(33), segment.field(34))
