"""Signed notes, verifier keys and checkpoints.

A note is text, a blank line, and signature lines; only a text with a good signature by a known key means anything.
The log signs with Ed25519 (type 0x01); witnesses' types are `cosignature.py`'s, key files `keys.py`'s.
Source: C2SP signed-note and tlog-checkpoint; Ed25519 is RFC 8032.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.errors import VerificationError
from ledger.merkle import HASH_BYTES, Digest

ED25519 = 0x01
MAX_NOTE_BYTES = 1_000_000  # a stranger's note; sixteen ML-DSA signatures are 52 kB
MAX_SIGNATURES = 100  # as the reference implementation in Go
_KEY_BYTES = 32
_DASH = "— "
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class Signer(Protocol):
    """Who can sign notes: a key in a file here, a PKCS#11 or KMS key elsewhere."""

    @property
    def name(self) -> str: ...
    @property
    def key_id(self) -> bytes: ...
    @property
    def vkey(self) -> str: ...
    def sign(self, text: bytes) -> bytes: ...


class Verifier(Protocol):
    """Who can check the signatures of one key."""

    @property
    def name(self) -> str: ...
    @property
    def key_id(self) -> bytes: ...
    def verify(self, text: bytes, signature: bytes) -> bool: ...


def valid_name(name: str) -> bool:
    """Key names hold no white space and no plus."""
    return bool(name) and "+" not in name and not any(char.isspace() or char < " " for char in name)


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """Four bytes that tell keys apart; no protection, only a name."""
    return sha256(f"{name}\n".encode() + bytes([kind]) + public).digest()[:4]


def encode_vkey(name: str, kind: int, public: bytes) -> str:
    material = base64.b64encode(bytes([kind]) + public).decode()
    return f"{name}+{key_id(name, kind, public).hex()}+{material}"


def decode_vkey(vkey: str) -> tuple[str, int, bytes]:
    """Name, signature type and public key. Raises VerificationError where the key id does not fit."""
    name, _, rest = vkey.partition("+")
    ident, _, material = rest.partition("+")
    if not valid_name(name) or not _KEY_ID.fullmatch(ident):
        raise VerificationError("not a verifier key")
    decoded = decode_base64(material, "verifier key")
    if len(decoded) < 2 or key_id(name, decoded[0], decoded[1:]).hex() != ident:
        raise VerificationError(f"verifier key of {name} does not have its key id")
    return name, decoded[0], decoded[1:]


@dataclass(frozen=True, slots=True)
class Ed25519Verifier:
    name: str
    public: bytes

    @classmethod
    def of(cls, vkey: str) -> "Ed25519Verifier":
        name, kind, public = decode_vkey(vkey)
        if kind != ED25519 or len(public) != _KEY_BYTES:
            raise VerificationError(f"verifier key of {name} is not Ed25519")
        return cls(name, public)

    @property
    def key_id(self) -> bytes:
        return key_id(self.name, ED25519, self.public)

    @property
    def vkey(self) -> str:
        return encode_vkey(self.name, ED25519, self.public)

    def verify(self, text: bytes, signature: bytes) -> bool:
        return ed25519_holds(self.public, text, signature)


class Ed25519Signer:
    """Signs for one key name; `seed` are the 32 bytes of RFC 8032."""

    def __init__(self, name: str, seed: bytes) -> None:
        if not valid_name(name) or len(seed) != _KEY_BYTES:
            raise RuntimeError("a signer needs a key name without spaces or plus, and a seed of 32 bytes")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.name = name
        self.verifier = Ed25519Verifier(name, self._key.public_key().public_bytes_raw())
        self.key_id = self.verifier.key_id
        self.vkey = self.verifier.vkey

    def sign(self, text: bytes) -> bytes:
        return self._key.sign(text)


def ed25519_holds(public: bytes, text: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note: nothing in it is to be believed before `open_note`."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(signature.line() for signature in self.signatures)}"


def sign_note(text: str, signers: Iterable[Signer]) -> Note:
    """A note over `text`, which ends in a newline."""
    if not _printable(text) or not text.endswith("\n"):
        raise RuntimeError("a note's text ends in a newline and has no other control characters")
    data = text.encode()
    return Note(text, tuple(Signature(signer.name, signer.key_id, signer.sign(data)) for signer in signers))


def parse_note(data: bytes) -> Note:
    """Text and signature lines. Raises VerificationError for anything that is not a note."""
    if len(data) > MAX_NOTE_BYTES:
        raise VerificationError(f"note too long: {len(data)} bytes, at most {MAX_NOTE_BYTES}")
    try:
        whole = data.decode()
    except UnicodeDecodeError as exc:
        raise VerificationError("note is not UTF-8") from exc
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not text or not lines.endswith("\n") or not _printable(whole):
        raise VerificationError("not a signed note")
    return Note(text + "\n", _signatures(lines[:-1].split("\n")))


def _signatures(lines: Sequence[str]) -> tuple[Signature, ...]:
    if len(lines) > MAX_SIGNATURES:
        raise VerificationError(f"note has {len(lines)} signatures, at most {MAX_SIGNATURES}")
    found = []
    for line in lines:
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not valid_name(name):
            raise VerificationError("note has a malformed signature line")
        raw = decode_base64(encoded, "signature")
        if len(raw) < 5:
            raise VerificationError("note has a signature of no bytes")
        found.append(Signature(name, raw[:4], raw[4:]))
    return tuple(found)


def open_note(data: bytes, verifiers: Iterable[Verifier]) -> Note:
    """The note with its good signatures only, at least one.

    Signatures of unknown keys are passed over; a known key's that does not hold refuses the whole note.
    """
    note = parse_note(data)
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    text = note.text.encode()
    good: dict[tuple[str, bytes], Signature] = {}
    for signature in note.signatures:
        key = (signature.name, signature.key_id)
        if key not in known or key in good:
            continue
        if not known[key].verify(text, signature.signature):
            raise VerificationError(f"signature of {signature.name}+{signature.key_id.hex()} does not hold")
        good[key] = signature
    if not good:
        raise VerificationError("note has no signature by a known key")
    return Note(note.text, tuple(good.values()))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: what the log's signature says."""

    origin: str
    size: int
    root: Digest

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Reads the three lines; further ones are extensions, which say nothing. Raises VerificationError."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise VerificationError("checkpoint has fewer than three lines, or an empty one")
        origin, size, root = lines[:3]
        if not _SIZE.fullmatch(size):
            raise VerificationError("checkpoint size is not a number")
        digest = decode_base64(root, "checkpoint root")
        if len(digest) != HASH_BYTES:
            raise VerificationError(f"checkpoint root has {len(digest)} bytes, expected {HASH_BYTES}")
        return cls(origin, int(size), Digest(digest))


def open_checkpoint(data: bytes, origin: str, verifier: Verifier) -> Checkpoint:
    """The checkpoint of the log `origin`, signed by its key. Raises VerificationError."""
    checkpoint = Checkpoint.parse(open_note(data, [verifier]).text)
    if checkpoint.origin != origin:
        raise VerificationError(f"checkpoint is of another log than {origin}")
    return checkpoint


def decode_base64(text: str, what: str) -> bytes:
    """Standard base64 in its one spelling (RFC 4648 §4). Raises VerificationError."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise VerificationError(f"{what} is not base64") from exc
    if base64.b64encode(raw).decode() != text:
        raise VerificationError(f"{what} is not canonical base64")
    return raw


def _printable(text: str) -> bool:
    return not any(char < " " and char != "\n" for char in text)
