"""What a node says after a fault, as the checker's plain values: its journal, its store and its log, opened.

The log's side is not asked what it holds but whether it commits to it: an entry counts for the content lines of its
transaction only if its commitment opens to their root. So a lost, doubled or altered version shows on one side alone.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapter.access import audit
from adapter.node import Node
from adapter.seal.keyring import OwnerKeys
from adapter.store.engine import Hot
from adapter.store.resources import Sealed
from ledger.commitment import SubjectKey, field_salt, opens
from ledger.event import decode as decode_entry
from ledger.merkle import root_of
from ledger.note import Ed25519Verifier, open_checkpoint
from ledger.store.base import Entry
from mappings.fhir.codec import Json, decode
from tests.faults.check import Effect, Kept, Sent, Violation, check
from tests.simulators.hospital import Numbered

EVERYTHING = 1_000_000
_VERSIONS = """
    SELECT r.org, r.rid, r.type, r.fid, v.owner, v.ver, v.txn, v.at, v.op, v.body, r.ver
    FROM resource r JOIN version v ON v.rid = r.rid ORDER BY v.rid, v.ver
"""


@dataclass(frozen=True, slots=True)
class Version:
    """One stored version, opened."""

    sealed: Sealed
    resource: Json
    line: str


async def violations(node: Node, acknowledged: Sequence[Numbered]) -> list[Violation]:
    """Everything that is not as promised, once the node has settled."""
    sent = [Sent(one.stream, one.number, one.body) for one in acknowledged]
    found = [one for one in await versions(node) if one.sealed.type != "Consent"]  # has entries of a kind of its own
    return check(sent, await kept(node), effects(found), [one.line for one in found], await logged(node, found))


async def kept(node: Node) -> list[Kept]:
    """The journal's accepted rows with their bodies, and the states that the store gives them."""
    rows = await node.journal.read(0, EVERYTHING)
    bodies = await node.journal.bodies(rows)
    found = await node.site.store.read(lambda conn: Hot(conn).all("SELECT seq, state FROM message_state"))
    states: dict[int, str] = {row[0]: row[1] for row in found}
    return [Kept(row.seq, bodies[row.seq], states.get(row.seq, "new")) for row in rows]


async def versions(node: Node) -> list[Version]:
    """Every version of every resource, oldest first within a resource."""
    rows = await node.site.store.read(lambda conn: Hot(conn).all(_VERSIONS))
    sealed = [Sealed(*row) for row in rows if row[5]]
    keyring = node.site.keyring
    await keyring.load({one.owner for one in sealed})
    found = []
    for one in sealed:
        body = one.open(keyring.owner(one.owner))
        resource = decode(body)
        found.append(Version(one, resource, audit.line(one.op, one.type, resource["id"], one.ver, body)))
    return found


def effects(found: Sequence[Version]) -> list[Effect]:
    """The versions that carry a number of `tests/simulators/hospital.py`."""
    patients = {
        one.resource["id"]: str(int(one.resource["identifier"][0]["value"]) - 4000)
        for one in found
        if one.sealed.type == "Patient" and "identifier" in one.resource
    }
    shown = []
    for one in found:
        if one.sealed.type == "Patient" and "address" in one.resource:
            stream = f"a08-{patients[one.resource['id']]}"
            number = int(one.resource["address"][0]["line"][0].split()[1])
        elif one.sealed.type == "Observation":
            stream = f"oru-{patients[one.resource['subject']['reference'].removeprefix('Patient/')]}"
            number = int(one.resource["valueQuantity"]["value"])
        else:
            continue
        shown.append(Effect(stream, one.sealed.ver, number, one.line))
    return shown


async def logged(node: Node, found: Sequence[Version]) -> list[str]:
    """The content lines that the log's entries commit to, as often as they do."""
    of_txn: dict[tuple[int, int], list[str]] = defaultdict(list)
    for version in found:
        of_txn[version.sealed.txn, version.sealed.owner].append(version.line)
    sql = "SELECT id, txn, owner FROM outbox"
    owed = {row[0]: (row[1], row[2]) for row in await node.site.store.read(lambda conn: Hot(conn).all(sql))}
    lines: list[str] = []
    for entry in await node.site.ledger.entries(0, node.site.ledger.size):
        if not decode_entry(entry.body)["type"].startswith("transform."):
            continue
        txn, owner = owed.get(entry.id, (0, 0))
        said = of_txn.get((txn, owner), [])
        keys = node.site.keyring.owner(owner)
        lines += said if _commits_to(entry, keys, said) else [f"entry {entry.index} commits to nothing that is stored"]
    return lines


def _commits_to(entry: Entry, keys: OwnerKeys, lines: Sequence[str]) -> bool:
    committed: Mapping[str, str] = decode_entry(entry.body)["c"]
    salt = field_salt(SubjectKey(keys.owner, keys.commitment), entry.id, "content")
    return opens(committed["content"], salt, "content", audit.content_root(lines).encode())


async def foreign_checkpoints(node: Node, published: Sequence[bytes]) -> list[int]:
    """Sizes of published checkpoints that are no state of this log (invariant I5)."""
    ledger = node.site.ledger
    verifier = Ed25519Verifier.of(ledger.vkey)
    leaves = [entry.leaf for entry in await ledger.entries(0, ledger.size)]
    notes = [open_checkpoint(note, ledger.origin, verifier) for note in published]
    return [note.size for note in notes if root_of(leaves[: note.size]) != note.root or note.size > len(leaves)]


async def unrecorded(node: Node, references: Sequence[str]) -> list[str]:
    """References of answered reads that are no permit in the log, or have lost their detail (invariant I6)."""
    missing = []
    for reference in references:
        index = int(reference.partition(":")[2])
        for entry in await node.site.ledger.entries(index, index + 1):
            said = decode_entry(entry.body)
            if said["type"].startswith("access.") and said.get("outcome") and await node.site.vault.details([entry.id]):
                break
        else:
            missing.append(reference)
    return missing
