"""Where a result was made: the address of the laboratory that OBX-23 names.

Source: HL7 v2.9 §7.4.2.24 (OBX-24); v2-to-FHIR guide, OBX[Observation].
"""

from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes import FUNCTIONS
from mappings.hl7v2.message import Segment
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import Json
from mappings.rows.runtime import NULL


def laboratory_address(ctx: Assembly, builder: Builder, segment: Segment) -> None:
    """OBX-24 into the organization of OBX-23, once: every line of a report repeats it."""
    raw, name = segment.field(24).split(ctx.rep, 1)[0], segment.field(23)
    if not raw or raw == NULL or not name or name == NULL:
        if raw and raw != NULL:
            ctx.seg, ctx.field, ctx.rep_index = segment, 24, 0
            ctx.issue("no-target")
        return
    ctx.seg, ctx.field, ctx.rep_index = segment, 23, 0
    body = _organization(ctx, builder, name.split(ctx.rep, 1)[0])
    if body is not None and "address" not in body:
        ctx.field = 24
        address = FUNCTIONS["XAD[Address]"].call(raw, ctx, None)
        if address is not None:
            body["address"] = [address]
    if ctx.trace is not None:
        ctx.trace.rule("laboratory_address", builder.ref, "performer", Place("OBX", segment.nth, 24, 1))


def _organization(ctx: Assembly, builder: Builder, raw: str) -> Json | None:
    """The stub or contained resource that the row of OBX-23 made."""
    known = ("laboratory", raw)
    reference = ctx.shared.get(known)
    if reference is None:
        builder_now, ctx.builder = ctx.builder, builder
        found = FUNCTIONS["XON[Reference(Organization)]"].call(raw, ctx, None)
        ctx.builder = builder_now
        reference = (found or {}).get("reference", "")
        if not reference.startswith("#"):
            ctx.shared[known] = reference
    if reference.startswith("#"):
        inside = builder.body.get("contained", ())
        return next((each for each in inside if each["id"] == reference[1:]), None)
    other = ctx.by_ref.get(reference)
    return other.body if other is not None and other.mode == "stub" else None
