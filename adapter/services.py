"""What the API, the workers and the CLI share of one running node: its stores, keys, log, gate and clock.

`assemble` puts it together from parts that are already open; it opens and closes none of them.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from adapter.access import policy
from adapter.access.deliver import Delivery
from adapter.access.disclose import Gate, House, Matches
from adapter.access.identity import Identities, Organisation
from adapter.access.token import TokenKey, Tokens
from adapter.api.cursor import Cursors
from adapter.entropy import Buffered
from adapter.errors import IntegrityFault
from adapter.exporting import Exports
from adapter.inbound.intake import Intake
from adapter.notices.endpoint import Endpoints
from adapter.seal.keyring import Keyring
from adapter.settings import Settings
from adapter.store.engine import DataStore
from ledger.log import Ledger
from mappings.fhir.search import SearchError, matcher, parse

Clock = Callable[[], datetime]
Entropy = Callable[[int], bytes]

POLICY_CHUNK = 4096  # entries read at a time when the policies are folded


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a node. `intakes` are the feeds that take messages, by name."""

    settings: Settings
    site: Path
    base: str
    zone: ZoneInfo
    store: DataStore
    ledger: Ledger
    keyring: Keyring
    gate: Gate
    delivery: Delivery
    exports: Exports
    house: House
    identities: Identities
    cursors: Cursors
    clock: Clock
    entropy: Entropy
    started: datetime
    intakes: Mapping[str, Intake] = field(default_factory=dict)
    endpoints: Endpoints = field(default_factory=Endpoints)
    capability: dict[str, asyncio.Task[bytes]] = field(default_factory=dict)

    @property
    def www(self) -> Path:
        return self.site / self.settings.ledger.www


class PolicyReader:
    """The policies that the log adopted last. Each call reads on from where the one before it stopped."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._folding = policy.Folding()
        self._next = 0

    async def __call__(self) -> policy.Policies:
        """Raises IntegrityFault for a log that never adopted any."""
        shard = self._ledger.shard
        while chunk := await self._ledger.entries(self._next, self._next + POLICY_CHUNK):
            self._folding.take((f"{shard}:{entry.index}", entry.body) for entry in chunk)
            self._next += len(chunk)
        if not self._folding.adopted:
            text = "the log has adopted no policy, so nothing can be permitted"
            raise IntegrityFault(text, hint="chartbridge init DIR")
        return dict(self._folding.adopted)


def scope_matcher(base: str, zone: ZoneInfo) -> Callable[[str, str, datetime], Matches]:
    """Granular scopes as predicates: a query that cannot be read finds nothing, so it opens nothing."""

    def build(resource_type: str, query: str, now: datetime) -> Matches:
        try:
            parsed = parse(resource_type, parse_qsl(query, keep_blank_values=True), base=base)
        except SearchError:
            return lambda resource: False
        followed = any(one.chain is not None or one.has is not None for one in parsed.criteria)
        if followed or parsed.results.asked:
            return lambda resource: False  # what a chain leads to passed no gate
        return matcher(parsed, lambda reference: None, now=now, zone=zone)

    return build


@dataclass(frozen=True, slots=True)
class Parts:
    """What `assemble` takes: the stores, opened and checked."""

    settings: Settings
    site: Path
    store: DataStore
    ledger: Ledger
    keyring: Keyring
    token_key: TokenKey
    clock: Clock
    entropy: Entropy
    intakes: Mapping[str, Intake] = field(default_factory=dict)


async def assemble(parts: Parts) -> Services:
    """The services of a node whose keyring is open and whose log has started. Raises IntegrityFault."""
    settings, ledger, entropy = parts.settings, parts.ledger, Buffered(parts.entropy)
    zone, base = ZoneInfo(settings.node.zone), base_url(settings)
    reader = PolicyReader(ledger)
    house = House(await reader(), reader, scope_matcher(base, zone))
    own = Organisation(settings.node.system, settings.node.identifier)
    gate = Gate(zone=zone, store=parts.store, ledger=ledger, keyring=parts.keyring, house=house, entropy=entropy)
    return Services(
        settings=settings,
        site=parts.site,
        base=base,
        zone=zone,
        store=parts.store,
        ledger=ledger,
        keyring=parts.keyring,
        gate=gate,
        delivery=Delivery(parts.store, ledger, parts.keyring, settings.node.org, parts.clock),
        exports=Exports(parts.store, parts.keyring, gate, ledger.now, entropy),
        house=house,
        identities=Identities(Tokens(parts.token_key, base, parts.clock), settings.access.client, own),
        cursors=Cursors(parts.token_key.cursor_key(), entropy),
        clock=parts.clock,
        entropy=entropy,
        started=parts.clock(),
        intakes=parts.intakes,
    )


def base_url(settings: Settings) -> str:
    """The public URL of `/fhir`, which is also the audience of the tokens."""
    if settings.http.base:
        return settings.http.base.rstrip("/")
    scheme = "https" if settings.http.tls_cert_file else "http"
    host = f"[{settings.http.host}]" if ":" in settings.http.host else settings.http.host
    return f"{scheme}://{host}:{settings.http.port}/fhir"
