"""Acknowledged is durable: a node under load is killed at any moment and between any two steps (promise 1).

One site for each test. Senders (`tests/simulators/hospital.py`) and a reader go on through all of it; the node is
killed, started again on the same folder, and so on. At the end everything is acknowledged, the node settles, and the
checker compares what was promised with journal, store and log: nothing lost, doubled, out of order or altered, each
version in the log once; every checkpoint ever published is a state of the log, every read that was answered has its
entry, and `ledger fsck` finds no fault. Operations chapter §8 and §9 (F1, F2).
"""

import asyncio
import os
import random
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from adapter.ledger_view import check_all, viewing
from adapter.node import running
from adapter.settings import FILE
from tests.faults import account
from tests.faults.process import HOST, Place, create, serving
from tests.mappings.cda.documents import minimal
from tests.simulators.hospital import Hospital
from tests.simulators.ward import Ward, client

SENDER = """
[access.client.sender]
system = "urn:oid:2.999.7"
identifier = "sender"
feed = "main"
scopes = "system/*.cruds"
purposes = ["TREAT"]
"""
ROOT = Path(__file__).parents[2]
KILLS = 12

RECEIVE = [
    "journal.keys-kept:1",
    "receive.framed:9", "receive.prepared:9", "journal.sealed:9", "journal.inserted:9", "journal.committed:9",
    "ack.written:9",
]  # fmt: skip
COMMIT = [
    "take.claimed:1", "take.converted:9",
    "commit.begin:3", "commit.resolved:9", "commit.sealed:9", "commit.rows:9", "commit.events:9", "commit.marked:3",
    "commit.done:3",
]  # fmt: skip
APPEND = [
    # appends of the outbox and of reads come as they come, so several passes; only reads have details
    "append.details_written:3", "append.details_committed:3", "append.head_locked:3",
    "append.entries_written:1", "append.entries_written:3", "append.entries_committed:2", "append.answered:3",
    "deliver.taken:3", "deliver.logged:3", "deliver.marked:3", "deliver.done:3",
    "integrate.signed:1", "integrate.stored:1", "integrate.committed:1",
    "publish.tiles_written:1", "publish.checkpoint_written:1",
]  # fmt: skip
# those of folders, of application answers, of upgrades and of a log on a server: tests/adapter/inbound/test_folder.py,
# tests/adapter/test_replies.py, tests/adapter/cli/test_db.py, tests/ledger/test_crash.py
ELSEWHERE = [
    "append.entries_decided",
    "folder.read", "folder.kept", "folder.answered", "folder.moved", "reply.told", "reply.sent",
    "journal.statement", "migrate.statement", "notice.taken", "notice.sent", "notice.noted",
    "rotate.batch", "rotate.written", "rotate.wrapped", "rotate.recorded",
    "export.decided", "export.kept", "export.ended",
]  # fmt: skip
POINT = re.compile(r"""(?:crash_point|_step)\("([a-z_.-]+)"\)""")


@dataclass(slots=True)
class Run:
    """A site under load. `kills` ended as they should."""

    place: Place
    hospital: Hospital
    ward: Ward
    kills: int = 0
    published: list[bytes] = field(default_factory=list)

    def keep_checkpoint(self) -> None:
        for checkpoint in (self.place.folder / "www").glob("*/checkpoint"):
            self.published.append(checkpoint.read_bytes())

    async def killed_at(self, point: str) -> None:
        """Start the node, and wait until it has died at this point."""
        async with serving(self.place.folder, point) as served:
            assert await served.ended() == -signal.SIGKILL, point
        self.kills += 1
        self.keep_checkpoint()


@asynccontextmanager
async def load(place: Place) -> AsyncIterator[Run]:
    """Senders and a reader while the context is open; then the node runs undisturbed, and is asked what it knows."""
    run = Run(place, Hospital(place.mllp_port), Ward(client(place.folder)))
    sending = asyncio.create_task(run.hospital.send())
    reading = asyncio.create_task(run.ward.read())
    try:
        yield run
        async with serving(place.folder) as served:
            run.hospital.stop()
            await asyncio.wait_for(sending, 60)
            served.kill()
    finally:
        reading.cancel()
        sending.cancel()
        await asyncio.gather(sending, reading, return_exceptions=True)
    await nothing_broken(run)


async def nothing_broken(run: Run) -> None:
    async with running(run.place.folder) as node:
        await asyncio.wait_for(node.settled(), 60)
        assert await account.violations(node, run.hospital.acknowledged) == []
        assert await account.foreign_checkpoints(node, run.published) == []
        assert await account.unrecorded(node, run.ward.references) == []
    async with viewing(run.place.folder) as view:
        assert (await check_all(view, sweep=False)).faults == []
    assert run.hospital.acknowledged, "there was a load of messages"
    assert run.ward.references, "and one of reads"
    assert run.ward.statuses <= {200, 503}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return create(tmp_path / "site")


def test_every_crash_point_is_one_that_is_tested() -> None:
    """Whoever adds a step adds its point here, or the tier would not know it."""
    code = [path for package in ("adapter", "ledger") for path in (ROOT / package).rglob("*.py")]
    named = {name for path in code if path.name != "memory.py" for name in POINT.findall(path.read_text("utf-8"))}
    assert named == {point.partition(":")[0] for point in RECEIVE + COMMIT + APPEND + ELSEWHERE}


@pytest.mark.crash
@pytest.mark.parametrize("points", [RECEIVE, COMMIT, APPEND], ids=["receive", "commit", "append"])
async def test_acknowledged_is_durable_between_any_two_steps(place: Place, points: list[str]) -> None:
    async with load(place) as run:
        for point in points:
            await run.killed_at(point)


DOCUMENT_POINTS = [
    "receive.prepared:1", "journal.sealed:1", "journal.inserted:1", "journal.committed:1",
    "take.converted:1", "commit.begin:1", "commit.sealed:1", "commit.marked:1", "commit.done:1",
]  # fmt: skip


@pytest.mark.crash
async def test_a_document_is_durable_before_it_is_answered_and_takes_effect_once(place: Place) -> None:
    """One document, sent again until it is accepted while the node dies between any two steps of its way."""
    with (place.folder / FILE).open("a", encoding="utf-8") as settings:
        settings.write(SENDER)
    answered = 0
    for point in DOCUMENT_POINTS:
        async with serving(place.folder, point) as served:
            if await served.ready(place.http_port):
                answered += await posted(place)
            assert await served.ended() == -signal.SIGKILL, point
    async with serving(place.folder) as served:
        assert await served.ready(place.http_port)
        assert await posted(place)
    async with running(place.folder) as node:
        await asyncio.wait_for(node.settled(), 60)
        rows = await node.journal.read(0, 100)
        assert list((await node.journal.bodies(rows)).values()) == [minimal()]
        found = await account.versions(node)
        assert Counter(one.sealed.type for one in found)["Composition"] == 1
        assert all(one.sealed.ver == 1 for one in found), "said again, it changed nothing"
    async with viewing(place.folder) as view:
        assert (await check_all(view, sweep=False)).faults == []
    assert answered, "it was answered, too, by a node that died behind that"


async def posted(place: Place) -> int:
    """Whether the document was accepted; not by a node that dies before it can say so."""
    of = client(place.folder, "sender")
    headers = {"Authorization": f"Bearer {of.token}", "Content-Type": "application/xml"}
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{place.http_port}", headers=headers, timeout=30) as http:
        try:
            return int((await http.post("/cda", content=minimal())).status_code == 200)
        except httpx.TransportError:
            return 0


@pytest.mark.crash
async def test_acknowledged_is_durable_at_any_moment(place: Place) -> None:
    moments = random.Random(20260304)
    async with load(place) as run:
        while run.kills < KILLS:
            async with serving(place.folder) as served:
                assert await served.ready(place.mllp_port)
                await asyncio.sleep(moments.uniform(0, 0.4))
                served.kill()
                assert await served.ended() == -signal.SIGKILL
            run.kills += 1
            run.keep_checkpoint()


@pytest.mark.crash
async def test_a_killed_conversion_child_costs_no_message(place: Place) -> None:
    """The message that a child died over has a second try, on another child; its neighbours notice nothing."""
    moments = random.Random(20260305)
    dead: set[int] = set()
    async with load(place) as run, serving(place.folder) as served:
        assert await served.ready(place.mllp_port)
        while run.kills < KILLS:
            child = await served.child(dead)
            await converting(run)
            await asyncio.sleep(moments.uniform(0, 0.03))
            os.kill(child, signal.SIGKILL)
            dead.add(child)
            run.kills += 1
        await converting(run)
        served.kill()


async def converting(run: Run) -> None:
    """Return once all that was acknowledged so far has taken effect: no message meets its second death."""
    last = len(run.hospital.acknowledged)
    async with asyncio.timeout(30):
        while run.place.mark() < last:  # noqa: ASYNC110 - what it waits for is another process's
            await asyncio.sleep(0.01)
