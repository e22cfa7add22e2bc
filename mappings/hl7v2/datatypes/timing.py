"""Dates, times, periods and timings: DT, TM, TS, DTM, DR, RI, TQ, RPT.

The reading of a lexeme is `hl7v2/time.py`; here are the shapes FHIR wants them in. What FHIR cannot say stands beside
the value in `source-lexeme`.
Source: HL7 v2.9 §2A, table 0335 (repeat pattern); FHIR R4 Period, Timing.
"""

import re
from typing import Any

from mappings.fhir import values
from mappings.hl7v2.context import Context
from mappings.hl7v2.datatypes.registry import Json, datatype
from mappings.hl7v2.datatypes.text import NULL, at, first, id_code, part, text
from mappings.hl7v2.periods import reversed_
from mappings.hl7v2.time import Moment, read, time_of
from mappings.terminology.concept_map import ConceptMap


def lexeme_of(raw: str, ctx: Context) -> str | None:
    """The bare lexeme of a time: the first component, since TS.2 (its precision) is in the lexeme itself."""
    if raw.isalnum():
        return raw
    known = ctx.lexemes.get(raw)
    if known is None:
        before = len(ctx.issues)
        known = first(raw, ctx)
        if known is not None and len(ctx.issues) == before:
            ctx.lexemes[raw] = known
    return known


def result(moment: Moment, lexeme: str) -> Any:
    """A moment as a datatype function returns it."""
    if moment.keep:
        return moment.value, {"extension": [values.lexeme(lexeme)]}
    return moment.value


@datatype("DTM[dateTime]", "TS[dateTime]", "DT[dateTime]", gives="dateTime", reads={1})
def dtm_datetime(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Any:
    lexeme = lexeme_of(raw, ctx)
    if lexeme is None or lexeme == NULL:
        return None
    moment = read(lexeme, ctx)
    return result(moment, lexeme) if moment.keep else moment.value


@datatype("DTM[date]", "TS[date]", "DT[date]", gives="date", reads={1})
def dtm_date(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Any:
    """The day alone; where the lexeme says more, another row reads the time."""
    lexeme = lexeme_of(raw, ctx)
    if lexeme is None:
        return None
    value = read_day(lexeme, ctx)
    return (None, {"extension": [values.lexeme(lexeme)]}) if value is None else value


def read_day(lexeme: str, ctx: Context) -> str | None:
    """The date of a lexeme. A missing offset does not matter to a day, so it is no issue here."""
    before = len(ctx.issues)
    moment = read(lexeme, ctx)
    if moment.value is not None:
        del ctx.issues[before:]
        return moment.value[:10]
    return None


@datatype("DTM[instant]", "TS[instant]", gives="instant", reads={1})
def dtm_instant(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Any:
    """An instant must be whole: the time of receipt stands in for one that is not."""
    lexeme = lexeme_of(raw, ctx)
    if lexeme is None:
        return None
    moment = read(lexeme, ctx)
    if moment.value is not None and len(moment.value) > 10:
        return result(moment, lexeme)
    return ctx.at, {"extension": [values.lexeme(lexeme)]}


@datatype("TM[time]", "DTM[time]", gives="time", reads={1})
def tm_time(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Any:
    lexeme = lexeme_of(raw, ctx)
    if lexeme is None:
        return None
    moment = time_of(lexeme)
    for code in moment.issues:
        ctx.issue(code)
    return result(moment, lexeme)


def bound(raw: str, ctx: Context) -> tuple[str | None, list[Json]] | None:
    """One end of a period, as `values.period` takes it."""
    if not raw or raw == NULL:
        return None
    lexeme = lexeme_of(raw, ctx)
    if lexeme is None:
        return None
    moment = read(lexeme, ctx)
    return moment.value, [values.lexeme(lexeme)] if moment.keep else []


def period(start: str, end: str, ctx: Context) -> Json | None:
    """A Period of two raw times."""
    if not start and not end:
        return None
    begins, ends = bound(start, ctx), bound(end, ctx)
    if begins and ends and begins[0] and ends[0] and reversed_(begins[0], ends[0]):
        ctx.issue("contradiction")
        ends = None, ends[1] or [values.lexeme(lexeme_of(end, ctx) or end)]
    return values.period(begins, ends)


@datatype("DR[Period]", gives="Period", reads={1, 2})
def dr_period(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    parts = raw.split(ctx.comp)
    return period(at(parts, 1), at(parts, 2), ctx)


@datatype("DR[dateTime]", gives="dateTime", reads={1})
def dr_datetime(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Any:
    """The start of a range, for an element that holds one time."""
    return dtm_datetime(raw.split(ctx.comp, 1)[0], ctx)


@datatype("DTM[Period.start]", "TS[Period.start]", "DT[Period.start]", gives="Period", reads={1})
def dtm_period_start(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    return period(raw, "", ctx)


@datatype("DTM[Period.end]", "TS[Period.end]", "DT[Period.end]", gives="Period", reads={1})
def dtm_period_end(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    return period("", raw, ctx)


# Timing -------------------------------------------------------------------------------------------------------------

# Repeat patterns of table 0335 with a fixed meaning -> (frequency, period, periodUnit)
_DAILY = {
    "QD": (1, 1, "d"), "BID": (2, 1, "d"), "TID": (3, 1, "d"), "QID": (4, 1, "d"), "QOD": (1, 2, "d"),
    "Q": (1, 1, "d"),
}  # fmt: skip
# Times of day and meals -> FHIR event-timing
_WHEN = {
    "QAM": ["MORN"], "QPM": ["EVE"], "QHS": ["HS"], "QSHIFT": [],
    "ACM": ["ACM"], "ACD": ["ACD"], "ACV": ["ACV"], "PCM": ["PCM"], "PCD": ["PCD"], "PCV": ["PCV"],
    "AC": ["AC"], "PC": ["PC"], "HS": ["HS"],
}  # fmt: skip
_UNITS = {"S": "s", "M": "min", "H": "h", "D": "d", "W": "wk", "L": "mo"}
_EVERY = re.compile(r"Q(\d{1,4})(?:-(\d{1,4}))?([SMHDWL])", re.ASCII)
_TIMES = re.compile(r"(\d{1,3})ID", re.ASCII)
_WEEKDAYS = re.compile(r"Q(\d{1,2})J(\d{1,7})", re.ASCII)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def repeat_of(pattern: str) -> Json | None:
    """Timing.repeat of a repeat pattern; None where FHIR has no structure for it (then it is text).

    "C" is continuous in table 0335, and a meal in FHIR's codes: it never becomes `when`.
    """
    code = pattern.upper().replace(" ", "")
    if found := _DAILY.get(code):
        frequency, length, unit = found
        return values.every(length, unit, times=frequency)
    if when := _WHEN.get(code):
        return {"when": list(when)}
    if times := _TIMES.fullmatch(code):
        return values.every(1, "d", times=int(times[1])) if int(times[1]) else None
    if every := _EVERY.fullmatch(code):
        return _interval(every)
    if weekly := _WEEKDAYS.fullmatch(code):
        return _weekdays(int(weekly[1]), weekly[2])
    return {"count": 1} if code in ("ONCE", "STAT") else None


def _interval(every: re.Match[str]) -> Json | None:
    low, high = int(every[1]), int(every[2] or every[1])
    if not low or high < low:
        return None
    return values.every(low, _UNITS[every[3]], at_most=None if high == low else high)


def _weekdays(weeks: int, days: str) -> Json | None:
    if not weeks or not all("1" <= day <= "7" for day in days):
        return None
    names = [_DAYS[int(day) - 1] for day in days]
    return {"dayOfWeek": names, "frequency": len(names), "period": weeks, "periodUnit": "wk"}  # on each of them


def timing_of(pattern: str | None, start: str, end: str, ctx: Context) -> Json | None:
    """A Timing from a pattern and raw bounds. STAT and PRN are priority and asNeeded, which are not Timing's."""
    bounds = period(start, end, ctx)
    repeat = repeat_of(pattern) if pattern else None
    code = {"text": pattern} if pattern else None
    if bounds:
        repeat = {**(repeat or {}), "boundsPeriod": bounds}
    return values.present(repeat=repeat, code=code)


@datatype("RI[Timing]", gives="Timing", reads={1, 2})
def ri_timing(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """RI.1 the pattern, RI.2 the times of day (`0800,2000`)."""
    parts = raw.split(ctx.comp)
    timing = timing_of(part(parts, 1, ctx), "", "", ctx) or {}
    times = [time_of(lexeme.strip()) for lexeme in (part(parts, 2, ctx) or "").split(",") if lexeme.strip()]
    if any(moment.value is None for moment in times):
        ctx.issue("bad-timing", 2)
    if good := [moment.value for moment in times if moment.value]:
        timing.setdefault("repeat", {})["timeOfDay"] = good
        timing["repeat"].setdefault("frequency", len(good))
        timing["repeat"].setdefault("period", 1)
        timing["repeat"].setdefault("periodUnit", "d")
    return timing or None


@datatype("RPT[Timing]", gives="Timing", reads={1, 5, 6})
def rpt_timing(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """RPT.1 the pattern, .5 and .6 a period. Calendar alignments and events with offsets have no place in Timing."""
    parts = raw.split(ctx.comp)
    pattern = text(at(parts, 1).split(ctx.sub)[0], ctx)
    timing = timing_of(pattern, "", "", ctx) or {}
    repeat = timing.get("repeat", {})
    length, unit = part(parts, 5, ctx), (part(parts, 6, ctx) or "").lower()
    if length and length.isascii() and length.isdigit() and int(length) and unit in _UNITS.values():
        repeat = values.every(int(length), unit) | repeat
    elif length:
        ctx.issue("bad-timing", 5)
    if repeat:
        timing["repeat"] = repeat
    return timing or None


@datatype("TQ[Timing]", gives="Timing", reads={2, 4, 5, 11})
def tq_timing(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """TQ of OBR-27 and ORC-7: .2 interval (RI in subcomponents), .4 start, .5 end, .11 text."""
    parts = raw.split(ctx.comp)
    pattern = text(at(parts, 2).split(ctx.sub)[0], ctx) or part(parts, 11, ctx)
    return timing_of(pattern, at(parts, 4), at(parts, 5), ctx)


@datatype("TQ[priority]", gives="code", reads={6})
def tq_priority(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Any:
    """TQ.6 through the row's vocabulary."""
    return id_code(at(raw.split(ctx.comp), 6), ctx, vocab)
