"""Vital signs of a message: made to fit their R4 profiles (`mappings/vitals.py`), timed by the message.

Two halves of one blood pressure become one Observation with components.

Source: design chapter HL7 v2 §9; FHIR R4 profiles vitalsigns, heartrate, bp and their kin.
"""

from collections import deque

from mappings.fhir.values import absent
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes import FUNCTIONS
from mappings.hl7v2.rules import Json, after, finish
from mappings.rows.runtime import NULL
from mappings.vitals import DIASTOLIC, LOINC, PANEL, SYSTOLIC, WHOLE_DAY, component, fit, has_day, vital_code

_HOLDS_LINES = {"DiagnosticReport": "result", "ServiceRequest": "supportingInfo"}


@finish("vital_sign")
def vital_sign(ctx: Assembly, builder: Builder) -> None:
    """One vital sign made to fit its profile."""
    code = vital_code(builder.body)
    if code is None:
        return
    _fit_time(ctx, builder.body)
    fit(builder.body, code)
    if code in (SYSTOLIC, DIASTOLIC):
        ctx.shared.setdefault("pressures", []).append((code, builder))


def _fit_time(ctx: Assembly, body: Json) -> None:
    """OBX-14, OBR-7, OBX-19, EVN-2, MSH-7: the first with at least a day; else a period without one."""
    if has_day(body):
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
        if value is not None and len(value) >= WHOLE_DAY:
            body["effectiveDateTime"] = value
            return
    body["effectivePeriod"] = absent("unknown")


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
    panel.body["component"] = [component(half.body) for half in (systolic, diastolic)]
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
