"""Times as HL7 writes them, in v2 (DTM) and in v3 (TS): the digits of a date and time, and an offset.

What was sent with less precision than FHIR demands was kept beside the value (`source-lexeme`) and goes out as precise
as it came in; what FHIR could not hold at all goes out as it came in.
Source: HL7 v2.9 §2A.3.21 (DTM); HL7 v3 datatypes R1, TS literal form. `mappings/moments.py` reads them.
"""

from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from mappings.fhir.values import SOURCE_LEXEME
from mappings.outbound.reading import Json

DAY, SECOND = 8, 14  # digits


class Reading(Protocol):
    """As much of a writer's surroundings as this needs."""

    def mark(self, value: object) -> None: ...

    def text(self, holder: Json | None, name: str) -> str: ...

    def extension(self, holder: Json | None, url: str) -> Json | None: ...

    def left_out(self, what: str) -> None: ...


def moment(value: str | None, sibling: Json | None, out: Reading, zone: ZoneInfo | None = None) -> str:
    """A dateTime, date or instant as digits, in the zone if one is given; "" for nothing."""
    kept = kept_lexeme(sibling, out)
    out.mark(value)
    if not value or (kept and len(value) <= len("2025-01-01")):
        return kept
    if "T" not in value:
        return value.replace("-", "")
    written = _local(value, zone, out)
    digits = len(kept.partition("+")[0].partition("-")[0])
    if DAY < digits < SECOND:  # hours, or hours and minutes: FHIR's zeros were not said
        offset = written[-5:] if written[-5:-4] in ("+", "-") else ""
        return written[:digits] + offset
    return written


def kept_lexeme(sibling: Json | None, out: Reading) -> str:
    """What was sent, where FHIR holds less or more of it."""
    return out.text(out.extension(sibling, SOURCE_LEXEME), "valueString")


def _local(value: str, zone: ZoneInfo | None, out: Reading) -> str:
    """The digits of an instant in the zone; fractions of a second keep theirs."""
    whole, _, rest = value.partition(".")
    fraction = ""
    if rest:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        fraction, whole = "." + rest[:digits][:4], whole + rest[digits:]
        if digits > 4:
            out.left_out("digits of a second")
    at = datetime.fromisoformat(whole)
    if zone is not None and at.tzinfo is not None:
        at = at.astimezone(zone)
    return f"{at:%Y%m%d%H%M%S}{fraction}{at:%z}"[: SECOND + len(fraction) + 5]
