"""The value of an observation: OBX-2, OBX-5 and OBX-6 of one Observation or component; CQ; reference ranges.

FHIR's value decides the datatype: Quantity is NM, with a comparator SN; Range and Ratio SN; CodeableConcept CWE (CE
before 2.5); string ST, of several lines TX; dateTime DTM (TS before 2.6); time TM; Period DR; boolean a code of table
0136. Where OBX-11 says that a value is missing, the reason needs no field.
Source: HL7 v2.9 §7.4.2, table 0125; `mappings/hl7v2/datatypes/observation.py` reads them.
"""

from typing import Any, NamedTuple

from mappings.fhir.fhirpath import Node
from mappings.fhir.values import STRUCTURE, UCUM
from mappings.hl7v2.out import grammar
from mappings.hl7v2.out.writers.coded import cwe, spread
from mappings.hl7v2.out.writers.documents import ed
from mappings.hl7v2.out.writers.text import code, number
from mappings.hl7v2.out.writers.time import bounds
from mappings.hl7v2.out.writers.time import tm as time_of_day
from mappings.hl7v2.out.writing import Out, Repetition, Several, Writer, bare
from mappings.outbound.moments import moment
from mappings.outbound.reading import Json
from mappings.vitals import beside

_SUB_ID = STRUCTURE + "observation-v2-subid"


class Valued(NamedTuple):
    """OBX-2, the repetitions of OBX-5, and the Quantity whose unit is OBX-6."""

    kind: str
    repetitions: list[Repetition]
    unit: Json | None = None


_NOTHING = Valued("", [])


def value_of(holder: Json, out: Out) -> Valued:
    """The value of one Observation or component."""
    name = next((each for each in holder if each.startswith(("value", "_value"))), "")
    if not name:
        return _attached(holder, out)
    shape = _SHAPES.get(name.removeprefix("_"))
    if shape is None:
        out.issue("no-datatype")
        return _NOTHING
    plain = name.removeprefix("_")
    if isinstance(holder.get(plain), bool):
        out.take(holder, plain)
    return shape(holder.get(plain), holder.get(f"_{plain}"), out)


def _quantity(value: Any, sibling: Json | None, out: Out) -> Valued:
    amount, comparator = value.get("value"), out.text(value, "comparator")
    out.mark(amount)
    if amount is None:
        return Valued("NM", [], value)
    if comparator:
        return Valued("SN", [[comparator, number(amount)]], value)
    return Valued("NM", [[number(amount)]], value)


def _amount(value: Json | None, out: Out) -> str:
    amount = (value or {}).get("value")
    out.mark(amount)
    return number(amount) if amount is not None else ""


def _same_unit(first: Json | None, second: Json | None, out: Out) -> None:
    if first and second and any(first.get(n) != second.get(n) for n in ("unit", "system", "code")):
        out.issue("left-out", detail="the second of two units")
    elif second:
        for name in ("unit", "system", "code"):
            out.take(second, name)


def _range(value: Any, sibling: Json | None, out: Out) -> Valued:
    low, high = value.get("low"), value.get("high")
    _same_unit(low, high, out) if low else None
    return Valued("SN", [["", _amount(low, out), "-", _amount(high, out)]], low or high)


def _ratio(value: Any, sibling: Json | None, out: Out) -> Valued:
    over, under = value.get("numerator") or {}, value.get("denominator") or {}
    if under.get("unit") and under.get("unit") != over.get("unit"):
        out.issue("left-out", detail="the unit of a denominator")
    comparator = out.text(over, "comparator")
    return Valued("SN", [[comparator, _amount(over, out), ":", _amount(under, out)]], over)


def _concept(value: Any, sibling: Json | None, out: Out) -> Valued:
    kind = "CWE" if grammar.datatype(out.receiver.version, "CWE") and out.receiver.version >= "2.5" else "CE"
    room = len(grammar.datatype(out.receiver.version, kind) or ())
    return Valued(kind, [bare(spread(value, room, out)) or []])


def _string(value: Any, sibling: Json | None, out: Out) -> Valued:
    out.mark(value)
    written = str(value or "")
    if "\n" in written:
        return Valued("TX", [[line] for line in written.split("\n")])
    return Valued("ST", [[written]])


def _moment(value: Any, sibling: Json | None, out: Out) -> Valued:
    written = moment(value, sibling, out, out.receiver.zone)
    kind = "DT" if len(written) <= 8 else "TS" if out.receiver.version < "2.6" else "DTM"
    return Valued(kind if written[:4].isdigit() else "ST", [[written]])


def _time(value: Any, sibling: Json | None, out: Out) -> Valued:
    return Valued("TM", [time_of_day(("time", value, sibling), out) or []])


def _period(value: Any, sibling: Json | None, out: Out) -> Valued:
    return Valued("DR", [[*bounds(value, out)]])


def _boolean(value: Any, sibling: Json | None, out: Out) -> Valued:
    return Valued("ID", [["Y" if value else "N"]])


def _integer(value: Any, sibling: Json | None, out: Out) -> Valued:
    out.mark(value)
    return Valued("NM", [[number(value)]])


_SHAPES = {
    "valueQuantity": _quantity, "valueRange": _range, "valueRatio": _ratio, "valueCodeableConcept": _concept,
    "valueString": _string, "valueDateTime": _moment, "valueTime": _time, "valuePeriod": _period,
    "valueBoolean": _boolean, "valueInteger": _integer,
}  # fmt: skip


def _attached(holder: Json, out: Out) -> Valued:
    """A line whose value is a document: R4 keeps it beside the line."""
    for reference in holder.get("derivedFrom", ()):
        document = out.find(str(reference.get("reference", "")))
        if document is None or document.get("resourceType") != "DocumentReference":
            continue
        out.resolved(reference)
        out.take(document, "status")
        found = [_content(each.get("attachment") or {}, out) for each in document.get("content", ())]
        if found := [each for each in found if each.repetitions]:
            return Valued(found[0].kind, [each.repetitions[0] for each in found])
    return _NOTHING


def _content(attachment: Json, out: Out) -> Valued:
    kind, repetition = ed(attachment, out)
    return Valued(kind, [repetition]) if repetition else _NOTHING


# The writers of the three fields -------------------------------------------------------------------------------------


def _whole(node: Node, out: Out) -> Valued:
    """The value of the node; components of its own code are repetitions of OBX-5."""
    found = value_of(node[1], out)
    if found.kind or "component" not in node[1]:
        return found
    parts = [value_of(each, out) for each in node[1]["component"] if is_repetition(each, node[1])]
    kinds = {each.kind for each in parts}
    if len(kinds) != 1 or not parts[0].kind:
        return _NOTHING
    for each in node[1]["component"]:
        out.mark_all(each.get("code"))
    for each in parts[1:]:
        _same_unit(parts[0].unit, each.unit, out)
    return Valued(parts[0].kind, [rep for each in parts for rep in each.repetitions], parts[0].unit)


def is_repetition(component: Json, observation: Json) -> bool:
    """A component with the observation's own code is one of several values of the line."""
    return bool(component.get("code") == observation.get("code"))


def kind_of_value(node: Node, out: Out) -> Repetition | None:
    found = _whole(node, out)
    return [found.kind] if found.kind and found.repetitions and any(map(any, found.repetitions)) else None


def value(node: Node, out: Out) -> Several | None:
    found = _whole(node, out)
    out.constants["@kind"] = [found.kind]
    return Several(found.repetitions) if found.repetitions else None


def unit(node: Node, out: Out) -> Repetition | None:
    found = _whole(node, out).unit
    for bounds_ in (node[1].get("referenceRange") or ())[:1] if found is None else ():
        found = bounds_.get("low") or bounds_.get("high")  # a line without a value still has the unit of its range
    return unit_parts(found, out)


def unit_parts(quantity: Json | None, out: Out) -> Repetition | None:
    """A unit as CE or CWE: its UCUM code, or the words it has."""
    if not quantity:
        return None
    shown, system, code = (out.text(quantity, name) for name in ("unit", "system", "code"))
    if system == UCUM and code:
        return [code, shown, "UCUM"]
    if code:
        return bare([code, shown, "L"])
    return [shown] if shown else None


def cq(node: Node, out: Out) -> Repetition | None:
    """CQ: the unit in subcomponents."""
    amount = _amount(node[1], out)
    unit_ = unit_parts(node[1], out)
    return bare([amount, [each if isinstance(each, str) else each[0] for each in unit_ or []]]) if amount else None


def reference_range(node: Node, out: Out) -> Repetition | None:
    """OBX-7: the text; without one low and high, as it reads them."""
    found = node[1]
    low, high = found.get("low"), found.get("high")
    text = out.text(found, "text")
    bottom, top = _amount(low, out), _amount(high, out)
    for bound in (low, high):
        for name in ("unit", "system", "code"):
            out.take(bound, name)
    if text:
        return [text]
    if bottom and top:
        return [f"{bottom}-{top}"]
    return [f">={bottom}"] if bottom else [f"<={top}"] if top else None


def observation_code(node: Node, out: Out) -> Repetition | None:
    """OBX-3: a code that R4's vital signs profile puts beside another stands behind it."""
    concept = node[1]
    codings = concept.get("coding", ())
    added = {more for each in codings for more in beside().get(str(each.get("code")), "").split()}
    order = sorted(codings, key=lambda each: each.get("code") in added)
    return cwe((node[0], {**concept, "coding": order} if codings else concept, node[2]), out)


def parent_line(node: Node, out: Out) -> Repetition | None:
    """PRL: code and sub-id of the line that a report goes on from, whose own segment says the rest of it."""
    code_ = spread(node[1].get("code") or {}, 6, out)[:6]
    while code_ and not code_[-1]:
        code_.pop()
    outer = out.extension(node[1], _SUB_ID)
    sub = out.text(out.extension(outer, "original-sub-identifier"), "valueString")
    return bare([[str(each) for each in code_], sub])


def status(node: Node, out: Out) -> Repetition | None:
    """OBX-11 of an Observation: what was not asked for, or not done, has codes of its own."""
    observation = node[1]
    reasons = {each.get("code") for each in (observation.get("dataAbsentReason") or {}).get("coding", ())}
    if observation.get("status") == "cancelled":
        out.take(observation, "status")
        return ["N" if "not-asked" in reasons else "X"]
    if observation.get("status") == "unknown":
        out.take(observation, "status")
        return None  # an empty OBX-11 is no statement; table 0085 has no code for it
    return code(("code", observation.get("status"), observation.get("_status")), out)


WRITERS: dict[str, Writer] = {
    "OBX.status": status, "OBX.code": observation_code, "PRL": parent_line,
    "OBX.type": kind_of_value, "OBX.value": value, "OBX.unit": unit, "CQ": cq, "OBX.range": reference_range,
}  # fmt: skip
