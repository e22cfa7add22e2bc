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

from adapter.seal.blind import keyed_id, name_of
from adapter.seal.keyring import OrganisationKeys
from adapter.store.index import LOCATED, OWNER_SAYS, identities
from adapter.store.names import references
from adapter.store.statements import Hot
from adapter.store.unit import Convert, Delete, Entry
from mappings.fhir.codec import Json
from mappings.fhir.search import Query
from mappings.fhir.search_operands import Reference, Token, Uri

# One statement, for each is a round trip; what it locks it has found by then, and locks in order.
_PATIENTS = """
    WITH named(owner) AS (SELECT r.owner FROM resource r WHERE r.fid IN (…)
                          UNION SELECT r.owner FROM alias a JOIN resource r ON r.rid = a.rid WHERE a.fid IN (…)),
         held(owner, "into") AS (SELECT p.owner, p."into" FROM owner p JOIN named n ON n.owner = p.owner
                                 WHERE p.kind = 'patient')
    SELECT o.owner FROM owner o WHERE o.owner IN (SELECT owner FROM held UNION SELECT "into" FROM held)
"""


def take(hot: Hot, org: OrganisationKeys, entries: Iterable[Entry], criteria: Iterable[Query] = ()) -> None:
    """Lock all that writing these entries, where these criteria are met or not, may decide on."""
    if not hot.several:
        return
    names, bodies, tokens = set[str](), list[Json](), set[str]()
    for query in criteria:
        tokens |= set(asked(query))
        names |= set(_named(query))
    for entry in entries:
        if isinstance(entry, Delete):
            names.add(f"{entry.type}/{entry.id}")
            continue
        body = entry.mapped.body if isinstance(entry, Convert) else entry.resource
        bodies.append(body)
        tokens |= set(identities(body))
        names.add(f"{body['resourceType']}/{body['id']}")
    macs = (org.locate(name.encode()) for name in tokens)
    hot.lock(org.org, {*macs, *(_fid(org, name) for name in names)})
    _hold_patients(hot, org, names | references(*bodies))


def asked(query: Query) -> Iterator[str]:
    """The names of tokens that the criteria ask for. Of an identifier its value, whatever its system: content that has
    it is found by the value alone, too."""
    for criterion in query.criteria:
        patient = criterion.chain.get("Patient") if criterion.chain and criterion.code in OWNER_SAYS else None
        kind, one = ("Patient", patient) if patient is not None else (query.type, criterion)
        if one.code in LOCATED:
            for operand in one.operands:
                if isinstance(operand, Token) and operand.code:
                    yield name_of(kind, one.code, operand.code.casefold())
                elif isinstance(operand, Uri):
                    yield name_of(kind, one.code, operand.uri)


def _named(query: Query) -> Iterator[str]:
    """The resources that the criteria name: by id, and the patients."""
    for criterion in query.criteria:
        for operand in criterion.operands:
            if criterion.code == "_id" and isinstance(operand, Token) and operand.code:
                yield f"{query.type}/{operand.code}"
            elif criterion.code in OWNER_SAYS and isinstance(operand, Reference) and operand.id:
                yield f"{operand.type or 'Patient'}/{operand.id}"


def _fid(org: OrganisationKeys, reference: str) -> bytes:
    resource_type, _, logical_id = reference.partition("/")
    return keyed_id(org.locate, resource_type, logical_id)


def _hold_patients(hot: Hot, org: OrganisationKeys, names: Iterable[str]) -> None:
    """Whom these names lead to, and into whom they were merged."""
    hot.hold(_PATIENTS, "o.owner", [_fid(org, name) for name in names])
