"""One database connection, and the one thread that may touch it.

A unit of work is one plain function `work(connection)`; it runs in one hop. Writers get one `ConnectionThread` a file,
readers a `ReaderPool`. The connection type is the caller's (sqlite3, SQLAlchemy): nothing here knows SQL. (An executor
would do the same with two futures, two locks and half again the time a hop; a commit makes two hops.)
"""

import asyncio
import itertools
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, Protocol, TypeVar


class Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)
T = TypeVar("T")

Answer = Callable[[Any, BaseException | None], None]


class ConnectionThread(Generic[C]):
    """Opens the connection in its own thread and runs units of work there, one after the other."""

    def __init__(self, connect: Callable[[], C], name: str) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[C], Any], Answer] | None] = SimpleQueue()
        self._closed = False
        opened: Future[None] = Future()
        self._thread = Thread(target=self._serve, args=(connect, opened), name=name, daemon=True)
        self._thread.start()
        opened.result()

    async def run(self, work: Callable[[C], T]) -> T:
        """Run `work(connection)` in the thread; its exception is the caller's. A caller that goes stops nothing."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def answer(result: Any, fault: BaseException | None) -> None:
            try:
                loop.call_soon_threadsafe(_settle, future, result, fault)
            except RuntimeError:  # the loop has closed: nobody waits
                return

        self._put(work, answer)
        return await future

    def call(self, work: Callable[[C], T]) -> T:
        """The same for a caller without an event loop."""
        future: Future[T] = Future()

        def answer(result: Any, fault: BaseException | None) -> None:
            if fault is None:
                future.set_result(result)
            else:
                future.set_exception(fault)

        self._put(work, answer)
        return future.result()

    def close(self) -> None:
        """Finish what is queued, close the connection, end the thread."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
            self._thread.join()

    def _put(self, work: Callable[[C], Any], answer: Answer) -> None:
        if self._closed:
            raise RuntimeError("connection is closed")
        self._jobs.put((work, answer))

    def _serve(self, connect: Callable[[], C], opened: "Future[None]") -> None:
        try:
            connection = connect()
        except BaseException as fault:
            opened.set_exception(fault)
            return
        opened.set_result(None)
        while (job := self._jobs.get()) is not None:
            _work(connection, *job)
            del job  # or the last unit's objects would live until the next
        connection.close()


def _work(connection: C, work: Callable[[C], Any], answer: Answer) -> None:
    """Whatever the unit raises belongs to its caller, not to the thread."""
    try:
        result = work(connection)
    except BaseException as fault:
        answer(None, fault)
    else:
        answer(result, None)


def _settle(future: "asyncio.Future[Any]", result: Any, fault: BaseException | None) -> None:
    if future.done():  # its caller went away
        return
    if fault is None:
        future.set_result(result)
    else:
        future.set_exception(fault)


class ReaderPool(Generic[C]):
    """A few connections for reading, each in its own thread, used in turn."""

    def __init__(self, connect: Callable[[], C], name: str, size: int = 2) -> None:
        self._threads = [ConnectionThread(connect, f"{name}-{n}") for n in range(size)]
        self._next = itertools.cycle(self._threads)

    async def run(self, work: Callable[[C], T]) -> T:
        return await next(self._next).run(work)

    def call(self, work: Callable[[C], T]) -> T:
        return next(self._next).call(work)

    def close(self) -> None:
        for thread in self._threads:
            thread.close()
