"""A watched folder: whole files, one answer each, and nothing lost or kept twice whatever dies in between.

Real files, a real journal; the crashes are SIGKILL. Source: hl7v2 chapter §11; operations chapter §4.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapter.inbound.ack import Rules
from adapter.inbound.folder import Watcher, _free
from adapter.inbound.intake import Prepared
from adapter.inbound.journal_table import Row
from tests.adapter.inbound.site import Site, close_site, create_site, message, open_site

BHS, BTS = b"BHS|^~\\&|LABSYS|LAB|CHARTBRIDGE|HOSP|20240501||||B77\r", b"BTS|3\r"
BAD = message("bad", msh11="T")
WATCH = """
import asyncio, sys
from pathlib import Path
from tests.adapter.inbound.site import close_site, open_site
from tests.adapter.inbound.test_folder import watcher

async def main(folder):
    site = await open_site(folder)
    one = watcher(site)
    for _ in range(2):  # a file is taken at the second look that finds it unchanged
        await one.look()
    await close_site(site)

asyncio.run(main(Path(sys.argv[1])))
"""


def watcher(site: Site, rules: Rules | None = None, **listen: Any) -> Watcher:
    incoming = site.folder / "in"
    incoming.mkdir(exist_ok=True)
    feed = site.feed(kind="folder", path=str(incoming), **{"poll_s": 0.01, "stable_s": 0.000_001, **listen})
    return Watcher(site.intake(feed, rules))


def put(site: Site, name: str, data: bytes) -> Path:
    path = site.folder / "in" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


async def taken(one: Watcher) -> None:
    for _ in range(2):
        await one.look()


def names(site: Site) -> set[str]:
    incoming = site.folder / "in"
    return {str(path.relative_to(incoming)) for path in incoming.rglob("*") if path.is_file()}


async def rows(site: Site) -> list[Row]:
    return (await site.journal.listing(100))[::-1]


def acks(answer: bytes) -> list[str]:
    return [line.split("|")[1] for line in answer.decode().split("\r") if line.startswith("MSA")]


async def test_a_file_is_kept_answered_and_moved(site: Site) -> None:
    one = watcher(site)
    put(site, "a.hl7", message("A1"))
    await taken(one)
    assert [(row.state, row.feed) for row in await rows(site)] == [("new", "main")]
    assert names(site) == {"a.hl7.ack", "done/a.hl7"}
    assert b"MSA|AA|A1\r" in (site.folder / "in" / "a.hl7.ack").read_bytes()


async def test_a_file_of_many_messages_is_answered_by_one(site: Site) -> None:
    one = watcher(site)
    put(site, "night.hl7", BHS + message("A1") + BAD + message("A2") + BTS)
    await taken(one)
    assert [(row.state, row.issues) for row in await rows(site)] == [
        ("new", ()), ("rejected", ("processing-id",)), ("new", ()),
    ]  # fmt: skip
    answer = (site.folder / "in" / "night.hl7.ack").read_bytes()
    assert acks(answer) == ["AA", "AR", "AA"]
    assert answer.split(b"\r")[0].split(b"|")[11] == b"B77"
    assert names(site) == {"night.hl7.ack", "failed/night.hl7"}, "someone has to look at it"


async def test_a_large_file_goes_in_pieces_and_keeps_its_order(site: Site) -> None:
    one = watcher(site)
    put(site, "all.hl7", b"".join(message(f"M{n}") for n in range(700)))
    await taken(one)
    kept = [row async for row in _all(site)]
    assert [await site.journal.body(row) for row in kept[::99]] == [message(f"M{n}") for n in range(0, 700, 99)]
    assert names(site) == {"all.hl7.ack", "done/all.hl7"}


async def _all(site: Site) -> Any:
    for row in (await site.journal.listing(1000))[::-1]:
        yield row


async def test_a_file_that_still_grows_is_left_alone(site: Site) -> None:
    one = watcher(site)
    path = put(site, "a.hl7", message("A1")[:40])
    await one.look()
    path.write_bytes(message("A1"))
    await one.look()
    assert await rows(site) == []
    await one.look()
    assert await site.journal.body((await rows(site))[0]) == message("A1")


async def test_only_plain_files_of_the_pattern_are_taken(site: Site) -> None:
    one = watcher(site, pattern="*")
    for name in (".hidden", "old.ack", "done/old.hl7"):
        (site.folder / "in" / name).parent.mkdir(exist_ok=True)
        put(site, name, message("A1"))
    (site.folder / "secret.hl7").write_bytes(message("A2"))
    (site.folder / "in" / "link.hl7").symlink_to(site.folder / "secret.hl7")
    os.mkfifo(site.folder / "in" / "pipe.hl7")
    await taken(one)
    assert await rows(site) == []


async def test_the_same_file_again_is_a_duplicate_and_both_are_kept(site: Site) -> None:
    one = watcher(site)
    for _ in range(2):
        put(site, "a.hl7", message("A1"))
        await taken(one)
    assert [row.state for row in await rows(site)] == ["new", "duplicate"]
    assert names(site) == {"a.hl7.ack", "done/a.hl7", "done/a.hl7.2"}


async def test_what_failed_is_tried_anew_when_it_is_put_back(site: Site) -> None:
    """The rules have changed meanwhile; what was accepted then is not taken twice."""
    put(site, "a.hl7", message("A1") + BAD)
    await taken(watcher(site))
    (site.folder / "in" / "failed" / "a.hl7").rename(site.folder / "in" / "a.hl7")
    await taken(watcher(site, Rules(processing=frozenset("PT"))))
    assert [row.state for row in await rows(site)] == ["new", "rejected", "duplicate", "new"]
    assert names(site) == {"a.hl7.ack", "done/a.hl7"}


@pytest.mark.parametrize(
    ("data", "issue"), [(b"", "no-header"), (b"PK\x03\x04", "no-header"), (message("x" * 2000), "over-limit")]
)
async def test_a_file_that_holds_no_message_fails_and_its_beginning_is_kept(
    site: Site, data: bytes, issue: str
) -> None:
    one = watcher(site, limits={"file_bytes": 1024})
    put(site, "a.hl7", data)
    put(site, "b.hl7", message("B1"))
    await taken(one)
    assert sorted((row.state, row.issues) for row in await rows(site)) == [("new", ()), ("rejected", (issue,))]
    assert {"failed/a.hl7", "a.hl7.ack", "done/b.hl7"} <= names(site)


async def test_one_long_message_of_a_batch_costs_only_itself(site: Site) -> None:
    one = watcher(site, limits={"frame_bytes": 1024})
    put(site, "a.hl7", message("A1") + message("A2", note="x" * 2000) + message("A3"))
    await taken(one)
    assert [row.issues for row in await rows(site)] == [(), ("over-limit",), ()]


async def test_what_cannot_be_moved_is_told_without_its_name_and_rests(site: Site) -> None:
    one = watcher(site)
    put(site, "Huber-Anna.hl7", message("A1"))
    put(site, "b.hl7", message("B1"))
    (site.folder / "in" / "done").write_bytes(b"a file where the folder should be")
    with capture_logs() as told:
        for _ in range(3):
            await one.look()
    assert [each["event"] for each in told].count("folder.file_unusable") == 2
    assert "Huber" not in repr(told), "names of files may name patients"
    assert {"Huber-Anna.hl7", "b.hl7"} <= names(site)


async def test_a_name_in_another_character_set_is_a_name(site: Site) -> None:
    one = watcher(site)
    put(site, os.fsdecode(b"M\xfcller.hl7"), message("A1"))
    await taken(one)
    assert [row.state for row in await rows(site)] == ["new"]
    assert names(site) == {os.fsdecode(b"M\xfcller.hl7.ack"), os.fsdecode(b"done/M\xfcller.hl7")}


async def test_a_fault_of_ours_costs_one_file_and_is_told_without_its_content(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = watcher(site)
    prepare = one.intake.prepare_one

    def faulty(data: bytes) -> Prepared:
        if b"|A1|" in data:
            raise KeyError("4711")
        return prepare(data)

    monkeypatch.setattr(one.intake, "prepare_one", faulty)
    put(site, "a.hl7", message("A1"))
    put(site, "b.hl7", message("B1"))
    with capture_logs() as logs:
        await one.start()
        async with asyncio.timeout(10):
            while "done/b.hl7" not in names(site):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await one.stop()
    assert "a.hl7" in names(site), "it is tried again later"
    assert [one["event"] for one in logs] == ["folder.file_unusable"]
    assert logs[0]["reason"].startswith("KeyError at test_folder.py:")


@pytest.mark.parametrize("moment", ["folder.kept", "folder.answered", "folder.moving"])
async def test_what_a_sender_puts_in_the_place_of_its_file_is_not_moved_unread(
    site: Site, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    one = watcher(site)
    put(site, "a.hl7", message("A1"))
    left = [message("B1", note="!")]

    def replaced(point: str) -> None:
        if point == moment and left:
            path = put(site, "new", left.pop())
            path.rename(site.folder / "in" / "a.hl7")

    def free(folder: Path, name: str) -> Path:
        replaced("folder.moving")
        return _free(folder, name)

    monkeypatch.setattr("adapter.inbound.folder.crash_point", replaced)
    monkeypatch.setattr("adapter.inbound.folder._free", free)
    await taken(one)
    await taken(one)
    await taken(one)
    assert [await site.journal.body(row) for row in await rows(site)] == [message("A1"), message("B1", note="!")]
    assert names(site) == {"a.hl7.ack", "done/a.hl7"}
    assert (site.folder / "in" / "done" / "a.hl7").read_bytes() == message("B1", note="!")
    assert one.counters["replaced"] == 1


async def test_a_folder_that_is_away_is_waited_for(site: Site) -> None:
    one = watcher(site)
    (site.folder / "in").rmdir()
    await one.start()
    await asyncio.sleep(0.05)
    put(site, "a.hl7", message("A1"))
    async with asyncio.timeout(10):
        while "done/a.hl7" not in names(site):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await one.stop()


async def test_what_the_journal_cannot_keep_stays_and_is_taken_later(
    site: Site, open_site: Callable[[], Awaitable[Site]]
) -> None:
    one = watcher(site)
    put(site, "a.hl7", message("A1"))
    await close_site(site)
    await taken(one)
    assert names(site) == {"a.hl7"}
    await taken(watcher(await open_site()))
    assert names(site) == {"a.hl7.ack", "done/a.hl7"}


POINTS = [
    "folder.read", "receive.prepared:2", "journal.sealed:2", "journal.inserted:1", "journal.committed:1",
    "folder.kept", "folder.answered", "folder.moved",
]  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
async def test_a_kill_between_any_two_steps_neither_loses_nor_doubles(tmp_path: Path, point: str) -> None:
    """One message has no control id, so that only its place tells that it is there."""
    await create_site(tmp_path)
    sent = [message("A1"), message(""), message("A2")]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.hl7").write_bytes(BHS + b"".join(sent) + BTS)
    assert await watched(tmp_path, point) == -signal.SIGKILL, "it came to this point"
    assert await watched(tmp_path, "") == 0
    site = await open_site(tmp_path)
    try:
        kept = await rows(site)
        assert [row.state for row in kept] == ["new"] * 3
        assert [await site.journal.body(row) for row in kept] == sent
        assert names(site) == {"a.hl7.ack", "done/a.hl7"}
        assert acks((tmp_path / "in" / "a.hl7.ack").read_bytes()) == ["AA"] * 3
    finally:
        await close_site(site)


async def watched(folder: Path, crash_at: str) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WATCH, str(folder), env={**os.environ, "CHARTBRIDGE_CRASH_AT": crash_at}
    )
    return await process.wait()
