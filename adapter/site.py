"""A site on disk: made once by `create`, opened by `open_site` for whoever needs its stores.

Making: 1 folders of mode 0700 · 2 configuration, one feed, one client · 3 generated keys · 4 the four stores under one
pairing id · 5 the organisation's keys in the vault · 6 the log's first batch (what it is called, its key, the house
rules) under a signed checkpoint, so that every permit has a basis from the first read on.

Opening: 1 settings · 2 the stores, each held against the pairing id · 3 the keyring, which the vault and the key file
must agree on · 4 no owner without a key · 5 the log's edge against its last checkpoint and against the last entry that
the data store saw · 6 the newest entries' details, which the vault must have. What does not agree is refused with
IntegrityFault; nothing is ever deleted.

Source: operations chapter §2; ledger chapter §6, §15; fhir chapter §5.
"""

import asyncio
import json
import os
import secrets
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from adapter import journals
from adapter.access import audit, policy, token
from adapter.crash import crash_point
from adapter.data_place import data_place, log_place, vault_place
from adapter.entropy import Buffered
from adapter.errors import ConfigurationError
from adapter.files import sync_folder, write_private
from adapter.kek_files import Keks
from adapter.ledger_stores import make_log, make_vault, open_log, open_vault, origin
from adapter.seal.kek import Kek
from adapter.seal.keyring import Keyring
from adapter.settings import FILE, Settings, load, parse, url_of_environment
from adapter.store.check import check_details, check_log, check_owners
from adapter.store.engine import DataStore
from ledger.event import Types, rule, types
from ledger.keys import generate_log_key, load_log_key
from ledger.log import Ledger
from ledger.note import Signer
from ledger.store.base import LogStore
from ledger.vault import Vault

PRIVATE = 0o700
FOLDERS = ("feeds", "profiles", "keys", "vault", "www")

# Source: ledger chapter §5, the families whose names are healthcare's.
EVENT_TYPES: Types = types(
    rule("transform.hl7v2", "source content subject", "map"),
    rule("transform.cda", "source content subject", "map"),
    rule("resource.written", "actor subject content"),
    rule("subject.merged", "subject into", epoch=True),
)


@dataclass(frozen=True, slots=True)
class Site:
    """The open stores of one site; they close with the context that opened them."""

    folder: Path
    settings: Settings
    vault: Vault
    keks: Keks
    keyring: Keyring
    store: DataStore
    log: LogStore
    signer: Signer
    ledger: Ledger
    token_key: token.TokenKey

    @property
    def shared(self) -> bool:
        """Whether other processes may take and work on messages, too: the journal is not a file."""
        return self.settings.store.journal_place == journals.DATABASE

    @property
    def org(self) -> str:
        return self.settings.node.org


def now() -> datetime:
    return datetime.now(UTC)


def create(
    folder: Path,
    *,
    org: str,
    name: str,
    http_port: int = 8080,
    mllp_port: int = 2575,
    url_files: Mapping[str, Path | None] = MappingProxyType({}),
) -> Path:
    """A new site in `folder`, which must be empty or absent; its path. `url_files` name databases: that of its data
    (`store`), of its `ledger`'s log, of its `vault`."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError("the folder is not empty", hint="name a new folder")
    files = {section: f"url_file = {_quote(str(file.resolve()))}\n" for section, file in url_files.items() if file}
    configuration = _configuration(org, name, secrets.token_hex(16), {"http": http_port, "mllp": mllp_port}, files)
    settings = parse(configuration, url_of_environment())  # before anything is written
    for place in (data_place, log_place, vault_place):
        place(folder, settings)
    folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    folder.chmod(PRIVATE)
    folder = folder.resolve()
    for below in FOLDERS:
        (folder / below).mkdir(mode=PRIVATE)
    _make_keys(folder, settings)
    asyncio.run(_make_stores(folder, settings))
    asyncio.run(_open_log(folder, settings))
    write_private(folder / "feeds" / "main.toml", _feed(org, mllp_port).encode())
    write_private(folder / FILE, configuration.encode())  # last: with it the folder is a site
    for made in (folder / "feeds", folder / "keys", folder):
        sync_folder(made)
    return folder


def _make_keys(folder: Path, settings: Settings) -> None:
    Kek.generate(folder / settings.keys.kek_file)
    generate_log_key(folder / settings.keys.log_file, origin(settings), os.urandom)
    write_private(folder / settings.keys.token_file, token.generate())


async def _make_stores(folder: Path, settings: Settings) -> None:
    pairing = settings.node.pairing
    await make_vault(folder, settings)
    await make_log(folder, settings)
    DataStore.create(data_place(folder, settings), pairing)
    journals.create(journals.journal_place(folder, settings), pairing)


async def _open_log(folder: Path, settings: Settings) -> None:
    """Steps 5 and 6 of making."""
    async with AsyncExitStack() as stack:
        vault = await open_vault(stack, folder, settings, crash_point)
        await Keyring(Keks(folder / settings.keys.kek_file), vault, settings.node.org).create()
        ledger = await _ledger(stack, folder, settings, vault, *await _log(stack, folder, settings))
        adopted = policy.changes({}, policy.documents(settings.access))
        events = audit.policy_events(adopted, settings.node.org, now(), os.urandom)
        await ledger.append([*ledger.opening(), *events])
        await ledger.integrate()


@asynccontextmanager
async def open_site(
    folder: Path, *, clock_step: Callable[[float], None] = lambda seconds: None, **flags: object
) -> AsyncIterator[Site]:
    """Open and check the stores of a site; close them afterwards. `clock_step` hears of jumps of the clock."""
    settings = load(folder, **flags)
    async with AsyncExitStack() as stack:
        store = DataStore.open(data_place(folder, settings), settings.node.pairing, settings.store.readers)
        stack.callback(store.close)
        vault = await open_vault(stack, folder, settings, crash_point)
        keks = Keks(folder / settings.keys.kek_file)
        keyring = Keyring(keks, vault, settings.node.org)
        await keyring.open()
        await check_owners(store, vault, settings.node.org)
        log, signer = await _log(stack, folder, settings)
        ledger = await _ledger(stack, folder, settings, vault, log, signer, clock_step)
        await check_log(store, ledger, settings.node.org)
        await check_details(log, vault, EVENT_TYPES)
        token_key = token.load(folder / settings.keys.token_file)
        yield Site(folder, settings, vault, keks, keyring, store, log, signer, ledger, token_key)


async def _log(stack: AsyncExitStack, folder: Path, settings: Settings) -> tuple[LogStore, Signer]:
    log = await open_log(stack, folder, settings, crash_point)
    return log, load_log_key(folder / settings.keys.log_file, origin(settings))


async def _ledger(
    stack: AsyncExitStack,
    folder: Path,
    settings: Settings,
    vault: Vault,
    log: LogStore,
    signer: Signer,
    clock_step: Callable[[float], None] = lambda seconds: None,
) -> Ledger:
    ledger = Ledger(
        log,
        vault,
        origin(settings),
        settings.node.org,
        signer,
        now,
        Buffered(os.urandom),
        crash_point,
        rules=EVENT_TYPES,
        www=folder / settings.ledger.www,
        clock_step=clock_step,
    )
    await ledger.start()
    stack.push_async_callback(ledger.close)
    return ledger


async def adopt_policies(site: Site, adopted: policy.Policies) -> bool:
    """Bring the log to what the settings say; whether anything had to change."""
    changes = policy.changes(adopted, policy.documents(site.settings.access))
    if changes:
        await site.ledger.append(audit.policy_events(changes, site.org, now(), os.urandom))
    return bool(changes)


def _configuration(org: str, name: str, pairing: str, ports: dict[str, int], files: Mapping[str, str]) -> str:
    quoted = {"org": _quote(org), "name": _quote(name)}
    system = _quote(f"urn:uuid:{uuid.uuid4()}")
    return f"""# {FILE}: docs/settings.md explains each key.

[node]
org = {quoted["org"]}
name = {quoted["name"]}
system = {system}      # identifier system of your organisation: put its real one here
identifier = {quoted["org"]}
zone = "UTC"
pairing = "{pairing}"       # ties the four stores together: never change it

[http]
host = "127.0.0.1"
port = {ports["http"]}
{_served(files, "store")}{_served(files, "vault")}
[ledger]
name = "localhost/{org}"
shard = "{now().year}"
{files.get("ledger", "")}
[access]
inside = "treatment"
across = "deny"

[access.client.clinic]
name = "Clinic workstation"
system = {system}
identifier = {quoted["org"]}
roles = ["clinician"]
scopes = "system/*.rs system/Consent.cu"
purposes = ["TREAT"]
"""


def _served(files: Mapping[str, str], section: str) -> str:
    """The table of a section that says nothing but where its stores lie."""
    lines = (
        ['journal_place = "database"\n']
        if section == "store" and {**files, **url_of_environment()}.get(section)
        else []
    )
    lines += [files[section]] if section in files else []
    return f"\n[{section}]\n{''.join(lines)}" if lines else ""


def _feed(org: str, port: int) -> str:
    return f"""# One sender's stream; docs/first-feed.md explains each key.
feed = "main"
org = {_quote(org)}
profile = "default"

[listen]
kind = "mllp"
host = "127.0.0.1"
port = {port}
"""


def _quote(text: str) -> str:
    """A TOML basic string: JSON's escapes are among TOML's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
