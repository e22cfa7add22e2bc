"""The key that wraps keys, and AES-256-GCM around what it protects. Here it is in a file of mode 0600.

`Wrapping` is the seam: what a provider has to bring is an id and an AES-256-GCM cipher. The other provider keeps the
key in a token and only asks it to encrypt (`pkcs11_kek.py`); the key file says which.

    wrap = nonce (12) ‖ AES-256-GCM(KEK, key), AAD = org ‖ kind ‖ row ‖ gen ‖ kek_id

Each part of the AAD is length-prefixed, so that no wrapped key passes for another. A missing or open file is a matter
of configuration; a key that does not open what it should is a matter of integrity; finding out changes nothing.

Source: architecture §6; NIST SP 800-38D.
"""

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapter.errors import ConfigurationError, IntegrityFault

KEY_BYTES, NONCE_BYTES = 32, 12
WRONG_KEK = "put the key file of this site back; nothing was changed"
WRONG_VAULT = "restore the vault from its own backup; nothing was changed"

Entropy = Callable[[int], bytes]


class Cipher(Protocol):
    """AES-256-GCM under one key. `decrypt` raises InvalidTag for what it did not encrypt."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


class Wrapper(Protocol):
    """What a keyring asks: one key, or the several of a site of which one wraps now."""

    @property
    def remote(self) -> bool: ...

    def current(self) -> "Wrapping": ...

    def unwrap(self, org: str, kind: str, row: bytes, gen: int, kek_id: str, wrapped: bytes) -> bytes: ...


class Wrapping:
    """A key that wraps keys, wherever it is: what it makes of them is the same."""

    __slots__ = ()

    id: str
    cipher: Cipher
    remote: ClassVar[bool] = False  # whether it takes a device to use it: then not on the event loop

    def current(self) -> "Wrapping":
        """The key to wrap with now; one key is always that."""
        return self

    def wrap(self, org: str, kind: str, row: bytes, gen: int, key: bytes, nonce: bytes) -> bytes:
        return nonce + self.cipher.encrypt(nonce, key, self._aad(org, kind, row, gen))

    def unwrap(self, org: str, kind: str, row: bytes, gen: int, kek_id: str, wrapped: bytes) -> bytes:
        """The key. Raises IntegrityFault when another KEK wrapped it, or the row was changed or moved."""
        if kek_id != self.id:
            raise IntegrityFault(f"{kind} key is wrapped by key {kek_id}, the key file holds {self.id}", hint=WRONG_KEK)
        try:
            nonce, secret = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
            return self.cipher.decrypt(nonce, secret, self._aad(org, kind, row, gen))
        except (InvalidTag, ValueError) as exc:
            raise IntegrityFault(f"{kind} key does not unwrap: its vault row was changed", hint=WRONG_VAULT) from exc

    def _aad(self, org: str, kind: str, row: bytes, gen: int) -> bytes:
        parts = (org.encode(), kind.encode(), row, gen.to_bytes(4, "big"), self.id.encode())
        return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


@dataclass(frozen=True, slots=True)
class Kek(Wrapping):
    """The key in a file. Its id is a digest, so that a wrong file is told from a damaged row."""

    key: bytes = field(repr=False)
    id: str = field(init=False)
    cipher: AESGCM = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Once: a wrap costs a third, and each message that is received has a key to be wrapped."""
        object.__setattr__(self, "id", hashlib.sha256(b"chartbridge kek v1\0" + self.key).hexdigest()[:16])
        object.__setattr__(self, "cipher", AESGCM(self.key))

    @classmethod
    def generate(cls, path: Path, entropy: Entropy = os.urandom) -> "Kek":
        """Write a new key file of mode 0600; an existing one is never overwritten."""
        kek = cls(entropy(KEY_BYTES))
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(kek.key.hex() + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            raise ConfigurationError(
                f"key file cannot be written: {exc.strerror}", hint="check the keys folder"
            ) from exc
        return kek

    @classmethod
    def load(cls, path: Path) -> "Kek":
        """Read the key file: 64 hex digits. Raises ConfigurationError when it is missing, open to others, or no key."""
        return cls.of(read_private(path), path.name)

    @classmethod
    def of(cls, text: str, name: str) -> "Kek":
        """The key that a file of that name says in hex. Raises ConfigurationError."""
        try:
            key = bytes.fromhex(text)
        except ValueError as exc:
            raise ConfigurationError(f"key file {name} holds no key", hint="restore the key file") from exc
        if len(key) != KEY_BYTES:
            raise ConfigurationError(f"key file {name} holds {len(key)} bytes, expected {KEY_BYTES}")
        return cls(key)


def read_private(path: Path) -> str:
    """A small file that nobody else may read. Raises ConfigurationError."""
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii").strip()
    except OSError as exc:
        text = f"key file {path.name} cannot be read: {exc.strerror}"
        raise ConfigurationError(text, hint="restore the key file; without it nothing opens") from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"key file {path.name} holds no key", hint="restore the key file") from exc
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigurationError(f"key file {path.name} is open to others", hint=f"chmod 600 {path.name}")
    return text
