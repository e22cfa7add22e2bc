"""The data store, whichever database holds it: opened, checked, migrated, and units of work.

A unit of work is one plain function `work(conn)`, `conn` a SQLAlchemy connection inside a transaction; `Hot(conn)` runs
its frequent statements. Both may run again from the start, so a unit leaves nothing outside the transaction. While a
unit runs, no other store is asked.

Two engines stand behind `DataStore`: a file with one writer (`sqlite.py`), and a PostgreSQL server with several
(`postgres.py`, loaded only where a site names a server).
Source: fhir chapter §5, §8; architecture §4 ("async at the seams").
"""

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import Connection, insert, inspect, select

from adapter.errors import ConfigurationError, IntegrityFault, Unavailable
from adapter.store.migrating import upgrade
from adapter.store.place import RESTORE, Place, Server
from adapter.store.sqlite import SqliteFile
from adapter.store.statements import Hot, Row, savepoint
from adapter.store.tables import REVISION, meta

__all__ = ["RESTORE", "DataStore", "Hot", "Place", "Row", "Server", "check_current", "check_known", "savepoint"]

PAIRING = "pairing"
REFUSED_S = 3.0  # a write that failed is believed so long
UPGRADE = "chartbridge db upgrade"
NEWER = "a later version of Chartbridge has written it: install that one; nothing was changed"

T = TypeVar("T")


class Engine(Protocol):
    """An open database, for as long as a process needs it."""

    async def write(self, work: Callable[[Connection], T]) -> T: ...
    async def read(self, work: Callable[[Connection], T]) -> T: ...
    async def glance(self, work: Callable[[Connection], T]) -> T: ...
    def write_now(self, work: Callable[[Connection], T]) -> T: ...
    def read_now(self, work: Callable[[Connection], T]) -> T: ...
    def listen(self, channel: str, wake: Callable[[], None]) -> Callable[[], None]: ...
    def close(self) -> None: ...


class Database(Protocol):
    """A place, for what is done once: each call is a connection and a transaction of its own."""

    def make(self, work: Callable[[Connection], T]) -> T: ...
    def look(self, work: Callable[[Connection], T]) -> T: ...
    def change(self, work: Callable[[Connection], T]) -> T: ...
    def serve(self, readers: int) -> Engine: ...


class DataStore:
    """The data store of one site. `create` once, then `open`; `close` finishes what is queued."""

    def __init__(self, engine: Engine, pairing: str) -> None:
        self.pairing = pairing
        self._engine = engine
        self._refused: float | None = None  # when a write failed, if none went through since

    @classmethod
    def create(cls, place: Place, pairing: str | None = None) -> str:
        """Make the store with all migrations and its pairing id, which is returned. An existing one is refused."""
        pairing = pairing or secrets.token_hex(16)

        def work(conn: Connection) -> None:
            upgrade(conn)
            conn.execute(insert(meta).values(key=PAIRING, value=pairing))

        _database(place).make(work)
        return pairing

    @classmethod
    def revision(cls, place: Place, pairing: str) -> str:
        """The migration that a store is at. Raises IntegrityFault (missing, damaged, other site)."""
        return _database(place).look(lambda conn: _revision(conn, pairing))

    @classmethod
    def upgrade(cls, place: Place, pairing: str) -> None:
        """Bring a store to this code's migration: whole and durable, or, whatever ends this process, not at all.

        The site's lock is the caller's. Raises IntegrityFault, ConfigurationError (of a later version), Unavailable.
        """

        def work(conn: Connection) -> None:
            check_known("the data store", _revision(conn, pairing), REVISION)
            upgrade(conn)

        _database(place).change(work)

    @classmethod
    def open(cls, place: Place, pairing: str, readers: int = 2) -> "DataStore":
        """Open and check. Raises IntegrityFault (missing, damaged, other site), ConfigurationError (migration)."""
        check_current("the data store", cls.revision(place, pairing), REVISION)
        return cls(_database(place).serve(readers), pairing)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work(conn)` in a transaction that is durable when this returns. Raises Unavailable when it cannot be."""
        try:
            result = await self._engine.write(work)
        except Unavailable:
            self._refused = time.monotonic()
            raise
        self._refused = None
        return result

    async def check(self) -> None:
        """For who asks whether it can be used: a look, and where writing failed last, a write. Raises Unavailable.

        A full disk may have room for what a check writes; so for a moment the failure speaks for itself.
        """
        await self._engine.read(lambda conn: Hot(conn).one("SELECT 1"))
        if self._refused is not None:
            if time.monotonic() - self._refused < REFUSED_S:
                raise Unavailable("the data store cannot be written to now")
            await self.write(lambda conn: Hot(conn).run("UPDATE meta SET value = value WHERE key = ?", (PAIRING,)))

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work(conn)` in one snapshot."""
        return await self._engine.read(work)

    async def glance(self, work: Callable[[Connection], T]) -> T:
        """`read`, for work that most often asks one thing: where it asks more it is run again, in one snapshot."""
        return await self._engine.glance(work)

    def write_now(self, work: Callable[[Connection], T]) -> T:
        """`write` for a caller without an event loop."""
        return self._engine.write_now(work)

    def read_now(self, work: Callable[[Connection], T]) -> T:
        """`read` for a caller without an event loop."""
        return self._engine.read_now(work)

    def listen(self, channel: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Let `wake` be called, in any thread, when another process has `notify`-ed; returns what ends it.

        A notice may be missed while the server is away: `wake` is called when it is back.
        """
        return self._engine.listen(channel, wake)

    def close(self) -> None:
        self._engine.close()


def _database(place: Place) -> Database:
    if isinstance(place, Path):
        return SqliteFile(place)
    from adapter.store.postgres import PostgresDatabase  # a driver that most sites do without

    return PostgresDatabase(place)


def _revision(conn: Connection, pairing: str) -> str:
    """The cheap part of every start: readable, ours, of this site; and at which migration."""
    ours = inspect(conn).has_table("alembic_version") and inspect(conn).has_table(meta.name)
    found = conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() if ours else None
    if found is None:
        raise IntegrityFault("the data store is not one of ours, or empty", hint=RESTORE)
    if conn.execute(select(meta.c.value).where(meta.c.key == PAIRING)).scalar() != pairing:
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
