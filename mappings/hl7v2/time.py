"""HL7 v2 dates and times to FHIR's, without ever borrowing the server's clock or zone.

Offset, in order: the value's own, MSH-7's, the profile's IANA zone. Where MSH-7 and the zone agree at that instant, the
zone decides for every value, for a message sent in January may speak of July; where they disagree MSH-7 wins
(`zone-mismatch`). Neither known: the time is cut to its date and the lexeme kept. What FHIR cannot say exactly (hours
without minutes, a cut time) and what is no date at all travels in the extension `source-lexeme`.
Source: HL7 v2.9 §2A.3.21 DT, DTM, TM; FHIR R4 datatypes date, dateTime, time, instant.
"""

import re
from typing import TYPE_CHECKING

from mappings.moments import BAD, Moment, moment_of, utc
from mappings.moments import Zone as MessageZone

if TYPE_CHECKING:
    from mappings.hl7v2.context import Context

__all__ = ["MessageZone", "Moment", "moment_of", "read", "time_of", "utc"]

_TM = re.compile(r"(\d\d(?:\d\d){0,2})(\.\d+)?([+-]\d{4})?", re.ASCII)


def read(lexeme: str, ctx: "Context") -> Moment:
    """A DT, TS or DTM as FHIR date or dateTime. Issues are recorded at the context's place, at every occurrence."""
    moment: Moment | None = ctx.times.get(lexeme)
    if moment is None:
        moment = ctx.times[lexeme] = moment_of(lexeme, ctx.zone)
    for code in moment.issues:
        ctx.issue(code)
    return moment


def time_of(lexeme: str) -> Moment:
    """A TM as FHIR time; FHIR's has no offset, so that one stays in the lexeme."""
    found = _TM.fullmatch(lexeme)
    if found is None:
        return BAD
    digits, fraction, own = found[1], found[2] or "", found[3]
    hours, minutes, seconds = digits[:2], digits[2:4] or "00", digits[4:6] or "00"
    if hours > "23" or minutes > "59" or seconds > "59" or (fraction and len(digits) != 6):
        return BAD
    return Moment(f"{hours}:{minutes}:{seconds}{fraction}", len(digits) < 6 or own is not None)
