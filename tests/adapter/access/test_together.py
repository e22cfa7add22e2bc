"""Reads that wait together go together, and fail alone."""

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import Connection

from adapter.access.together import GROUP, Together
from adapter.errors import NotFound

Work = Callable[[Connection], Any]


def number(n: int) -> Callable[[Connection], int]:
    return lambda conn: n


class Store:
    """Counts its hops; the first one waits until it is let go."""

    def __init__(self) -> None:
        self.hops = 0
        self.asked: list[list[bytes]] = []
        self.go = asyncio.Event()
        self.conn = cast(Connection, SimpleNamespace(info={}))

    async def read(self, work: Work) -> Any:
        self.hops += 1
        await self.go.wait()
        return work(self.conn)

    def look_ahead(self, conn: Connection, fids: Sequence[bytes]) -> None:
        self.asked.append(list(fids))


async def test_what_waits_while_a_group_is_out_goes_in_the_next() -> None:
    store = Store()
    together = Together(store.read, store.look_ahead)
    first = asyncio.create_task(together.read(lambda conn: "first"))
    await asyncio.sleep(0)
    rest = [asyncio.create_task(together.read(number(n))) for n in range(GROUP + 1)]
    await asyncio.sleep(0)
    store.go.set()
    assert await first == "first"
    assert await asyncio.gather(*rest) == list(range(GROUP + 1))
    assert store.hops == 3


async def test_a_failure_is_its_own_callers_only() -> None:
    store = Store()
    together = Together(store.read, store.look_ahead)

    def fail(conn: Connection) -> None:
        raise NotFound("nothing here")

    tasks = [asyncio.create_task(together.read(work)) for work in (lambda conn: 1, fail, lambda conn: 3)]
    await asyncio.sleep(0)
    store.go.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert (found[0], found[2]) == (1, 3)
    assert isinstance(found[1], NotFound)


async def test_a_caller_that_goes_away_costs_the_others_nothing() -> None:
    store = Store()
    together = Together(store.read, store.look_ahead)
    gone, kept = (asyncio.create_task(together.read(number(n))) for n in (1, 2))
    await asyncio.sleep(0)
    gone.cancel()
    store.go.set()
    assert await kept == 2
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_a_later_read_finds_the_pump_again() -> None:
    store = Store()
    store.go.set()
    together = Together(store.read, store.look_ahead)
    assert [await together.read(number(n)) for n in range(3)] == [0, 1, 2]


async def test_what_a_group_looks_for_is_asked_once() -> None:
    store = Store()
    together = Together(store.read, store.look_ahead)
    tasks = [asyncio.create_task(together.read(number(n), fid)) for n, fid in enumerate((b"a", None, b"b"))]
    await asyncio.sleep(0)
    store.go.set()
    assert await asyncio.gather(*tasks) == [0, 1, 2]
    assert store.asked == [[b"a", b"b"]]
    assert store.conn.info == {}, "nothing outlives its snapshot"
