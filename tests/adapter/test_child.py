"""The conversion child as it runs: bounded, mute about what it read, and gone with its parent."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from adapter import wire
from adapter.children import COMMAND
from tests.adapter.nodes import a08

AT = datetime(2026, 3, 4, tzinfo=UTC)


def framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


def hello(site: Path, *, memory: int = 256 << 20, limit_s: float = 10.0) -> bytes:
    return framed(wire.pack(wire.Hello(str(site), {"main": "default"}, bytes(32), memory, limit_s)))


def question(data: bytes, *, stranger: bool = False) -> bytes:
    return framed(wire.pack(wire.Question("main", AT, data, stranger)))


@asynccontextmanager
async def child(first: bytes) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*COMMAND, stdin=pipe, stdout=pipe, stderr=pipe, limit=1 << 26)
    assert process.stdin is not None
    process.stdin.write(first)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def frame(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return await process.stdout.readexactly(int.from_bytes(await process.stdout.readexactly(4), "big"))


async def test_it_says_when_it_is_ready_and_then_answers_in_order(tmp_path: Path) -> None:
    async with child(hello(tmp_path) + question(a08("1", "11")) + question(b"no message")) as process:
        assert await frame(process) == b""
        assert len(wire.resources(wire.read_answer(await frame(process)))) > 0
        failed = wire.read_answer(await frame(process))
        assert failed.failure is not None


async def test_it_ends_when_its_parent_has_gone(tmp_path: Path) -> None:
    async with child(hello(tmp_path)) as process:
        assert await frame(process) == b""
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(10):
            assert await process.wait() == 0


async def test_a_message_that_wants_more_memory_than_allowed_ends_the_child_and_says_nothing_of_itself(
    tmp_path: Path,
) -> None:
    large = a08("1", "11") + b"NTE|1||" + b"Nr11 " * (6 << 20) + b"\r"
    async with child(hello(tmp_path, memory=16 << 20) + question(large)) as process:
        assert process.stderr is not None
        assert await frame(process) == b""
        async with asyncio.timeout(30):
            told = await process.stderr.read()
            assert await process.wait() != 0
    assert b"Nr11" not in told
    assert [json.loads(line)["fault"].split(" at ")[0] for line in told.splitlines()] == ["MemoryError"]


async def test_a_message_that_never_ends_is_ended_by_the_childs_own_clock(tmp_path: Path) -> None:
    """Should the parent have died meanwhile: nobody else would."""
    script = (
        "import adapter.child as c, sys, time\n"
        "c.SLACK_S = 0.1\n"
        "c.convert = lambda question, profile: time.sleep(60)\n"
        "c.main(sys.stdin.buffer, sys.stdout.buffer)\n"
    )
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    process.stdin.write(hello(tmp_path, limit_s=0.1) + question(a08("1", "11")))
    async with asyncio.timeout(30):
        assert await process.wait() != 0
    process.stdin.close()


async def test_a_stranger_is_judged_by_the_profile_of_now(tmp_path: Path) -> None:
    own = tmp_path / "profiles" / "default"
    own.mkdir(parents=True)
    (own / "profile.toml").write_text(
        'name = "default"\nnamespace = "urn:oid:2.999.1"\n[match]\nmsh3 = "GOOD"\n', "utf-8"
    )
    asked = [question(a08("1", "11", sender=sender), stranger=True) for sender in ("STRANGE", "GOOD")]
    async with child(hello(tmp_path) + b"".join(asked)) as process:
        await frame(process)
        strange, good = [wire.read_answer(await frame(process)) for _ in asked]
    assert strange.failure is not None
    assert strange.failure.code == "wrong-sender"
    assert good.failure is None
