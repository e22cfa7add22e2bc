"""The data store as a file: SQLite, its pragmas and its threads.

Writes run one after the other in the file's writer thread under BEGIN IMMEDIATE, which is the lock of the fhir chapter
§8 here; reads run in a few reader threads, each in one snapshot.

Source: operations chapter §10 (explicit durability); SQLite's WAL mode with synchronous=FULL, in which a commit has
been fsynced when it returns.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from adapter.errors import ConfigurationError, IntegrityFault, Unavailable
from adapter.store.place import RESTORE
from adapter.store.statements import Hot, Row
from adapter.store.tables import NUMBERS
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
STATEMENTS = 256
TOGETHER = 24  # rows of one INSERT
WRITE, READ = "BEGIN IMMEDIATE", "BEGIN"

T = TypeVar("T")


class SqliteHot(Hot, dialect="sqlite"):
    """Statements on the file's own connection."""

    __slots__ = ("_raw",)

    def __init__(self, conn: Connection) -> None:
        self._raw = cast(sqlite3.Connection, conn.connection.driver_connection)

    def all(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        return self._raw.execute(sql, params).fetchall()

    def one(self, sql: str, params: Sequence[Any] = ()) -> Row | None:
        return cast(Row | None, self._raw.execute(sql, params).fetchone())

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        return self._raw.execute(sql, params).rowcount

    def many(self, sql: str, rows: Collection[Sequence[Any]]) -> None:
        if rows:
            self._raw.executemany(sql, rows)

    def insert(self, into: str, rows: Sequence[Row], conflict: str = "") -> None:
        """Some dozens a statement: each step of a statement gives the interpreter lock away, and a busy event loop
        takes its time to give it back."""
        whole = len(rows) - len(rows) % TOGETHER
        if rows:
            row = f"({','.join('?' * len(rows[0]))})"
            sql = f"INSERT {into} VALUES {','.join([row] * TOGETHER)} {conflict}"  # noqa: S608 - our own names
            for start in range(0, whole, TOGETHER):
                self._raw.execute(sql, [value for one in rows[start : start + TOGETHER] for value in one])
            self._raw.executemany(f"INSERT {into} VALUES {row} {conflict}", rows[whole:])  # noqa: S608

    def each_in(self, sql: str, values: Sequence[Any], params: Sequence[Any] = ()) -> Iterator[Row]:
        for start in range(0, len(values), 32):
            part = list(values[start : start + 32])
            part += part[-1:] * (_padded(len(part)) - len(part))
            yield from self._raw.execute(sql.replace("(…)", _MARKS[len(part)]), [*params, *part])

    def draw(self) -> int:
        row = self.one(_DRAW, (1 + NUMBERS, NUMBERS))
        if row is None:
            raise RuntimeError("the sequence gave no number")
        return int(row[0]) - NUMBERS

    def settled(self) -> int:
        row = self.one("SELECT coalesce(max(txn), 0) FROM txn")
        return int(row[0]) if row else 0


_DRAW = """
    INSERT INTO sequence(name, next) VALUES ('number', ?)
    ON CONFLICT(name) DO UPDATE SET next = sequence.next + ? RETURNING next
"""


def _padded(count: int) -> int:
    return next(size for size in (1, 4, 16, 32) if size >= count)


_MARKS = {size: f"({','.join('?' * size)})" for size in (1, 4, 16, 32)}


class SqliteFile:
    """One file that holds, or is to hold, a data store: for what is done once, with nobody else there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def make(self, work: Callable[[Connection], T]) -> T:
        """Make the file by `work`. An existing one is refused."""
        if self._path.exists():
            raise ConfigurationError("the data store exists already", hint="choose another folder")
        with _open(self._path) as conn:
            made = transact(conn, WRITE, work)
        self._path.chmod(0o600)
        return made

    def look(self, work: Callable[[Connection], T]) -> T:
        """Ask the file something. Raises IntegrityFault where there is none."""
        with _existing(self._path) as conn:
            return transact(conn, READ, work)

    def change(self, work: Callable[[Connection], T]) -> T:
        """Change the file, wholly or not at all."""
        with _existing(self._path) as conn:
            return transact(conn, WRITE, work)

    def serve(self, readers: int) -> "SqliteEngine":
        return SqliteEngine(self._path, readers)


class SqliteEngine:
    """The open file: one writer, a few readers."""

    def __init__(self, path: Path, readers: int) -> None:
        self._writer = ConnectionThread(lambda: connect(path), "data-write")
        self._readers = ReaderPool(lambda: connect(path, "query_only=1"), "data-read", readers)

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await self._writer.run(lambda conn: transact(conn, WRITE, work))

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._readers.run(lambda conn: transact(conn, READ, work))

    async def glance(self, work: Callable[[Connection], T]) -> T:
        return await self.read(work)  # a transaction costs no round trip here

    def write_now(self, work: Callable[[Connection], T]) -> T:
        return self._writer.call(lambda conn: transact(conn, WRITE, work))

    def read_now(self, work: Callable[[Connection], T]) -> T:
        return self._readers.call(lambda conn: transact(conn, READ, work))

    def listen(self, channel: str, wake: Callable[[], None]) -> Callable[[], None]:
        """A file has one process, which wakes itself."""
        return lambda: None

    def close(self) -> None:
        self._readers.close()
        self._writer.close()


def transact(conn: Connection, begin: str, work: Callable[[Connection], T]) -> T:
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
        conn = connect(path)
    except DBAPIError as exc:
        raise _ours(exc.orig) from exc
    except sqlite3.DatabaseError as exc:
        raise _ours(exc) from exc
    try:
        yield conn
    finally:
        conn.close()


def connect(path: Path, *more: str) -> Connection:
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
