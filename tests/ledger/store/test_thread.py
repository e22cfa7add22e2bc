"""One connection, one thread: a unit of work runs in one hop, and its failure is its caller's."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from ledger.store.thread import ConnectionThread, ReaderPool


class Connection:
    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.closed = False

    def close(self) -> None:
        assert threading.get_ident() == self.thread
        self.closed = True


async def test_work_runs_in_the_connections_own_thread() -> None:
    thread = ConnectionThread(Connection, "test")
    assert await thread.run(lambda connection: connection.thread == threading.get_ident())
    assert thread.call(lambda connection: connection.thread) != threading.get_ident()
    thread.close()
    thread.close()


async def test_units_run_one_after_the_other() -> None:
    thread = ConnectionThread(Connection, "test")
    seen: list[int] = []

    def unit(number: int) -> Callable[[Connection], int]:
        def work(connection: Connection) -> int:
            seen.append(number)
            return number

        return work

    done = await asyncio.gather(*(thread.run(unit(number)) for number in range(50)))
    assert done == seen == list(range(50))
    thread.close()


async def test_a_failing_unit_fails_its_caller_alone() -> None:
    thread = ConnectionThread(Connection, "test")

    def fail(connection: Connection) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError):
        await thread.run(fail)
    with pytest.raises(KeyError):
        thread.call(fail)
    assert await thread.run(lambda _: 1) == 1
    thread.close()


async def test_a_caller_that_goes_away_stops_nothing() -> None:
    thread = ConnectionThread(Connection, "test")
    go, done = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        go.wait(5)
        done.set()

    task = asyncio.create_task(thread.run(slow))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    assert thread.call(lambda _: done.is_set())
    thread.close()


def test_a_loop_that_has_closed_does_not_take_the_thread_with_it() -> None:
    thread = ConnectionThread(Connection, "test")
    go = threading.Event()

    async def leave() -> None:
        task = asyncio.ensure_future(thread.run(lambda _: go.wait(5)))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    go.set()
    assert thread.call(lambda _: 1) == 1
    thread.close()


def test_a_connection_that_cannot_be_opened_says_why() -> None:
    def refuse() -> Connection:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        ConnectionThread(refuse, "test")


async def test_closing_finishes_what_is_queued_and_refuses_more() -> None:
    thread = ConnectionThread(Connection, "test")
    connection = thread.call(lambda found: found)
    thread.close()
    assert connection.closed
    with pytest.raises(RuntimeError):
        await thread.run(lambda _: 1)


async def test_readers_take_turns() -> None:
    pool = ReaderPool(Connection, "test", 2)
    threads = [await pool.run(lambda connection: connection.thread) for _ in range(4)]
    assert threads[0] == threads[2] != threads[1] == threads[3]
    assert pool.call(lambda connection: connection.thread) in threads
    pool.close()
