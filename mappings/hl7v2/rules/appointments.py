"""Appointments: status, people and things, orders, comments; blocked and opened time.

- status: SCH-25 (or AIS-10), else the event; S18 to S22 and S27 keep what is stored; booked without a time is pending
- a start or end that is not known says so, for only proposed and cancelled appointments may be without (app-2, app-3)
- a reason on anything but a cancelled appointment is a comment (app-4), as notes of all its segments are
- a message that names services or resources without action codes is the whole list; with them it changes the list:
  AIx-2 or RGS-2 = D takes away
- orders: the n-th number of SCH-26 and SCH-27 belongs to the n-th AIS, a single one to all; a number without a service
  of its own, or of several patients, is a logical reference
- S23 and S24 block and open time: a Slot on the Schedule of each resource named, else on SCH-5's

Source: HL7 v2.9 chapter 10; v2-to-FHIR guide SIU_S12, SCH, AIS, AIG, AIL, AIP; FHIR R4 Appointment; design chapter
HL7 v2 §9.
"""

import csv
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from mappings.fhir import values
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes import FUNCTIONS, coded, identifiers
from mappings.hl7v2.datatypes.text import scoped
from mappings.hl7v2.keys.appointments import order_index
from mappings.hl7v2.message import Segment
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import Json, finish, function, resolver, spans
from mappings.hl7v2.rules.patients import patient_group
from mappings.hl7v2.rules.results import NOTE, annotation, readable
from mappings.hl7v2.structure import Group
from mappings.issues import issue
from mappings.rows.runtime import NULL
from mappings.terminology import concept_map
from mappings.terminology.concept_map import ConceptMap

BOOKED, PENDING, CANCELLED = "booked", "pending", "cancelled"
STATUS: dict[str, str] = {
    **dict.fromkeys(("S12", "S13", "S14"), BOOKED),
    **dict.fromkeys(("S15", "S16"), CANCELLED),
    "S17": "entered-in-error",
    "S26": "noshow",
}
WHOLE_LIST = frozenset({"S12", "S13", "S14"})  # events whose resources are all there are
OVER = frozenset({CANCELLED, "entered-in-error", "noshow"})  # of S15, S16, S17, S26: SCH-25 may say which, not undo it
TIMELESS = frozenset({"proposed", CANCELLED})
WAITING = {PENDING: "needs-action", "proposed": "needs-action", "waitlist": "tentative"}
RESOURCES = frozenset(spans.FIRST)
CONTACTS = ((12, 13, 14), (16, 17, 18), (20, 21, 0))  # fields of SCH: person, phones, addresses
DELETE = "D"
_TYPES = Path(__file__).parent.parent / "resource_types.csv"


# references and constants that rows ask for ---------------------------------------------------------------------------


@resolver("patient")
def patient(ctx: Any) -> Json | None:
    """The patient of this PID."""
    found = ctx.made_near("Patient")
    return {"reference": found.ref} if found is not None else None


@resolver("placer_contact")
def placer_contact(ctx: Any) -> Json:
    return {"text": "Placer contact"}


@resolver("filler_contact")
def filler_contact(ctx: Any) -> Json:
    return {"text": "Filler contact"}


@resolver("participation")
def participation(ctx: Any) -> Json | str:
    """What a participant without a status of its own says: as the appointment stands."""
    sch = ctx.near("SCH")
    code = sch.field(25).split(ctx.rep)[0].split(ctx.comp)[0].strip() if sch is not None else ""
    hit = concept_map.load("v2-0278.appointment-status").get(code)
    return participant_status(hit.code if hit is not None else STATUS.get(ctx.event, BOOKED))


def participant_status(status: str) -> str:
    """Who was invited to what is settled had accepted: a cancelling says nothing of the people."""
    return WAITING.get(status, "accepted")


@function("EI[Reference(Appointment)]", "Reference")
def parent(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """A parent appointment by its number: it may not be stored yet."""
    found = identifiers.ei_identifier(raw, ctx)
    return {"type": "Appointment", "identifier": found} if found is not None else None


@function("CWE[Reference(Schedule)]", "Reference")
def schedule(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """SCH-5: the schedule by its code, for whose it is is not said."""
    found = coded.cwe_reference(raw, ctx)
    return {"type": "Schedule", **found} if found is not None else None


@cache
def _types() -> dict[str, str]:
    with _TYPES.open(encoding="utf-8", newline="") as file:
        return {row["word"]: row["type"] for row in csv.DictReader(file)}


def _kind(raw: str, ctx: Any) -> str | None:
    """What AIG-4 says the resource is, in a word we know."""
    for written in raw.split(ctx.rep)[0].split(ctx.comp):
        if (found := _types().get(written.strip().upper())) is not None:
            return found
    return None


@function("AIG[Reference(Device)]", "Reference", alone=False)
def general_resource(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """AIG-3: a resource of the type that AIG-4 names, a logical reference where it names none that FHIR has."""
    codings, shown = coded.read(raw, ctx, None).codings, coded.cwe_string(raw, ctx)
    unspecified = scoped(ctx, "resource", "unspecified")
    numbers = [{"system": each.get("system", unspecified), "value": each["code"]} for each in codings if "code" in each]
    kind = _kind(ctx.seg.field(4), ctx)
    if not numbers or kind is None:
        return values.present(type=kind, identifier=next(iter(numbers), None), display=shown)
    named = numbers[0]
    body: Json = {"identifier": numbers}
    if shown and kind == "Device":
        body["deviceName"] = [{"name": shown, "type": "user-friendly-name"}]
    elif shown:
        body["name"] = [{"text": shown}] if kind == "Practitioner" else shown
    return values.reference(ctx.make(kind, (named["system"], named["value"]), body), shown or named["value"])


@function("ORDER[Identifier-Placer]", "Identifier", takes="all")
def placer_order(raws: list[str], ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    return _order(raws, "EI[Identifier-Placer]", ctx)


@function("ORDER[Identifier-Filler]", "Identifier", takes="all")
def filler_order(raws: list[str], ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    return _order(raws, "EI[Identifier-Filler]", ctx)


def _order(raws: list[str], kind: str, ctx: Any) -> Json | None:
    """The number that belongs to the AIS whose order is built."""
    index = order_index(ctx.builder.segment, ctx)
    raw = raws[index] if index is not None and index < len(raws) else ""
    found: Json | None = FUNCTIONS[kind].call(raw, ctx, None) if raw and raw != NULL else None
    return found


ACTOR: dict[str, Callable[..., Json | None]] = {
    "AIG": general_resource,
    "AIL": FUNCTIONS["PL[Reference(Location)]"].call,
    "AIP": FUNCTIONS["XCN[Reference(Practitioner)]"].call,
}


# the appointment ------------------------------------------------------------------------------------------------------


def _segments(ctx: Assembly, builder: Builder) -> list[tuple[Segment, Group]]:
    """What stands in the appointment's group and below, its patients apart."""
    inside = {id(each) for each in builder.group.walk()} if builder.group is not None else set()
    return [(segment, group) for segment, group in ctx.placed if id(group) in inside and patient_group(group) is None]


def deleted(segment: Segment, group: Group) -> bool:
    """AIx-2 = D, or D for the group it stands in."""
    rgs = group.find("RGS")
    return DELETE in (segment.field(2).strip(), rgs.field(2).strip() if rgs is not None else "")


@finish("appointment_times")
def appointment_times(ctx: Assembly, builder: Builder) -> None:
    """The start of the earliest service, the end of the last, where SCH and TQ1 do not say."""
    body = builder.body
    if "start" in body and "end" in body:
        return
    mine = [segment for segment, group in _segments(ctx, builder) if segment.name in RESOURCES]
    mine = [each for each in mine if each.name == "AIS"] or mine
    times = spans.of_services(ctx, mine)
    if "start" not in body and times:
        _put_time(ctx, builder, "start", min((each["start"] for each in times), key=spans.moment), mine)
    ends = [each["end"] for each in times if "end" in each]
    length = spans.length_of(ctx)
    begins = min((spans.moment(each["start"]) for each in times), default=None)
    elsewhere = begins is not None and "start" in body and begins != spans.moment(body["start"])
    if "end" not in body and ends and not (elsewhere and length):  # a moved start and an old end are no appointment
        _put_time(ctx, builder, "end", max(ends, key=spans.moment), mine)
    elif "end" not in body and "start" in body and length:
        _put_time(ctx, builder, "end", spans.later(body["start"], length), [])
    if elsewhere and begins is not None and "end" in body and not _within(begins, body):
        ctx.issues.append(issue("contradiction", mine[0].place(spans.FIRST[mine[0].name]), row="@appointment_times"))


def _within(moment: float, body: Json) -> bool:
    return spans.moment(body["start"]) <= moment < spans.moment(body["end"])


def _put_time(ctx: Assembly, builder: Builder, name: str, value: str, segments: list[Segment]) -> None:
    builder.body[name] = value
    builder.body.pop("_" + name, None)
    if ctx.trace is not None:
        for each in segments:
            first = spans.FIRST[each.name]
            for number in range(first, first + 5):
                ctx.trace.rule("appointment_times", builder.ref, name, Place(each.name, each.nth, number, 1))


@finish("appointment_status")
def appointment_status(ctx: Assembly, builder: Builder) -> None:
    """SCH-25 is there already, which never undoes what the event ends; else the event. Then what FHIR asks of it."""
    body, event = builder.body, ctx.event
    if STATUS.get(event) in OVER and body.get("status", CANCELLED) not in OVER:
        del body["status"]
        ctx.issues.append(issue("contradiction", Place("SCH", field=25), row="@appointment_status"))
    if "status" not in body:
        body["status"] = STATUS.get(event, BOOKED)
        if event not in STATUS:
            builder.filled.append("status")
    if body["status"] == BOOKED and "start" not in body:
        body["status"] = PENDING
        builder.filled.append("status")
    elif event in STATUS:
        builder.own.append("status")
    known = [name for name in ("start", "end") if name in body]
    if body["status"] not in TIMELESS or len(known) == 1:
        for name in ("start", "end"):
            if name not in known:
                values.put(body, name, None, *values.absent("unknown")["extension"])
                builder.filled.append(name)
    if body["status"] != CANCELLED and "status" not in builder.filled:
        builder.clear.append("cancelationReason")  # of an earlier cancellation, app-4: what is booked again has none
    if body["status"] != CANCELLED and "cancelationReason" in body:
        body["comment"] = readable(body.pop("cancelationReason"))


@finish("appointment_participants")
def appointment_participants(ctx: Assembly, builder: Builder) -> None:
    """A status for everyone; who is taken off; whether the list is whole."""
    body = builder.body
    around = _segments(ctx, builder)
    mine = [(segment, group) for segment, group in around if segment.name in RESOURCES]
    for segment, group in mine:
        if deleted(segment, group):
            _take_off(ctx, builder, segment)
    actions = {each.field(2).strip() for each, _ in around if each.name in RESOURCES or each.name == "RGS"}
    if mine and ctx.event in WHOLE_LIST and not actions - {"", "A", NULL}:
        builder.clear += [name for name in ("participant", "serviceType") if name in body]
    _drop_nobodies(ctx, body)
    for each in body["participant"]:
        if "status" not in each:
            each["status"] = participant_status(body["status"])
    if not body["participant"]:
        body["participant"].append({"actor": values.absent("unknown"), "status": participant_status(body["status"])})
        builder.filled.append("participant")


def _drop_nobodies(ctx: Assembly, body: Json) -> None:
    """A time or a state of nobody and of no role is no participant (app-1)."""
    named: list[Json] = body.get("participant", [])
    body["participant"] = [each for each in named if "actor" in each or "type" in each]
    if len(body["participant"]) < len(named):
        ctx.issues.append(issue("no-target", Place("SCH"), row="@appointment_participants"))


def _take_off(ctx: Assembly, builder: Builder, segment: Segment) -> None:
    """Segment action code D: the stored appointment loses the service or the resource."""
    ctx.seg, ctx.field, ctx.rep_index = segment, 3, 0
    raw = segment.field(3).split(ctx.rep)[0]
    if segment.name == "AIS":
        told, name = raw.split(ctx.comp)[0].strip(), "serviceType[coding="
    else:
        actor = ACTOR[segment.name](raw, ctx) or {}
        told, name = actor.get("reference", ""), "participant[actor="
        if not told:
            told, name = actor.get("identifier", {}).get("value", ""), "participant[actor.identifier.value="
    if told and ";" not in told:  # paths join conditions by it
        builder.clear.append(f"{name}{told}]")
    if ctx.trace is not None:
        for number in (2, 3):
            ctx.trace.rule("appointment_participants", builder.ref, name, Place(segment.name, segment.nth, number, 1))


@finish("appointment_orders")
def appointment_orders(ctx: Assembly, builder: Builder) -> None:
    """Numbers that made no order here: logical references, which the store may know."""
    sch = builder.segment
    if sch is None:
        return
    made = {
        number["value"]
        for other in ctx.made
        if other.type == "ServiceRequest"
        for number in other.body.get("identifier", ())
    }
    ctx.seg = sch
    for field, kind in ((26, "EI[Identifier-Placer]"), (27, "EI[Identifier-Filler]")):
        ctx.field = field
        for index, raw in enumerate(sch.field(field).split(ctx.rep)):
            found = FUNCTIONS[kind].call(raw, ctx, None) if raw and raw != NULL else None
            if found is not None and found["value"] not in made:
                based: list[Json] = builder.body.setdefault("basedOn", [])
                based.append({"type": "ServiceRequest", "identifier": found})
                if ctx.trace is not None:
                    path = f"basedOn[{len(based) - 1}]"
                    ctx.trace.rule("appointment_orders", builder.ref, path, Place("SCH", sch.nth, field, index + 1))


@finish("appointment_contacts")
def appointment_contacts(ctx: Assembly, builder: Builder) -> None:
    """Phones and addresses of the contact persons, on whom nobody knows yet; of several, on the first."""
    sch = builder.segment
    if sch is None:
        return
    for person, phone, address in CONTACTS:
        ctx.seg, ctx.field, ctx.rep_index = sch, person, 0
        raw = sch.field(person).split(ctx.rep)[0]
        found = ACTOR["AIP"](raw, ctx) if raw and raw != NULL else None
        body = _person(ctx, builder, (found or {}).get("reference", ""))
        for number, name, kind in ((phone, "telecom", "XTN[ContactPoint]"), (address, "address", "XAD[Address]")):
            for index, written in enumerate(sch.field(number).split(ctx.rep) if number and body is not None else ()):
                ctx.field, ctx.rep_index = number, index
                detail = FUNCTIONS[kind].call(written, ctx, None) if written and written != NULL else None
                if detail is not None and body is not None and detail not in body.setdefault(name, []):
                    body[name].append(detail)
                if detail is not None and ctx.trace is not None:
                    ctx.trace.rule("appointment_contacts", builder.ref, "", Place("SCH", sch.nth, number, index + 1))


def _person(ctx: Assembly, builder: Builder, reference: str) -> Json | None:
    """The body of a person that the appointment names, made here or contained in it."""
    if reference.startswith("#"):
        inside: list[Json] = builder.body.get("contained", [])
        return next((each for each in inside if each["id"] == reference[1:]), None)
    found = ctx.by_ref.get(reference)
    return found.body if found is not None else None


@finish("appointment_comment")
def appointment_comment(ctx: Assembly, builder: Builder) -> None:
    """Notes of every segment, in order, behind a reason that cancels nothing; who wrote when stays in an extension."""
    body = builder.body
    lines = [body["comment"]] if "comment" in body else []
    lines += _supplements(ctx, builder)
    for segment, _ in _segments(ctx, builder):
        if segment.name == "NTE":
            continue
        found = annotation(ctx, segment, builder)
        if found is not None:
            lines.append(found["text"])
            if len(found) > 1:
                body.setdefault("extension", []).append({"url": NOTE, "valueAnnotation": found})
    if lines:
        body["comment"] = "\n".join(lines)


def _supplements(ctx: Assembly, builder: Builder) -> list[str]:
    """AIS-11 and AIS-12 of a service without an order, which would hold them."""
    lines = []
    ordered = {other.segment for other in ctx.made if other.type == "ServiceRequest"}
    for segment, _ in _segments(ctx, builder):
        if segment.name != "AIS" or segment in ordered:
            continue
        ctx.seg = segment
        for number in (11, 12):
            for index, raw in enumerate(segment.field(number).split(ctx.rep)):
                ctx.field, ctx.rep_index = number, index
                found = coded.cwe_string(raw, ctx) if raw and raw != NULL else None
                if found:
                    lines.append(found)
                    if ctx.trace is not None:
                        place = Place("AIS", segment.nth, number, index + 1)
                        ctx.trace.rule("appointment_comment", builder.ref, "comment", place)
    return lines


# blocked and opened time ----------------------------------------------------------------------------------------------


@finish("schedule_actor")
def schedule_actor(ctx: Assembly, builder: Builder) -> None:
    """SCH-5 names a schedule, and not whose it is."""
    if "actor" not in builder.body:
        builder.body["actor"] = [values.absent("unknown")]
        builder.filled.append("actor")


@finish("slot_services")
def slot_services(ctx: Assembly, builder: Builder) -> None:
    """Each service of the message can, or cannot, be booked in that time; the first gives it where nothing else does.
    Notes are its comment."""
    body = builder.body
    services = [each for each in ctx.message.segments if each.name == "AIS"]
    for segment in services:
        raw = segment.field(3).split(ctx.rep)[0]
        ctx.seg, ctx.field, ctx.rep_index = segment, 3, 0
        found = coded.cwe_concept(raw, ctx) if raw and raw != NULL else None
        if found is not None:
            body.setdefault("serviceType", []).append(found)
            if ctx.trace is not None:
                path = f"serviceType[{len(body['serviceType']) - 1}]"
                ctx.trace.rule("slot_services", builder.ref, path, Place("AIS", segment.nth, 3, 1))
    if "start" not in body:
        for name, value in next(iter(spans.of_services(ctx, services[:1])), {}).items():
            _put_time(ctx, builder, name, value, services[:1])
    lines = [body["comment"]] if "comment" in body else []
    owners = [each for each in (ctx.near("SCH"), builder.segment, *services) if each is not None]
    for owner in dict.fromkeys(owners):
        note = annotation(ctx, owner, builder)
        lines += [note["text"]] if note is not None else []
    if lines:
        body["comment"] = "\n".join(lines)
