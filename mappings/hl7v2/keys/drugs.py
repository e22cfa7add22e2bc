"""What identifies drug orders, what is dispensed and given, and vaccinations.

Source: design chapter HL7 v2 §6, the key table.
"""

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.keys.parts import Key, code, components, entity, key, patient_id, position
from mappings.hl7v2.message import Segment
from mappings.rows.runtime import text

NO_NUMBER = "9999"  # ORC-3 of what was refused or is told from memory: the same for everyone


@key("immunization")
def immunization(segment: Segment, ctx: Assembly) -> Key:
    """ORC-3 (not 9999) + RXA-5 · patient + RXA-5 + RXA-3."""
    vaccine = code(segment.field(5), ctx) or ("", "")
    orc = ctx.near("ORC")
    filler = entity(orc.field(3), ctx) if orc is not None else None
    if filler is not None and filler[1] != NO_NUMBER:
        return ("filler", *filler, *vaccine)
    if vaccine == ("", ""):
        return position(segment, ctx)
    return ("given", patient_id(ctx), *vaccine, text(segment.field(3), ctx.rep, ctx.comp))


@key("medication_request")
def medication_request(segment: Segment, ctx: Assembly) -> Key:
    """ORC-2 · ORC-3 · RXE-15; ORC-1 = RO: ORC-3, else ORC-2 and the message's digest."""
    return known_order(segment, ctx) or position(segment, ctx)


def known_order(segment: Segment, ctx: Assembly) -> Key | None:
    """The same where a number identifies the order."""
    orc = segment if segment.name == "ORC" else ctx.near("ORC")
    placer = entity(orc.field(2), ctx) if orc is not None else None
    filler = entity(orc.field(3), ctx) if orc is not None else None
    if orc is not None and orc.field(1).strip() == "RO":
        if filler is not None:
            return ("filler", *filler)
        if placer is not None:
            return ("replacement", *placer, ctx.digest.hex())
    if placer is not None:
        return ("placer", *placer)
    if filler is not None:
        return ("filler", *filler)
    rxe = segment if segment.name == "RXE" else ctx.near("RXE")
    number = components(rxe.field(15), ctx)[:1] if rxe is not None else []
    return ("prescription", ctx.feed, *number) if number and number[0] else None


def _order(ctx: Assembly) -> Key | None:
    """(ORC-3 · ORC-2)."""
    orc = ctx.near("ORC")
    return (entity(orc.field(3), ctx) or entity(orc.field(2), ctx)) if orc is not None else None


@key("dispense")
def dispense(segment: Segment, ctx: Assembly) -> Key:
    """(ORC-3 · ORC-2) + RXD-1; RXD-7 where the order has no number."""
    counter = text(segment.field(1), ctx.rep, ctx.comp)
    if (order := _order(ctx)) is not None:
        return ("RXD", *order, counter)
    if number := text(segment.field(7), ctx.rep, ctx.comp):
        return ("RXD", ctx.feed, number, counter)
    return position(segment, ctx)


@key("administration")
def administration(segment: Segment, ctx: Assembly) -> Key:
    """(ORC-3 · ORC-2) + RXA-2 + RXA-3 + RXA-5."""
    drug = code(segment.field(5), ctx) or ("", "")
    parts = [text(segment.field(number), ctx.rep, ctx.comp) for number in (2, 3)]
    order = _order(ctx)
    return ("RXA", *order, *parts, *drug) if order is not None else position(segment, ctx)


@key("give")
def give(segment: Segment, ctx: Assembly) -> Key:
    """(ORC-3 · ORC-2) + RXG-1 + RXG-4."""
    drug = code(segment.field(4), ctx) or ("", "")
    counter = text(segment.field(1), ctx.rep, ctx.comp)
    order = _order(ctx)
    return ("RXG", *order, counter, *drug) if order is not None else position(segment, ctx)
