"""The body envelope: canonical bytes, deflated and encrypted, bound to the row that holds them.

    body = header ‖ nonce (12) ‖ AES-256-GCM(key of that generation, raw DEFLATE)
    header = form (1) ‖ dictionary id (1) ‖ generation (2)
    AAD = header ‖ org ␀ type ␀ fid (16) ‖ version (8)

So a body moved to another row, another version or another organisation does not open, and a row opens without knowing
the resource's id. Form 0x01 is a resource version; 0x02 a small record of the store (outbox payload, clocks), whose AAD
holds a kind and a number of its own: neither opens as the other.

Keys are the keyring's, nonces come from the caller's randomness: random 96 bit, so that two processes need not agree on
a counter; a generation ends after 2^30 versions, far below the bound of NIST SP 800-38D §8.3.
Source: fhir chapter §5; RFC 1951 (raw DEFLATE); NIST SP 800-38D (GCM).
"""

import zlib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapter.errors import IntegrityFault

NONCE_BYTES = 12
HEADER_BYTES = 4
FID_BYTES = 16
FORM_BODY, FORM_RECORD = 1, 2
# Level 1 with a 4 KiB window: the default window costs ten times the time and saves little on bodies of a few KiB.
LEVEL, WINDOW_BITS, MEMORY_LEVEL = 1, -12, 5
# A dictionary, once bodies were written with it, is never changed: a new one gets a new id.
NO_DICTIONARY, DICTIONARY = 0, 1
MAX_BODY_BYTES = 16 * 1024 * 1024 + 64 * 1024  # a resource is at most 16 MiB (fhir chapter §3), and the stamp


class BodyKeys(Protocol):
    """What sealing needs of an owner's keys: the generation that new bodies take, and the cipher of each."""

    @property
    def gen(self) -> int: ...

    def body_cipher(self, gen: int) -> AESGCM: ...


@dataclass(frozen=True, slots=True)
class Row:
    """Where a body lives. `fid` is the keyed id, never the id."""

    org: str
    type: str
    fid: bytes = field(repr=False)
    version: int

    def aad(self, header: bytes) -> bytes:
        if len(self.fid) != FID_BYTES:
            raise RuntimeError(f"keyed id has wrong size: expected {FID_BYTES} bytes, got {len(self.fid)}")
        place = f"{self.org}\0{self.type}\0".encode()
        return header + place + self.fid + self.version.to_bytes(8, "big")


def seal(keys: BodyKeys, row: Row, body: bytes, nonce: bytes) -> bytes:
    """Compress and encrypt one version's canonical bytes for its row."""
    header = bytes((FORM_BODY, DICTIONARY)) + keys.gen.to_bytes(2, "big")
    return header + nonce + keys.body_cipher(keys.gen).encrypt(nonce, deflate(body), row.aad(header))


def unseal(keys: BodyKeys, row: Row, sealed: bytes) -> bytes:
    """The canonical bytes. Raises IntegrityFault for another row, another key or any changed byte."""
    header, nonce, secret = _parts(sealed, FORM_BODY)
    return inflate(_decrypt(keys, header, nonce, secret, row.aad(header)), header[1])


def seal_record(keys: BodyKeys, org: str, kind: str, number: bytes, record: bytes, nonce: bytes) -> bytes:
    """Encrypt a small record of the store under the same key; `number` names the row it belongs to."""
    header = bytes((FORM_RECORD, NO_DICTIONARY)) + keys.gen.to_bytes(2, "big")
    secret = keys.body_cipher(keys.gen).encrypt(nonce, record, _record_aad(header, org, kind, number))
    return header + nonce + secret


def unseal_record(keys: BodyKeys, org: str, kind: str, number: bytes, sealed: bytes) -> bytes:
    """Open what `seal_record` closed. Raises IntegrityFault."""
    header, nonce, secret = _parts(sealed, FORM_RECORD)
    return _decrypt(keys, header, nonce, secret, _record_aad(header, org, kind, number))


def _record_aad(header: bytes, org: str, kind: str, number: bytes) -> bytes:
    return header + f"{org}\0{kind}\0".encode() + number


def _parts(sealed: bytes, form: int) -> tuple[bytes, bytes, bytes]:
    if len(sealed) < HEADER_BYTES + NONCE_BYTES + 16 or sealed[0] != form:
        raise IntegrityFault("sealed body has no header of ours")
    start = HEADER_BYTES + NONCE_BYTES
    return sealed[:HEADER_BYTES], sealed[HEADER_BYTES:start], sealed[start:]


def _decrypt(keys: BodyKeys, header: bytes, nonce: bytes, secret: bytes, aad: bytes) -> bytes:
    try:
        return keys.body_cipher(int.from_bytes(header[2:4], "big")).decrypt(nonce, secret, aad)
    except InvalidTag as exc:
        raise IntegrityFault("sealed body does not open: changed, moved, or sealed under another key") from exc


def deflate(body: bytes) -> bytes:
    """Raw DEFLATE, primed with the dictionary of FHIR's own words."""
    squeeze = _compressor().copy()
    return squeeze.compress(body) + squeeze.flush()


def inflate(packed: bytes, dictionary: int = DICTIONARY) -> bytes:
    """The inverse, bounded. The bytes are authenticated before they come here, so a bound is all that is checked."""
    stretch = zlib.decompressobj(WINDOW_BITS, zdict=_words(dictionary))
    try:
        body = stretch.decompress(packed, MAX_BODY_BYTES)
    except zlib.error as exc:
        raise IntegrityFault("sealed body does not inflate") from exc
    if not stretch.eof or stretch.unused_data:
        raise IntegrityFault("sealed body does not inflate to one resource")
    return body


@cache
def _compressor() -> "zlib._Compress":
    words = _words(DICTIONARY)
    return zlib.compressobj(LEVEL, zlib.DEFLATED, WINDOW_BITS, MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY, words)


@cache
def _words(dictionary: int) -> bytes:
    if dictionary != DICTIONARY:
        raise IntegrityFault(f"sealed body needs dictionary {dictionary}, which this version does not have")
    return (resources.files("mappings.fhir") / "deflate.dict").read_bytes()
