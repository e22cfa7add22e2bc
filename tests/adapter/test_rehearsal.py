"""The dry run of a replay: it says what the replay then does, and writes nothing (operations §4)."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapter import journals, operators
from adapter.errors import ConfigurationError, Conflict
from adapter.inbound.journal import JournalReader
from adapter.node import running
from adapter.rehearsal import Rehearsed, rehearse
from adapter.site import Site, open_site
from tests.adapter.nodes import STRANGE, STRICT, a08, edit, node_with, profile, states, why

QUARANTINED, HELD, MAPPED = "quarantined", "held", "mapped"


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Site, JournalReader]]:
    async with open_site(folder) as site:
        journal = journals.reader(site)
        try:
            yield site, journal
        finally:
            await journal.close()


async def rehearsed(folder: Path, *seqs: int) -> list[Rehearsed]:
    async with opened(folder) as (site, journal):
        return await rehearse(site, journal, await operators.waiting(site, journal, seqs))


async def lived(folder: Path, *bodies: bytes) -> None:
    profile(folder, STRICT, "strict")
    async with node_with(folder, bodies):
        pass


def mend(folder: Path) -> None:
    edit(folder / "profiles" / "strict" / "profile.toml", '"GOOD"', '"*"')


def stored(folder: Path) -> list[str]:
    """All that the stores hold."""
    found: list[str] = []
    for file in sorted(folder.rglob("*.sqlite3")):
        with sqlite3.connect(file) as conn:
            found += [file.name, *conn.iterdump()]
        conn.close()
    return found


async def test_what_would_change_is_named_and_nothing_is_written(fresh_site: Path) -> None:
    await lived(
        fresh_site,
        a08("1", "11", street="Weg 1"),
        a08("2", "11", sender=STRANGE, street="Weg 2"),
        a08("3", "11", street="Weg 2"),
        a08("4", "12", sender=STRANGE),
    )
    mend(fresh_site)
    before = stored(fresh_site)
    second, third, fourth = await rehearsed(fresh_site, 2, 4)
    assert stored(fresh_site) == before
    assert (second.seq, second.before, second.becomes, second.verdict) == (2, QUARANTINED, MAPPED, "changed")
    assert [(one.kind, one.path, one.old, one.new) for one in second.changes] == [
        ("changed", "address[0].line[0]", "Weg 1", "Weg 2")
    ]
    assert (third.seq, third.before, third.becomes, third.verdict) == (3, HELD, MAPPED, "unchanged")
    assert fourth.verdict == "changed"
    assert [(one.kind, one.resource.partition("/")[0], one.path) for one in fourth.changes] == [
        ("added", "Patient", "resource")
    ]


async def test_what_is_lost_is_worse(fresh_site: Path) -> None:
    gone = a08("2", "11", sender=STRANGE).replace(b"|F|||", b'|""|||')
    await lived(fresh_site, a08("1", "11"), gone)
    mend(fresh_site)
    (found,) = await rehearsed(fresh_site, 2)
    assert found.verdict == "worse"
    assert [(one.kind, one.path, one.lost) for one in found.changes] == [("removed", "gender", True)]


async def test_what_was_not_mended_stops_again_and_holds_what_is_behind_it(fresh_site: Path) -> None:
    await lived(fresh_site, a08("1", "11", sender=STRANGE), a08("2", "11"))
    first, second = await rehearsed(fresh_site, 1)
    assert (first.becomes, first.why, first.verdict) == (QUARANTINED, "wrong-sender MSH", "unchanged")
    assert (second.becomes, second.why, second.verdict) == (HELD, "behind message 1", "unchanged")


async def test_a_held_message_that_would_stop_is_worse(fresh_site: Path) -> None:
    await lived(fresh_site, a08("1", "11", sender=STRANGE), a08("2", "11"))
    file = fresh_site / "feeds" / "main.toml"
    file.write_text(file.read_text("utf-8") + '[policy]\npoison = "skip"\n', "utf-8")
    hooks = "def before(message):\n    raise ValueError\n"
    (fresh_site / "profiles" / "strict" / "hooks.py").write_text(hooks, "utf-8")
    first, second = await rehearsed(fresh_site, 1)
    assert (first.becomes, first.why, first.verdict) == (QUARANTINED, "wrong-sender MSH", "unchanged")
    assert (second.becomes, second.why, second.verdict) == (QUARANTINED, "hook-failed", "worse")


async def test_the_replay_does_what_its_rehearsal_said(fresh_site: Path) -> None:
    await lived(
        fresh_site,
        a08("1", "11", sender=STRANGE),
        a08("2", "11"),
        a08("3", "11", "12"),
        a08("4", "12", street="Weg 4"),
        a08("5", "13", sender=STRANGE).replace(b"20260304081500", b"no time at all", 1),
    )
    mend(fresh_site)
    said = await rehearsed(fresh_site, 1, 5)
    async with running(fresh_site) as node:
        await operators.replay(node.site, node.journal, [1, 5], "ada", "mended")
        node.pipeline.wake()
        await node.settled()
        found = await states(node)
        for one in said:
            assert (one.becomes, one.why) in (await why(node, one.seq))[2:]
            assert found[one.seq] == ("delivered" if one.becomes == MAPPED else one.becomes)
    assert [one.seq for one in said] == [1, 2, 3, 4, 5]


async def test_a_message_that_moved_meanwhile_is_not_rehearsed(fresh_site: Path) -> None:
    await lived(fresh_site, a08("1", "11", sender=STRANGE))
    async with opened(fresh_site) as (site, journal):
        waiting = await operators.waiting(site, journal, [1])
        await operators.replay(site, journal, [1], "bob", "quicker")
        with pytest.raises(Conflict):
            await rehearse(site, journal, waiting)


async def test_a_profile_that_no_child_could_load_is_told_at_once(fresh_site: Path) -> None:
    await lived(fresh_site, a08("1", "11", sender=STRANGE))
    (fresh_site / "profiles" / "strict" / "profile.toml").write_text("not toml", "utf-8")
    with pytest.raises(ConfigurationError, match="not TOML"):
        await rehearsed(fresh_site, 1)


async def test_a_refused_message_can_be_rehearsed_and_one_of_a_paused_feed_is_held(fresh_site: Path) -> None:
    await lived(fresh_site, a08("1", "11", processing="T"))
    (found,) = await rehearsed(fresh_site, 1)
    assert (found.before, found.becomes) == ("rejected", MAPPED)
    file = fresh_site / "feeds" / "main.toml"
    file.write_text('state = "paused"\n' + file.read_text("utf-8"), "utf-8")
    (found,) = await rehearsed(fresh_site, 1)
    assert (found.becomes, found.why) == (HELD, "feed paused")
