"""Resource ids: UUID version 8 of a keyed digest of what identifies the thing.

The key is the organisation's secret: an unkeyed hash of a record number can be guessed back. The same business key
gives the same id for ever, so a replay writes the same resources. What identifies a thing is said by
`hl7v2/keys/`; this file only turns key fields into an id.

Source: RFC 9562 §5.8 (UUIDv8), RFC 2104 (HMAC).
"""

from hashlib import sha256
from typing import Final

# ids of `chartbridge convert` without a store: fixed and public, so equal input gives equal bytes on any machine
PUBLIC_KEY: Final = sha256(b"chartbridge convert: a public key, its ids can be guessed").digest()

MINIMUM_KEY_BYTES: Final = 16
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_MOST_LENGTHS: Final = 256
_LENGTHS: Final = [f"{length}:" for length in range(_MOST_LENGTHS)]  # as text; nearly every field is shorter
_BLOCK: Final = sha256().block_size


class Identities:
    """The ids of one organisation: `make(type, *fields)`, equal for equal fields, unrelated for any other."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        if len(key) < MINIMUM_KEY_BYTES:
            raise RuntimeError(f"identity key is too short: expected {MINIMUM_KEY_BYTES} bytes, got {len(key)}")
        padded = (sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
        # RFC 2104's two states after the key, copied for each id: a quarter of what hmac's own copy costs
        self._inner = sha256(bytes([byte ^ 0x36 for byte in padded]))
        self._outer = sha256(bytes([byte ^ 0x5C for byte in padded]))

    def make(self, resource_type: str, fields: tuple[str, ...]) -> str:
        """The id of a resource; each field goes in behind its length, so that no two keys run together."""
        parts: list[str] = []
        for field in (resource_type, *fields):
            length = len(field)
            parts.append(_LENGTHS[length] if length < _MOST_LENGTHS else f"{length}:")
            parts.append(field)
        text = "".join(parts)
        inner = self._inner.copy()
        inner.update(text.encode("utf-8", "surrogatepass"))
        outer = self._outer.copy()
        outer.update(inner.digest())
        digest = outer.hexdigest()
        return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-{_VARIANT[digest[16]]}{digest[17:20]}-{digest[20:32]}"
