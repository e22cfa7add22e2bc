"""One patient's whole record: which rows it has, and in which order. Nothing is opened here.

- *hers*: what lies under her key, or under one that she shares with others; of merged patients everything of each
- *named*: what lies under another patient's key and has her in its compartment (she took part in it)
- *shared*: what belongs to nobody (practitioners, places, drugs) and hers refers to, up to three steps away

Other patients that hers refers to are not part of it. Her Patient comes first, then hers, named and shared, each in the
order of their numbers, so that a page can go on behind a row. Source: fhir chapter §5 (owners), §10 (`$everything`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from adapter.seal.keyring import SHARED, OrganisationKeys
from adapter.store import owners, resources
from adapter.store.engine import Hot, Row
from adapter.store.resources import Sealed
from mappings.fhir.schema import schema

STEPS = 3
PATIENT, HERS, WITH_OTHERS, NAMED, NOBODYS = range(5)  # the order

_ROW = "SELECT rid, type, owner, txn, updated, deleted FROM resource WHERE ver > 0"


# From what refers: the other way round everybody's references to a practitioner would be read. The sign is for the
# databases' planners, which would begin with the few that belong to nobody.
REFERRED = """
    SELECT DISTINCT r.rid, r.type, r.owner, r.txn, r.updated, r.deleted
    FROM edge e JOIN resource r ON r.rid = e.dst WHERE r.ver > 0 AND +r.owner = ? AND e.src IN (…)
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the record, unopened. `updated` in milliseconds."""

    rid: int
    type: str
    owner: int
    txn: int
    updated: int
    deleted: bool
    rank: int


def lines(conn: Connection, org: OrganisationKeys, patient: Sealed) -> list[Line]:
    """Every row of this patient's record, deleted ones too, in order."""
    hot = Hot(conn)
    own = {facts.owner for facts in owners.patients(conn, org.org, patient.owner)}
    family = owners.read_as_one(conn, org.org, patient.owner)
    rows = hot.each_in(f"{_ROW} AND owner IN (…)", family)
    hers = [_line(row, HERS if row[2] in own else WITH_OTHERS) for row in rows]
    hers = [replace(one, rank=PATIENT) if one.type == "Patient" else one for one in hers]
    found = {one.rid: one for one in hers}
    mine = [one.rid for one in hers if one.rank == PATIENT and not one.deleted]
    for line in _named(hot, mine):
        found.setdefault(line.rid, line)
    for line in _shared(hot, list(found)):
        found.setdefault(line.rid, line)
    return sorted(found.values(), key=lambda one: (one.rank, one.rid))


def _named(hot: Hot, patients: Sequence[int]) -> Iterable[Line]:
    """What another patient's record says of her."""
    compartment = schema().compartment("Patient")
    sql = """
        SELECT r.rid, r.type, r.owner, r.txn, r.updated, r.deleted, e.param
        FROM edge e JOIN resource r ON r.rid = e.src WHERE r.ver > 0 AND e.dst IN (…)
    """
    for row in hot.each_in(sql, patients):
        if row[6] in compartment.get(row[1], ()):
            yield _line(row[:6], NAMED)


def _shared(hot: Hot, sources: Sequence[int]) -> Iterable[Line]:
    seen: dict[int, Line] = {}
    for _ in range(STEPS):
        fresh = {row[0]: _line(row, NOBODYS) for row in hot.each_in(REFERRED, sources, (SHARED,)) if row[0] not in seen}
        seen |= fresh
        sources = list(fresh)
    return seen.values()


def _line(row: Row, rank: int) -> Line:
    return Line(row[0], row[1], row[2], row[3], row[4], bool(row[5]), rank)


def sealed(conn: Connection, org: OrganisationKeys, chosen: Sequence[Line], txn: int | None) -> list[Sealed]:
    """These rows to be opened, in their order; with `txn` as they were then."""
    stand = [one.rid for one in chosen if not one.deleted and (txn is None or one.txn <= txn)]
    found = {one.rid: one for one in resources.by_rids(conn, org, stand)}
    if txn is not None:
        changed = [one.rid for one in chosen if one.txn > txn]
        found |= {one.rid: one for one in resources.as_of(conn, org, changed, txn)}
    return [found[one.rid] for one in chosen if one.rid in found]
