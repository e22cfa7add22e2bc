"""Replay over the live log: every permit is decided again, on what the log and the vault say was known then.

`ledger/replay.py` asks whether the basis of a permit stood. Here the organisation's keys open who asked, for what, and
every consent that was ever logged, so the decision itself is made a second time:
1. the permit's detail gives its commitments; its basis precedes it, had not ended, is about this patient (ledger)
2. it was not logged long after it was decided (its id bears that time)
3. the consents of the patient that stood at its index, and the house rules adopted by then, permit this actor's
   organisation, roles and purposes, and on this very basis
4. so do those of every patient who was merged with her by then; what either gave after the merge speaks for both

A deny holds from its entry on; it is lifted for a permit as soon as the change that lifts it was written, even where
its entry follows: the gate reads the store. A grant counts from its entry on.

What cannot be opened is `unopened`: details of erased patients, foreign shards. Source: ledger chapter §13; access
chapter §7, §9; issue item 8.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo

from sqlalchemy import Connection

from adapter.access import consent, policy
from adapter.access.identity import Organisation
from adapter.access.openings import Opened, Opener
from adapter.seal.keyring import SHARED, Keyring
from adapter.store.engine import DataStore, Hot
from ledger.commitment import SubjectKey, field_salt, opens, subject_tag
from ledger.consent import EVENTS, GRANTING
from ledger.event import encode, id_bytes
from ledger.replay import Finding, Replay, Verdict
from ledger.store.base import LogStore

BLOCK = 1_024  # entries opened at a time
DELAY = timedelta(minutes=5)  # between a decision and its entry
MONTH = 7  # of "2026-03-04T…"
MERGED, ERASURE = "subject.merged", "erasure.performed"


@dataclass(frozen=True, slots=True)
class Source:
    """What is replayed, and with what."""

    log: LogStore
    store: DataStore
    keyring: Keyring
    opener: Opener
    origin: str
    own: Organisation
    zone: tzinfo


@dataclass(slots=True)
class Replayed:
    """One finding a permit, in order; `faults` are entries whose sealed detail is not what was committed."""

    shard: str
    entries: int = 0
    findings: list[Finding] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)  # consent entries that follow the end of their consent
    erasure: int = -1  # index of the last one: what is unopened before it may have been hers

    def count(self, verdict: Verdict) -> int:
        return sum(finding.verdict is verdict for finding in self.findings)

    @property
    def lost(self) -> int:
        """Permits that should open and do not."""
        unopened = (finding for finding in self.findings if finding.verdict is Verdict.UNOPENED)
        return sum(finding.index > self.erasure for finding in unopened)


@dataclass(frozen=True, slots=True)
class _Step:
    """One entry of a consent's history."""

    index: int
    written: datetime
    owner: int
    rule: consent.Rule | None  # None: not in force


async def replay(source: Source) -> Replayed:
    """Replay the whole log, as long as it is now."""
    return await _Replay(source).run()


class _Replay:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._shard = source.origin.rpartition("/")[2]
        self._fold = Replay(self._shard)
        self._policies = policy.Folding()
        self._consents: dict[str, list[_Step]] = {}  # by reference, in log order
        self._of_owner: dict[int, set[str]] = {}
        self._merges: list[tuple[int, frozenset[int]]] = []  # index, the two who are one from there on
        self._groups: dict[int, frozenset[int]] = {}
        self._keys: dict[int, SubjectKey] = {}
        self._tags: dict[str, dict[str, int]] = {}  # month, tag → owner
        self.done = Replayed(self._shard)

    async def run(self) -> Replayed:
        size = (await self._source.log.head()).size
        await self._load_merged()
        async for opened in self._read(size):
            self._learn(opened)
        async for opened in self._read(size):
            self._take(opened)
        self.done.entries = size
        self.done.refused = self._fold.refused
        return self.done

    async def _read(self, size: int) -> AsyncIterator[Opened]:
        for start in range(0, size, BLOCK):
            entries = await self._source.log.entries(start, min(start + BLOCK, size))
            for opened in await self._source.opener.open(entries):
                yield opened

    async def _load_merged(self) -> None:
        """The keys of everyone who is one with another, as far as the store knows."""
        groups = await self._source.store.read(_groups)
        for group in groups:
            self._groups |= dict.fromkeys(group, group)
        owners = sorted(self._groups)
        for start in range(0, len(owners), BLOCK):
            some, keyring = owners[start : start + BLOCK], self._source.keyring
            await keyring.load(some)
            self._keys |= {owner: SubjectKey(owner, keyring.owner(owner).commitment) for owner in some}

    def _learn(self, opened: Opened) -> None:
        """The first pass: histories of consents, merges, erasures."""
        if opened.type in EVENTS and opened.owner is not None and "reference" in opened.detail:
            rule = opened.rule if opened.type in GRANTING else None
            reference = str(opened.detail["reference"])
            step = _Step(opened.index, _written(opened), opened.owner, rule)
            self._consents.setdefault(reference, []).append(step)
            self._of_owner.setdefault(opened.owner, set()).add(reference)
        elif opened.type == MERGED and (found := self._merged(opened)):
            self._merges.append((opened.index, found))
        elif opened.type == ERASURE:
            self.done.erasure = opened.index

    def _merged(self, opened: Opened) -> frozenset[int]:
        """Whom a merge made one. It has no detail: its tag tells under whose key it stands, her group whom to try."""
        month = opened.entry["t"][:MONTH]
        if month not in self._tags:
            origin = self._source.origin
            self._tags[month] = {subject_tag(key, origin, month): owner for owner, key in self._keys.items()}
        owner = self._tags[month].get(opened.entry.get("tag", ""))
        if owner is None:
            return frozenset()
        raw, key, committed = id_bytes(opened.entry["id"]), self._keys[owner], opened.entry.get("c", {})
        for other in self._groups[owner] - {owner}:
            for retired, survivor in ((owner, other), (other, owner)):
                said = {"subject": f"o-{retired}", "into": f"o-{survivor}"}
                if all(
                    opens(committed.get(name, ""), field_salt(key, raw, name), name, value.encode())
                    for name, value in said.items()
                ):
                    return frozenset((owner, other))
        return frozenset()

    def _take(self, opened: Opened) -> None:
        """The second pass: the fold of the ledger, then the decision again."""
        ref = f"{self._shard}:{opened.index}"
        if opened.broken:
            self.done.faults.append(f"{ref}: its sealed detail is not what was committed ({', '.join(opened.broken)})")
        if opened.type.startswith("policy."):
            self._policies.take([(ref, encode(opened.entry))])
        finding = self._fold.take(opened.index, opened.entry, _known(opened))
        if finding is not None:
            if finding.verdict is Verdict.JUSTIFIED and (why := self._decide(opened)):
                finding = replace(finding, verdict=Verdict.UNJUSTIFIED, why=why)
            self.done.findings.append(finding)

    def _decide(self, permit: Opened) -> str:
        """Steps 2 to 4: "" where the decision stands, else why it does not."""
        asked, logged = _written(permit), _logged(permit)
        if not -DELAY <= logged - asked <= DELAY:
            return "it was not logged when it was decided"
        asker, asking = self._asking(permit, asked)
        basis, owner = permit.values["basis"], permit.owner
        if owner in (None, SHARED):
            verdict = policy.default(self._policies.adopted, asker, shared=True)
            return "" if verdict.permit and verdict.basis == basis else "no house rule permits it"
        default = policy.default(self._policies.adopted, asker, shared=False)
        house = default if default.basis == basis else policy.DENY
        group = self._as_one(owner or SHARED, permit.index)
        reason = ""
        for joined in (True, False):  # patients who only share a resource stay several: each with her own consents
            held = self._held(group, permit.index, logged, joined=joined)
            named = [replace(one, ref=one.ref if one.ref == basis else None) for one in held[owner or SHARED]]
            others = (consent.decide(held[one], asking, default).permit for one in group if one != owner)
            if not consent.decide(named, asking, house).permit:
                reason = reason or "what it rests on does not permit it, or another consent denies it"
            elif not all(others):
                reason = reason or "a patient who is one with this one does not permit it"
            else:
                return ""
        return reason

    def _asking(self, permit: Opened, asked: datetime) -> tuple[policy.Asker, consent.Asking]:
        detail = permit.detail
        organisation = Organisation(detail["organisation"]["system"], detail["organisation"]["value"])
        purposes = tuple(detail["purposes"])
        own = bool(detail.get("own", organisation == self._source.own))
        return (
            policy.Asker(own, frozenset(detail["roles"]), purposes),
            consent.Asking(organisation, purposes, asked),
        )

    def _as_one(self, owner: int, index: int) -> set[int]:
        """Everyone who was one with this patient before that entry."""
        group = {owner}
        before = [pair for at, pair in self._merges if at < index]
        while grown := {one for pair in before if pair & group for one in pair} - group:
            group |= grown
        return group

    def _held(
        self, group: Iterable[int], index: int, logged: datetime, *, joined: bool
    ) -> dict[int, list[consent.Held]]:
        """Each one's consents as they stood before entry `index`; joined: and what the others gave after the merge."""
        every = [step for owner in group for step in self._standing(owner, index, logged)]
        merged = max((at for at, pair in self._merges if at < index and pair <= set(group)), default=index)
        return {
            owner: [
                consent.Held(step.rule, f"{self._shard}:{step.index}", step.owner)
                for step in every
                if step.rule is not None and (step.owner == owner or (joined and step.index > merged))
            ]
            for owner in group
        }

    def _standing(self, owner: int, index: int, logged: datetime) -> Iterable[_Step]:
        for reference in self._of_owner.get(owner, ()):
            for step, after in _with_next(self._consents[reference]):
                stands = step.index < index and (after is None or after.index >= index)
                if not stands or step.owner != owner or step.rule is None:
                    continue
                lifted = not step.rule.permit and after is not None and after.written <= logged
                if not lifted:
                    yield step


def _known(opened: Opened) -> Mapping[str, str]:
    """What the fold may know. The detail names the consent itself, which says more than a handle does."""
    if opened.type in EVENTS and "reference" in opened.detail:
        return {**opened.values, "handle": str(opened.detail["reference"])}
    return opened.values


def _with_next(steps: Sequence[_Step]) -> Iterable[tuple[_Step, _Step | None]]:
    return zip(steps, [*steps[1:], None], strict=True)


def _written(opened: Opened) -> datetime:
    """When the event was made: the milliseconds of its UUIDv7."""
    return datetime.fromtimestamp(int.from_bytes(id_bytes(opened.entry["id"])[:6], "big") / 1000, UTC)


def _logged(opened: Opened) -> datetime:
    return datetime.fromisoformat(opened.entry["t"])


def _groups(conn: Connection) -> list[frozenset[int]]:
    """Patients who are read as one; chains are flattened in the store. Erased ones have no key to look with."""
    sql = """
        SELECT o.owner, o."into" FROM owner o JOIN owner s ON s.owner = o."into"
        WHERE o.erased_at IS NULL AND s.erased_at IS NULL
    """
    groups: dict[int, set[int]] = {}
    for owner, into in Hot(conn).all(sql):
        groups.setdefault(into, {into}).add(owner)
    return [frozenset(group) for group in groups.values()]
