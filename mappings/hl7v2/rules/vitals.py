"""Vital signs: R4 holds an Observation with one of their LOINC codes to its profile unasked.

Category, a time of at least a day, UCUM units of the profile; what is no such quantity goes to a note, with a
reason. Two halves of one blood pressure become one Observation with components. Codes and units are `vitals.csv`,
spellings of units `vital_units.csv`.

Source: design chapter HL7 v2 §9; FHIR R4 profiles vitalsigns, heartrate, bp and their kin.
"""

import csv
import re
from collections import deque
from decimal import Decimal
from functools import cache
from pathlib import Path

from mappings.fhir.values import UCUM, absent
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes import FUNCTIONS
from mappings.hl7v2.rules import Json, after, finish
from mappings.hl7v2.rules.results import readable
from mappings.rows.runtime import NULL

LOINC = "http://loinc.org"
CATEGORY: Json = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]
}
PANEL, SYSTOLIC, DIASTOLIC = "85354-9", "8480-6", "8462-4"
_BOTH = re.compile(r"\s*(\d{1,3}(?:\.\d)?)\s*/\s*(\d{1,3}(?:\.\d)?)\s*", re.ASCII)  # 120/80
_REASONS = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_FOLDER = Path(__file__).parent.parent
_SECONDS_OF_A_DAY = len("2025-01-01")
_HOLDS_LINES = {"DiagnosticReport": "result", "ServiceRequest": "supportingInfo"}


@cache
def codes() -> dict[str, tuple[str, ...]]:
    """LOINC code → UCUM codes its profile allows."""
    with (_FOLDER / "vitals.csv").open(encoding="utf-8", newline="") as file:
        return {row["code"]: tuple(row["units"].split()) for row in csv.DictReader(file)}


@cache
def beside() -> dict[str, str]:
    """LOINC code → the code that its profile asks for beside it."""
    with (_FOLDER / "vitals.csv").open(encoding="utf-8", newline="") as file:
        return {row["code"]: row["also"] for row in csv.DictReader(file) if row["also"]}


@cache
def _spellings() -> dict[str, str]:
    with (_FOLDER / "vital_units.csv").open(encoding="utf-8", newline="") as file:
        return {row["unit"]: row["code"] for row in csv.DictReader(file)}


def vital_code(body: Json) -> str | None:
    """The vital-sign code of an Observation or component."""
    for coding in body.get("code", {}).get("coding", ()):
        if coding.get("system") == LOINC and coding.get("code") in codes():
            found: str = coding["code"]
            return found
    return None


@finish("vital_sign")
def vital_sign(ctx: Assembly, builder: Builder) -> None:
    """One vital sign made to fit its profile."""
    code = vital_code(builder.body)
    if code is None:
        return
    body = builder.body
    body["category"] = [*body.get("category", ()), CATEGORY]
    _fit_time(ctx, body)
    _fit_value(body, codes()[code])
    also = beside().get(code)
    if PANEL in (code, also) and "component" not in body:
        _pressures(body)
    if also is not None and all(coding.get("code") != also for coding in body["code"]["coding"]):
        body["code"] = {**body["code"], "coding": [{"system": LOINC, "code": also}, *body["code"]["coding"]]}
    if code in (SYSTOLIC, DIASTOLIC):
        ctx.shared.setdefault("pressures", []).append((code, builder))


def _fit_time(ctx: Assembly, body: Json) -> None:
    """OBX-14, OBR-7, OBX-19, EVN-2, MSH-7: the first with at least a day; else a period without one."""
    for name in ("effectiveDateTime", "effectivePeriod"):
        if name in body and (name != "effectiveDateTime" or len(body[name]) >= _SECONDS_OF_A_DAY):
            return
    body.pop("effectiveDateTime", None)
    body.pop("_effectiveDateTime", None)
    segment = ctx.seg
    for name, number in (("OBX", 19), ("EVN", 2), ("MSH", 7)):
        holder = segment if name == "OBX" else ctx.message.first(name)
        raw = holder.field(number) if holder is not None else ""
        if holder is None or not raw or raw == NULL:
            continue
        ctx.seg, ctx.field = holder, number
        found = FUNCTIONS["DTM[dateTime]"].call(raw.split(ctx.rep, 1)[0], ctx, None)
        ctx.seg = segment
        value = found[0] if isinstance(found, tuple) else found
        if value is not None and len(value) >= _SECONDS_OF_A_DAY:
            body["effectiveDateTime"] = value
            return
    body["effectivePeriod"] = absent("unknown")


def _fit_value(body: Json, units: tuple[str, ...]) -> None:
    """The profile's unit, or the value as a note."""
    if not units:
        return
    quantity = body.get("valueQuantity")
    if quantity is not None and _repair(quantity, units):
        return
    names = [name for name in body if name.startswith("value")]
    for name in names:
        written = readable(body.pop(name))
        body.pop("_" + name, None)
        if written:
            body.setdefault("note", []).append({"text": written})
    if "component" in body:
        for component in body["component"]:
            inner = component.get("valueQuantity")
            if inner is not None:
                _repair(inner, units)
    if "dataAbsentReason" not in body:
        reason = "as-text" if names else "unknown"
        body["dataAbsentReason"] = {"coding": [{"system": _REASONS, "code": reason}]}


def _pressures(body: Json) -> None:
    """A blood pressure in one value: its halves, where it is written as two numbers; a reason for each, where not."""
    ratio = body.get("valueRatio", {})
    ends = [str(ratio.get(end, {}).get("value", "")) for end in ("numerator", "denominator")]
    written = [readable(body.pop(name)) for name in [name for name in body if name.startswith("value")]]
    if all(ends):
        written = ["/".join(ends)]
    both = _BOTH.fullmatch(written[0]) if written else None
    halves: list[Json] = []
    for index, code in enumerate((SYSTOLIC, DIASTOLIC), 1):
        half: Json = {"code": {"coding": [{"system": LOINC, "code": code}]}}
        if both is not None:
            half["valueQuantity"] = {"value": Decimal(both[index]), "unit": "mm[Hg]", "system": UCUM, "code": "mm[Hg]"}
        else:
            reason = "as-text" if written else "unknown"
            half["dataAbsentReason"] = {"coding": [{"system": _REASONS, "code": reason}]}
        halves.append(half)
    body["component"] = halves
    body.pop("dataAbsentReason", None)
    if written and both is None:
        body.setdefault("note", []).append({"text": written[0]})


def _repair(quantity: Json, units: tuple[str, ...]) -> bool:
    """Whether the quantity has, or now has, a unit of the profile."""
    if "value" not in quantity:
        return False
    written = quantity.get("code") or quantity.get("unit", "")
    code = written if written in units else _spellings().get(written) or _spellings().get(quantity.get("unit", ""))
    if code not in units:
        return False
    quantity |= {"system": UCUM, "code": code}
    quantity.setdefault("unit", code)
    return True


@after("blood_pressure", "OBX")
def blood_pressure(ctx: Assembly) -> None:
    """Systolic and diastolic of one time are one Observation; a half alone stays what it is."""
    pressures: list[tuple[str, Builder]] = ctx.shared.get("pressures", [])
    made = [(code, half) for code, half in pressures if ctx.by_ref.get(half.ref) is half]
    waiting: dict[tuple[str, ...], deque[Builder]] = {}
    for code, half in made:
        if code == DIASTOLIC:
            waiting.setdefault(_moment(half), deque()).append(half)
    panels: dict[str, Builder] = {}  # reference of a half -> what takes its place
    for code, half in made:
        if code == SYSTOLIC and (others := waiting.get(_moment(half))):
            panel = _panel(ctx, half, other := others.popleft())
            panels |= {half.ref: panel, other.ref: panel}
    if panels:
        _take_places(ctx, panels)


def _moment(half: Builder) -> tuple[str, ...]:
    """The order it was measured in, when, and how sure it is."""
    order = str(id(half.group.parent)) if half.group is not None else half.ref
    return (order, *(str(half.body.get(name)) for name in ("effectiveDateTime", "effectivePeriod", "status")))


def _panel(ctx: Assembly, systolic: Builder, diastolic: Builder) -> Builder:
    """85354-9 in place of its two halves, under the key of both."""
    key = ("pressure", *systolic.key, *diastolic.key)
    panel = Builder.made(
        "Observation", ctx.identities.make("Observation", key), systolic.mode, systolic.segment, systolic.group, None
    )
    keep = ("meta", "status", "category", "subject", "encounter", "effectiveDateTime", "effectivePeriod", "performer",
            "specimen", "basedOn", "method", "device", "bodySite")  # fmt: skip
    panel.body |= {name: systolic.body[name] for name in keep if name in systolic.body}
    panel.body["code"] = {"coding": [{"system": LOINC, "code": PANEL}]}
    panel.body["component"] = [_component(half.body) for half in (systolic, diastolic)]
    if numbers := [*systolic.body.get("identifier", ()), *diastolic.body.get("identifier", ())]:
        panel.body["identifier"] = numbers
    inside = {each["id"]: each for half in (systolic, diastolic) for each in half.body.get("contained", ())}
    if inside:
        panel.body["contained"] = list(inside.values())
    notes = [*systolic.body.get("note", ()), *diastolic.body.get("note", ())]
    if notes:
        panel.body["note"] = notes
    panel.sources = [*systolic.sources, *diastolic.sources]
    panel.key = key
    if ctx.trace is not None:
        ctx.trace.rename({half.ref: (panel.ref, f"component[{n}]") for n, half in enumerate((systolic, diastolic))})
    return panel


def _component(body: Json) -> Json:
    return {
        name: value
        for name, value in body.items()
        if name in ("code", "dataAbsentReason", "interpretation", "referenceRange") or name.startswith("value")
    }


def _take_places(ctx: Assembly, panels: dict[str, Builder]) -> None:
    """Panels for their halves, once, in what was made and wherever that is pointed at."""
    made = [panels.get(each.ref, each) for each in ctx.made]
    ctx.made[:] = dict.fromkeys(made)
    for ref, panel in panels.items():
        del ctx.by_ref[ref]
        ctx.by_ref[panel.ref] = panel
    for holder in ctx.made:
        name = _HOLDS_LINES.get(holder.type, "")
        held: list[Json] = holder.body.get(name, [])
        if any(each.get("reference") in panels for each in held):
            moved = [panels.get(each.get("reference", "")) for each in held]
            lines = [
                each if panel is None else {"reference": panel.ref} for each, panel in zip(held, moved, strict=True)
            ]
            holder.body[name] = list({each.get("reference", str(each)): each for each in lines}.values())
