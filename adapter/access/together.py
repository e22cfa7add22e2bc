"""Reads that wait at the same moment go to the store together: one hop to its thread, one snapshot, one question.

A hop costs about as much as the read itself; a ward round opens a hundred charts at once. Nobody waits for more to
come: while one group is out the next one gathers. What each looks for first is asked for all of them, so that a server
is asked once a group. Where any unit of a group fails, each runs again alone, so that a
failure is its own caller's only. All of them are reads, and may run twice.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from adapter.store import ahead

T = TypeVar("T")
Work = Callable[[Connection], Any]
Read = Callable[[Work], Awaitable[Any]]
LookAhead = Callable[[Connection, Sequence[bytes]], None]

GROUP = 32  # a group's units follow each other in one thread: more would make the first wait for the last


class Together:
    """`await together.read(work)` as `store.read(work)`, for short units. One event loop."""

    def __init__(self, read: Read, look_ahead: LookAhead) -> None:
        self._read, self._look_ahead = read, look_ahead
        self._waiting: deque[tuple[Work, bytes | None, asyncio.Future[Any]]] = deque()
        self._pump: asyncio.Task[None] | None = None

    async def read(self, work: Callable[[Connection], T], fid: bytes | None = None) -> T:
        """`fid`: the keyed id of what `work` will look for first."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, fid, answer))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._drain())
        return await answer

    async def _drain(self) -> None:
        while self._waiting:
            group = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
            works = [work for work, _, _ in group]
            fids = [fid for _, fid, _ in group if fid is not None]
            (outcomes,) = await asyncio.gather(self._read(partial(self._all, works, fids)), return_exceptions=True)
            if isinstance(outcomes, BaseException):
                outcomes = await asyncio.gather(*map(self._read, works), return_exceptions=True)
            for (_, _, answer), outcome in zip(group, outcomes, strict=True):
                _settle(answer, outcome)

    def _all(self, works: Sequence[Work], fids: Sequence[bytes], conn: Connection) -> list[Any]:
        with ahead.keeping(conn):
            if fids:
                self._look_ahead(conn, fids)
            return [work(conn) for work in works]


def _settle(answer: asyncio.Future[Any], outcome: Any) -> None:
    if answer.done():  # its caller went away
        return
    if isinstance(outcome, BaseException):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
