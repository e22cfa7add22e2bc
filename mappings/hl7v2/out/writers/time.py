"""Dates and times: DT, TM, TS, DTM, DR.

A time is written in the receiver's zone, with its offset; without a zone, with the offset it has. What was sent with
less precision than FHIR demands was kept beside the value (`source-lexeme`) and goes out as precise as it came in;
what FHIR could not hold at all goes out as it came in.
Source: HL7 v2.9 §2A.3.21 (DT, DTM, TM); `mappings/hl7v2/time.py` reads them.
"""

from datetime import datetime
from zoneinfo import ZoneInfo

from mappings.fhir.fhirpath import Node
from mappings.fhir.values import SOURCE_LEXEME
from mappings.hl7v2.out.writing import Json, Out, Repetition, Writer

_DAY, _SECOND = 8, 14  # digits


def moment(value: str | None, sibling: Json | None, out: Out, zone: ZoneInfo | None = None) -> str:
    """A dateTime, date or instant as DTM, in the zone if one is given; "" for nothing."""
    kept = _lexeme(sibling, out)
    out.mark(value)
    if not value or (kept and len(value) <= len("2025-01-01")):
        return kept
    if "T" not in value:
        return value.replace("-", "")
    written = _local(value, zone, out)
    digits = len(kept.partition("+")[0].partition("-")[0])
    if _DAY < digits < _SECOND:  # hours, or hours and minutes: FHIR's zeros were not said
        offset = written[-5:] if written[-5:-4] in ("+", "-") else ""
        return written[:digits] + offset
    return written


def _lexeme(sibling: Json | None, out: Out) -> str:
    kept = out.extension(sibling, SOURCE_LEXEME)
    return out.text(kept, "valueString")


def _local(value: str, zone: ZoneInfo | None, out: Out) -> str:
    """The digits of an instant in the zone; fractions of a second keep theirs."""
    whole, _, rest = value.partition(".")
    fraction = ""
    if rest:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        fraction, whole = "." + rest[:digits][:4], whole + rest[digits:]
        if digits > 4:
            out.issue("left-out", detail="digits of a second")
    at = datetime.fromisoformat(whole)
    if zone is not None and at.tzinfo is not None:
        at = at.astimezone(zone)
    return f"{at:%Y%m%d%H%M%S}{fraction}{at:%z}"[: _SECOND + len(fraction) + 5]


def dtm(node: Node, out: Out) -> Repetition | None:
    found = moment(node[1], node[2], out, out.receiver.zone)
    return [found] if found else None


def dtm_own(node: Node, out: Out) -> Repetition | None:
    """A time whose day counts where it was: nobody is born a day later for a receiver in the east."""
    found = moment(node[1], node[2], out)
    return [found] if found else None


def day(node: Node, out: Out) -> Repetition | None:
    """DT: of a time, the day; what it says beyond that is left out."""
    found = moment(node[1], node[2], out, out.receiver.zone)
    if len(found) > _DAY and found[:_DAY].isdigit():
        out.issue("left-out", detail="the time of a day")
        found = found[:_DAY]
    return [found] if found else None


def tm(node: Node, out: Out) -> Repetition | None:
    kept = _lexeme(node[2], out)
    out.mark(node[1])
    found = kept or str(node[1] or "").replace(":", "")
    return [found] if found else None


def bounds(period: Json | None, out: Out) -> tuple[str, str]:
    """The two ends of a Period."""
    if not period:
        return "", ""
    zone = out.receiver.zone
    start, end = (moment(period.get(name), period.get(f"_{name}"), out, zone) for name in ("start", "end"))
    return start, end


def dr(node: Node, out: Out) -> Repetition | None:
    """DR: a Period, or one time as the start of it."""
    if isinstance(node[1], dict):
        return [*bounds(node[1], out)]
    return dtm(node, out)


WRITERS: dict[str, Writer] = {"DTM": dtm, "DTM.own": dtm_own, "TS": dtm, "DT": day, "TM": tm, "DR": dr}
