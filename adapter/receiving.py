"""Receipt of a site: its journal, the ways in of its feeds, its ports and folders; and feeds that change while it runs.

A node of one process has all of it among its other roles (`node.py`); of roles in processes of their own (`role.py`)
`mllp` opens the ports, `api` takes what clients post, and `worker` knows the feeds. Nothing of the API, the pipeline or
a web framework is loaded here: a thousand sockets are to be a small process.

Feeds are files. They are read at the start, at SIGHUP, and one by one when an operator has applied it, which the data
store tells (`store/feeds.py`). One that cannot be taken up changes nothing: what ran goes on, and the table says why.
Where only the state, the profile or a policy changed, open connections stay; another port, certificate or limit closes
the port, after everything that has arrived is answered, and opens the new one.
Source: architecture §5; operations chapter §2, §4.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection

from adapter import journals
from adapter.errors import ChartbridgeError, ConfigurationError, Conflict, Unavailable
from adapter.inbound.ack import DOCUMENT_BYTES, Rules
from adapter.inbound.documents import Read, ReadDocument
from adapter.inbound.feed import Feed, load_feeds
from adapter.inbound.folder import Watcher
from adapter.inbound.intake import Intake, Scan
from adapter.inbound.journal import Journal, JournalReader
from adapter.inbound.listener import Listener
from adapter.lock import lock
from adapter.logs import clock_stepped
from adapter.profiles import site_profile
from adapter.replies import Leads, Replies, address, always
from adapter.replies import Parts as ReplyParts
from adapter.seal.blind import keyed_id, lane
from adapter.seal.keyring import OrganisationKeys
from adapter.site import Site, now, open_site
from adapter.store import feeds as table
from adapter.store.check import NEWEST, check_journal, check_message_keys
from mappings.convert import PatientKey, patient_keys
from mappings.hl7v2.message import Header
from mappings.hl7v2.structure import structure_row
from mappings.profile import KEPT, Profile

POLL_S = 0.5  # how soon an applied feed is noticed

log = structlog.get_logger()


@asynccontextmanager
async def receiving(folder: Path, **flags: object) -> AsyncIterator[Mapping[str, Listener]]:
    """Receipt alone, of a site that nobody else serves, while the context is open."""
    async with AsyncExitStack() as stack:
        stack.callback(lock(folder))
        site = await stack.enter_async_context(open_site(folder, clock_step=clock_stepped, **flags))
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stack.callback(failed.cancel)
        receipt = Receipt(folder, site, await open_journal(stack, site, failed))
        background(stack, failed, receipt.replies.run(), "replies")
        await receipt.open(stack)
        background(stack, failed, receipt.watch(), "feeds")
        yield receipt.listeners


async def open_journal(stack: AsyncExitStack, site: Site, failed: asyncio.Future[None]) -> Journal:
    """The journal, held against the data store and the vault, and ready to write. `failed` hears when it is lost."""

    def lost(text: str) -> None:
        if not failed.done():
            failed.set_exception(Unavailable(text, hint="chartbridge doctor"))

    journal = await journals.writer(site, lost)
    stack.push_async_callback(journal.close)
    if not site.shared:  # else it is as old as the data store, and others may have gone on meanwhile
        await check_journal(site.store, journal.last, site.org)
    await check_message_keys(await journal.newest_keys(NEWEST), site.log, site.vault, site.org)
    await journal.start()
    return journal


def background(
    stack: AsyncExitStack, failed: asyncio.Future[None], part: "asyncio._CoroutineLike[None]", name: str
) -> None:
    """A part that runs until the stack closes; its failure is told to `failed`."""
    task = asyncio.create_task(part, name=name)

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not failed.done():
            failed.set_exception(error)

    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    task.add_done_callback(ended)
    stack.push_async_callback(stop)


MLLP_PORTS = frozenset({"mllp"})
ALL_PORTS = MLLP_PORTS | {"folder"}


def listen(stack: AsyncExitStack, site: Site, channel: str, hear: Callable[[], None]) -> None:
    """Let `hear` be called on this loop when another process has something to say, until the stack closes."""
    loop = asyncio.get_running_loop()

    def heard() -> None:
        loop.call_soon_threadsafe(hear)

    stack.callback(site.store.listen(channel, heard))


@dataclass(slots=True)
class Receipt:
    """The feeds of a site as they run. The mappings are the same objects throughout, and change in place.

    `changed` is called after feeds have changed, before their new ports open: whoever converts must know them first.
    `ports`: the kinds of feeds that this process listens for; without any it tells nobody that it runs feeds. With a
    journal that it can only read, it takes nothing in.
    """

    folder: Path
    site: Site
    journal: JournalReader
    ports: frozenset[str] = ALL_PORTS
    leads: Leads = always
    feeds: dict[str, Feed] = field(default_factory=dict)
    intakes: dict[str, Intake] = field(default_factory=dict)
    listeners: dict[str, Listener] = field(default_factory=dict)
    folders: dict[str, Watcher] = field(default_factory=dict)
    changed: Callable[[], Awaitable[None]] | None = None
    replies: Replies = field(init=False)
    _wishes: dict[str, int] = field(default_factory=dict)
    _closed: bool = False
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        """Read the feeds. Raises ConfigurationError for the first that cannot run."""
        site = self.site
        parts = ReplyParts(site.org, site.store, self.journal, self.intakes, now, site.shared, self.leads)
        self.replies = Replies(parts)
        for name, feed in load_feeds(self.folder, site.org).items():
            self._put(name, feed, self._intake(feed))

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the ports and folders, which close with the stack. Raises Unavailable for a port that is taken."""
        known = await self.site.store.read(lambda conn: table.every(conn, self.site.org))
        runs = {name: feed.revision for name, feed in self.feeds.items()}
        self._wishes = {name: row.wanted_at for name, row in known.items() if row.wanted == runs.get(name)}
        stack.push_async_callback(self.close)
        for name in self.feeds:
            await self._open(name)
        await self._tell(self.feeds)

    async def close(self) -> None:
        """Take no more; answer what has arrived."""
        self._closed = True
        await asyncio.gather(*map(self._close, list(self.feeds)))

    async def watch(self) -> None:
        """Take up what operators apply, for ever."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                wishes = await self.site.store.read(lambda conn: table.wishes(conn, self.site.org))
                if any(at != self._wishes.get(name, 0) for name, at in wishes.items()):
                    await self._grant(await self.site.store.read(lambda conn: table.every(conn, self.site.org)))
            except (Unavailable, Conflict) as exc:
                log.error("feeds.unavailable", code=exc.code)

    async def _grant(self, known: Mapping[str, table.FeedRun]) -> None:
        """Take up what was applied since the last time, as long as its file is what was applied."""
        new = {name: row for name, row in known.items() if row.wanted_at != self._wishes.get(name, 0)}
        async with self._turn:
            found = await self._read(new)
            for name, row in new.items() if found is not None else ():
                feed = found.get(name) if found else None
                if feed is not None and feed.revision == row.wanted:
                    await self._take_up(name, feed)
                else:
                    text = "the file, or its profile, is not the one that was applied"
                    await self._refuse([name], ConfigurationError(text, hint="chartbridge feed diff"))
        self._wishes = {name: row.wanted_at for name, row in known.items()}

    async def reload(self) -> None:
        """Read all feeds, their profiles and certificates again. Once it is closed, nothing."""
        async with self._turn:
            if self._closed:
                return
            found = await self._read(self.feeds)
            for name in sorted({*self.feeds, *found}) if found is not None else ():
                await self._take_up(name, found.get(name) if found else None)

    async def _read(self, about: Iterable[str]) -> dict[str, Feed] | None:
        """All feeds from their files; None where they cannot run together, which is noted at those it is about."""
        try:
            return load_feeds(self.folder, self.site.org)
        except ConfigurationError as exc:
            await self._refuse(about, exc)
            return None

    async def _take_up(self, name: str, feed: Feed | None) -> None:
        before = self.feeds.get(name), self.intakes.get(name)
        try:
            await self._change(name, feed, None if feed is None else self._intake(feed))
        except ChartbridgeError as exc:
            await self._refuse([name], exc)
            if self.feeds.get(name) is not before[0]:
                await self._restore(name, *before)
            return
        log.info("feed.taken_up", feed=name, state=feed.state if feed else "gone")
        await self._tell([name])

    async def _restore(self, name: str, feed: Feed | None, intake: Intake | None) -> None:
        """Back to what was: to the port that was open, under the certificates that were loaded."""
        try:
            await self._change(name, feed, intake)
        except ChartbridgeError as exc:
            log.error("feed.not_restored", feed=name, code=exc.code, reason=exc.text)

    async def _change(self, name: str, feed: Feed | None, intake: Intake | None) -> None:
        before = self.feeds.get(name)
        if feed is None or before is None or feed.listen != before.listen or not feed.receives:
            await self._close(name)
        self._put(name, feed, intake)
        if self.changed is not None:
            await self.changed()
        await self._open(name)

    def _put(self, name: str, feed: Feed | None, intake: Intake | None) -> None:
        if feed is None:
            self.feeds.pop(name, None)
        else:
            self.feeds[name] = feed
        if intake is None:
            self.intakes.pop(name, None)
        else:
            self.intakes[name] = intake

    async def _refuse(self, names: Iterable[str], error: ChartbridgeError) -> None:
        for name in names:
            log.error("feed.not_taken_up", feed=name, code=error.code, reason=error.text)
            await self.site.store.write(partial(_failed, self.site.org, name, error.text))

    async def _tell(self, names: Iterable[str]) -> None:
        """Write down what runs."""
        if not self.ports:
            return
        at = int(now().timestamp() * 1000)
        for name in names:
            await self.site.store.write(partial(_took_up, self.site.org, name, self.feeds.get(name), at))

    async def _open(self, name: str) -> None:
        """The port or folder of a feed that takes messages; where it is open, what it does from now on."""
        feed = self.feeds.get(name)
        if feed is None or not feed.receives or feed.listen.kind not in self.ports:
            return
        if name in self.listeners:
            self.listeners[name].take_over(self.intakes[name])
        elif name in self.folders:
            self.folders[name].intake = self.intakes[name]
        elif feed.listen.kind == "mllp":
            self.listeners[name] = listener = Listener(self.intakes[name])
            try:
                await listener.start()
            except ChartbridgeError:
                del self.listeners[name]
                raise
        elif feed.listen.kind == "folder":
            self.folders[name] = Watcher(self.intakes[name])
            await self.folders[name].start()

    async def _close(self, name: str) -> None:
        if listener := self.listeners.pop(name, None):
            await listener.stop()
        if watcher := self.folders.pop(name, None):
            await watcher.stop()

    async def watch_folders(self, *, leading: bool) -> None:
        """Begin or end to watch folders: of several processes, one does."""
        async with self._turn:
            self.ports = self.ports | {"folder"} if leading else self.ports - {"folder"}
            for name in [] if self._closed else list(self.feeds):
                if not leading and name in self.folders:
                    await self._close(name)
                elif leading and name not in self.folders and self.feeds[name].listen.kind == "folder":
                    await self._open(name)

    def _intake(self, feed: Feed) -> Intake | None:
        keys = self.site.keyring.organisation()
        profile = site_profile(self.folder, feed.profile, keys.identity)
        scan = _scan(profile, keys)
        read = _read(profile, keys)
        if not isinstance(self.journal, Journal):
            return None
        return Intake(feed, rules_of(profile), self.journal, scan, keys.locate, now, outcomes=self.replies, read=read)


def _took_up(org: str, name: str, feed: Feed | None, at: int, conn: Connection) -> None:
    if feed is None:
        table.took_up(conn, org, name, "", "", "", at)
    else:
        table.took_up(conn, org, name, feed.revision, feed.state, feed.text, at)


def _failed(org: str, name: str, fault: str, conn: Connection) -> None:
    table.failed(conn, org, name, fault)


def rules_of(profile: Profile) -> Rules:
    reply_to = str(profile.ack.get("reply_to", ""))
    if reply_to:
        address(reply_to)  # at the start, not at the first answer

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
        document_bytes=profile.cda.limits.get("bytes", DOCUMENT_BYTES),
        after=profile.ack["after"],
        reply_to=reply_to,
    )


def _scan(profile: Profile, keys: OrganisationKeys) -> Scan:
    """Keyed ids of a message's patients, and their lanes."""

    def scan(data: bytes, feed: Feed) -> tuple[tuple[bytes, ...], tuple[int, ...]]:
        return _known(patient_keys(data, profile), keys)

    return scan


def _read(profile: Profile, keys: OrganisationKeys) -> ReadDocument:
    """The same of a document, and its number."""

    def read(data: bytes, feed: Feed) -> Read:
        from mappings.cda.receipt import receipt  # here: a feed of messages never loads it

        found = receipt(data, profile)
        return Read(found.id, *_known(found.patients, keys))

    return read


def _known(patients: Iterable[PatientKey], keys: OrganisationKeys) -> tuple[tuple[bytes, ...], tuple[int, ...]]:
    ids = [patient.id for patient in patients]
    fids = tuple(keyed_id(keys.locate, "Patient", patient) for patient in ids)
    return fids, tuple(sorted({lane(keys.locate, patient) for patient in ids}))
