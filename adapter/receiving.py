"""Receipt of a site: its journal, the ways in of its feeds, and its MLLP ports.

`receiving` is the role `mllp` alone, which a node of one process has among its others (`node.py`). Nothing of the API,
the pipeline or a web framework is loaded here: a thousand sockets are to be a small process.
Source: architecture §5; operations chapter §2.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from adapter.errors import ConfigurationError, Unavailable
from adapter.inbound.ack import Rules
from adapter.inbound.feed import Feed, load_feeds
from adapter.inbound.intake import Intake, Scan
from adapter.inbound.journal import Journal
from adapter.inbound.listener import Listener
from adapter.profiles import site_profile
from adapter.seal.blind import keyed_id, lane
from adapter.seal.keyring import OrganisationKeys
from adapter.site import Site, now, open_site
from adapter.store.check import check_journal
from mappings.convert import patient_keys
from mappings.hl7v2.message import Header
from mappings.hl7v2.structure import structure_row
from mappings.profile import KEPT, Profile

LOCK = "lock"


@asynccontextmanager
async def receiving(folder: Path, **flags: object) -> AsyncIterator[Mapping[str, Listener]]:
    """The role `mllp` alone, while the context is open: what comes is journalled and acknowledged, no more."""
    async with AsyncExitStack() as stack:
        stack.callback(lock(folder))
        site = await stack.enter_async_context(open_site(folder, **flags))
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stack.callback(failed.cancel)
        journal = await open_journal(stack, site, failed)
        yield await listen(stack, intakes_of(folder, site, journal))


def lock(folder: Path) -> Callable[[], None]:
    """Take the site for this process; what is returned gives it back. Raises Unavailable."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(descriptor)
        raise Unavailable("another process serves this site", hint="stop it first") from exc
    return partial(os.close, descriptor)


async def open_journal(stack: AsyncExitStack, site: Site, failed: asyncio.Future[None]) -> Journal:
    """The journal, held against the data store and ready to write. `failed` hears when it is lost."""

    def lost(text: str) -> None:
        if not failed.done():
            failed.set_exception(Unavailable(text, hint="chartbridge doctor"))

    journal = Journal(site.journal_path, site.settings.node.pairing, site.keyring, lost=lost)
    stack.push_async_callback(journal.close)
    await check_journal(site.store, journal.last, site.org)
    await journal.start()
    return journal


def intakes_of(folder: Path, site: Site, journal: Journal) -> dict[str, Intake]:
    """The ways in of all feeds, each under its profile."""
    keys = site.keyring.organisation()
    return {
        name: _intake(feed, site_profile(folder, feed.profile, keys.identity), journal, keys)
        for name, feed in load_feeds(folder, site.org).items()
    }


def _intake(feed: Feed, profile: Profile, journal: Journal, keys: OrganisationKeys) -> Intake:
    return Intake(feed, _rules(profile), journal, _scan(profile, keys), keys.locate, now)


def _rules(profile: Profile) -> Rules:
    if profile.ack["after"] != "durable":
        text = f"profile {profile.name}: this version acknowledges when a message is durable, and no later"
        raise ConfigurationError(text, hint='write ack.after = "durable"')

    def kept(header: Header) -> bool:
        row = structure_row(header.message_code, header.trigger, header.structure, header.version)
        return row is None or row.tier == KEPT

    return Rules(
        accepts=profile.matches,
        kept=kept,
        mode=profile.ack["mode"],
        unsupported=profile.ack["unsupported"],
        processing=frozenset(profile.ack["processing"]),
        zone=profile.zone or ZoneInfo("UTC"),
    )


def _scan(profile: Profile, keys: OrganisationKeys) -> Scan:
    """Keyed ids of a message's patients, and their lanes."""

    def scan(data: bytes, feed: Feed) -> tuple[tuple[bytes, ...], tuple[int, ...]]:
        patients = [patient.id for patient in patient_keys(data, profile)]
        fids = tuple(keyed_id(keys.locate, "Patient", patient) for patient in patients)
        return fids, tuple(sorted({lane(keys.locate, patient) for patient in patients}))

    return scan


async def listen(stack: AsyncExitStack, intakes: Mapping[str, Intake]) -> dict[str, Listener]:
    """Open the MLLP ports of the feeds that have one."""
    listeners = {}
    for name, intake in intakes.items():
        if intake.feed.listen.kind == "mllp" and intake.feed.receives:
            listeners[name] = listener = Listener(intake)
            await listener.start()
            stack.push_async_callback(listener.stop)
    return listeners
