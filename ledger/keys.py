"""The log key's file: written once with mode 0600, read only with that mode.

PEM (PKCS#8) is what is written; the signed-note form `PRIVATE+KEY+<name>+<id>+<base64>` is read as well, for keys that
other log tools made. Source: Go's sumdb/note key form; PKCS#8 is RFC 5958, Ed25519 in it RFC 8410.
"""

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from ledger.commitment import Entropy
from ledger.errors import IntegrityError, VerificationError
from ledger.note import ED25519, Ed25519Signer, decode_base64
from ledger.store.file import sync_folder

OWNER_ONLY = 0o600
_SKEY = "PRIVATE+KEY+"


def generate_log_key(path: Path, name: str, entropy: Entropy) -> Ed25519Signer:
    """A new key for the log `name`, durable in `path` before it signs anything. Never overwrites."""
    seed = entropy(32)
    pem = Ed25519PrivateKey.from_private_bytes(seed).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(descriptor)
    sync_folder(path.parent)
    return Ed25519Signer(name, seed)


def load_log_key(path: Path, name: str) -> Ed25519Signer:
    """The signer for the log `name`. Raises IntegrityError for a key that others may read, or that is none."""
    try:
        mode = path.stat().st_mode & 0o777
        data = path.read_bytes()
    except OSError as exc:
        raise IntegrityError(f"log key cannot be read: {exc.strerror}") from exc
    if mode & 0o077:
        raise IntegrityError(f"log key has mode {mode:04o}, expected {OWNER_ONLY:04o}")
    return Ed25519Signer(name, _seed(data, name))


def _seed(data: bytes, name: str) -> bytes:
    if data.startswith(_SKEY.encode()):
        return parse_skey(data.decode(errors="replace").strip(), name)
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise IntegrityError("log key is not an unencrypted PEM private key") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise IntegrityError("log key is not Ed25519")
    return key.private_bytes_raw()


def parse_skey(skey: str, name: str) -> bytes:
    """The seed in a signed-note private key of `name`. Raises IntegrityError."""
    given, _, rest = skey.removeprefix(_SKEY).partition("+")
    ident, _, material = rest.partition("+")
    try:
        raw = decode_base64(material, "log key")
    except VerificationError as exc:
        raise IntegrityError("log key is not base64") from exc
    if given != name or len(raw) != 33 or raw[0] != ED25519:
        raise IntegrityError(f"log key is not an Ed25519 key named {name}")
    if Ed25519Signer(name, raw[1:]).key_id.hex() != ident:
        raise IntegrityError("log key does not have its key id")
    return raw[1:]
