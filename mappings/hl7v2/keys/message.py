"""What identifies the message itself and the software that sent it.

Source: design chapter HL7 v2 §6, the key table.
"""

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.keys.parts import Key, key
from mappings.hl7v2.message import Segment
from mappings.rows.runtime import text


@key("message")
def message_key(segment: Segment, ctx: Assembly) -> Key:
    """MessageHeader, Provenance: the message by its digest."""
    return ("message", ctx.feed, ctx.digest.hex())


@key("software")
def software(segment: Segment, ctx: Assembly) -> Key | None:
    """Device of SFT: vendor, product, version and build."""
    facts = tuple(text(segment.field(number), ctx.rep, ctx.comp) for number in (1, 3, 2, 4))
    return (ctx.feed, *facts) if any(facts) else None
