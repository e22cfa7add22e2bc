"""Whose data it is: patients, what they share, and patients that turned out to be one.

An owner is a number that says nothing; its key is in the vault. A merge points the retired owner `into` the survivor;
chains are flattened when they form, so one step always ends. Whoever reads one of them reads all of them, and the
consents of all hold. A composite owner stands for several patients (a group, a shared account): it has members.
Source: fhir chapter §5 (owner rule), access chapter §6 (step 2) and §9 (epoch).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

from adapter.seal.keyring import SHARED
from adapter.store import ahead
from adapter.store.engine import Hot, Row

PATIENT, COMPOSITE = "patient", "composite"


@dataclass(frozen=True, slots=True)
class OwnerFacts:
    """One patient behind an owner. `epoch` rises whenever who may see her can have changed."""

    owner: int
    kind: str
    epoch: int
    erased: bool


# Of an owner `o` that is one patient, who was never merged: what `alone` reads
ALONE = """
    o.kind = 'patient' AND o."into" IS NULL AND NOT EXISTS (SELECT 1 FROM owner m WHERE m."into" = o.owner)
"""


def alone(owner: int, epoch: int, erased_at: int | None) -> tuple[OwnerFacts, ...]:
    """What `patients` gives of such an owner."""
    return (OwnerFacts(owner, PATIENT, epoch, erased_at is not None),)


def look_ahead(conn: Connection, org: str, found: Iterable[int]) -> None:
    """Ask at once what `patients` will be asked of these, as far as each is one patient who was never merged; for the
    snapshot that keeps it."""
    if (kept := ahead.of(conn)) is None:
        raise RuntimeError("nothing keeps what this snapshot tells")
    sql = f"SELECT o.owner, o.epoch, o.erased_at FROM owner o WHERE o.org = ? AND {ALONE} AND o.owner IN (…)"  # noqa: S608 - our own
    for owner, epoch, erased_at in Hot(conn).each_in(sql, sorted(set(found) - kept.facts.keys()), (org,)):
        kept.facts[owner] = alone(owner, epoch, erased_at)


def patients(conn: Connection, org: str, owner: int) -> tuple[OwnerFacts, ...]:
    """Every patient whose consent a resource of this owner needs, each survivor before those merged into it."""
    if owner == SHARED:
        return ()
    kept = ahead.of(conn)
    if kept is None:
        return _patients(conn, org, owner)
    if owner not in kept.facts:
        kept.facts[owner] = _patients(conn, org, owner)
    return kept.facts[owner]


def _patients(conn: Connection, org: str, owner: int) -> tuple[OwnerFacts, ...]:
    sql = """
        WITH base(owner) AS (SELECT ? UNION SELECT patient FROM owner_member WHERE owner = ?),
             head(owner) AS (SELECT DISTINCT coalesce(o."into", o.owner) FROM owner o JOIN base USING (owner)
                             WHERE o.kind = 'patient')
        SELECT o.owner, o.kind, o.epoch, o.erased_at, o.owner AS head FROM owner o JOIN head USING (owner)
        WHERE o.org = ?
        UNION ALL
        SELECT o.owner, o.kind, o.epoch, o.erased_at, o."into" FROM owner o JOIN head ON o."into" = head.owner
        WHERE o.org = ?
    """
    found = sorted(Hot(conn).all(sql, (owner, owner, org, org)), key=lambda row: (row[4], row[0] != row[4], row[0]))
    return tuple(OwnerFacts(row[0], row[1], row[2], row[3] is not None) for row in found)


def read_as_one(conn: Connection, org: str, owner: int) -> tuple[int, ...]:
    """The owners under which this patient's resources lie: all that were merged, and what they share with others."""
    merged = [facts.owner for facts in patients(conn, org, owner)]
    shared = Hot(conn).each_in("SELECT owner FROM owner_member WHERE patient IN (…)", merged) if merged else ()
    return tuple(dict.fromkeys([*merged, *(row[0] for row in shared)]))


def of_patient(conn: Connection, org: str, fid: bytes) -> tuple[int, ...]:
    """The owners of the record of a Patient by her keyed id, or by an alias's; none where she was never heard of."""
    sql = f"""
        SELECT r.owner, o.epoch, o.erased_at, o.org = ? AND {ALONE}, EXISTS (
          SELECT 1 FROM owner_member b WHERE b.patient = r.owner)
        FROM resource r LEFT JOIN owner o ON o.owner = r.owner
        WHERE r.type = 'Patient' AND (r.fid = ? OR r.rid = (SELECT a.rid FROM alias a WHERE a.fid = ?))
    """  # noqa: S608 - our own
    rows = Hot(conn).all(sql, (org, fid, fid))
    return tuple(dict.fromkeys(one for row in rows for one in _read_as_one(conn, org, row)))


def _read_as_one(conn: Connection, org: str, row: Row) -> tuple[int, ...]:
    owner, epoch, erased_at, is_alone, shares = row
    if not is_alone or shares:
        return read_as_one(conn, org, owner)
    if (kept := ahead.of(conn)) is not None:
        kept.facts[owner] = alone(owner, epoch, erased_at)
    return (owner,)


def epochs(conn: Connection, org: str, owners: Iterable[int]) -> dict[int, int]:
    """The epoch of each."""
    sql = "SELECT owner, epoch FROM owner WHERE org = ? AND owner IN (…)"
    return {row[0]: row[1] for row in Hot(conn).each_in(sql, sorted(set(owners)), (org,))}


def raise_epoch(hot: Hot, owner: int) -> int:
    """One more, and what it is then. Rests on the transaction's lock."""
    row = hot.one("UPDATE owner SET epoch = epoch + 1 WHERE owner = ? RETURNING epoch", (owner,))
    if row is None:
        raise RuntimeError("an owner without a row cannot have an epoch")
    return int(row[0])


def add(hot: Hot, org: str, owner: int, kind: str, gen: int, at: int, patients_: Collection[int] = ()) -> None:
    """The row of a new owner whose key is in the vault already."""
    sql = "INSERT INTO owner(owner, org, kind, gen, epoch, at) VALUES (?, ?, ?, ?, 0, ?)"
    hot.run(sql, (owner, org, kind, gen, at))
    rows = [(owner, patient, org) for patient in patients_]
    hot.many("INSERT INTO owner_member(owner, patient, org) VALUES (?, ?, ?)", rows)


def composite(hot: Hot, wanted: frozenset[int]) -> int | None:
    """The owner that stands for exactly these patients, if there is one."""
    for (owner,) in hot.all("SELECT owner FROM owner_member WHERE patient = ?", (min(wanted),)):
        if members(hot, owner) == wanted:
            return int(owner)
    return None


def members(hot: Hot, owner: int) -> frozenset[int]:
    """The patients that an owner stands for; none where it is one itself, or nobody's."""
    return frozenset(row[0] for row in hot.all("SELECT patient FROM owner_member WHERE owner = ?", (owner,)))


def survivor(hot: Hot, owner: int) -> int:
    """The owner that this one was merged into, or itself."""
    row = hot.one('SELECT coalesce("into", owner) FROM owner WHERE owner = ?', (owner,))
    return int(row[0]) if row else owner


def merge(hot: Hot, retired: int, into: int) -> None:
    """Read `retired`, and all that were merged into it, as `into` from now on."""
    hot.run('UPDATE owner SET "into" = ? WHERE owner = ? OR "into" = ?', (into, retired, retired))
    hot.run('UPDATE owner SET "into" = NULL WHERE owner = ?', (into,))
