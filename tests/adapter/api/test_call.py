"""The body of a request: bounded in size and in time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from adapter.api import call as calls
from adapter.api.call import Call
from adapter.errors import BadRequest, TooLarge
from tests.adapter.api.conftest import Node

Receive = Callable[[], Awaitable[Any]]


def posted(node: Node, receive: Receive) -> Call:
    now = node.services.ledger.now()
    return Call(node.services, "POST", "/hl7v2", {}, "", {}, "r", now, 0.0, receive)


async def test_a_body_that_drips_for_ever_is_given_up(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "BODY_S", 0.05)

    async def drip() -> dict[str, object]:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    with pytest.raises(BadRequest, match="in time"):
        await posted(node, drip).body(1 << 20)


async def test_a_body_over_its_limit_is_not_read_to_its_end(node: Node) -> None:
    asked = 0

    async def flood() -> dict[str, object]:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": bytes(1024), "more_body": True}

    with pytest.raises(TooLarge):
        await posted(node, flood).body(4096)
    assert asked == 5


async def test_who_still_sends_hears_that_it_is_too_much_and_nothing_of_it_is_kept(node: Node) -> None:
    left = 7

    async def rest() -> dict[str, object]:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": bytes(1024), "more_body": left > 0}

    with pytest.raises(TooLarge):
        await posted(node, rest).body(2048, spill=4096)
    assert left == 0, "asked to its end, which is within the spill"
    left = 99
    with pytest.raises(TooLarge):
        await posted(node, rest).body(2048, spill=4096)
    assert left == 92
