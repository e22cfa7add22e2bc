"""Dates and times as stretches of the time line.

A FHIR date is as long as it is exact: `2025-03` is a whole month. Here each becomes an Interval of nanoseconds since
1 January of year 1, UTC, closed at its start and open at its end; search prefixes and FHIRPath comparisons are
arithmetic on these. The zone of a value that names none is the caller's, an argument. Reads what the validator let
through and what a searcher typed; anything else raises TemporalError.
Source: FHIR R4 datatypes.html#dateTime (formats, seconds up to 60), search.html#date (what a precision covers).
"""

import re
from datetime import MAXYEAR, UTC, date, datetime, time, tzinfo
from typing import Final, NamedTuple

from mappings.errors import MappingError

SECOND: Final = 1_000_000_000
_DAY: Final = 86_400 * SECOND
_LAST_ORDINAL: Final = date(MAXYEAR, 12, 31).toordinal()
_UNZONED_SLACK: Final = 14 * 3_600 * SECOND  # civil time is at most 14 hours from UTC (Kiribati)

_LEXEME: Final = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})(?:T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?)?)?"
)


class TemporalError(MappingError):
    """A text that is no FHIR date, dateTime or instant, or names a day that is in no calendar."""


class Interval(NamedTuple):
    """From `start` until before `end`, in nanoseconds; an open side of a period is EARLIEST or LATEST."""

    start: int
    end: int

    def overlaps(self, other: "Interval") -> bool:
        return self.start < other.end and other.start < self.end

    def contains(self, other: "Interval") -> bool:
        return self.start <= other.start and other.end <= self.end


EARLIEST: Final = -(1 << 80)
LATEST: Final = 1 << 80
ALWAYS: Final = Interval(EARLIEST, LATEST)


def interval(lexeme: str, zone: tzinfo) -> Interval:
    """What a date, dateTime or instant covers; without an offset of its own it is read in `zone`.

    Fractions count to the nanosecond. Raises TemporalError.
    """
    match = _LEXEME.fullmatch(lexeme)
    if match is None:
        raise TemporalError("not a date")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    try:
        if hour is None:
            return _days(int(year), month, day, zone)
        ordinal = date(int(year), int(month), int(day)).toordinal()
        start = _clock(ordinal, int(hour), int(minute), int(second or 0), offset, zone)
    except ValueError as exc:
        raise TemporalError("not a date of the calendar") from exc
    if second is None:
        return Interval(start, start + 60 * SECOND)
    if fraction is None:
        return Interval(start, start + SECOND)
    digits = fraction[:9]
    unit = 10 ** (9 - len(digits))
    start += int(digits) * unit
    return Interval(start, start + unit)


def instant(moment: datetime) -> int:
    """An aware datetime on the same line, to the microsecond."""
    utc = moment.astimezone(UTC)
    seconds = utc.hour * 3_600 + utc.minute * 60 + utc.second
    return utc.toordinal() * _DAY + seconds * SECOND + utc.microsecond * 1_000


def period(start: str | None, end: str | None, zone: tzinfo) -> Interval:
    """A Period: from the start of its start to the end of its end; a missing side reaches as far as time does."""
    return Interval(
        EARLIEST if start is None else interval(start, zone).start,
        LATEST if end is None else interval(end, zone).end,
    )


def compare(left: str, right: str) -> int | None:
    """-1, 0 or 1 as FHIRPath orders two dates; None where their precision, or a zone that only one names, leaves it
    open.

    Source: FHIRPath N1 §6.2, "comparison of dates with different precision"; seconds and their fractions are one
    precision.
    """
    one, two = interval(left, UTC), interval(right, UTC)
    if _zoned(left) != _zoned(right):
        one, two = _widened(left, one), _widened(right, two)
    if len(left) >= 19 <= len(right):  # YYYY-MM-DDThh:mm:ss and finer
        one, two = Interval(one.start, one.start), Interval(two.start, two.start)
    if one == two and (len(left) >= 19 or _precision(left) == _precision(right)):
        return 0
    if one.end <= two.start:
        return -1
    return 1 if two.end <= one.start else None


def _days(year: int, month: str | None, day: str | None, zone: tzinfo) -> Interval:
    first = date(year, int(month or 1), int(day or 1)).toordinal()
    if day is not None:
        after = first + 1
    elif month is not None:
        after = _month_after(year, int(month))
    else:
        after = date(year, 12, 31).toordinal() + 1
    return Interval(_midnight(first, zone), _midnight(after, zone))


def _month_after(year: int, month: int) -> int:
    return date(year, 12, 31).toordinal() + 1 if month == 12 else date(year, month + 1, 1).toordinal()


def _midnight(ordinal: int, zone: tzinfo) -> int:
    day = date.fromordinal(min(ordinal, _LAST_ORDINAL))  # the day after the last of the calendar has its offset
    return ordinal * _DAY - _offset(datetime.combine(day, time.min), zone)


def _clock(ordinal: int, hour: int, minute: int, second: int, offset: str | None, zone: tzinfo) -> int:
    """A time of day on the line; second 60 of a leap minute is one more than 59."""
    leap = second == 60
    local = datetime.combine(date.fromordinal(ordinal), time(hour, minute, 59 if leap else second))
    shift = _offset(local, zone) if offset is None else _written_offset(offset)
    return ordinal * _DAY + (hour * 3_600 + minute * 60 + second) * SECOND - shift


def _offset(local: datetime, zone: tzinfo) -> int:
    shift = zone.utcoffset(local)
    if shift is None:
        raise RuntimeError("the zone has no offset")
    return (shift.days * 86_400 + shift.seconds) * SECOND


def _written_offset(text: str) -> int:
    if text == "Z":
        return 0
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > 14 or minutes > 59:
        raise ValueError("not an offset")
    seconds = hours * 3_600 + minutes * 60
    return (-seconds if text[0] == "-" else seconds) * SECOND


def _zoned(lexeme: str) -> bool:
    return lexeme.endswith("Z") or (len(lexeme) > 10 and lexeme[-6] in "+-")


def _widened(lexeme: str, span: Interval) -> Interval:
    return span if _zoned(lexeme) else Interval(span.start - _UNZONED_SLACK, span.end + _UNZONED_SLACK)


def _precision(lexeme: str) -> int:
    """4, 7, 10 for a year, month or day, 16 for minutes."""
    return min(len(lexeme), 16)
