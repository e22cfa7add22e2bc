"""What the ledger must be told, written with the change it is about.

A row fixes the event's id, so that a retry is the same event, and holds its facts sealed under the owner's body key.
The rows of one owner are appended in order. Once an event is durable its row keeps only where it stands: the facts are
in the log's commitments and, where the type has one, in the vault's sealed detail.
Source: fhir chapter §5; access chapter §9; ledger chapter §6.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import Connection

from adapter.seal.envelope import seal_record, unseal_record
from adapter.seal.keyring import OwnerKeys
from adapter.store import messages, owners
from adapter.store.engine import Hot, Row
from adapter.store.unit import EventParts

KIND = "outbox"
CHANNEL = "outbox"  # on which deliverers in other processes hear that something waits
RAISES_EPOCH = "consent."  # recording a consent's index changes who may see the patient (access chapter §9)
_COLUMNS = "n, org, id, owner, txn, kind, rid, ver, epoch, payload"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(EventParts).decode


@dataclass(frozen=True, slots=True)
class Pending:
    """One event that is not in the log yet. `epoch`: the owner's in its transaction, for the types that raise it."""

    n: int
    org: str
    id: bytes
    owner: int
    txn: int
    kind: str
    rid: int | None
    ver: int | None
    epoch: int | None
    payload: bytes = field(repr=False)

    @property
    def event_id(self) -> str:
        """UUIDv7 text."""
        return str(uuid.UUID(bytes=self.id))

    def open(self, keys: OwnerKeys) -> EventParts:
        """What it says. `secret["content"]` are the lines `op Type/id/_history/version sha256`."""
        return _decode(unseal_record(keys, self.org, KIND, self.id, self.payload))


def row(
    n: int,
    event_id: bytes,
    keys: OwnerKeys,
    txn: int,
    parts: EventParts,
    nonce: bytes,
    about: tuple[int, int] | None = None,
    epoch: int | None = None,
) -> Row:
    """A row for `write`; `about` is the version (rid, ver) whose reference will be asked for."""
    payload = seal_record(keys, keys.org, KIND, event_id, _encode(parts), nonce)
    rid, ver = about or (None, None)
    return (n, keys.org, event_id, keys.owner, txn, parts.type, rid, ver, epoch, payload)


def write(hot: Hot, rows: Sequence[Row]) -> None:
    """Write rows, and tell whoever delivers them."""
    if not rows:
        return
    hot.many(f"INSERT INTO outbox({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)  # noqa: S608
    hot.notify(CHANNEL)


def pending(conn: Connection, org: str, limit: int = 1_000) -> list[Pending]:
    """The oldest events that are not in the log."""
    sql = f"SELECT {_COLUMNS} FROM outbox WHERE ref IS NULL AND org = ? ORDER BY n LIMIT ?"  # noqa: S608
    return [Pending(*found) for found in Hot(conn).all(sql, (org, limit))]


def pending_of(conn: Connection, org: str, owners_: Iterable[int]) -> list[Pending]:
    """All that these owners are owed, oldest first: whoever waits for one appends what came before it."""
    sql = f"SELECT {_COLUMNS} FROM outbox WHERE ref IS NULL AND org = ? AND owner IN (…)"  # noqa: S608
    found = {row[0]: Pending(*row) for row in Hot(conn).each_in(sql, sorted(set(owners_)), (org,))}
    return [found[n] for n in sorted(found)]


def reference(conn: Connection, rid: int, ver: int) -> str | None:
    """Where the event about this version stands in the log; None while it does not."""
    sql = "SELECT ref FROM outbox WHERE rid = ? AND ver = ? ORDER BY n DESC LIMIT 1"
    found = Hot(conn).one(sql, (rid, ver))
    return found[0] if found else None


def mark(conn: Connection, org: str, refs: Sequence[tuple[Pending, str]], at: int) -> None:
    """Write down where events stand. Done twice, the first stands; messages whose events are all logged move on."""
    hot = Hot(conn)
    for event, ref in refs:
        if hot.run("UPDATE outbox SET ref = ?, payload = NULL WHERE n = ? AND ref IS NULL", (ref, event.n)):
            if event.kind.startswith(RAISES_EPOCH):
                owners.raise_epoch(hot, event.owner)
    messages.logged(hot, org, {event.txn for event, _ in refs}, at)


def holds(conn: Connection, event_id: bytes) -> bool:
    """Whether this event was made here."""
    return Hot(conn).one("SELECT 1 FROM outbox WHERE id = ?", (event_id,)) is not None


def age(conn: Connection, org: str) -> int | None:
    """When the oldest event that is not in the log was written, in milliseconds; None when nothing waits."""
    sql = """
        SELECT t.at FROM outbox o JOIN txn t ON t.txn = o.txn
        WHERE o.ref IS NULL AND o.org = ? ORDER BY o.n LIMIT 1
    """
    found = Hot(conn).one(sql, (org,))
    return int(found[0]) if found else None


def count(conn: Connection, org: str) -> int:
    """How many events are not in the log."""
    found = Hot(conn).one("SELECT count(*) FROM outbox WHERE ref IS NULL AND org = ?", (org,))
    return int(found[0]) if found else 0
