"""`chartbridge doctor`: everything a start would refuse, and what would go wrong later, each with what to do about it.

Looks and changes nothing; runs beside a `serve`. A check that raises becomes a finding, and the ones that rest on it
are left out: a wrong configuration is told once, not ten times. Source: operations chapter §1, §2; issue item 9.
"""

import asyncio
import resource
import shutil
import socket
import stat
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from adapter import journals
from adapter.data_place import data_place
from adapter.errors import ChartbridgeError, ConfigurationError, IntegrityFault
from adapter.inbound.feed import Feed, load_feeds
from adapter.kek_files import Keks
from adapter.key_list import key_files
from adapter.ledger_view import LogView, viewing
from adapter.lock import is_served
from adapter.profiles import find_profile
from adapter.seal.keyring import Keyring
from adapter.settings import FILE, Settings, load
from adapter.site import EVENT_TYPES, now
from adapter.store import outbox
from adapter.store.check import check_details, check_owners
from adapter.store.engine import DataStore, Place
from adapter.store.tables import REVISION
from ledger.errors import AppendFailed, IntegrityError, LedgerError, StorageError, VerificationError
from ledger.integrate import load_edge
from ledger.merkle import leaf_hash
from ledger.note import Ed25519Verifier
from mappings.errors import MappingError
from mappings.profile import load_profile

State = Literal["ok", "warn", "fail"]

FAILED, CONFIGURATION, UNAVAILABLE, INTEGRITY = 1, 3, 4, 7
LEAVES = 1_000  # of the log's end, hashed again
LOW_BYTES, FEW_BYTES = 1 << 28, 1 << 31  # below the first: fail; below the second: warn
OPEN_FILES = 4_096  # a thousand connections, with room for stores and children
AHEAD_S = 5
FSCK = "chartbridge ledger fsck"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check and how it ended. `exit_code` is 0 unless the state is fail."""

    state: State
    check: str
    found: str
    hint: str = ""
    exit_code: int = 0


@dataclass(slots=True)
class _Examination:
    """The findings so far."""

    folder: Path
    findings: list[Finding]

    def ok(self, check: str, found: str) -> None:
        self.findings.append(Finding("ok", check, found))

    def warn(self, check: str, found: str, hint: str) -> None:
        self.findings.append(Finding("warn", check, found, hint))

    def fail(self, check: str, found: str, hint: str, exit_code: int) -> None:
        self.findings.append(Finding("fail", check, found, hint, exit_code))

    def run(self, check: str, look: Callable[[], str | None]) -> bool:
        """Whether the look passed; what it returns is a good finding, None where it has written its own."""
        try:
            found = look()
        except (ChartbridgeError, LedgerError, MappingError, OSError) as exc:
            self._raised(check, exc)
            return False
        if found is not None:
            self.ok(check, found)
        return True

    async def run_async(self, check: str, look: Callable[[], Awaitable[str | None]]) -> bool:
        try:
            found = await look()
        except (ChartbridgeError, LedgerError, OSError) as exc:
            self._raised(check, exc)
            return False
        if found is not None:
            self.ok(check, found)
        return True

    def _raised(self, check: str, error: Exception) -> None:
        if isinstance(error, ChartbridgeError):
            self.fail(check, error.text, error.hint, error.exit_code)
        elif isinstance(error, (IntegrityError, VerificationError)):
            self.fail(check, str(error), FSCK, INTEGRITY)
        elif isinstance(error, (AppendFailed, StorageError)):
            self.fail(check, str(error), "", UNAVAILABLE)
        elif isinstance(error, MappingError):
            self.fail(check, str(error), "chartbridge map lint", CONFIGURATION)
        elif isinstance(error, OSError):
            self.fail(check, f"cannot be read: {error.strerror}", "check the folder's owner and modes", UNAVAILABLE)
        else:
            self.fail(check, str(error), "", FAILED)


def examine(folder: Path) -> list[Finding]:
    """Every check, in the order in which a start meets them."""
    look = _Examination(folder, [])
    settings: list[Settings] = []
    if not look.run("configuration", lambda: _configuration(folder, settings)):
        return look.findings
    found = settings[0]
    look.run("time zones", lambda: f"{ZoneInfo(found.node.zone).key} known")
    feeds: list[Feed] = []
    if look.run("feeds", lambda: _feeds(folder, found, feeds)):
        look.run("profiles", lambda: _profiles(folder, feeds))
    _modes(look, found)
    _keys(look)
    _run(_stores(look, found))
    _disk(look, found)
    _open_files(look)
    _ports(look, found, feeds)
    return look.findings


def _run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def _configuration(folder: Path, into: list[Settings]) -> str:
    into.append(load(folder))
    return f"{FILE} of {into[0].node.org}"


def _feeds(folder: Path, settings: Settings, into: list[Feed]) -> str:
    into.extend(load_feeds(folder, settings.node.org).values())
    return f"{len(into)} feeds"


def _profiles(folder: Path, feeds: list[Feed]) -> str:
    names = sorted({feed.profile for feed in feeds})
    for name in names:
        load_profile(find_profile(str(folder), name))
    return ", ".join(names) or "none"


def _modes(look: _Examination, settings: Settings) -> None:
    """Folders and files that hold health data or keys are the owner's alone."""
    stores = (settings.store.path, settings.store.journal, settings.ledger.path, settings.vault.path)
    wanted = [Path("."), Path("keys"), settings.vault.path.parent, Path(FILE), *stores]
    open_ones = []
    for name in wanted:
        path = look.folder / name
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            open_ones.append(str(name))
    if open_ones:
        look.warn("modes", f"open to others: {', '.join(open_ones)}", f"chmod go= {' '.join(open_ones)}")
    else:
        look.ok("modes", "the owner's alone")


def _keys(look: _Examination) -> None:
    for row in key_files(look.folder):
        if row["state"] == "ok":
            look.ok(f"key {row['key']}", f"{row['id']}, mode {row['mode']}")
        else:
            hint = f"chmod 600 {row['where']}" if row["mode"] else "put the key file of this site back"
            look.fail(f"key {row['key']}", row["state"], hint, CONFIGURATION)


async def _stores(look: _Examination, settings: Settings) -> None:
    """Each store opens and is of this site; then what they must agree on."""
    folder, pairing = look.folder, settings.node.pairing
    look.run("journal", lambda: f"{journals.newest(journals.journal_place(folder, settings), pairing)} messages")
    opened: list[DataStore] = []
    look.run("data store", lambda: _data(data_place(folder, settings), pairing, opened))
    try:
        await look.run_async("log and vault", lambda: _log_and_vault(look, settings, opened))
    finally:
        for store in opened:
            store.close()


def _data(place: Place, pairing: str, into: list[DataStore]) -> str:
    into.append(DataStore.open(place, pairing, 1))
    return f"migration {REVISION}"


async def _log_and_vault(look: _Examination, settings: Settings, opened: list[DataStore]) -> str:
    async with viewing(look.folder) as view:
        keyring = Keyring(Keks(look.folder / settings.keys.kek_file), view.vault, settings.node.org)

        async def unwrapped() -> str:
            await keyring.open()
            return "the key file opens the vault"

        await look.run_async("keyring", unwrapped)
        if opened:
            await look.run_async("owners", lambda: _owners(opened[0], view, settings))
            await look.run_async("outbox", lambda: _outbox(look, opened[0], settings))
        await look.run_async("details", lambda: _details(view))
        await look.run_async("checkpoint", lambda: _checkpoint(look, view))
        await look.run_async("last entries", lambda: _leaves(look, view))
    return "of this site"


async def _owners(store: DataStore, view: LogView, settings: Settings) -> str:
    return f"{await check_owners(store, view.vault, settings.node.org)} owners, each with a key"


async def _details(view: LogView) -> str:
    return f"the newest {await check_details(view.log, view.vault, EVENT_TYPES)} are in the vault"


async def _outbox(look: _Examination, store: DataStore, settings: Settings) -> str | None:
    waiting = await store.read(lambda conn: outbox.count(conn, settings.node.org))
    if waiting and not is_served(look.folder):
        look.warn("outbox", f"{waiting} events wait for the log", "chartbridge serve")
        return None
    return f"{waiting} events wait for the log"


async def _checkpoint(look: _Examination, view: LogView) -> str | None:
    """The right edge gives the signed root: what every start checks."""
    newest, edge = await load_edge(view.log, view.signer.name, Ed25519Verifier.of(view.signer.vkey))
    head = await view.log.head()
    if newest is None:
        raise IntegrityFault("the log has no checkpoint", hint="chartbridge init DIR")
    if head.last_t and (ahead := (datetime.fromisoformat(head.last_t) - now()).total_seconds()) > AHEAD_S:
        look.warn("clock", f"{ahead:.0f} s behind the last entry", "set the clock: entries bear the later time")
    return f"size {edge.size} of {head.size}, signed by {view.signer.key_id.hex()}"


async def _leaves(look: _Examination, view: LogView) -> str:
    size = (await view.log.head()).size
    start = max(0, size - LEAVES)
    entries = await view.log.entries(start, size)
    for expected, entry in enumerate(entries, start):
        if entry.index != expected or leaf_hash(entry.body) != entry.leaf:
            raise IntegrityFault(f"entry {expected} is missing, or not what was hashed", hint=FSCK)
    return f"{len(entries)} hashed again"


def _disk(look: _Examination, settings: Settings) -> None:
    free = shutil.disk_usage(look.folder).free
    found = f"{free / (1 << 30):.1f} GiB free"
    if free < LOW_BYTES:
        look.fail("disk", found, "free some space: a full disk stops receipt and release", UNAVAILABLE)
    elif free < FEW_BYTES:
        look.warn("disk", found, "free some space")
    else:
        look.ok("disk", found)


def _open_files(look: _Examination) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < OPEN_FILES:
        look.warn("open files", f"limit {soft}", f"ulimit -n 65536, or LimitNOFILE= in the unit; {OPEN_FILES} at least")
    else:
        look.ok("open files", f"limit {soft}")


def _ports(look: _Examination, settings: Settings, feeds: list[Feed]) -> None:
    """Free while nothing serves the site, answering while something does."""
    places = [("http", settings.http.host, settings.http.port)]
    places += [
        (f"feed {feed.name}", feed.listen.host, feed.listen.port)
        for feed in feeds
        if feed.listen.kind == "mllp" and feed.receives
    ]
    served = is_served(look.folder)
    for name, host, port in places:
        look.run(f"port {port}", partial(_port, name, host, port, served=served))


def _port(name: str, host: str, port: int, *, served: bool) -> str:
    if served:
        with socket.create_connection((host, port), timeout=2):
            return f"{name} answers"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            hint = f"stop what listens there, or choose another port in {FILE} or the feed"
            raise ConfigurationError(f"{name} cannot listen: {exc.strerror}", hint=hint) from exc
    return f"{name}, free"
