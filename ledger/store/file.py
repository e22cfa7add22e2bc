"""The SQLite files of this package: creating one, opening the right one, refusing any other.

A file is created once, with mode 0600 and the pairing id of its node; opening never creates. A missing, empty, foreign
or damaged file raises IntegrityError and is left as it is. Source: ledger chapter §6; operations chapter (exit 7).
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ledger.errors import IntegrityError, LedgerError

BUSY_MS = 1_000
CHECKPOINT_PAGES = 4_000  # 16 MB of WAL before it moves into the file: measured, 64 clients gain a tenth over 1,000
_CHUNK = 500  # values of one IN list
_ROWS = 32  # of one INSERT
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_META = "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;\n"


def create_file(path: Path, kind: str, schema: str, meta: dict[str, str], first: str = "") -> None:
    """A new file with `schema`, `meta` and the `first` row, durable. Raises IntegrityError where there is one."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError as exc:
        raise IntegrityError(f"{kind} exists already: nothing was changed") from exc
    with _closing(path) as connection:
        _prepare(connection)
        connection.execute("BEGIN IMMEDIATE")
        _fill(connection, kind, schema, meta)
        if first:
            connection.execute(first)
        connection.execute("COMMIT")
    sync_folder(path.parent)


def open_file(path: Path, kind: str, pairing: str, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection to the `kind` of this node. Raises IntegrityError for a missing, empty or another's file."""
    if not path.is_file():
        raise IntegrityError(f"{kind} is missing")
    if not path.stat().st_size:
        raise IntegrityError(f"{kind} is empty")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
    try:
        _belongs(connection, kind, pairing)
        _prepare(connection, read_only=read_only)
    except BaseException:
        connection.close()
        raise
    return connection


def _belongs(connection: sqlite3.Connection, kind: str, pairing: str) -> None:
    """Asked before any setting is made: another's file is left as it is."""
    try:
        meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    except sqlite3.Error as exc:
        raise IntegrityError(f"{kind} is not a {kind}, or is damaged") from exc
    if meta.get("kind") != kind:
        raise IntegrityError(f"{kind} is a file of another kind")
    if meta.get("pairing") != pairing:
        raise IntegrityError(f"{kind} belongs to another node: its pairing id differs")


def memory_connection(kind: str, schema: str, meta: dict[str, str]) -> sqlite3.Connection:
    """The same tables in memory, for tests and for nodes that keep nothing."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    _fill(connection, kind, schema, meta)
    return connection


def select_in(
    connection: sqlite3.Connection, sql: str, values: Iterable[object], *before: object
) -> Iterator[tuple[Any, ...]]:
    """`sql` with its IN list filled, in chunks that SQLite takes."""
    rest = iter(values)
    while chunk := list(islice(rest, _CHUNK)):
        yield from connection.execute(sql.format(", ".join("?" * len(chunk))), (*before, *chunk))


def insert_rows(
    connection: sqlite3.Connection, sql: str, rows: Sequence[tuple[object, ...]], conflict: str = ""
) -> None:
    """`sql` up to VALUES, many rows a statement: each step gives up the interpreter and waits to get it back."""
    one = f"({', '.join('?' * len(rows[0]))})" if rows else ""
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]  # of few lengths, each a statement that the connection keeps compiled
        connection.execute(f"{sql} {', '.join([one] * len(some))} {conflict}", tuple(chain.from_iterable(some)))


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One write transaction; any exception rolls back."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def failures(what: str, family: Callable[[str], LedgerError]) -> Iterator[None]:
    """SQLite's errors as ours: damage is IntegrityError, anything else `family`. Only the error's name goes out."""
    try:
        yield
    except sqlite3.Error as exc:
        name = getattr(exc, "sqlite_errorname", type(exc).__name__)
        if getattr(exc, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
            raise IntegrityError(f"{what} is damaged ({name})") from exc
        raise family(f"{what} failed ({name})") from exc


def _fill(connection: sqlite3.Connection, kind: str, schema: str, meta: dict[str, str]) -> None:
    """Tables and meta rows, statement by statement: `executescript` would commit in between."""
    statement = ""
    for line in (_META + schema).splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
    connection.executemany("INSERT INTO meta(key, value) VALUES (?, ?)", {"kind": kind, **meta}.items())


def _prepare(connection: sqlite3.Connection, *, read_only: bool = False) -> None:
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA temp_store = MEMORY")  # what a statement of many rows may undo lies in no file beside
    connection.execute("PRAGMA recursive_triggers = ON")  # or REPLACE would delete past the triggers
    if read_only:
        connection.execute("PRAGMA query_only = ON")


@contextmanager
def _closing(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a synced file may still be lost with its name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
