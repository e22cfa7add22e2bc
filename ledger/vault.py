"""The vault: subject keys, organisation keys, message keys and sealed details, in a store of its own.

It keeps wrapped bytes only; wrapping and unwrapping is the key ring's, sealing details `commitment.py`'s. One row is
one key, and one deletion: what a destroyed row opened is closed for ever, in entries and on disk.
Source: ledger chapter §9; ARCHITECTURE §6.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ledger.clock import Clock, utc_now
from ledger.errors import ConflictError, StorageError
from ledger.store.base import Step, no_step
from ledger.store.file import create_file, memory_connection, open_file
from ledger.store.tables import Change, Row, SqliteTables, Tables, Taken
from ledger.store.thread import ConnectionThread, ReaderPool

KIND = "vault"
SOUGHT = 100_000  # details looked through at once

SCHEMA = """
CREATE TABLE subject(
  org TEXT NOT NULL, "row" INTEGER NOT NULL, gen INTEGER NOT NULL, wrapped BLOB, kek_id TEXT NOT NULL,
  destroyed_at INTEGER, PRIMARY KEY(org, "row", gen), CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE TABLE org_key(
  org TEXT NOT NULL, kind TEXT NOT NULL, "row" INTEGER NOT NULL, gen INTEGER NOT NULL, wrapped BLOB NOT NULL,
  kek_id TEXT NOT NULL, PRIMARY KEY(org, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE message_key(
  key_id BLOB PRIMARY KEY, org TEXT NOT NULL, wrapped BLOB NOT NULL, kek_id TEXT NOT NULL, at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE detail(
  id BLOB NOT NULL UNIQUE, subject INTEGER NOT NULL, at INTEGER NOT NULL, sealed BLOB NOT NULL
) STRICT;
CREATE TRIGGER subject_stays BEFORE DELETE ON subject BEGIN SELECT RAISE(ABORT, 'a subject row stays'); END;
CREATE TRIGGER subject_destroyed BEFORE UPDATE ON subject WHEN old.destroyed_at IS NOT NULL
  BEGIN SELECT RAISE(ABORT, 'a destroyed subject row is never given a key again'); END;
"""


class VaultError(StorageError):
    """The vault refused or failed; nothing was changed."""


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """One key under the KEK `kek_id`. `row` and `gen` are bound into the wrapping, so rows cannot be swapped."""

    row: int
    gen: int
    kek_id: str
    wrapped: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a wrapped key stands, which its wrapping is bound to: the table's part, `subject`, `message` or the kind
    of an organisation's own; the row as it is bound; the generation. In the order in which they are gone through."""

    part: str
    kind: str
    bound: bytes
    gen: int


@dataclass(frozen=True, slots=True)
class WrappedAt:
    """A wrapped key, where it stands, and under which KEK."""

    place: Place
    kek_id: str
    wrapped: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What takes the place of a wrapped key that is still under `old`."""

    place: Place
    old: str
    new: str
    wrapped: bytes = field(repr=False)


# How each part of the vault is gone through for another KEK. A row number is bound as 8 bytes, which sort as it does.
_OTHERWISE = {
    "message": """SELECT 'message', key_id, 1, kek_id, wrapped FROM message_key
        WHERE org = ? AND kek_id <> ? AND key_id > ? ORDER BY key_id LIMIT ?""",
    "org": """SELECT kind, "row", gen, kek_id, wrapped FROM org_key
        WHERE org = ? AND kek_id <> ? AND kind > ? ORDER BY kind LIMIT ?""",
    "subject": """SELECT 'subject', "row", gen, kek_id, wrapped FROM subject
        WHERE org = ? AND kek_id <> ? AND destroyed_at IS NULL AND ("row", gen) > (?, ?)
        ORDER BY "row", gen LIMIT ?""",
}
_REWRAP = {
    "message": "UPDATE message_key SET wrapped = ?, kek_id = ? WHERE kek_id = ? AND org = ? AND key_id = ?",
    "org": "UPDATE org_key SET wrapped = ?, kek_id = ? WHERE kek_id = ? AND org = ? AND kind = ?",
    "subject": """UPDATE subject SET wrapped = ?, kek_id = ?
        WHERE kek_id = ? AND org = ? AND "row" = ? AND gen = ? AND destroyed_at IS NULL""",
}
_SEEK = "SELECT rowid FROM detail WHERE subject = ? AND rowid > ? AND rowid <= ?"
_DESTROY = """UPDATE subject SET wrapped = NULL, destroyed_at = ?
    WHERE org = ? AND "row" = ? AND destroyed_at IS NULL"""
_PUT_DETAIL = """INSERT INTO detail(id, subject, at, sealed) VALUES (?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET at = excluded.at"""


@dataclass(frozen=True, slots=True)
class Detail:
    """A sealed detail of one event (16-byte id); `at` is when it was last offered, Unix milliseconds."""

    id: bytes
    subject: int
    at: int
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DetailRow:
    """A detail without its content, as `detail_page` lists them."""

    rowid: int
    id: bytes
    at: int


class Vault:
    """One vault. Made by `open_vault` or `memory_vault`, on a server by `vault_server.py`; all calls are coroutines."""

    def __init__(self, tables: Tables, clock: Clock = utc_now, step: Step = no_step) -> None:
        self._tables = tables
        self._clock = clock
        self._step = step

    async def add_subjects(self, org: str, keys: Sequence[WrappedKey]) -> None:
        """New rows, all or none. Raises ConflictError where one exists, be it destroyed."""
        rows = [(org, key.row, key.gen, key.wrapped, key.kek_id) for key in keys]
        statement = 'INSERT INTO subject(org, "row", gen, wrapped, kek_id) VALUES (?, ?, ?, ?, ?)'
        await self._insert(statement, rows, "subject row exists already")

    async def subjects(self, org: str, rows: Iterable[int]) -> list[WrappedKey]:
        """Every generation of the given rows, oldest first; unknown and destroyed rows are left out."""
        sql = (
            'SELECT "row", gen, kek_id, wrapped FROM subject WHERE org = ? AND "row" IN (…) '
            'AND destroyed_at IS NULL ORDER BY "row", gen'
        )
        return [WrappedKey(*row) for row in await self._tables.ask(sql, org, within=rows)]

    async def present(self, org: str) -> set[int]:
        """Every row that still has a key: what a node compares with its owners before it starts."""
        return await self._numbers(org, "destroyed_at IS NULL")

    async def destroyed(self, org: str) -> set[int]:
        """The rows that were erased: they are never given a key again."""
        return await self._numbers(org, "destroyed_at IS NOT NULL")

    async def destroy_subject(self, org: str, row: int, at: datetime) -> int:
        """Destroy every generation of a subject's key, and her details; the number of details. Idempotent.

        The details are sought by a reader first, some at a time, because `detail` has no index by subject (one more
        random page each append); the writer then looks only at what came since.
        """
        last = await self._tables.last("detail")
        found: list[Row] = []
        for start in range(0, last, SOUGHT):
            found += await self._tables.ask(_SEEK, row, start, min(start + SOUGHT, last))
        _, _, late = await self._tables.change(
            Change(_DESTROY, [(milliseconds(at), org, row)]),
            Change("DELETE FROM detail WHERE rowid = ?", found),
            Change("DELETE FROM detail WHERE rowid > ? AND subject = ?", [(last, row)]),
            again=True,
        )
        await self._tables.forget("subject")
        return len(found) + late

    async def add_org_key(self, org: str, kind: str, key: WrappedKey) -> None:
        """The locator or identity key. Raises ConflictError where there is one: they are never rotated."""
        statement = 'INSERT INTO org_key(org, kind, "row", gen, kek_id, wrapped) VALUES (?, ?, ?, ?, ?, ?)'
        row = (org, kind, key.row, key.gen, key.kek_id, key.wrapped)
        await self._insert(statement, [row], f"{kind} key exists already")

    async def org_keys(self, org: str) -> dict[str, WrappedKey]:
        """The organisation's keys by kind."""
        found = await self._tables.ask('SELECT kind, "row", gen, kek_id, wrapped FROM org_key WHERE org = ?', org)
        return {kind: WrappedKey(*rest) for kind, *rest in found}

    async def add_message_keys(self, org: str, keys: Iterable[tuple[bytes, str, bytes]]) -> None:
        """(key id, kek id, wrapped) each, made ahead, so that an acknowledgement waits for the journal alone."""
        at = milliseconds(self._clock())
        statement = "INSERT INTO message_key(key_id, org, kek_id, wrapped, at) VALUES (?, ?, ?, ?, ?)"
        rows = [(key_id, org, kek_id, wrapped, at) for key_id, kek_id, wrapped in keys]
        await self._insert(statement, rows, "message key exists already")

    async def message_keys(self, org: str, key_ids: Iterable[bytes]) -> dict[bytes, tuple[str, bytes]]:
        """Key id → (kek id, wrapped); keys that were dropped are left out."""
        sql = "SELECT key_id, kek_id, wrapped FROM message_key WHERE org = ? AND key_id IN (…)"
        found = await self._tables.ask(sql, org, within=key_ids)
        return {key_id: (kek_id, wrapped) for key_id, kek_id, wrapped in found}

    async def message_key_ids(self, org: str, before: datetime) -> list[bytes]:
        """Ids of keys made before that time: those of them that no journal row names may be dropped."""
        sql = "SELECT key_id FROM message_key WHERE org = ? AND at < ? ORDER BY at"
        return [key_id for (key_id,) in await self._tables.ask(sql, org, milliseconds(before))]

    async def drop_message_keys(self, key_ids: Iterable[bytes]) -> None:
        """Destroy keys: the bodies under them, in the journal and in its backups, are closed."""
        rows = [(key_id,) for key_id in key_ids]
        await self._tables.change(Change("DELETE FROM message_key WHERE key_id = ?", rows), again=True)
        await self._tables.forget("message_key")

    async def wrapped_otherwise(self, org: str, kek_id: str, after: Place | None, most: int) -> list[WrappedAt]:
        """Keys that another KEK than this one wraps, in the order of their places, behind `after`; at most so many."""
        found: list[WrappedAt] = []
        for part, sql in sorted(_OTHERWISE.items()):
            if after is not None and part < after.part:
                continue
            begun = after if after is not None and after.part == part else None
            behind = (*_behind(part, begun), most - len(found))
            for kind, row, gen, by, wrapped in await self._tables.ask(sql, org, kek_id, *behind):
                bound = row if part == "message" else int(row).to_bytes(8, "big")
                found.append(WrappedAt(Place(part, kind, bound, gen), by, wrapped))
        return found

    async def wrapped_by(self, org: str) -> dict[str, int]:
        """How many keys each KEK wraps."""
        sql = """SELECT kek_id, count(*) FROM (SELECT kek_id FROM subject WHERE org = ? AND destroyed_at IS NULL
            UNION ALL SELECT kek_id FROM org_key WHERE org = ?
            UNION ALL SELECT kek_id FROM message_key WHERE org = ?) AS each_key GROUP BY kek_id ORDER BY kek_id"""
        return dict(await self._tables.ask(sql, org, org, org))

    async def rewrap(self, org: str, changes: Sequence[Rewrapped]) -> int:
        """Put wrapped keys in place, all in one transaction; how many. One that was destroyed, dropped or changed since
        it was read stays as it is."""
        done = await self._tables.change(
            *(
                Change(_REWRAP[each.place.part], [(each.wrapped, each.new, each.old, org, *_keyed(each.place))])
                for each in changes
            ),
            before_commit=lambda: self._step("rotate.written"),
        )
        return sum(done)

    async def truncate(self) -> None:
        """Leave nothing of what was overwritten: it would live on in a file's WAL, in a server's dead rows."""
        await self._tables.forget("subject", "org_key", "message_key")

    async def put_details(self, details: Sequence[Detail]) -> None:
        """Make details durable before their entries. The first sealed bytes stand; a retry keeps them young."""
        first = {
            detail.id: detail for detail in reversed(details)
        }  # in one order: two that retry the same wait in line
        rows = [(detail.id, detail.subject, detail.at, detail.sealed) for _, detail in sorted(first.items())]
        await self._tables.change(
            Change(_PUT_DETAIL, rows), again=True, before_commit=lambda: self._step("append.details_written")
        )

    async def details(self, ids: Iterable[bytes]) -> dict[bytes, Detail]:
        """By event id; what has none, or lost it to an erasure, is left out."""
        found = await self._tables.ask("SELECT id, subject, at, sealed FROM detail WHERE id IN (…)", within=ids)
        return {row[0]: Detail(*row) for row in found}

    async def detail_page(self, after: int, limit: int) -> list[DetailRow]:
        """Details in the order of their rows, behind row `after`."""
        sql = "SELECT rowid, id, at FROM detail WHERE rowid > ? ORDER BY rowid LIMIT ?"
        return [DetailRow(*row) for row in await self._tables.ask(sql, after, limit)]

    async def drop_details(self, ids: Iterable[bytes]) -> None:
        """Delete details that belong to no entry."""
        rows = [(event_id,) for event_id in ids]
        await self._tables.change(Change("DELETE FROM detail WHERE id = ?", rows), again=True)

    async def close(self) -> None:
        await self._tables.close()

    async def _numbers(self, org: str, which: str) -> set[int]:
        sql = f'SELECT DISTINCT "row" FROM subject WHERE org = ? AND {which}'  # noqa: S608 - our own words
        return {row for (row,) in await self._tables.ask(sql, org)}

    async def _insert(self, statement: str, rows: Sequence[tuple[object, ...]], conflict: str) -> None:
        try:
            await self._tables.change(Change(statement, rows))
        except Taken as exc:
            raise ConflictError(conflict) from exc


def _behind(part: str, place: Place | None) -> tuple[object, ...]:
    """Where a part goes on behind a place, or begins."""
    if part == "message":
        return (place.bound if place else b"",)
    if part == "org":
        return (place.kind if place else "",)
    return (int.from_bytes(place.bound, "big"), place.gen) if place else (-1, 0)


def _keyed(place: Place) -> tuple[object, ...]:
    """The row of a place, by its table's key."""
    if place.part == "message":
        return (place.bound,)
    return (place.kind,) if place.part == "org" else (int.from_bytes(place.bound, "big"), place.gen)


def create_vault(path: Path, pairing: str) -> None:
    """A new vault file, once, by `init`. Raises IntegrityError where there is one."""
    create_file(path, KIND, SCHEMA, {"pairing": pairing})


def open_vault(path: Path, pairing: str, clock: Clock = utc_now, step: Step = no_step) -> Vault:
    """The vault of this node. Raises IntegrityError where it is missing, empty or another's."""
    writer = ConnectionThread(lambda: open_file(path, KIND, pairing), KIND)
    try:
        readers = ReaderPool(lambda: open_file(path, KIND, pairing, read_only=True), f"{KIND}-read")
    except BaseException:
        writer.close()
        raise
    return Vault(SqliteTables(writer, readers, KIND, VaultError), clock, step)


def memory_vault(clock: Clock = utc_now, step: Step = no_step) -> Vault:
    """A vault that forgets at the end of the process."""
    writer = ConnectionThread(lambda: memory_connection(KIND, SCHEMA, {}), KIND)
    return Vault(SqliteTables(writer, None, KIND, VaultError), clock, step)


def milliseconds(at: datetime) -> int:
    """Unix time as the vault keeps it."""
    return int(at.timestamp() * 1000)
