"""The data store on a PostgreSQL server: several connections, several processes.

- **Threads.** All connections of a process live on one event loop in a thread of their own. A unit of work stays
  a plain function, in a greenlet there (`postgres_statements.py`).
- **Writes** run READ COMMITTED and take their locks first (`locks.py`), so that every later statement sees what the
  units before it did. What no lock covers ends in a unique key that is there already, a deadlock or a serialization
  failure: the unit is rolled back and runs again, three times, then it is a 409 for the caller.
- **Reads** see one snapshot (REPEATABLE READ, READ ONLY); one that asks a single thing needs no transaction. Where
  a next page is to be cut, what is under way is looked at before a snapshot is taken, and the unit runs again.
- **Durable** is explicit: `synchronous_commit=on` stands in each connection's own settings, above those of role and
  database.
- **A COMMIT whose answer was lost** is settled by asking the server, on another connection, what became of the
  transaction (`pg_xact_status`): done is done, undone runs again. Who cannot be asked leaves it InDoubt.
- **Away, slow or full** is Unavailable. A connection that broke or timed out is thrown away, and the next unit opens
  another: when the server is back, so are we.

Source: fhir chapter §5, §8; architecture §4; operations chapter §10 (scale-out), faults F5 to F7.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from adapter.errors import ChartbridgeError, ConfigurationError, Conflict, InDoubt, Unavailable
from adapter.loop import factory
from adapter.store import sessions
from adapter.store.loop_thread import LoopThread
from adapter.store.place import Server
from adapter.store.postgres_statements import (
    FAULTS,
    FINAL,
    MORE,
    NOTHING,
    ONCE,
    SETTLED,
    SNAPSHOT,
    STATEMENTS,
    XACT,
    Driver,
    PostgresHot,
    of_core,
    ours,
    settled_now,
)
from adapter.store.statements import Again, Failed, Further, Hot, Unsettled
from adapter.store.stopped import Lookout

SETTING = "store.url_file"
TRIES = 3  # more, after the first
BACKOFF_S = 0.01  # before the first of them, doubled for each next
REST_S = 1.0  # before a lost listener is opened again
SETTLE_S = 5.0  # for the server to say what became of a transaction whose COMMIT was not answered
LOOK_S = 0.1  # between two such questions
SETTINGS = sessions.SETTINGS | {
    "lock_timeout": "4s",
    "idle_in_transaction_session_timeout": "10s",  # a process that was stopped in one keeps its locks no longer
    # Planning a statement takes longer than running it, and each goes by an index: a plan is made once. But for the
    # last, one that was made while a table was small would read all of it ever after.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
}
_PATIENT = SETTINGS | {  # of a migration
    "application_name": f"{sessions.APPLICATION} upgrade",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
GLANCE = ""  # no transaction: one statement is a snapshot by itself

T = TypeVar("T")


# --- connections -----------------------------------------------------------------------------------------------------


class Held:
    """One connection: SQLAlchemy's, and the driver's under it."""

    def __init__(self, conn: AsyncConnection, raw: Driver, server: Server) -> None:
        self._conn, self.raw, self._server = conn, raw, server

    @classmethod
    async def open(cls, server: Server, settings: dict[str, str]) -> "Held":
        """Raises Unavailable, ConfigurationError."""

        async def connect() -> Any:
            patient = settings is _PATIENT
            return await sessions.connect(server, settings, patient=patient, statement_cache_size=STATEMENTS)

        engine = create_async_engine(
            "postgresql+asyncpg://", async_creator=connect, poolclass=NullPool, isolation_level="AUTOCOMMIT"
        )
        try:
            conn = await engine.connect()
        except DBAPIError as exc:
            raise sessions.unreachable(of_core(exc), SETTING) from exc
        except (*FAULTS, ValueError) as exc:
            raise sessions.unreachable(exc, SETTING) from exc
        raw = (await conn.get_raw_connection()).driver_connection
        return cls(conn, cast(Driver, raw), server)

    @property
    def usable(self) -> bool:
        return not (self.raw.is_closed() or self.raw.is_in_transaction())

    async def transact(self, begin: str, work: Callable[[Connection], T], *, final: bool = True) -> T:
        """One transaction around `work`, begun without SQLAlchemy's knowledge, as on SQLite."""
        said: dict[str, object] = {FINAL: True} if final else {}
        if begin == READ:
            said[SNAPSHOT] = True
        elif begin == GLANCE:
            said[ONCE] = NOTHING
        try:
            return await self._transact(begin, work, said)
        except Unsettled:
            said[SETTLED] = await self._settled()
            return await self._transact(begin, work, said)

    async def _settled(self) -> int:
        try:
            return await settled_now(self.raw)
        except FAULTS as exc:
            meant = ours(exc, final=True)
            raise (meant.instead if isinstance(meant, Failed) else meant) from exc

    async def _transact(self, begin: str, work: Callable[[Connection], T], said: dict[str, object]) -> T:
        """`said` is what the unit's statements know of it, in the connection's `info`."""
        final = FINAL in said

        def unit(conn: Connection) -> T:
            for name in (FINAL, SNAPSHOT, SETTLED, XACT, ONCE):
                conn.info.pop(name, None)
            conn.info.update(said)
            hot = Hot(conn)
            if begin == GLANCE:
                return _at_a_glance(conn, work)
            hot.run(begin)
            try:
                result = work(conn)
            except BaseException:
                if not self.raw.is_closed():
                    with suppress(Failed):
                        hot.run("ROLLBACK")
                raise
            _commit(hot, result, begin)
            return result

        try:
            return await self._conn.run_sync(unit)
        except _Unanswered as exc:
            self.raw.terminate()
            await _settle(self._server, exc, final=final)
            return cast(T, exc.result)
        except Failed as exc:
            raise exc.instead from exc
        except DBAPIError as exc:
            meant = ours(of_core(exc), final=final)
            raise (meant.instead if isinstance(meant, Failed) else meant) from exc
        finally:
            if self._conn.in_transaction() and self.usable:
                await self._conn.rollback()

    async def drop(self) -> None:
        """Close it, without a word where it hangs."""
        if not self.usable:
            self.raw.terminate()
        with suppress(DBAPIError, *FAULTS):
            await self._conn.close()


def _at_a_glance(conn: Connection, work: Callable[[Connection], T]) -> T:
    """Raises Further where more than one thing was asked, whatever the unit made of that. What SQLAlchemy runs is not
    counted: it begins a transaction of its own, and by that is found out."""
    try:
        result = work(conn)
    except Exception as exc:
        if _needs_a_snapshot(conn):
            raise Further from exc
        raise
    if _needs_a_snapshot(conn):
        raise Further
    return result


def _needs_a_snapshot(conn: Connection) -> bool:
    return conn.info[ONCE] == MORE or conn.in_transaction()


class _Unanswered(Failed):
    """COMMIT was sent, and what came back was no answer."""

    def __init__(self, instead: Exception, transaction: str, result: object) -> None:
        super().__init__(instead)
        self.transaction, self.result = transaction, result


def _commit(hot: Hot, result: object, begin: str) -> None:
    """Raises _Unanswered where something was written and may stand."""
    written = hot.transaction() if begin == WRITE and isinstance(hot, PostgresHot) else None
    try:
        hot.run("COMMIT")
    except Failed as exc:
        if written is None:
            raise
        raise _Unanswered(exc.instead, written, result) from exc


async def _settle(server: Server, doubt: _Unanswered, *, final: bool) -> None:
    """Returns where the transaction stands. Raises Again where it does not, InDoubt where nobody can tell."""
    loop = asyncio.get_running_loop()
    until = loop.time() + SETTLE_S
    while loop.time() < until:
        state = None
        with suppress(ChartbridgeError, RuntimeError):  # away still; or a number that the server has not reached
            state = await _status(server, doubt.transaction)
        if state == "committed":
            return
        if state == "aborted":
            raise (doubt.instead if final else Again) from doubt
        await asyncio.sleep(LOOK_S)
    raise InDoubt("the data store was lost while it committed: look whether it did before trying again") from doubt


async def _status(server: Server, transaction: str) -> str | None:
    held = await Held.open(server, SETTINGS)
    try:
        sql = "SELECT pg_xact_status(?::text::xid8)"
        row = await held.transact(READ, lambda conn: Hot(conn).one(sql, (transaction,)))
    finally:
        await held.drop()
    return row[0] if row else None


class Pool:
    """So many connections at most, opened when they are needed. For one loop."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._idle: list[Held] = []
        self._slots = asyncio.Semaphore(server.connections)
        self._lookout = Lookout(self._ask)

    async def transact(self, begin: str, work: Callable[[Connection], T]) -> T:
        """Raises Unavailable; Conflict, when others were quicker each time."""
        self._lookout.look()
        for attempt in range(TRIES + 1):
            with suppress(Again):
                return await self._once(begin, work, final=attempt == TRIES)
            await asyncio.sleep(BACKOFF_S * 2**attempt * (0.5 + random.random()))  # noqa: S311 - no secret
        raise Conflict("others write the same; try again", code="conflict")

    async def glance(self, work: Callable[[Connection], T]) -> T:
        """As a read, without a transaction around it while it asks one thing alone."""
        self._lookout.look()
        with suppress(Further, Again):
            return await self._once(GLANCE, work, final=False)
        return await self.transact(READ, work)

    async def _ask(self, sql: str) -> int:
        """Of the lookout, which must not wait behind those whom it is to help."""
        if not self._slots.locked():
            row = await self._once(READ, lambda conn: Hot(conn).one(sql), final=True)
        else:
            held = await Held.open(self._server, SETTINGS)
            try:
                row = await held.transact(READ, lambda conn: Hot(conn).one(sql))
            finally:
                await held.drop()
        return int(row[0]) if row else 0

    async def _once(self, begin: str, work: Callable[[Connection], T], *, final: bool) -> T:
        try:
            await sessions.wait_for_one(self._slots)
        except TimeoutError as exc:
            raise Unavailable("the data store cannot be used now (every connection is busy)") from exc
        try:
            held = await self._take()
            try:
                result = await held.transact(begin, work, final=final)
            except BaseException as exc:
                await self._give(held, broken=isinstance(exc, Unavailable | asyncio.CancelledError))
                raise
            await self._give(held)
            return result
        finally:
            self._slots.release()

    async def _take(self) -> Held:
        while self._idle:
            held = self._idle.pop()
            if held.usable:
                return held
            await held.drop()
        try:
            return await Held.open(self._server, SETTINGS)
        except ConfigurationError as exc:  # it could be used when we started
            raise Unavailable(exc.text) from exc

    async def _give(self, held: Held, *, broken: bool = False) -> None:
        if broken:
            held.raw.terminate()
        if held.usable:
            self._idle.append(held)
        else:
            await held.drop()

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().drop()


# --- the engine ------------------------------------------------------------------------------------------------------


class PostgresEngine:
    """The open database of one process."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._thread = LoopThread("data-postgres", factory())
        self._pool = Pool(server)
        self._ears = Ears(server)

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await self._thread.run(self._pool.transact(WRITE, work))

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._thread.run(self._pool.transact(READ, work))

    async def glance(self, work: Callable[[Connection], T]) -> T:
        return await self._thread.run(self._pool.glance(work))

    def write_now(self, work: Callable[[Connection], T]) -> T:
        return self._thread.call(self._pool.transact(WRITE, work))

    def read_now(self, work: Callable[[Connection], T]) -> T:
        return self._thread.call(self._pool.transact(READ, work))

    def listen(self, channel: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Let `wake` be called, in this engine's thread, for each notice, and whenever some may have been missed."""

        async def begin() -> None:
            self._ears.open(channel, wake)

        async def stop() -> None:
            self._ears.shut(channel, wake)

        self._thread.call(begin())
        return lambda: self._thread.call(stop())

    def close(self) -> None:
        async def still() -> None:
            self._ears.close()

        if not self._thread.closed:
            self._thread.call(still())
        self._thread.close(self._pool.close())


class Ears:
    """One connection that hears every channel of a process, for ever: a connection that is lost is opened again."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._wakes: dict[str, list[Callable[[], None]]] = {}
        self._stir = asyncio.Event()  # there is a channel more, or the connection is lost
        self._hearing: asyncio.Task[None] | None = None

    def open(self, channel: str, wake: Callable[[], None]) -> None:
        """`wake` is called once it is listened, too."""
        known = self._wakes.setdefault(channel, [])
        known.append(wake)
        if len(known) > 1:
            wake()
        self._stir.set()
        if self._hearing is None:
            self._hearing = asyncio.create_task(self._hear())

    def shut(self, channel: str, wake: Callable[[], None]) -> None:
        if wake in (known := self._wakes.get(channel, [])):
            known.remove(wake)

    def close(self) -> None:
        if self._hearing is not None:
            self._hearing.cancel()

    async def _hear(self) -> None:
        while True:
            with suppress(ChartbridgeError, *FAULTS):
                held = await Held.open(self._server, SETTINGS)
                try:
                    await self._listen(held)
                finally:
                    held.raw.terminate()
                    await held.drop()
            await asyncio.sleep(REST_S)

    async def _listen(self, held: Held) -> None:
        heard = set[str]()
        held.raw.add_termination_listener(lambda *told: self._stir.set())
        while not held.raw.is_closed():
            self._stir.clear()
            for channel in self._wakes.keys() - heard:
                await held.raw.add_listener(channel, self._told)
                heard.add(channel)
                self._wake(channel)
            await self._stir.wait()

    def _told(self, connection: object, pid: int, channel: str, payload: str) -> None:
        self._wake(channel)

    def _wake(self, channel: str) -> None:
        for wake in self._wakes.get(channel, ()):
            wake()


class PostgresDatabase:
    """One database that holds, or is to hold, a data store: for what is done once, with nobody else there."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def make(self, work: Callable[[Connection], T]) -> T:
        """Make the tables by `work` in an empty database. Raises ConfigurationError for one that has some."""

        def empty(conn: Connection) -> T:
            if inspect(conn).get_table_names():
                raise ConfigurationError("the database holds tables already", hint="name an empty database")
            return work(conn)

        return self._alone(WRITE, empty, _PATIENT)

    def look(self, work: Callable[[Connection], T]) -> T:
        """Ask the database something."""
        return self._alone(READ, work, SETTINGS)

    def change(self, work: Callable[[Connection], T]) -> T:
        """Change the database, wholly or not at all."""
        return self._alone(WRITE, work, _PATIENT)

    def serve(self, readers: int) -> PostgresEngine:
        return PostgresEngine(self._server)

    def _alone(self, begin: str, work: Callable[[Connection], T], settings: dict[str, str]) -> T:
        """On a loop of its own: the caller may stand in one."""

        async def once() -> T:
            held = await Held.open(self._server, settings)
            try:
                return await held.transact(begin, work)
            finally:
                await held.drop()

        async def nothing() -> None: ...

        thread = LoopThread("data-once")
        try:
            return thread.call(once())
        finally:
            thread.close(nothing())
