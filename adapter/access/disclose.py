"""The gate: no byte of a resource leaves but through here, and not before its event is durable in the log.

READ THIS FIRST in `adapter/access/`. A caller brings what is asked (`Ask`) and a finder, a plain function of the
store's connection that gives candidates; it gets `Released`, or an error that tells nothing. `Released` is made
nowhere else.

The steps (access chapter §6):
 1. Scope: type and letter. No: 403, the same for every id.
 2. Owners: each resource's owner is resolved to its patients, with their epochs. Erased: as if absent.
 3. Residual: each patient's consents, opened and compiled, kept until her epoch moves; decided for this asking.
 4. Open the body; apply the search and granular scopes to the plaintext.
 5. Consent decides each resource: every patient behind it must permit, each with a basis. Of patients that were merged
    each keeps her own consents; one given after the merge speaks for all of them.
 6. Labels: mask or drop. No rule set is shipped yet, so there is nothing to do; the step keeps its place.
 7. Includes and chain targets: steps 1 to 6 for each. The search offers neither yet.
 8. The caller's `arrange` sorts, totals and pages what is left.
 9. Record: one event for each patient, requiring her basis and epoch, appended as one batch; wait until durable.
    Where a basis ended in between, decide again from step 2; after the third time 503. The log cannot append: 503, no
    byte.
10. Release, with the references of the events.

Steps 2 to 8 are one unit of work, in one snapshot of the store: what is decided and what is shown belong together.

Hidden is absent: both append one event, and both leave at the first multiple of 20 ms after receipt that follows it.
A search that releases nobody appends one `access.search` with outcome deny; whom it withheld is told by the minute's
timer.

What callers still owe: a verified actor (`identity.py`), `admit` before any look-up, and the headers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any

import msgspec
from sqlalchemy import Connection

from adapter.access import audit, consent, policy
from adapter.access.audit import Kind, Share
from adapter.access.identity import Actor
from adapter.access.refusals import Book
from adapter.access.scopes import Judgement, Letter
from adapter.access.together import Together
from adapter.errors import ChartbridgeError, Forbidden, NotFound, Unavailable
from adapter.seal.keyring import SHARED, Keyring, NeedKeys, OwnerKeys
from adapter.store import families, outbox, owners, resources
from adapter.store.engine import DataStore
from adapter.store.owners import OwnerFacts
from adapter.store.resources import Sealed
from ledger.commitment import SubjectKey
from ledger.errors import BasisEnded, LedgerError
from ledger.event import Event, Requires, RequiresEpoch, RequiresRef, timestamp
from ledger.log import Ledger
from ledger.sequence import Receipt
from mappings.fhir.codec import decode

Json = dict[str, Any]
Matches = Callable[[Json], bool]

STEP_S = 0.020  # refused and empty answers leave at multiples of this (access chapter §6)
TRIES = 3
# what she permits and forbids to others is no part of what she permits to one of them: a restriction must not show
PRIVATE = frozenset({"Consent"})
RESIDUALS = 16_384  # patients whose compiled consents are kept, as many as the keyring keeps keys


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked, by whom, and when. `thing` names it for the counting of refusals; `received` is monotonic."""

    actor: Actor
    kind: Kind
    interaction: str
    type: str
    letter: Letter
    thing: str
    query: str
    request_id: str
    now: datetime
    received: float


@dataclass(frozen=True, slots=True)
class Found:
    """Candidates of one snapshot, the search's own judge of them, and the transaction that a next page is cut at."""

    sealed: Sequence[Sealed]
    matches: Matches | None = None
    txn: int = 0


Finder = Callable[[Connection], Found]


@dataclass(frozen=True, slots=True)
class Disclosed:
    """One resource version that may leave. A delete marker has no body."""

    type: str
    id: str
    version: int
    at: int  # meta.lastUpdated, in milliseconds
    op: str
    rid: int
    owner: int
    body: bytes = field(repr=False)
    resource: Json | None = field(default=None, repr=False)  # decoded, where something had to look into it


@dataclass(frozen=True, slots=True)
class Arranged:
    """What stays on this page, of how many in all, and whether a next page follows."""

    items: Sequence[Disclosed]
    total: int | None = None
    more: bool = False


Arrange = Callable[[list[Disclosed]], Arranged]


@dataclass(frozen=True, slots=True)
class Released:
    """What may leave, and the references of the events that say so. Only this module makes one."""

    items: Sequence[Disclosed]
    total: int | None
    more: bool
    refs: tuple[str, ...]
    txn: int = 0


@dataclass(frozen=True, slots=True)
class _Permit:
    """A patient's permit of this asking, or the house's for what belongs to nobody (owner 0)."""

    owner: int
    subject: int  # whom the basis is about: the survivor, where a consent was given after a merge
    basis: str
    requires: tuple[Requires, ...]


@dataclass(frozen=True, slots=True)
class _Gathered:
    arranged: Arranged
    permits: Mapping[int, tuple[_Permit, ...]]  # by the resource's owner
    total_owners: tuple[int, ...]  # owners of everything that the total counts
    withheld: tuple[int, ...]  # patients who were found and not released
    txn: int


class Gate:
    """One organisation's gate. All its methods are for one event loop."""

    def __init__(
        self,
        *,
        zone: tzinfo,
        store: DataStore,
        ledger: Ledger,
        keyring: Keyring,
        house: "House",
        entropy: audit.Entropy,
    ) -> None:
        self._zone = zone
        self._store, self._ledger, self._keyring, self._house = store, ledger, keyring, house
        self._together = Together(store.read)
        self._keys = keyring.organisation()
        self._org = self._keys.org
        self._entropy = entropy
        self._residuals: dict[int, tuple[int, tuple[consent.Held, ...]]] = {}
        self._subjects: dict[int, tuple[OwnerKeys, SubjectKey]] = {}
        self.refusals = Book()

    def admit(self, actor: Actor) -> None:
        """Before anything is looked up: a client that was refused too often waits. Raises Throttled."""
        self.refusals.admit(actor.client_id, asyncio.get_running_loop().time())

    async def disclose(self, ask: Ask, find: Finder, *, arrange: Arrange | None = None) -> Released:
        """Steps 1 to 10. Raises Forbidden (step 1), NotFound (hidden or absent), Unavailable (step 9)."""
        judgement = ask.actor.scopes.judge(ask.type, ask.letter)
        if not judgement.permitted:  # 1
            await self.refuse_scope(ask)
        short = ask.kind == "access.read" and arrange is None  # a read of one version; a record of hundreds is none
        read = self._together.read if short else self._store.read
        for _ in range(TRIES):
            gathered = await self._keyring.retrying(
                read, lambda conn: self._gather(conn, ask, judgement, find, arrange)
            )
            if not gathered.arranged.items and not gathered.total_owners:
                return await self._nothing(ask, gathered)
            try:
                receipts = await self._append(self._events(ask, gathered))  # 9
            except BasisEnded as ended:
                await self._forget(gathered, ended.refs)
                continue
            if ask.kind == "access.search":
                self.refusals.note_search(ask, gathered.withheld)
            arranged = gathered.arranged
            return Released(arranged.items, arranged.total, arranged.more, references(receipts), gathered.txn)  # 10
        raise Unavailable("what this access rests on keeps changing; try again", code="basis-ended")

    async def _forget(self, gathered: _Gathered, refs: Sequence[str]) -> None:
        """What was decided on has changed: read it again, the policies too where one of them has ended."""
        for permit in (permit for permits in gathered.permits.values() for permit in permits):
            self._residuals.pop(permit.owner, None)
        if any(adopted.ref in refs for adopted in self._house.policies.values()):
            await self._house.refresh()

    def _narrowed(self, ask: Ask, kind: str, judgement: Judgement, matches: Matches | None) -> Matches | None:
        """The predicate on plaintext: the search's own, and one of the granular scopes where there are only such."""
        if not judgement.permitted:
            return _nothing_fits
        if not judgement.queries:
            return matches
        allowed = self._house.scope_matchers(kind, judgement.queries, ask.now)
        return lambda resource: (matches is None or matches(resource)) and any(one(resource) for one in allowed)

    def _gather(
        self, conn: Connection, ask: Ask, judgement: Judgement, find: Finder, arrange: Arrange | None
    ) -> _Gathered:
        """Steps 2 to 8, in the reader's thread. Raises NeedKeys, and is run again with them."""
        found = find(conn)
        within = {ask.type: self._narrowed(ask, ask.type, judgement, found.matches)}
        for kind in {sealed.type for sealed in found.sealed} - within.keys():  # a record holds many types
            within[kind] = self._narrowed(ask, kind, ask.actor.scopes.judge(kind, ask.letter), found.matches)
        behind_of = {sealed.owner for sealed in found.sealed}
        facts = {owner: owners.patients(conn, self._org, owner) for owner in behind_of}  # 2
        self._need_keys(facts)
        permits = {owner: self._permits(conn, ask, owner, behind) for owner, behind in facts.items()}  # 3
        shown: list[Disclosed] = []
        withheld: dict[int, None] = {}
        for sealed in found.sealed:
            behind = facts[sealed.owner]
            if any(one.erased for one in behind):
                continue
            opened = self._open(sealed, ask, within[sealed.type])  # 4
            if opened is None:
                continue
            if permits[sealed.owner] and (ask.actor.own or sealed.type not in PRIVATE):  # 5
                shown.append(opened)  # 6, 7: see above
            else:
                withheld.update((one.owner, None) for one in behind[:1])
        arranged = arrange(shown) if arrange else Arranged(shown)  # 8
        counted = shown if arranged.total is not None else arranged.items
        total_owners = tuple({item.owner: None for item in counted})
        return _Gathered(arranged, permits, total_owners, tuple(withheld), found.txn)

    def _need_keys(self, facts: Mapping[int, Sequence[OwnerFacts]]) -> None:
        wanted = {SHARED, *facts, *(one.owner for behind in facts.values() for one in behind)}
        erased = {one.owner for behind in facts.values() for one in behind if one.erased}
        if missing := self._keyring.missing(wanted - erased):
            raise NeedKeys(missing)

    def _permits(self, conn: Connection, ask: Ask, owner: int, behind: Sequence[OwnerFacts]) -> tuple[_Permit, ...]:
        """A permit of every patient behind a resource, or nothing at all: one who denies is enough."""
        actor = ask.actor
        asker = policy.Asker(actor.own, actor.roles, actor.purposes)
        if not behind:
            verdict = policy.default(self._house.policies, asker, shared=True)
            requires: tuple[Requires, ...] = (RequiresRef(verdict.basis),)
            return (_Permit(SHARED, SHARED, verdict.basis, requires),) if verdict.permit else ()
        if any(facts.erased for facts in behind):
            return ()
        asking = consent.Asking(actor.organisation, actor.purposes, ask.now)
        default = policy.default(self._house.policies, asker, shared=False)
        held = self._held(conn, owner, behind)
        permits = []
        for facts in behind:
            decision = consent.decide(held[facts.owner], asking, default)
            if not decision.permit:
                return ()
            until = timestamp(decision.until) if decision.until else None
            requires = (RequiresRef(decision.basis, until), RequiresEpoch(facts.owner, facts.epoch))
            subject = facts.owner if decision.owner is None else decision.owner
            permits.append(_Permit(facts.owner, subject, decision.basis, requires))
        return tuple(permits)

    def _held(
        self, conn: Connection, owner: int, behind: Sequence[OwnerFacts]
    ) -> Mapping[int, tuple[consent.Held, ...]]:
        """What speaks for each patient: her own consents and, of those she was merged with, what came after."""
        own = {facts.owner: self._residual(conn, facts) for facts in behind}
        if len(own) < 2 or owner not in own:  # several patients who share a resource stay several
            return own
        since = families.merged_since(conn, own)
        if since is None:
            return own
        every = tuple(one for held in own.values() for one in held)
        return {patient: tuple(one for one in every if one.owner == patient or one.txn > since) for patient in own}

    def _residual(self, conn: Connection, facts: OwnerFacts) -> tuple[consent.Held, ...]:
        known = self._residuals.get(facts.owner)
        if known is not None and known[0] == facts.epoch:
            return known[1]
        keys = self._keyring.owner(facts.owner)
        held = tuple(
            consent.Held(rule, outbox.reference(conn, sealed.rid, sealed.ver), facts.owner, sealed.txn)
            for sealed in resources.of_type(conn, self._keys, (facts.owner,), "Consent")
            if (rule := consent.stored(decode(sealed.open(keys)), self._zone)) is not None
        )
        if len(self._residuals) >= RESIDUALS:
            self._residuals.clear()  # rare, and cheaper than keeping an order on every read
        self._residuals[facts.owner] = (facts.epoch, held)
        return held

    def _open(self, sealed: Sealed, ask: Ask, matches: Matches | None) -> Disclosed | None:
        """The plaintext of one candidate, or None when it is not what was asked for."""
        if sealed.body is None:
            return None if matches else _disclosed(sealed, ask.thing.rpartition("/")[2], b"", None)
        body = sealed.open(self._keyring.owner(sealed.owner))
        if matches is None:
            return _disclosed(sealed, _STAMP.decode(body).id, body, None)
        resource = decode(body)
        return _disclosed(sealed, resource["id"], body, resource) if matches(resource) else None

    def _events(self, ask: Ask, gathered: _Gathered) -> list[Event]:
        """One event for each patient whose data is on this page or in its total."""
        lines: dict[int, list[str]] = {}
        permits: dict[int, _Permit] = {}
        for owner in gathered.total_owners:
            permits.update((permit.owner, permit) for permit in gathered.permits[owner])
        for item in gathered.arranged.items:
            text = audit.line("r", item.type, item.id, item.version, item.body)
            for permit in gathered.permits[item.owner]:
                permits[permit.owner] = permit
                lines.setdefault(permit.owner, []).append(text)
        return [
            audit.released(ask, ask.kind, self._share(permit, lines.get(owner, [])), self._org, self._entropy)
            for owner, permit in permits.items()
        ]

    def _share(self, permit: _Permit, lines: list[str]) -> Share:
        return Share(permit.subject, self.subject_key(permit.owner), lines, permit.basis, permit.requires)

    def subject_key(self, owner: int) -> SubjectKey:
        """The ledger's view of an owner's key; the three sub-keys are derived once, not once a request."""
        keys = self._keyring.owner(owner)
        known = self._subjects.get(owner)
        if known is not None and known[0] is keys:
            return known[1]
        if len(self._subjects) >= RESIDUALS:
            self._subjects.clear()
        subject = SubjectKey(owner, keys.commitment)
        self._subjects[owner] = (keys, subject)
        return subject

    async def _nothing(self, ask: Ask, gathered: _Gathered) -> Released:
        """Nobody is released: record it, and answer at a moment that tells nothing."""
        await self._keyring.load((SHARED,))
        if ask.kind == "access.search":
            self.refusals.note_search(ask, gathered.withheld)
            receipts = await self._append([audit.empty(ask, self.subject_key(SHARED), self._org, self._entropy)])
            await self._leave(ask)
            return Released((), gathered.arranged.total, False, references(receipts), gathered.txn)
        await self._refuse(ask, gathered.withheld[0] if gathered.withheld else SHARED)
        await self._leave(ask)
        raise not_found()

    async def refuse_scope(self, ask: Ask) -> None:
        """Record what no scope covers and raise Forbidden: it says nothing of any patient."""
        await self._keyring.load((SHARED,))
        await self._refuse(ask, SHARED)
        raise Forbidden("no scope of this token covers the interaction", code="scope")

    async def refuse_writer(self, ask: Ask) -> None:
        """Record and raise Forbidden: the writer is not the custodian's, and could grant itself what it likes."""
        await self._keyring.load((SHARED,))
        await self._refuse(ask, SHARED)
        raise Forbidden("only clients of the custodian's organisation write here", code="custodian")

    async def _refuse(self, ask: Ask, owner: int) -> None:
        if not self.refusals.is_first(ask, ask.thing, owner, asyncio.get_running_loop().time()):
            return
        event = audit.refused(ask, owner, self.subject_key(owner), self._org, self._entropy, at=ask.now)
        try:
            await self._append([event])
        except Unavailable:
            self.refusals.forget(ask, ask.thing)
            raise

    async def _append(self, events: list[Event]) -> list[Receipt]:
        try:
            return await self._ledger.append(events)
        except BasisEnded:
            raise
        except LedgerError as exc:
            raise Unavailable(
                "the log cannot record this access, so nothing was served", code="log-unavailable"
            ) from exc

    async def _leave(self, ask: Ask) -> None:
        """Wait for the next multiple of 20 ms after receipt: whether a look-up or a decision took longer is hidden."""
        elapsed = asyncio.get_running_loop().time() - ask.received
        await asyncio.sleep(-elapsed % STEP_S)

    async def flush_refusals(self, now: datetime) -> None:
        """Append what the last minute folded or withheld. Called by the minute's timer, and once at the end."""
        taken = self.refusals.take(asyncio.get_running_loop().time())
        try:
            await self._keyring.load(taken.owners())
            events = taken.events(now, self._org, self.subject_key, self._entropy)
            if events:
                await self._append(events)
        except (ChartbridgeError, LedgerError):
            self.refusals.put_back(taken)
            raise


def _nothing_fits(resource: Json) -> bool:
    """The predicate of a type that no scope covers."""
    return False


class House:
    """What the gate asks of the node around it: the adopted policies, and the matchers of granular scopes."""

    def __init__(
        self,
        policies: policy.Policies,
        reload: Callable[[], Awaitable[policy.Policies]],
        matcher: Callable[[str, str, datetime], Matches],
    ) -> None:
        self.policies = policies
        self._reload = reload
        self._matcher = matcher

    async def refresh(self) -> None:
        """Read the policies again: the log said that something ended."""
        self.policies = await self._reload()

    def scope_matchers(self, resource_type: str, queries: Iterable[str], now: datetime) -> list[Matches]:
        return [self._matcher(resource_type, query, now) for query in queries]


class _Stamp(msgspec.Struct):
    """The one member of a resource that the gate needs of every body; the rest is skipped unread."""

    id: str


_STAMP = msgspec.json.Decoder(_Stamp)


def _disclosed(sealed: Sealed, logical_id: str, body: bytes, resource: Json | None) -> Disclosed:
    return Disclosed(
        sealed.type, logical_id, sealed.ver, sealed.at, sealed.op, sealed.rid, sealed.owner, body, resource
    )


def references(receipts: Sequence[Receipt]) -> tuple[str, ...]:
    return tuple(str(receipt) for receipt in receipts)


def not_found() -> NotFound:
    """One answer for hidden and absent."""
    return NotFound("there is no such resource here")
