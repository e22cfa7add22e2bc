"""The log in one SQLite file: one writer thread, a few readers, rows that nobody changes.

WAL with `synchronous=FULL`: a commit that returned is on disk. Triggers refuse UPDATE and DELETE on entries, ends and
checkpoints, so that no slip of ours rewrites history; who holds the file can, which is what checkpoints are for. One
file holds the shards of a log, one a year: an entry's `pos` is its shard's number and its index.
Source: ledger chapter §6.
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ledger.errors import ConflictError, IntegrityError
from ledger.merkle import Digest
from ledger.store.base import (
    ALONE,
    D,
    Entry,
    Facts,
    Head,
    Question,
    Step,
    StoredCheckpoint,
    StoreError,
    Writes,
    no_step,
)
from ledger.store.file import create_file, failures, insert_rows, open_file, select_in, transaction
from ledger.store.thread import ConnectionThread, ReaderPool
from ledger.tiles import Tile

T = TypeVar("T")

KIND = "log"
SHARD_SHIFT = 40  # entries of one shard, as a power of two
FIRST_SHARD = 1
_INDEX = (1 << SHARD_SHIFT) - 1

_TABLES = """
CREATE TABLE head(
  shard INTEGER PRIMARY KEY, origin TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, last_t TEXT NOT NULL
) STRICT;
CREATE TABLE entry(pos INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, leaf BLOB NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TABLE ended(ref TEXT PRIMARY KEY, pos INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE subject_epoch(subject INTEGER PRIMARY KEY, epoch INTEGER NOT NULL) STRICT;
CREATE TABLE tile(
  shard INTEGER NOT NULL, level INTEGER NOT NULL, idx INTEGER NOT NULL, hashes BLOB NOT NULL,
  PRIMARY KEY(shard, level, idx)
) STRICT;
CREATE TABLE checkpoint(
  shard INTEGER NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL, PRIMARY KEY(shard, size)
) STRICT, WITHOUT ROWID;
"""
_REFUSAL = """CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table}
  BEGIN SELECT RAISE(ABORT, 'a row of {table} is never changed'); END;
"""
SCHEMA = _TABLES + "".join(
    _REFUSAL.format(table=table, verb=verb)
    for table in ("entry", "ended", "checkpoint")
    for verb in ("UPDATE", "DELETE")
)


def create_log(path: Path, pairing: str, origin: str) -> None:
    """A new log file with its first, empty shard. Raises IntegrityError where there is one."""
    first = f"INSERT INTO head SELECT {FIRST_SHARD}, value, 0, '' FROM meta WHERE key = 'origin';\n"  # noqa: S608
    create_file(path, KIND, SCHEMA, {"pairing": pairing, "origin": origin}, first)


def open_log(path: Path, pairing: str, origin: str, step: Step = no_step) -> "SqliteLogStore":
    """The log `origin` of this node. Raises IntegrityError where it is missing, empty or another's."""
    writer = ConnectionThread(lambda: open_file(path, KIND, pairing), KIND)
    try:
        rows = writer.call(lambda connection: connection.execute("SELECT origin, shard FROM head").fetchall())
        shard = dict(rows).get(origin)
        if shard is None:
            raise IntegrityError(f"log has no shard with the origin {origin}")
        readers = ReaderPool(lambda: open_file(path, KIND, pairing, read_only=True), f"{KIND}-read")
    except BaseException:
        writer.close()
        raise
    return SqliteLogStore(writer, readers, shard, step)


class SqliteLogStore:
    """A LogStore over one file, for one of its shards. Made by `open_log`."""

    def __init__(
        self,
        writer: ConnectionThread[sqlite3.Connection],
        readers: ReaderPool[sqlite3.Connection],
        shard: int,
        step: Step,
    ) -> None:
        self._writer = writer
        self._readers = readers
        self._shard = shard
        self._base = shard << SHARD_SHIFT
        self._step = step

    async def head(self) -> Head:
        return await self._read(self._head)

    async def append(self, question: Question, decide: Callable[[Facts], D]) -> D:
        def work(connection: sqlite3.Connection) -> D:
            with transaction(connection):
                self._step("append.head_locked")
                decided = decide(self._facts(connection, question))
                self._insert(connection, decided.writes)
                self._step("append.entries_written")
            self._step("append.entries_committed")
            return decided

        return await self._write(work)

    async def entries(self, start: int, end: int) -> list[Entry]:
        sql = "SELECT pos, id, leaf, body FROM entry WHERE pos >= ? AND pos < ? ORDER BY pos"
        rows = await self._rows(sql, (self._base + start, self._base + end))
        return [self._entry(row) for row in rows]

    async def leaves(self, start: int, end: int) -> list[Digest]:
        sql = "SELECT leaf FROM entry WHERE pos >= ? AND pos < ? ORDER BY pos"
        return [Digest(leaf) for (leaf,) in await self._rows(sql, (self._base + start, self._base + end))]

    async def find(self, event_id: bytes) -> Entry | None:
        rows = await self._rows("SELECT pos, id, leaf, body FROM entry WHERE id = ?", (event_id,))
        return next((self._entry(row) for row in rows if row[0] >> SHARD_SHIFT == self._shard), None)

    async def ended(self, refs: Sequence[str]) -> dict[str, int]:
        return await self._read(lambda connection: self._ended(connection, refs))

    async def tile(self, level: int, index: int) -> bytes | None:
        sql = "SELECT hashes FROM tile WHERE shard = ? AND level = ? AND idx = ?"
        rows = await self._rows(sql, (self._shard, level, index))
        return rows[0][0] if rows else None

    async def lead(self, holder: str, for_s: float) -> int | None:
        return ALONE

    async def integrate(self, tiles: Sequence[Tile], checkpoint: StoredCheckpoint, token: int) -> None:
        def work(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                self._sign(connection, checkpoint)
                connection.executemany(
                    "INSERT INTO tile(shard, level, idx, hashes) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT(shard, level, idx) DO UPDATE SET hashes = excluded.hashes",
                    [(self._shard, tile.level, tile.index, tile.hashes) for tile in tiles],
                )
                self._step("integrate.stored")
            self._step("integrate.committed")

        await self._write(work)

    async def newest_checkpoint(self) -> StoredCheckpoint | None:
        found = await self._rows(_CHECKPOINT + " ORDER BY size DESC LIMIT 1", (self._shard,))
        return StoredCheckpoint(*found[0]) if found else None

    async def checkpoint(self, size: int) -> StoredCheckpoint | None:
        found = await self._rows(_CHECKPOINT + " AND size = ?", (self._shard, size))
        return StoredCheckpoint(*found[0]) if found else None

    async def checkpoints(self) -> list[StoredCheckpoint]:
        return [StoredCheckpoint(*row) for row in await self._rows(_CHECKPOINT + " ORDER BY size", (self._shard,))]

    async def close(self) -> None:
        self._readers.close()
        self._writer.close()

    def _facts(self, connection: sqlite3.Connection, question: Question) -> Facts:
        """Read under the write lock: nobody moves the head before this transaction ends."""
        sql = "SELECT pos, id, leaf, body FROM entry WHERE id IN ({})"
        entries = [self._entry(row) for row in select_in(connection, sql, question.ids)]
        epochs = select_in(
            connection, "SELECT subject, epoch FROM subject_epoch WHERE subject IN ({})", question.subjects
        )
        return Facts(
            self._head(connection),
            {entry.id: entry for entry in entries},
            self._ended(connection, question.refs),
            dict(epochs),
        )

    def _insert(self, connection: sqlite3.Connection, writes: Writes) -> None:
        if not writes.entries:
            return
        rows = [(self._base + entry.index, entry.id, entry.leaf, entry.body) for entry in writes.entries]
        insert_rows(connection, "INSERT INTO entry(pos, id, leaf, body) VALUES", rows)
        if writes.ended:
            ended = [(ref, self._base + index) for ref, index in writes.ended.items()]
            connection.executemany("INSERT INTO ended(ref, pos) VALUES (?, ?)", ended)
        if writes.epochs:
            connection.executemany(
                "INSERT INTO subject_epoch(subject, epoch) VALUES (?, ?) "
                "ON CONFLICT(subject) DO UPDATE SET epoch = excluded.epoch",
                writes.epochs.items(),
            )
        head = (writes.head.size, writes.head.last_t, self._shard)
        connection.execute("UPDATE head SET size = ?, last_t = ? WHERE shard = ?", head)

    def _sign(self, connection: sqlite3.Connection, checkpoint: StoredCheckpoint) -> None:
        newest = connection.execute(_CHECKPOINT + " ORDER BY size DESC LIMIT 1", (self._shard,)).fetchone()
        if newest is not None and newest[0] > checkpoint.size:
            raise ConflictError("log was integrated further meanwhile")
        if newest is not None and newest[0] == checkpoint.size:
            if newest[1] != checkpoint.root:
                raise IntegrityError(f"a second root for size {checkpoint.size}")
            return
        row = (self._shard, checkpoint.size, checkpoint.root, checkpoint.note)
        connection.execute("INSERT INTO checkpoint(shard, size, root, note) VALUES (?, ?, ?, ?)", row)

    def _head(self, connection: sqlite3.Connection) -> Head:
        return Head(*connection.execute("SELECT size, last_t FROM head WHERE shard = ?", (self._shard,)).fetchone())

    def _ended(self, connection: sqlite3.Connection, refs: Sequence[str]) -> dict[str, int]:
        found = select_in(connection, "SELECT ref, pos FROM ended WHERE ref IN ({})", refs)
        return {ref: pos & _INDEX for ref, pos in found}

    def _entry(self, row: tuple[Any, ...]) -> Entry:
        """An entry of another shard, whose id is taken all the same, has the index -1."""
        pos, event_id, leaf, body = row
        index = pos & _INDEX if pos >> SHARD_SHIFT == self._shard else -1
        return Entry(index, event_id, Digest(leaf), body)

    async def _rows(self, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        return await self._read(lambda connection: connection.execute(sql, values).fetchall())

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with failures(KIND, StoreError):
            return await self._readers.run(work)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with failures(KIND, StoreError):
            return await self._writer.run(work)


_CHECKPOINT = "SELECT size, root, note FROM checkpoint WHERE shard = ?"
