"""An event loop in a thread of its own: for connections whose answers must not wait for whatever else a process does.

A process that holds a lock in a database, and whose own loop is busy for a moment, would let everyone else wait.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` for a caller that may stand in a loop."""
    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(asyncio.run, work).result()


class LoopThread:
    """An event loop in a thread of its own. What it was given is finished, whoever stops waiting for it."""

    def __init__(self, name: str, loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop) -> None:
        self._loop = loop()
        self._thread = Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        return self._loop.is_closed()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """A note to this loop and one back: the library's two kinds of futures cost as much as a short unit of work."""
        mine = asyncio.get_running_loop()
        answer: asyncio.Future[T] = mine.create_future()

        def ended(task: asyncio.Task[T]) -> None:
            try:
                mine.call_soon_threadsafe(_settle, answer, task)
            except RuntimeError:  # the caller's loop has closed: nobody waits
                return

        try:
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(work).add_done_callback(ended))
        except RuntimeError:  # this one has
            work.close()
            raise
        return await answer

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Finish what runs, then `last`."""
        if self.closed:
            last.close()
            return

        async def finish() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*others, return_exceptions=True)
            await last

        self.call(finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _settle(answer: asyncio.Future[T], task: asyncio.Task[T]) -> None:
    fault = None if task.cancelled() else task.exception()
    if answer.done():  # its caller went away
        return
    if task.cancelled():
        answer.cancel()
    elif fault is not None:
        answer.set_exception(fault)
    else:
        answer.set_result(task.result())
