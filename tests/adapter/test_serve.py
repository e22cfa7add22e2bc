"""`chartbridge serve` as its own process: up, told so in JSON, and out when asked (operations chapter §2)."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapter.errors import IntegrityFault
from adapter.http_server import free_port
from adapter.sender import acknowledgement_code, exchange
from adapter.settings import load
from tests.adapter.nodes import HOST, a08, edit

CLI = "from adapter.cli import main; main()"


@asynccontextmanager
async def serving(site: Path, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLI, "--site", str(site), "serve", stdout=stderr, stderr=stderr
        )
    try:
        async with asyncio.timeout(60):
            while "node.ready" not in (told := read(log)):
                assert process.returncode is None, told
                await asyncio.sleep(0.05)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def read(file: Path) -> str:
    return file.read_text("utf-8", "replace")


def children_of(process: asyncio.subprocess.Process) -> list[int]:
    return [int(pid) for pid in read(Path(f"/proc/{process.pid}/task/{process.pid}/children")).split()]


def ignores(pid: int, number: signal.Signals) -> bool:
    (mask,) = (line.split()[1] for line in read(Path(f"/proc/{pid}/status")).splitlines() if line.startswith("SigIgn"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def lives(pid: int) -> bool:
    try:
        return "Z" not in read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_though_connections_are_open(
    fresh_site: Path, tmp_path: Path, number: signal.Signals
) -> None:
    port = free_port(HOST)
    edit(fresh_site / "feeds" / "main.toml", "port = 0", f"port = {port}")
    log = tmp_path / "serve.log"
    async with serving(fresh_site, log) as process:
        reader, writer = await asyncio.open_connection(HOST, port)
        assert acknowledgement_code(await exchange(reader, writer, a08("1", "11"))) == "CA"
        idle_reader, idle_writer = await asyncio.open_connection(HOST, load(fresh_site).http.port)
        idle_writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")  # and the connection is kept alive
        await idle_reader.readuntil(b"\r\n\r\n")
        process.send_signal(number)
        async with asyncio.timeout(15):
            assert await process.wait() == 0
        assert await reader.read() == b""
        writer.close()
        idle_writer.close()
    events = [line["event"] for line in lines(log)]
    assert events[0] == "node.ready"
    assert events[-2:] == ["node.stopping", "node.stopped"]
    assert "Nr11" not in log.read_text("utf-8")


async def test_a_process_group_that_is_told_to_end_leaves_no_message_in_quarantine(
    fresh_site: Path, tmp_path: Path
) -> None:
    """systemd signals the conversion child too; the parent decides when a child ends."""
    async with serving(fresh_site, tmp_path / "serve.log") as process:
        (child,) = children_of(process)
        async with asyncio.timeout(30):
            while not ignores(child, signal.SIGTERM):  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.05)
        os.kill(child, signal.SIGTERM)
        await asyncio.sleep(0.2)
        assert lives(child)
        process.terminate()
        async with asyncio.timeout(15):
            assert await process.wait() == 0
    assert not lives(child), "no child outlives its parent"


async def test_a_site_that_cannot_be_served_ends_with_its_code_and_what_to_do(fresh_site: Path) -> None:
    (fresh_site / "vault" / "vault.sqlite3").unlink()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLI, "--site", str(fresh_site), "serve", stderr=asyncio.subprocess.PIPE
    )
    _, told = await process.communicate()
    assert process.returncode == IntegrityFault.exit_code == 7
    assert told.startswith(b"error: ")
    assert b"\ntry: " in told


LOGGED = """
import asyncio, logging, sys, threading, warnings
from adapter import logs
logs.configure()
def fail(secret):
    raise ValueError(secret)
logging.getLogger("lib").warning("sent %s", "Nr11-in-an-argument")
try:
    fail("Nr11-in-a-traceback")
except ValueError:
    logging.getLogger("lib").exception("failed")
warnings.warn("Nr11-in-a-warning")
thread = threading.Thread(target=fail, args=["Nr11-in-a-thread"])
thread.start(); thread.join()
async def main():
    loop = asyncio.get_running_loop()
    logs.watch(loop)
    loop.call_soon(lambda secret: {}[secret], "Nr11-in-a-callback")
    task = asyncio.create_task(boom("Nr11-in-a-task"))
    await asyncio.sleep(0.01)
    del task
    import gc; gc.collect()
async def boom(secret):
    raise ValueError(secret)
asyncio.run(main())
class Odd:
    def __del__(self):
        raise ValueError("Nr11-in-a-finalizer")
Odd()
raise KeyError("Nr11-at-the-end")
"""


async def test_no_text_of_an_error_that_nobody_caught_reaches_the_log() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LOGGED, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, told = await process.communicate()
    assert b"Nr11" not in out + told
    events = [json.loads(line) for line in told.decode().splitlines()]
    assert [event["event"] for event in events] == [
        *["library"] * 3,
        "error.lost",
        *["loop.fault"] * 2,
        "error.lost",
        "process.ended",
    ]
    faults = [event["fault"].split(" at ")[0] for event in events if "fault" in event]
    assert faults == ["ValueError", "ValueError", "KeyError", "ValueError", "ValueError", "KeyError"]
    assert events[0]["what"] == "sent %s"
