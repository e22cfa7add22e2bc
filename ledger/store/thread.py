"""One database connection, and the one thread that may touch it.

A unit of work is one plain function `work(connection)`; it runs in one hop. Writers get one `ConnectionThread` a file,
readers a `ReaderPool`. The connection type is the caller's (sqlite3, SQLAlchemy): nothing here knows SQL.
"""

import asyncio
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)
T = TypeVar("T")


class ConnectionThread(Generic[C]):
    """Opens the connection in its own thread and runs units of work there, one after the other."""

    def __init__(self, connect: Callable[[], C], name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        try:
            self._connection: C = self._executor.submit(connect).result()
        except BaseException:
            self._executor.shutdown()
            raise

    async def run(self, work: Callable[[C], T]) -> T:
        """Run `work(connection)` in the thread; its exception is the caller's."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, self._connection)

    def call(self, work: Callable[[C], T]) -> T:
        """The same for a caller without an event loop."""
        return self._executor.submit(work, self._connection).result()

    def close(self) -> None:
        """Finish what is queued, close the connection, end the thread."""
        self._executor.submit(self._connection.close).result()
        self._executor.shutdown()


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
