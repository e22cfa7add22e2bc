"""Two records of one person become one: each pair of PID and MRG.

Nothing is deleted: the survivor gains the retired numbers (`use = old`) and `link` replaces, the retired Patient is
inactive and points to it; `into` tells the store to keep an alias. An unknown MRG makes one all the same, so that
late data follows.

Source: design chapter HL7 v2 §10; the guide has no map. The other merges (accounts, visits, numbers) belong to
later work: their MRG is an issue and keeps its place.
"""

from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.issues import issue
from mappings.hl7v2.keys import choose_identity, position
from mappings.hl7v2.message import Segment
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import Json, finish

MERGES = frozenset({"A18", "A30", "A34", "A36", "A39", "A40"})
RETIRE_MAP = "MRG.Patient"


@finish("patient_merge")
def patient_merge(ctx: Assembly, builder: Builder) -> None:
    """Every MRG of this patient's group."""
    segments = [segment for segment in (builder.group.segments if builder.group else ()) if segment.name == "MRG"]
    for segment in segments:
        if ctx.event in MERGES:
            _merge(ctx, builder, segment)
        else:
            ctx.issues.append(issue("unsupported-structure", Place("MRG", segment.nth)))
    if ctx.event == "A29" and builder.mode != "stub":
        builder.body["active"] = False
        builder.own.append("active")


def _merge(ctx: Assembly, survivor: Builder, segment: Segment) -> None:
    ctx.seg = segment
    key = choose_identity(segment.reps(1), ctx) or position(segment, ctx)
    id_ = ctx.identities.make("Patient", key)
    if id_ == survivor.id:
        ctx.issues.append(issue("merge-with-self", Place("MRG", segment.nth, 1)))
        return
    retired = ctx.by_ref.get(f"Patient/{id_}")
    if retired is None:
        retired = Builder.made("Patient", id_, "update", segment, survivor.group)
        ctx.made.append(retired)
        ctx.by_ref[retired.ref] = retired
    ctx.run(RETIRE_MAP, ctx.profile.maps.rows[RETIRE_MAP].fast, retired, segment)
    retired.body |= {"active": False, "link": [_link(survivor, "replaced-by")]}
    retired.own += ["active", "link"]
    retired.into = survivor.id
    survivor.body.setdefault("link", []).append(_link(retired, "replaces"))
    survivor.own.append("link")
    _keep_numbers(survivor, retired)
    if ctx.trace is not None:
        for path in ("active", "link[0].other.reference", "link[0].type"):
            ctx.trace.rule("patient_merge", retired.ref, path, Place("MRG", segment.nth, 1))


def _link(other: Builder, kind: str) -> Json:
    return {"other": {"reference": other.ref}, "type": kind}


def _keep_numbers(survivor: Builder, retired: Builder) -> None:
    """The retired numbers stay findable on the survivor, marked old."""
    known = {(each.get("system"), each.get("value")) for each in survivor.body.get("identifier", ())}
    for number in retired.body.get("identifier", ()):
        if (number.get("system"), number.get("value")) not in known:
            survivor.body.setdefault("identifier", []).append({**number, "use": "old"})
