"""What identifies stays, accounts, guarantors and coverage.

Source: design chapter HL7 v2 §6, the key table.
"""

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.keys.parts import Key, code, components, encounter_id, identifier, key, patient_id, position
from mappings.hl7v2.message import Segment
from mappings.rows.runtime import NULL, part, text


@key("encounter")
def encounter(segment: Segment, ctx: Assembly) -> Key | None:
    """PV1-19 · PV1-50 · PID-18 (policy) · patient and PV1-44."""
    if not says_something(segment):
        return None
    if (number := identifier(segment.field(19), ctx) or identifier(segment.field(50), ctx)) is not None:
        return number
    pid = ctx.near("PID")
    if ctx.profile.policy["visit"] == "account" and pid is not None:
        if (number := identifier(pid.field(18), ctx)) is not None:
            return ("account", *number)
    if start := text(segment.field(44), ctx.rep, ctx.comp):
        return ("stay", patient_id(ctx), start)
    return ("stay", patient_id(ctx), *position(segment, ctx))


def says_something(segment: Segment) -> bool:
    """PV1 with nothing beyond PV1-2, or of class N, is a stay of nobody: usual in A28 and A31."""
    fields = segment.fields
    if len(fields) < 4 or fields[2].strip().startswith("N"):
        return False
    for field in fields[3:]:
        if field and field != NULL:
            return True
    return False


@key("account")
def account(segment: Segment, ctx: Assembly) -> Key | None:
    """Account: PID-18."""
    return identifier(segment.field(18), ctx)


@key("guarantor")
def guarantor(segment: Segment, ctx: Assembly) -> Key | None:
    """RelatedPerson of GT1: its number, else patient and name."""
    if (number := identifier(segment.field(2), ctx)) is not None:
        return ("GT1", *number)
    name = "^".join(components(segment.field(3), ctx)[:3]).casefold()
    return ("GT1", patient_id(ctx), name) if name else None


@key("subscriber")
def subscriber(segment: Segment, ctx: Assembly) -> Key:
    """RelatedPerson of IN1-16: patient, name and relationship, as a relative of NK1 is found."""
    name = "^".join(components(segment.field(16), ctx)[:3]).casefold()
    return ("NK1", patient_id(ctx), name, *(code(segment.field(17), ctx) or ("", "")))


@key("coverage")
def coverage(segment: Segment, ctx: Assembly) -> Key:
    """patient + IN1-2 + IN1-3 + (IN1-36 · IN1-49 · IN1-1)."""
    plan = code(segment.field(2), ctx) or ("", "")
    company = identifier(segment.field(3), ctx) or ("", "")
    policy = (
        text(segment.field(36), ctx.rep, ctx.comp)
        or part(segment.field(49), ctx.rep, ctx.comp, 1, 1)
        or "#" + segment.field(1)
    )
    return (patient_id(ctx), *plan, *company, policy)


@key("episode")
def episode(segment: Segment, ctx: Assembly) -> Key | None:
    """EpisodeOfCare: PV1-54."""
    return identifier(segment.field(54), ctx)


@key("visit_coverage")
def visit_coverage(segment: Segment, ctx: Assembly) -> Key:
    """Coverage of PV1-20: the stay, else the patient, and the class."""
    return ("PV1-20", encounter_id(ctx) or patient_id(ctx), text(segment.field(20), ctx.rep, ctx.comp))
