"""What a stopped process locks is free again, at whatever word it was stopped (fault F29).

To the server a connection that says nothing more is a process that was stopped: there is no other sign of it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

import asyncpg
import pytest
import structlog
from sqlalchemy import Connection

from adapter.errors import Unavailable
from adapter.store import stopped
from adapter.store.engine import DataStore, Hot
from adapter.store.place import Server
from adapter.store.postgres import SETTINGS
from adapter.store.server_pool import ServerPool
from adapter.store.sessions import APPLICATION
from ledger.store.server import ServerError, transact
from tests.adapter.store.conftest import PAIRING

pytestmark = pytest.mark.postgres

WAIT_S = 20.0
Stop = Callable[[Any], Awaitable[None]]
LOCKS = "SELECT value FROM meta WHERE key = 'pairing' FOR UPDATE"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopped, "LOOK_S", 0.1)
    monkeypatch.setattr(stopped, "STOPPED_S", 3.0)


@asynccontextmanager
async def connected(place: Server, application: str = APPLICATION) -> AsyncIterator[Any]:
    url = place.url.replace("postgresql+asyncpg://", "postgresql://", 1)
    connection = await asyncpg.connect(url, server_settings=SETTINGS | {"application_name": application})
    try:
        yield connection
    finally:
        connection.terminate()


async def stopped_between_the_parts_of_a_statement(connection: Any) -> None:
    """It holds a lock, has asked for a statement to be prepared, and says no more."""
    await connection.execute("BEGIN")
    await connection.fetch(LOCKS)
    await connection.prepare("SELECT 1 FROM meta")


async def stopped_before_it_took_the_answer(connection: Any) -> None:
    await connection.execute("BEGIN")
    await connection.fetch(LOCKS)
    connection._transport.pause_reading()
    asking = asyncio.ensure_future(connection.fetch("SELECT repeat('x', 1000000) FROM generate_series(1, 40)"))
    asking.add_done_callback(lambda done: done.exception())


BOTH = pytest.mark.parametrize("stop", [stopped_between_the_parts_of_a_statement, stopped_before_it_took_the_answer])


@BOTH
async def test_of_the_data_store(emptied: Server, stop: Stop, monkeypatch: pytest.MonkeyPatch) -> None:
    told = structlog.testing.CapturingLogger()
    monkeypatch.setattr(stopped, "log", told)

    def lock(conn: Connection) -> None:
        hot = Hot(conn)
        hot.run("SET LOCAL lock_timeout = '300ms'")
        hot.all(LOCKS)

    store = DataStore.open(emptied, PAIRING)
    with closing(store):
        async with connected(emptied) as gone:
            await stop(gone)
            with pytest.raises(Unavailable):
                await store.write(lock)
            await until_done(lambda: store.write(lock))
    assert told.calls[0] == ("warning", ("postgres.stopped_ended",), {"count": 1})


@BOTH
async def test_of_log_and_vault(emptied: Server, stop: Stop) -> None:
    async def lock(connection: Any) -> None:
        await connection.fetch(LOCKS)

    pool = ServerPool(emptied, "log")
    async with connected(emptied) as gone:
        await stop(gone)
        with pytest.raises(ServerError):
            await transact(pool, lock, again=False)
        await until_done(lambda: transact(pool, lock, again=False))
    await pool.close()


async def test_nobody_elses_is_ended_nor_one_that_works(emptied: Server) -> None:
    """A report of somebody else, and a statement of ours that takes its time at the server."""
    store = DataStore.open(emptied, PAIRING)
    with closing(store):
        async with connected(emptied, "psql") as other, connected(emptied) as busy:
            await stopped_between_the_parts_of_a_statement(other)
            working = asyncio.create_task(busy.fetchval("SELECT count(pg_sleep(5))"))
            for _ in range(45):
                await store.read(lambda conn: Hot(conn).one("SELECT 1"))
                await asyncio.sleep(0.1)
            assert await working == 1
            assert await other.fetchval("SELECT 1") == 1


async def until_done(work: Callable[[], Awaitable[None]]) -> None:
    """Until nobody else has the lock."""
    done = False
    async with asyncio.timeout(WAIT_S):
        while not done:
            with suppress(Unavailable, ServerError):
                await work()
                done = True
            await asyncio.sleep(0.1)
