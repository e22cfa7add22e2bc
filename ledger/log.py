"""The log: events go in, receipts and proofs come out. Sequence, integrate, publish.

Sequence is a group commit: whoever waits is taken together, never waiting for more.
1. `append` prepares its events (commitments, sealed details, encoding) before it queues them
2. details go to the vault and are durable first, so that no entry can lack its detail
3. the group is decided on what the log holds and written by one commit, which is what makes an event durable
4. receipts, or each caller's own fault, go out

`append` returns when durable, else raises; a release may follow it and nothing else. One event loop drives a Ledger.
Integrating (tiles, signed checkpoints, public files) runs beside it and never delays it.
Source: ledger chapter §1, §6, §7.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ledger.clock import Clock, Running, SettledClock, running_s
from ledger.commitment import Entropy, SubjectKey, open_detail
from ledger.errors import AppendFailed, EntryError, IntegrityError, LedgerError
from ledger.event import CORE_TYPES, Event, Types, decode, id_bytes, new_id, parse_reference, timestamp
from ledger.integrate import Integrator
from ledger.merkle import ConsistencyProof, Digest, InclusionProof
from ledger.note import Ed25519Verifier, Signer
from ledger.proof import Proof
from ledger.publish import Publisher
from ledger.sequence import Batch, Receipt, Sequenced, prepare, question, sequence
from ledger.store.base import Entry, Head, LogStore, Step, StoredCheckpoint, StoreError, no_step
from ledger.tree import Tree
from ledger.vault import Detail, Vault, VaultError, milliseconds

GROUP_EVENTS = 1_000
GROUP_BYTES = 1 << 20
BATCH_EVENTS = 4_096
QUEUE_EVENTS = 8_192
INTEGRATE_S = 1.0
INTEGRATE_EVENTS = 4_096


class NotIntegrated(LedgerError):
    """The entry is durable, but younger than the newest checkpoint: ask again in a second."""


@dataclass(slots=True)
class _Waiting:
    """One caller's batch and the answer it waits for."""

    batch: Batch
    bytes: int
    answer: asyncio.Future[list[Receipt]] = field(repr=False)


def _unheard(step_s: float) -> None:
    """Nobody listens to clock steps."""


class Ledger:
    """One node's log (one shard). `start` first; `close` last."""

    def __init__(
        self,
        store: LogStore,
        vault: Vault,
        origin: str,
        org: str,
        signer: Signer,
        clock: Clock,
        entropy: Entropy,
        step: Step = no_step,
        *,
        rules: Types = CORE_TYPES,
        www: Path | None = None,
        running: Running = running_s,
        clock_step: Callable[[float], None] = _unheard,
    ) -> None:
        if signer.name != origin:
            raise IntegrityError(f"log key is named otherwise than the log {origin}")
        self.origin, self.org, self.vkey = origin, org, signer.vkey
        self.shard = origin.rpartition("/")[2]
        self._store, self._vault, self._entropy, self._step, self._rules = store, vault, entropy, step, rules
        self._clock_step = clock_step
        self._settled = SettledClock(clock, running, clock_step)
        self._tree = Tree(store)
        publisher = None if www is None else Publisher(www / self.shard, step)
        self._integrator = Integrator(store, signer, Ed25519Verifier.of(signer.vkey), publisher, step)
        self._queue: deque[_Waiting] = deque()
        self._queued = 0
        self._head = Head()
        self._pump: asyncio.Task[None] | None = None
        self._grown = asyncio.Event()
        self._started = self._closed = False

    async def start(self) -> None:
        """Check the log before it is used. Raises IntegrityError; then nothing was changed, and nothing may be."""
        await self._integrator.start()
        self._head = await self._store.head()
        self._started = True
        behind = self._behind()
        if behind > 0:
            self._clock_step(-behind)

    def _behind(self) -> float:
        """Seconds by which the clock is behind the last entry; entries bear the last one's time until it is past."""
        if not self._head.last_t:
            return 0.0
        return (datetime.fromisoformat(self._head.last_t) - self._settled()).total_seconds()

    async def close(self) -> None:
        """Finish what is queued; vault and store stay the caller's to close."""
        self._closed = True
        if self._pump is not None:
            await self._pump
        with suppress(StoreError):  # away: the lease runs out by itself
            await self._integrator.resign()

    @property
    def size(self) -> int:
        """Entries known to be durable, with those of other processes as of the last `follow`; 0 before `init`."""
        return self._head.size

    def now(self) -> datetime:
        """The settled clock, by which entries are stamped and periods judged."""
        return self._settled()

    def new_id(self) -> str:
        """An id for one event: a retry of the same event keeps it, another try of a decision takes a new one."""
        return new_id(self._settled(), self._entropy)

    def opening(self) -> list[Event]:
        """The first entries of a new log: what it is called, and the key that signs for it."""
        opened = Event("log.opened", self.new_id(), self.org, clear={"origin": self.origin})
        rotated = Event("key.rotated", self.new_id(), self.org, clear={"role": "log", "new": self.vkey})
        return [opened, rotated]

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        """Log all of `events` or none; returns when they are durable.

        Raises AppendFailed (nothing was logged; "busy" when too much waits), BasisEnded (decide again), ConflictError
        (an id or an ending is taken) or EntryError (no such event can be).
        """
        if not self._started:
            raise RuntimeError("the log is not started: nothing is appended to what was not checked")
        if self._closed:
            raise AppendFailed("log is closing")
        if len(events) > BATCH_EVENTS:
            raise EntryError(f"batch of {len(events)} events, at most {BATCH_EVENTS}")
        if self._queued + len(events) > QUEUE_EVENTS:
            raise AppendFailed("busy")
        if not events:
            return []
        month = self._head.last_t or timestamp(self._settled())  # sequencing sets the time; here the month is enough
        batch = [prepare(event, self.origin, month, self._rules, self._entropy) for event in events]
        size = sum(len(prepared.body) for prepared in batch)
        waiting = _Waiting(batch, size, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._queued += len(batch)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._drain())
        return await waiting.answer

    async def _drain(self) -> None:
        while self._queue:
            group = self._take()
            try:
                sequenced = await self._commit([waiting.batch for waiting in group])
            except LedgerError as fault:
                _refuse(group, fault)
            except BaseException:
                _refuse([*group, *self._queue], AppendFailed("log was interrupted"))
                self._queue.clear()
                self._queued = 0
                raise
            else:
                self._answer(group, sequenced)

    def _take(self) -> list[_Waiting]:
        """What waits, up to the group's bounds; the first batch always whole."""
        group: list[_Waiting] = []
        events = size = 0
        while self._queue:
            waiting = self._queue[0]
            events += len(waiting.batch)
            size += waiting.bytes
            if group and (events > GROUP_EVENTS or size > GROUP_BYTES):
                break
            group.append(self._queue.popleft())
            self._queued -= len(waiting.batch)
        return group

    async def _commit(self, batches: list[Batch]) -> Sequenced:
        """Vault first, then the log. Raises AppendFailed: nothing of the group was logged."""
        at = milliseconds(self._settled())
        details = [
            Detail(prepared.id, prepared.event.subject_key.row, at, prepared.sealed)
            for batch in batches
            for prepared in batch
            if prepared.sealed is not None and prepared.event.subject_key is not None
        ]
        try:
            if details:
                await self._vault.put_details(details)
                self._step("append.details_committed")
            return await self._store.append(
                question(batches), lambda facts: sequence(batches, facts, timestamp(self._settled()), self.shard)
            )
        except (StoreError, VaultError) as exc:
            raise AppendFailed(str(exc)) from exc

    def _answer(self, group: list[_Waiting], sequenced: Sequenced) -> None:
        self._head = sequenced.writes.head
        for waiting, outcome in zip(group, sequenced.outcomes, strict=True):
            if waiting.answer.done():  # its caller went away; the entries stand all the same
                continue
            if isinstance(outcome, LedgerError):
                waiting.answer.set_exception(outcome)
            else:
                waiting.answer.set_result(outcome)
        self._step("append.answered")
        if self._head.size - self._integrator.size >= INTEGRATE_EVENTS:
            self._grown.set()

    async def integrate(self) -> StoredCheckpoint | None:
        """Sign and publish what was appended; the newest checkpoint, None while the log is empty."""
        return await self._integrator.integrate()

    async def follow(self) -> StoredCheckpoint | None:
        """Take in what other processes have appended and signed; the newest checkpoint."""
        newest = await self._integrator.follow()
        head = await self._store.head()
        if head.size > self._head.size:
            self._head = head
        return newest

    async def keep_integrated(self, report: Callable[[LedgerError], None]) -> None:
        """Integrate each second, or sooner when much has come; for ever. Faults go to `report`, appends go on.

        Of several processes that do, the one that holds the lease signs, and the others follow it.
        """
        await self._keep(self.integrate, report)

    async def keep_followed(self, report: Callable[[LedgerError], None]) -> None:
        """The same for a process that leaves signing to others."""
        await self._keep(self.follow, report)

    async def _keep(
        self, step: Callable[[], Awaitable[StoredCheckpoint | None]], report: Callable[[LedgerError], None]
    ) -> None:
        while True:
            try:
                await asyncio.wait_for(self._grown.wait(), INTEGRATE_S)
            except TimeoutError:
                pass
            self._grown.clear()
            try:
                await step()
            except IntegrityError:
                raise  # never sign over a contradiction
            except LedgerError as fault:
                report(fault)

    def checkpoint(self) -> StoredCheckpoint | None:
        """The newest signed checkpoint."""
        return self._integrator.newest

    async def inclusion(self, ref: str, size: int | None = None) -> InclusionProof:
        """That entry `ref` is in the tree of `size` (the newest checkpoint's). Raises NotIntegrated, EntryError."""
        index, size = self._index(ref), self._sized(size)
        if index >= size:
            if index >= (await self._store.head()).size:
                raise EntryError(f"{ref} is not in the log")
            raise NotIntegrated(f"{ref} is not in the tree of size {size} yet")
        return await self._tree.inclusion(index, size)

    async def consistency(self, old: int, new: int | None = None) -> ConsistencyProof:
        """That the tree of `old` leaves begins that of `new`."""
        new = self._sized(new)
        if not 0 <= old <= new:
            raise EntryError(f"no consistency from {old} to {new}")
        return await self._tree.consistency(old, new)

    async def root(self, size: int) -> Digest:
        """The root over the first `size` entries, as far as integrated."""
        return await self._tree.root(self._sized(size))

    async def receipt(self, ref: str) -> Proof:
        """What a reader keeps: inclusion proof and newest checkpoint (`.tlog-proof`)."""
        newest = self._integrator.newest
        if newest is None:
            raise NotIntegrated(f"{ref} has no checkpoint yet")
        return Proof.of(await self.inclusion(ref, newest.size), newest.note)

    async def entries(self, start: int, end: int) -> list[Entry]:
        """Those of [start, end) that exist."""
        return await self._store.entries(start, end)

    async def entry(self, ref: str) -> Entry:
        index = self._index(ref)
        found = await self._store.entries(index, index + 1)
        if not found:
            raise EntryError(f"{ref} is not in the log")
        return found[0]

    async def find(self, event_id: str) -> Receipt | None:
        """The receipt of an event that was logged under this id."""
        entry = await self._store.find(id_bytes(event_id))
        return None if entry is None else Receipt(self.shard, entry.index, entry.leaf, decode(entry.body)["t"])

    async def ended(self, refs: Sequence[str]) -> dict[str, str]:
        """Which of `refs` have ended, and by which entry."""
        return {ref: f"{self.shard}:{index}" for ref, index in (await self._store.ended(refs)).items()}

    async def detail(self, event_id: str, key: SubjectKey) -> bytes | None:
        """The opened detail of an event; None where the vault holds none, or no longer."""
        raw = id_bytes(event_id)
        found = (await self._vault.details([raw])).get(raw)
        return None if found is None else open_detail(key, self.origin, raw, found.sealed)

    async def expect(self, ref: str, leaf: bytes) -> None:
        """Hold the log against a receipt that someone else kept. Raises IntegrityError: the log is an old backup."""
        shard, index = parse_reference(ref)
        if shard != self.shard:
            return
        found = await self._store.entries(index, index + 1)
        if not found or found[0].leaf != leaf:
            raise IntegrityError(f"log_behind_published: {ref} was logged, and is not in this log")

    def _index(self, ref: str) -> int:
        shard, index = parse_reference(ref)
        if shard != self.shard:
            raise EntryError(f"{ref} is in another shard than {self.shard}")
        return index

    def _sized(self, size: int | None) -> int:
        integrated = self._integrator.size
        if size is not None and not 0 <= size <= integrated:
            raise NotIntegrated(f"no tree of size {size} yet, the newest has {integrated}")
        return integrated if size is None else size


def _refuse(group: Sequence[_Waiting], fault: LedgerError) -> None:
    """Give each caller an error of its own: one exception raised in many tasks would gather all their tracebacks."""
    for waiting in group:
        if not waiting.answer.done():
            error = type(fault)(str(fault))
            error.__cause__ = fault
            waiting.answer.set_exception(error)
