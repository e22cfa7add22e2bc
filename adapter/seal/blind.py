"""Keyed names: what the store may know of an id or a searched value without knowing it.

- *keyed id* (`fid`): HMAC(locator key, type ␟ id), 16 bytes. Equal ids meet, and nobody reads one back.
- *token*: the first 8 bytes of HMAC(key, type ␟ param ␟ value). Under the organisation's locator key it finds a patient
  (T1), under a patient's index key it finds within that patient and joins nothing to another patient (T2).
- *lane*: where a patient's messages queue, from the locator key.

What is indexed and how a value is spelled is `adapter/store/index.py`'s. ␟ is U+001F, which no id, code or URI holds.
Source: fhir chapter §5; HMAC-SHA-256 (RFC 2104, FIPS 180-4).
"""

import hashlib
from collections.abc import Callable

SEPARATOR = "\x1f"
FID_BYTES = 16
LANES = 64
_BLOCK = 64  # of SHA-256, in bytes
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))

Mac = Callable[[bytes], bytes]


def keyed_id(locate: Mac, resource_type: str, logical_id: str) -> bytes:
    """The resource's id as the store knows it."""
    return locate(f"{resource_type}{SEPARATOR}{logical_id}".encode())[:FID_BYTES]


def token(index: Mac, resource_type: str, param: str, value: str) -> int:
    """One posting of the blind index, as the signed 64-bit number that databases store."""
    return token_of(index(name_of(resource_type, param, value).encode()))


def name_of(resource_type: str, param: str, value: str) -> str:
    """What a token is the MAC of."""
    return f"{resource_type}{SEPARATOR}{param}{SEPARATOR}{value}"


def token_of(full: bytes) -> int:
    """The first 8 bytes of a MAC as a number."""
    return int.from_bytes(full[:8], "big", signed=True)


def lane(locate: Mac, key: str) -> int:
    """The lane of a Patient key, or of a feed's name."""
    return locate(f"lane{SEPARATOR}{key}".encode())[0] % LANES


def mac(key: bytes) -> Mac:
    """HMAC-SHA-256 with the key's two blocks hashed once (RFC 2104 §4): a resource costs a dozen tokens.

    Keys are 32 bytes. `hmac.HMAC.copy` would do the same at twice the price; a test holds the two against each other.
    """
    if len(key) > _BLOCK:
        raise RuntimeError("a key longer than a block is no key of ours")
    block = key.ljust(_BLOCK, b"\0")
    inner, outer = hashlib.sha256(block.translate(_INNER)), hashlib.sha256(block.translate(_OUTER))

    def digest(message: bytes) -> bytes:
        first, second = inner.copy(), outer.copy()
        first.update(message)
        second.update(first.digest())
        return second.digest()

    return digest
