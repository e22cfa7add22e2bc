"""The data store's file: opened, checked, migrated, and its threads.

A unit of work is one plain function `work(conn)`, `conn` a SQLAlchemy connection inside a transaction. Writes run one
after the other in the file's writer thread under BEGIN IMMEDIATE, which is the lock of the fhir chapter §8 on SQLite;
reads run in a few reader threads, each in one snapshot. While a unit runs, no other store is asked.

`Hot` is the same connection without SQLAlchemy's compiler, for statements that run many times a message: SQLAlchemy
costs 20 µs a statement, a message writes two hundred rows.

Source: fhir chapter §5; operations chapter §10 (explicit durability); SQLite's WAL mode with synchronous=FULL, in which
a commit has been fsynced when it returns.
"""

import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine, create_engine, insert, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from adapter.errors import ConfigurationError, IntegrityFault, Unavailable
from adapter.store.migrating import upgrade
from adapter.store.tables import REVISION, meta
from ledger.store.thread import ConnectionThread, ReaderPool

BUSY_MS = 5_000  # another process may hold the file for a moment: a backup, a migration
CACHE_KIB = 32_768
CHECKPOINT_PAGES = 8_000  # 32 MiB of WAL: index pages written again and again reach the file once
PRAGMAS = (
    f"busy_timeout={BUSY_MS}",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "temp_store=MEMORY",  # nothing of a sort or a savepoint in a file beside ours
    f"cache_size=-{CACHE_KIB}",
    f"wal_autocheckpoint={CHECKPOINT_PAGES}",
)
PAIRING = "pairing"
STATEMENTS = 256
TOGETHER = 24  # rows of one INSERT
RESTORE = "restore data, journal, vault and log of one site together; nothing was changed"
UPGRADE = "chartbridge db upgrade"
NEWER = "a later version of Chartbridge has written it: install that one; nothing was changed"

T = TypeVar("T")
Row = tuple[Any, ...]


class Hot:
    """Raw statements on a connection's driver, `?` for parameters."""

    __slots__ = ("_raw",)

    def __init__(self, conn: Connection) -> None:
        self._raw = cast(sqlite3.Connection, conn.connection.driver_connection)

    def all(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        return self._raw.execute(sql, params).fetchall()

    def one(self, sql: str, params: Sequence[Any] = ()) -> Row | None:
        return cast(Row | None, self._raw.execute(sql, params).fetchone())

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        """The number of rows changed."""
        return self._raw.execute(sql, params).rowcount

    def many(self, sql: str, rows: Collection[Sequence[Any]]) -> None:
        if rows:
            self._raw.executemany(sql, rows)

    def insert(self, into: str, rows: Sequence[Row]) -> None:
        """Many rows `INTO table(columns)`, some dozens a statement: each step of a statement gives the interpreter lock
        away, and a busy event loop takes its time to give it back."""
        whole = len(rows) - len(rows) % TOGETHER
        if rows:
            row = f"({','.join('?' * len(rows[0]))})"
            sql = f"INSERT {into} VALUES {','.join([row] * TOGETHER)}"  # noqa: S608 - our own names
            for start in range(0, whole, TOGETHER):
                self._raw.execute(sql, [value for one in rows[start : start + TOGETHER] for value in one])
            self._raw.executemany(f"INSERT {into} VALUES {row}", rows[whole:])  # noqa: S608

    def each_in(self, sql: str, values: Sequence[Any], params: Sequence[Any] = ()) -> Iterator[Row]:
        """Rows of `sql`, whose `IN (…)` stands last, for any number of values: a few statements, each prepared once."""
        for start in range(0, len(values), 32):
            part = list(values[start : start + 32])
            part += part[-1:] * (_padded(len(part)) - len(part))
            yield from self._raw.execute(sql.replace("(…)", _MARKS[len(part)]), [*params, *part])


def _padded(count: int) -> int:
    return next(size for size in (1, 4, 16, 32) if size >= count)


_MARKS = {size: f"({','.join('?' * size)})" for size in (1, 4, 16, 32)}


@contextmanager
def savepoint(hot: Hot, name: str = "unit") -> Iterator[None]:
    """What is done inside is undone, alone, when it raises."""
    hot.run(f"SAVEPOINT {name}")
    try:
        yield
    except BaseException:
        hot.run(f"ROLLBACK TO {name}")
        hot.run(f"RELEASE {name}")
        raise
    hot.run(f"RELEASE {name}")


class DataStore:
    """The data store of one site. `create` once, then `open`; `close` finishes what is queued."""

    def __init__(self, path: Path, pairing: str, readers: int) -> None:
        self.pairing = pairing
        self._writer = ConnectionThread(lambda: _connect(path), "data-write")
        self._readers = ReaderPool(lambda: _connect(path, "query_only=1"), "data-read", readers)

    @classmethod
    def create(cls, path: Path, pairing: str | None = None) -> str:
        """Make the file with all migrations and its pairing id, which is returned. An existing file is refused."""
        if path.exists():
            raise ConfigurationError("the data store exists already", hint="choose another folder")
        pairing = pairing or secrets.token_hex(16)

        def work(conn: Connection) -> None:
            upgrade(conn)
            conn.execute(insert(meta).values(key=PAIRING, value=pairing))

        with _open(path) as conn:
            _transact(conn, "BEGIN IMMEDIATE", work)
        path.chmod(0o600)
        return pairing

    @classmethod
    def revision(cls, path: Path, pairing: str) -> str:
        """The migration that a file is at. Raises IntegrityFault (missing, damaged, other site)."""
        with _existing(path) as conn:
            return _revision(conn, pairing)

    @classmethod
    def upgrade(cls, path: Path, pairing: str) -> None:
        """Bring a file to this code's migration: whole and durable, or, whatever ends this process, not at all.

        The site's lock is the caller's. Raises IntegrityFault, ConfigurationError (of a later version), Unavailable.
        """

        def work(conn: Connection) -> None:
            check_known("the data store", _revision(conn, pairing), REVISION)
            upgrade(conn)

        with _existing(path) as conn:
            _transact(conn, "BEGIN IMMEDIATE", work)

    @classmethod
    def open(cls, path: Path, pairing: str, readers: int = 2) -> "DataStore":
        """Open and check. Raises IntegrityFault (missing, damaged, other site), ConfigurationError (migration)."""
        with _existing(path) as conn:
            check_current("the data store", _revision(conn, pairing), REVISION)
        return cls(path, pairing, readers)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work(conn)` in a transaction that is durable when this returns. Raises Unavailable when it cannot be."""
        return await self._writer.run(lambda conn: _transact(conn, "BEGIN IMMEDIATE", work))

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work(conn)` in one snapshot."""
        return await self._readers.run(lambda conn: _transact(conn, "BEGIN", work))

    def write_now(self, work: Callable[[Connection], T]) -> T:
        """`write` for a caller without an event loop."""
        return self._writer.call(lambda conn: _transact(conn, "BEGIN IMMEDIATE", work))

    def read_now(self, work: Callable[[Connection], T]) -> T:
        """`read` for a caller without an event loop."""
        return self._readers.call(lambda conn: _transact(conn, "BEGIN", work))

    def close(self) -> None:
        self._readers.close()
        self._writer.close()


def _transact(conn: Connection, begin: str, work: Callable[[Connection], T]) -> T:
    raw = cast(sqlite3.Connection, conn.connection.driver_connection)
    try:
        raw.execute(begin)
        try:
            result = work(conn)
        except BaseException:
            _end(conn, raw, raw.rollback)
            raise
        _end(conn, raw, raw.commit)
    except sqlite3.DatabaseError as exc:
        raise _ours(exc) from exc
    except DBAPIError as exc:
        raise _ours(exc.orig) from exc
    return result


def _end(conn: Connection, raw: sqlite3.Connection, end: Callable[[], None]) -> None:
    """End the driver's transaction, and then the one that SQLAlchemy believes in: ours is begun without it."""
    try:
        end()
    finally:
        if raw.in_transaction:
            raw.rollback()
        if conn.in_transaction():
            conn.rollback()


def _ours(error: BaseException | None) -> Exception:
    """What the driver says, in our words: SQLite's own texts name tables and paths."""
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(error, sqlite3.IntegrityError):
        return RuntimeError("a unit of work broke a constraint of the data store")
    if code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return IntegrityFault("the data store is damaged", hint=RESTORE)
    if isinstance(error, sqlite3.OperationalError):
        return Unavailable(f"the data store cannot be used now ({getattr(error, 'sqlite_errorname', 'unknown')})")
    return RuntimeError("a statement of the data store is wrong")


@contextmanager
def _existing(path: Path) -> Iterator[Connection]:
    if not path.is_file():
        raise IntegrityFault("the data store is missing", hint=RESTORE)
    with _open(path) as conn:
        yield conn


@contextmanager
def _open(path: Path) -> Iterator[Connection]:
    try:
        conn = _connect(path)
    except DBAPIError as exc:
        raise _ours(exc.orig) from exc
    except sqlite3.DatabaseError as exc:
        raise _ours(exc) from exc
    try:
        yield conn
    finally:
        conn.close()


def _connect(path: Path, *more: str) -> Connection:
    engine = _engine(path)
    conn = engine.connect()
    raw = cast(sqlite3.Connection, conn.connection.driver_connection)
    raw.isolation_level = None  # transactions are begun here, not guessed by the driver
    for pragma in (*PRAGMAS, *more):
        raw.execute(f"PRAGMA {pragma}")
    return conn


def _engine(path: Path) -> Engine:
    url = f"sqlite+pysqlite:///{path}"
    return create_engine(url, poolclass=NullPool, connect_args={"cached_statements": STATEMENTS})


def _revision(conn: Connection, pairing: str) -> str:
    """The cheap part of every start: readable, ours, of this site; and at which migration."""
    try:
        found = conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        stored = conn.execute(select(meta.c.value).where(meta.c.key == PAIRING)).scalar()
    except DBAPIError as exc:
        if isinstance(exc.orig, sqlite3.OperationalError) and "no such table" in str(exc.orig):
            raise IntegrityFault("the data store is not one of ours, or empty", hint=RESTORE) from exc
        raise _ours(exc.orig) from exc
    if found is None:
        raise IntegrityFault("the data store is not one of ours, or empty", hint=RESTORE)
    if stored != pairing:
        raise IntegrityFault("the data store belongs to another site: its pairing id differs", hint=RESTORE)
    return str(found)


def check_current(name: str, found: str, needed: str) -> None:
    """Raises ConfigurationError, with the way out, for a store that is not what this version needs."""
    check_known(name, found, needed)
    if found != needed:
        raise ConfigurationError(f"{name} is at migration {found}, this version needs {needed}", hint=UPGRADE)


def check_known(name: str, found: str, needed: str) -> None:
    """Raises ConfigurationError for a store of a later version. Migrations are in the order of their numbers' texts."""
    if found > needed:
        raise ConfigurationError(f"{name} is at migration {found}, this version knows {needed} at most", hint=NEWER)
