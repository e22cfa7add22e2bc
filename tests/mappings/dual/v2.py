"""A record as HL7 v2 messages: ADT^A60 its allergies, PPR^PC1 its problems, RDE^O11 its orders of drugs, VXU^V04 its
immunizations, ORU^R01 its results. What v2 has no word for is not written; `expected.DIFFERENCES` says what that is.

Source: HL7 v2.9: chapter 3 (PID, IAM, IAR), 4 and 4A (ORC, TQ1, RXE, RXR, RXA), 7 (OBR, OBX), 12 (PRB).
"""

from collections.abc import Iterable, Sequence

from tests.mappings.dual.expected import unit_of
from tests.mappings.dual.model import (
    Address,
    Allergy,
    Amount,
    Between,
    Code,
    Frequency,
    Immunization,
    Measured,
    Medication,
    Moment,
    Name,
    NoneKnown,
    NothingKnown,
    Number,
    Panel,
    Patient,
    Problem,
    Record,
    Result,
    Telecom,
    Text,
    Titre,
    Value,
    compact,
)
from tests.mappings.hl7v2.messages import message, segment

_AT = "20260301120000+0100"
_ESCAPES = str.maketrans({each: f"\\{letter}\\" for each, letter in zip("\\|^&~", "EFSTR", strict=True)})
_SEX = {"female": "F", "male": "M", "other": "O", "unknown": "U"}
_NAME_TYPES = {"official": "L", "nickname": "N", "maiden": "M"}
_ADDRESS_TYPES = {"home": "H", "work": "B", "temp": "C"}
_EQUIPMENT = {"phone": "PH", "fax": "FX", "email": "X.400"}
_KINDS = {"medication": "DA", "food": "FA", "environment": "EA"}  # table 0127
_SENSITIVITY = {"allergy": "AL", "intolerance": "IN"}  # table 0436
_CRITICALITY = {"low": "MI", "high": "SV", "unable-to-assess": "U"}  # table 0128
_SEVERITY = {"mild": "MI", "moderate": "MO", "severe": "SV"}
_ALLERGY_STATUS = {"active": "C", "inactive": "I", "resolved": "I"}  # table 0438: a refuted allergy has no word
_ORDER_STATUS = {"active": "IP", "completed": "CM", "stopped": "DC", "on-hold": "HD", "cancelled": "CA"}  # table 0038
_LETTERS = {"h": "H", "d": "D", "wk": "W"}  # of a repeat pattern, table 0335
_RESULT_STATUS = {"final": "F", "registered": "I", "cancelled": "X", "entered-in-error": "W"}  # table 0085


def messages(record: Record) -> list[bytes]:
    """One message of each kind of which there is anything to say; a message says who the patient is."""
    who = _pid(record.patient)
    parts = (
        ("ADT^A60^ADT_A60", _allergies(record.allergies)),
        ("PPR^PC1^PPR_PC1", _problems(record.problems)),
        ("RDE^O11^RDE_O11", _orders(record.medications)),
        ("VXU^V04^VXU_V04", _immunizations(record.immunizations)),
        ("ORU^R01^ORU_R01", _results(record.panels)),
    )
    made = [message(_msh(event), who, *segments) for event, segments in parts if segments]
    return made or [message(_msh("ADT^A31^ADT_A05"), f"EVN||{_AT}", who)]


def _msh(event: str) -> str:
    return f"MSH|^~\\&|SYS|HOSP|CB|HOSP|{_AT}||{event}|ID1|P|2.9||||||UNICODE UTF-8"


def text(said: str) -> str:
    return said.translate(_ESCAPES)


def coded(code: Code) -> str:
    """CWE; a system that table 0396 does not name, by its OID."""
    named = f"{text(code.code)}^{text(code.display)}^{code.system.mnemonic}"
    return named if code.system.mnemonic else f"{named}^^^^^^^^^^^{code.system.oid}"


def _joined(parts: Iterable[str]) -> str:
    return "^".join(parts).rstrip("^")


# patient --------------------------------------------------------------------------------------------------------------


def _pid(patient: Patient) -> str:
    dead = patient.dead
    return segment(
        "PID",
        f1="1",
        f3="~".join(map(_cx, patient.numbers)),
        f5="~".join(map(_xpn, patient.names)),
        f7=compact(patient.birth or ""),
        f8=_SEX[patient.sex],
        f11="~".join(map(_xad, patient.addresses)),
        f13=_xtn(patient.telecoms, "home"),
        f14=_xtn(patient.telecoms, "work"),
        f16=patient.marital or "",
        f29=compact(dead) if isinstance(dead, str) else "",
        f30="Y" if dead else "",
    )


def _cx(number: Number) -> str:
    return f"{number.value}^^^&{number.root}&ISO^MR"


def _xpn(name: Name) -> str:
    more = " ".join(map(text, name.given[1:]))
    use = _NAME_TYPES.get(name.use or "", "")
    return _joined((text(name.family), text(name.given[0]), more, name.suffix or "", name.prefix or "", "", use))


def _xad(address: Address) -> str:
    lines = [*map(text, address.lines), ""][:2]
    city, state = text(address.city), text(address.state or "")
    return _joined(
        (*lines, city, state, address.postal_code, address.country or "", _ADDRESS_TYPES.get(address.use or "", ""))
    )


def _xtn(telecoms: Sequence[Telecom], use: str) -> str:
    """Both fields say what the number is used for."""
    return "~".join(_telecom(each) for each in telecoms if each.use == use)


def _telecom(telecom: Telecom) -> str:
    address = telecom.system == "email"
    return _joined(
        (
            "",
            "",
            _EQUIPMENT[telecom.system],
            telecom.value if address else "",
            *[""] * 7,
            "" if address else telecom.value,
        )
    )


# allergies, problems --------------------------------------------------------------------------------------------------


def _allergies(said: Sequence[Allergy] | NoneKnown | NothingKnown) -> list[str]:
    if isinstance(said, NoneKnown):
        return [segment("IAM", f1="1", f3="716186003^No known allergy^SCT", f6="A", f17="C")]
    if isinstance(said, NothingKnown):
        return []
    return [made for each in said if each.status in _ALLERGY_STATUS for made in _allergy(each)]


def _allergy(allergy: Allergy) -> list[str]:
    made = segment(
        "IAM",
        f2=_KINDS[allergy.category],
        f3=coded(allergy.substance),
        f4=_CRITICALITY[allergy.criticality] if allergy.criticality is not None else "",
        f6="A",
        f9=_SENSITIVITY[allergy.type],
        f11=compact(allergy.onset or ""),
        f17=_ALLERGY_STATUS[allergy.status],
    )
    reactions = [
        segment("IAR", f1=coded(each.manifestation), f2=_SEVERITY[each.severity] if each.severity is not None else "")
        for each in allergy.reactions
    ]
    return [made, *reactions]


def _problems(said: Sequence[Problem] | NoneKnown | NothingKnown) -> list[str]:
    if isinstance(said, NoneKnown):
        return [segment("PRB", f1="UP", f2=_AT, f3="160245001^No current problems or disability^SCT", f4="N^HOSP")]
    if isinstance(said, NothingKnown):
        return []
    return [_problem(each, number) for number, each in enumerate(said, 1)]


def _problem(problem: Problem, number: int) -> str:
    refuted = problem.status == "refuted"
    return segment(
        "PRB",
        f1="UP",
        f2=_AT,
        f3=coded(problem.code),
        f4=f"PRB{number}^HOSP^2.999.1.30^ISO",
        f9=compact(problem.ended) if problem.ended not in (None, "unknown") else "",
        f13="refuted" if refuted else "",
        f14="inactive" if refuted else problem.status,
        f16=compact(problem.onset or ""),
    )


# drugs ----------------------------------------------------------------------------------------------------------------


def _orders(said: Sequence[Medication] | NoneKnown | NothingKnown) -> list[str]:
    if isinstance(said, NoneKnown | NothingKnown):
        return []
    kept = [each for each in said if each.mood == "order" and not each.refused]
    return [made for number, each in enumerate(kept, 1) for made in _order(each, number)]


def _order(order: Medication, number: int) -> list[str]:
    pattern = [_pattern(order.frequency)] if order.frequency is not None else []
    timing = segment(
        "TQ1",
        f1="1",
        f3=" ".join([*pattern, *(["PRN"] if order.as_needed else [])]),
        f7=compact(order.start or ""),
        f8=compact(order.end or ""),
    )
    drug = segment(
        "RXE",
        f2=coded(order.product),
        **_amount(order.dose, 3, 5),
        **_amount(order.supply, 10, 11),
        f12=str(order.repeats) if order.repeats is not None else "",
    )
    placed = segment("ORC", f1="NW", f2=f"RX{number}^HOSP^2.999.1.20^ISO", f5=_ORDER_STATUS[order.status])
    said = bool(pattern or order.as_needed or order.start or order.end)
    return [placed, drug, *([timing] if said else []), *([_route(order.route)] if order.route is not None else [])]


def _pattern(every: Frequency) -> str:
    """Table 0335."""
    daily = {1: "QD", 2: "BID", 3: "TID", 4: "QID"}
    if (every.period, every.unit) == (1, "d"):
        return daily[every.times]
    return f"Q{every.period}{_LETTERS[every.unit]}"


def _amount(found: Amount | None, value: int, unit: int) -> dict[str, str]:
    if found is None:
        return {}
    return {f"f{value}": found.number, f"f{unit}": _unit(found.unit)}


def _unit(unit: str) -> str:
    return f"{text(unit)}^{text(unit)}^UCUM" if unit else ""


def _route(route: Code) -> str:
    return segment("RXR", f1=coded(route))


def _immunizations(said: Sequence[Immunization] | NoneKnown | NothingKnown) -> list[str]:
    if isinstance(said, NoneKnown | NothingKnown):
        return []
    return [made for number, each in enumerate(said, 1) for made in _immunization(each, number)]


def _immunization(found: Immunization, number: int) -> list[str]:
    given = segment(
        "RXA",
        f1="0",
        f2="1",
        f3=compact(found.given),
        f5=coded(found.vaccine),
        **({"f6": "999"} | _amount(found.dose, 6, 7)),
        f15=text(found.lot or ""),
        f18=coded(found.why_not) if found.why_not is not None else "",
        f20="RE" if found.refused else "CP",
    )
    order = segment("ORC", f1="RE", f3=f"VX{number}^HOSP^2.999.1.22^ISO")
    route = [_route(found.route)] if found.route is not None else []
    dose = [segment("OBX", f1="1", f2="NM", f3="30973-2^Dose number^LN", f5=str(found.number), f11="F")]
    return [order, given, *route, *(dose if found.number is not None else [])]


# results --------------------------------------------------------------------------------------------------------------


def _results(panels: Sequence[Panel]) -> list[str]:
    return [made for number, panel in enumerate(panels, 1) for made in _panel(panel, number)]


def _panel(panel: Panel, number: int) -> list[str]:
    partial = any(each.status == "registered" for each in panel.results)
    report = segment(
        "OBR",
        f1=str(number),
        f3=f"F{number}^LAB^2.999.3.1^ISO",
        f4=coded(panel.code),
        f7=compact(panel.time),
        f24="LAB",
        f25="A" if partial else "F",
    )
    return [report, *(made for each in panel.results for made in _result(each))]


def _result(result: Result) -> list[str]:
    kind, value = _value(result.value)
    limits = result.limits
    line = segment(
        "OBX",
        f2=kind,
        f3=coded(result.code),
        f5=value,
        f6=_unit(unit_of(result.value)),
        f7=text(limits.text) if limits is not None else "",
        f8="~".join(result.interpretations),
        f11=_RESULT_STATUS[result.status],
        f14=compact(result.time or ""),
    )
    return [line, *([segment("NTE", f1="1", f3=text(result.note))] if result.note is not None else [])]


def _value(value: Value | None) -> tuple[str, str]:
    """OBX-2 and OBX-5."""
    match value:
        case Measured(comparator=None):
            return "NM", value.amount.number
        case Measured():
            return "SN", f"{value.comparator}^{value.amount.number}"
        case Between():
            return "SN", f"^{value.low.number}^-^{value.high.number}"
        case Titre():
            return "SN", f"^{value.numerator}^:^{value.denominator}"
        case Text():
            return "ST", text(value.text)
        case Moment():
            return "DTM", compact(value.time)
        case Code():
            return "CWE", coded(value)
    return "", ""
