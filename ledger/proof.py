"""The receipt a reader keeps: inclusion proof and checkpoint in one text, checkable with the log's key alone.

Source: C2SP tlog-proof.
"""

import base64
import re
from dataclasses import dataclass

from ledger.errors import VerificationError
from ledger.merkle import HASH_BYTES, InclusionProof, leaf_hash, verify_inclusion
from ledger.note import Checkpoint, Verifier, decode_base64, open_checkpoint, parse_note

HEADER = "c2sp.org/tlog-proof@v1"
MAX_HASHES = 63
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Proof:
    """Where the entry is, and the checkpoint note as it was issued."""

    index: int
    hashes: tuple[bytes, ...]
    note: str

    def __str__(self) -> str:
        lines = [HEADER, f"index {self.index}", *(base64.b64encode(digest).decode() for digest in self.hashes)]
        return "\n".join(lines) + f"\n\n{self.note}"

    @classmethod
    def of(cls, proof: InclusionProof, note: str) -> "Proof":
        return cls(proof.index, proof.hashes, note)

    def verify(self, entry: bytes, origin: str, verifier: Verifier) -> Checkpoint:
        """The checkpoint that holds `entry`. Raises VerificationError; a quorum of witnesses is the caller's to ask."""
        checkpoint = open_checkpoint(self.note.encode(), origin, verifier)
        verify_inclusion(leaf_hash(entry), self.index, checkpoint.size, self.hashes, checkpoint.root)
        return checkpoint


def parse_proof(text: str) -> Proof:
    """Raises VerificationError for anything that is not a `.tlog-proof`."""
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or lines[0] != HEADER:
        raise VerificationError("not a tlog-proof")
    if len(lines) > 1 and lines[1].startswith("extra "):
        decode_base64(lines.pop(1).removeprefix("extra "), "extra data")  # opaque and unauthenticated: not used
    match = _INDEX.fullmatch(lines[1]) if len(lines) > 1 else None
    if match is None or len(lines) - 2 > MAX_HASHES:
        raise VerificationError("tlog-proof has no index, or too many hashes")
    hashes = tuple(decode_base64(line, "proof hash") for line in lines[2:])
    if any(len(digest) != HASH_BYTES for digest in hashes):
        raise VerificationError(f"tlog-proof holds a hash that is not {HASH_BYTES} bytes")
    parse_note(note.encode())
    return Proof(int(match[1]), hashes, note)
