"""What identifies accidents, deaths, and what an analyzer uses up.

Source: design chapter HL7 v2 §6, the key table; HL7 v2.9 §6.5.9 (ACC-13), §3.4.14 (PDA), §13.4.4 (INV).
"""

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.keys.parts import Key, code, encounter_id, entity, key, patient_id, position
from mappings.hl7v2.message import Segment
from mappings.rows.runtime import text


@key("accident")
def accident(segment: Segment, ctx: Assembly) -> Key:
    """ACC-13; else patient + time, and the stay where no time is told."""
    if (number := entity(segment.field(13), ctx)) is not None:
        return ("ACC", *number)
    at = text(segment.field(1), ctx.rep, ctx.comp)
    return ("ACC", patient_id(ctx), at or encounter_id(ctx))


@key("death")
def death(segment: Segment, ctx: Assembly) -> Key:
    """The patient: nobody dies twice."""
    return ("PDA", patient_id(ctx))


@key("substance")
def substance(segment: Segment, ctx: Assembly) -> Key:
    """INV-4, the container at hand; else the substance and its lot."""
    if (held := code(segment.field(4), ctx)) is not None:
        return ("INV", ctx.feed, *held)
    what = code(segment.field(1), ctx)
    return ("INV", ctx.feed, *what, segment.field(16)) if what is not None else position(segment, ctx)
