"""What a message that cannot be processed does to those behind it, over a kill (operations chapter §4, poison)."""

import signal
from pathlib import Path

import pytest

from adapter.node import running
from tests.adapter.inbound.site import Sender
from tests.adapter.nodes import STRANGE, STRICT, a08, feed, profile, send, states
from tests.adapter.test_replies import on_port, served

Q, HELD, DONE = "quarantined", "held", "delivered"


@pytest.mark.parametrize(
    ("poison", "then"),
    [
        ("hold-patient", {1: Q, 2: HELD, 3: DONE}),
        ("skip", {1: Q, 2: DONE, 3: DONE}),
        ("hold-feed", {1: Q, 2: HELD, 3: HELD}),
    ],
)
async def test_a_policy_holds_over_a_kill_right_after_the_quarantine(
    fresh_site: Path, poison: str, then: dict[int, str]
) -> None:
    port = on_port(fresh_site)
    profile(fresh_site, STRICT, "strict")
    feed(fresh_site, f'\n[policy]\npoison = "{poison}"\n')
    async with served(fresh_site, "commit.done") as killed:
        sender = await Sender.open(port)
        await sender.send(a08("1", "11", sender=STRANGE))
        assert await killed.wait() == -signal.SIGKILL
        await sender.close()
    async with running(fresh_site) as node:
        await send(node, a08("2", "11", street="Weg 2"), a08("3", "12"))
        assert await states(node) == then


@pytest.mark.parametrize("point", ["commit.marked", "commit.done"])
async def test_a_filter_holds_over_a_kill_and_takes_a_message_out_once(fresh_site: Path, point: str) -> None:
    port = on_port(fresh_site)
    text = STRICT.replace('"GOOD"', '"*"') + '\n[[filter]]\nid = "test-ward"\nwhen = "MSH-3 = STRANGE"\n'
    profile(fresh_site, text, "strict")
    async with served(fresh_site, point) as killed:
        sender = await Sender.open(port)
        await sender.send(a08("1", "11", sender=STRANGE))
        assert await killed.wait() == -signal.SIGKILL
        await sender.close()
    async with running(fresh_site) as node:
        await send(node, a08("2", "11"))
        assert await states(node) == {1: "filtered", 2: DONE}
