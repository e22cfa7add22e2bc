"""What a message does to resources that it does not carry: merges, ended lists, moved visits, taken-back steps.

- *merge*: the retired name becomes an alias of the survivor, and for patients the retired owner is read as the survivor
  from then on. Nothing is deleted; both patients' consents hold together. A reversal is decided by event time.
- `Close`: a snapshot lists all that its feed knows; what it no longer lists is ended.
- *rename*: a new name stands for what is known under the old one; nothing is retired.
- `Repoint`: what hangs on one resource hangs on another. A Provenance stays: it says what was stated then.
- `Undo`: one element goes back to what it was before its last change, once a message, and not if a later one set it.
- `Reach` is `reaching.py`'s: it decides what the unit's own resources are told of.

They run after the unit's own resources, in the same transaction. Source: hl7v2 chapter §6, §8, §10.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from adapter.seal import envelope
from adapter.seal.keyring import SHARED
from adapter.store import owners
from adapter.store.clocks import open_clock
from adapter.store.names import Known, renamed
from adapter.store.unit import EventParts, StoreIssue
from mappings.convert import Close, Effect, Reach, Repoint, Undo
from mappings.fhir.codec import Json, decode
from mappings.merge import close, event_time

if TYPE_CHECKING:
    from adapter.store.writing import Commit

MERGED = "subject.merged"
TESTIMONY = frozenset({"Provenance", "AuditEvent"})  # what was stated stays as it was stated


def apply(commit: "Commit", effect: Effect) -> None:
    """Carry out one effect."""
    match effect:
        case Close():
            _close(commit, effect)
        case Repoint():
            _repoint(commit, effect)
        case Undo():
            _undo(commit, effect)
        case Reach():
            pass  # done already: `reaching.py`


def make_way(commit: "Commit", reference: str, into: str, said: str) -> None:
    """Before `reference` goes into another: where that one went into this one earlier, it is taken back first."""
    names = commit.names
    retired, survivor = names.get(reference), names.get(into)
    if survivor is retired or not survivor.ver or names.target(into) is not retired:
        return
    if _said(commit, survivor) < event_time(said):
        _part(commit, survivor, into)


def merge(commit: "Commit", retired: Known, into: str, said: str) -> None:
    """Let `retired` stand for what is called `into`. Done again it changes nothing; chains flatten."""
    names, at = commit.names, event_time(said)
    survivor = names.target(into)
    if survivor is retired and names.get(into) is not retired:
        return  # the merge the other way round is newer
    if survivor.rid == retired.rid:
        commit.issues.append(StoreIssue("merge-with-self", retired.type))
        return
    if names.target(retired.reference) is survivor:
        return
    commit.alias(retired, survivor, at)
    commit.hot.run("UPDATE alias SET rid = ? WHERE rid = ?", (survivor.rid, retired.rid))
    names.stand_for(retired.reference, survivor)
    if retired.type == "Patient" and retired.owner != SHARED:
        _join(commit, retired.owner, survivor.owner)


def _said(commit: "Commit", known: Known) -> int:
    row = commit.hot.one("SELECT said FROM alias WHERE fid = ?", (known.fid,))
    return int(row[0]) if row else 0


def _part(commit: "Commit", known: Known, reference: str) -> None:
    """Take a merge back: the name stands for itself again, and the owner is read alone."""
    commit.hot.run("DELETE FROM alias WHERE fid = ?", (known.fid,))
    commit.names.stand_alone(reference)
    if known.type == "Patient":
        commit.hot.run('UPDATE owner SET "into" = NULL WHERE owner = ?', (known.owner,))


def _join(commit: "Commit", retired: int, survivor: int) -> None:
    """Both read as one: what either may see has changed, so both epochs rise, and each tag gets its event."""
    if retired == survivor:
        return
    owners.merge(commit.hot, retired, survivor)
    facts = {"subject": f"o-{retired}", "into": f"o-{survivor}"}
    for owner in (retired, survivor):
        epoch = commit.raise_epoch(owner)
        commit.extra.append((owner, EventParts(MERGED, {}, facts), None, epoch))


def _close(commit: "Commit", effect: Close) -> None:
    """End what this feed listed under the same scope and now no longer lists."""
    scope = commit.names.target(effect.scope)
    kept = {commit.names.target(f"{effect.type}/{name}").rid for name in effect.keep}
    sql = "SELECT rid FROM resource WHERE owner = ? AND type = ? AND NOT deleted AND ver > 0 ORDER BY rid"
    for (rid,) in commit.hot.all(sql, (scope.owner, effect.type)):
        known = commit.names.by_rid(rid)
        clock = open_clock(commit.keyring, commit.org.org, known)
        if rid in kept:
            commit.set_clock(known, replace(clock, scope=scope.rid))
        elif (clock.feed, clock.scope) == (commit.unit.who, scope.rid):
            body = commit.names.read(known)
            if body is not None:
                commit.put(known, close(body, commit.said), clock)


def rename(commit: "Commit", reference: str, was: str, said: str) -> None:
    """Let two names mean one resource: the number that it was known by has changed.

    What is known under the old name takes the new one; under neither, late data of the old name follows the new one;
    both are known: the old record is read as the new one, as in a merge.
    """
    names = commit.names
    new, old = names.get(reference), names.target(was)
    if names.target(reference) is old:
        return
    if not new.ver and names.target(reference) is new and old.live:
        names.read(old)
        commit.alias(new, old, event_time(said))
        names.stand_for(reference, old)
    else:
        commit.merges.append((names.get(was), reference, said))


def _repoint(commit: "Commit", effect: Repoint) -> None:
    """Move what refers to one resource to another."""
    old, new = commit.names.get(effect.old), commit.names.target(effect.new)
    inside = None if not effect.within else _hanging_on(commit, commit.names.target(effect.within), {old.rid, new.rid})
    for rid in _referring(commit, old):
        known = commit.names.by_rid(rid)
        meant = effect.type in ("", known.type) and (inside is None or rid in inside)
        if known is new or known.type in TESTIMONY or not meant:
            continue
        body = commit.names.read(known)
        if body is not None and (moved := renamed(body, {effect.old: new.reference}, {})) != body:
            commit.put(known, moved, open_clock(commit.keyring, commit.org.org, known))


def _referring(commit: "Commit", known: Known) -> list[int]:
    """The numbers of what may refer to a resource: by its edges, and of a patient all that she owns or shares."""
    found = {rid for (rid,) in commit.hot.all("SELECT src FROM edge WHERE dst = ?", (known.rid,))}
    if known.type == "Patient" and known.owner != SHARED:
        sql = """
            SELECT rid FROM resource WHERE NOT deleted AND ver > 0 AND type <> 'Patient'
            AND owner IN (SELECT ? UNION SELECT owner FROM owner_member WHERE patient = ?)
        """
        found |= {rid for (rid,) in commit.hot.all(sql, (known.owner, known.owner))}
    return sorted(found)


def _hanging_on(commit: "Commit", top: Known, beyond: set[int]) -> set[int]:
    """The numbers of a resource and of all that leads to it; nothing that leads there through `beyond`."""
    found, todo = {top.rid}, [top.rid]
    while todo:
        for (rid,) in commit.hot.all("SELECT DISTINCT src FROM edge WHERE dst = ?", (todo.pop(),)):
            if rid not in found | beyond and commit.names.by_rid(rid).type not in TESTIMONY:
                found.add(rid)
                todo.append(rid)
    return found


def _undo(commit: "Commit", effect: Undo) -> None:
    """Give an element back what it held before its last change."""
    known = commit.names.target(effect.id)
    body = commit.names.read(known) if known.live else None
    if body is None:
        return
    element, at = effect.path, event_time(commit.said)
    clock = open_clock(commit.keyring, commit.org.org, known)
    undone, changed = (event_time(clock.axes.get(f"{axis}:{element}", "")) for axis in ("undone", "own"))
    if at and (at <= undone or at < changed):
        return
    if commit.said:
        clock = replace(clock, axes={**clock.axes, f"undone:{element}": commit.said})
    for before in _history(commit, known):
        if before.get(element) != body.get(element):
            rest = {name: value for name, value in body.items() if name != element}
            back = rest | {element: before[element]} if element in before else rest
            commit.put(known, back, clock)
            return


def _history(commit: "Commit", known: Known) -> list[Json]:
    """Older versions, newest first."""
    sql = "SELECT ver, owner, body FROM version WHERE rid = ? AND ver < ? AND body IS NOT NULL ORDER BY ver DESC"
    return [
        decode(
            envelope.unseal(commit.keyring.owner(owner), envelope.Row(commit.org.org, known.type, known.fid, ver), body)
        )
        for ver, owner, body in commit.hot.all(sql, (known.rid, known.ver))
    ]
