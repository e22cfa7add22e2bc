"""A database of a PostgreSQL server for the ledger: connections in a loop of their own, the driver's errors as its own.

A connection that broke, hung or is left in a transaction that cannot be rolled back is thrown away, and the next unit
of work opens another: when the server is back, so are we. No text that leaves this module is the driver's, which puts
values into its messages. Source: `ledger/store/server.py`; operations chapter §10.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import asyncpg

from adapter.loop import factory
from adapter.store import sessions
from adapter.store.loop_thread import LoopThread
from adapter.store.place import Server
from adapter.store.postgres_statements import FAULTS, lost
from adapter.store.stopped import Lookout
from ledger.store.server import Connection, ServerError, ServerLost, Work

SETTINGS = sessions.SETTINGS | {
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "3s",  # a process that stopped while it holds the head of the log
}
BUSY = "53300"  # too_many_connections
GONE = ("08", "57P")  # connection exceptions; ended by an operator, crashed, starting

T = TypeVar("T")


class ServerPool:
    """A `ledger.store.server.Server`: so many connections at most, opened when they are needed."""

    def __init__(self, server: Server, name: str) -> None:
        self._server = server
        self._thread = LoopThread(f"{name}-postgres", factory())
        self._slots = asyncio.Semaphore(server.connections)
        self._idle: list[Any] = []
        self._lookout = Lookout(self._ask)

    async def run(self, work: Work[T]) -> T:
        return await self._thread.run(self._watched(work))

    async def reach(self, setting: str) -> None:
        """Connect once. Raises Unavailable, or ConfigurationError where what `setting` names cannot be right."""
        try:
            await self._thread.run(self._reach())
        except FAULTS as exc:
            raise sessions.unreachable(exc, setting) from exc

    async def close(self) -> None:
        """Finish what runs, close every connection, end the thread."""
        await asyncio.to_thread(self._thread.close, self._close())

    async def _watched(self, work: Work[T]) -> T:
        self._lookout.look()
        return await self._run(work)

    async def _ask(self, sql: str) -> int:
        """Of the lookout, which must not wait behind those whom it is to help."""

        async def count(connection: Connection) -> int:
            return int((await connection.fetchrow(sql))[0])

        if not self._slots.locked():
            return await self._run(count)
        with _errors():
            connection = await self._connect()
            try:
                return await count(connection)
            finally:
                connection.terminate()

    async def _run(self, work: Work[T]) -> T:
        try:
            await sessions.wait_for_one(self._slots)
        except TimeoutError as exc:
            raise ServerError(BUSY) from exc
        try:
            with _errors():
                connection = await self._take()
            try:
                with _errors():
                    return await work(connection)
            except ServerLost:
                connection.terminate()  # be it that the driver has not noticed
                raise
            finally:
                await self._give(connection)
        finally:
            self._slots.release()

    async def _reach(self) -> None:
        self._idle.append(await self._connect())

    async def _take(self) -> Any:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self._connect()

    async def _connect(self) -> Any:
        return await sessions.connect(self._server, SETTINGS)

    async def _give(self, connection: Any) -> None:
        """Only one that is in no transaction is used again."""
        if connection.is_closed():
            return
        try:
            if connection.is_in_transaction():
                await connection.execute("ROLLBACK")
        except FAULTS:
            connection.terminate()
        else:
            self._idle.append(connection)

    async def _close(self) -> None:
        while self._idle:
            connection = self._idle.pop()
            with suppress(*FAULTS):
                await connection.close(timeout=sessions.CONNECT_S)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except asyncpg.PostgresError as exc:
        state = exc.sqlstate or ""
        raise (ServerLost if state.startswith(GONE) else ServerError)(state) from exc
    except asyncpg.InterfaceError as exc:
        if not lost(exc):
            raise RuntimeError("a statement of the ledger is wrong") from exc
        raise ServerLost from exc
    except (asyncpg.InternalClientError, OSError, TimeoutError) as exc:
        raise ServerLost from exc
