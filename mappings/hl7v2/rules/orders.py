"""Orders: what replaces what, who asks and for whom, notes, and what travels along of earlier orders.

Statuses are rows (tables 0038 and 0119); a request to cancel or hold leaves a business event and no status, for the
filler has not agreed. Results that travel with an order (PRIOR in `messages/order.toml`) are done: their order is
completed unless ORC-5 says otherwise, and where they do not say when they were issued, what is stored already counts
more than the copy.

Source: design chapter HL7 v2 §4 (pairing), §9 (orders); v2-to-FHIR guide, ORC[ServiceRequest], ORC[Provenance].
"""

from typing import Any

from mappings.fhir.codec import encode
from mappings.fhir.values import absent
from mappings.hl7v2 import keys
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes import FUNCTIONS
from mappings.hl7v2.datatypes.identifiers import ei_identifier
from mappings.hl7v2.effects import Reach
from mappings.hl7v2.keys.stays import says_something
from mappings.hl7v2.message import Segment
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import Json, finish
from mappings.hl7v2.rules.notes import annotation
from mappings.hl7v2.structure import Group
from mappings.rows.runtime import NULL

_NEW = frozenset({"NW", "SN", "RO", "PA", "CH", "PR"})  # ORC-1, table 0119: what makes an order, or tells of its family
_SAID = ("status", "statusReason", "identifier", "extension")  # of a drug order, by its number alone
_NOTED = frozenset({"ORC", "OBR", "TQ1", "CTD"})  # segments of an order whose NTE are notes of the order


@finish("replaces")
def replaces(ctx: Assembly, builder: Builder) -> None:
    """ORC-1 = RO with numbers of both sides: the new order replaces the placer's old one."""
    orc, obr = ctx.near("ORC"), builder.segment
    if orc is None or obr is None or orc.field(1).strip() != "RO":
        return
    placer = keys.entity(obr.field(2), ctx) or keys.entity(orc.field(2), ctx)
    service = (keys.code(obr.field(4), ctx) if obr is not orc else None) or ("", "")
    if placer is None:
        return
    old = ctx.identities.make("ServiceRequest", ("placer", *placer, *service))
    raw = (obr.field(2) or orc.field(2)).split(ctx.rep, 1)[0]
    if old != builder.id and (identifier := ei_identifier(raw, ctx)) is not None:
        builder.body["replaces"] = [{"type": "ServiceRequest", "identifier": identifier}]


@finish("by_number")
def by_number(ctx: Assembly, builder: Builder) -> None:
    """An ORC without its service speaks of every order under its numbers, not of one more; a new order has none yet."""
    orc = builder.segment
    if orc is None or orc.field(1).strip() in _NEW or "identifier" not in builder.body:
        return
    drug = _of_a_drug(ctx, builder, orc) if builder.type == "ServiceRequest" else ""
    ctx.effects.append(Reach(builder.ref, drug))


def _of_a_drug(ctx: Assembly, builder: Builder, orc: Segment) -> str:
    """What the same ORC says of a drug order: ORM orders both, and the number does not tell which."""
    apart = Builder.made("MedicationRequest", builder.id, "update", orc, builder.group)
    held = ctx.builder, ctx.clear, ctx.filled, ctx.seg, ctx.row, ctx.trace, len(ctx.issues)
    ctx.trace = None  # the rows of the order itself tell where each fact went
    ctx.run(ctx.profile.maps.rows["ORC.MedicationRequest"], apart, orc)
    ctx.builder, ctx.clear, ctx.filled, ctx.seg, ctx.row, ctx.trace, issues = held
    del ctx.issues[issues:]
    said = {name: apart.body[name] for name in _SAID if name in apart.body and name not in apart.filled}
    return encode({"resourceType": "MedicationRequest", **said}).decode()


@finish("request_notes", "NTE")
def request_notes(ctx: Assembly, builder: Builder) -> None:
    """NTE behind the segments of an order; those behind an OBR with a report are the report's."""
    report = ctx.made_near("DiagnosticReport")
    noted = report.segment if report is not None else None
    for segment in builder.group.segments if builder.group is not None else ():
        if segment.name in _NOTED and segment is not noted:
            if (found := annotation(ctx, segment, builder)) is not None:
                builder.body.setdefault("note", []).append(found)


# who asks -------------------------------------------------------------------------------------------------------------


@finish("requester_role")
def requester_role(ctx: Assembly, builder: Builder) -> None:
    """ORC-21 to -24: who asks does so for an organization; both have an address."""
    orc = ctx.near("ORC")
    if orc is None or len(orc.fields) < 22:
        return
    kept = ctx.seg
    ctx.seg = orc
    person = builder.body.get("requester")
    if person is not None:
        _complete(ctx, builder, person, {"address": _all(ctx, orc, 24, "XAD[Address]")})
    organization = _one(ctx, orc, 21, "XON[Reference(Organization)]")
    if organization is not None:
        known = {"address": _all(ctx, orc, 22, "XAD[Address]"), "telecom": _all(ctx, orc, 23, "XTN[ContactPoint]")}
        _complete(ctx, builder, organization, known)
        builder.body["requester"] = _role(ctx, person, organization) if person is not None else organization
        _told(ctx, builder, orc, 21, 22, 23)
    ctx.seg = kept


def _role(ctx: Assembly, person: Json, organization: Json) -> Json:
    """A PractitionerRole, contained where one of the two is: a reference cannot lead into another resource."""
    body: Json = {"practitioner": person, "organization": organization}
    ends = (person.get("reference", "#"), organization.get("reference", "#"))
    if any(end.startswith("#") for end in ends):
        reference = ctx.contained({"resourceType": "PractitionerRole", **body})
    else:
        reference = ctx.make("PractitionerRole", ends, body)
    shown = {"display": person["display"]} if "display" in person else {}
    return {"reference": reference, **shown} if reference else person


def _one(ctx: Assembly, segment: Segment, number: int, kind: str) -> Any:
    raw = segment.field(number).split(ctx.rep, 1)[0]
    if not raw or raw == NULL:
        return None
    ctx.field, ctx.rep_index = number, 0
    return FUNCTIONS[kind].call(raw, ctx, None)


def _all(ctx: Assembly, segment: Segment, number: int, kind: str) -> list[Json]:
    found: list[Json] = []
    for index, raw in enumerate(segment.field(number).split(ctx.rep)):
        if raw and raw != NULL:
            ctx.field, ctx.rep_index = number, index
            if (made := FUNCTIONS[kind].call(raw, ctx, None)) is not None:
                found.append(made)
    return found


def _complete(ctx: Assembly, builder: Builder, reference: Json, known: dict[str, list[Json]]) -> None:
    """Facts of a party that its own field does not hold: into the stub, or the contained resource."""
    target = reference.get("reference", "")
    if target.startswith("#"):
        bodies = [each for each in builder.body.get("contained", ()) if each["id"] == target[1:]]
    else:
        other = ctx.by_ref.get(target)
        bodies = [other.body] if other is not None and other.mode == "stub" else []
    for body in bodies:
        for name, value in known.items():
            if value:
                body.setdefault(name, value)


def _told(ctx: Assembly, builder: Builder, segment: Segment, *numbers: int) -> None:
    for number in numbers:
        if ctx.trace is not None and segment.field(number):
            ctx.trace.rule("requester_role", builder.ref, "requester", Place(segment.name, segment.nth, number))


@finish("order_provenance")
def order_provenance(ctx: Assembly, builder: Builder) -> None:
    """Who entered, verified and took the order: an agent without a name is none (R4 demands one)."""
    body = builder.body
    body["agent"] = [agent for agent in body.get("agent", ()) if "who" in agent] or [{"who": absent("unknown")}]
    if "recorded" not in body:
        body["_recorded"] = absent("unknown")


# earlier orders -------------------------------------------------------------------------------------------------------


@finish("prior_order")
def prior_order(ctx: Assembly, builder: Builder) -> None:
    """An earlier order that comes with its results is completed, whatever this message's ORC-1 says of it; the order's
    own status (ORC-5) says more.
    """
    orc = ctx.near("ORC")
    told = orc.field(5).strip() if orc is not None else ""
    if told in ("", NULL) or "status" in builder.filled:
        builder.body["status"] = "completed"
        builder.body.pop("_status", None)
        builder.filled = [name for name in builder.filled if name != "status"]
    _own_stay(ctx, builder)


@finish("prior_result")
def prior_result(ctx: Assembly, builder: Builder) -> None:
    """A copy: the newer statement is the one that was issued later, and without OBR-22 the stored one."""
    obr = ctx.near("OBR")
    if obr is None or not obr.field(22).strip():
        builder.mode = "stub"
    _own_stay(ctx, builder)


@finish("prior_stay")
def prior_stay(ctx: Assembly, builder: Builder) -> None:
    """The stay of an earlier order: unless it says that it ended, nothing tells whether it goes on."""
    if builder.body.get("status") == "in-progress":
        builder.body["status"] = "unknown"
    for place in builder.body.get("location", ()):
        place.pop("status", None)


def _own_stay(ctx: Assembly, builder: Builder) -> None:
    """The stay of the present order is not that of an earlier one, unless the message says so."""
    group: Group | None = builder.group
    while group is not None and group.name != "PRIOR":
        group = group.parent
    if group is not None and not any(says_something(each) for each in group.segments if each.name == "PV1"):
        builder.body.pop("encounter", None)
