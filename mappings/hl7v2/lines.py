"""Text over several OBX: one value, or the comment of the number before it.

Consecutive OBX of type TX, FT or ST with one OBX-3, and an OBX-4 equal, empty or counting up, are one value, lines
joined by newline. A TX or FT line behind a numeric one of the same code is its note (`policy.comments`).

Source: design chapter HL7 v2 §4, §9.
"""

from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes import text as texts
from mappings.hl7v2.message import Segment
from mappings.hl7v2.place import Place

LINES = frozenset({"TX", "FT", "ST"})
NUMERIC = frozenset({"NM", "SN"})


def goes_on(segment: Segment, ctx: Assembly) -> bool:
    """Adds an OBX to the line before it where it only goes on with it; says whether it did."""
    fields = segment.fields
    kind = fields[2].strip().upper() if len(fields) > 2 else ""
    if kind not in LINES:
        return False
    before = ctx.message.segments[segment.ordinal - 1]
    if before.name != "OBX" or before.field(3) != segment.field(3):
        return False
    builder = next((b for b in reversed(ctx.made) if b.type == "Observation"), None)
    if builder is None or builder.tail is not before or builder.segment is None:
        return False
    first = builder.segment.field(2).strip().upper()
    if first in LINES and _follows(before.field(4).strip(), segment.field(4).strip()):
        _append(ctx, builder, segment, "valueString")
        return True
    if first in NUMERIC and kind != "ST" and ctx.profile.policy["comments"] == "note":
        _append(ctx, builder, segment, "note")
        return True
    return False


def _follows(before: str, here: str) -> bool:
    """OBX-4 equal, empty, or counting up by one."""
    if not here or before == here:
        return True
    return before.isdecimal() and here.isdecimal() and int(here) == int(before) + 1


def _append(ctx: Assembly, builder: Builder, segment: Segment, where: str) -> None:
    ctx.field, ctx.row = 5, "@text_lines"
    raw = segment.field(5)
    words = (texts.tx_string(raw.split(ctx.rep), ctx) if raw else None) or ""
    body, path = builder.body, where
    if where == "note":
        notes = body.setdefault("note", [])
        if notes:
            notes[-1]["text"] += "\n" + words
        else:
            notes.append({"text": words})
        path = f"note[{len(notes) - 1}].text"
    else:
        body["valueString"] = f"{body['valueString']}\n{words}" if "valueString" in body else words
    builder.sources.append(segment.ordinal)
    builder.tail = segment
    if ctx.trace is not None:
        for number, field in enumerate(segment.fields):
            if number and field:
                ctx.trace.rule("text_lines", builder.ref, path, Place("OBX", segment.nth, number))
