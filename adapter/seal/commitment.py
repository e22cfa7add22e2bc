"""What is said of a resource's bytes: the plain digest, the keyed tag of equal content, the line an event commits to.

A *digest* is plain SHA-256 and never stored in clear: beside a ciphertext it confirms a guess. `same` is keyed with
the patient's index key and covers the content without the server's stamp, so that a replayed feed is recognised and two
patients' equal values are not. The commitment key is handed to the ledger, which derives tag, salts and detail keys.

Source: fhir chapter §2, §5; ledger chapter §3; HKDF-SHA-256 (RFC 5869).
"""

import hashlib
from typing import NewType

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from adapter.seal.blind import Mac
from mappings.fhir.codec import Json, encode

Digest = NewType("Digest", bytes)

BODY, INDEX, COMMITMENT = b"chartbridge body v1", b"chartbridge index v1", b"chartbridge commitment v1"
SAME_BYTES = 16
STAMP = ("versionId", "lastUpdated")


def derive(dek: bytes, info: bytes) -> bytes:
    """One of the three keys of an owner: HKDF-SHA-256 without salt, 32 bytes."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(dek)


def digest(body: bytes) -> Digest:
    return Digest(hashlib.sha256(body).digest())


def same_tag(index: Mac, resource: Json) -> bytes:
    """The tag under which equal content meets. `resource` carries no stamp: `unstamped` takes it off."""
    return index(encode(resource))[:SAME_BYTES]


def unstamped(resource: Json) -> Json:
    """A copy without the server's own meta; a `meta` that held nothing else goes."""
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in STAMP}
    bare = {name: value for name, value in resource.items() if name != "meta"}
    return bare | {"meta": meta} if meta else bare


def content_line(op: str, resource_type: str, logical_id: str, version: int, body_digest: Digest) -> str:
    """One line of the content that an event commits to; op is r, c, u or d."""
    return f"{op} {resource_type}/{logical_id}/_history/{version} {body_digest.hex()}"
