"""The log of a site without its node: opened to be looked at, exported, proven or checked, beside a running `serve`.

Nothing is appended. `sign_pending` signs what a stopped node left unsigned; a running one does that itself.
`check_all` is `ledger fsck`: it opens what a start would refuse. Source: ledger chapter §15.
"""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from adapter.access.identity import Organisation
from adapter.access.openings import Opener
from adapter.access.replay import Replayed, Source, replay
from adapter.data_place import data_place
from adapter.errors import NotFound, Unavailable, UsageError
from adapter.kek_files import Keks
from adapter.ledger_stores import open_log, open_vault, origin
from adapter.lock import is_served
from adapter.seal.keyring import Keyring
from adapter.settings import Settings, load
from adapter.site import EVENT_TYPES, now, open_site
from adapter.store.engine import DataStore
from ledger import fsck
from ledger.errors import EntryError
from ledger.event import parse_reference, timestamp
from ledger.fsck import Checked
from ledger.keys import load_log_key
from ledger.kit import Disclosure
from ledger.note import Checkpoint, Ed25519Verifier, Signer, parse_note
from ledger.proof import Proof
from ledger.store.base import Entry, LogStore
from ledger.tree import Tree
from ledger.vault import Vault

BLOCK = 1_024  # entries read at a time


@dataclass(frozen=True, slots=True)
class LogView:
    """An open log and its vault."""

    folder: Path
    settings: Settings
    log: LogStore
    vault: Vault
    signer: Signer

    @property
    def shard(self) -> str:
        return self.settings.ledger.shard

    @property
    def www(self) -> Path:
        return self.folder / self.settings.ledger.www / self.shard

    async def entry(self, ref: str) -> Entry:
        """Raises NotFound for a reference that is none, or of no entry here."""
        try:
            shard, index = parse_reference(ref)
        except EntryError as exc:
            raise NotFound("not a reference", hint="a reference is SHARD:INDEX, as X-Ledger-Index says") from exc
        found = await self.log.entries(index, index + 1) if shard == self.shard else []
        if not found:
            raise NotFound(f"{ref} is not in this log", hint="chartbridge ledger status")
        return found[0]

    async def receipt(self, ref: str) -> tuple[Proof, bytes]:
        """The proof under the newest checkpoint, and the entry. Raises Unavailable for an entry that is younger."""
        entry, newest = await self.entry(ref), await self.log.newest_checkpoint()
        if newest is None or entry.index >= newest.size:
            raise Unavailable(f"{ref} is younger than the newest checkpoint", hint="ask again in a second")
        inclusion = await Tree(self.log).inclusion(entry.index, newest.size)
        return Proof.of(inclusion, newest.note), entry.body

    async def for_replay(self, keys: Opener) -> list[Disclosure]:
        """The openings with which a recipient can replay every permit that still opens."""
        found: list[Disclosure] = []
        size = (await self.log.head()).size
        for start in range(0, size, BLOCK):
            for entry in await self.log.entries(start, min(start + BLOCK, size)):
                found += await keys.for_replay(entry, f"{self.shard}:{entry.index}")
        return found


@asynccontextmanager
async def viewing(folder: Path) -> AsyncIterator[LogView]:
    """Open a site's log and vault. Raises IntegrityError for another site's, ConfigurationError."""
    settings = load(folder)
    async with AsyncExitStack() as stack:
        log = await open_log(stack, folder, settings)
        vault = await open_vault(stack, folder, settings)
        signer = load_log_key(folder / settings.keys.log_file, origin(settings))
        yield LogView(folder, settings, log, vault, signer)


async def sign_pending(folder: Path) -> None:
    """Sign what was appended after the last checkpoint, unless a running `serve` is about to."""
    if not is_served(folder):
        async with open_site(folder) as site:
            await site.ledger.integrate()


@dataclass(frozen=True, slots=True)
class Status:
    """Where the log stands. `t` is the time of the last entry."""

    origin: str
    vkey: str
    size: int
    t: str
    signed: int
    root: str
    published: int
    served: bool


async def status(view: LogView) -> Status:
    head, newest = await view.log.head(), await view.log.newest_checkpoint()
    published = view.www / "checkpoint"
    size = Checkpoint.parse(parse_note(published.read_bytes()).text).size if published.is_file() else 0
    return Status(
        view.signer.name,
        view.signer.vkey,
        head.size,
        head.last_t,
        newest.size if newest else 0,
        newest.root.hex() if newest else "",
        size,
        is_served(view.folder),
    )


async def check_all(view: LogView, *, sweep: bool) -> Checked:
    """Every check of `ledger/fsck.py`; with `sweep`, details that a crash left behind are deleted."""
    verifier = Ed25519Verifier.of(view.signer.vkey)
    done = await fsck.check(view.log, verifier, EVENT_TYPES, www=view.www, vault=view.vault)
    await fsck.sweep(view.log, view.vault, now(), done, drop=sweep)
    return done


def moment(text: str) -> str:
    """A time as entries bear it: ISO (without a zone: UTC), or `2h`, `30m`, `3d` ago. Raises UsageError."""
    ago = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if ago:
        return timestamp(now() - timedelta(seconds=int(ago[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[ago[2]]))
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise UsageError("not a time", hint="--since 2026-03-04T09:00, or --since 2h") from exc
    return timestamp(at if at.tzinfo else at.replace(tzinfo=UTC))


async def opener(view: LogView) -> Opener:
    """What opens this log's details: the organisation's keys."""
    keyring = Keyring(Keks(view.folder / view.settings.keys.kek_file), view.vault, view.settings.node.org)
    await keyring.open()
    return Opener(view.vault, keyring, view.signer.name, ZoneInfo(view.settings.node.zone))


async def replay_site(folder: Path) -> Replayed:
    """Decide every permit of a site's log again."""
    async with viewing(folder) as view, AsyncExitStack() as stack:
        settings, keys = view.settings, await opener(view)
        store = DataStore.open(data_place(folder, settings), settings.node.pairing, 1)
        stack.callback(store.close)
        own = Organisation(settings.node.system, settings.node.identifier)
        zone = ZoneInfo(settings.node.zone)
        return await replay(Source(view.log, store, keys.keyring, keys, view.signer.name, own, zone))
