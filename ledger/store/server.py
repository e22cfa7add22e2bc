"""A database server as this package sees it: handed in, with its driver, by whoever runs the node.

A unit of work is one coroutine over one connection. `run` takes a free connection for it and takes it back: in a
transaction no more, or not at all. What the driver raises comes out as `ServerError`, with PostgreSQL's SQLSTATE and no
word of its message, which may hold values. `transact` is one durable transaction; where the connection is lost while it
commits, nobody can tell whether it did: then what may be done twice is done again, which is how its outcome is found.
Source: ledger chapter §1 (pools are handed in), §6, §13; PostgreSQL 15, appendix A.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeVar

from ledger.errors import IntegrityError, LedgerError

T = TypeVar("T")

LOCK_S = 1
TRIES = 3
REST_S = 0.05  # before the second try
TAKEN = "23505"
ABSENT = frozenset({"42P01", "3F000"})  # no such table, no such schema
UNKNOWN_COLUMN = "42703"
DAMAGED = frozenset({"XX001", "XX002"})
SET_OTHERWISE = frozenset({"40001", "25006"})  # of a session whose own transactions are stricter, or only read

# `on` in each transaction, whatever role, database or pooler say: a commit that returned is on disk
BEGIN = f"""BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SET LOCAL synchronous_commit = on; SET LOCAL lock_timeout = '{LOCK_S}s'"""
# The same, of a statement that is a transaction by itself. What it waits for a lock is the session's business.
DURABLY = "current_setting('synchronous_commit') = 'on'"


class Connection(Protocol):
    """What is used of a connection (asyncpg's, by its names)."""

    async def fetch(self, query: str, *values: Any) -> Sequence[Any]: ...
    async def fetchrow(self, query: str, *values: Any) -> Any: ...
    async def execute(self, query: str, *values: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - its own
        ...

    async def executemany(self, command: str, args: Collection[Sequence[Any]]) -> None: ...
    async def prepare(self, query: str) -> Any: ...
    async def copy_records_to_table(
        self, table_name: str, *, records: Sequence[Sequence[Any]], columns: Sequence[str]
    ) -> str: ...


Work = Callable[[Connection], Coroutine[Any, Any, T]]


class Server(Protocol):
    """One database of a server, and the connections of this process to it."""

    async def run(self, work: Work[T]) -> T:
        """Raises ServerError, and what `work` raises of its own. A caller that goes away stops nothing."""
        ...

    async def close(self) -> None: ...


class ServerError(LedgerError):
    """The server refused; it has done nothing of the unit."""

    def __init__(self, state: str) -> None:
        super().__init__(f"SQLSTATE {state}")
        self.state = state


class ServerLost(ServerError):
    """The connection is gone, or could not be had. What was in its transaction is not there, unless it committed."""

    def __init__(self, state: str = "") -> None:
        super().__init__(state)
        self.args = ("no connection",)


class InDoubt(ServerError):
    """The connection was lost in a commit, and what became of it could not be asked."""

    def __init__(self, state: str = "") -> None:
        super().__init__(state)
        self.args = ("no connection in a commit: it may be done",)


class Otherwise(Exception):
    """A unit has done nothing, and cannot be done this way."""


class Unit(Protocol):
    """One try of a unit of work; `committing` once nobody could tell whether it was done if its connection was lost."""

    @property
    def committing(self) -> bool: ...
    async def run(self, connection: Connection) -> Any: ...


async def transact(server: Server, work: Work[T], *, again: bool, first: str = "") -> T:
    """`work` in one transaction, durable when this returns. `again`: it may be done twice, which does nothing more.
    `first` is a statement that goes with its beginning, without a round trip of its own. Raises as `carry_out`.
    """
    done: T = await carry_out(server, transaction(work, first), again=again)
    return done


def transaction(work: Work[Any], first: str = "") -> Callable[[], Unit]:
    """Tries of `work` in a transaction."""
    begin = f"{BEGIN}; {first}" if first else BEGIN
    return lambda: _Transaction(work, begin)


async def carry_out(
    server: Server, unit: Callable[[], Unit], *, again: bool, otherwise: Callable[[], Unit] | None = None
) -> Any:
    """What a unit gives. A connection that was lost before the commit is no matter: the next try has another.

    `otherwise` is what is tried where the first kind cannot be (`Otherwise`), as where a row is there already or the
    session is not set for it.
    Raises ServerError; InDoubt, also where it was the first kind that is in doubt.
    """
    doubt, tried = False, 0
    while True:
        one, tried = unit(), tried + 1
        try:
            return await server.run(one.run)
        except ServerLost as lost:
            doubt = doubt or one.committing
            if tried == TRIES or (doubt and not again):
                raise InDoubt(lost.state) if doubt else lost from lost
            await asyncio.sleep(REST_S * tried)
        except (Otherwise, ServerError) as refused:
            if otherwise is not None and (isinstance(refused, Otherwise) or refused.state in (TAKEN, *SET_OTHERWISE)):
                unit, otherwise, tried = otherwise, None, 0
            elif doubt and isinstance(refused, ServerError):
                raise InDoubt(refused.state) from refused
            else:
                raise


def columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows as arrays, one a column, as `unnest` takes them."""
    return [list(column) for column in zip(*rows, strict=True)]


def written(said: str) -> int:
    """How many rows a statement changed, by what the server said of it: `INSERT 0 3`, `UPDATE 1`."""
    return int(said.rpartition(" ")[2])


async def look(server: Server, work: Work[T]) -> T:
    """What only reads; again where the connection is lost. Raises ServerError."""
    for tried in range(1, TRIES):
        with suppress(ServerLost):
            return await server.run(work)
        await asyncio.sleep(REST_S * tried)
    return await server.run(work)


class _Transaction:
    """One try; whether it came as far as its commit."""

    def __init__(self, work: Callable[[Connection], Coroutine[Any, Any, Any]], begin: str) -> None:
        self._work, self._begin = work, begin
        self.committing = False

    async def run(self, connection: Connection) -> Any:
        await connection.execute(self._begin)
        result = await self._work(connection)
        self.committing = True
        if await connection.execute("COMMIT") != "COMMIT":
            raise RuntimeError("a unit went on after an error")
        return result


@contextmanager
def failures(what: str, family: Callable[[str], LedgerError]) -> Iterator[None]:
    """A server's errors as ours: damage and missing tables or columns are IntegrityError, anything else `family`."""
    try:
        yield
    except ServerError as exc:
        if exc.state in DAMAGED:
            raise IntegrityError(f"{what} is damaged ({exc})") from exc
        if exc.state in ABSENT:
            raise IntegrityError(f"{what} is missing") from exc
        if exc.state == UNKNOWN_COLUMN:
            raise IntegrityError(f"{what} has other tables than this version knows") from exc
        raise family(f"{what} failed ({exc})") from exc


_META = "CREATE TABLE meta(key text PRIMARY KEY, value text NOT NULL);\n"
_TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema"
# Triggers that stand and fire, by table: without them a slip could rewrite what is never changed.
_GUARDS = """SELECT c.relname || '.' || t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = current_schema::regnamespace AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')"""
_COLUMNS = """SELECT table_name || '.' || column_name || ' ' || data_type FROM information_schema.columns
    WHERE table_schema = current_schema"""


async def create_database(server: Server, kind: str, schema: str, meta: dict[str, str], first: Work[None]) -> None:
    """Tables, `meta` and what comes `first`, durable, in an empty database. Raises IntegrityError for another."""

    async def work(connection: Connection) -> None:
        if (await connection.fetchrow(_TABLES))[0]:
            raise IntegrityError(f"the database of the {kind} holds tables already: nothing was changed")
        await connection.execute(_META + schema)
        rows = list({"kind": kind, **meta}.items())
        await connection.executemany("INSERT INTO meta(key, value) VALUES ($1, $2)", rows)
        await first(connection)

    await transact(server, work, again=False)


async def check_belongs(server: Server, kind: str, pairing: str) -> None:
    """Raises IntegrityError for a database without our tables, of another kind or of another node."""

    async def ask(connection: Connection) -> dict[str, str]:
        return dict([tuple(row) for row in await connection.fetch("SELECT key, value FROM meta")])

    meta = await look(server, ask)
    if meta.get("kind") != kind:
        raise IntegrityError(f"{kind} is a database of another kind")
    if meta.get("pairing") != pairing:
        raise IntegrityError(f"{kind} belongs to another node: its pairing id differs")


async def check_form(server: Server, kind: str, columns: Collection[str], guards: Collection[str]) -> None:
    """Raises IntegrityError where tables, columns or triggers are missing or otherwise than this version makes them."""

    async def ask(connection: Connection) -> tuple[set[str], set[str]]:
        return {row[0] for row in await connection.fetch(_COLUMNS)}, {row[0] for row in await connection.fetch(_GUARDS)}

    found, guarded = await look(server, ask)
    if not (set(columns) <= found and set(guards) <= guarded):
        raise IntegrityError(f"{kind} has other tables than this version knows")
