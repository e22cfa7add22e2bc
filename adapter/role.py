"""One role of a site in a process of its own: what of a node it starts, and what it leaves to others.

    mllp     ports and folders, the journal, answers to senders
    api      HTTP: FHIR, and messages over POST
    worker   conversion, effects, the outbox into the log, notices to subscribers
    anchor   checkpoints, and keys that are wrapped anew

Each opens the stores and checks them as a whole node does (`node.py`, which is all roles in one process), and ends the
other way round. Where two of a kind must not do the same, a lease in the database decides: lanes, checkpoints, a
subscription, answers at addresses, watched folders, a rotation of keys.

Source: architecture §5; operations chapter §2, §5.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from adapter import health, journals
from adapter.duty import Duty
from adapter.errors import ChartbridgeError
from adapter.lock import join
from adapter.logs import clock_stepped
from adapter.receiving import MLLP_PORTS, Receipt, background, listen, open_journal
from adapter.roles import Role, check_shared
from adapter.rotation import Rotation
from adapter.settings import load
from adapter.site import Site, open_site
from adapter.store import replies as outcomes
from adapter.store.leases import ANSWERS, ROTATION
from adapter.telling import tell_now, tell_refusals
from ledger.errors import IntegrityError, LedgerError

log = structlog.get_logger()

FOLDERS_S = 1.0  # how soon another process watches folders

Up = Callable[["_Starting"], Awaitable[None]]


@dataclass(slots=True)
class Running:
    """A role that is up. `failed` is done, with the error, when a background part ended for good."""

    role: Role
    site: Site
    receipt: Receipt | None
    failed: asyncio.Future[None] = field(repr=False)


@dataclass(slots=True)
class _Starting:
    """A role on its way up: `stores` closes after `parts`."""

    site: Site
    failed: asyncio.Future[None]
    stores: AsyncExitStack
    parts: AsyncExitStack
    receipt: Receipt | None = None
    checks: list[health.Failing] = field(default_factory=list)

    def background(self, part: "asyncio._CoroutineLike[None]", name: str) -> None:
        background(self.parts, self.failed, part, name)


@asynccontextmanager
async def running_role(folder: Path, role: Role, **flags: object) -> AsyncIterator[Running]:
    """A role that is up while the context is open. Raises ConfigurationError for a site that one process serves."""
    settings = load(folder, **flags)
    check_shared(folder, settings)
    async with AsyncExitStack() as stores:
        stores.callback(join(folder))
        site = await stores.enter_async_context(open_site(folder, clock_step=clock_stepped, **flags))
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stores.callback(failed.cancel)
        async with AsyncExitStack() as parts:
            starting = _Starting(site, failed, stores, parts)
            if role is not Role.ANCHOR:
                starting.background(site.ledger.keep_followed(report), "checkpoints")
            await _UP[role](starting)
            await _tell_health(role, starting)
            yield Running(role, site, starting.receipt, failed)


async def _mllp(up: _Starting) -> None:
    duty = await _duty(up, ANSWERS)
    up.receipt = receipt = Receipt(
        up.site.folder, up.site, await open_journal(up.stores, up.site, up.failed), MLLP_PORTS, duty
    )
    _answer(up, receipt)
    await receipt.open(up.parts)
    up.background(receipt.watch(), "feeds")
    up.background(keep_folders(receipt, duty), "folders")

    async def closed() -> list[str]:
        wanted = {name for name, feed in receipt.feeds.items() if feed.receives and feed.listen.kind == "mllp"}
        return [f"feed {name}" for name in sorted(wanted - receipt.listeners.keys())]

    up.checks.append(closed)


async def _api(up: _Starting) -> None:
    from adapter import http_server
    from adapter.api.app import create_app
    from adapter.node import services_of

    site = up.site
    up.receipt = receipt = Receipt(
        site.folder, site, await open_journal(up.stores, site, up.failed), frozenset(), await _duty(up, ANSWERS)
    )
    _answer(up, receipt)
    services = await services_of(site, receipt.intakes)
    http_server.check(site.settings.http, site.folder)
    up.background(receipt.watch(), "feeds")
    await up.parts.enter_async_context(http_server.serving(create_app(services), site.settings.http, site.folder))


async def _worker(up: _Starting) -> None:
    from adapter.node import pipeline_of, services_of
    from adapter.notices.notifier import Notifier

    site = up.site
    journal = journals.reader(site)
    up.stores.push_async_callback(journal.close)
    up.receipt = receipt = Receipt(site.folder, site, journal, frozenset())
    services = await services_of(site, receipt.intakes)
    pipeline = await pipeline_of(up.parts, receipt, up.failed)
    services.delivery.heard_by(pipeline.owed)
    up.background(Notifier(services).run(), "notices")
    up.background(tell_refusals(services), "refusals")  # of subscribers, who are decided here
    up.stores.push_async_callback(tell_now, services)
    up.background(receipt.watch(), "feeds")

    async def idle() -> list[str]:
        return [] if pipeline.holding.alive else ["lanes"]

    up.checks.append(idle)


async def _anchor(up: _Starting) -> None:
    site = up.site
    up.background(site.ledger.keep_integrated(report), "checkpoints")
    up.background(Rotation.of(site, await _duty(up, ROTATION)).watch(), "rotation")
    up.stores.push_async_callback(sign_last, site)


_UP: dict[Role, Up] = {Role.MLLP: _mllp, Role.API: _api, Role.WORKER: _worker, Role.ANCHOR: _anchor}


async def _duty(up: _Starting, task: int) -> Duty:
    duty = Duty(up.site, task)
    up.stores.push_async_callback(duty.leave)
    return duty


def _answer(up: _Starting, receipt: Receipt) -> None:
    """Tell senders what became of their messages, which a worker finds out."""
    up.background(receipt.replies.run(), "replies")
    listen(up.parts, up.site, outcomes.CHANNEL, receipt.replies.wake)


async def keep_folders(receipt: Receipt, duty: Duty) -> None:
    """Watch folders while no other process does."""
    while True:
        try:
            await receipt.watch_folders(leading=await duty())
        except ChartbridgeError as error:
            log.error("folders.unavailable", code=error.code)
        await asyncio.sleep(FOLDERS_S)


async def _tell_health(role: Role, up: _Starting) -> None:
    http = up.site.settings.http
    if role is Role.API or not http.health_port:
        return

    async def ask() -> list[str]:
        found = await health.failing(up.site.store, up.site.ledger, up.site.keyring, up.site.folder)
        for check in up.checks:
            found += await check()
        return found

    await health.serve(up.parts, http.host, http.health_port, ask)


async def sign_last(site: Site) -> None:
    """Nothing is left unsigned by a node that was stopped: what no checkpoint covers could be cut off unnoticed."""
    try:
        await site.ledger.integrate()
    except IntegrityError:
        raise  # never sign over a contradiction
    except LedgerError as error:
        report(error)


def report(error: LedgerError) -> None:
    log.error("checkpoint.failed", kind=type(error).__name__)
