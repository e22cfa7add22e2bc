"""What identifies staff, their roles, and places, in master files: the same numbers by which other messages name them.

Source: design chapter HL7 v2 §6, the key table (Practitioner and Location as XCN and PL identify them).
"""

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.datatypes.parties import levels
from mappings.hl7v2.datatypes.text import scoped
from mappings.hl7v2.keys.parts import Key, code, components, identifier, key, number_of, position
from mappings.hl7v2.message import Segment
from mappings.hl7v2.rules.staff import primary_key


@key("staff")
def staff(segment: Segment, ctx: Assembly) -> Key:
    """The first STF-2 with an authority; else STF-1, as an XCN without an authority has it; else any STF-2."""
    for raw in segment.reps(2):
        parts = components(raw, ctx)
        if len(parts) > 3 and parts[0] and parts[3] and (found := number_of(parts, ctx)) is not None:
            return found
    ctx.seg, ctx.field = segment, 1
    if (named := primary_key(segment.field(1), ctx)) is not None:
        return (named["system"], named["value"])
    number = identifier(segment.field(2), ctx)
    return (scoped(ctx, "practitioner", "unspecified"), number[1]) if number is not None else position(segment, ctx)


@key("staff_role")
def staff_role(segment: Segment, ctx: Assembly) -> Key | None:
    """What she is in the institution that keeps the file, in another one, in a unit, in a society."""
    who = ctx.made_near("Practitioner")
    if who is None:
        return None
    fields = {"PRA": (9, 2), "ORG": (2, 5), "AFF": (2,)}.get(segment.name, ())
    where = next((found for number in fields if (found := code(segment.field(number), ctx))), None)
    return ("role", who.id, segment.name, *(where or ("", "")))


@key("place")
def place(segment: Segment, ctx: Assembly) -> Key:
    """LOC-1 by its levels, from the outside in, as `PL[Reference(Location)]` does."""
    return _place(segment, ctx) or position(segment, ctx)


@key("department")
def department(segment: Segment, ctx: Assembly) -> Key:
    """LDP-2, in the place around it."""
    around, what = _place(segment, ctx), code(segment.field(2), ctx)
    return ("department", *around, *what) if around and what is not None else position(segment, ctx)


def _place(segment: Segment, ctx: Assembly) -> Key:
    parts = segment.field(1).split(ctx.rep, 1)[0].split(ctx.comp)
    return tuple(piece for _, level, name in levels(parts, ctx) for piece in (level, name))
