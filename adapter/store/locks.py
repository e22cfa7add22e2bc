"""What a unit locks before it looks at anything, where several write at once.

1. The names that its content goes by: the keyed ids of what it writes, the identifiers and canonical URLs of it, and
   what its criteria ask for. Each is hashed to one of the organisation's 1,024 advisory buckets, taken in rising order.
2. The rows of the patients whose data it names, in the order of their numbers. Owner 0, which all share, is never
   locked: shared resources lock their names.

Both hold until the transaction ends, so they are taken once for all units of a transaction and before its first
SAVEPOINT, whose rollback would let them go. A statement that comes later sees all that was committed under them. So a
plain create and a conditional one cannot both win. A file has one writer: nothing is locked there.
Source: fhir chapter §8.
"""

from collections.abc import Iterable, Iterator

from adapter.seal.blind import keyed_id
from adapter.seal.keyring import OrganisationKeys
from adapter.store import owners
from adapter.store.index import identities
from adapter.store.names import references
from adapter.store.statements import Hot
from adapter.store.unit import Convert, Delete, Unit
from mappings.fhir.codec import Json


def take(hot: Hot, org: OrganisationKeys, units: Iterable[Unit], criteria: Iterable[str] = ()) -> None:
    """Lock all that these units may decide on. `criteria` are the names of tokens (`blind.name_of`) asked for."""
    if not hot.several:
        return
    names, bodies = set[str](), list[Json]()
    for unit in units:
        for entry in unit.entries:
            if isinstance(entry, Delete):
                names.add(f"{entry.type}/{entry.id}")
                continue
            body = entry.mapped.body if isinstance(entry, Convert) else entry.resource
            bodies.append(body)
            names.add(f"{body['resourceType']}/{body['id']}")
    tokens = {*_tokens(org, bodies, criteria), *(_fid(org, name) for name in names)}
    hot.lock(org.org, tokens)
    _hold_patients(hot, org, names | references(*bodies))


def _tokens(org: OrganisationKeys, bodies: Iterable[Json], criteria: Iterable[str]) -> Iterator[bytes]:
    for body in bodies:
        yield from (org.locate(name.encode()) for name in identities(body))
    yield from (org.locate(name.encode()) for name in criteria)


def _fid(org: OrganisationKeys, reference: str) -> bytes:
    resource_type, _, logical_id = reference.partition("/")
    return keyed_id(org.locate, resource_type, logical_id)


def _hold_patients(hot: Hot, org: OrganisationKeys, names: Iterable[str]) -> None:
    """Whom these names lead to, and into whom they were merged."""
    fids = [_fid(org, name) for name in names]
    through = "SELECT r.owner FROM alias a JOIN resource r ON r.rid = a.rid WHERE a.fid IN (…)"
    found = {
        row[0] for sql in ("SELECT owner FROM resource WHERE fid IN (…)", through) for row in hot.each_in(sql, fids)
    }
    merged = 'SELECT owner, "into" FROM owner WHERE kind = ? AND owner IN (…)'
    rows = hot.each_in(merged, sorted(found), (owners.PATIENT,))
    wanted = {owner for row in rows for owner in row if owner is not None}
    hot.hold("SELECT owner FROM owner WHERE owner IN (…)", "owner", sorted(wanted))
