"""A stay's life, event by event: status, period, where the patient lies, who is in charge.

`STATUS` is the table of the chapter; an event that is not in it keeps the stored status and only fills where
nothing is stored. What the event itself does (`own`) holds even when the message comes late, unless a later event
of its kind is stored: `merge.py` decides that. Places and persons of an event are `whereabouts.py`'s.

Source: design chapter HL7 v2 §9; HL7 v2.9 chapter 3 for the events.
"""

from mappings.fhir.values import CANONICAL
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes.timing import dtm_datetime
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import Json, finish, whereabouts
from mappings.hl7v2.rules.patients import leads
from mappings.issues import issue

IN_PROGRESS, PLANNED, ON_LEAVE, FINISHED = "in-progress", "planned", "onleave", "finished"

STATUS: dict[str, str] = {
    **dict.fromkeys(("A01", "A02", "A04", "A06", "A07", "A13", "A22", "A52"), IN_PROGRESS),
    **dict.fromkeys(("A05", "A14"), PLANNED),
    **dict.fromkeys(("A21", "A53"), ON_LEAVE),
    "A03": FINISHED,
    **dict.fromkeys(("A11", "A27", "A38"), "cancelled"),
    "A23": "entered-in-error",
}
OVER = frozenset({FINISHED, "cancelled"})
TRACKING = frozenset({"A09", "A10", "A32", "A33"})
DISCHARGE, CANCEL_DISCHARGE, CANCEL_PENDING_DISCHARGE = "A03", "A13", "A25"
CLASS_CHANGE = frozenset({"A06", "A07"})
DISCHARGED = ("period.end", "hospitalization.dischargeDisposition", "hospitalization.destination")
PLANNED_END = f"{CANONICAL}:planned-end"  # of PV2-9


@finish("encounter_status")
def encounter_status(ctx: Assembly, builder: Builder) -> None:
    """Status by event; a result's PV1 says nothing of it, so the stored one stays."""
    body, event = builder.body, ctx.event if leads(ctx) else ""
    _state(event, builder)
    if event == DISCHARGE:
        _discharge(ctx, builder)
    elif event == CANCEL_DISCHARGE:
        _reopen(builder)
    elif event == CANCEL_PENDING_DISCHARGE:
        _no_discharge_yet(builder)
    elif event in CLASS_CHANGE:
        builder.own.append("class")
    whereabouts.follow(ctx, builder, event, moment(ctx))
    if "diagnosis" in body:
        _keep_named_diagnoses(ctx, body)
    if not leads(ctx):
        builder.mode = "stub"


def _state(event: str, builder: Builder) -> None:
    """The status that the event gives; where it gives none, one for a stay that nobody knows yet."""
    body = builder.body
    status = STATUS.get(event)
    if event == "A04" and _preadmitted(body):
        status = PLANNED
    if status is not None:
        body["status"] = status
        builder.own.append("status")
        if status in OVER:
            whereabouts.leave(builder)
    else:
        body["status"] = _at_first_sight(event, body)
        builder.filled.append("status")


def _keep_named_diagnoses(ctx: Assembly, body: Json) -> None:
    """A DG1 whose code and text are both void makes no Condition, so its use and rank have nothing to stand beside."""
    named = [each for each in body["diagnosis"] if "condition" in each]
    if len(named) < len(body["diagnosis"]):
        ctx.issues.append(issue("no-target", Place("DG1")))
    body["diagnosis"] = named
    if not named:
        del body["diagnosis"]


def _preadmitted(body: Json) -> bool:
    return bool(body.get("class", {}).get("code") == "PRENC")


def _at_first_sight(event: str, body: Json) -> str:
    """The status of a stay that no one knows yet."""
    if event in TRACKING:
        return IN_PROGRESS
    if "end" in body.get("period", {}):
        return FINISHED
    return PLANNED if _preadmitted(body) else IN_PROGRESS


def moment(ctx: Assembly) -> str | None:
    """When the event happened: EVN-6, else EVN-2."""
    evn = ctx.near("EVN") or ctx.message.first("EVN")
    if evn is None:
        return None
    for number in (6, 2):
        if raw := evn.field(number):
            seg, field = ctx.seg, ctx.field
            ctx.seg, ctx.field = evn, number
            found = dtm_datetime(raw.split(ctx.rep, 1)[0], ctx)
            ctx.seg, ctx.field = seg, field
            value: str | None = found[0] if isinstance(found, tuple) else found
            if value:
                return value
    return None


def _discharge(ctx: Assembly, builder: Builder) -> None:
    """The stay ends: PV1-45, else when the event happened."""
    period = builder.body.setdefault("period", {})
    if "end" not in period and (ended := moment(ctx)) is not None:
        period["end"] = ended
    if not period:
        del builder.body["period"]
    builder.own.append("period")


def _reopen(builder: Builder) -> None:
    """There was no discharge, whatever of it the message still carries."""
    builder.clear += DISCHARGED
    builder.own += DISCHARGED
    for path in DISCHARGED:
        _without(builder.body, path)


def _no_discharge_yet(builder: Builder) -> None:
    """The discharge that was planned is not: neither its day nor where to."""
    builder.clear += [*DISCHARGED[1:], f"extension({PLANNED_END})"]
    builder.own += ["hospitalization", "extension"]
    for path in DISCHARGED[1:]:
        _without(builder.body, path)
    kept = [each for each in builder.body.get("extension", ()) if each["url"] != PLANNED_END]
    if kept:
        builder.body["extension"] = kept
    else:
        builder.body.pop("extension", None)


def _without(body: Json, path: str) -> None:
    head, _, name = path.partition(".")
    if isinstance(inner := body.get(head), dict):
        inner.pop(name, None)
        if not inner:
            del body[head]
