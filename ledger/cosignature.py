"""Witness cosignatures over checkpoints, Ed25519 (type 0x04): "at this time, this was the largest tree I had seen".

Key name and key id as in any signed note; the signature is a time and an Ed25519 signature over header, time and the
checkpoint's text. Source: C2SP tlog-cosignature.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ledger.errors import VerificationError
from ledger.note import Ed25519Signer, decode_vkey, ed25519_holds, encode_vkey, key_id

COSIGNATURE = 0x04
MAX_TIME = 2**63 - 1
_TIME_BYTES = 8
_SIGNATURE_BYTES = 64


def cosigned_message(text: bytes, time_s: int) -> bytes:
    """What is signed: never the bare checkpoint, so that a witness's signature passes for no log's."""
    return f"cosignature/v1\ntime {time_s}\n".encode() + text


def cosigned_time(signature: bytes) -> int:
    """The POSIX seconds at which the witness signed."""
    if len(signature) != _TIME_BYTES + _SIGNATURE_BYTES:
        raise VerificationError(f"cosignature has {len(signature)} bytes, expected {_TIME_BYTES + _SIGNATURE_BYTES}")
    time_s = int.from_bytes(signature[:_TIME_BYTES], "big")
    if time_s > MAX_TIME:
        raise VerificationError("cosignature time is out of range")
    return time_s


@dataclass(frozen=True, slots=True)
class CosignatureVerifier:
    name: str
    public: bytes

    @classmethod
    def of(cls, vkey: str) -> "CosignatureVerifier":
        name, kind, public = decode_vkey(vkey)
        if kind != COSIGNATURE or len(public) != 32:
            raise VerificationError(f"verifier key of {name} is not an Ed25519 cosigner's")
        return cls(name, public)

    @property
    def key_id(self) -> bytes:
        return key_id(self.name, COSIGNATURE, self.public)

    @property
    def vkey(self) -> str:
        return encode_vkey(self.name, COSIGNATURE, self.public)

    def verify(self, text: bytes, signature: bytes) -> bool:
        message = cosigned_message(text, cosigned_time(signature))
        return ed25519_holds(self.public, message, signature[_TIME_BYTES:])


class Cosigner:
    """Signs checkpoints as a witness does, at the time that `now_s` gives."""

    def __init__(self, name: str, seed: bytes, now_s: Callable[[], int]) -> None:
        self._signer = Ed25519Signer(name, seed)
        self._now_s = now_s
        self.name = name
        self.verifier = CosignatureVerifier(name, self._signer.verifier.public)
        self.key_id = self.verifier.key_id
        self.vkey = self.verifier.vkey

    def sign(self, text: bytes) -> bytes:
        time_s = self._now_s()
        return time_s.to_bytes(_TIME_BYTES, "big") + self._signer.sign(cosigned_message(text, time_s))
