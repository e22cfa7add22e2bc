"""What identifies accidents and deaths.

Source: design chapter HL7 v2 §6, the key table; HL7 v2.9 §6.5.9 (ACC-13), §3.4.14 (PDA).
"""

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.keys.parts import Key, encounter_id, entity, key, patient_id
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
