"""What identifies orders, reports, observations and specimens.

Source: design chapter HL7 v2 §6, the key table.
"""

from typing import Any

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.datatypes.identifiers import authority_in, ei_identifier
from mappings.hl7v2.keys.parts import Key, code, encounter_id, entity, key, patient_id, position
from mappings.hl7v2.lines import goes_on
from mappings.hl7v2.message import Segment
from mappings.rows.runtime import NULL, text

BY_POSITION = "by position"  # the word under which rules find the keys that only the order of lines tells apart
_SPECIMENS = frozenset({"SPECIMEN", "CONTAINER"})
_ORDERS = frozenset({"ORDER", "OBSERVATION"})


def _order_number(obr: Segment, ctx: Any, obr_field: int, orc_field: int) -> Key | None:
    """OBR-2 or -3, else the same of the ORC before it."""
    if (found := entity(obr.field(obr_field), ctx)) is not None:
        return found
    orc = ctx.near("ORC") if obr.name != "ORC" else None
    return entity(orc.field(orc_field), ctx) if orc is not None else None


@key("service_request")
def service_request(segment: Segment, ctx: Assembly) -> Key | None:
    """ORC-2/OBR-2 + OBR-4 code · ORC-3/OBR-3 + OBR-4 code; ORC-1 = RO: ORC-3, else ORC-2 and the message's digest."""
    placer, filler = _order_number(segment, ctx, 2, 2), _order_number(segment, ctx, 3, 3)
    service = (code(segment.field(4), ctx) if segment.name == "OBR" else None) or ("", "")
    orc = ctx.near("ORC")
    if orc is not None and orc.field(1).strip() == "RO":
        if filler is not None:
            return ("filler", *filler, *service)
        if placer is not None:
            return ("replacement", *placer, *service, ctx.digest.hex())
    if placer is not None:
        return ("placer", *placer, *service)
    return ("filler", *filler, *service) if filler is not None else None


@key("order")
def order(segment: Segment, ctx: Assembly) -> Key:
    """The same in a message that is about orders: one without a number is known by its place."""
    return service_request(segment, ctx) or position(segment, ctx)


@key("device")
def device(segment: Segment, ctx: Assembly) -> Key | None:
    """PRT-10, as `EI[Reference(Device)]` makes it."""
    raw = segment.field(10).split(ctx.rep, 1)[0]
    found = ei_identifier(raw, ctx) if raw and raw != NULL else None
    return (found["system"], found["value"]) if found is not None else None


@key("report")
def report(segment: Segment, ctx: Assembly) -> Key:
    """OBR-3/ORC-3 + OBR-4 code · OBR-2/ORC-2 + OBR-4 code."""
    service = code(segment.field(4), ctx) or ("", "")
    if (filler := _order_number(segment, ctx, 3, 3)) is not None:
        return ("filler", *filler, *service)
    if (placer := _order_number(segment, ctx, 2, 2)) is not None:
        return ("placer", *placer, *service)
    return position(segment, ctx)


@key("observation")
def observation(segment: Segment, ctx: Assembly) -> Key | None:
    """Report + OBX-3 + OBX-4, joined by OBX-21; without a report: patient + PV1-19 + OBX-3 + OBX-4 + OBX-14.

    OBX-21 never stands alone: real feeds repeat it. Equal lines are told apart by their order; a line that goes on with
    the one before makes nothing of its own.
    """
    if goes_on(segment, ctx):
        return None
    fields = segment.fields
    length = len(fields)
    what = (code(fields[3], ctx) if length > 3 else None) or ("", "")
    sub = fields[4].strip() if length > 4 else ""
    instance = (entity(fields[21], ctx) or ()) if length > 21 else ()
    parent = ctx.made_near("DiagnosticReport")
    if parent is not None:
        found: Key = ("report", parent.id, *what, sub, *instance)
    else:
        found = (*_told_of(ctx), *what, sub, segment.field(14).strip(), *instance)
    count = ctx.seen_keys.get(found, 0)
    ctx.seen_keys[found] = count + 1
    if count == 0:
        return found
    ctx.issue("identity-by-position")
    found = (*found, f"#{count + 1}")
    ctx.shared.setdefault(BY_POSITION, set()).add(found)
    return found


def _told_of(ctx: Assembly) -> Key:
    """What a line without a report is about: a specimen, an order, else the patient in her stay."""
    for kind, groups in (("Specimen", _SPECIMENS), ("ServiceRequest", _ORDERS)):
        about = ctx.made_near(kind) if ctx.group.name in groups else None
        if about is not None:
            return (kind, about.id)
    return ("loose", patient_id(ctx), encounter_id(ctx))


@key("specimen")
def specimen(segment: Segment, ctx: Assembly) -> Key:
    """SPM-2 with a universal id, else patient + SPM-2."""
    if (number := specimen_number(segment.field(2), ctx)) is not None:
        return number
    if (parent := ctx.made_near("DiagnosticReport")) is not None:
        return ("of", *parent.key, text(segment.field(4), ctx.rep, ctx.comp), segment.field(1).strip())
    return position(segment, ctx)


def specimen_number(raw: str, ctx: Assembly) -> Key | None:
    """The same of an EIP anywhere, of its first repetition."""
    pair = raw.split(ctx.rep, 1)[0]
    for number in reversed(pair.split(ctx.comp)):  # the filler's number counts more than the placer's
        parts = number.split(ctx.sub)
        if parts[0].strip() and parts[0] != NULL:
            source = authority_in(ctx.sub.join(parts[1:4]), ctx.sub, ctx) or ctx.feed
            universal = len(parts) > 2 and bool(parts[2])
            return (source, parts[0].strip()) if universal else (patient_id(ctx), source, parts[0].strip())
    return None


@key("container")
def container(segment: Segment, ctx: Assembly) -> Key:
    """Specimen of a SAC without SPM: the accession, else the container."""
    for number in (2, 1, 3):
        if (found := entity(segment.field(number), ctx)) is not None:
            return ("SAC", patient_id(ctx), str(number), *found)
    return position(segment, ctx)


@key("order_provenance")
def order_provenance(segment: Segment, ctx: Assembly) -> Key:
    """Provenance of one ORC: the message by its digest, and where in it the ORC stands."""
    return ("message", ctx.feed, ctx.digest.hex(), str(segment.ordinal))


@key("report_specimen")
def report_specimen(segment: Segment, ctx: Assembly) -> Key | None:
    """Specimen of OBR-15, below version 2.5: it belongs to its report, else to its order."""
    parent = ctx.made_near("DiagnosticReport") or ctx.made_near("ServiceRequest")
    return ("OBR-15", *parent.key) if parent is not None else None
