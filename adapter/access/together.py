"""Reads that wait at the same moment go to the store together: one hop to its thread, one snapshot.

A hop costs about as much as the read itself; a ward round opens a hundred charts at once. Nobody waits for more to
come: while one group is out the next one gathers. Where any unit of a group fails, each runs again alone, so that a
failure is its own caller's only. All of them are reads, and may run twice.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")
Work = Callable[[Connection], Any]
Read = Callable[[Work], Awaitable[Any]]

GROUP = 32  # a group's units follow each other in one thread: more would make the first wait for the last


class Together:
    """`await together.read(work)` as `store.read(work)`, for short units. One event loop."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._waiting: deque[tuple[Work, asyncio.Future[Any]]] = deque()
        self._pump: asyncio.Task[None] | None = None

    async def read(self, work: Callable[[Connection], T]) -> T:
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, answer))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._drain())
        return await answer

    async def _drain(self) -> None:
        while self._waiting:
            group = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
            works = [work for work, _ in group]
            (outcomes,) = await asyncio.gather(self._read(partial(_all, works)), return_exceptions=True)
            if isinstance(outcomes, BaseException):
                outcomes = await asyncio.gather(*map(self._read, works), return_exceptions=True)
            for (_, answer), outcome in zip(group, outcomes, strict=True):
                _settle(answer, outcome)


def _all(works: Sequence[Work], conn: Connection) -> list[Any]:
    return [work(conn) for work in works]


def _settle(answer: asyncio.Future[Any], outcome: Any) -> None:
    if answer.done():  # its caller went away
        return
    if isinstance(outcome, BaseException):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
