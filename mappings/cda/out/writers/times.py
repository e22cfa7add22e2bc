"""Points and stretches of time: TS, IVL_TS.

A time keeps its offset and its precision; what was sent less precise than FHIR demands goes out as it came in. An end
that is unknown stays a null flavor, for that something is over is a fact.
Source: HL7 v3 datatypes R1, TS, IVL<TS>; FHIR R4 date, dateTime, Period. `mappings/cda/datatypes/times.py` reads them.
"""

from typing import Any

from mappings.cda.element import V3
from mappings.cda.out.writers.identifiers import flavor_of
from mappings.cda.out.writing import Out, Writer, element, typed
from mappings.fhir.fhirpath import Node
from mappings.fhir.values import DATA_ABSENT_REASON
from mappings.outbound.moments import moment
from mappings.outbound.reading import Json
from mappings.xml_parser import Element


def point(value: Any, sibling: Json | None, tag: str, out: Out) -> Element | None:
    """A time, or why there is none."""
    written = moment(value, sibling, out)
    if written and written[:4].isdigit():
        return element(tag, value=written)
    if written:
        out.left_out("words where a time stands")
    reason = out.text(out.extension(sibling, DATA_ABSENT_REASON), "valueCode")
    return element(tag, nullFlavor=flavor_of(reason)) if reason else None


def ts(node: Node, tag: str, out: Out) -> Element | None:
    return point(node[1], node[2], tag, out)


def day(node: Node, tag: str, out: Out) -> Element | None:
    """A date that a time beside it says more of: that time."""
    return point(node[1], node[2], tag, out)


def ivl_ts(node: Node, tag: str, out: Out) -> Element | None:
    """A Period, or one time; in a list of times it tells its type."""
    value = node[1]
    if not isinstance(value, dict):
        made = point(value, node[2], tag, out)
        return typed(made, "TS") if made is not None and out.declared == "SXCM_TS" else made
    ends = [point(value.get(name), value.get(f"_{name}"), f"{{{V3}}}{end}", out) for name, end in _ENDS]
    found = [each for each in ends if each is not None]
    if not found:
        return None
    made = element(tag)
    made.extend(found)
    return typed(made, "IVL_TS") if out.declared in ("SXCM_TS", "ANY") else made


_ENDS = (("start", "low"), ("end", "high"))


def low(node: Node, tag: str, out: Out) -> Element | None:
    """A time as the beginning of an interval of which no end is known."""
    made = point(node[1], node[2], f"{{{V3}}}low", out)
    if made is None:
        return None
    whole = element(tag)
    whole.append(made)
    return whole


WRITERS: dict[str, Writer] = {"TS": ts, "IVL_TS": ivl_ts, "IVL_TS.low": low}
