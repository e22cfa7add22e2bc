"""Where a patient lies and who is in charge, as each event changes it.

- A02 A17 *transfer*, A10 *arriving*: a place joins the stay, the former one is completed. A17 swaps two patients: each
  stay has its own PV1, so it is two transfers.
- A09 *departing*: the place that PV1-6 or PV1-43 names is left, else the one she was in.
- A12 A32 *cancelled*: what PV1-6 names never was; without it, every place but the one of PV1-3; without both, the
  store takes back its last change (`Undo`). A33: she is where she was.
- A05 A14: places are planned. A26: nothing is reserved any more.
- A54 A61: another doctor attends or consults; A55 A62: the one before still does.

`merge.py` joins these with what is stored. Source: design chapter HL7 v2 §9; HL7 v2.9 chapter 3.3.
"""

from typing import Any

from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes import FUNCTIONS
from mappings.hl7v2.effects import Undo
from mappings.hl7v2.rules import Json

MOVED, ARRIVING, DEPARTING = frozenset({"A02", "A17"}), "A10", "A09"
NOT_MOVED, NOT_DEPARTED = frozenset({"A12", "A32"}), "A33"
EXPECTED, NOT_RESERVED = frozenset({"A05", "A14"}), "A26"
DOCTORS = {"A54": "ATND", "A61": "CON"}
SAME_DOCTORS = {"A55": "ATND", "A62": "CON"}
TEMPORARY, PRIOR, PRIOR_TEMPORARY = 11, 6, 43  # fields of PV1


def follow(ctx: Assembly, builder: Builder, event: str, moment: str | None) -> None:
    """What the event does to places and persons of the stay."""
    if event in MOVED:
        _move(builder, moment)
    elif event == ARRIVING:
        _arrive(ctx, builder, moment)
    elif event == DEPARTING:
        _depart(builder, moment)
    elif event in NOT_MOVED:
        _take_back(ctx, builder)
    elif event == NOT_DEPARTED:
        _still_there(ctx, builder)
    elif event in EXPECTED:
        _expect(builder)
    elif event == NOT_RESERVED:
        _reserve_nothing(builder)
    elif event in DOCTORS:
        builder.own.append("participant")
    elif event in SAME_DOCTORS:
        _same_doctor(ctx, builder, SAME_DOCTORS[event])


def leave(builder: Builder) -> None:
    """The stay is over: nobody lies anywhere."""
    for place in _places(builder, "active"):
        place["status"] = "completed"


def _places(builder: Builder, status: str) -> list[Json]:
    return [each for each in builder.body.get("location", ()) if each.get("status") == status]


def _set(place: Json, **period: str | None) -> None:
    """A bound of the time in a place, where the event tells one."""
    for name, value in period.items():
        if value is not None:
            place.setdefault("period", {})[name] = value


def _keep(builder: Builder, places: list[Json]) -> None:
    if places:
        builder.body["location"] = places
    else:
        builder.body.pop("location", None)


def _move(builder: Builder, moment: str | None) -> None:
    """A place joins the stay, the former one is completed; `merge` completes the one that is stored."""
    for place in _places(builder, "active"):
        _set(place, start=moment)
    for place in _places(builder, "completed"):
        _set(place, end=moment)
    builder.own.append("location")


def _arrive(ctx: Assembly, builder: Builder, moment: str | None) -> None:
    """Like a transfer; into a temporary place she goes without giving up her own."""
    temporary = _reference(ctx, builder, TEMPORARY)
    active = _places(builder, "active")
    arrived = [each for each in active if each["location"].get("reference") == temporary] if temporary else active
    for place in arrived:
        _set(place, start=moment)
    for place in _places(builder, "completed"):
        _set(place, end=moment)
    builder.own.append("location")


def _reference(ctx: Assembly, builder: Builder, number: int) -> str | None:
    """What a field of PV1 refers to, as the row made it."""
    raw = builder.segment.field(number).split(ctx.rep, 1)[0] if builder.segment is not None else ""
    found: Any = FUNCTIONS["PL[Reference(Location)]"].call(raw, ctx, None) if raw.strip(ctx.comp) else None
    return found.get("reference") if isinstance(found, dict) else None


def _depart(builder: Builder, moment: str | None) -> None:
    """She has left a place: the one that is named as former, else the one she is said to be in."""
    left = _places(builder, "completed") or _places(builder, "active")[-1:]
    for place in left:
        place["status"] = "completed"
        _set(place, end=moment)
    builder.own.append("location")


def _take_back(ctx: Assembly, builder: Builder) -> None:
    """PV1-6 names the place the patient never went to, PV1-3 where she still lies."""
    named, still = _places(builder, "completed"), _places(builder, "active")
    if named:
        builder.clear += [f"location[location={each['location'].get('reference', '')}]" for each in named]
    elif still:
        others = "".join(f";location!={each['location'].get('reference', '')}" for each in still)
        builder.clear.append(f"location[status=active{others}]")
    else:
        ctx.effects.append(Undo(builder.ref, "location"))
        return
    _keep(builder, [each for each in builder.body.get("location", ()) if each not in named])
    builder.own.append("location")


def _still_there(ctx: Assembly, builder: Builder) -> None:
    """She did not leave: the place is open again."""
    if not _places(builder, "active"):
        ctx.effects.append(Undo(builder.ref, "location"))
    else:
        builder.own.append("location")


def _expect(builder: Builder) -> None:
    for place in _places(builder, "active"):
        place["status"] = "planned"


def _reserve_nothing(builder: Builder) -> None:
    builder.clear.append("location[status=reserved]")
    _keep(builder, [each for each in builder.body.get("location", ()) if each.get("status") != "reserved"])
    builder.own.append("location")


def _same_doctor(ctx: Assembly, builder: Builder, role: str) -> None:
    """Whoever took the role over never had it; PV1 names who has it still."""
    still = [each["individual"].get("reference", "") for each in builder.body.get("participant", ()) if _is(each, role)]
    if not still:
        ctx.effects.append(Undo(builder.ref, "participant"))
        return
    others = "".join(f";individual!={reference}" for reference in still)
    builder.clear.append(f"participant[type={role};period.end={others}]")
    builder.own.append("participant")


def _is(participant: Json, role: str) -> bool:
    codes = [coding.get("code") for kind in participant.get("type", ()) for coding in kind.get("coding", ())]
    return role in codes and "individual" in participant
