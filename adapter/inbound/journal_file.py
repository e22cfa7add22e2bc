"""The journal as a file of the site: SQLite, this process its only writer.

Statements on small messages run on the event loop, because handing each to a thread costs more than the statement. The
commit of a group runs in the writer thread, so that the loop goes on receiving. A message alone is one statement,
committed on the loop as long as the disk answers within INLINE_S: the way to a thread and back would cost its sender a
quarter of the rate. Large messages go to the thread whole. The connection is never in two threads at once: while
`_writing`, the loop leaves it alone.

The file is synced when a commit returns. After a failed fsync nothing more is taken, since nobody can know what the
disk holds: `lost` says so, and the process should end. Source: operations chapter §4.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from adapter.crash import crash_point
from adapter.errors import IntegrityFault, Unavailable
from adapter.inbound import journal_table as table
from adapter.inbound.bodies import Entropy, MessageKeys
from adapter.inbound.journal import LARGE_BYTES, Accepted, Group, Incoming, Journal, control_id
from adapter.inbound.journal_table import DUPLICATE, NEW, FileStatements, State, Statements
from ledger.store.thread import ReaderPool

INLINE_S = 0.002

T = TypeVar("T")


def _ack(incoming: Incoming, seq: int) -> str:
    """What the row keeps of its answer; "" where there is none, or none yet."""
    return (
        " ".join(filter(None, (incoming.code, control_id(seq), incoming.time, incoming.due))) if incoming.code else ""
    )


class FileSource:
    """Readers of the file."""

    def __init__(self, path: Path, pairing: str, readers: int = 2) -> None:
        self._readers = ReaderPool(lambda: table.connect(path, pairing, read_only=True), "journal-read", readers)

    async def read(self, work: Callable[[Statements], T]) -> T:
        try:
            return await self._readers.run(lambda connection: work(FileStatements(connection)))
        except sqlite3.Error as exc:
            raise table.trouble(exc) from exc

    def close(self) -> None:
        self._readers.close()


class FileJournal(Journal):
    """The one writer of a file."""

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
        super().__init__(FileSource(path, pairing), keys, entropy, lost)
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal-write")
        self._commit_s = INLINE_S  # running mean; the first commits say whether the disk is fast

    @property
    def last(self) -> int:
        return self._next - 1

    async def close(self) -> None:
        """Commit and answer what is queued, take nothing more, close the file."""
        await super().close()
        self._writer.shutdown()
        self._connection.close()

    def _took(self, accepted: Sequence[Accepted]) -> None:
        self._next += sum(one.seq >= self._next for one in accepted)

    def _keep(self, group: Group, size: int) -> None:
        alone = len(group) == 1
        if size > LARGE_BYTES or (alone and self._commit_s > INLINE_S):
            self._in_thread(group, lambda: self._commit(self._enter(group)))
        elif alone:
            self._on_loop(group)
        else:
            self._halved(group)

    def _on_loop(self, group: Group) -> None:
        """A message alone, by the single-row path."""
        self._settle(group, self._tried(lambda: self._commit(self._enter(group))))

    def _halved(self, group: Group) -> None:
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

    def _in_thread(self, group: Group, work: Callable[[], list[Accepted]]) -> None:
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

        self._writer.submit(guarded).add_done_callback(done)

    def _enter(self, group: Group) -> list[Accepted]:
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
        sealed: tuple[bytes, bytes] | None = None
        if incoming.dedupe is not None and incoming.state == NEW and len(incoming.data) <= LARGE_BYTES:
            sealed, ack = self._sealed(incoming), _ack(incoming, seq)
            values = self._values(seq, incoming, at, NEW, None, incoming.issues, ack, sealed)
            if self._put(seq, values, incoming, unheard=incoming.dedupe):
                return Accepted(seq, NEW, None, ack, incoming.issues)
        return self._heard_of(seq, incoming, at, sealed)

    def _heard_of(self, seq: int, incoming: Incoming, at: int, sealed: tuple[bytes, bytes] | None) -> Accepted:
        """One whose control id was accepted before, or that has none, or is none that is accepted."""
        found, issues = table.NO_MATCH, incoming.issues
        if incoming.dedupe is not None:
            found = table.match(self._connection, incoming.dedupe, at)
            if found.reused:
                issues = (*issues, incoming.reused)
        state: State = incoming.state if found.first is None else DUPLICATE
        ack = found.ack or _ack(incoming, seq)
        if state == DUPLICATE:
            sealed = None
        elif sealed is None:
            sealed = self._sealed(incoming)
        values = self._values(seq, incoming, at, state, found.first, issues, ack, sealed)
        self._put(seq, values, incoming)
        return Accepted(seq, state, found.first, ack, issues)

    def _sealed(self, incoming: Incoming) -> tuple[bytes, bytes]:
        sealed = self._seal(incoming)
        crash_point("journal.sealed")
        return sealed

    def _values(
        self,
        seq: int,
        incoming: Incoming,
        at: int,
        state: State,
        first: int | None,
        issues: tuple[str, ...],
        ack: str,
        sealed: tuple[bytes, bytes] | None,
    ) -> tuple[object, ...]:
        """A row as the table's statements take it."""
        key_id, body = sealed or (None, None)
        patients, lanes = table.pack(fid.hex() for fid in incoming.patients), table.pack(incoming.lanes)
        return (
            seq, self._keys.org, incoming.feed, at, state, first, incoming.dedupe, " ".join(issues),
            patients, lanes, key_id, ack or None, body,
        )  # fmt: skip

    def _put(self, seq: int, values: tuple[object, ...], incoming: Incoming, unheard: bytes | None = None) -> bool:
        """Insert, and note how long a commit took where it was one."""
        started = time.perf_counter()
        if not table.insert(self._connection, values, unheard):
            return False
        if incoming.part is not None:
            table.insert_part(self._connection, seq, incoming.part)
        if not self._connection.in_transaction:
            self._pace(started)
        return True

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
