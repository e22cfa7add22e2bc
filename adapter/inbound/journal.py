"""The journal: messages made durable before anyone hears that they arrived.

One procedure a group. Whatever is queued when the disk is free is one group; nobody ever waits for company.

1. Take what is queued, as far as there are message keys.
2. Look each message up: received before? its control id used before?
3. Seal and insert it, all in one transaction (a message alone: one statement).
4. Commit; the file is synced when that returns.
5. Begin the next group, then tell those of this one, in their order.

Statements on small messages run on the event loop, because handing each to a thread costs more than the statement. The
commit of a group runs in the writer thread, so that the loop goes on receiving. A message alone is committed on the
loop as long as the disk answers within INLINE_S: the way to a thread and back would cost its sender a quarter of the
rate. Large messages go to the thread whole. The connection is never in two threads at once: while `_writing`, the loop
leaves it alone.

When a commit fails, nothing of the group is kept, its senders hear so, and the next group is tried anew. After a failed
fsync none is, since nobody can know what the disk holds: `lost` says so, and the process should end.
Source: operations chapter §4; hl7v2 chapter §11.
"""

import asyncio
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from adapter.crash import crash_point
from adapter.errors import IntegrityFault, NotFound, Unavailable
from adapter.inbound import journal_table as table
from adapter.inbound.bodies import Entropy, KeyStock, MessageKeys, open_body
from adapter.inbound.journal_table import DUPLICATE, NEW, Part, Row, State
from ledger.store.thread import ReaderPool

GROUP_ROWS = 512
GROUP_BYTES = 8 * 1024 * 1024  # of messages in one transaction; one larger than that is a group of its own
LARGE_BYTES = 256 * 1024  # beyond this, hashing and encrypting would hold up the loop
INLINE_S = 0.002

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Incoming:
    """One received message. `code` is its MSA-1 ("" for none), `time` the answer's MSH-7; `dedupe` None: no look-up.

    `due` is the application answer that will follow (AL, ER, SU); `part` its place among those it came with; `reused`
    the issue of one whose number another content had.
    """

    feed: str
    at: datetime
    data: bytes = field(repr=False)
    state: State
    code: str
    time: str
    dedupe: bytes | None = field(default=None, repr=False)
    patients: tuple[bytes, ...] = field(default=(), repr=False)
    lanes: tuple[int, ...] = ()
    issues: tuple[str, ...] = ()
    due: str = ""
    part: Part | None = None
    reused: str = "control-id-reused"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message is durable. `first` is the row it repeats, if it does; `ack` what its answer says, or said then.

    A part that lay in its place already is told as it was kept then.
    """

    seq: int
    state: State
    first: int | None
    ack: str
    issues: tuple[str, ...]


Told = Callable[[Accepted | None], None]
_Group = list[tuple[Incoming, Told]]


def control_id(seq: int) -> str:
    """MSH-10 of the ACK for a row: never the same twice, at most 20 characters."""
    return f"CB{seq:014d}"


def application_id(seq: int) -> str:
    """MSH-10 of the application's answer for a row."""
    return f"CM{seq:014d}"


def _ack(incoming: Incoming, seq: int) -> str:
    """What the row keeps of its answer; "" where there is none, or none yet."""
    return (
        " ".join(filter(None, (incoming.code, control_id(seq), incoming.time, incoming.due))) if incoming.code else ""
    )


class JournalReader:
    """Reading the journal, beside its writer or without it. Opened bodies need the organisation's message keys."""

    def __init__(self, path: Path, pairing: str, keys: MessageKeys, readers: int = 2) -> None:
        self._keys = keys
        self._readers = ReaderPool(lambda: table.connect(path, pairing, read_only=True), "journal-read", readers)

    async def read(self, after_seq: int, limit: int, state: State = NEW) -> list[Row]:
        """Rows behind `after_seq`, oldest first; the unread ones, unless another state is named."""
        return await self._read(lambda connection: table.rows_after(connection, after_seq, limit, state))

    async def listing(self, limit: int, before_seq: int | None = None, feed: str | None = None) -> list[Row]:
        """Rows of every state, newest first."""
        return await self._read(lambda connection: table.rows_before(connection, before_seq, limit, feed))

    async def arrivals(self, after_seq: int, limit: int) -> list[Row]:
        """Rows of every state behind `after_seq`, oldest first."""
        return await self._read(lambda connection: table.arrivals(connection, after_seq, limit))

    async def row(self, seq: int) -> Row:
        """Raises NotFound."""
        found = await self._read(lambda connection: table.row(connection, seq))
        if found is None:
            raise NotFound(f"no message {seq} in the journal")
        return found

    async def body(self, row: Row) -> bytes:
        """The message as received. Raises NotFound where it was pruned or its key destroyed, or never kept."""
        found = await self.bodies([row])
        if row.seq not in found:
            raise NotFound(f"the content of message {row.seq} is not kept any more")
        return found[row.seq]

    async def bodies(self, rows: Sequence[Row]) -> dict[int, bytes]:
        """Messages by number; those without content or key are left out. Raises IntegrityFault for a changed one."""
        sealed = await self._read(lambda connection: table.bodies(connection, [row.seq for row in rows]))
        names = {row.seq: row.key_id for row in rows if row.seq in sealed and row.key_id is not None}
        keys = await self._keys.message_keys(names.values())
        places = {row.seq: (row.org, row.feed) for row in rows}
        return {
            seq: open_body(*places[seq], key_id, keys[key_id], sealed[seq])
            for seq, key_id in names.items()
            if key_id in keys
        }

    async def parts(self, seqs: Sequence[int]) -> dict[int, Part]:
        """Places by number, of those that came with others."""
        return await self._read(lambda connection: table.parts(connection, seqs))

    async def counts(self) -> dict[tuple[str, State], int]:
        """Rows by feed and state."""
        return await self._read(table.counts)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await self._readers.run(work)
        except sqlite3.Error as exc:
            raise table.trouble(exc) from exc

    async def close(self) -> None:
        self._readers.close()


class Journal(JournalReader):
    """The one writer. `await start()` on the loop that submits; `await close()` finishes what is queued."""

    def __init__(
        self,
        path: Path,
        pairing: str,
        keys: MessageKeys,
        entropy: Entropy = os.urandom,
        *,
        lost: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._connection = table.connect(path, pairing)
        self._next = table.last_seq(self._connection) + 1
        super().__init__(path, pairing, keys)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal-write")
        self._lost = lost
        self._stock = KeyStock(keys, entropy, self._wake)
        self.senders = 0  # open connections, of all listeners
        self._queue: deque[tuple[Incoming, Told]] = deque()
        self._queued_bytes = 0
        self._writing = self._woken = self._closing = self._broken = False
        self._commit_s = INLINE_S  # running mean; the first commits say whether the disk is fast
        self._arrivals: list[asyncio.Future[None]] = []
        self._idle = asyncio.Event()
        self._idle.set()

    async def start(self) -> None:
        """Make this start's own message keys. Raises Unavailable."""
        self._loop = asyncio.get_running_loop()
        await self._stock.fill()

    @property
    def last(self) -> int:
        """The newest row's number; 0 for an empty journal."""
        return self._next - 1

    @property
    def queued_bytes(self) -> int:
        """Of messages that wait for their commit."""
        return self._queued_bytes

    def submit(self, incoming: Incoming, told: Told) -> None:
        """Queue a message; `told` hears when it is durable, or None when it cannot be kept. Only on the loop."""
        if self._closing or self._broken:
            told(None)
            return
        self._queue.append((incoming, told))
        self._queued_bytes += len(incoming.data)
        self._idle.clear()
        self._wake()

    def nudge(self) -> None:
        """Write what is queued now, if only one sender is connected: nobody else can join its group."""
        if self.senders == 1 and not self._writing:
            self._write()

    async def accept(self, incoming: Incoming) -> Accepted:
        """`submit`, awaited. Raises Unavailable."""
        done: asyncio.Future[Accepted | None] = asyncio.get_running_loop().create_future()
        self.submit(incoming, lambda accepted: None if done.done() else done.set_result(accepted))
        accepted = await done
        if accepted is None:
            raise Unavailable("the message cannot be kept now", hint="send it again")
        return accepted

    async def wait(self, after_seq: int) -> None:
        """Return once there is a row behind `after_seq`."""
        while self.last <= after_seq:
            arrival: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._arrivals.append(arrival)
            await arrival

    async def close(self) -> None:
        """Commit and answer what is queued, take nothing more, close the file."""
        self._closing = True
        await self._idle.wait()
        await self._stock.close()
        self._thread.shutdown()
        self._connection.close()
        await super().close()

    # The procedure -----------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Write once the loop has handed out what has come: that is the group."""
        if not (self._writing or self._woken) and self._queue:
            self._woken = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        self._woken = False
        if self._writing or not self._queue:
            return
        group = self._take_group()  # step 1
        self._stock.refill()
        if not group:
            if self._stock.failure is not None:
                self._refuse_all()
            return
        self._writing = True
        size = sum(len(incoming.data) for incoming, _ in group)
        alone = len(group) == 1
        if size > LARGE_BYTES or (alone and self._commit_s > INLINE_S):
            self._in_thread(group, lambda: self._commit(self._enter(group)))
        elif alone:
            self._on_loop(group)
        else:
            self._halved(group)

    def _take_group(self) -> _Group:
        group: _Group = []
        size, keys = 0, len(self._stock)
        while self._queue and len(group) < min(GROUP_ROWS, keys):
            size += len(self._queue[0][0].data)
            if group and size > GROUP_BYTES:
                break
            group.append(self._queue.popleft())
        return group

    def _on_loop(self, group: _Group) -> None:
        """A message alone, by the single-row path."""
        self._settle(group, self._tried(lambda: self._commit(self._enter(group))))

    def _halved(self, group: _Group) -> None:
        """Insert here, commit in the thread."""
        accepted = self._tried(lambda: self._enter(group))
        if isinstance(accepted, list):
            self._in_thread(group, lambda: self._commit(accepted))
        else:
            self._settle(group, accepted)

    def _tried(self, work: Callable[[], list[Accepted]]) -> list[Accepted] | Unavailable | IntegrityFault:
        """What came of it; after a fault of ours too, for the senders must not wait for ever because of it."""
        try:
            return work()
        except sqlite3.Error as exc:
            return self._undo(exc)
        except Exception as exc:
            self._roll_back()
            self._faulty(exc)
            return Unavailable("the journal's writer failed")

    def _roll_back(self) -> None:
        """Nothing of a group that a fault of ours ended stays open: other writers wait for it."""
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _faulty(self, error: Exception) -> None:
        self._loop.call_exception_handler({"message": "a fault in the journal", "exception": error})

    def _in_thread(self, group: _Group, work: Callable[[], list[Accepted]]) -> None:
        def guarded() -> list[Accepted] | Unavailable | IntegrityFault:
            try:
                return work()
            except sqlite3.Error as exc:
                return self._undo(exc)
            except BaseException:
                self._roll_back()
                raise

        def done(future: Future[list[Accepted] | Unavailable | IntegrityFault]) -> None:
            broken = future.exception()  # a fault of ours: the senders must not wait for ever because of it
            outcome = future.result() if broken is None else Unavailable("the journal's writer failed")
            self._loop.call_soon_threadsafe(self._settle, group, outcome)
            if broken is not None:
                raise broken

        self._thread.submit(guarded).add_done_callback(done)

    def _enter(self, group: _Group) -> list[Accepted]:
        """Steps 2 and 3. More than one row: the transaction stays open."""
        if len(group) > 1 or group[0][0].part is not None:
            self._connection.execute("BEGIN IMMEDIATE")
        seq, accepted = self._next, []
        for incoming, _ in group:
            accepted.append(self._insert(seq, incoming))
            seq += accepted[-1].seq == seq
        crash_point("journal.inserted")
        return accepted

    def _insert(self, seq: int, incoming: Incoming) -> Accepted:
        if incoming.part is not None and (kept := table.part_row(self._connection, incoming.part)) is not None:
            return Accepted(kept.seq, kept.state, kept.first, kept.ack or "", kept.issues)
        at = int(incoming.at.timestamp() * 1000)
        found, issues = table.NO_MATCH, incoming.issues
        if incoming.dedupe is not None:
            found = table.match(self._connection, incoming.dedupe, at)
            if found.reused:
                issues = (*issues, incoming.reused)
        state: State = incoming.state if found.first is None else DUPLICATE
        ack = found.ack or _ack(incoming, seq)
        key_id, body = (None, None) if state == DUPLICATE else self._seal(incoming)
        patients, lanes = table.pack(fid.hex() for fid in incoming.patients), table.pack(incoming.lanes)
        values = (
            seq, self._keys.org, incoming.feed, at, state, found.first, incoming.dedupe, " ".join(issues),
            patients, lanes, key_id, ack or None, body,
        )  # fmt: skip
        crash_point("journal.sealed")
        started = time.perf_counter()
        table.insert(self._connection, values)
        if incoming.part is not None:
            table.insert_part(self._connection, seq, incoming.part)
        if not self._connection.in_transaction:
            self._pace(started)
        return Accepted(seq, state, found.first, ack, issues)

    def _seal(self, incoming: Incoming) -> tuple[bytes, bytes]:
        seal = self._stock.take()
        return seal.key_id, seal.close(self._keys.org, incoming.feed, incoming.data)

    def _commit(self, accepted: list[Accepted]) -> list[Accepted]:
        """Step 4. A row alone has been committed by its own statement."""
        if self._connection.in_transaction:
            started = time.perf_counter()
            self._connection.execute("COMMIT")
            self._pace(started)
        crash_point("journal.committed")
        return accepted

    def _pace(self, started: float) -> None:
        self._commit_s += (time.perf_counter() - started - self._commit_s) / 8

    def _undo(self, error: sqlite3.Error) -> Unavailable | IntegrityFault:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error as exc:  # SQLite has rolled back by itself
                error = exc if table.is_lost(exc) else error
        if table.is_lost(error):
            self._broken = True
        return table.trouble(error)

    def _settle(self, group: _Group, outcome: list[Accepted] | Unavailable | IntegrityFault) -> None:
        """Step 5."""
        self._writing = False
        self._queued_bytes -= sum(len(incoming.data) for incoming, _ in group)
        if isinstance(outcome, list):
            self._next += sum(accepted.seq >= self._next for accepted in outcome)
            self._announce()
        elif self._broken:
            self._lost(outcome.text)
            self._refuse_all()
        self._write()
        for n, (_, told) in enumerate(group):
            try:
                told(outcome[n] if isinstance(outcome, list) else None)
            except Exception as exc:  # its answer could not be made; those of the others can
                self._faulty(exc)
        if not (self._queue or self._writing):
            self._idle.set()

    def _refuse_all(self) -> None:
        """What is queued cannot be kept."""
        refused, self._queue, self._queued_bytes = self._queue, deque(), 0
        for _, told in refused:
            told(None)
        if not self._writing:
            self._idle.set()

    def _announce(self) -> None:
        arrivals, self._arrivals = self._arrivals, []
        for arrival in arrivals:
            if not arrival.done():
                arrival.set_result(None)
