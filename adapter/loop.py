"""The event loop of a process that serves sockets: uvloop, where it is installed; else asyncio's own.

What runs on it is written against asyncio and its tests run on either. Why: decision 0010.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar

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
