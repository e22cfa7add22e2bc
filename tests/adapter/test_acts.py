"""A person's decisions about messages: held, released, discarded (operations chapter §4)."""

from pathlib import Path

import pytest
from sqlalchemy import Connection

from adapter import journals, operators
from adapter.errors import Conflict, NotFound
from adapter.inbound.journal import Incoming
from adapter.node import Node, running
from adapter.site import now, open_site
from adapter.store import messages
from ledger.event import decode
from tests.adapter.nodes import STRANGE, STRICT, a08, feed, node_with, profile, send, states, why

QUARANTINED, HELD, DELIVERED, DISCARDED = "quarantined", "held", "delivered", "discarded"
BODIES = [a08("1", "11", sender=STRANGE), a08("2", "11", street="Weg 2"), a08("3", "11", street="Weg 3")]


async def act(node: Node, verb: str, *seqs: int) -> list[int]:
    done = await getattr(operators, verb)(node.site, node.journal, seqs, "ada", "for a reason")
    node.pipeline.wake()
    await node.settled()
    return list(done)


async def acts(node: Node) -> list[str]:
    entries = await node.site.ledger.entries(0, node.site.ledger.size)
    bodies = [decode(entry.body) for entry in entries]
    return [str(body["d"]["action"]) for body in bodies if body["type"] == "operator.acted"]


async def test_a_released_message_goes_before_the_one_it_waits_behind(fresh_site: Path) -> None:
    profile(fresh_site, STRICT, "strict")
    async with node_with(fresh_site, BODIES) as node:
        assert await states(node) == {1: QUARANTINED, 2: HELD, 3: HELD}
        assert await act(node, "release", 3) == [3]
        assert await states(node) == {1: QUARANTINED, 2: HELD, 3: DELIVERED}
        assert (await why(node, 3))[1] == ("new", "for a reason")
        assert await acts(node) == ["msg.release"]
        for seq in (1, 3):
            with pytest.raises(NotFound, match=f"message {seq} is not held"):
                await act(node, "release", seq)


async def test_a_released_message_still_waits_for_its_feed(fresh_site: Path) -> None:
    feed(fresh_site, 'state = "paused"')
    async with node_with(fresh_site, [a08("1", "11")]) as node:
        await act(node, "release", 1)
        assert (await states(node), (await why(node, 1))[-1]) == ({1: HELD}, (HELD, "feed paused"))


async def test_what_waited_behind_a_discarded_message_goes_its_way_in_order(fresh_site: Path) -> None:
    profile(fresh_site, STRICT, "strict")
    async with node_with(fresh_site, BODIES) as node:
        assert await act(node, "discard", 1) == [1]
        assert await states(node) == {1: DISCARDED, 2: DELIVERED, 3: DELIVERED}
        assert await acts(node) == ["msg.discard"]
        with pytest.raises(NotFound, match="waits for nobody"):
            await act(node, "discard", 1)


async def test_behind_another_that_waits_too_it_waits_on(fresh_site: Path) -> None:
    profile(fresh_site, STRICT, "strict")
    bodies = [a08("1", "11", sender=STRANGE), a08("2", "12", sender=STRANGE), a08("3", "11", "12")]
    async with node_with(fresh_site, bodies) as node:
        await act(node, "discard", 1)
        assert await states(node) == {1: DISCARDED, 2: QUARANTINED, 3: HELD}
        assert (await why(node, 3))[-1] == (HELD, "behind message 2")


async def test_a_feed_that_one_message_stopped_goes_on_when_it_is_discarded(fresh_site: Path) -> None:
    profile(fresh_site, STRICT, "strict")
    feed(fresh_site, '\n[policy]\npoison = "hold-feed"\n')
    bodies = [a08("1", "11", sender=STRANGE), a08("2", "12"), a08("3", "13")]
    async with node_with(fresh_site, bodies) as node:
        await act(node, "discard", 1)
        assert await states(node) == {1: DISCARDED, 2: DELIVERED, 3: DELIVERED}


async def test_a_refused_message_may_be_discarded(fresh_site: Path) -> None:
    async with node_with(fresh_site, [a08("1", "11", processing="T")]) as node:
        await act(node, "discard", 1)
        assert [state for state, _ in await why(node, 1)] == ["rejected", DISCARDED]


async def test_a_held_message_takes_no_effect_until_it_is_released(fresh_site: Path) -> None:
    """Held before a worker has seen it: what is behind it waits too, and a feed that runs again lets neither go."""
    feed(fresh_site, 'state = "paused"')
    async with running(fresh_site) as node:
        await send(node, a08("1", "11"), a08("2", "11", street="Weg 2"), a08("3", "12"))
        await act(node, "discard", 3)
        with pytest.raises(NotFound, match="message 1 has its state already"):
            await act(node, "hold", 1)
    async with open_site(fresh_site) as site:
        journal = await journals.writer(site, lost=lambda text: None)
        await journal.start()
        first, body = await journal.row(1), a08("4", "11", street="Weg 4")
        late = Incoming("main", now(), body, "new", "CA", "20260304", None, first.patients, first.lanes)
        assert (await journal.accept(late)).seq == 4
        assert await operators.hold(site, journal, [4], "ada", "looks wrong") == [4]
        await journal.close()
    file = fresh_site / "feeds" / "main.toml"
    file.write_text(file.read_text("utf-8").replace('state = "paused"', 'state = "running"'), "utf-8")
    async with running(fresh_site) as node:
        await send(node, a08("5", "11", street="Weg 5"))
        assert await states(node) == {1: DELIVERED, 2: DELIVERED, 3: DISCARDED, 4: HELD, 5: HELD}
        assert (await why(node, 4)) == [(HELD, "on hold: looks wrong")]
        assert (await why(node, 5))[-1] == (HELD, "behind message 4")
        await act(node, "release", 4)
        assert (await states(node))[4] == DELIVERED
        await act(node, "release", 5)
        assert (await states(node))[5] == DELIVERED


async def test_a_replay_leaves_what_a_person_holds_where_it_is(fresh_site: Path) -> None:
    profile(fresh_site, STRICT, "strict")
    async with node_with(fresh_site, BODIES) as node:

        def by_hand(conn: Connection) -> None:
            one = messages.state(conn, node.site.org, 3)
            assert one is not None
            messages.act(conn, node.site.org, 3, one.stamp, "new", "ada", "", 1)
            messages.move(conn, node.site.org, messages.Step(3, "main", HELD, "ada", "on hold: looks wrong"), 2)

        await node.site.store.write(by_hand)
        await act(node, "discard", 1)
        assert await states(node) == {1: DISCARDED, 2: DELIVERED, 3: HELD}


async def test_of_two_operators_one_is_told(fresh_site: Path) -> None:
    profile(fresh_site, STRICT, "strict")
    async with node_with(fresh_site, BODIES) as node:
        read, org = node.site.store.read, node.site.org
        seen = await read(lambda conn: messages.state(conn, org, 1))
        await act(node, "discard", 1)
        assert seen is not None
        with pytest.raises(Conflict):
            await node.site.store.write(lambda conn: messages.discard(conn, org, 1, seen.stamp, "eve", "too late", 1))
        assert (await states(node))[1] == DISCARDED


async def test_an_act_that_cannot_be_whole_is_not_done_at_all(fresh_site: Path) -> None:
    profile(fresh_site, STRICT, "strict")
    async with node_with(fresh_site, [*BODIES, a08("4", "14")]) as node:
        with pytest.raises(NotFound):
            await act(node, "discard", 1, 4)
        assert await states(node) == {1: QUARANTINED, 2: HELD, 3: HELD, 4: DELIVERED}
        assert await acts(node) == []
