"""When an appointment and its resources are: instants, offsets, durations.

- an appointment: TQ1-7 to TQ1-8, else SCH-11.4 to SCH-11.5; without a start that of its earliest service; without an
  end the latest end of its services, else start and SCH-11.3 or SCH-9
- a service or resource (AIS, AIG, AIL, AIP): its own start, else its offset from the appointment's; its duration

An instant is whole or it is none: a date alone never becomes midnight, and never the time of receipt. A number without
a unit is no duration.

Source: HL7 v2.9 chapter 10, SCH-9 to SCH-11, AIS-4 to AIS-8 and the same of AIG, AIL, AIP; v2-to-FHIR guide,
SCH[Appointment], AIS[Appointment]; design chapter HL7 v2 §9.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from mappings.fhir import values
from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.datatypes import timing
from mappings.hl7v2.datatypes.text import NULL, at, first
from mappings.hl7v2.message import Segment
from mappings.hl7v2.rules import Json, function
from mappings.hl7v2.time import read
from mappings.terminology.concept_map import ConceptMap

FIRST = {"AIS": 4, "AIG": 8, "AIL": 6, "AIP": 6}  # the field of the start; offset, unit, duration, unit follow
_SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("w", "wk", "week", "weeks"), 604_800),
}  # UCUM, and the ISO+ codes and words that senders write
_TQ_DURATION = re.compile(r"([SMHDW])(\d{1,6})", re.ASCII)  # TQ.3
_DAY = len("2025-01-01")
_MOST_SECONDS = 10 * 366 * 86_400  # a longer appointment is a slip of the pen


def seconds(amount: str, unit: str, ctx: Any) -> Decimal | None:
    """A duration of a number and its unit; None, and an issue, where they are none."""
    number, named = first(amount, ctx), (first(unit, ctx) or "").lower()
    if number is None:
        return None
    try:
        found = Decimal(number) * _SECONDS[named]
        if not 0 <= found <= _MOST_SECONDS:
            raise InvalidOperation
    except (InvalidOperation, KeyError):
        ctx.issue("bad-value")
        return None
    return found


def later(start: str, by: Decimal) -> str:
    """An instant so many seconds after another, under the same offset."""
    return (datetime.fromisoformat(start) + timedelta(seconds=float(by))).isoformat()


def moment(value: str) -> float:
    """An instant to compare by."""
    return datetime.fromisoformat(value).timestamp()


def instant(raw: str, ctx: Any) -> str | None:
    """A whole time, None where it is partial or none."""
    if not raw or raw == NULL:
        return None
    lexeme = timing.lexeme_of(raw, ctx)
    if lexeme is None:
        return None
    found = read(lexeme, ctx)
    return found.value if found.value is not None and len(found.value) > _DAY else None


@function("WHOLE[instant]", "instant")
def whole(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Any:
    """An instant, or nothing but the text of one that is partial."""
    lexeme = timing.lexeme_of(raw, ctx)
    if lexeme is None or lexeme == NULL:
        return None
    found = read(lexeme, ctx)
    if found.value is not None and len(found.value) > _DAY:
        return timing.result(found, lexeme)
    return None, {"extension": [values.lexeme(lexeme)]}


@function("DURATION[minutes]", "positiveInt")
def minutes(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> int | None:
    """SCH-9 in the unit of SCH-10, as whole minutes."""
    found = seconds(raw, ctx.seg.field(10).split(ctx.rep)[0], ctx)
    if found is None or found <= 0:
        return None
    if found % 60:
        ctx.issue("bad-value")
        return None
    return int(found) // 60


@function("TQ[Period]", "Period")
def tq_period(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    parts = raw.split(ctx.comp)
    return timing.period(at(parts, 4), at(parts, 5), ctx)


@function("SPAN[Period]", "Period")
def span(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """The time of one service or resource, read whole whichever of its fields is at hand."""
    return of_resource(ctx.seg, ctx)


def of_resource(segment: Segment, ctx: Any) -> Json | None:
    """Period of AIS, AIG, AIL, AIP: own start or offset, and duration."""
    at_field = FIRST[segment.name]
    start, offset, offset_unit, length, length_unit = (
        _plain(segment.field(number), ctx) for number in range(at_field, at_field + 5)
    )
    kept, ctx.field = ctx.field, at_field
    begins = timing.bound(start, ctx)
    if begins is None and offset and (base := quietly(_start_of, ctx)) is not None:
        ctx.field = at_field + 1
        by = seconds(offset, offset_unit, ctx)
        begins = (later(base, by), []) if by is not None else None
    ends: tuple[str | None, list[Json]] | None = None
    if begins is not None and begins[0] is not None and len(begins[0]) > _DAY and length:
        ctx.field = at_field + 3
        by = seconds(length, length_unit, ctx)
        ends = (later(begins[0], by), []) if by is not None else None
    ctx.field = kept
    return values.period(begins, ends)


def _plain(raw: str, ctx: Any) -> str:
    """The first repetition; nothing where it is null."""
    found = raw.split(ctx.rep, 1)[0] if raw else ""
    return "" if found == NULL else found


def quietly(ask: Callable[[Any], str | None], ctx: Any) -> str | None:
    """A time that a row reads as well and has reported on."""
    issues = len(ctx.issues)
    found = ask(ctx)
    del ctx.issues[issues:]
    return found


def _timed(ctx: Any, segment: str, number: int, component: int) -> str | None:
    found = ctx.near(segment)
    return instant(at(_plain(found.field(number), ctx).split(ctx.comp), component), ctx) if found is not None else None


def _start_of(ctx: Any) -> str | None:
    """The appointment's own start."""
    return _timed(ctx, "TQ1", 7, 1) or _timed(ctx, "SCH", 11, 4)


def _end_of(ctx: Any) -> str | None:
    return _timed(ctx, "TQ1", 8, 1) or _timed(ctx, "SCH", 11, 5)


def length_of(ctx: Any) -> Decimal | None:
    """SCH-11.3 (`M30`), else SCH-9."""
    sch = ctx.near("SCH")
    if sch is None:
        return None
    written = _TQ_DURATION.fullmatch(at(_plain(sch.field(11), ctx).split(ctx.comp), 3).strip().upper())
    if written is not None:
        return seconds(written[2], written[1], ctx)
    return seconds(_plain(sch.field(9), ctx), _plain(sch.field(10), ctx), ctx)


@function("SLOT[instant-start]", "instant")
def slot_start(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> str | None:
    """The start of what is blocked or opened: the resource's, else that of the whole."""
    return (_own(ctx) or {}).get("start") or quietly(_start_of, ctx)


@function("SLOT[instant-end]", "instant")
def slot_end(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> str | None:
    """Its end: start and duration, the end of the whole, start and SCH-9."""
    issues = len(ctx.issues)
    own = _own(ctx) or {}
    del ctx.issues[issues:]  # the row of the start has reported on them
    if (found := own.get("end") or quietly(_end_of, ctx)) is not None:
        return str(found)
    start = own.get("start") or quietly(_start_of, ctx)
    length = length_of(ctx) if start is not None else None
    return later(start, length) if start is not None and length else None


def _own(ctx: Any) -> Json | None:
    """The times of the resource that a Slot is about, where they are instants."""
    segment = ctx.builder.segment
    if segment.name not in FIRST:
        return None
    kept, ctx.seg = ctx.seg, segment
    found = of_resource(segment, ctx) or {}
    ctx.seg = kept
    return {name: value for name, value in found.items() if len(str(value)) > _DAY and name[0] != "_"}


def of_services(ctx: Assembly, segments: list[Segment]) -> list[Json]:
    """The periods of an appointment's services and resources, where they are instants."""
    found = []
    kept = ctx.seg
    for segment in segments:
        ctx.seg = segment
        issues = len(ctx.issues)
        period = of_resource(segment, ctx) or {}
        if segment.name != "AIS":
            del ctx.issues[issues:]  # a row reads it as well
        found.append({name: value for name, value in period.items() if len(str(value)) > _DAY})
    ctx.seg = kept
    return [each for each in found if "start" in each]
