"""A node with a subscriber beside it, and the subscriptions that tests make."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from adapter.api.app import create_app
from adapter.notices.notifier import Notifier, Pace
from adapter.notices.wanted import CONTENT
from adapter.settings import Settings
from adapter.store import subscriptions
from adapter.store.engine import Hot
from adapter.store.subscriptions import Notice, Standing
from tests.adapter.api.conftest import Json, Node, start
from tests.adapter.notices.hook import Hook, listening

AT_ONCE = Pace(first_s=0, most_s=0)


@dataclass
class World:
    """`later` moves the clock of the notifier, not the ledger's."""

    node: Node
    hook: Hook
    pace: Pace = AT_ONCE
    later: timedelta = field(default_factory=timedelta)

    def subscription(self, topic: str = "resource-changed", of: str = "p1", **more: Any) -> Json:
        content = more.pop("content", "id-only")
        channel: Json = {"type": "rest-hook", "endpoint": self.hook.url, "payload": "application/fhir+json"}
        channel["_payload"] = {"extension": [{"url": CONTENT, "valueCode": content}]}
        channel |= more.pop("channel", {})
        return {
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "to see what is new",
            "criteria": f"{topic}?patient={of}",
            "channel": {name: value for name, value in channel.items() if value is not None},
        } | more

    async def node_post(self, client: httpx.AsyncClient) -> httpx.Response:
        return await client.post("/fhir/Subscription", json=self.subscription())

    async def make(self, client: httpx.AsyncClient, resource: Json | None = None) -> Json:
        """Register it and answer its handshake."""
        answer = await client.post("/fhir/Subscription", json=resource or self.subscription())
        assert answer.status_code == 201, answer.text
        await self.send()
        made: Json = (await client.get(f"/fhir/Subscription/{answer.json()['id']}")).json()
        assert made["status"] == "active"
        self.hook.received.clear()
        return made

    async def send(self, turns: int = 1) -> None:
        """What the worker does of itself, now."""
        services = replace(self.node.services, clock=lambda: self.node.services.clock() + self.later)
        for _ in range(turns):
            await Notifier(services, self.pace).once()

    async def pass_by(self, time: timedelta) -> None:
        """So much time goes by for whoever waits for a subscriber; the store's own clock is nobody's to move."""
        sql = """
            UPDATE subscription SET rest_until = rest_until - ?, held_until = held_until - ?,
              failing_since = failing_since - ?
        """
        ms = int(time.total_seconds() * 1000)
        await self.node.services.store.write(lambda conn: Hot(conn).run(sql, (ms, ms, ms)))

    async def standing(self) -> Standing:
        (found,) = await self.node.services.store.read(lambda conn: subscriptions.every(conn, "stadtklinik"))
        return found[0]

    async def dead(self) -> list[Notice]:
        return await self.node.services.store.read(lambda conn: subscriptions.dead(conn, "stadtklinik"))


@asynccontextmanager
async def world(empty_site: Path, folder: Path) -> AsyncIterator[World]:
    async with listening() as hook, AsyncExitStack() as stack:

        def listed(settings: Settings) -> Settings:
            clients = {
                name: one.model_copy(update={"notify": (hook.place,)}) for name, one in settings.access.client.items()
            }
            clients["other"] = clients["ward"]
            clients["unlisted"] = clients["ward"].model_copy(update={"notify": ()})
            access = settings.access.model_copy(update={"client": clients})
            return settings.model_copy(update={"access": access})

        node = await start(stack, empty_site, folder, listed)
        services = replace(node.services, endpoints=hook.endpoints())
        yield World(Node(services, node.settings, create_app(services), node.opened, stack), hook)
