"""Doses and times of drugs: what TQ, TQ1, RXE, RXO and RXG say together.

- one repetition of a repeat pattern is one Timing: `BID~QHS` are two dosages
- PRN is asNeeded, alone or around a pattern (`PRNQ4H`, `TID PRN`); the condition says what for
- bounds: start, end, and a duration from the one or to the other; a duration alone bounds by itself
- what Timing has no place for stands as its text

Source: HL7 v2.9 chapter 4 (TQ1, table 0335) and 4A; FHIR R4 Dosage, Timing (tim-1 to tim-10); hl7v2.md §5, §9.
"""

import re
from decimal import Decimal
from typing import Any

from mappings.fhir import values
from mappings.hl7v2.datatypes import coded, numbers, timing
from mappings.hl7v2.datatypes.text import at, first, part
from mappings.hl7v2.message import Segment
from mappings.hl7v2.rules import Json, function
from mappings.hl7v2.rules.drugs import amount, whole
from mappings.issues import issue
from mappings.moments import SECONDS, shifted
from mappings.rows.runtime import NULL
from mappings.terminology import concept_map
from mappings.terminology.concept_map import ConceptMap

_PRN = re.compile(r"(?:PRN)? *(.*?) *(?:PRN)?", re.ASCII | re.IGNORECASE)
_WHEN = frozenset({"AC", "ACM", "ACD", "ACV", "PC", "PCM", "PCD", "PCV", "HS"})  # of table 0528, as FHIR has them
_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), "s"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
    **dict.fromkeys(("w", "wk", "week", "weeks"), "wk"),
    **dict.fromkeys(("mo", "mon", "month", "months"), "mo"),
    **dict.fromkeys(("a", "y", "yr", "ann", "year", "years"), "a"),
}  # fmt: skip
_LETTERS = {"S": "s", "M": "min", "H": "h", "D": "d", "W": "wk", "L": "mo"}  # of TQ.3 and RXE-22
_LENGTH = re.compile(r"([SMHDWL])(\d{1,4})", re.ASCII)
_TIMES = re.compile(r"X(\d{1,4})", re.ASCII)
_LIMITS = {"D": "d", "WK": "wk", "M": "mo", "A": "a"}  # table 0924
_PATTERNS = "v2-0335.repeat-pattern"
_DOSE_TYPE = "http://terminology.hl7.org/CodeSystem/dose-rate-type"
# segment → least, most, unit, per time, rate, unit of the rate
_DOSES = {"RXO": (2, 3, 4, 17, 21, 22), "RXE": (3, 4, 5, 22, 23, 24), "RXG": (5, 6, 7, 14, 15, 16)}
_AMOUNTS = {"RXO": (2, 4), "RXE": (3, 5), "RXG": (5, 7), "RXA": (6, 7)}  # segment → amount, unit
_PER = {"RXA": (6, 7, 12), "RXG": (5, 7, 14)}  # segment → amount, unit, per time

# timing ---------------------------------------------------------------------------------------------------------------


@function("TQ1[Timing]", "Timing")
def tq1_timing(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """One repetition of TQ1-3, with what the rest of the TQ1 says about when."""
    if ctx.field != 3 and ctx.rep_index:
        return None
    segment: Segment = ctx.seg
    pattern = raw if ctx.field == 3 else ""
    found = _pattern(pattern, ctx)
    repeat: Json = found.pop("repeat", {})
    _event(pattern.split(ctx.comp), segment, repeat, ctx)
    words = _times_of_day(segment.field(4), repeat, ctx)
    length = _duration(whole(segment, 6, ctx), ctx, segment, 6)
    repeat |= _bounds(whole(segment, 7, ctx), whole(segment, 8, ctx), length, words, ctx)
    _say(found, words)
    if (each := _duration(whole(segment, 13, ctx), ctx, segment, 13)) is not None:
        repeat |= {"duration": each[0], "durationUnit": each[1]}
    _count(segment, repeat, ctx)
    return values.present(repeat=repeat, code=found.get("code"))


def _count(segment: Segment, repeat: Json, ctx: Any) -> None:
    """TQ1-14, how often in all; of several patterns no one says how often each."""
    raw = whole(segment, 14, ctx)
    if raw and len(segment.reps(3)) > 1:
        ctx.issues.append(issue("bad-timing", segment.place(14), row=ctx.row))
    elif raw and (most := numbers.nm_positive(raw, ctx)) is not None:
        repeat["count"] = most


@function("TQ[Timing-Drug]", "Timing")
def tq_timing(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """One repetition of RXE-1 or ORC-7: .2 the pattern and times, .3 how long, .4 and .5 from when to when, .12."""
    parts = raw.split(ctx.comp)
    interval = at(parts, 2).split(ctx.sub)
    found = _pattern(at(interval, 1), ctx)
    repeat: Json = found.pop("repeat", {})
    clock = ctx.rep.join(each for each in at(interval, 2).split(",") if each.strip())
    words = _times_of_day(clock, repeat, ctx)
    length = part(parts, 3, ctx)
    known = _LENGTH.fullmatch(length.upper()) if length else None
    if length and known is None and (times := _TIMES.fullmatch(length.upper())) is not None:
        repeat["count"] = int(times[1])
    elif length and known is None:
        words.append(length)
    bound = (Decimal(known[2]), _LETTERS[known[1]]) if known is not None else None
    repeat |= _bounds(at(parts, 4), at(parts, 5), bound, words, ctx)
    if (count := at(parts, 12)) and count != NULL and (most := numbers.nm_positive(count, ctx)) is not None:
        repeat["count"] = most
    _say(found, words)
    return values.present(repeat=repeat, code=found.get("code"))


def _say(found: Json, words: list[str]) -> None:
    """What Timing has no element for joins the text of its code."""
    if words:
        code = found.setdefault("code", {})
        code["text"] = ", ".join([*([code["text"]] if "text" in code else []), *words])


def _pattern(raw: str, ctx: Any) -> Json:
    """Timing of RPT or RI.1, without its PRN."""
    parts = raw.split(ctx.comp)
    head = at(parts, 1).split(ctx.sub)
    if not head[0].strip() and (words := part(head, 2, ctx) or part(parts, 2, ctx) or part(parts, 11, ctx)):
        return {"code": {"text": words}}  # a pattern in words alone: "once weekly" must not become every day
    match = _PRN.fullmatch(head[0].strip())
    head[0] = match[1] if match is not None else head[0]
    found = timing.rpt_timing(ctx.comp.join([ctx.sub.join(head), *parts[1:]]), ctx) or {}
    if "code" in found and " " not in head[0].strip():
        shown = coded.cwe_concept(ctx.comp.join(head), ctx, concept_map.load(_PATTERNS))
        found["code"] = {**(shown or {}), "text": found["code"]["text"]}
    return found


def _event(parts: list[str], segment: Segment, repeat: Json, ctx: Any) -> None:
    """RPT.8 the event and RPT.9, .10 how long before or after it; TQ1-5 where RPT.9 is empty."""
    event = part(parts, 8, ctx)
    if event is not None and event.upper() in _WHEN:
        repeat["when"] = [event.upper()]
    elif event is not None:
        ctx.issue("bad-timing", 8)
    offset = part(parts, 9, ctx)
    raw = ctx.comp.join((offset, at(parts, 10))) if offset else whole(segment, 5, ctx)
    if not raw:
        return
    length = _duration(raw, ctx, segment, 3 if offset else 5)
    seconds = SECONDS.get(length[1]) if length is not None else None
    if length is None or seconds is None or not repeat.get("when"):
        if length is not None:
            ctx.issues.append(issue("bad-timing", segment.place(3 if offset else 5), row=ctx.row))
        return
    repeat["offset"] = int(length[0] * seconds / 60)


def _times_of_day(raw: str, repeat: Json, ctx: Any) -> list[str]:
    """Times at which it is given; beside an event (tim-10) they stay words."""
    found = [timing.tm_time(each.replace(":", ""), ctx) for each in raw.split(ctx.rep) if each and each != NULL]
    plain = [each[0] if isinstance(each, tuple) else each for each in found]
    known = [each for each in plain if each is not None]
    if known and "when" in repeat:
        return known
    if known:
        repeat["timeOfDay"] = known
        if "period" not in repeat:
            repeat |= {"frequency": len(known), "period": 1, "periodUnit": "d"}
    return []


def _duration(raw: str, ctx: Any, segment: Segment, number: int) -> tuple[Decimal, str] | None:
    """A CQ of time as (number, UCUM unit); one that is none is an issue at its place."""
    if not raw:
        return None
    parts = raw.split(ctx.comp)
    value = numbers.nm_decimal(at(parts, 1), ctx)
    spelt = [part(each.split(ctx.sub), 1, ctx) or "" for each in (at(parts, 2),)]
    spelt += [part(at(parts, 2).split(ctx.sub), 2, ctx) or ""]
    unit = next((_UNITS[word.lower()] for word in spelt if word.lower() in _UNITS), None)
    if value is not None and unit is not None:
        return Decimal(value), unit
    ctx.issues.append(issue("bad-timing", segment.place(number), row=ctx.row))
    return None


def _bounds(start: str, end: str, length: tuple[Decimal, str] | None, words: list[str], ctx: Any) -> Json:
    """Bounds of start and end; a length makes the missing one of them, or bounds alone.

    A length that neither can say joins the words: `duration` would be how long each dose takes.
    """
    period = timing.period("" if start == NULL else start, "" if end == NULL else end, ctx)
    if period is None:
        return {"boundsDuration": _time_quantity(*length)} if length is not None else {}
    if length is not None:
        known, other, sign = ("start", "end", 1) if "start" in period else ("end", "start", -1)
        whole_days = known in period and len(period[known]) == 10 and f"_{known}" not in period
        moved = shifted(period[known], length[0] * sign, length[1], inside=whole_days) if known in period else None
        if moved is not None and other not in period and f"_{other}" not in period:
            return {"boundsPeriod": {**period, other: moved}}
        if moved is None or moved != period.get(other):
            words.append(f"{length[0]} {length[1]}")
    return {"boundsPeriod": period}


def _time_quantity(number: Decimal, unit: str) -> Json:
    return {"value": number, "unit": unit, "system": values.UCUM, "code": unit}


# as needed ------------------------------------------------------------------------------------------------------------


@function("TQ1[asNeeded]", "asNeeded[x]")
def tq1_as_needed(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """PRN in this repetition of TQ1-3, or as the priority; TQ1-10 says what for."""
    pattern = raw if ctx.field == 3 else ""
    priority = first(whole(ctx.seg, 9, ctx), ctx) or ""
    return _as_needed(at(pattern.split(ctx.comp), 1), priority, whole(ctx.seg, 10, ctx), ctx)


@function("TQ[asNeeded]", "asNeeded[x]")
def tq_as_needed(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """PRN in TQ.2, or as TQ.6; TQ.7 says what for."""
    parts = raw.split(ctx.comp)
    return _as_needed(at(parts, 2), part(parts, 6, ctx) or "", at(parts, 7), ctx)


def _as_needed(pattern: str, priority: str, condition: str, ctx: Any) -> Json | None:
    code = pattern.split(ctx.sub, 1)[0].strip().upper()
    if not (code.startswith("PRN") or code.endswith("PRN") or priority.upper() == "PRN"):
        return None
    if words := first(condition, ctx) if condition != NULL else None:
        return {"asNeededCodeableConcept": {"text": words}}
    return {"asNeededBoolean": True}


@function("TQ[string]", "string")
def tq_text(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> str | None:
    """TQ.8, words about the dose."""
    return part(raw.split(ctx.comp), 8, ctx)


# doses ----------------------------------------------------------------------------------------------------------------


def left_to_say(piece: Json, name: str, value: Any) -> Any:
    """TQ1-2 in the unit of the order's dose is the dose of its times: beside the other, both would be given."""
    own = {_unit(each) for each in piece.get("doseAndRate", ())} if name == "doseAndRate" else set()
    if not own - {None}:
        return value
    return [rest for each in value if (rest := {**each} if _unit(each) not in own else _rate(each))]


def _unit(dose: Json) -> str | None:
    """The unit of a dose."""
    told = dose.get("doseQuantity") or dose.get("doseRange", {}).get("low") or dose.get("doseRange", {}).get("high")
    return told.get("code") or told.get("unit") if told else None


def _rate(dose: Json) -> Json:
    """What a dose says of its rate."""
    rate = {name: value for name, value in dose.items() if name.startswith("rate")}
    return {**rate, **({"type": dose["type"]} if "type" in dose else {})} if rate else {}


def unread_dose(ctx: Any, segment: Segment | None) -> str | None:
    """An amount that is no number (`1/2`, `1-2`, `0,5`) with its unit, or one per what is no time, in words: a dose
    must not get lost."""
    if segment is None or segment.name not in _AMOUNTS:
        return None
    number, unit = _AMOUNTS[segment.name]
    words = first(whole(segment, number, ctx), ctx)
    made = numbers.quantity(words, None, ctx) if words is not None else None
    per = first(whole(segment, _PER[segment.name][2], ctx), ctx) if segment.name in _PER else None
    no_rate = per is not None and _LENGTH.fullmatch((per if per[1:] else f"{per}1").upper()) is None
    if words is None or (made is not None and "comparator" not in made and not no_rate):
        return None
    named = coded.cwe_string(whole(segment, unit, ctx), ctx) if whole(segment, unit, ctx) else None
    return " ".join(filter(None, (words, named, "/" if no_rate else None, per if no_rate else None)))


@function("CQ[Dosage.doseAndRate]", "Dosage.doseAndRate")
def cq_dose(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """TQ1-2."""
    return _quantity_dose(numbers.cq_quantity(raw, ctx))


@function("TQ[Dosage.doseAndRate]", "Dosage.doseAndRate")
def tq_dose(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """TQ.1, a CQ in subcomponents; a bare 1 says nothing: it is how often the pattern holds."""
    raw = at(raw.split(ctx.comp), 1)
    number, _, unit = raw.partition(ctx.sub)
    if not unit and number.strip() in ("", "1"):
        return None
    return _quantity_dose(numbers.cq_quantity(f"{number}{ctx.comp}{unit}", ctx))


@function("AMOUNT[Dosage.doseAndRate]", "Dosage.doseAndRate")
def amount_dose(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """A number whose unit is the next field: RXV-3 and RXV-4."""
    return _quantity_dose(amount(ctx, ctx.seg, ctx.field, ctx.field + 1))


def _quantity_dose(quantity: Json | None) -> Json | None:
    return {"doseQuantity": quantity} if quantity is not None and "comparator" not in quantity else None


@function("DOSE[Dosage.doseAndRate]", "Dosage.doseAndRate")
def dose(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """Least and most of RXO or RXE, per what time, and the rate."""
    segment: Segment = ctx.seg
    low, high, unit, per, rate, rate_unit = _DOSES[segment.name]
    least, most = amount(ctx, segment, low, unit), amount(ctx, segment, high, unit)
    if least is not None and most is not None and most["value"] < least["value"]:  # rng-2
        ctx.issues.append(issue("bad-value", segment.place(high), row=ctx.row))
        most = None
    found: Json = {}
    time = _per_time(whole(segment, per, ctx), ctx, segment, per)
    if time is not None and least is not None and most is None and not segment.field(rate):
        found["rateRatio"] = {"numerator": least, "denominator": time}
    elif most is not None and most != least:
        found["doseRange"] = values.range_(least, most)
    elif least is not None:
        found["doseQuantity"] = least
    if (speed := amount(ctx, segment, rate, rate_unit)) is not None:
        found["rateQuantity"] = speed
    if found and segment.name == "RXO":
        found["type"] = {"coding": [{"system": _DOSE_TYPE, "code": "ordered", "display": "Ordered"}]}
    return found or None


def _per_time(raw: str, ctx: Any, segment: Segment, number: int) -> Json | None:
    """RXE-22 and its like: a letter of time and a number, `H8`; the letter alone is one of it."""
    if not raw:
        return None
    written = (first(raw, ctx) or "").upper()
    match = _LENGTH.fullmatch(written if written[1:] else f"{written}1")
    if match is None or not int(match[2]):
        ctx.issues.append(issue("bad-timing", segment.place(number), row=ctx.row))
        return None
    return _time_quantity(Decimal(match[2]), _LETTERS[match[1]])


@function("PER[Ratio]", "Ratio")
def per_time(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """An amount per time: RXA-6 with RXA-12, RXG-5 with RXG-14."""
    number, unit, per = _PER[ctx.seg.name]
    given, time = amount(ctx, ctx.seg, number, unit), _per_time(whole(ctx.seg, per, ctx), ctx, ctx.seg, per)
    return {"numerator": given, "denominator": time} if given is not None and time is not None else None


@function("CQ[Ratio-Day]", "Ratio")
def per_day(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """RXE-19 and its like: the most of one day."""
    found = numbers.cq_quantity(raw, ctx)
    return {"numerator": found, "denominator": _time_quantity(Decimal(1), "d")} if found is not None else None


@function("LIMIT[Quantity]", "Quantity")
def lifetime_limit(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """CDO-3 where CDO-4 says for life."""
    return numbers.cq_quantity(raw, ctx) if _limit_time(ctx)[1] == "PL" else None


@function("LIMIT[Ratio]", "Ratio")
def period_limit(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """CDO-3 per the time of CDO-4, table 0924."""
    number, code = _limit_time(ctx)
    found = numbers.cq_quantity(raw, ctx) if code in _LIMITS else None
    return {"numerator": found, "denominator": _time_quantity(number, _LIMITS[code])} if found is not None else None


def _limit_time(ctx: Any) -> tuple[Decimal, str]:
    """(how many, of what) of CDO-4; one where no number stands."""
    parts = whole(ctx.seg, 4, ctx).split(ctx.comp)
    number = numbers.nm_decimal(at(parts, 1), ctx) if at(parts, 1) else None
    return Decimal(number) if number is not None else Decimal(1), at(parts, 2).split(ctx.sub)[0].strip().upper()


@function("RXG[Quantity]", "Quantity")
def give_dose(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """RXG-5 with its unit, RXG-7."""
    return amount(ctx, ctx.seg, 5, 7)


@function("RXG[range]", "string")
def give_range(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> str | None:
    """RXG-6, the most, in words: an administration has one dose."""
    most, unit = first(raw, ctx), coded.cwe_string(whole(ctx.seg, 7, ctx), ctx)
    least = first(whole(ctx.seg, 5, ctx), ctx)
    return " ".join(word for word in (f"{least}-{most}" if least and least != most else most, unit) if word) or None
