"""What identifies allergies, conditions and procedures.

Source: design chapter HL7 v2 §6, the key table.
"""

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.keys.parts import Key, code, encounter_id, entity, key, patient_id, position, words
from mappings.hl7v2.message import Segment
from mappings.rows.runtime import NULL, text


@key("allergy")
def allergy(segment: Segment, ctx: Assembly) -> Key | None:
    """IAM-7; else patient + code or text, the same in AL1 and IAM: IAM wins for one code."""
    if segment.name == "IAM" and (number := entity(segment.field(7), ctx)) is not None:
        return ("allergy", *number)
    substance = code(segment.field(3), ctx)
    if substance is None and (segment.field(3) == NULL or not any(_says(segment.field(n), ctx) for n in (3, 4, 5))):
        return None  # of an allergy to nothing there is nothing to say
    if substance is None:
        return position(segment, ctx)
    if segment.name == "AL1" and substance in _numbered(ctx):
        return None  # IAM wins: one allergy must not stand twice, with two opinions of it
    return ("allergy", patient_id(ctx), *substance)


def _says(raw: str, ctx: Assembly) -> bool:
    return any(part not in ("", NULL) for each in raw.split(ctx.rep) for part in each.split(ctx.comp))


def _numbered(ctx: Assembly) -> list[Key | None]:
    """What the IAM of this patient are of that have a number of their own."""
    return [
        code(each.field(3), ctx) for each in ctx.group.segments if each.name == "IAM" and entity(each.field(7), ctx)
    ]


@key("condition")
def condition(segment: Segment, ctx: Assembly) -> Key | None:
    """DG1-20; else patient + encounter + code or text + date."""
    if (number := entity(segment.field(20), ctx)) is not None:
        return ("DG1", *number)
    what = code(segment.field(3), ctx) or words(segment.field(4), ctx)
    if what is None:  # DG1 with a null alone, or with nothing: no diagnosis
        return position(segment, ctx) if _says(segment.field(3), ctx) or _says(segment.field(4), ctx) else None
    return ("DG1", patient_id(ctx), encounter_id(ctx), *what, text(segment.field(5), ctx.rep, ctx.comp))


@key("procedure")
def procedure(segment: Segment, ctx: Assembly) -> Key | None:
    """PR1-19; else patient + encounter + code or text + date."""
    if (number := entity(segment.field(19), ctx)) is not None:
        return ("PR1", *number)
    what = code(segment.field(3), ctx) or words(segment.field(4), ctx)
    if what is None:
        return None if NULL in (segment.field(3), segment.field(4)) else position(segment, ctx)
    return ("PR1", patient_id(ctx), encounter_id(ctx), *what, text(segment.field(5), ctx.rep, ctx.comp))
