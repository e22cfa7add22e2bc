"""The lexemes of HL7 v2 and v3 times as FHIR's, without ever borrowing the server's clock or zone.

Both standards write `YYYYMMDDhhmmss.ffff+ZZZZ`, cut after any pair of digits. Pure functions: what a lexeme without an
offset means is the caller's to say (`Zone`). What FHIR cannot say exactly (hours without minutes, a cut time) and what
is no date at all is marked to be kept as it was sent.
Source: HL7 v2.9 §2A.3.21 DTM; HL7 v3 datatypes R1, TS literal form; FHIR R4 datatypes date, dateTime, instant.
"""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

_LEXEME: Final = re.compile(r"(\d{4}(?:\d\d){0,5})(\.\d+)?([+-]\d{4})?", re.ASCII)
_NEVER: Final = "99991231"  # "until further notice" in many systems; no one means the date


SECONDS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86400, "wk": 604800}  # UCUM
_MONTHS: Final = {"mo": 1, "a": 12}
_MONTH: Final = 2_629_800  # seconds, on average
_CENTURY: Final = 3_155_760_000


class Moment(NamedTuple):
    """`value` is FHIR text, None where the lexeme is no date; `keep` says the lexeme tells more than the value."""

    value: str | None
    keep: bool
    issues: tuple[str, ...] = ()


BAD: Final = Moment(None, True, ("not-a-date",))


@dataclass(frozen=True, slots=True)
class Zone:
    """What a time without an offset means: in an IANA zone, at an offset, or nobody knows."""

    zone: ZoneInfo | None = None
    offset: str | None = None  # as FHIR writes it; used only where `zone` is None
    mismatch: bool = False  # the offset contradicts the zone that the profile names

    @classmethod
    def of(cls, stamp: str, zone: ZoneInfo | None) -> "Zone":
        """Weigh the offset of one time, the header's or a neighbour's, against the profile's zone.

        Where they agree at that instant the zone decides, for what was sent in January may speak of July; where they
        do not, the offset wins.
        """
        found = _LEXEME.fullmatch(stamp.strip()) if "+" in stamp or "-" in stamp else None
        if found is None or (stamped := _offset(found[3])) is None:
            return cls(zone)
        if zone is None:
            return _of_offset(stamped)
        wall = _wall(found[1].ljust(8, "0")) if len(found[1]) >= 8 else None
        if wall is not None and _agree(wall, stamped, zone):
            return cls(zone)
        return cls(None, stamped, mismatch=True)


@lru_cache(maxsize=128)
def _of_offset(stamped: str) -> Zone:
    """The zone of a sender that gives nothing but an offset; there are few, and each message asks."""
    return Zone(None, stamped)


def moment_of(lexeme: str, zone: Zone) -> Moment:
    """The reading of one lexeme under one zone."""
    found = _LEXEME.fullmatch(lexeme)
    if found is None:
        return BAD
    digits, fraction, own = found[1], found[2] or "", found[3]
    if fraction and len(digits) != 14:
        return BAD
    if (usual := _usual(digits)) and (len(digits) == 8 or own is not None):
        if len(digits) == 8:
            return Moment(usual, own is not None)
        return Moment(f"{usual}{fraction}{offset}", False) if (offset := _offset(own)) else BAD
    wall = _wall(digits)
    if wall is None:
        return BAD
    if len(digits) <= 8:
        return Moment(_partial(digits), own is not None)
    text = wall.isoformat()
    keep = len(digits) < 14
    if own is not None:
        offset = _offset(own)
        return Moment(f"{text}{fraction}{offset}", keep) if offset else BAD
    if zone.zone is not None:
        offset, exact, issues = _zoned(wall, zone.zone)
        return Moment(f"{text}{fraction}{offset}", keep or not exact, issues)
    if zone.offset is not None:
        return Moment(f"{text}{fraction}{zone.offset}", keep)
    return Moment(text[:10], True, ("no-offset",))


def _usual(digits: str) -> str | None:
    """A whole day, or a time to the second, as FHIR writes it; None where it takes a closer look (24:00, 9999)."""
    if len(digits) not in (8, 14) or digits.startswith(_NEVER):
        return None
    text = f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}"
    if len(digits) == 14:
        text = f"{text}T{digits[8:10]}:{digits[10:12]}:{digits[12:]}"
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return None
    return text


def _wall(digits: str) -> datetime | None:
    """The wall time of 4 to 14 digits, missing parts at their first; 24:00 is the next day. None: no such time."""
    if digits.startswith(_NEVER) or len(digits) % 2:
        return None
    midnight = digits[8:10] == "24" and not digits[10:].strip("0")
    if midnight:
        digits = digits[:8] + "00" + digits[10:]
    try:
        year, month, day = int(digits[:4]), int(digits[4:6] or 1), int(digits[6:8] or 1)
        hour, minute, second = int(digits[8:10] or 0), int(digits[10:12] or 0), int(digits[12:14] or 0)
        wall = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - its offset is found later
        return wall + timedelta(days=1) if midnight else wall
    except (ValueError, OverflowError):
        return None


def _partial(digits: str) -> str:
    return "-".join(part for part in (digits[:4], digits[4:6], digits[6:8]) if part)


def _offset(own: str | None) -> str | None:
    """`+0200` as `+02:00`; None where FHIR knows no such offset (beyond 14:00)."""
    if own is None or own[3:] > "59" or own[1:] > "1400":
        return None
    return f"{own[:3]}:{own[3:]}"


def _zoned(wall: datetime, zone: ZoneInfo) -> tuple[str, bool, tuple[str, ...]]:
    """(offset, whether minutes hold it, issues). Fold 0 is the offset before a gap and the first of two hours."""
    aware = wall.replace(tzinfo=zone)
    first, second = aware.utcoffset(), aware.replace(fold=1).utcoffset()
    if first is None or second is None:
        raise RuntimeError("a zone without offsets")
    issues: tuple[str, ...] = ()
    if first != second:
        gap = first < second
        issues = ("time-in-gap",) if gap else ("time-ambiguous",)
    seconds = int(first.total_seconds())
    sign, seconds = ("-", -seconds) if seconds < 0 else ("+", seconds)
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}", seconds % 60 == 0, issues


def _agree(wall: datetime, stamped: str, zone: ZoneInfo) -> bool:
    sign = -1 if stamped[0] == "-" else 1
    offset = sign * timedelta(hours=int(stamped[1:3]), minutes=int(stamped[4:6]))
    try:
        return wall.replace(tzinfo=timezone(offset)).astimezone(zone).utcoffset() == offset
    except OverflowError:
        return False


def utc(value: str) -> datetime | None:
    """The instant of a FHIR dateTime with an offset, for ordering statements; None for a partial one."""
    if len(value) <= 10:
        return None
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def shifted(moment: str, number: Decimal, unit: str, *, inside: bool = False) -> str | None:
    """A FHIR date or time moved by a length of time, as exact as it was; None where it cannot be moved so little, or
    is moved more than a century. `inside`: the first and the last day count, as in a Period of days: five days from
    the 1st end on the 5th."""
    months = _MONTHS.get(unit)
    length = SECONDS[unit] if months is None and unit in SECONDS else _MONTH * (months or 0)
    if not length or abs(number) * length > _CENTURY:
        return None
    if months is not None and number != int(number):
        return None
    try:
        if months is not None:
            reached = _months_on(moment, int(number) * months)
        else:
            reached = _seconds_on(moment, number * SECONDS[unit])
        if reached is None or not inside or len(reached) != 10:
            return reached
        back = timedelta(days=(number > 0) - (number < 0))
        return (date.fromisoformat(reached) - back).isoformat()
    except (OverflowError, ValueError):
        return None


def _seconds_on(moment: str, seconds: Decimal) -> str | None:
    """By the clock; of a day, whole days only."""
    if len(moment) > 10:
        return (datetime.fromisoformat(moment) + timedelta(seconds=float(seconds))).isoformat()
    if len(moment) < 10 or seconds % 86400:
        return None
    return (date.fromisoformat(moment) + timedelta(days=int(seconds) // 86400)).isoformat()


def _months_on(moment: str, months: int) -> str | None:
    """The same day of another month, or its last: the 31st of January and a month is the end of February."""
    if len(moment) == 4 and months % 12:
        return None
    year, number = divmod(int(moment[:4]) * 12 + int(moment[5:7] or 1) - 1 + months, 12)
    if not MINYEAR <= year <= MAXYEAR:
        return None
    if len(moment) == 4:
        return f"{year:04}"
    if len(moment) == 7:
        return f"{year:04}-{number + 1:02}"
    day = min(int(moment[8:10]), monthrange(year, number + 1)[1])
    return f"{year:04}-{number + 1:02}-{day:02}{moment[10:]}"
