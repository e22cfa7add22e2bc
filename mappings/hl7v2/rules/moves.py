"""Accounts and visits that are merged, moved or given another number: what MRG-3, -5 and -6 say.

- A35 A41 (and A36 beside its patients) *merge accounts*: the retired one is inactive, `partOf` the survivor and an
  alias of it; the visits that hang on it hang on the survivor.
- A42 *merge visits*: the survivor gains the retired numbers, the retired Encounter is entered-in-error and an alias.
- A43 A44 A45 *move* a patient's number, an account, a visit from the patient of MRG to the one of PID: what hangs on it
  goes along (`Repoint`), the rest stays where it was.
- A49 A50 A51, and A06 A07 where MRG-3 or MRG-5 is valued, *rename*: the old number stays, ended; where it was the
  identity, `was` lets both ids mean the same thing. Nothing is entered-in-error.

Source: design chapter HL7 v2 §10; the guide's MRG[Account] gives the account's number, its status `unknown` is not
taken: the event says that the account is closed.
"""

from collections.abc import Iterable

from mappings.fhir.values import absent
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.effects import Repoint
from mappings.hl7v2.keys import choose_identity, identifier
from mappings.hl7v2.message import Segment
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import Json
from mappings.hl7v2.rules.encounters import moment
from mappings.hl7v2.structure import Group
from mappings.issues import issue

ACCOUNT_MERGES = frozenset({"A35", "A36", "A41"})
VISIT_MERGE, MOVE_NUMBER, MOVE_ACCOUNT, MOVE_VISIT = "A42", "A43", "A44", "A45"
CLASS_CHANGES = frozenset({"A06", "A07"})
ACCOUNT, VISIT, OTHER_VISIT = 3, 5, 6  # fields of MRG


def move(ctx: Assembly, patient: Builder, segment: Segment, group: Group) -> bool:
    """What one MRG does to accounts and visits; whether the event is one that does."""
    ctx.seg, ctx.group = segment, group
    event = ctx.event
    if event in ACCOUNT_MERGES:
        if event != "A36" or segment.field(ACCOUNT):
            _merge_accounts(ctx, patient, segment)
    elif event == VISIT_MERGE:
        _merge_visits(ctx, patient, segment)
    elif event == MOVE_NUMBER:
        _move_number(ctx, patient, segment)
    elif event == MOVE_ACCOUNT:
        _move_account(ctx, patient, segment)
    elif event == MOVE_VISIT:
        _move_visit(ctx, patient, segment)
    elif event in ("A49", "A50", "A51") or event in CLASS_CHANGES:
        _prior_patient(ctx, patient, segment)
        _rename(ctx, segment)
    else:
        return False
    return True


# numbers --------------------------------------------------------------------------------------------------------------


def prior_numbers(ctx: Assembly, builder: Builder, segment: Segment, name: str) -> list[Json]:
    """The numbers that a map of MRG reads, for a resource that has others now; a null in MRG deletes nothing."""
    cleared, held = len(builder.clear), len(builder.body.get("identifier", ()))
    names = list(builder.body.get("name", ()))
    ctx.run(ctx.profile.maps.rows[name], builder, segment)
    del builder.clear[cleared:]
    found: list[Json] = builder.body.get("identifier", [])[held:]
    if found:
        del builder.body["identifier"][held:]
        if not held:
            del builder.body["identifier"]
    if len(builder.body.get("name", ())) > len(names):
        builder.body["name"] = [*names, *(_old_name(each) for each in builder.body["name"][len(names) :])]
    return found


def held_by(number: Json, condition: str = "") -> str:
    """The path of a stored identifier, for `clear`; "" for one that the path's own signs would cut."""
    value, system = number.get("value", ""), number.get("system", "")
    return "" if ";" in value + system else f"identifier[{condition}value={value};system={system}]"


def _old_name(name: Json) -> Json:
    return {**name, "use": "old"}


def keep_numbers(builder: Builder, numbers: Iterable[Json], ended: str | None = None) -> None:
    """Former numbers stay findable, marked old; those that hold now are so even if they were former ones before."""
    current = [each for each in builder.body.get("identifier", ()) if each.get("use") != "old"]
    builder.clear += [path for each in current if (path := held_by(each, "use=old;"))]
    known = {(each.get("system"), each.get("value")) for each in builder.body.get("identifier", ())}
    for number in numbers:
        if (number.get("system"), number.get("value")) not in known:
            period = number.get("period", {}) | ({"end": ended} if ended else {})
            old = {**number, "use": "old"} | ({"period": period} if period else {})
            builder.body.setdefault("identifier", []).append(old)


# who and what is meant ------------------------------------------------------------------------------------------------


def _prior_patient(ctx: Assembly, patient: Builder, segment: Segment) -> Builder | None:
    """The patient of MRG-1 where it is another: made where no one knows her, else left as she is."""
    key = choose_identity(segment.reps(1), ctx)
    if key is None or (id_ := ctx.identities.make("Patient", key)) == patient.id:
        return None
    if (known := ctx.by_ref.get(f"Patient/{id_}")) is not None:
        return known
    found = Builder.made("Patient", id_, "stub", segment, patient.group)
    ctx.made.append(found)
    ctx.by_ref[found.ref] = found
    ctx.run(ctx.profile.maps.rows["MRG.Patient"], found, segment)
    return found


def _visit_of(ctx: Assembly, segment: Segment) -> Builder | None:
    """The stay of the PV1 that follows this MRG, before the next one; several pairs may stand in a message."""
    later = [other.ordinal for other in ctx.message.segments if other.name in ("MRG", "PID")]
    end = min((ordinal for ordinal in later if ordinal > segment.ordinal), default=len(ctx.message.segments))
    for builder in ctx.made:
        if builder.type == "Encounter" and builder.segment is not None:
            if segment.ordinal < builder.segment.ordinal < end:
                return builder
    return None


def _retire(ctx: Assembly, survivor: Builder | None, segment: Segment, number: int, name: str) -> Builder | None:
    """The resource of a number of MRG, on its way into the survivor; None with an issue where one of them is missing,
    or both are one."""
    key = identifier(segment.field(number), ctx)
    if survivor is None or key is None:
        ctx.issues.append(issue("no-target", Place("MRG", segment.nth, number), row="@patient_merge"))
        return None
    id_ = ctx.identities.make(survivor.type, key)
    if id_ == survivor.id:
        ctx.issues.append(issue("merge-with-self", Place("MRG", segment.nth, number)))
        return None
    retired = ctx.by_ref.get(f"{survivor.type}/{id_}")
    if retired is None:
        retired = Builder.made(survivor.type, id_, "update", segment, survivor.group)
        ctx.made.append(retired)
        ctx.by_ref[retired.ref] = retired
    ctx.run(ctx.profile.maps.rows[name], retired, segment)
    retired.into = survivor.id
    keep_numbers(survivor, retired.body.get("identifier", ()))
    ctx.effects.append(Repoint("", retired.ref, survivor.ref))
    return retired


# merges ---------------------------------------------------------------------------------------------------------------


def _merge_accounts(ctx: Assembly, patient: Builder, segment: Segment) -> None:
    survivor = ctx.made_near("Account")
    if ctx.event != "A36":
        _prior_patient(ctx, patient, segment)
    retired = _retire(ctx, survivor, segment, ACCOUNT, "MRG.Account")
    if retired is not None and survivor is not None:
        subject = {"reference": patient.ref}
        retired.body |= {"status": "inactive", "subject": [subject], "partOf": {"reference": survivor.ref}}
        retired.own += ["status", "partOf"]


def _merge_visits(ctx: Assembly, patient: Builder, segment: Segment) -> None:
    _prior_patient(ctx, patient, segment)
    retired = _retire(ctx, _visit_of(ctx, segment), segment, VISIT, "MRG.Encounter")
    if retired is not None:
        retired.body |= {"status": "entered-in-error", "class": absent("unknown")}
        retired.body["subject"] = {"reference": patient.ref}
        retired.filled.append("class")
        retired.own.append("status")


# moves ----------------------------------------------------------------------------------------------------------------


def _move_number(ctx: Assembly, patient: Builder, segment: Segment) -> None:
    """A43: the number, and what was recorded under it, belongs to the patient of PID; who had it has it no more."""
    former = _prior_patient(ctx, patient, segment)
    if former is None:
        ctx.issues.append(issue("merge-with-self", Place("MRG", segment.nth, 1)))
        return
    former.mode = "update"
    numbers = former.body.pop("identifier", [])
    former.clear += [path for each in numbers if (path := held_by(each))]
    former.own.append("identifier")
    known = {(each.get("system"), each.get("value")) for each in patient.body.get("identifier", ())}
    moved = [each for each in numbers if (each.get("system"), each["value"]) not in known]
    if moved:
        patient.body.setdefault("identifier", []).extend(moved)
    patient.own.append("identifier")
    ctx.effects.append(Repoint("", former.ref, patient.ref))


def _move_account(ctx: Assembly, patient: Builder, segment: Segment) -> None:
    """A44: the account with its visits."""
    account = ctx.made_near("Account") or _account_of(ctx, patient, segment)
    _take_along(ctx, patient, segment, account, ACCOUNT)


def _account_of(ctx: Assembly, patient: Builder, segment: Segment) -> Builder | None:
    """The account that only MRG-3 names."""
    key = identifier(segment.field(ACCOUNT), ctx)
    if key is None:
        return None
    found = Builder.made("Account", ctx.identities.make("Account", key), "update", segment, patient.group)
    ctx.made.append(found)
    ctx.by_ref[found.ref] = found
    ctx.run(ctx.profile.maps.rows["MRG.Account"], found, segment)
    found.body |= {"status": "active", "subject": [{"reference": patient.ref}]}
    found.filled.append("status")
    return found


def _move_visit(ctx: Assembly, patient: Builder, segment: Segment) -> None:
    """A45: the visit with what was found in it; its account is the one of PID-18 now."""
    _take_along(ctx, patient, segment, _visit_of(ctx, segment), VISIT)


def _take_along(ctx: Assembly, patient: Builder, segment: Segment, moved: Builder | None, number: int) -> None:
    former = _prior_patient(ctx, patient, segment)
    if moved is None:
        ctx.issues.append(issue("no-target", Place("MRG", segment.nth, number), row="@patient_merge"))
        return
    _was(ctx, moved, identifier(segment.field(number), ctx), segment)
    moved.own += ["subject"] if moved.type == "Account" else ["subject", "account"]
    if former is not None:
        ctx.effects.append(Repoint("", former.ref, patient.ref, within=moved.ref))


# renames --------------------------------------------------------------------------------------------------------------


def _rename(ctx: Assembly, segment: Segment) -> None:
    """A49: the account's number; A50: the visit's; A51: its other one; A06 and A07 may do the first two."""
    account, visit = ctx.made_near("Account"), _visit_of(ctx, segment) or ctx.made_near("Encounter")
    if ctx.event == "A49" or (ctx.event in CLASS_CHANGES and segment.field(ACCOUNT)):
        _renamed(ctx, account, segment, ACCOUNT)
        if visit is not None and visit.key[:1] == ("account",):  # the profile knows stays by their account
            number = identifier(segment.field(ACCOUNT), ctx)
            _was(ctx, visit, ("account", *number) if number is not None else None, segment)
    if ctx.event == "A50" or (ctx.event in CLASS_CHANGES and segment.field(VISIT)):
        _renamed(ctx, visit, segment, VISIT)
    if ctx.event == "A51":
        _renamed(ctx, visit, segment, OTHER_VISIT)


def _renamed(ctx: Assembly, builder: Builder | None, segment: Segment, number: int) -> None:
    if builder is None or builder.segment is None:
        ctx.issues.append(issue("no-target", Place("MRG", segment.nth, number), row="@patient_merge"))
        return
    field = {ACCOUNT: 18, VISIT: 19, OTHER_VISIT: 50}[number]  # of PID or PV1: where the new number stands
    if builder.key == identifier(builder.segment.field(field), ctx):
        _was(ctx, builder, identifier(segment.field(number), ctx), segment)
    elif number != ACCOUNT:
        _keep(ctx, builder, segment)


def _was(ctx: Assembly, builder: Builder, key: tuple[str, ...] | None, segment: Segment) -> None:
    """The id that its former number gave it."""
    _keep(ctx, builder, segment)
    if key is not None and (former := ctx.identities.make(builder.type, key)) != builder.id:
        builder.was = former


def _keep(ctx: Assembly, builder: Builder, segment: Segment) -> None:
    prior = prior_numbers(ctx, builder, segment, f"MRG.{builder.type}")
    keep_numbers(builder, prior, ended=moment(ctx))
