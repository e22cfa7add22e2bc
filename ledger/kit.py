"""The kit: a folder from which a stranger verifies the log, and how its parts are written.

    policy.txt            the log's key and the quorum                        C2SP tlog-policy
    checkpoint            the signed tree head                                C2SP tlog-checkpoint
    tile/**               hash tiles, and entry bundles in tile/entries/**    C2SP tlog-tiles
    disclosures.jsonl     optional: openings, one {ref, field, salt, value} a line
    README · verify.py    for the reader; `verify_standalone.py` as it is
    MANIFEST              `sha256  path` of every other file, a blank line, and a signed note over these lines

`export.py` writes it, `verify.py` and `verify_standalone.py` read it. Source: ledger chapter §14.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from ledger.commitment import SALT_BYTES, SubjectKey, field_salt
from ledger.errors import EntryError, VerificationError
from ledger.event import Committed, committed_bytes, id_bytes
from ledger.note import Signer, Verifier, open_note, sign_note

POLICY, CHECKPOINT, MANIFEST = "policy.txt", "checkpoint", "MANIFEST"
DISCLOSURES, ANCHORS, README, VERIFIER = "disclosures.jsonl", "anchors.jsonl", "README", "verify.py"
TILES = "tile/"
NAMES = frozenset({POLICY, CHECKPOINT, DISCLOSURES, ANCHORS, README, VERIFIER, "checkpoint.pq", "keys.jsonl"})
PROOF_SUFFIX, ENTRY_SUFFIX = ".tlog-proof", ".entry"

_HEADER = "chartbridge manifest v1"
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*)")
_HEAD = re.compile(
    rf"{_HEADER}\norigin ([^\n]+)\nsize (0|[1-9]\d{{0,18}})\nentries (0|[1-9]\d{{0,18}}) (0|[1-9]\d{{0,18}})\n"
    r"sha256 ([0-9a-f]{64})\n"
)
_DISCLOSURE = {"ref", "field", "salt", "value"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the operator says is in the folder: entries [start, end) of a tree of `size`, and each file's digest."""

    origin: str
    size: int
    start: int
    end: int
    files: Mapping[str, str] = field(repr=False)

    def sign(self, signer: Signer) -> bytes:
        lines = "".join(f"{digest}  {path}\n" for path, digest in sorted(self.files.items()))
        head = f"origin {self.origin}\nsize {self.size}\nentries {self.start} {self.end}"
        text = f"{_HEADER}\n{head}\nsha256 {sha256(lines.encode()).hexdigest()}\n"
        return f"{lines}\n{sign_note(text, [signer])}".encode()


def open_manifest(data: bytes, verifiers: list[Verifier]) -> Manifest:
    """Raises VerificationError unless the manifest is well formed and one of these keys signed it."""
    lines, blank, note = data.partition(b"\n\n")
    match = _HEAD.fullmatch(open_note(note, verifiers).text) if blank else None
    if match is None or sha256(lines + b"\n").hexdigest() != match[5]:
        raise VerificationError("manifest is not what was signed")
    files: dict[str, str] = {}
    for line in lines.decode("ascii", "replace").split("\n"):
        found = _LINE.fullmatch(line)
        if found is None or found[2] in files:
            raise VerificationError("manifest is malformed")
        files[found[2]] = found[1]
    return Manifest(match[1], int(match[2]), int(match[3]), int(match[4]), files)


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What opens one committed field of one entry."""

    ref: str
    field: str
    salt: bytes
    value: Committed

    def line(self) -> str:
        if isinstance(self.value, bytes):
            raise EntryError("a disclosed value is text, or of the grammar")
        shown = {"ref": self.ref, "field": self.field, "salt": self.salt.hex(), "value": self.value}
        return json.dumps(shown, ensure_ascii=False, separators=(",", ":")) + "\n"


def disclose(key: SubjectKey, ref: str, event_id: str, values: Mapping[str, Committed]) -> list[Disclosure]:
    """The openings of one entry's fields, for whoever may have them."""
    raw = id_bytes(event_id)
    return [Disclosure(ref, name, field_salt(key, raw, name), value) for name, value in sorted(values.items())]


def parse_disclosure(line: bytes) -> Disclosure:
    """Raises VerificationError for anything that is not one."""
    try:
        value: Any = json.loads(line)
        if type(value) is not dict or value.keys() != _DISCLOSURE:
            raise VerificationError("not a disclosure")
        ref, name, salt = value["ref"], value["field"], bytes.fromhex(value["salt"])
        if type(ref) is not str or type(name) is not str or len(salt) != SALT_BYTES:
            raise VerificationError("not a disclosure")
        committed_bytes(value["value"])
    except (ValueError, TypeError, RecursionError, EntryError) as exc:
        raise VerificationError("not a disclosure") from exc
    return Disclosure(ref, name, salt, value["value"])
