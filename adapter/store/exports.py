"""Bulk exports as they are kept: a job and its segments, rows of the table `job`.

- the job (`kind` export): what was asked for and how far it is, sealed under the organisation's shared key
- a segment (`kind` export-segment): one owner's part, sealed under her key: which resources, and the epoch at which she
  permitted it. The resources stay where they are sealed already; a file is read from their versions as of the job's
  transaction. Without her key nothing of a segment opens. Where she is one patient who was never merged, her epoch
  stands beside it too (`stamp`, one more than it; else 0), as it does in `owner`: whether it moved is seen unopened

A job's id is 16 random bytes; a segment's is the job's and its number, so that a job's segments are one range. `stamp`
is the fence: who goes on with a job raises it, and whoever held it before writes no more.
Source: fhir chapter §5 (table job), §10 (bulk).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec
from sqlalchemy import Connection

from adapter.seal import envelope
from adapter.seal.envelope import BodyKeys
from adapter.seal.keyring import SHARED, OrganisationKeys
from adapter.store import owners, resources
from adapter.store.engine import Hot
from adapter.store.resources import Sealed

EXPORT, SEGMENT = "export", "export-segment"
RUNNING, DONE, FAILED = "running", "done", "failed"
FILE_RESOURCES = 5_000  # in one file of the output; one owner's part is never cut
NUMBER_BYTES = 4
LARGEST = 2**31 - 1  # that the column `stamp` holds

Epochs = tuple[tuple[int, int], ...]
Level = Literal["patient", "group", "system"]


class Who(msgspec.Struct, frozen=True):
    """Who asked, as the gate decides by: it is asked again while the export is made."""

    client: str
    system: str
    value: str
    own: bool
    roles: tuple[str, ...]
    scopes: str
    purposes: tuple[str, ...]
    address: str
    jti: str


class File(msgspec.Struct):
    """A file of the output: one type, out of the segments `first` to `last`."""

    type: str
    first: int
    last: int
    count: int


class Job(msgspec.Struct):
    """What was asked, and how far it is. `members`: the owners of a group; `last`: the owner that was done last."""

    who: Who
    request: str
    level: Level
    types: tuple[str, ...]
    since: int
    txn: int
    at: int
    members: tuple[int, ...] | None
    total: int
    last: int = -1
    done: int = 0
    segments: int = 0
    files: list[File] = []

    def add(self, counts: dict[str, int]) -> int:
        """Note the next segment, which holds so many of each type; its number."""
        number, self.segments = self.segments, self.segments + 1
        for kind, count in counts.items():
            open_ = next((one for one in self.files if one.type == kind and one.count < FILE_RESOURCES), None)
            if open_ is None:
                self.files.append(File(kind, number, number, count))
            else:
                open_.last, open_.count = number, open_.count + count
        return number


class Segment(msgspec.Struct, frozen=True):
    """One owner's part: the epochs of every patient behind it, and the rows by type."""

    epochs: Epochs
    rids: dict[str, tuple[int, ...]]


class Part(NamedTuple):
    """A segment's row. `noted`: the epochs, where they stand beside it; `payload`: where it was asked for."""

    owner: int
    id: bytes
    noted: Epochs | None
    payload: bytes | None


class Kept(msgspec.Struct, frozen=True):
    """A job's row."""

    id: bytes
    state: str
    stamp: int
    job: Job


_JOB = msgspec.msgpack.Decoder(Job)
_SEGMENT = msgspec.msgpack.Decoder(Segment)


def begin(conn: Connection, keys: BodyKeys, org: str, job_id: bytes, job: Job, nonce: bytes) -> None:
    """Keep a new job."""
    sql = "INSERT INTO job(id, org, owner, kind, state, stamp, at, payload) VALUES (?, ?, NULL, ?, ?, 0, ?, ?)"
    Hot(conn).run(sql, (job_id, org, EXPORT, RUNNING, job.at, _sealed_job(keys, org, job_id, job, nonce)))


def find(conn: Connection, keys: BodyKeys, org: str, job_id: bytes) -> Kept | None:
    """A job by its id."""
    sql = "SELECT id, state, stamp, payload FROM job WHERE id = ? AND org = ? AND kind = ?"
    row = Hot(conn).one(sql, (job_id, org, EXPORT))
    if row is None:
        return None
    plain = envelope.unseal_record(keys, org, EXPORT, job_id, row[3])
    return Kept(row[0], row[1], row[2], _JOB.decode(plain))


def running(conn: Connection, org: str) -> list[bytes]:
    """The jobs that are not finished, oldest first."""
    sql = "SELECT id FROM job WHERE org = ? AND kind = ? AND state = ? ORDER BY at, id"
    return [row[0] for row in Hot(conn).all(sql, (org, EXPORT, RUNNING))]


def claim(conn: Connection, org: str, job_id: bytes, stamp: int) -> int | None:
    """Go on with a job that was seen at this stamp: from now on nobody else does. Its stamp; None where it is finished
    or gone, or another was quicker."""
    sql = "UPDATE job SET stamp = stamp + 1 WHERE id = ? AND org = ? AND kind = ? AND stamp = ? AND state = ?"
    row = Hot(conn).one(f"{sql} RETURNING stamp", (job_id, org, EXPORT, stamp, RUNNING))
    return None if row is None else int(row[0])


def save(
    conn: Connection, keys: BodyKeys, org: str, job_id: bytes, stamp: int, job: Job, state: str, nonce: bytes
) -> bool:
    """Note how far a job is; False where it was cancelled, or another goes on with it."""
    sql = "UPDATE job SET state = ?, payload = ? WHERE id = ? AND org = ? AND stamp = ? AND state = ?"
    values = (state, _sealed_job(keys, org, job_id, job, nonce), job_id, org, stamp, RUNNING)
    return Hot(conn).run(sql, values) == 1


def hold(conn: Connection, org: str, job_id: bytes, stamp: int) -> bool:
    """Whether the job is still this worker's; nobody cancels it or takes it over until this transaction ends."""
    sql = "UPDATE job SET stamp = stamp WHERE id = ? AND org = ? AND kind = ? AND stamp = ? AND state = ?"
    return Hot(conn).run(sql, (job_id, org, EXPORT, stamp, RUNNING)) == 1


def drop(conn: Connection, org: str, job_id: bytes) -> None:
    """Forget a job and its segments: the job first, which waits for a worker that is writing some of them."""
    low, high = _range(job_id, 0, 2**32 - 1)
    hot = Hot(conn)
    hot.run("DELETE FROM job WHERE org = ? AND kind = ? AND id = ?", (org, EXPORT, job_id))
    hot.run("DELETE FROM job WHERE org = ? AND kind = ? AND id >= ? AND id <= ?", (org, SEGMENT, low, high))


def expired(conn: Connection, org: str, before: int) -> list[bytes]:
    """Jobs that were asked for before then."""
    return [
        row[0]
        for row in Hot(conn).all("SELECT id FROM job WHERE org = ? AND kind = ? AND at < ?", (org, EXPORT, before))
    ]


def next_owners(conn: Connection, org: str, job: Job, limit: int) -> list[int]:
    """The owners that come next, in the order of their numbers; 0 is what belongs to nobody."""
    if job.members is not None:
        return [owner for owner in job.members if owner > job.last][:limit]
    sql = "SELECT owner FROM owner WHERE org = ? AND erased_at IS NULL AND owner > ? ORDER BY owner LIMIT ?"
    found = [row[0] for row in Hot(conn).all(sql, (org, job.last, limit))]
    return [0, *found] if job.level == "system" and job.last < 0 else found


def count_owners(conn: Connection, org: str) -> int:
    row = Hot(conn).one("SELECT count(*) FROM owner WHERE org = ? AND erased_at IS NULL", (org,))
    return int(row[0]) if row else 0


def rows_of(conn: Connection, job: Job, owner: int) -> dict[str, tuple[int, ...]]:
    """The rows of an owner that the job wants, by type. Which of them stood at its transaction is seen when they are
    read."""
    sql = "SELECT type, rid FROM resource WHERE owner = ? AND ver > 0 AND updated >= ? AND (NOT deleted OR txn > ?)"
    found: dict[str, list[int]] = {}
    for kind, rid in Hot(conn).all(f"{sql} ORDER BY type, rid", (owner, job.since, job.txn)):
        if kind in job.types:
            found.setdefault(kind, []).append(rid)
    return {kind: tuple(rids) for kind, rids in found.items()}


def add_segment(
    conn: Connection, keys: BodyKeys, org: str, job_id: bytes, number: int, owner: int, segment: Segment, at: int,
    nonce: bytes,
) -> None:  # fmt: skip
    """Keep one owner's part, under her key."""
    segment_id = job_id + number.to_bytes(NUMBER_BYTES, "big")
    payload = envelope.seal_record(keys, org, SEGMENT, segment_id, msgspec.msgpack.encode(segment), nonce)
    sql = "INSERT INTO job(id, org, owner, kind, state, stamp, at, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    Hot(conn).run(sql, (segment_id, org, owner, SEGMENT, DONE, _noted(owner, segment.epochs), at, payload))


def segments(conn: Connection, org: str, job_id: bytes, numbers: range, *, sealed: bool = True) -> list[Part]:
    """These segments, without those of who was erased since. Not `sealed`: only what has no epoch beside it is read.

    Who stands behind each is asked for at once, and told again by `stands`: for a snapshot that keeps it.
    """
    low, high = _range(job_id, numbers[0], numbers[-1])
    payload = "payload" if sealed else "CASE stamp WHEN 0 THEN payload END"
    sql = f"SELECT owner, id, stamp, {payload} FROM job WHERE org = ? AND kind = ? AND id >= ? AND id <= ? ORDER BY id"  # noqa: S608 - our own
    found = [_part(*row) for row in Hot(conn).all(sql, (org, SEGMENT, low, high))]
    owners.look_ahead(conn, org, (one.owner for one in found))
    return [one for one in found if not any(facts.erased for facts in owners.patients(conn, org, one.owner))]


def _part(owner: int, segment_id: bytes, stamp: int, payload: bytes | None) -> Part:
    noted = ((owner, stamp - 1),) if stamp else None
    return Part(int(owner), bytes(segment_id), noted, None if payload is None else bytes(payload))


def _noted(owner: int, found: Epochs) -> int:
    """An epoch as it stands beside its segment: of one patient who was never merged, else 0."""
    (first, epoch), *others = found or ((SHARED, 0),)
    return epoch + 1 if not others and first == owner != SHARED and epoch < LARGEST else 0


def opened(keys: BodyKeys, org: str, segment_id: bytes, payload: bytes) -> Segment:
    return _SEGMENT.decode(envelope.unseal_record(keys, org, SEGMENT, segment_id, payload))


def epochs(conn: Connection, org: str, owner: int) -> Epochs:
    """The epoch of every patient behind an owner: when one has moved, what she permitted is over."""
    return tuple((facts.owner, facts.epoch) for facts in owners.patients(conn, org, owner))


def stands(conn: Connection, org: str, owner: int, then: Epochs) -> bool:
    """Whether what she permitted at these epochs is not over, and nobody behind it was erased."""
    behind = owners.patients(conn, org, owner)
    return not any(facts.erased for facts in behind) and epochs(conn, org, owner) == then


def versions(conn: Connection, org: OrganisationKeys, rids: Sequence[int], job: Job) -> Iterable[Sealed]:
    """These resources as they stood at the job's transaction."""
    return [one for one in resources.as_of(conn, org, rids, job.txn) if one.at >= job.since]


def _range(job_id: bytes, first: int, last: int) -> Iterator[bytes]:
    return (job_id + number.to_bytes(NUMBER_BYTES, "big") for number in (first, last))


def _sealed_job(keys: BodyKeys, org: str, job_id: bytes, job: Job, nonce: bytes) -> bytes:
    return envelope.seal_record(keys, org, EXPORT, job_id, msgspec.msgpack.encode(job), nonce)
