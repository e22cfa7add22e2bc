"""The vault's tables on a PostgreSQL server: `tables.py`'s statements in its words.

What was deleted lies in dead rows until its table is rewritten (`forget`), in the server's WAL until that is recycled,
and in its archive and backups for as long as these are kept: the last two are its operator's.
Source: ledger chapter §9; PostgreSQL 15, "Routine Vacuuming".
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import chain, count

from ledger.errors import LedgerError
from ledger.store.server import (
    DURABLY,
    TAKEN,
    Connection,
    Otherwise,
    Server,
    ServerError,
    carry_out,
    columns,
    failures,
    look,
    transact,
    transaction,
    written,
)
from ledger.store.tables import VALUES, Change, Row, Taken, nothing

ROWS = 64  # of one INSERT
REWRITE_S = 600.0


class ServerTables:
    """One database. A role that does not own its tables changes rows as well, but cannot rewrite a table."""

    def __init__(self, server: Server, kind: str, family: Callable[[str], LedgerError]) -> None:
        self._server, self._kind, self._family = server, kind, family
        self._types: dict[str, tuple[str, ...]] = {}  # of a statement's parameters, as the server knows them

    async def ask(self, sql: str, *values: object, within: Iterable[object] | None = None) -> list[Row]:
        given = values if within is None else (*values, list(within))
        with failures(self._kind, self._family):
            return await look(self._server, lambda connection: _rows(connection, sql, given))

    async def change(
        self, *changes: Change, again: bool = False, before_commit: Callable[[], None] = nothing
    ) -> list[int]:
        async def work(connection: Connection) -> list[int]:
            counts = [await _change(connection, change) for change in changes]
            before_commit()
            return counts

        whole = transaction(work)
        one = self._insert(changes[0]) if again and len(changes) == 1 else None
        with failures(self._kind, self._family):
            try:
                counts: list[int] = await carry_out(
                    self._server, one or whole, again=again, otherwise=whole if one else None
                )
            except ServerError as exc:
                if exc.state == TAKEN:
                    raise Taken("row exists already") from exc
                raise
        return counts

    def _insert(self, change: Change) -> "Callable[[], _Insert] | None":
        """Tries to do it by one statement; None where it is no insert of rows, or what is there already is a fault."""
        several = VALUES.fullmatch(change.sql)
        if several is None or not several[2].strip() or not change.rows:
            return None
        return lambda: _Insert(several, change.rows, self._types)

    async def last(self, table: str) -> int:
        """A number is drawn by whoever writes, under a lock that this one waits for: none is on its way."""

        async def work(connection: Connection) -> int:
            await connection.execute(f"LOCK TABLE {table} IN SHARE MODE")
            row = await connection.fetchrow(f"SELECT coalesce(max(rowid), 0) FROM {table}")  # noqa: S608 - our own names
            return int(row[0])

        with failures(self._kind, self._family):
            return await transact(self._server, work, again=True)

    async def forget(self, *tables: str) -> None:
        for table in tables:
            with failures(self._kind, self._family):
                await self._server.run(partial(_rewrite, table=table))

    async def close(self) -> None:
        await self._server.close()


class _Insert:
    """One try to insert rows by one statement, its columns as arrays, in a transaction of its own.

    Nothing is written where the session would not be durable; then it writes fewer than there are.
    """

    def __init__(
        self, statement: re.Match[str], rows: Sequence[Sequence[object]], types: dict[str, tuple[str, ...]]
    ) -> None:
        self._into, self._conflict, self._rows, self._types = statement[1], statement[2], rows, types
        self.committing = False

    async def run(self, connection: Connection) -> list[int]:
        """How many it wrote. Raises Otherwise."""
        sql = _numbered(f"{self._into} ({', '.join('?' * len(self._rows[0]))})")
        if (types := self._types.get(sql)) is None:
            statement = await connection.prepare(sql)
            types = self._types[sql] = tuple(one.name for one in statement.get_parameters())
        self.committing = True
        said = await connection.execute(_whole(self._into, types, self._conflict), *columns(self._rows))
        if written(said) < len(self._rows):
            raise Otherwise
        return [written(said)]


@lru_cache(maxsize=64)
def _whole(into: str, types: tuple[str, ...], conflict: str) -> str:
    arrays = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(types, 1))
    table = into.removesuffix("VALUES")
    return f"{table} SELECT * FROM unnest({arrays}) WHERE {DURABLY} {conflict}"  # noqa: S608 - our own statement


async def _rewrite(connection: Connection, table: str) -> None:
    await connection.execute("SET statement_timeout = 0")
    try:
        await connection.execute(f"VACUUM (FULL) {table}", timeout=REWRITE_S)
    finally:
        await connection.execute("RESET statement_timeout")


async def _rows(connection: Connection, sql: str, values: Iterable[object]) -> list[Row]:
    return [tuple(row) for row in await connection.fetch(_numbered(sql), *values)]


async def _change(connection: Connection, change: Change) -> int:
    if len(change.rows) == 1:
        return written(await connection.execute(_numbered(change.sql), *change.rows[0]))
    several = VALUES.fullmatch(change.sql)
    if change.rows and several is None:
        await connection.executemany(_numbered(change.sql), change.rows)
    elif several is not None:
        for some in _powers(change.rows):
            marks = ", ".join([f"({', '.join('?' * len(some[0]))})"] * len(some))
            await connection.execute(_numbered(f"{several[1]} {marks}{several[2]}"), *chain.from_iterable(some))
    return len(change.rows)


def _powers(rows: Sequence[Sequence[object]]) -> Iterator[Sequence[Sequence[object]]]:
    """Few lengths, each a statement that the connection has prepared already."""
    start, size = 0, ROWS
    while start < len(rows):
        while len(rows) - start < size:
            size //= 2
        yield rows[start : start + size]
        start += size


@lru_cache(maxsize=256)
def _numbered(sql: str) -> str:
    """`$1` for each `?`, one array for an `IN (…)`."""
    numbers = count(1)
    return re.sub(r"\?", lambda found: f"${next(numbers)}", sql.replace("IN (…)", "= ANY(?)"))
