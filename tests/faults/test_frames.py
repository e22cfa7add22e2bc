"""Odd frames, over a socket of a whole node: each has its outcome, and the next good frame lives (F16, F17).

Every case of framing is `tests/adapter/inbound/test_mllp.py`'s, with `docs/mllp.md`; here a few of each kind go all the
way, from the packet to the chart. What is accepted is the message as it was sent, never one with its first byte cut.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from adapter.node import Node, running
from adapter.sender import acknowledgement_code
from adapter.store import messages
from tests.faults import account
from tests.faults.process import HOST, Place, create
from tests.simulators import hospital

VT, FS, CR = b"\x0b", b"\x1c", b"\r"
LIMIT = 65_536


def framed(message: bytes) -> bytes:
    return VT + message + FS + CR


def good(number: int) -> bytes:
    return hospital.messages(0, [number])[0].body


# bytes on the wire before message 2 is sent whole, from message 1; how many acknowledgements of 1 come before that of 2
CASES: dict[str, tuple[Callable[[bytes], list[bytes]], int]] = {
    "two frames in one packet": (lambda one: [framed(one)], 1),
    "one frame over many packets": (lambda one: [framed(one)[i : i + 7] for i in range(0, len(framed(one)), 7)], 1),
    "line feeds for carriage returns": (lambda one: [framed(one.replace(CR, b"\n"))], 1),
    "both of them": (lambda one: [framed(one.replace(CR, b"\r\n"))], 1),
    "blanks and NULs between": (lambda one: [b"\0\r\n \0" + framed(one) + b"\r\n\0\0"], 1),
    "other bytes between": (lambda one: [framed(one) + b"junk that no frame begins"], 1),
    "no start": (lambda one: [one + FS + CR], 0),
    "no end": (lambda one: [VT + one], 0),
    "an end without its carriage return": (lambda one: [VT + one + FS], 0),
    "a start inside": (lambda one: [VT + one[:40] + framed(one)], 1),
    "nothing inside": (lambda one: [VT + FS + CR + framed(one)], 2),
    "a dribble over the limit": (lambda one: [VT + one, *[b"x" * 4096] * 32, FS + CR], 1),
}
KEPT_WHOLE = frozenset(CASES) - {
    "no start", "no end", "an end without its carriage return", "a dribble over the limit",
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = create(tmp_path / "site")
    feed = made.folder / "feeds" / "main.toml"
    feed.write_text(feed.read_text() + f"limits = {{ frame_bytes = {LIMIT} }}\n")
    return made


async def exchange(place: Place, packets: list[bytes], answers: int) -> list[str]:
    """The codes of the answers, in order."""
    reader, writer = await asyncio.open_connection(HOST, place.mllp_port)
    for packet in packets:
        writer.write(packet)
        await writer.drain()
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        codes = [acknowledgement_code(await reader.readuntil(FS + CR)) for _ in range(answers)]
    writer.close()
    return codes


async def test_the_next_good_frame_lives(place: Place) -> None:
    number = 0
    expected = []
    async with running(place.folder) as node:
        for name, (odd, answers) in CASES.items():
            number += 2
            codes = await exchange(place, [*odd(good(number - 1)), framed(good(number))], answers + 1)
            assert codes[-1] == "CA", name
            expected += [number - 1, number] if name in KEPT_WHOLE else [number]
        await node.settled()
        assert [effect.number for effect in account.effects(await account.versions(node))] == expected
        await nothing_is_cut(node)


async def nothing_is_cut(node: Node) -> None:
    for row in await node.journal.read(0, 1_000):
        assert (await node.journal.body(row)).startswith(b"MSH|")
        state = await node.site.store.read(lambda conn, seq=row.seq: messages.state(conn, "hosp", seq))  # type: ignore[misc]
        assert state is not None
        assert state.state == messages.DELIVERED
