"""What a message names by its number only, found among what is stored (`Reach`).

An order is cancelled, held and released by its ORC alone, and one number may stand for several services; an
administration is corrected under the number of its order, with another time than the one that it is known by.
- the number has to be the same kind of number (placer's, filler's) of the same patient; a token is only a promise, so
  each holder is read
- where both numbers are said, neither may contradict; holders of both go before holders of one
- orders: each is told what was said, with the clocks and ranks of any statement (`mappings/merge.py`)
- corrections: only where exactly one fits; its new key becomes a second name of it

Runs before the unit's entries. Source: hl7v2 chapter §6, §8, §9.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from adapter.store import owners
from adapter.store.names import Known
from adapter.store.unit import Convert, StoreIssue
from mappings.convert import Mapped, Reach
from mappings.fhir.codec import Json, decode
from mappings.merge import drugs

if TYPE_CHECKING:
    from adapter.store.writing import Commit

PLACER, FILLER = "PLAC", "FILL"  # table 0203
DRUG = "MedicationRequest"
ERROR = "entered-in-error"

Number = tuple[str, str]


def reach(commit: "Commit") -> None:
    """Find what the unit speaks of by number. Raises NeedKeys."""
    wanted = [effect for effect in commit.unit.effects if isinstance(effect, Reach)]
    if not wanted:
        return
    entries = [entry.mapped for entry in commit.unit.entries if isinstance(entry, Convert)]
    said = {f"{mapped.body['resourceType']}/{mapped.body['id']}": mapped for mapped in entries}
    for effect in wanted:
        if (mapped := said.get(effect.id)) is None:
            continue
        if effect.one:
            _corrected(commit, effect, mapped, said)
        else:
            _told(commit, effect, mapped)


def _told(commit: "Commit", effect: Reach, mapped: Mapped) -> None:
    """Each order that carries the number is told the same."""
    known = commit.names.target(effect.id)
    told = [(one, mapped) for one in _holders(commit, known.type, known, mapped.body)]
    if effect.drug and known.type != DRUG:
        drug = Mapped(decode(effect.drug.encode()), "update", (), (), (), mapped.at, mapped.source, None)
        told += [(one, drug) for one in _holders(commit, DRUG, known, mapped.body)]
    if not told:
        if not known.live:
            commit.issues.append(StoreIssue("order-unknown", known.type))
        return
    itself = [mapped] if known.live else []
    commit.reached[effect.id] = itself + [_addressed(one, each) for one, each in told]
    if not known.live:
        commit.renames[effect.id] = commit.links[effect.id] = told[0][0].reference


def _addressed(known: Known, mapped: Mapped) -> Mapped:
    """The statement as one about this order: whose it is and what it is meant as, it says already."""
    body = {name: value for name, value in mapped.body.items() if name not in ("intent", "_intent")}
    subject = {"subject": known.body["subject"]} if known.body and "subject" in known.body else {}
    return replace(mapped, body={**body, "resourceType": known.type, "id": known.id, **subject})


def _corrected(commit: "Commit", effect: Reach, mapped: Mapped, said: Mapping[str, Mapped]) -> None:
    """An event that is known by another time takes the correction, where it is the only one.

    What this unit speaks of itself is not meant, and nothing is corrected twice.
    """
    known = commit.names.target(effect.id)
    if known.live:
        return
    taken = {*said, *commit.renames.values()}
    found = [
        one
        for one in _holders(commit, known.type, known, mapped.body)
        if one.reference not in taken and (one.body or {}).get("status") != ERROR
        if drugs(one.body or {}) & drugs(mapped.body)
    ]
    if len(found) != 1:
        commit.issues.append(StoreIssue("correction-unmatched", known.type))
        return
    commit.alias(known, found[0], 0)
    commit.names.stand_for(effect.id, found[0])
    commit.renames[effect.id] = commit.links[effect.id] = found[0].reference


def _holders(commit: "Commit", kind: str, known: Known, body: Json) -> list[Known]:
    """Live resources of a type that carry a number of this body, of its patient."""
    mine = {code: _numbers(body, code) for code in (PLACER, FILLER)}
    found: dict[int, Known] = {}
    for code, numbers in mine.items():
        for system, value in sorted(numbers):
            for one in commit.names.holders(kind, system, value):
                if one is not known and (system, value) in _numbers(one.body or {}, code):
                    found[one.rid] = one
    agreeing = [one for one in _hers(commit, body, found.values()) if _agrees(mine, one.body or {}, bare=True)]
    return [one for one in agreeing if _agrees(mine, one.body or {}, bare=False)] or agreeing


def _agrees(mine: Mapping[str, set[Number]], body: Json, *, bare: bool) -> bool:
    """Whether no number of the two contradicts; `bare`: also where one says nothing of that kind."""
    held = {code: _numbers(body, code) for code in mine}
    return all(not mine[code] or mine[code] & held[code] or (bare and not held[code]) for code in mine)


def _hers(commit: "Commit", body: Json, found: Iterable[Known]) -> list[Known]:
    """Those of the body's patient; where it names none, all of them if they are one patient's."""
    held = [(owners.survivor(commit.hot, one.owner), one) for one in found]
    about = body.get("subject", {}).get("reference")
    if about is None:
        return [one for _, one in held] if len({owner for owner, _ in held}) == 1 else []
    owner = owners.survivor(commit.hot, commit.names.target(about).owner)
    return [one for of, one in held if of == owner]


def _numbers(body: Json, code: str) -> set[Number]:
    """The placer's or the filler's numbers of an order."""
    return {
        (each["system"], each["value"])
        for each in body.get("identifier", ())
        if "system" in each and "value" in each
        if any(coding.get("code") == code for coding in each.get("type", {}).get("coding", ()))
    }


def spread(body: Json, reached: Mapping[str, Sequence[Mapped]]) -> Json:
    """In lists, a reference to what stands for several becomes one to each of them."""
    changed = {
        name: [other for each in value for other in _each(each, reached)]
        for name, value in body.items()
        if isinstance(value, list)
        and any(isinstance(each, dict) and each.get("reference") in reached for each in value)
    }
    return body | changed if changed else body


def _each(value: Json, reached: Mapping[str, Sequence[Mapped]]) -> list[Json]:
    said = reached.get(value.get("reference", "")) if isinstance(value, dict) else None
    if said is None:
        return [value]
    names = [(one.body["resourceType"], one.body["id"]) for one in said]
    same = [each for each in names if value["reference"].startswith(f"{each[0]}/")]
    return [{**value, "reference": f"{kind}/{name}"} for kind, name in same or names]
