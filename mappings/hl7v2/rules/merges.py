"""What MRG says of the PID before it: two records of one person, a number that changed, things that were moved.

- A18 A30 A34 A36 A39 A40 *merge*: the survivor gains the retired numbers (`use = old`) and `link` replaces; the retired
  Patient is inactive and points to it; `into` tells the store to keep an alias. An unknown MRG makes one all the same,
  so that late data follows. A merge the other way round takes the link of the first with it.
- A46 A47 A48 *rename*: the old number stays, ended; where it was the Patient's identity, `was` lets both ids mean her.
- A24 A37 *link*: `seealso` both ways, and gone again. No alias: two records that may be one person stay two.
- an event that needs MRG, and none with the number that it needs: nothing is done (`open-merge`)
- A29: the person is inactive. Accounts and visits are `moves.py`'s.

Nothing is deleted, nothing is entered-in-error. Source: design chapter HL7 v2 §10 (the guide has no map of patients'
merges); HL7 v2.9 chapter 3.6 for what each event identifies.
"""

from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.keys import choose_identity, identifier
from mappings.hl7v2.message import Segment
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import Json, finish, moves
from mappings.hl7v2.rules.encounters import moment
from mappings.issues import issue

MERGES = frozenset({"A18", "A30", "A34", "A36", "A39", "A40"})
RENAMES = {"A46": 4, "A47": 1, "A48": 2}  # the field of MRG with the number that changed
LINK, UNLINK, DELETE_PERSON = "A24", "A37", "A29"
RETIRE_MAP = "MRG.Patient"
NEEDED = (  # event → the fields of MRG of which it needs one; A06 and A07 do without
    dict.fromkeys((*MERGES, moves.MOVE_NUMBER, "A47"), (1,))
    | {"A35": (3,), "A41": (3,), "A49": (3,), "A42": (5,), "A50": (5,), "A51": (6,), "A44": (3, 1), "A45": (5, 1)}
    | {"A46": (4, 1), "A48": (2, 1)}
)


@finish("patient_merge")
def patient_merge(ctx: Assembly, builder: Builder) -> None:
    """Every MRG that stands with this patient; what an event does to the patient alone."""
    groups = [*builder.elsewhere, builder.group] if builder.group is not None else []
    segments = [(segment, group) for group in groups for segment in group.segments if segment.name == "MRG"]
    needed = NEEDED.get(ctx.event, ())
    if needed and not segments:
        ctx.issues.append(issue("open-merge", ctx.place_of(builder), row="@patient_merge"))
    for segment, group in segments:
        if needed and not any(_number(ctx, segment, field) for field in needed):
            ctx.issues.append(issue("open-merge", Place("MRG", segment.nth, needed[0]), row="@patient_merge"))
            continue
        known = moves.move(ctx, builder, segment, group)
        if ctx.event in MERGES:
            _merge(ctx, builder, segment)
        elif ctx.event in RENAMES:
            _rename(ctx, builder, segment)
        elif not known:
            ctx.issues.append(issue("unsupported-structure", Place("MRG", segment.nth)))
    if ctx.event in (LINK, UNLINK):
        _links(ctx, builder)
    elif ctx.event == DELETE_PERSON and builder.mode != "stub":
        builder.body["active"] = False
        builder.own.append("active")


def _number(ctx: Assembly, segment: Segment, field: int) -> tuple[str, ...] | None:
    """What a field of MRG identifies, if anything; MRG-1 repeats."""
    return choose_identity(segment.reps(1), ctx) if field == 1 else identifier(segment.field(field), ctx)


def _merge(ctx: Assembly, survivor: Builder, segment: Segment) -> None:
    ctx.seg = segment
    key = choose_identity(segment.reps(1), ctx)
    assert key is not None  # noqa: S101 - `patient_merge` has asked
    id_ = ctx.identities.make("Patient", key)
    if id_ == survivor.id:
        ctx.issues.append(issue("merge-with-self", Place("MRG", segment.nth, 1)))
        return
    retired = ctx.by_ref.get(f"Patient/{id_}")
    if retired is None:
        retired = Builder.made("Patient", id_, "update", segment, survivor.group)
        ctx.made.append(retired)
        ctx.by_ref[retired.ref] = retired
    ctx.run(ctx.profile.maps.rows[RETIRE_MAP], retired, segment)
    retired.body |= {"active": False, "link": [_link(survivor, "replaced-by")]}
    retired.own += ["active", "link"]
    retired.clear.append(f"link[type=replaces;other={survivor.ref}]")
    retired.into = survivor.id
    survivor.body["active"] = True  # of an earlier merge the other way round she may be the retired one
    survivor.body.setdefault("link", []).append(_link(retired, "replaces"))
    survivor.own += ["active", "link"]
    survivor.clear.append(f"link[type=replaced-by;other={retired.ref}]")
    moves.keep_numbers(survivor, retired.body.get("identifier", ()))
    if ctx.trace is not None:
        for path in ("active", "link[0].other.reference", "link[0].type"):
            ctx.trace.rule("patient_merge", retired.ref, path, Place("MRG", segment.nth, 1))


def _link(other: Builder, kind: str) -> Json:
    return {"other": {"reference": other.ref}, "type": kind}


def _rename(ctx: Assembly, patient: Builder, segment: Segment) -> None:
    """The number has changed: the old one is kept as such, and leads to her where it was what she is known by."""
    ctx.seg = segment
    number = RENAMES[ctx.event]
    prior = moves.prior_numbers(ctx, patient, segment, RETIRE_MAP)
    moves.keep_numbers(patient, prior, ended=moment(ctx))
    key = choose_identity(segment.reps(1), ctx)
    if number == 4 and key is None and patient.segment is not None:  # PID-2 identifies only where PID-3 does not
        alone = choose_identity(patient.segment.reps(3), ctx) is None
        key = identifier(segment.field(4), ctx) if alone else None
    former = ctx.identities.make("Patient", key) if key is not None else patient.id
    if former != patient.id:
        patient.was = former


def _links(ctx: Assembly, patient: Builder) -> None:
    """Each of the linked records names the others, or does no longer."""
    others = [
        other for other in ctx.made if other.type == "Patient" and other.make is not None and other is not patient
    ]
    for other in others:
        if ctx.event == LINK:
            patient.body.setdefault("link", []).append(_link(other, "seealso"))
        else:
            patient.clear.append(f"link[type=seealso;other={other.ref}]")
    if not others:
        ctx.issues.append(issue("no-target", Place("PID", 1), row="@patient_merge"))
    patient.own.append("link")
