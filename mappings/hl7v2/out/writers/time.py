"""Dates and times: DT, TM, TS, DTM, DR.

A time is written in the receiver's zone, with its offset; without a zone, with the offset it has. What was sent with
less precision than FHIR demands was kept beside the value (`source-lexeme`) and goes out as precise as it came in;
what FHIR could not hold at all goes out as it came in.
Source: HL7 v2.9 §2A.3.21 (DT, DTM, TM); `mappings/hl7v2/time.py` reads them.
"""

from mappings.fhir.fhirpath import Node
from mappings.hl7v2.out.writing import Out, Repetition, Writer
from mappings.outbound.moments import DAY, kept_lexeme, moment
from mappings.outbound.reading import Json


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
    if len(found) > DAY and found[:DAY].isdigit():
        out.issue("left-out", detail="the time of a day")
        found = found[:DAY]
    return [found] if found else None


def tm(node: Node, out: Out) -> Repetition | None:
    kept = kept_lexeme(node[2], out)
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
