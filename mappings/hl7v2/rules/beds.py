"""The status of a bed: NPU-2 (A20), and PV1-40 of the bed that PV1-3 names.

A Location is a stub elsewhere; where a message says how its bed is, it states that, and the newest statement counts.

Source: the guide's PV1[Encounter], PV1-40 (only where a room or bed is named); HL7 v2.9 chapter 3.4 NPU.
"""

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.datatypes import FUNCTIONS
from mappings.hl7v2.message import Segment
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import after
from mappings.hl7v2.rules.patients import leads
from mappings.rows.runtime import NIL
from mappings.terminology import concept_map

STATUS = "v2-0116.bed-status"
BEDS = {"NPU": (1, 2), "PV1": (3, 40)}  # where the bed stands, where its status


@after("beds")
def beds(ctx: Assembly) -> None:
    """Every bed whose status the message tells."""
    if not leads(ctx):
        return
    for segment, group in ctx.placed:
        if segment.name in BEDS:
            ctx.seg, ctx.group = segment, group
            _bed(ctx, segment, *BEDS[segment.name])


def _bed(ctx: Assembly, segment: Segment, where: int, status: int) -> None:
    raw, place = segment.field(status).split(ctx.rep, 1)[0], segment.field(where).split(ctx.rep, 1)[0]
    if raw in NIL or not any(place.split(ctx.comp)[1:3]):
        return
    ctx.field = where
    reference = FUNCTIONS["PL[Reference(Location)]"].call(place, ctx, None) or {}
    ctx.field = status
    coding = FUNCTIONS["CWE[Coding]"].call(raw, ctx, concept_map.load(STATUS))
    ctx.field = 0
    location = ctx.by_ref.get(reference.get("reference", ""))
    if location is None or not coding:
        return
    location.body["operationalStatus"] = coding
    location.mode = "update"
    location.sources.append(segment.ordinal)
    if ctx.trace is not None:
        ctx.trace.rule("beds", location.ref, "operationalStatus", Place(segment.name, segment.nth, status))
