"""Tables of a database, as the vault uses them: asked, and changed in one transaction; whichever database it is.

Statements are written once, in what SQLite and PostgreSQL both take: `?` for a value, `IN (…)` for a list of any
length, which comes last. A file has one writer thread and a few readers. Source: ledger chapter §9.
"""

import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ledger.errors import LedgerError
from ledger.store.file import failures, insert_rows, select_in, transaction
from ledger.store.thread import ConnectionThread, ReaderPool

T = TypeVar("T")

Row = tuple[Any, ...]

_TAKEN = {sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE}
VALUES = re.compile(r"(INSERT .* VALUES) \([?, ]+\)(.*)", re.DOTALL)


class Taken(LedgerError):
    """A row with this key is there already; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Change:
    """One statement, run for each of `rows`."""

    sql: str
    rows: Sequence[Sequence[object]]


def nothing() -> None:
    """Before a commit, where nothing is to be done."""


class Tables(Protocol):
    """One database. Every call may raise the family of errors it was made with, `change` also Taken."""

    async def ask(self, sql: str, *values: object, within: Iterable[object] | None = None) -> list[Row]:
        """Rows; `within` fills the statement's `IN (…)`."""
        ...

    async def change(
        self, *changes: Change, again: bool = False, before_commit: Callable[[], None] = nothing
    ) -> list[int]:
        """All of it in one transaction, durable when this returns; how many rows each changed that was for one row.
        `again`: it may be done twice, which does nothing more. `before_commit`: when all is written and nothing
        durable; where one statement does both there is no such moment."""
        ...

    async def last(self, table: str) -> int:
        """The highest `rowid`; whatever is written from now on has a higher one."""
        ...

    async def forget(self, *tables: str) -> None:
        """Leave nothing of what was deleted or overwritten in these, as far as the database can."""
        ...

    async def close(self) -> None: ...


class SqliteTables:
    """A file, or memory where there are no readers."""

    def __init__(
        self,
        writer: ConnectionThread[sqlite3.Connection],
        readers: ReaderPool[sqlite3.Connection] | None,
        kind: str,
        family: Callable[[str], LedgerError],
    ) -> None:
        self._writer, self._readers, self._kind, self._family = writer, readers, kind, family

    async def ask(self, sql: str, *values: object, within: Iterable[object] | None = None) -> list[Row]:
        if within is None:
            return await self._read(lambda connection: connection.execute(sql, values).fetchall())
        filled = sql.replace("(…)", "({})")
        return await self._read(lambda connection: list(select_in(connection, filled, within, *values)))

    async def change(
        self, *changes: Change, again: bool = False, before_commit: Callable[[], None] = nothing
    ) -> list[int]:
        def work(connection: sqlite3.Connection) -> list[int]:
            with transaction(connection):
                try:
                    counts = [_run(connection, change) for change in changes]
                except sqlite3.IntegrityError as exc:
                    if exc.sqlite_errorcode in _TAKEN:
                        raise Taken("row exists already") from exc
                    raise
                before_commit()
            return counts

        return await self._write(work)

    async def last(self, table: str) -> int:
        found = await self.ask(f"SELECT coalesce(max(rowid), 0) FROM {table}")  # noqa: S608 - our own names
        return int(found[0][0])

    async def forget(self, *tables: str) -> None:
        """Freed pages are overwritten as they are freed (`secure_delete`), but the WAL holds what they were."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        await self._write(work)

    async def close(self) -> None:
        if self._readers is not None:
            self._readers.close()
        self._writer.close()

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with failures(self._kind, self._family):
            return await self._writer.run(work)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with failures(self._kind, self._family):
            return await (self._readers or self._writer).run(work)


def _run(connection: sqlite3.Connection, change: Change) -> int:
    if len(change.rows) > 1 and (several := VALUES.fullmatch(change.sql)):
        insert_rows(connection, several[1], [tuple(row) for row in change.rows], several[2])
        return len(change.rows)
    return connection.executemany(change.sql, change.rows).rowcount
