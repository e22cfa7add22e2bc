"""Notes and comments: NTE belong to the segment before them; neighbours join by newline, empty lines kept.

What FHIR gives a `note` has them there, else in the extension of that name. PRT is part of the segment before it, too,
so that notes may stand behind it.

Source: design chapter HL7 v2 §4 (NTE); v2-to-FHIR guide, NTE[Observation], NTE[ServiceRequest].
"""

from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes import FUNCTIONS, coded
from mappings.hl7v2.datatypes import text as texts
from mappings.hl7v2.message import Segment
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import Json, finish
from mappings.rows.runtime import NULL

NOTE = "http://hl7.org/fhir/StructureDefinition/note"
_BEHIND = frozenset({"NTE", "PRT"})


@finish("notes", "NTE")
def notes(ctx: Assembly, builder: Builder) -> None:
    """The NTE behind the segment: one annotation."""
    if builder.tail is not None and (found := annotation(ctx, builder.tail, builder)) is not None:
        builder.body.setdefault("note", []).append(found)


@finish("notes_extension", "NTE")
def notes_extension(ctx: Assembly, builder: Builder) -> None:
    """The same where the resource has no `note`: Patient, DiagnosticReport."""
    if builder.tail is not None and (found := annotation(ctx, builder.tail, builder)) is not None:
        builder.body.setdefault("extension", []).append({"url": NOTE, "valueAnnotation": found})


def annotation(ctx: Assembly, segment: Segment, builder: Builder) -> Json | None:
    """The consecutive NTE behind a segment, as one Annotation; the PRT of the segment may stand between."""
    segments, at = ctx.message.segments, segment.ordinal + 1
    if at >= len(segments) or segments[at].name not in _BEHIND:
        return None
    lines: list[str] = []
    found: Json = {}
    kept = ctx.seg
    while at < len(segments) and segments[at].name in _BEHIND:
        note = ctx.seg = segments[at]
        at += 1
        if note.name != "NTE":
            continue
        lines += _note_lines(ctx, note)
        for number, name, kind in (
            (5, "authorReference", "XCN[Reference(Practitioner)]"),
            (6, "time", "DTM[dateTime]"),
        ):
            raw = note.field(number)
            if raw and raw != NULL and name not in found:
                ctx.field = number
                made = FUNCTIONS[kind].call(raw.split(ctx.rep, 1)[0], ctx, None)
                if isinstance(made, dict | str):
                    found[name] = made
        if ctx.trace is not None:
            for number, raw in enumerate(note.fields):
                if number and raw and number in (3, 5, 6):
                    ctx.trace.rule("notes", builder.ref, "note", Place("NTE", note.nth, number))
        builder.sources.append(note.ordinal)
    ctx.seg = kept
    words = "\n".join(lines).strip("\n")
    return {**found, "text": words} if words else None


def _note_lines(ctx: Assembly, note: Segment) -> list[str]:
    """NTE-3: repetitions are lines; an empty one is an empty line; NTE-9 where there is no text."""
    ctx.field = 3
    raw = note.field(3)
    if not raw or raw == NULL:
        coded_note = note.field(9)
        if coded_note and coded_note != NULL:
            ctx.field = 9
            return [coded.cwe_string(coded_note.split(ctx.rep, 1)[0], ctx) or ""]
        return [""]
    return [texts.text(line, ctx) or "" for line in raw.split(ctx.rep)]
