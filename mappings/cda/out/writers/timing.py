"""When something is to happen: a Timing as the list of times of a medication, GTS.

Bounds are an interval; a frequency is a period, with `institutionSpecified` where it is a count per day or week; events
of the day are EIVL_TS. What no period can say is left to the words of the dosage, whole: half a timing is another dose.
Source: HL7 v3 datatypes R1, GTS, PIVL<TS>, EIVL<TS>; FHIR R4 Timing. `mappings/cda/datatypes/timing.py` reads them.
"""

from decimal import Decimal

from mappings.cda.element import V3
from mappings.cda.out.writers.quantities import lexeme
from mappings.cda.out.writers.times import ivl_ts, point
from mappings.cda.out.writing import Out, Writer, element, typed
from mappings.fhir.fhirpath import Node
from mappings.outbound.reading import Json
from mappings.xml_parser import Element

_TIMING_EVENT = "2.16.840.1.113883.5.139"  # HL7 v3 TimingEvent
_COUNTED = {"d": ((24, "h"), (1440, "min")), "wk": ((7, "d"), (168, "h"))}  # a count in one of them is every so much
_SAID = frozenset({
    "boundsPeriod", "boundsDuration", "frequency", "period", "periodUnit", "periodMax", "when", "offset", "extension",
})  # fmt: skip


def gts(node: Node, tag: str, out: Out) -> list[Element] | None:
    """All elements of the list: bounds first, which is how most read it."""
    timing: Json = node[1]
    repeat = timing.get("repeat") or {}
    made = [*_bounds(repeat, tag, out), *_events(timing, tag, out)]
    if repeat.keys() - _SAID or ("when" in repeat and "period" in repeat):
        out.left_out("a timing that has no period")
        return made or None
    if "when" in repeat:
        made += _when(repeat, tag, out)
    elif "period" in repeat:
        made += _every(repeat, tag, out)
    return made or None


def _bounds(repeat: Json, tag: str, out: Out) -> list[Element]:
    found: Element | None = None
    if (period := repeat.get("boundsPeriod")) is not None:
        found = ivl_ts(("Period", period, None), tag, out)
    elif (length := repeat.get("boundsDuration")) is not None:
        found = typed(element(tag), "IVL_TS")
        found.append(_length(length.get("value"), str(length.get("code") or length.get("unit") or ""), "width"))
        out.mark_all(length)
    return [] if found is None else [found]


def _events(timing: Json, tag: str, out: Out) -> list[Element]:
    """Single times."""
    times, beside = timing.get("event") or [], timing.get("_event") or []
    made = [point(time, beside[n] if n < len(beside) else None, tag, out) for n, time in enumerate(times)]
    return [typed(each, "TS") for each in made if each is not None]


def _length(value: object, unit: str, name: str) -> Element:
    return element(f"{{{V3}}}{name}", value=lexeme(value), unit=unit)


def _when(repeat: Json, tag: str, out: Out) -> list[Element]:
    """An event of the day each, and how far from it."""
    made = []
    offset = repeat.get("offset")
    out.mark(offset)
    for code in repeat["when"]:
        out.mark(code)
        each = typed(element(tag, operator="A"), "EIVL_TS")
        each.append(element(f"{{{V3}}}event", code=str(code), codeSystem=_TIMING_EVENT))
        if offset:
            far = element(f"{{{V3}}}offset")
            far.append(_length(offset, "min", "low"))
            far.append(_length(offset, "min", "high"))
            each.append(far)
        made.append(each)
    return made


def _every(repeat: Json, tag: str, out: Out) -> list[Element]:
    times, unit, value = repeat.get("frequency", 1), str(repeat.get("periodUnit", "")), repeat.get("period")
    made = typed(element(tag, operator="A"), "PIVL_TS")
    most = repeat.get("periodMax")
    if int(times) != 1:
        found = _shared(int(times), Decimal(str(value)), unit)
        if found is None or most is not None:
            out.left_out("a frequency that is no period")
            return []
        made.set("institutionSpecified", "true")
        made.append(_length(*found, "period"))
    elif most is not None:
        ends = element(f"{{{V3}}}period")
        ends.append(_length(value, unit, "low"))
        ends.append(_length(most, unit, "high"))
        made.append(ends)
    else:
        made.append(_length(value, unit, "period"))
    for name in ("frequency", "period", "periodUnit", "periodMax"):
        out.take(repeat, name)
    return [made]


def _shared(times: int, period: Decimal, unit: str) -> tuple[str, str] | None:
    """How much of a day, or a week, each time has, where that is a number of hours, minutes or days."""
    for whole, part in _COUNTED.get(unit, ()) if period == 1 else ():
        each = Decimal(whole) / times
        if each * times == whole and len(str(each)) < 10:
            return str(each), part
    return None


WRITERS: dict[str, Writer] = {"GTS": gts}
