"""Verify a kit offline: a folder that `ledger export` wrote, with nothing but the log's public key.

The checks, in order; each is pass, fail, or unknown where something needed is missing:
1. policy, checkpoint, witnesses, manifest: whose log it is, that the tree head is the log's, cosigned by a quorum where
   the policy asks for one, and that the folder is what the log's operator signed
2. entries, tiles, tree, consistency, times: every entry in its one encoding, no id twice, time never back; every hash
   tile as recomputed; the root is the signed one; older checkpoints and receipts that the verifier trusts are prefixes
   of this tree; entries fit the times at which witnesses signed
3. disclosures, replay: openings open their commitments; permits whose basis is opened rest on what held
4. anchors: this program reads no chain

What a folder does not claim is not checked and not unknown: openings, witnesses of a policy without quorum, anchors.
The key comes from `policy.txt` or, better, from the verifier (`vkey`): whoever forged a folder wrote its policy too.
`verify_standalone.py` says the same in one file without this package; a test holds the two against each other.
Source: ledger chapter §14; RFC 6962; C2SP signed-note, tlog-checkpoint, tlog-tiles, tlog-cosignature, tlog-policy.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256
from pathlib import Path

from ledger import kit
from ledger.cosignature import COSIGNATURE, CosignatureVerifier
from ledger.errors import VerificationError
from ledger.kit import Manifest
from ledger.merkle import leaf_hash, verify_inclusion
from ledger.note import Checkpoint, Ed25519Verifier, Note, Verifier, decode_vkey, key_id, open_note, parse_note
from ledger.policy import NONE, Policy, parse_policy
from ledger.proof import parse_proof
from ledger.rebuild import Rebuilt, check_disclosures, check_times, rebuild
from ledger.replay import Verdict

BLOCK_BYTES = 1 << 20  # read and hashed at a time


class Exit(IntEnum):
    """Source: operations chapter §1."""

    VERIFIED = 0
    NOT_FOUND = 5
    FAILED = 7
    CANNOT_TELL = 9


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report; `state` is pass, fail or unknown."""

    name: str
    state: str
    found: str

    def __str__(self) -> str:
        return f"{self.state:<9}{self.name:<13}{self.found}"


@dataclass(frozen=True, slots=True)
class Report:
    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> Exit:
        states = {check.state for check in self.checks}
        return Exit.FAILED if "fail" in states else Exit.CANNOT_TELL if "unknown" in states else Exit.VERIFIED

    @property
    def verdict(self) -> str:
        return {0: "verified", 7: "failed", 9: "cannot tell"}[self.exit_code]

    def __str__(self) -> str:
        return "\n".join([*map(str, self.checks), f"verdict: {self.verdict}"])


@dataclass(slots=True)
class Trusted:
    """What the verifier brings along: the log's key, and notes of older checkpoints or receipts by name."""

    vkey: str = ""
    notes: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class _Bench:
    """The checks so far, and what they established."""

    checks: list[Check] = field(default_factory=list)
    policy: Policy | None = None
    logs: list[Verifier] = field(default_factory=list)
    cosigners: dict[tuple[str, bytes], str] = field(default_factory=dict)  # (key name, key id) → name in the policy
    witnesses: list[Verifier] = field(default_factory=list)
    checkpoint: Checkpoint | None = None
    manifest: Manifest | None = None
    times: list[tuple[int, int]] = field(default_factory=list)  # size, cosigned POSIX seconds

    def say(self, name: str, state: str, found: str) -> None:
        self.checks.append(Check(name, state, found))


def verify_folder(folder: Path, trusted: Trusted | None = None) -> Report:
    """Every check that applies to this folder. Reads only; raises OSError where a file cannot be read."""
    trusted = trusted or Trusted()
    bench = _Bench()
    _policy(bench, _read(folder / kit.POLICY), trusted.vkey)
    _checkpoint(bench, _read(folder / kit.CHECKPOINT))
    place, manifest = len(bench.checks), _read(folder / kit.MANIFEST)
    bench.manifest = _signed_manifest(manifest, bench.logs)
    older = [(name, _trusted(bench, data)) for name, data in trusted.notes.items()]
    with ThreadPoolExecutor(1, "verify") as pool:
        digests = pool.submit(_digests, folder)  # beside the tree: hashing a file lets other threads run
        rebuilt = _rebuilt(bench, folder, [checkpoint.size for _, checkpoint in older if checkpoint])
        bench.checks.insert(place, _manifest(bench, manifest, digests))
    _tree(bench, rebuilt)
    for name, checkpoint in older:
        _consistency(bench, name, checkpoint, rebuilt)
    _times(bench, rebuilt)
    _openings(bench, rebuilt)
    if (folder / kit.ANCHORS).exists():
        bench.say("anchors", "unknown", "this program reads no chain")
    return Report(tuple(bench.checks))


def verify_proof(file: Path, trusted: Trusted | None = None, entry: Path | None = None) -> Report:
    """A receipt (`X.tlog-proof`) with its entry (`X.entry`) and the policy beside it."""
    trusted = trusted or Trusted()
    bench = _Bench()
    _policy(bench, _read(file.with_name(kit.POLICY)), trusted.vkey)
    body = _read(entry or file.with_suffix(kit.ENTRY_SUFFIX))
    try:
        proof = parse_proof(file.read_bytes().decode())
    except (VerificationError, UnicodeDecodeError):
        bench.say("proof", "fail", "this is no tlog-proof")
        return Report(tuple(bench.checks))
    _checkpoint(bench, proof.note.encode())
    checkpoint = bench.checkpoint
    if body is None:
        bench.say("inclusion", "unknown", f"the entry of index {proof.index} is not here")
    elif checkpoint is None:
        bench.say("inclusion", "unknown", "no signed checkpoint to hold it against")
    else:
        try:
            verify_inclusion(leaf_hash(body), proof.index, checkpoint.size, proof.hashes, checkpoint.root)
            bench.say("inclusion", "pass", f"entry {proof.index} is in the tree of size {checkpoint.size}")
        except VerificationError:
            bench.say("inclusion", "fail", f"the entry is not leaf {proof.index} of the tree of size {checkpoint.size}")
    return Report(tuple(bench.checks))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _policy(bench: _Bench, data: bytes | None, vkey: str) -> None:
    """Whose log it is, and who must have cosigned."""
    try:
        bench.policy = None if data is None else parse_policy(data)
    except VerificationError:
        bench.say("policy", "fail", "policy.txt is no trust policy")
        return
    try:
        given = Ed25519Verifier.of(vkey) if vkey else None
    except VerificationError:
        bench.say("policy", "fail", "the given key is no Ed25519 verifier key")
        return
    policy = bench.policy or Policy(())
    bench.logs = [given] if given else [log for log in map(_log, policy.logs) if log]
    _know_witnesses(bench, policy)
    if bench.policy is None:
        bench.say("policy", "unknown", "no policy.txt")
    elif given is not None and vkey not in policy.logs:
        bench.say("policy", "fail", "policy.txt does not name the given key")
    elif not bench.logs:
        bench.say("policy", "unknown", "policy.txt names no log key that this program reads")
    else:
        rule = "self-attested" if policy.quorum == NONE else f"quorum {policy.quorum}"
        keys = ", ".join(f"{log.name}+{log.key_id.hex()}" for log in bench.logs)
        bench.say("policy", "pass", f"{keys}, {rule}")


def _log(vkey: str) -> Verifier | None:
    try:
        return Ed25519Verifier.of(vkey)
    except VerificationError:  # a kind that this program does not read
        return None


def _know_witnesses(bench: _Bench, policy: Policy) -> None:
    for name, vkey in policy.witnesses.items():
        key_name, kind, public = decode_vkey(vkey)
        bench.cosigners[(key_name, key_id(key_name, kind, public))] = name
        if kind == COSIGNATURE and len(public) == 32:
            bench.witnesses.append(CosignatureVerifier.of(vkey))


def _checkpoint(bench: _Bench, data: bytes | None) -> None:
    """The signed tree head, and its cosignatures."""
    if data is None:
        bench.say("checkpoint", "unknown", "no checkpoint")
        return
    if not bench.logs:
        bench.say("checkpoint", "unknown", "no key to check it with")
        return
    try:
        bench.checkpoint = _open(data, bench.logs)
    except VerificationError:
        bench.say("checkpoint", "fail", "checkpoint is not signed by this log")
        return
    found = bench.checkpoint
    bench.say("checkpoint", "pass", f"size {found.size}, root {found.root.hex()}")
    if bench.policy is not None and bench.policy.quorum != NONE:
        _witnesses(bench, bench.policy, parse_note(data), found.size)


def _open(data: bytes, logs: Iterable[Verifier]) -> Checkpoint:
    """Signed by a log that is named as its origin says."""
    note = open_note(data, logs)
    checkpoint = Checkpoint.parse(note.text)
    if all(signature.name != checkpoint.origin for signature in note.signatures):
        raise VerificationError("checkpoint is not signed by the log that it names")
    return checkpoint


def _witnesses(bench: _Bench, policy: Policy, note: Note, size: int) -> None:
    """The quorum; signatures of a kind that this program does not read might still reach it."""
    good, unread = set[str](), set[str]()
    text = note.text.encode()
    readable = {(witness.name, witness.key_id): witness for witness in bench.witnesses}
    for signature in note.signatures:
        key = (signature.name, signature.key_id)
        if key in readable:
            if not _cosigned(readable[key], text, signature.signature):
                bench.say("witnesses", "fail", f"the cosignature of {bench.cosigners[key]} does not hold")
                return
            good.add(bench.cosigners[key])
            bench.times.append((size, int.from_bytes(signature.signature[:8], "big")))
        elif key in bench.cosigners:
            unread.add(bench.cosigners[key])
    if policy.reached(good):
        bench.say("witnesses", "pass", f"quorum {policy.quorum}: {', '.join(sorted(good))}")
    elif policy.reached(good | unread):
        bench.say("witnesses", "unknown", f"quorum {policy.quorum} rests on signatures that this program does not read")
    else:
        bench.say("witnesses", "fail", f"quorum {policy.quorum} is not reached")


def _cosigned(witness: Verifier, text: bytes, signature: bytes) -> bool:
    try:
        return witness.verify(text, signature)
    except VerificationError:
        return False


def _trusted(bench: _Bench, data: bytes) -> Checkpoint | None:
    """An older checkpoint, or the one in a receipt, signed by this log; None where it is not."""
    if data.startswith(b"c2sp.org/tlog-proof@"):
        data = data.partition(b"\n\n")[2]
    try:
        checkpoint = _open(data, bench.logs)
    except VerificationError:
        return None
    readable = {(witness.name, witness.key_id): witness for witness in bench.witnesses}
    for signature in parse_note(data).signatures:
        witness = readable.get((signature.name, signature.key_id))
        if witness is not None and _cosigned(witness, checkpoint.text().encode(), signature.signature):
            bench.times.append((checkpoint.size, int.from_bytes(signature.signature[:8], "big")))
    return checkpoint


def _signed_manifest(data: bytes | None, logs: list[Verifier]) -> Manifest | None:
    try:
        return None if data is None else kit.open_manifest(data, logs)
    except VerificationError:
        return None


def _manifest(bench: _Bench, data: bytes | None, digests: "Future[dict[str, str]]") -> Check:
    """Every file is there, as signed, and no other that this program reads."""
    manifest, checkpoint = bench.manifest, bench.checkpoint
    if data is None:
        return Check("manifest", "unknown", "no MANIFEST")
    if not bench.logs:
        return Check("manifest", "unknown", "no key to check it with")
    if manifest is None:
        return Check("manifest", "fail", "MANIFEST is not what the log's operator signed")
    if checkpoint and (manifest.origin, manifest.size) != (checkpoint.origin, checkpoint.size):
        return Check("manifest", "fail", "MANIFEST is of another checkpoint")
    return Check("manifest", *_compared(manifest.files, digests.result()))


def _compared(signed: Mapping[str, str], found: Mapping[str, str]) -> tuple[str, str]:
    for path in sorted(signed):
        if found.get(path, signed[path]) != signed[path]:
            return "fail", f"{path} is not what was signed"
    for path in sorted(found):
        if path not in signed and (path in kit.NAMES or path.startswith(kit.TILES)):
            return "fail", f"{path} is not in MANIFEST"
    missing = sum(path not in found for path in signed)
    if missing:
        return "unknown", f"{missing} of {len(signed)} files are missing"
    return "pass", f"{len(signed)} files as signed"


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below the folder but the manifest."""
    found = {}
    for below, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(below, name)
            with open(path, "rb") as file:
                digest = sha256()
                while block := file.read(BLOCK_BYTES):
                    digest.update(block)
            found[os.path.relpath(path, folder).replace(os.sep, "/")] = digest.hexdigest()
    found.pop(kit.MANIFEST, None)
    return found


def _rebuilt(bench: _Bench, folder: Path, sizes: Sequence[int]) -> Rebuilt | None:
    checkpoint, manifest = bench.checkpoint, bench.manifest
    if checkpoint is None:
        return None
    span = (0, checkpoint.size)
    if manifest is not None and manifest.start <= manifest.end <= checkpoint.size == manifest.size:
        span = (manifest.start, manifest.end)
    edges = [size for size, _ in bench.times]
    shard = checkpoint.origin.rpartition("/")[2]
    return rebuild(_reader(folder), checkpoint, span, sizes, edges, shard)


def _reader(folder: Path) -> Callable[[str], bytes | None]:
    return lambda name: _read(folder / name)


def _tree(bench: _Bench, rebuilt: Rebuilt | None) -> None:
    if rebuilt is None:
        for name in ("entries", "tiles", "tree"):
            bench.say(name, "unknown", "no signed checkpoint to hold them against")
        return
    bench.say("entries", *rebuilt.entries)
    bench.say("tiles", *rebuilt.tiles)
    bench.say("tree", *rebuilt.tree)


def _consistency(bench: _Bench, name: str, checkpoint: Checkpoint | None, rebuilt: Rebuilt | None) -> None:
    """The older tree is a prefix of this one."""
    here = bench.checkpoint
    if not bench.logs or here is None or rebuilt is None:
        bench.say("consistency", "unknown", f"{name}: no signed checkpoint to hold it against")
    elif checkpoint is None or checkpoint.origin != here.origin:
        bench.say("consistency", "fail", f"{name} is not signed by this log")
    elif checkpoint.size > here.size:
        bench.say("consistency", "unknown", f"{name} has size {checkpoint.size}, which this folder does not reach")
    elif rebuilt.roots.get(checkpoint.size) is None:
        bench.say("consistency", "unknown", f"{name}: leaves before {checkpoint.size} are missing")
    elif rebuilt.roots[checkpoint.size] != checkpoint.root:
        bench.say("consistency", "fail", f"{name}: this log had another root at size {checkpoint.size}")
    else:
        bench.say("consistency", "pass", f"{name}: the tree of size {checkpoint.size} begins this one")


def _times(bench: _Bench, rebuilt: Rebuilt | None) -> None:
    if bench.times and rebuilt is not None:
        bench.say("times", *check_times(bench.times, rebuilt))


def _openings(bench: _Bench, rebuilt: Rebuilt | None) -> None:
    if rebuilt is None or rebuilt.openings is None:
        return
    bench.say("disclosures", *check_disclosures(rebuilt.openings))
    replay = rebuilt.replay
    judged = len(replay.findings) - replay.count(Verdict.UNOPENED)
    if not judged:
        return
    wrong = replay.first(Verdict.UNJUSTIFIED)
    if wrong is not None:
        count = replay.count(Verdict.UNJUSTIFIED)
        bench.say("replay", "fail", f"{count} unjustified, first {replay.shard}:{wrong.index}: {wrong.why}")
    else:
        bench.say("replay", "pass", f"{judged} justified, {len(replay.findings) - judged} unopened")
