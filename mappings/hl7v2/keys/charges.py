"""What identifies charges.

Source: design chapter HL7 v2 §6, the key table: what it does not list is known by its place in the message.
"""

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.keys.parts import Key, code, encounter_id, identifier, key, patient_id, position
from mappings.hl7v2.message import Segment


@key("charge")
def charge(segment: Segment, ctx: Assembly) -> Key:
    """FT1-2 with stay, code and day, for some senders number the lines of each message 1, 2, 3; else its place."""
    number = identifier(segment.field(2), ctx)
    if number is None:
        return position(segment, ctx)
    what, day = code(segment.field(7), ctx) or ("", ""), segment.field(4).split(ctx.comp, 1)[0].strip()
    return ("FT1", patient_id(ctx), encounter_id(ctx), *number, *what, day)


@key("billing_account")
def billing_account(segment: Segment, ctx: Assembly) -> Key | None:
    """BLG-3: the account that PID-18 names in other messages."""
    return identifier(segment.field(3), ctx)
