"""Feeds that change while a node runs: applied by a command or read again, without a message lost (operations §4)."""

import asyncio
import signal
from pathlib import Path

import pytest
import trustme

from adapter import feed_acts
from adapter.errors import ConfigurationError, NotFound, Unavailable
from adapter.feed_acts import with_state
from adapter.http_server import free_port
from adapter.inbound.feed import feed_from
from adapter.node import Node, running
from adapter.sender import acknowledgement_code, send_one
from adapter.site import open_site
from adapter.store import messages
from adapter.store.feeds import FeedRun
from tests.adapter.inbound.site import Sender, msa
from tests.adapter.inbound.test_tls import client, write
from tests.adapter.nodes import HOST, STRANGE, STRICT, a08, profile, send, states, why
from tests.adapter.test_replies import on_port, served
from tests.adapter.test_replies import sender as sending

HELD, DELIVERED = "held", "delivered"


async def told(node: Node, name: str = "main") -> FeedRun:
    return (await feed_acts.runs(node.site))[name]


async def to(node: Node, state: str) -> None:
    """As another process would: a store of its own, and nothing said to the node."""
    async with open_site(node.site.folder) as site:
        feed, _ = await feed_acts.set_state(site, "main", state, "ada", f"feed.{state}", "maintenance")
    async with asyncio.timeout(20):
        while (await told(node)).runs != feed.revision:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await node.settled()


async def test_a_pause_holds_what_comes_and_a_resume_lets_it_go_in_order(fresh_site: Path) -> None:
    async with running(fresh_site) as node, sending(node) as sender:
        assert msa(await sender.ask(a08("1", "11")))[1] == "CA"
        await node.settled()
        await to(node, "paused")
        for control in ("2", "3"):
            assert msa(await sender.ask(a08(control, "11", street=f"Weg {control}")))[1] == "CA", "the same connection"
        await node.settled()
        assert await states(node) == {1: DELIVERED, 2: HELD, 3: HELD}
        assert (await why(node, 2))[-1] == (HELD, "feed paused")
        await to(node, "running")
        assert await states(node) == dict.fromkeys((1, 2, 3), DELIVERED)
        txns = await _order(node)
        assert txns == sorted(txns)


async def _order(node: Node) -> list[int]:
    found = await node.site.store.read(lambda conn: [messages.state(conn, node.site.org, seq) for seq in (1, 2, 3)])
    return [one.txn or 0 for one in found if one is not None]


async def test_order_holds_for_each_patient_however_often_a_feed_is_paused(fresh_site: Path) -> None:
    """Messages come all the while: none overtakes an earlier one of its patient, none stays behind."""
    profile(fresh_site, STRICT, "strict")
    file = fresh_site / "feeds" / "main.toml"
    async with running(fresh_site) as node, sending(node) as sender:

        async def toggle() -> None:
            for state in ("paused", "running") * 4:
                file.write_text(with_state(file.read_text("utf-8"), state), "utf-8")
                await node.receipt.reload()
                await asyncio.sleep(0.1)

        toggling = asyncio.create_task(toggle())
        count = 0
        while not toggling.done():
            await sender.ask(a08(str(count), str(11 + count % 3), street=f"Weg {count}"))
            count += 1
        await toggling
        await node.settled()
        seqs = range(1, count + 1)
        org = node.site.org
        found = await node.site.store.read(lambda conn: [messages.state(conn, org, seq) for seq in seqs])
        assert {one.state for one in found if one is not None} == {DELIVERED}
        for patient in range(3):
            txns = [one.txn or 0 for one in found[patient::3] if one is not None]
            assert txns == sorted(txns)
        assert any(one.attempt > 1 for one in found if one is not None), "some were held meanwhile"


async def test_draining_closes_the_port_and_works_off_what_there_is(fresh_site: Path) -> None:
    async with running(fresh_site) as node:
        await to(node, "paused")
        assert await send(node, a08("1", "11")) == ["CA"]
        port = node.mllp_port()
        await to(node, "draining")
        assert await states(node) == {1: DELIVERED}
        with pytest.raises(Unavailable):
            await send_one(HOST, port, a08("2", "12"), timeout_s=2)
        assert node.listeners == {}


async def test_stopped_takes_nothing_and_lets_nothing_through(fresh_site: Path) -> None:
    async with running(fresh_site) as node:
        await to(node, "paused")
        await send(node, a08("1", "11"))
        await to(node, "stopped")
        assert (await states(node), node.listeners) == ({1: HELD}, {})
        await to(node, "running")
        assert await states(node) == {1: DELIVERED}


async def test_what_comes_while_the_node_is_away_waits_for_the_state_that_the_file_says(fresh_site: Path) -> None:
    async with open_site(fresh_site) as site:
        await feed_acts.set_state(site, "main", "paused", "ada", "feed.pause", "")
    async with running(fresh_site) as node:
        await send(node, a08("1", "11"))
        assert await states(node) == {1: HELD}
        run = await told(node)
        assert (run.runs, run.state, run.who) == (run.wanted, "paused", "ada")


async def test_a_new_feed_opens_its_port_and_its_profile_is_known_to_the_children(
    fresh_site: Path, tmp_path: Path
) -> None:
    port = free_port(HOST)
    text = f'feed = "lab"\norg = "stadtklinik"\nprofile = "strict"\n[listen]\nport = {port}\n'
    (tmp_path / "lab.toml").write_text(text, "utf-8")
    async with running(fresh_site) as node:
        await send(node, a08("1", "11"))
        (fresh_site / "profiles" / "strict").mkdir()
        (fresh_site / "profiles" / "strict" / "profile.toml").write_text(STRICT, "utf-8")
        async with open_site(fresh_site) as site:
            feed, _ = await feed_acts.apply_feed(site, tmp_path / "lab.toml", "ada")
            run = await feed_acts.taken_up(site, feed)
            assert run is not None
            assert (run.runs, run.fault) == (feed.revision, "")
        assert await send(node, a08("2", "12"), a08("3", "13", sender=STRANGE), feed="lab") == ["CA", "CA"]
        assert await states(node) == {1: DELIVERED, 2: DELIVERED, 3: "quarantined"}


async def test_a_port_that_is_taken_leaves_what_ran_and_says_why(fresh_site: Path, tmp_path: Path) -> None:
    other = free_port(HOST)
    async with running(fresh_site) as node:
        (tmp_path / "main.toml").write_text(
            node.receipt.feeds["main"].text.replace("port = 0", f"port = {other}"), "utf-8"
        )
        server = await asyncio.start_server(lambda reader, writer: None, HOST, other)
        async with open_site(fresh_site) as site:
            feed, _ = await feed_acts.apply_feed(site, tmp_path / "main.toml", "ada")
            run = await feed_acts.taken_up(site, feed)
        assert run is not None
        assert f"port {other} cannot be opened" in run.fault
        assert await send(node, a08("1", "11")) == ["CA"], "where it listened before"
        server.close()
        await server.wait_closed()


async def test_reading_again_takes_a_mended_profile_without_closing_a_connection(fresh_site: Path) -> None:
    profile(fresh_site, STRICT, "strict")
    async with running(fresh_site) as node, sending(node) as sender:
        await sender.ask(a08("1", "11", sender=STRANGE))
        await node.settled()
        own = fresh_site / "profiles" / "strict" / "profile.toml"
        own.write_text(STRICT.replace('"GOOD"', '"*"'), "utf-8")
        await node.receipt.reload()
        await sender.ask(a08("2", "12", sender=STRANGE))
        await node.settled()
        assert await states(node) == {1: "quarantined", 2: DELIVERED}
        own.write_text("not toml", "utf-8")
        await node.receipt.reload()
        assert msa(await sender.ask(a08("3", "13", sender=STRANGE)))[1] == "CA", "what ran goes on"
        assert "not TOML" in (await told(node)).fault
        own.write_text(STRICT, "utf-8")
        (own.parent / "segments").mkdir()
        rows = own.parent / "segments" / "PID.Patient.csv"
        rows.write_bytes(
            b"id,source,when,target,type,vocab,value,note\nPID.Patient:99,PID-5,,name[],XPN[HumanName],,,f\xfcr\n"
        )
        await node.receipt.reload()
        assert "not UTF-8" in (await told(node)).fault, "as a spreadsheet saves it"
        rows.unlink()
        rows.mkdir()
        await node.receipt.reload()
        assert "cannot be read" in (await told(node)).fault


async def test_a_feed_whose_file_is_gone_is_closed_when_feeds_are_read_again(fresh_site: Path) -> None:
    async with running(fresh_site) as node:
        (fresh_site / "feeds" / "main.toml").unlink()
        await node.receipt.reload()
        assert (node.receipt.feeds, node.receipt.intakes, node.listeners) == ({}, {}, {})
        assert (await told(node)).runs == ""


async def test_a_file_that_was_changed_by_hand_runs_only_when_it_is_read_again(fresh_site: Path) -> None:
    async with running(fresh_site) as node:
        file = fresh_site / "feeds" / "main.toml"
        file.write_text(with_state(file.read_text("utf-8"), "paused"), "utf-8")
        await asyncio.sleep(1.2)
        assert (await told(node)).state == "running", "a file that differs from what runs is drift"
        await node.receipt.reload()
        assert (await told(node)).state == "paused"


async def test_a_profile_that_was_changed_by_hand_is_drift_and_an_apply_records_it(fresh_site: Path) -> None:
    profile(fresh_site, STRICT, "strict")
    own, file = fresh_site / "profiles" / "strict" / "profile.toml", fresh_site / "feeds" / "main.toml"
    async with running(fresh_site) as node, open_site(fresh_site) as site:
        applied, _ = await feed_acts.apply_feed(site, file, "ada")
        await feed_acts.taken_up(site, applied)
        own.write_text(STRICT.replace('"GOOD"', '"*"'), "utf-8")
        changed = feed_acts.feeds_of(site)["main"].revision
        assert (await told(node)).runs == applied.revision != changed, "what runs is what was applied"
    async with running(fresh_site) as node, open_site(fresh_site) as site:
        await asyncio.sleep(1.2)
        assert "not the one that was applied" in (await told(node)).fault, "nobody recorded what runs now"
        feed, _ = await feed_acts.apply_feed(site, file, "ada")
        run = await feed_acts.taken_up(site, feed)
        assert run is not None
        assert (run.wanted, run.runs, run.fault) == (changed, changed, "")


async def test_sighup_reads_feeds_again_and_does_not_end_the_process(fresh_site: Path) -> None:
    port = on_port(fresh_site)
    file = fresh_site / "feeds" / "main.toml"
    async with served(fresh_site) as process:
        file.write_text(with_state(file.read_text("utf-8"), "paused"), "utf-8")
        process.send_signal(signal.SIGHUP)
        async with open_site(fresh_site) as site:
            async with asyncio.timeout(20):
                while (await feed_acts.runs(site))["main"].state != "paused":  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        assert acknowledgement_code(await send_one(HOST, port, a08("1", "11"))) == "CA"
        process.terminate()
        assert await process.wait() == 0


async def test_a_kill_during_a_change_of_state_leaves_a_feed_that_the_file_describes(fresh_site: Path) -> None:
    async with served(fresh_site) as process:
        async with open_site(fresh_site) as site:
            await feed_acts.set_state(site, "main", "paused", "ada", "feed.pause", "")
        process.kill()
        await process.wait()
    async with running(fresh_site) as node:
        assert node.receipt.feeds["main"].state == "paused"
        assert (await told(node)).runs == node.receipt.feeds["main"].revision


BASE = {"feed": "a", "org": "o", "profile": "p"}
HEAD = 'feed = "a" # name\norg = "o"\nprofile = "p"\n'


@pytest.mark.parametrize(
    "text",
    [
        HEAD,
        HEAD + "[listen]\nport = 1\n",
        HEAD + '  state = "running"   # as ever\n\n[listen]\nport = 1\n',
        HEAD + "state='stopped'\n",
        HEAD.rstrip(),
        "# state = \"x\"\n" + HEAD + '[policy]\npoison = "skip"\n',
    ],
)  # fmt: skip
def test_a_state_is_written_where_the_others_stay_as_they_are(text: str) -> None:
    import tomllib

    changed = with_state(text, "paused")
    before, after = tomllib.loads(text), tomllib.loads(changed)
    assert after == before | {"state": "paused"}
    assert feed_from(after).state == "paused"
    assert text.count("#") == changed.count("#"), "comments stay"


async def test_a_file_that_cannot_be_changed_so_is_left_alone(fresh_site: Path) -> None:
    file = fresh_site / "feeds" / "main.toml"
    file.write_text('"state" = "running"\n' + file.read_text("utf-8"), "utf-8")
    before = file.read_bytes()
    async with open_site(fresh_site) as site:
        with pytest.raises(ConfigurationError):
            await feed_acts.set_state(site, "main", "paused", "ada", "feed.pause", "")
        with pytest.raises(NotFound):
            await feed_acts.set_state(site, "nobody", "paused", "ada", "feed.pause", "")
    assert file.read_bytes() == before


async def test_certificates_are_read_again_and_broken_ones_leave_those_that_were_loaded(fresh_site: Path) -> None:
    authority = trustme.CA()
    write(fresh_site, authority.issue_cert("localhost"))
    file = fresh_site / "feeds" / "main.toml"
    file.write_text(file.read_text("utf-8") + 'tls = { cert_file = "lab.pem", key_file = "lab.key" }\n', "utf-8")
    async with running(fresh_site) as node:

        async def answered() -> bytes:
            one = await Sender.open(node.mllp_port(), client(authority), "localhost")
            serial = one.writer.get_extra_info("peercert")["serialNumber"]
            assert msa(await one.ask(a08(serial[:8], "11")))[1] == "CA"
            await one.close()
            return bytes.fromhex(serial)

        first = await answered()
        write(fresh_site, authority.issue_cert("localhost"))
        await node.receipt.reload()
        second = await answered()
        assert second != first
        (fresh_site / "lab.pem").write_text("no certificate", "utf-8")
        await node.receipt.reload()
        assert "certificate files cannot be used" in (await told(node)).fault
        assert await answered() == second


async def test_a_feed_that_is_applied_anew_is_waited_for_though_its_revision_ran_already(fresh_site: Path) -> None:
    async with open_site(fresh_site) as site:
        feed, _ = await feed_acts.set_state(site, "main", "running", "ada", "feed.resume", "")
    async with running(fresh_site) as node, open_site(fresh_site) as site:
        before = (await told(node)).at
        await feed_acts.set_state(site, "main", "running", "ada", "feed.resume", "")
        run = await feed_acts.taken_up(site, feed)
        assert run is not None
        assert run.at > before


async def test_a_node_that_has_closed_its_ports_opens_none_again(fresh_site: Path) -> None:
    async with running(fresh_site) as node:
        await node.receipt.close()
        await node.receipt.reload()
        assert node.listeners == {}
