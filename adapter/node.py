"""A whole node in one process: listeners, API, worker and checkpoints on one event loop.

Up, in this order, so that nothing is accepted that could not be kept, and nothing served that could not be recorded:
1. the site's lock, its stores, each checked (`site.py`)
2. feeds with their profiles; the journal's own keys
3. the house rules in the log as the settings have them; the gate
4. conversion children, the pipeline, checkpoints
5. the API, then the MLLP ports
Down the other way: ports first, then what is queued, a last checkpoint over it, then the stores.

A background part that fails for good ends the node: it must not go on accepting what it cannot process.
Source: architecture §5; operations chapter §2.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import Connection

from adapter import http_server, wire
from adapter.access.deliver import Delivery
from adapter.api.app import create_app
from adapter.children import Children
from adapter.duty import Duty
from adapter.inbound.intake import Intake
from adapter.inbound.journal import CHANNEL as JOURNAL
from adapter.inbound.journal import Journal
from adapter.inbound.listener import Listener
from adapter.lock import lock
from adapter.logs import clock_stepped
from adapter.notices.endpoint import Endpoints
from adapter.notices.notifier import Notifier
from adapter.pipeline import Parts as PipelineParts
from adapter.pipeline import Pipeline
from adapter.receiving import ALL_PORTS, MLLP_PORTS, Receipt, background, listen, open_journal
from adapter.role import keep_folders, report, sign_last
from adapter.rotation import Rotation
from adapter.services import Parts, Services, assemble
from adapter.site import Site, adopt_policies, now, open_site
from adapter.store import leases, messages, outbox, replies, subscriptions
from ledger.errors import ConflictError


@dataclass(slots=True)
class Node:
    """A running node. `failed` is done, with the error, when a background part ended for good."""

    site: Site
    services: Services
    journal: Journal
    pipeline: Pipeline
    receipt: Receipt
    failed: asyncio.Future[None] = field(repr=False)

    @property
    def listeners(self) -> Mapping[str, Listener]:
        return self.receipt.listeners

    @property
    def http_port(self) -> int:
        return self.site.settings.http.port

    def mllp_port(self, feed: str = "main") -> int:
        return self.listeners[feed].port

    async def settled(self) -> None:
        """Return once all that was accepted so far is in the log and under a checkpoint, or waits for a person.

        Raises what ended the node, if it ends before that.
        """
        while not await self._is_settled():
            if self.failed.done():
                self.failed.result()
            await asyncio.sleep(0.02)
        await self.site.ledger.integrate()

    async def _is_settled(self) -> bool:
        org, last = self.site.org, self.journal.last
        if self.pipeline.waiting:
            return False
        upto = leases.finished if self.site.shared else messages.mark
        mark = await self.site.store.read(lambda conn: upto(conn, org))
        if mark < last and await self.journal.read(mark, 1):
            return False

        def waits(conn: Connection) -> bool:
            return bool(messages.in_state(conn, org, [messages.NEW], limit=1) or outbox.count(conn, org))

        return not await self.site.store.read(waits)


@asynccontextmanager
async def running(folder: Path, *, endpoints: Endpoints | None = None, **flags: object) -> AsyncIterator[Node]:
    """A node that is up while the context is open. `endpoints` is who subscribers are found by; tests bring theirs."""
    async with AsyncExitStack() as stack:
        stack.callback(lock(folder))
        site = await stack.enter_async_context(open_site(folder, clock_step=clock_stepped, **flags))
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stack.callback(failed.cancel)
        journal = await open_journal(stack, site, failed)
        duty = Duty(site, leases.ANSWERS)
        rotating = Duty(site, leases.ROTATION)
        for task in (duty, rotating):
            stack.push_async_callback(task.leave)
        receipt = Receipt(folder, site, journal, MLLP_PORTS if site.shared else ALL_PORTS, duty)
        services = await services_of(site, receipt.intakes)
        if endpoints is not None:
            services = replace(services, endpoints=endpoints)
        async with AsyncExitStack() as parts:
            pipeline = await pipeline_of(parts, receipt, failed)
            services.delivery.heard_by(pipeline.owed)
            background(parts, failed, site.ledger.keep_integrated(report), "checkpoints")
            background(parts, failed, receipt.replies.run(), "replies")
            listen(parts, site, replies.CHANNEL, receipt.replies.wake)
            if not site.shared:  # as above: nobody else lives
                await site.store.write(lambda conn: subscriptions.vacate(conn, site.org))
            background(parts, failed, Notifier(services).run(), "notices")
            http_server.check(site.settings.http, folder)
            await parts.enter_async_context(http_server.serving(create_app(services), site.settings.http, folder))
            await receipt.open(parts)
            background(parts, failed, receipt.watch(), "feeds")
            if site.shared:
                background(parts, failed, keep_folders(receipt, duty), "folders")
            background(parts, failed, Rotation.of(site, rotating).watch(), "rotation")
            yield Node(site, services, journal, pipeline, receipt, failed)
        await sign_last(site)


async def services_of(site: Site, intakes: Mapping[str, Intake]) -> Services:
    parts = Parts(
        site.settings, site.folder, site.store, site.ledger, site.keyring, site.token_key, now, os.urandom, intakes
    )
    services = await assemble(parts)
    try:
        changed = await adopt_policies(site, services.house.policies)
    except ConflictError:  # another process that starts was quicker
        changed = True
    return await assemble(parts) if changed else services


async def pipeline_of(stack: AsyncExitStack, receipt: Receipt, failed: asyncio.Future[None]) -> Pipeline:
    site, journal = receipt.site, receipt.journal
    if not site.shared:
        await site.store.write(lambda conn: messages.vacate(conn, site.org))  # the lock is ours: no other worker lives
    workers = site.settings.workers
    children = Children(_hello(receipt), size=workers.children, limit_s=workers.convert_s)
    await children.start()
    stack.push_async_callback(children.close)
    delivery = Delivery(site.store, site.ledger, site.keyring, site.org, now)
    worker = f"{os.getpid()}-{os.urandom(4).hex()}"
    parts = PipelineParts(
        site.org, site.store, journal, site.keyring, delivery, children, receipt.feeds, now, workers.batch, worker,
        receipt.replies.wake, site.shared, int(workers.lease_s * 1_000),
    )  # fmt: skip
    pipeline = Pipeline(parts)
    heard = {outbox.CHANNEL: pipeline.owes, JOURNAL: pipeline.wake, leases.CHANNEL: pipeline.lanes_moved}
    for channel, hear in heard.items():
        listen(stack, site, channel, hear)
    await pipeline.start()

    async def changed() -> None:
        await pipeline.feeds_changed()
        children.renew(_hello(receipt))  # behind it: no child is asked about a feed that it was not told of

    receipt.changed = changed
    background(stack, failed, pipeline.deliver(), "delivery")
    background(stack, failed, pipeline.holding.beat(), "leases")
    background(stack, failed, pipeline.run(), "pipeline")
    if isinstance(journal, Journal):
        background(stack, failed, _watch(journal, pipeline), "arrivals")
    return pipeline


def _hello(receipt: Receipt) -> bytes:
    """What a conversion child is told first: where the profiles lie, and which feed has which."""
    site, workers = receipt.site, receipt.site.settings.workers
    hello = wire.Hello(
        str(site.folder),
        {name: feed.profile for name, feed in receipt.feeds.items()},
        site.keyring.organisation().identity,
        workers.memory_mib << 20,
        workers.convert_s,
    )
    return wire.pack(hello)


async def _watch(journal: Journal, pipeline: Pipeline) -> None:
    seen = 0
    while True:
        await journal.wait(seen)
        seen = journal.last
        pipeline.wake()
