"""Sealed message bodies, and the keys for them, made ahead.

    body = 0x01 ‖ nonce (12) ‖ AES-256-GCM(message key, bytes as received), AAD = org ␀ feed ␀ key id

Each body has a key of its own, in the vault until the content's time is over; destroying the key closes the body in the
journal and in its backups. Keys are durable in the vault before anything is sealed under them, so that an
acknowledgement waits for the journal alone; each start makes its own and never takes up another's.
Source: operations chapter §4 (journal); ledger chapter §9 (message_key); NIST SP 800-38D.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapter.crash import crash_point
from adapter.errors import ChartbridgeError, IntegrityFault, Unavailable
from adapter.seal.slices import slices
from ledger.errors import LedgerError

FORM = b"\x01"
NONCE_BYTES = 12
# A batch is one commit of the vault; the stock doubles whenever a burst has emptied it, up to a second of full load.
FIRST_BATCH, LAST_BATCH = 256, 8_192

Entropy = Callable[[int], bytes]


class MessageKey(Protocol):
    @property
    def key_id(self) -> bytes: ...

    @property
    def key(self) -> bytes: ...


class MessageKeys(Protocol):
    """Where keys come from: the organisation's key ring."""

    @property
    def org(self) -> str: ...

    async def new_message_keys(self, count: int) -> Sequence[MessageKey]: ...

    async def message_keys(self, key_ids: Iterable[bytes]) -> Mapping[bytes, bytes]: ...


@dataclass(frozen=True, slots=True)
class Seal:
    """A message key ready for its one body: cipher and nonce are made with the key, not while a sender waits."""

    key_id: bytes
    cipher: AESGCM = field(repr=False)
    nonce: bytes = field(repr=False)

    def close(self, org: str, feed: str, data: bytes) -> bytes:
        """Encrypt a message for its journal row. Once: the nonce is this key's only one."""
        return FORM + self.nonce + self.cipher.encrypt(self.nonce, data, _aad(org, feed, self.key_id))


def open_body(org: str, feed: str, key_id: bytes, key: bytes, body: bytes) -> bytes:
    """The bytes as received. Raises IntegrityFault for another row, another key or any changed byte."""
    if body[:1] != FORM:
        raise IntegrityFault("journal body has no header of ours")
    nonce, secret = body[1 : 1 + NONCE_BYTES], body[1 + NONCE_BYTES :]
    try:
        return AESGCM(key).decrypt(nonce, secret, _aad(org, feed, key_id))
    except (InvalidTag, ValueError) as exc:
        raise IntegrityFault("journal body does not open: changed, moved, or sealed under another key") from exc


def _aad(org: str, feed: str, key_id: bytes) -> bytes:
    return f"{org}\0{feed}\0".encode() + key_id


class KeyStock:
    """Message keys in memory, durable in the vault. Refills itself in the background; `ready` hears of it."""

    def __init__(self, keys: MessageKeys, entropy: Entropy, ready: Callable[[], None] = lambda: None) -> None:
        self._keys, self._entropy, self._ready = keys, entropy, ready
        self._stock: deque[Seal] = deque()
        self._batch = FIRST_BATCH
        self._filling: asyncio.Task[None] | None = None
        self.failure: Unavailable | None = None

    def __len__(self) -> int:
        return len(self._stock)

    def take(self) -> Seal:
        """A key that no body has had. The caller has looked at the length before."""
        return self._stock.popleft()

    async def fill(self) -> None:
        """One batch more. Raises Unavailable when the vault cannot keep it."""
        try:
            fresh = await self._keys.new_message_keys(self._batch)
        except (LedgerError, ChartbridgeError) as exc:
            raise Unavailable("the vault gives no message keys", hint="chartbridge doctor") from exc
        crash_point("journal.keys-kept")
        left = iter(fresh)
        for size in slices(len(fresh)):
            self._stock.extend(
                Seal(key.key_id, AESGCM(key.key), self._entropy(NONCE_BYTES)) for key in islice(left, size)
            )
            await asyncio.sleep(0)

    def refill(self) -> None:
        """See to it that there are keys, without waiting."""
        if self._filling is None and len(self._stock) < self._batch // 2:
            if not self._stock:
                self._batch = min(2 * self._batch, LAST_BATCH)
            self._filling = asyncio.get_running_loop().create_task(self._fill_quietly())

    async def _fill_quietly(self) -> None:
        try:
            await self.fill()
            self.failure = None
        except Unavailable as exc:
            self.failure = exc
        finally:
            self._filling = None
        self._ready()

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._filling is not None:
            await self._filling
