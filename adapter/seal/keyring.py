"""The keys of one organisation: the KEK of its site, what it wraps in the vault, and what is derived from that.

    KEK ─ wraps ─▶ DEK[owner] ─ HKDF ─▶ body key · index key · commitment key
        ─ wraps ─▶ locator key, identity key (one each, never rotated)
        ─ wraps ─▶ message keys (one a journal body)

Wrapping is `kek.py`'s; the vault (`ledger/vault.py`) keeps wrapped bytes only and never sees a key.

No unit of work waits for the vault: it asks `owner()` and `new_owner()`, which answer from memory or raise `NeedKeys`;
the caller loads what is named and runs the unit again. New owners come from a stock whose keys were durable in the
vault before; a pair that is drawn and not used is harmless.

Source: architecture §6; fhir chapter §5.
"""

import asyncio
import os
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import TypeVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapter.errors import Gone, IntegrityFault, Unavailable
from adapter.seal.blind import Mac, mac
from adapter.seal.commitment import BODY, COMMITMENT, INDEX, derive
from adapter.seal.kek import KEY_BYTES, NONCE_BYTES, WRONG_VAULT, Entropy, Wrapper, Wrapping
from adapter.seal.slices import slices
from ledger.errors import IntegrityError, LedgerError
from ledger.vault import Vault, WrappedKey

SHARED = 0  # owner of what belongs to no patient: practitioners, places, organisations
STOCK = 256
CACHE = 16_384  # owners whose keys are held in memory, about 2 KiB each
TRIES = 8
LOCATOR, IDENTITY, SUBJECT, MESSAGE = "locator", "identity", "subject", "message"

KEY_ID_BYTES = 16
OWNER_BITS = 52  # an owner is a number that every JSON reader keeps exact
FIRST_OWNER = 1024  # 0 is shared, the rest below is kept free

C = TypeVar("C")
T = TypeVar("T")


class NeedKeys(Exception):
    """A unit of work met owners whose keys are not in memory, or an empty stock (`owners` is then empty)."""

    def __init__(self, owners: Iterable[int] = ()) -> None:
        self.owners = frozenset(owners)
        super().__init__(f"{len(self.owners)} owners' keys are not loaded")


@dataclass(frozen=True, slots=True)
class OrganisationKeys:
    """`locate` makes keyed ids, identifier tokens, lanes; `identity` makes resource ids."""

    org: str
    locate: Mac = field(repr=False)
    identity: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OwnerKeys:
    """What one owner's DEK gives: body ciphers by generation, the index MAC, the commitment key for the ledger."""

    org: str
    owner: int
    gen: int
    index: Mac = field(repr=False)
    commitment: bytes = field(repr=False)
    ciphers: dict[int, AESGCM] = field(repr=False)

    def body_cipher(self, gen: int) -> AESGCM:
        try:
            return self.ciphers[gen]
        except KeyError as exc:
            raise IntegrityFault(f"no key of generation {gen} in the vault", hint=WRONG_VAULT) from exc


@dataclass(frozen=True, slots=True)
class MessageKey:
    """The key of one journal body, named by `key_id`."""

    key_id: bytes
    key: bytes = field(repr=False)


class Keyring:
    """One organisation's keys. `open` first; then any thread may ask, only coroutines load."""

    def __init__(self, kek: Wrapper, vault: Vault, org: str, entropy: Entropy = os.urandom, cache: int = CACHE) -> None:
        self.org = org
        self._kek, self._vault, self._entropy, self._size = kek, vault, entropy, cache
        self._owners: OrderedDict[int, OwnerKeys] = OrderedDict()
        self._stock: deque[OwnerKeys] = deque()
        self._lock = Lock()
        self._organisation: OrganisationKeys | None = None
        self._durable = True  # whether the keys of new owners go into the vault

    async def create(self) -> None:
        """Give a new organisation its locator and identity keys and the DEK of what it shares. Once, by `init`."""
        with _vault_faults():
            for kind in (LOCATOR, IDENTITY):
                await self._vault.add_org_key(self.org, kind, self._wrapped(kind, SHARED, self._entropy(KEY_BYTES)))
            await self._vault.add_subjects(self.org, [self._wrapped(SUBJECT, SHARED, self._entropy(KEY_BYTES))])

    async def open(self) -> OrganisationKeys:
        """Unwrap the organisation's own keys. Raises IntegrityFault: an empty vault, another's, or the wrong KEK."""
        with _vault_faults():
            rows = await self._vault.org_keys(self.org)
        if LOCATOR not in rows or IDENTITY not in rows:
            raise IntegrityFault("the vault holds no keys of this organisation", hint=WRONG_VAULT)
        kinds = (LOCATOR, IDENTITY)
        locator, identity = await self._worked(lambda: [self._unwrapped(kind, rows[kind]) for kind in kinds])
        self._organisation = OrganisationKeys(self.org, mac(locator), identity)
        await self.load((SHARED,))
        return self._organisation

    def organisation(self) -> OrganisationKeys:
        if self._organisation is None:
            raise RuntimeError("the keyring is not open")
        return self._organisation

    def owner(self, owner: int) -> OwnerKeys:
        """The keys of one owner, from memory. Raises NeedKeys."""
        with self._lock:
            keys = self._owners.get(owner)
            if keys is None:
                raise NeedKeys((owner,))
            self._owners.move_to_end(owner)
            return keys

    def missing(self, owners: Iterable[int]) -> frozenset[int]:
        """Those whose keys are not in memory: to be named in one NeedKeys instead of one after the other."""
        with self._lock:
            return frozenset(owner for owner in owners if owner not in self._owners)

    def new_owner(self) -> OwnerKeys:
        """An (owner, key) pair from the stock. Raises NeedKeys when it is empty."""
        with self._lock:
            if not self._stock:
                raise NeedKeys
            keys = self._stock.popleft()
            self._keep(keys)
            return keys

    @property
    def stock(self) -> int:
        """How many new owners can be drawn."""
        return len(self._stock)

    def forget(self, owner: int) -> None:
        """Drop an owner's keys from memory: erased, or moved on."""
        with self._lock:
            self._owners.pop(owner, None)

    def rehearsing(self) -> "Keyring":
        """A ring beside this one whose new owners are in no vault: for units that are taken back."""
        ring = Keyring(self._kek, self._vault, self.org, self._entropy, self._size)
        ring._organisation, ring._durable = self.organisation(), False
        return ring

    async def load(self, owners: Iterable[int]) -> None:
        """Fetch and unwrap owners' keys. Raises Gone for a destroyed one, IntegrityFault for one never held."""
        wanted = self.missing(owners)
        if not wanted:
            return
        found: dict[int, dict[int, bytes]] = {}
        with _vault_faults():
            rows = await self._vault.subjects(self.org, sorted(wanted))
            deks = await self._worked(lambda: [self._unwrapped(SUBJECT, row) for row in rows])
            for row, dek in zip(rows, deks, strict=True):
                found.setdefault(row.row, {})[row.gen] = dek
            if absent := wanted.difference(found):
                await self._refuse(absent)
        opened = [self._owner_keys(owner, by_gen) for owner, by_gen in found.items()]
        with self._lock:
            for keys in opened:
                self._keep(keys)

    async def _refuse(self, absent: frozenset[int]) -> None:
        if absent <= await self._vault.destroyed(self.org):
            raise Gone("the key of what was asked for was destroyed", code="erased")
        raise IntegrityFault(f"owners without a key in the vault: {len(absent)}", hint=WRONG_VAULT)

    async def restock(self, size: int = STOCK) -> None:
        """Fill the stock up to `size`; the new keys are durable in the vault before anyone can draw them.

        Of a ring that rehearses they are in memory alone.
        """
        count = max(0, size - len(self._stock))
        fresh = [(self._new_number(), self._entropy(KEY_BYTES)) for _ in range(count)]
        if fresh:
            if self._durable:
                rows = await self._worked(lambda: [self._wrapped(SUBJECT, owner, dek) for owner, dek in fresh])
                with _vault_faults():
                    await self._vault.add_subjects(self.org, rows)
            self._stock.extend(self._owner_keys(owner, {1: dek}) for owner, dek in fresh)

    async def supply(self, need: NeedKeys) -> None:
        """Answer a NeedKeys: load the owners it names, and fill the stock when it runs low."""
        await self.load(need.owners)
        if self.stock < STOCK // 2:
            await self.restock()

    async def retrying(self, run: Callable[[Callable[[C], T]], Awaitable[T]], work: Callable[[C], T]) -> T:
        """`await run(work)`, again after each NeedKeys: `keyring.retrying(store.write, work)`."""
        for _ in range(TRIES):
            try:
                return await run(work)
            except NeedKeys as need:
                await self.supply(need)
        raise RuntimeError("a unit of work needs more owners than the keyring holds")

    async def new_message_keys(self, count: int) -> list[MessageKey]:
        """Fresh keys for journal bodies, durable in the vault when this returns; the loop has its turns meanwhile.

        Their ids begin alike, so that their rows lie together: else each would touch a page of its own.
        """
        kek = self._kek.current()
        together = self._entropy(KEY_ID_BYTES // 2)
        keys: list[MessageKey] = []
        rows: list[tuple[bytes, str, bytes]] = []
        for size in slices(count):
            made = [
                MessageKey(together + self._entropy(KEY_ID_BYTES // 2), self._entropy(KEY_BYTES)) for _ in range(size)
            ]
            rows += await self._worked(partial(self._wrapped_message_keys, kek, made))
            keys += made
            await asyncio.sleep(0)
        with _vault_faults():
            await self._vault.add_message_keys(self.org, rows)
        return keys

    def _wrapped_message_keys(self, kek: Wrapping, keys: Iterable[MessageKey]) -> list[tuple[bytes, str, bytes]]:
        def wrapped(key: MessageKey) -> bytes:
            return kek.wrap(self.org, MESSAGE, key.key_id, 1, key.key, self._entropy(NONCE_BYTES))

        return [(key.key_id, kek.id, wrapped(key)) for key in keys]

    async def message_keys(self, key_ids: Iterable[bytes]) -> dict[bytes, bytes]:
        """The keys of journal bodies that still have one; a pruned or erased one is absent."""
        with _vault_faults():
            rows = await self._vault.message_keys(self.org, key_ids)
        unwrap = self._kek.unwrap
        return await self._worked(
            lambda: {
                key_id: unwrap(self.org, MESSAGE, key_id, 1, kek_id, wrapped)
                for key_id, (kek_id, wrapped) in rows.items()
            }
        )

    async def _worked(self, work: Callable[[], T]) -> T:
        """What the KEK does for us: at once, but beside the loop where a device does it."""
        return await asyncio.to_thread(work) if self._kek.remote else work()

    def _keep(self, keys: OwnerKeys) -> None:
        self._owners[keys.owner] = keys
        self._owners.move_to_end(keys.owner)
        if len(self._owners) > self._size:
            oldest = next(owner for owner in self._owners if owner != SHARED)
            del self._owners[oldest]

    def _owner_keys(self, owner: int, deks: dict[int, bytes]) -> OwnerKeys:
        newest = max(deks)
        ciphers = {gen: AESGCM(derive(dek, BODY)) for gen, dek in deks.items()}
        index, commitment = mac(derive(deks[newest], INDEX)), derive(deks[newest], COMMITMENT)
        return OwnerKeys(self.org, owner, newest, index, commitment, ciphers)

    def _wrapped(self, kind: str, row: int, key: bytes) -> WrappedKey:
        kek = self._kek.current()  # once: a rotation may come between
        wrapped = kek.wrap(self.org, kind, _row(row), 1, key, self._entropy(NONCE_BYTES))
        return WrappedKey(row=row, gen=1, kek_id=kek.id, wrapped=wrapped)

    def _unwrapped(self, kind: str, row: WrappedKey) -> bytes:
        return self._kek.unwrap(self.org, kind, _row(row.row), row.gen, row.kek_id, row.wrapped)

    def _new_number(self) -> int:
        """Random, so that a number says nothing of when or after whom it was made; low ones are reserved."""
        while True:
            number = int.from_bytes(self._entropy(7), "big") >> 56 - OWNER_BITS
            if number >= FIRST_OWNER:
                return number


def _row(number: int) -> bytes:
    return number.to_bytes(8, "big")


@contextmanager
def _vault_faults() -> Iterator[None]:
    """What the vault raises, as the adapter's: damaged or another's, or not to be used now."""
    try:
        yield
    except IntegrityError as exc:
        raise IntegrityFault(f"the vault is not what it should be: {exc}", hint=WRONG_VAULT) from exc
    except LedgerError as exc:
        raise Unavailable("the vault cannot be used now") from exc
