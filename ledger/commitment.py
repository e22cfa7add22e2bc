"""Keyed commitments, tags and sealed details: all that an entry says about a person.

One key K a subject (HKDF of its DEK) gives everything: salts are derived, so no salt is stored and one destroyed key
erases them all. Opening a field discloses its salt and nothing about its neighbours. Where K comes from, and whether
it still exists, is the key ring's. Source: ledger chapter §3; HMAC is RFC 2104 with SHA-256, HKDF RFC 5869.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ledger.errors import VerificationError

Entropy = Callable[[int], bytes]

ORGANISATION = 0  # the row of DEK[0]: the organisation's own key, for events without a subject
SALT_BYTES = 32  # HMAC pads a shorter key with zeros, which would make two salts one
NONCE_BYTES = 12
_TAG_BYTES = 16
_CONTEXT = b"chartbridge commit v1\x00"


def commitment_key(dek: bytes) -> bytes:
    """K, from which everything here is derived."""
    return HKDF(SHA256(), 32, salt=None, info=b"chartbridge commitment v1").derive(dek)


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """The vault row of a subject and its commitment key K. Hand it in for one event, or keep it as long as the DEK."""

    row: int
    key: bytes = field(repr=False)
    tag: bytes = field(init=False, repr=False, compare=False)
    salt: bytes = field(init=False, repr=False, compare=False)
    detail: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("tag", "salt", "detail"):
            object.__setattr__(self, name, hmac.digest(self.key, name.encode(), "sha256"))

    @classmethod
    def of(cls, row: int, dek: bytes) -> "SubjectKey":
        return cls(row, commitment_key(dek))


def subject_tag(key: SubjectKey, origin: str, month: str) -> str:
    """One tag a subject, log and month ("2026-03"): who holds `key.tag` finds every entry, nobody else joins two."""
    message = f"{origin}\x00{month}".encode()
    return hmac.digest(key.tag, message, "sha256")[:_TAG_BYTES].hex()


def lone_tag(key: SubjectKey, event_id: bytes) -> str:
    """The tag of an access that found no subject: looks like any other, so hidden and absent are the same."""
    return hmac.digest(key.tag, event_id, "sha256")[:_TAG_BYTES].hex()


def field_salt(key: SubjectKey, event_id: bytes, name: str) -> bytes:
    """What opens one field of one event when it is disclosed."""
    return hmac.digest(key.salt, event_id + name.encode(), "sha256")


def commit(salt: bytes, name: str, value: bytes) -> str:
    return hmac.digest(salt, _CONTEXT + name.encode() + b"\x00" + value, "sha256").hex()


def opens(commitment: str, salt: bytes, name: str, value: bytes) -> bool:
    """Whether a disclosed salt and value are what was committed."""
    return len(salt) == SALT_BYTES and hmac.compare_digest(commit(salt, name, value), commitment)


def seal_detail(key: SubjectKey, origin: str, event_id: bytes, detail: bytes, entropy: Entropy) -> bytes:
    """The detail as the vault keeps it: nonce ‖ AES-256-GCM, bound to log and event."""
    nonce = entropy(NONCE_BYTES)
    return nonce + _cipher(key, event_id).encrypt(nonce, detail, _bound(origin, event_id))


def open_detail(key: SubjectKey, origin: str, event_id: bytes, sealed: bytes) -> bytes:
    """Raises VerificationError for another key, log or event, and for any changed byte."""
    nonce, body = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    try:
        return _cipher(key, event_id).decrypt(nonce, body, _bound(origin, event_id))
    except (InvalidTag, ValueError) as exc:
        raise VerificationError("sealed detail does not open") from exc


def _cipher(key: SubjectKey, event_id: bytes) -> AESGCM:
    return AESGCM(hmac.digest(key.detail, event_id, "sha256"))


def _bound(origin: str, event_id: bytes) -> bytes:
    return origin.encode() + b"\x00" + event_id
