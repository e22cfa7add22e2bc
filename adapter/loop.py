"""The event loop of a process that serves sockets: uvloop, where it is installed; else asyncio's own.

What runs on it is written against asyncio and its tests run on either; what takes long is done in `slices`.
Why: decision 0010.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import TypeVar

SLICE, SLICES = 8, 32

T = TypeVar("T")


def run_loop(main: Coroutine[object, object, T]) -> T:
    """`asyncio.run`, on the faster loop."""
    with asyncio.Runner(loop_factory=factory()) as runner:
        return runner.run(main)


def factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loop. uvloop knows neither Windows nor any Python but CPython; `pyproject.toml` says so, too."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def slices(count: int) -> Iterator[int]:
    """So many in parts, each soon done, so that the loop has its turn between two; at most `SLICES` of them."""
    size = max(SLICE, -(-count // SLICES))
    while count > 0:
        yield min(size, count)
        count -= size
