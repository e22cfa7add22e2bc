"""Paging cursors: what a next page needs, sealed so that the server keeps nothing and the client learns nothing.

`_cursor` = base64url(nonce (12) ‖ AES-256-GCM). Inside stand the request's path, its query, the transaction at page
one, the place where the last page ended, and an end of life; the client is bound as associated data. A cursor of
another client or with a changed byte is a page that does not exist (404); one too old says so (410).

Source: fhir chapter §10; NIST SP 800-38D.
"""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapter.errors import Gone, NotFound

LIFE_S = 3600
NONCE_BYTES = 12
MAX_CURSOR_CHARS = 8192  # longer than any cursor of ours


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins: after `after` (a row, or a version in a history), as of transaction `txn`.

    `key` is the place of `after` in the order that was asked for: it holds where the row is no longer shown, too.
    """

    path: str
    query: tuple[tuple[str, str], ...]
    txn: int
    after: int
    key: tuple[str, ...]
    expires: int


class Cursors:
    """Seals and opens cursors under the node's cursor key."""

    def __init__(self, key: bytes, entropy: Callable[[int], bytes]) -> None:
        self._cipher = AESGCM(key)
        self._entropy = entropy
        self._decoder = msgspec.msgpack.Decoder(Cursor)

    def seal(self, cursor: Cursor, client_id: str) -> str:
        nonce = self._entropy(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, msgspec.msgpack.encode(cursor), _bound(client_id))
        return _encoded(nonce + sealed)

    def open(self, text: str, client_id: str, path: str, now: float) -> Cursor:
        """The cursor in `text`. Raises NotFound when it is not this client's page of this path, Gone when too old."""
        if len(text) > MAX_CURSOR_CHARS:
            raise _unknown()
        try:
            blob = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            plain = self._cipher.decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], _bound(client_id))
        except (binascii.Error, InvalidTag, ValueError) as exc:
            raise _unknown() from exc
        try:
            cursor = self._decoder.decode(plain)
        except msgspec.DecodeError as exc:  # of an earlier version of ours
            raise _unknown() from exc
        if _encoded(blob) != text or cursor.path != path:  # base64 has several spellings of one value; we have one
            raise _unknown()
        if cursor.expires <= now:
            raise Gone("this page is no longer kept; search again", code="cursor-expired", issue="expired")
        return cursor


def _encoded(blob: bytes) -> str:
    return base64.urlsafe_b64encode(blob).decode().rstrip("=")


def _bound(client_id: str) -> bytes:
    return b"cursor\x00" + client_id.encode()


def _unknown() -> NotFound:
    return NotFound("there is no such page")
