"""A message's way through a real node: what stops it, what it holds up, and how it goes on (operations chapter §4)."""

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapter import node as node_module
from adapter import operators
from adapter.children import Children
from adapter.node import Node, running
from adapter.store import messages
from adapter.store.writing import commit_unit
from tests.adapter.nodes import STRANGE, STRICT, a08, feed, node_with, profile, send, states, why

QUARANTINED, HELD, DELIVERED = messages.QUARANTINED, messages.HELD, messages.DELIVERED


async def replayed(node: Node, *seqs: int) -> list[int]:
    sent = await operators.replay(node.site, node.journal, seqs, "ada", "mended")
    node.pipeline.wake()
    await node.settled()
    return sent


async def test_a_message_goes_from_socket_to_log_one_recorded_step_at_a_time(fresh_site: Path) -> None:
    async with node_with(fresh_site, [a08("1", "11")]) as node:
        assert [state for state, _ in await why(node, 1)] == ["mapped", "logged", "delivered"]
        entries = [entry.body for entry in await node.site.ledger.entries(0, node.site.ledger.size)]
        assert any(b'"type":"transform.hl7v2"' in body for body in entries)
        assert not any(b"Nr11" in body or b"Linz" in body for body in entries)


async def test_a_wrong_sender_is_quarantined_and_goes_on_once_the_profile_knows_it(fresh_site: Path) -> None:
    profile(fresh_site, STRICT, "strict")
    async with node_with(fresh_site, [a08("1", "11", sender=STRANGE), a08("2", "12")]) as node:
        assert await states(node) == {1: QUARANTINED, 2: DELIVERED}
        assert (await why(node, 1))[-1] == ("quarantined", "wrong-sender MSH")
        assert await replayed(node, 1) == [1]
        assert (await states(node))[1] == QUARANTINED, "nothing was mended"
    own = fresh_site / "profiles" / "strict" / "profile.toml"
    own.write_text(STRICT.replace('"GOOD"', '"*"'), "utf-8")
    async with running(fresh_site) as node:
        await replayed(node, 1)
        assert (await states(node))[1] == DELIVERED


async def test_later_messages_of_a_patient_wait_behind_a_bad_one_and_neighbours_do_not(fresh_site: Path) -> None:
    profile(fresh_site, STRICT, "strict")
    bodies = [a08("1", "11", sender=STRANGE), a08("2", "11"), a08("3", "12")]
    async with node_with(fresh_site, bodies) as node:
        assert await states(node) == {1: QUARANTINED, 2: HELD, 3: DELIVERED}
        assert (await why(node, 2))[-1] == ("held", "behind message 1")


async def test_a_replay_takes_with_it_what_is_held_behind_what_is_held(fresh_site: Path) -> None:
    """Message 3 shares no patient with message 1, only with the merge that waits behind it."""
    profile(fresh_site, STRICT, "strict")
    bodies = [a08("1", "11", sender=STRANGE), a08("2", "12", "11"), a08("3", "12")]
    async with node_with(fresh_site, bodies) as node:
        assert await states(node) == {1: QUARANTINED, 2: HELD, 3: HELD}
        assert list(await operators.waiting(node.site, node.journal, [1])) == [1, 2, 3]
    (fresh_site / "profiles" / "strict" / "profile.toml").write_text(STRICT.replace('"GOOD"', '"*"'), "utf-8")
    async with running(fresh_site) as node:
        assert await replayed(node, 1) == [1, 2, 3]
        assert await states(node) == dict.fromkeys((1, 2, 3), DELIVERED)
        order = await node.site.store.read(lambda conn: [messages.state(conn, node.site.org, seq) for seq in (1, 2, 3)])
        txns = [one.txn for one in order if one is not None and one.txn is not None]
        assert txns == sorted(txns), "in the order of receipt"


async def test_a_feed_may_skip_a_bad_message(fresh_site: Path) -> None:
    profile(fresh_site, STRICT, "strict")
    feed(fresh_site, '\n[policy]\npoison = "skip"\n')
    async with node_with(fresh_site, [a08("1", "11", sender=STRANGE), a08("2", "11")]) as node:
        assert await states(node) == {1: QUARANTINED, 2: DELIVERED}


async def test_a_feed_that_one_message_stops_holds_all_and_lets_all_go_in_order(fresh_site: Path) -> None:
    profile(fresh_site, STRICT, "strict")
    feed(fresh_site, '\n[policy]\npoison = "hold-feed"\n')
    bodies = [a08("1", "11"), a08("2", "12", sender=STRANGE), a08("3", "13"), a08("4", "14")]
    async with node_with(fresh_site, bodies) as node:
        assert await states(node) == {1: DELIVERED, 2: QUARANTINED, 3: HELD, 4: HELD}
    (fresh_site / "profiles" / "strict" / "profile.toml").write_text(STRICT.replace('"GOOD"', '"*"'), "utf-8")
    async with running(fresh_site) as node:
        assert await replayed(node, 2) == [2, 3, 4]
        assert set((await states(node)).values()) == {DELIVERED}


async def test_a_filter_takes_a_message_out_under_its_own_name(fresh_site: Path) -> None:
    text = STRICT.replace('"GOOD"', '"*"') + '\n[[filter]]\nid = "test-ward"\nwhen = "MSH-3 = STRANGE"\n'
    profile(fresh_site, text, "strict")
    async with node_with(fresh_site, [a08("1", "11", sender=STRANGE), a08("2", "11")]) as node:
        assert await states(node) == {1: messages.FILTERED, 2: DELIVERED}
        assert await why(node, 1) == [("filtered", "test-ward")]


async def test_a_refused_message_is_kept_and_goes_its_way_once_it_is_allowed(fresh_site: Path) -> None:
    async with running(fresh_site) as node:
        assert await send(node, a08("1", "11", processing="T")) == ["CR"]
        assert await states(node) == {}
    profile(fresh_site, 'name = "strict"\nextends = "default"\n[ack]\nprocessing = ["P", "T"]\n', "strict")
    async with running(fresh_site) as node:
        assert await replayed(node, 1) == [1]
        assert [state for state, _ in await why(node, 1)] == ["rejected", "new", "mapped", "logged", "delivered"]


async def test_a_paused_feed_accepts_and_holds_and_goes_on_when_it_runs(fresh_site: Path) -> None:
    feed(fresh_site, 'state = "paused"')
    async with running(fresh_site) as node:
        assert await send(node, a08("1", "11"), a08("2", "12")) == ["CA", "CA"]
        assert await states(node) == {1: HELD, 2: HELD}
    file = fresh_site / "feeds" / "main.toml"
    file.write_text(file.read_text("utf-8").replace('state = "paused"', 'state = "running"'), "utf-8")
    async with running(fresh_site) as node:
        await node.settled()
        assert await states(node) == {1: DELIVERED, 2: DELIVERED}


async def test_messages_of_a_feed_that_is_gone_wait_until_it_is_back(fresh_site: Path) -> None:
    file, away = fresh_site / "feeds" / "main.toml", fresh_site / "main.toml"
    feed(fresh_site, 'state = "paused"')
    async with node_with(fresh_site, [a08("1", "11")]):
        pass
    with closing(sqlite3.connect(fresh_site / "data.sqlite3")) as connection:  # as if it had come a moment before
        for table in ("message_state", "message_patient", "message_mark", "transition"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608
        connection.commit()
    file.rename(away)
    async with running(fresh_site) as node:
        await node.settled()
        assert await why(node, 1) == [("held", "feed is not configured")]
    away.rename(file)
    file.write_text(file.read_text("utf-8").replace('state = "paused"', 'state = "running"'), "utf-8")
    async with running(fresh_site) as node:
        await node.settled()
        assert await states(node) == {1: DELIVERED}


@pytest.mark.parametrize("answer", [b"\xc1", b"\x97\x91\x92\xc4\x01x\x80\x90\x90\xc4\x00\xa0\xa0\xc0"])
async def test_a_child_that_answers_nonsense_costs_its_message(
    fresh_site: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    """A message that took its child over gets nowhere. The child here is a real process, and says only that."""
    script = f"""
import sys
read, write = sys.stdin.buffer, sys.stdout.buffer
read.read(int.from_bytes(read.read(4), "big"))
write.write(bytes(4)); write.flush()
while size := read.read(4):
    read.read(int.from_bytes(size, "big"))
    write.write(len({answer!r}).to_bytes(4, "big") + {answer!r}); write.flush()
"""
    monkeypatch.setattr(node_module, "Children", partial(Children, command=[sys.executable, "-c", script]))
    async with node_with(fresh_site, [a08("1", "11")]) as node:
        assert await why(node, 1) == [("quarantined", "conversion-answer")]


async def test_a_fault_of_ours_while_sealing_costs_its_message_and_tells_no_value(
    fresh_site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(commit: Callable[..., Any], conn: Any, unit: Any, *rest: Any, **told: Any) -> Any:
        if unit.seq == 2:
            raise KeyError("Nr12")
        return commit(conn, unit, *rest, **told)

    monkeypatch.setattr("adapter.decision.commit_unit", partial(failing, commit_unit))
    async with node_with(fresh_site, [a08("1", "11"), a08("2", "12"), a08("3", "13")]) as node:
        assert await states(node) == {1: DELIVERED, 2: QUARANTINED, 3: DELIVERED}
        assert (await why(node, 2))[-1] == ("quarantined", "seal-failed")
    told = capsys.readouterr()
    assert "KeyError at test_pipeline.py" in told.out + told.err
    assert "Nr12" not in told.out + told.err


async def test_a_worker_whose_lanes_passed_to_another_starts_over_and_commits_once(fresh_site: Path) -> None:
    async with node_with(fresh_site, [a08("1", "11")]) as node:
        with closing(sqlite3.connect(fresh_site / "data.sqlite3")) as connection:
            connection.execute("UPDATE lane SET token = token + 1")
            connection.commit()
        await send(node, a08("2", "11"))
        assert await states(node) == {1: DELIVERED, 2: DELIVERED}
        assert [state for state, _ in await why(node, 2)] == ["mapped", "logged", "delivered"]


async def test_what_mapping_could_not_use_is_named_with_its_place_and_without_its_value(fresh_site: Path) -> None:
    body = a08("1", "11").replace(b"|19800101|F|", b"|19801399|Q|")
    async with node_with(fresh_site, [body]) as node:
        ((_, text), *_) = await why(node, 1)
        assert "PID-7" in text
        assert "19801399" not in text


async def test_a_message_that_names_two_patients_waits_for_a_person_and_so_does_what_comes_for_either(
    fresh_site: Path,
) -> None:
    """Nobody can say whose the rest of it is."""
    two = a08("1", "11")
    pid = next(line for line in two.split(b"\r") if line.startswith(b"PID"))
    two = two.replace(pid, pid + b"\r" + pid.replace(b"Nr11", b"Nr12").replace(b"11", b"12"), 1)
    async with node_with(fresh_site, [two, a08("2", "12"), a08("3", "13")]) as node:
        assert await states(node) == {1: QUARANTINED, 2: HELD, 3: DELIVERED}
        assert (await why(node, 1))[-1][1].startswith("several-patients")
