"""Specimens and what they lie in: containers, their volumes, notes; the specimen that an OBX names itself.

SPM tells the kind of container, SAC the container at hand: the first SAC of a specimen says more of the one that SPM
began. Rows are in `SPM.Specimen.csv` and `SAC.Specimen.csv`.

Source: HL7 v2.9 §7.4.3 (SPM), §13.4.3 (SAC), §7.4.2.33 (OBX-33); design chapter HL7 v2 §4.
"""

from typing import Any

from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes import FUNCTIONS, numbers
from mappings.hl7v2.datatypes import text as texts
from mappings.hl7v2.keys.orders import specimen_number
from mappings.hl7v2.message import Segment
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import Json, finish, function
from mappings.hl7v2.rules.notes import annotation
from mappings.rows.runtime import NULL
from mappings.terminology.concept_map import ConceptMap

_OWN = frozenset({"identifier", "capacity", "specimenQuantity"})  # what only SAC tells of a container


@function("SAC[Quantity]", "Quantity")
def sac_quantity(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """SAC-21 and SAC-22 share the unit of SAC-24."""
    return _amount(raw, 24, ctx)


@function("INV[Quantity]", "Quantity")
def inv_quantity(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """INV-7 to INV-10 share the unit of INV-11."""
    return _amount(raw, 11, ctx)


def _amount(raw: str, unit: int, ctx: Any) -> Json | None:
    found = texts.st_string(raw, ctx)
    if found is None:
        return None
    made = numbers.quantity(found, numbers.unit_of(ctx.seg.field(unit).split(ctx.rep, 1)[0], ctx), ctx)
    if made is None:
        ctx.issue("not-a-number")
    return made


@finish("container")
def container(ctx: Assembly, builder: Builder) -> None:
    """One container where SPM and SAC tell of one; NTE behind SAC are notes of the specimen."""
    known: list[Json] = builder.body.get("container", [])
    if len(known) > 1 and not known[0].keys() & _OWN:
        builder.body["container"] = [known[0] | known[1], *known[2:]]
    for segment in _containers(builder):
        if (found := annotation(ctx, segment, builder)) is not None:
            builder.body.setdefault("note", []).append(found)


def _containers(builder: Builder) -> list[Segment]:
    if builder.group is None or (builder.segment is not None and builder.segment.name == "SAC"):
        return []
    return [each for group in builder.group.groups for each in group.segments if each.name == "SAC"]


def own_specimen(ctx: Assembly, builder: Builder, segment: Segment) -> None:
    """OBX-33 names the specimen of this line: one of the message, else by its number; of several none is the one."""
    raw = segment.field(33)
    if not raw or raw == NULL or ctx.rep in raw:
        return
    ctx.field, ctx.rep_index = 33, 0
    key = specimen_number(raw, ctx)
    reference = f"Specimen/{ctx.identities.make('Specimen', key)}" if key is not None else ""
    if reference in ctx.by_ref:
        builder.body["specimen"] = {"reference": reference}
    elif "specimen" not in builder.body:
        for kind in ("EIP[Identifier-FillerAssignedIdentifier]", "EIP[Identifier-PlacerAssignedIdentifier]"):
            if (identifier := FUNCTIONS[kind].call(raw, ctx, None)) is not None:
                builder.body["specimen"] = {"type": "Specimen", "identifier": identifier}
                break
    if ctx.trace is not None and "specimen" in builder.body:
        ctx.trace.rule("own_specimen", builder.ref, "specimen", Place("OBX", segment.nth, 33, 1))
