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
 7. Includes, and what a chain or `_has` follows to: steps 1 to 6 for each, by its own type and owner (`sight.py`).
 8. The caller's `arrange` sorts, totals and pages what is left; its `include` names what else is shown.
 9. Record: one event for each patient who is shown, counted, included, or on whose data a match rests, requiring
    her basis and epoch, appended as one batch; wait until durable.
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
from functools import partial

from sqlalchemy import Connection

from adapter.access import audit, policy
from adapter.access.audit import Share
from adapter.access.identity import Actor
from adapter.access.permits import Permit, Permits
from adapter.access.refusals import Book
from adapter.access.scopes import Judgement
from adapter.access.sight import PRIVATE, Ask, Disclosed, Matches, Sight
from adapter.access.together import Together
from adapter.errors import ChartbridgeError, Forbidden, NotFound, Unavailable
from adapter.seal.blind import keyed_id
from adapter.seal.keyring import SHARED, Keyring, OwnerKeys
from adapter.store import ahead, resources
from adapter.store.engine import DataStore
from adapter.store.resources import Sealed
from ledger.commitment import SubjectKey
from ledger.errors import BasisEnded, LedgerError
from ledger.event import Event
from ledger.log import Ledger
from ledger.sequence import Receipt

__all__ = [
    "PRIVATE",
    "Arrange",
    "Arranged",
    "Ask",
    "Disclosed",
    "Finder",
    "Found",
    "Gate",
    "House",
    "Include",
    "Included",
    "Looked",
    "Matches",
    "Released",
    "Sight",
    "not_found",
    "references",
]
STEP_S = 0.020  # refused and empty answers leave at multiples of this (access chapter §6)
TRIES = 3
SUBJECTS = 16_384  # patients whose derived commitment keys are kept, as many as the keyring keeps keys


@dataclass(frozen=True, slots=True)
class Included:
    """What is shown beside the matches; `incomplete`: there was more than may be."""

    items: Sequence[Disclosed] = ()
    incomplete: bool = False


Include = Callable[[Sequence[Disclosed]], Included]


@dataclass(frozen=True, slots=True)
class Found:
    """Candidates of one snapshot, the search's own judge of them, and the transaction that a next page is cut at.

    `follow`: a search that looks at other resources makes its judge, and its way to what it includes, from a Sight.
    `beyond`: more candidates of the same snapshot, of one that goes on until a page is full; it is told how many may be
    shown so far, and asked again until it gives none.
    """

    sealed: Sequence[Sealed]
    matches: Matches | None = None
    txn: int = 0
    follow: Callable[[Sight], tuple[Matches, Include | None]] | None = None
    beyond: Callable[[int], Sequence[Sealed]] | None = None


Finder = Callable[[Connection], Found]


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
    included: Included = Included()
    looked: "Looked | None" = None


@dataclass(frozen=True, slots=True)
class Looked:
    """How many candidates there were, how many matched, and how many of these were shown: for operators, rounded."""

    candidates: int
    matched: int
    shown: int


@dataclass(frozen=True, slots=True)
class _Gathered:
    arranged: Arranged
    included: Included
    permits: Mapping[int, tuple[Permit, ...]]  # by the resource's owner
    total_owners: tuple[int, ...]  # owners of everything that the total counts, and of what a match rests on
    withheld: tuple[int, ...]  # patients who were found and not released
    txn: int
    looked: Looked


@dataclass(slots=True)
class _Decided:
    """What is shown, on whose data each match rests, who is withheld, how many were looked at and how many matched."""

    shown: list[Disclosed] = field(default_factory=list)
    rests: dict[int, tuple[int, ...]] = field(default_factory=dict)
    withheld: dict[int, None] = field(default_factory=dict)
    candidates: int = 0
    matched: int = 0


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
        self._store, self._ledger, self._keyring, self._house = store, ledger, keyring, house
        self._keys = keyring.organisation()
        self._together = Together(store.glance, lambda conn, fids: resources.look_ahead(conn, self._keys, fids))
        self._org = self._keys.org
        self._entropy = entropy
        self._permits = Permits(zone, keyring, house)
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
        read = partial(self._together.read, fid=self._named(ask)) if short else self._store.read
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
            refs = references(receipts)
            shown = (arranged.items, arranged.total, arranged.more, refs, gathered.txn)
            return Released(*shown, gathered.included, gathered.looked)  # 10
        raise Unavailable("what this access rests on keeps changing; try again", code="basis-ended")

    def _named(self, ask: Ask) -> bytes | None:
        """What a read of one resource will look for."""
        kind, slash, logical_id = ask.thing.partition("/")
        return keyed_id(self._keys.locate, kind, logical_id) if slash else None

    async def permitting(self, ask: Ask, wanted: Sequence[int]) -> frozenset[int]:
        """Which of these owners permit an asking now: steps 2, 3 and 5, for what is prepared and not released yet."""

        def work(conn: Connection) -> frozenset[int]:
            sight = Sight(conn, ask, self._keyring, self._permits, self._house.scope_matchers)
            sight.know(wanted)
            return frozenset(owner for owner in wanted if sight.permits[owner] and not sight.erased(owner))

        return await self._keyring.retrying(self._store.read, work)

    async def _forget(self, gathered: _Gathered, refs: Sequence[str]) -> None:
        """What was decided on has changed: read it again, the policies too where one of them has ended."""
        for permit in (permit for permits in gathered.permits.values() for permit in permits):
            self._permits.forget(permit.owner)
        if any(adopted.ref in refs for adopted in self._house.policies.values()):
            await self._house.refresh()

    def _gather(
        self, conn: Connection, ask: Ask, judgement: Judgement, find: Finder, arrange: Arrange | None
    ) -> _Gathered:
        """Steps 2 to 8, in the reader's thread. Raises NeedKeys, and is run again with them."""
        with ahead.keeping(conn):
            return self._gathered(conn, ask, judgement, find, arrange)

    def _gathered(
        self, conn: Connection, ask: Ask, judgement: Judgement, find: Finder, arrange: Arrange | None
    ) -> _Gathered:
        found = find(conn)
        sight = Sight(conn, ask, self._keyring, self._permits, self._house.scope_matchers)
        sight.know(_owners(found.sealed))  # 2, 3
        matches, include = (found.matches, None) if found.follow is None else found.follow(sight)
        within = {ask.type: sight.narrowed(ask.type, judgement, matches)}
        decided, sealed = _Decided(), found.sealed
        while sealed:
            for kind in {one.type for one in sealed} - within.keys():  # a record holds many types
                within[kind] = sight.narrowed(kind, ask.actor.scopes.judge(kind, ask.letter), matches)
            self._decide(sight, sealed, within, decided)
            sealed = found.beyond(len(decided.shown)) if found.beyond is not None else ()
            if sealed:
                sight.know(_owners(sealed))
        sight.settle()
        arranged = arrange(decided.shown) if arrange else Arranged(decided.shown)  # 8
        included = Included() if include is None else include(arranged.items)  # 7
        sight.settle()
        counted = decided.shown if arranged.total is not None else arranged.items
        total_owners = {item.owner: None for item in counted}
        total_owners.update((owner, None) for item in counted for owner in decided.rests.get(item.rid, ()))
        looked = Looked(decided.candidates, decided.matched, len(decided.shown))
        withheld = tuple(decided.withheld | sight.hidden)
        return _Gathered(arranged, included, sight.permits, tuple(total_owners), withheld, found.txn, looked)

    def _decide(
        self, sight: Sight, sealed: Sequence[Sealed], within: Mapping[str, Matches | None], decided: _Decided
    ) -> None:
        """Steps 4 to 6."""
        decided.candidates += len(sealed)
        for one in sealed:
            if sight.erased(one.owner):
                continue
            sight.touched()
            opened = sight.open(one, within[one.type])  # 4
            if opened is None:
                continue
            decided.matched += 1
            if sight.permitted(one):  # 5
                decided.shown.append(opened)  # 6: see above
                if touched := sight.touched():
                    decided.rests[one.rid] = touched
            else:
                decided.withheld.update((behind.owner, None) for behind in sight.facts[one.owner][:1])

    def _events(self, ask: Ask, gathered: _Gathered) -> list[Event]:
        """One event for each patient whose data is on this page or in its total."""
        lines: dict[int, list[str]] = {}
        permits: dict[int, Permit] = {}
        for owner in gathered.total_owners:
            permits.update((permit.owner, permit) for permit in gathered.permits[owner])
        for item in (*gathered.arranged.items, *gathered.included.items):
            text = audit.line("r", item.type, item.id, item.version, item.body)
            for permit in gathered.permits[item.owner]:
                permits[permit.owner] = permit
                lines.setdefault(permit.owner, []).append(text)
        return [
            audit.released(ask, ask.kind, self._share(permit, lines.get(owner, [])), self._org, self._entropy)
            for owner, permit in permits.items()
        ]

    def _share(self, permit: Permit, lines: list[str]) -> Share:
        return Share(permit.subject, self.subject_key(permit.owner), lines, permit.basis, permit.requires)

    def subject_key(self, owner: int) -> SubjectKey:
        """The ledger's view of an owner's key; the three sub-keys are derived once, not once a request."""
        keys = self._keyring.owner(owner)
        known = self._subjects.get(owner)
        if known is not None and known[0] is keys:
            return known[1]
        if len(self._subjects) >= SUBJECTS:
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
            total, refs = gathered.arranged.total, references(receipts)
            return Released((), total, False, refs, gathered.txn, looked=gathered.looked)
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

    async def refuse_gateway(self, ask: Ask) -> None:
        """Record and raise Forbidden: a gateway would learn of what is hidden from the conflicts it meets."""
        await self._keyring.load((SHARED,))
        await self._refuse(ask, SHARED)
        raise Forbidden("a gateway creates; it does not write into what exists", code="gateway")

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


def _owners(found: Iterable[Sealed]) -> dict[int, None]:
    """Whose keys opening these takes, of what a deletion deleted too."""
    owners = {one.owner: None for one in found}
    owners.update((one.before.owner, None) for one in found if one.before is not None)
    return owners


def combined(parts: Sequence[Released]) -> Released:
    """What several releases of one request let leave, as one; of none: an answer that holds nobody's data."""
    items = tuple(item for part in parts for item in part.items)
    return Released(items, None, False, tuple(dict.fromkeys(ref for part in parts for ref in part.refs)))


def references(receipts: Sequence[Receipt]) -> tuple[str, ...]:
    return tuple(str(receipt) for receipt in receipts)


def not_found() -> NotFound:
    """One answer for hidden and absent."""
    return NotFound("there is no such resource here")
