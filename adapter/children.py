"""Processes that convert: whatever a message does to its own, acknowledging and serving go on beside it.

The parent's half: a pool of spawned children, each asked over its standard input and answering over its standard
output, in order, in frames of a 4-byte big-endian length and that many bytes; its first answer, empty, says that it is
ready. A child that takes too long, dies or answers too much is killed and replaced; the message it was at is what
failed, those behind it are asked again. One that never becomes ready, or dies while nobody asks, costs no message: they
wait for the next start. Whatever is cancelled meanwhile, each process that was started is ended, and waited for. What
the frames mean is `child.py`'s. Source: operations chapter §2, §4 (poison).
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

from adapter.errors import ChartbridgeError

log = structlog.get_logger()

MAX_ANSWER_BYTES = 64 << 20
# questions in one child's pipe: it goes on to the next while the parent is busy with the last answer
DEPTH = 8
START_S = 60.0  # until ready: imports and profiles, on a machine that is busy
AGAIN_S = 1.0  # after a start that failed
# -P: what lies in the folder that the service was started in is not imported
COMMAND = (sys.executable, "-P", "-m", "adapter.child")


class ChildFailed(ChartbridgeError):
    """A child died over a message, took too long, or answered too much; `reason` says which."""

    code = "conversion-failed"

    def __init__(self, reason: str) -> None:
        super().__init__(f"a conversion child failed: {reason}")
        self.reason = reason


@dataclass(slots=True)
class _Question:
    payload: bytes
    answer: asyncio.Future[bytes]


class Children:
    """A fixed number of children. `ask` may be called by any number of tasks."""

    def __init__(self, hello: bytes, *, size: int = 1, limit_s: float = 10.0, command: Sequence[str] = COMMAND) -> None:
        self._hello, self._size, self._limit_s, self._command = hello, size, limit_s, tuple(command)
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting: deque[_Question] = deque()
        self._asked = asyncio.Event()
        self._generation = 0

    def renew(self, hello: bytes) -> None:
        """From the next question on, ask children that were greeted so; the old ones finish what they were asked."""
        self._hello = hello
        self._generation += 1
        self._asked.set()

    async def start(self) -> None:
        """Start one supervising task a child; each starts its own process."""
        self._tasks = [asyncio.create_task(self._supervise(), name=f"child-{n}") for n in range(self._size)]

    async def ask(self, payload: bytes) -> bytes:
        """The answer of some child. Raises ChildFailed when a child failed at this very message."""
        question = _Question(payload, asyncio.get_running_loop().create_future())
        self._waiting.append(question)
        self._asked.set()
        return await question.answer

    async def close(self) -> None:
        """End the children, and wait until they have ended; questions not answered yet fail."""
        for task in self._tasks:
            task.cancel()
        try:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            while self._waiting:
                _fail(self._waiting.popleft(), "closed")

    async def _supervise(self) -> None:
        while True:
            generation = self._generation
            try:
                async with _running(self._command) as process:
                    await _greet(process, self._hello)
                    await self._serve(process, generation)
            except ChildFailed as exc:  # before it was asked
                log.error("child.not_started", reason=exc.reason)
                await asyncio.sleep(AGAIN_S)

    async def _serve(self, process: Process, generation: int) -> None:
        """Until it fails at a question, which has its answer then, or has been replaced; the next child goes on."""
        with suppress(ChildFailed):
            while asked := await self._take(generation):
                await self._converse(process, asked)

    async def _take(self, generation: int) -> deque[_Question]:
        """Some of what waits; nothing for a child of an earlier generation."""
        self._drop_withdrawn()
        while not self._waiting and generation == self._generation:
            self._asked.clear()
            await self._asked.wait()
            self._drop_withdrawn()
        if generation != self._generation:
            self._asked.set()  # it may have been the one that was woken
            return deque()
        share = -(-len(self._waiting) // self._size)  # leave the other children theirs
        return deque(self._waiting.popleft() for _ in range(min(DEPTH, share)))

    def _drop_withdrawn(self) -> None:
        """Questions whose asker has gone."""
        if any(question.answer.done() for question in self._waiting):
            self._waiting = deque(question for question in self._waiting if not question.answer.done())

    async def _converse(self, process: Process, asked: deque[_Question]) -> None:
        try:
            if _has_ended(process):
                log.error("child.ended")
                raise ChildFailed("died")  # before it was asked: of no question, another child gets them all
            await self._answered(process, asked)
        finally:
            self._waiting.extendleft(reversed(asked))
            self._asked.set()

    async def _answered(self, process: Process, asked: deque[_Question]) -> None:
        try:
            for question in asked:
                _write(process, question.payload)
            while asked:
                answer = await _answer(process, self._limit_s)
                _settle(asked.popleft(), answer)
        except ChildFailed as exc:
            _fail(asked.popleft(), exc.reason)
            raise


async def _greet(process: Process, hello: bytes) -> None:
    _write(process, hello)
    await _answer(process, START_S)


async def _answer(process: Process, limit_s: float) -> bytes:
    stdout = process.stdout
    if stdout is None:
        raise RuntimeError("a child without a standard output")
    try:
        async with asyncio.timeout(limit_s):
            size = int.from_bytes(await stdout.readexactly(4))
            if size > MAX_ANSWER_BYTES:
                raise ChildFailed("too much output")
            return await stdout.readexactly(size)
    except TimeoutError as exc:
        raise ChildFailed("out of time") from exc
    except (asyncio.IncompleteReadError, ConnectionError) as exc:
        raise ChildFailed("died") from exc


def _write(process: Process, payload: bytes) -> None:
    if process.stdin is None:
        raise RuntimeError("a child without a standard input")
    if _has_ended(process):  # asyncio drops what is written there, uvloop raises RuntimeError
        raise ChildFailed("died")
    process.stdin.write(len(payload).to_bytes(4) + payload)


def _has_ended(process: Process) -> bool:
    """Whether the loop has seen that nobody reads any more."""
    return process.stdin is None or process.stdin.is_closing()


def _settle(question: _Question, answer: bytes) -> None:
    if not question.answer.done():
        question.answer.set_result(answer)


def _fail(question: _Question, reason: str) -> None:
    if not question.answer.done():
        question.answer.set_exception(ChildFailed(reason))


@asynccontextmanager
async def _running(command: Sequence[str]) -> AsyncIterator[Process]:
    """A process, ended with its context. Raises ChildFailed where none can be started.

    Neither start nor end is broken off: a start that is cancelled leaves a process that is killed and, on uvloop, not
    waited for; an end that is cancelled leaves one that nobody waits for on either loop.
    """
    starting = asyncio.create_task(_start(command))
    try:
        await _done(starting)
        yield starting.result()[1]
    finally:
        if not starting.cancelled() and starting.exception() is None:
            await _done(asyncio.create_task(_end(*starting.result())))


async def _done(task: asyncio.Task[object]) -> None:
    """Wait for it, and then raise what cancelled the waiting."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is not None:
        raise cancelled


async def _start(command: Sequence[str]) -> tuple[asyncio.SubprocessTransport, Process]:
    loop = asyncio.get_running_loop()
    try:
        transport, protocol = await loop.subprocess_exec(
            lambda: SubprocessStreamProtocol(limit=1 << 20, loop=loop), *command, stdin=PIPE, stdout=PIPE, stderr=None
        )
    except OSError as exc:  # no memory, no process left
        raise ChildFailed(exc.strerror or "") from exc
    return transport, Process(transport, protocol, loop)


async def _end(transport: asyncio.SubprocessTransport, process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)  # Process.kill() would reap it, and asyncio then misses its end
    # asyncio tells of an end only after that of the pipes: one that is full, and not read, has none
    for fd in (0, 1):
        if (pipe := transport.get_pipe_transport(fd)) is not None:
            pipe.close()
    await process.wait()
    transport.close()
