"""Acknowledged is durable: the listener is killed between every two steps, and asked afterwards what it knows.

Ten connections send numbered messages until the process dies; each then sends again, to a second process, what it sent
last. The checker reads the journal: every message acknowledged, before or after, is there exactly once (invariant I1).
"""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mappings.hl7v2.message import peek
from tests.adapter.inbound.site import Sender, close_site, create_site, message, msa, open_site

CONNECTIONS = 10
POINTS = [
    "journal.keys-kept:1",
    "receive.framed:1", "receive.framed:57",
    "receive.prepared:1", "receive.prepared:57",
    "journal.sealed:1", "journal.sealed:57",
    "journal.inserted:1", "journal.inserted:20",
    "journal.committed:1", "journal.committed:20",
    "ack.written:1", "ack.written:57",
]  # fmt: skip


@asynccontextmanager
async def listener(folder: Path, crash_at: str = "") -> AsyncIterator[tuple[int, asyncio.subprocess.Process]]:
    """A listener process and its port, 0 where it died before it had one."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.adapter.inbound.serve", str(folder),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "CHARTBRIDGE_CRASH_AT": crash_at},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline() or b"0"), process
    finally:
        await process.communicate(b"")


async def send_until_dead(port: int, name: int) -> tuple[list[str], str]:
    """(control ids acknowledged, the one that was not)."""
    heard: list[str] = []
    control = f"{name}-0"
    try:
        sender = await Sender.open(port)
    except OSError:
        return heard, control
    try:
        for n in range(2000):
            control = f"{name}-{n}"
            assert msa(await sender.ask(message(control, patient=control)))[1:3] == ["AA", control]
            heard.append(control)
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        await sender.close()
    return heard, control


def faults(acknowledged: Iterable[str], journal: Iterable[str]) -> dict[str, list[str]]:
    """What was acknowledged and is not in the journal (an altered one neither), and what is there more than once."""
    kept = Counter(journal)
    return {
        "lost": sorted(control for control in set(acknowledged) if not kept[control]),
        "doubled": sorted(control for control, times in kept.items() if times > 1),
    }


def disordered(journal: Iterable[str]) -> list[str]:
    """Control ids that stand behind a later one of their connection."""
    last: dict[str, int] = {}
    wrong = []
    for control in journal:
        name, number = control.split("-")
        if int(number) < last.get(name, -1):
            wrong.append(control)
        last[name] = int(number)
    return wrong


def test_the_checker_finds_what_was_planted() -> None:
    assert faults(["1-0", "1-1"], ["1-0", "1-1", "1-2"]) == {"lost": [], "doubled": []}
    assert faults(["1-0", "1-1"], ["1-1"])["lost"] == ["1-0"]
    assert faults(["1-0"], ["1-0", "1-0"])["doubled"] == ["1-0"]
    assert faults(["1-0"], ["altered-0"])["lost"] == ["1-0"]
    assert disordered(["1-0", "2-0", "1-1"]) == []
    assert disordered(["1-1", "2-0", "1-0"]) == ["1-0"]


@pytest.mark.crash
@pytest.mark.parametrize("point", POINTS)
async def test_ack_comes_after_the_bytes_are_durable(tmp_path: Path, point: str) -> None:
    await create_site(tmp_path)
    async with listener(tmp_path, point) as (port, process):
        tries = [send_until_dead(port, name) for name in range(CONNECTIONS)] if port else []
        outcomes = await asyncio.gather(*tries)
        await process.wait()
        assert process.returncode == -signal.SIGKILL
    acknowledged = [control for heard, _ in outcomes for control in heard]
    async with listener(tmp_path) as (port, _):
        sender = await Sender.open(port)
        for _, control in outcomes:
            assert msa(await sender.ask(message(control, patient=control)))[1:3] == ["AA", control]
            acknowledged.append(control)
        await sender.close()
    site = await open_site(tmp_path)
    rows = await site.journal.read(0, 100_000)
    bodies = await site.journal.bodies(rows)
    await close_site(site)
    assert len(bodies) == len(rows)
    controls = []
    for row in rows:
        header = peek(bodies[row.seq])
        assert header is not None
        controls.append(header.control_id.decode())
        assert bodies[row.seq] == message(controls[-1], patient=controls[-1])
    assert faults(acknowledged, controls) == {"lost": [], "doubled": []}
    assert disordered(controls) == []
