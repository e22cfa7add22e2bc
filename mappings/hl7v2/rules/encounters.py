"""A stay's life, event by event: status, period, where the patient lies.

`STATUS` is the table of the chapter; an event that is not in it keeps the stored status and only fills where
nothing is stored. What the event itself does (`own`) holds even when the message comes late, unless a later event
of its kind is stored: `merge.py` decides that.

Source: design chapter HL7 v2 §9; HL7 v2.9 chapter 3 for the events.
"""

from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes.timing import dtm_datetime
from mappings.hl7v2.issues import issue
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import Json, finish
from mappings.hl7v2.rules.patients import leads

IN_PROGRESS, PLANNED, ON_LEAVE, FINISHED = "in-progress", "planned", "onleave", "finished"

STATUS: dict[str, str] = {
    **dict.fromkeys(("A01", "A02", "A04", "A06", "A07", "A13", "A22", "A52"), IN_PROGRESS),
    **dict.fromkeys(("A05", "A14"), PLANNED),
    **dict.fromkeys(("A21", "A53"), ON_LEAVE),
    "A03": FINISHED,
    **dict.fromkeys(("A11", "A27", "A38"), "cancelled"),
    "A23": "entered-in-error",
}
TRACKING = frozenset({"A09", "A10", "A32", "A33"})
TRANSFER, CANCEL_TRANSFER, CANCEL_DISCHARGE = "A02", "A12", "A13"
CLASS_CHANGE = frozenset({"A06", "A07"})
DISCHARGED = ("period.end", "hospitalization.dischargeDisposition", "hospitalization.destination")


@finish("encounter_status")
def encounter_status(ctx: Assembly, builder: Builder) -> None:
    """Status by event; a result's PV1 says nothing of it, so the stored one stays."""
    body, event = builder.body, ctx.event if leads(ctx) else ""
    status = STATUS.get(event)
    if event == "A04" and _preadmitted(body):
        status = PLANNED
    if status is not None:
        body["status"] = status
        builder.own.append("status")
    else:
        body["status"] = _at_first_sight(event, body)
        builder.filled.append("status")
    if event == "A03":
        _discharge(ctx, builder)
    elif event == CANCEL_DISCHARGE:
        builder.clear += DISCHARGED
        builder.own += DISCHARGED
    elif event == TRANSFER:
        _transfer(ctx, builder)
    elif event == CANCEL_TRANSFER:
        _cancel_transfer(builder)
    elif event in CLASS_CHANGE:
        builder.own.append("class")
    if "diagnosis" in body:
        _keep_named_diagnoses(ctx, body)
    if not leads(ctx):
        builder.mode = "stub"


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


def _moment(ctx: Assembly) -> str | None:
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
    if "end" not in period and (moment := _moment(ctx)) is not None:
        period["end"] = moment
    if not period:
        del builder.body["period"]
    builder.own.append("period")
    for location in builder.body.get("location", ()):
        if location.get("status") == "active":
            location["status"] = "completed"


def _transfer(ctx: Assembly, builder: Builder) -> None:
    """A location joins the stay, the former one is completed; `merge` completes the one that is stored."""
    moment = _moment(ctx)
    for location in builder.body.get("location", ()):
        if moment is not None and location.get("status") == "active":
            location.setdefault("period", {})["start"] = moment
        elif moment is not None and location.get("status") == "completed":
            location.setdefault("period", {})["end"] = moment
    builder.own.append("location")


def _cancel_transfer(builder: Builder) -> None:
    """PV1-6 names the place the patient never went to, PV1-3 where she still lies."""
    kept = []
    for location in builder.body.get("location", ()):
        if location.get("status") == "completed":
            builder.clear.append(f"location[location={location['location'].get('reference', '')}]")
        else:
            kept.append(location)
    if kept:
        builder.body["location"] = kept
    else:
        builder.body.pop("location", None)
    builder.own.append("location")
