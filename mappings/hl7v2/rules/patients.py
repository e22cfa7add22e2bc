"""Rules of Patient, RelatedPerson and Account: who leads, what a feed without the registry's authority may say.

Source: design chapter HL7 v2 §6 (stub), §8 (leading).
"""

from typing import Any

from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import Json, finish, function, resolver
from mappings.hl7v2.structure import Group
from mappings.issues import issue
from mappings.terminology.concept_map import ConceptMap

LEADING = frozenset({"ADT", "PMU"})
CHILD_OF = "PATIENT"


def leads(ctx: Assembly) -> bool:
    """Whether this feed states demographics and stays; a laboratory's PID must not overwrite the registry's."""
    chosen: str = ctx.profile.demographics
    if chosen:
        return chosen == "lead"
    found: bool | None = ctx.shared.get("leads")
    if found is None:
        found = ctx.shared["leads"] = ctx.message.code in LEADING
    return found


def patient_group(group: Group | None) -> Group | None:
    """The group of the patient that a group belongs to."""
    while group is not None and group.name != CHILD_OF:
        group = group.parent
    return group


@finish("lead")
def lead(ctx: Assembly, builder: Builder) -> None:
    """A feed that does not lead creates what is not there and changes nothing that is."""
    if "contact" in builder.body:
        _reachable(ctx, builder.body)
    if not leads(ctx):
        builder.mode = "stub"


def _reachable(ctx: Assembly, body: Json) -> None:
    """A contact is somebody, or somewhere to turn to (pat-1)."""
    kept = [each for each in body["contact"] if {"name", "telecom", "address", "organization"} & each.keys()]
    if len(kept) < len(body["contact"]):
        ctx.issues.append(issue("no-target", Place("NK1")))
        body["contact"] = kept
        if not kept:
            del body["contact"]


@function("GT1[Reference(RelatedPerson)]", "Reference", alone=False)
def guarantor(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """The RelatedPerson of this GT1. A row with a source: a constant alone makes no element where GT1-13 is empty."""
    return _made_by(ctx, "RelatedPerson")


@resolver("condition")
def condition(ctx: Any) -> Json | None:
    """The Condition of this DG1."""
    return _made_by(ctx, "Condition")


def _made_by(ctx: Any, kind: str) -> Json | None:
    for builder in reversed(ctx.made):
        if builder.type == kind and builder.segment is ctx.seg:
            return {"reference": builder.ref}
    return None


@resolver("unset")
def unset(ctx: Any) -> None:
    """Nothing: for an overlay that takes a default away."""
    return
