"""Poison costs itself only: caps hold, neighbours are answered (operations chapter §4, fault F24). Real processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from adapter import loop
from adapter.children import ChildFailed, Children

# echoes; `pid` tells its own; `die` ends it, `loop` never answers, `flood` claims an answer of 4 GB,
# `babble` goes on after its answer
SCRIPT = """
import os, sys, time
read, write = sys.stdin.buffer, sys.stdout.buffer
def frame():
    size = read.read(4)
    return read.read(int.from_bytes(size, "big")) if size else None
hello = frame()
if hello == b"broken":
    os._exit(3)
write.write(bytes(4))
write.flush()
while (ask := frame()) is not None:
    if ask == b"die":
        os._exit(9)
    if ask == b"loop":
        time.sleep(60)
    if ask == b"flood":
        write.write(b"\\xff" * 4)
        write.flush()
        time.sleep(60)
    answer = hello + b":" + (str(os.getpid()).encode() if ask == b"pid" else ask)
    write.write(len(answer).to_bytes(4, "big") + answer)
    write.flush()
    if ask == b"babble":
        write.write(b"\\xff" * (8 << 20))
        write.flush()
"""


@pytest.fixture
async def children() -> AsyncIterator[Children]:
    pool = Children(b"hello", size=2, limit_s=1.0, command=[sys.executable, "-c", SCRIPT])
    await pool.start()
    yield pool
    await pool.close()


async def test_every_question_gets_its_own_answer(children: Children) -> None:
    answers = await asyncio.gather(*(children.ask(str(n).encode()) for n in range(100)))
    assert answers == [f"hello:{n}".encode() for n in range(100)]


@pytest.mark.parametrize(
    ("poison", "reason"), [(b"die", "died"), (b"loop", "out of time"), (b"flood", "too much output")]
)
async def test_poison_fails_alone_and_its_neighbours_are_answered(
    children: Children, poison: bytes, reason: str
) -> None:
    asked = [b"a", b"b", poison, b"c", b"d"]
    answers = await asyncio.gather(*map(children.ask, asked), return_exceptions=True)
    failed = answers.pop(2)
    assert isinstance(failed, ChildFailed)
    assert failed.reason == reason
    assert answers == [b"hello:a", b"hello:b", b"hello:c", b"hello:d"]


async def test_a_child_that_never_starts_costs_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that cannot be loaded any more, say: its messages wait instead of being blamed."""
    monkeypatch.setattr("adapter.children.AGAIN_S", 0.05)
    pool = Children(b"broken", limit_s=1.0, command=[sys.executable, "-c", SCRIPT])
    await pool.start()
    question = asyncio.create_task(pool.ask(b"a"))
    done, _ = await asyncio.wait([question], timeout=0.5)
    assert not done
    await pool.close()
    with pytest.raises(ChildFailed, match="closed"):
        await question


async def test_closing_fails_what_is_not_answered(children: Children) -> None:
    question = asyncio.create_task(children.ask(b"loop"))
    await asyncio.sleep(0.2)
    await children.close()
    with pytest.raises(ChildFailed):
        await asyncio.wait_for(question, 1)


LOOPS = pytest.mark.parametrize("factory", [asyncio.new_event_loop, loop.factory()])


@LOOPS
def test_a_child_that_was_killed_while_nobody_asked_costs_no_message(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def scene() -> list[bytes]:
        pool = Children(b"hello", limit_s=5.0, command=[sys.executable, "-c", SCRIPT])
        await pool.start()
        os.kill(int((await pool.ask(b"pid")).partition(b":")[2]), signal.SIGKILL)
        await asyncio.sleep(0.3)  # the loop sees its end
        try:
            return await asyncio.gather(*map(pool.ask, [b"a", b"b"]))
        finally:
            await pool.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(scene()) == [b"hello:a", b"hello:b"]


@LOOPS
@pytest.mark.parametrize("delay_s", [0.0, 0.0005, 0.002, 0.01])
def test_a_child_killed_at_any_moment_leaves_no_question_without_an_answer(
    factory: Callable[[], asyncio.AbstractEventLoop], delay_s: float
) -> None:
    """Before the loop knows, while it writes, and after: what was asked is answered, or failed as what killed it."""

    async def scene() -> None:
        pool = Children(b"hello", limit_s=5.0, command=[sys.executable, "-c", SCRIPT])
        await pool.start()
        for _ in range(5):
            pid = int((await pool.ask(b"pid")).partition(b":")[2])
            busy = [asyncio.create_task(pool.ask(b"x" * 300_000)) for _ in range(3)]
            await asyncio.sleep(delay_s)
            os.kill(pid, signal.SIGKILL)
            late = []
            for _ in range(3):
                await asyncio.sleep(delay_s)
                late.append(asyncio.create_task(pool.ask(b"y")))
            told = await asyncio.gather(*busy, *late, return_exceptions=True)
            assert [each for each in told if isinstance(each, ChildFailed) and each.reason == "died"][1:] == []
            assert {len(each) for each in told if isinstance(each, bytes)} <= {300_006, 7}
            assert not [each for each in told if not isinstance(each, bytes | ChildFailed)]
        assert await pool.ask(b"z") == b"hello:z"
        await pool.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(scene())


@LOOPS
def test_a_child_whose_pipe_is_full_is_replaced_too(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scene() -> None:
        pool = Children(b"hello", limit_s=5.0, command=[sys.executable, "-c", SCRIPT])
        await pool.start()
        assert await pool.ask(b"babble") == b"hello:babble"
        await asyncio.sleep(0.3)  # the loop stops reading
        with pytest.raises(ChildFailed, match="too much output"):
            await pool.ask(b"a")
        try:
            assert await asyncio.wait_for(pool.ask(b"b"), 30) == b"hello:b"
        finally:
            await pool.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(scene())


FORKED = Path("/proc/self/task")
COUNTED = pytest.mark.skipif(
    not any(FORKED.glob("*/children")), reason="this system does not tell a process's children"
)


def offspring() -> set[str]:
    """Processes that this one started and has not waited for."""
    return {pid for told in FORKED.glob("*/children") for pid in told.read_text().split()}


@COUNTED
@LOOPS
@pytest.mark.parametrize("steps", range(10))
def test_closing_while_children_start_leaves_no_process(
    factory: Callable[[], asyncio.AbstractEventLoop], steps: int
) -> None:
    before = offspring()

    async def scene() -> set[str]:
        pool = Children(b"hello", size=2, command=[sys.executable, "-c", SCRIPT])
        await pool.start()
        for _ in range(steps):
            await asyncio.sleep(0)
        await pool.close()
        return offspring()

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(scene()) - before == set()


@COUNTED
@LOOPS
@pytest.mark.parametrize("withdrawn", [False, True])
def test_closing_while_a_child_ends_leaves_no_process(
    factory: Callable[[], asyncio.AbstractEventLoop], withdrawn: bool
) -> None:
    """And so does a closing that is itself cancelled."""
    before = offspring()

    async def scene() -> set[str]:
        pool = Children(b"hello", limit_s=30.0, command=[sys.executable, "-c", SCRIPT])
        await pool.start()
        with pytest.raises(ChildFailed, match="too much output"):
            await pool.ask(b"flood")  # it is being killed now
        closing = asyncio.create_task(pool.close())
        await asyncio.sleep(0)
        if withdrawn:
            closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled() is withdrawn
        return offspring()

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(scene()) - before == set()
