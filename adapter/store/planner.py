"""From a query to candidates: where to begin, and which rows to open.

1. Find an *anchor*: `_id`; a compartment, `patient` or `subject`; an identifier, the patient's or the resource's own;
   a canonical URL; a family name with a full birth date. None: 400 `too-costly`, "name a patient".
2. *Candidates*: with owners, the postings of the blind index, smallest first, until 64 or fewer are left; without a
   usable posting, all that the owners have of that type. Any other anchor names its rows itself.
3. A page after the first is cut at a transaction that had ended by page one, with all before it (`Hot.settled`):
   whoever changed later is a candidate as well, and is read as it stood then.

Every posting is a promise in one direction: what matches is among the candidates. The caller opens and matches each,
then asks the gate. Names of merged patients are one name: the plan's query holds all of them, because what was stored
before a merge says the old one.
Source: fhir chapter §6, §10.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

from sqlalchemy import Connection

from adapter.seal.blind import keyed_id, name_of, token, token_of
from adapter.seal.keyring import Keyring, NeedKeys, OrganisationKeys
from adapter.store import owners, resources
from adapter.store.cover import cover
from adapter.store.edges import pointing
from adapter.store.engine import Hot
from adapter.store.index import COMBINED, LOCATED, NAME_AND_BIRTH, OWNER_SAYS, says_system
from adapter.store.resources import Sealed
from adapter.store.tables import LOCATOR_OWNER
from mappings.fhir.codec import Json, decode
from mappings.fhir.compartments import compartment_references
from mappings.fhir.schema import schema
from mappings.fhir.search import Criterion, Query, SearchError, asked_interval, codes, normalise
from mappings.fhir.search_operands import Date, Operand, Reference, Text, Token, Uri
from mappings.fhir.temporal import instant

FEW = 64  # candidates that are opened without asking another posting
DAY = 10  # characters of a full date


@dataclass(frozen=True, slots=True)
class Plan:
    """How a query is answered. `owners` are searched through the index; `rids`, where not None, are all there is.

    `query` is the one to match: its references name merged patients by all their names.
    `compartment`: the names of the patient in the path, of whom a match has to speak; `others` are rows that belong to
    other patients and may speak of her.
    """

    query: Query
    anchor: str
    owners: tuple[int, ...]
    rids: tuple[int, ...] | None
    compartment: frozenset[str] = frozenset()
    others: tuple[int, ...] = ()

    def holds(self, resource: Json) -> bool:
        """Whether a resource lies in the compartment of the path, where there is one."""
        return not self.compartment or not self.compartment.isdisjoint(compartment_references(resource))


@dataclass(frozen=True, slots=True)
class Asking:
    """What a date in a question is measured by."""

    now: datetime
    zone: tzinfo


def plan(
    conn: Connection,
    keyring: Keyring,
    query: Query,
    asking: Asking,
    patient: str | None = None,
    txn: int | None = None,
) -> Plan:
    """Choose the anchor; `patient` is the id in a compartment's path, `txn` where the page is cut. Raises SearchError
    (too-costly), NeedKeys.
    """
    planner = _Planner(conn, keyring, query, asking, txn)
    chosen = planner.anchor(patient)
    if chosen is None:
        raise SearchError("too-costly", "name a patient, an identifier or an id")
    name, owned, rids = chosen
    if patient is None:
        return Plan(planner.expanded(owned), name, owned, rids)
    names, others = planner.compartment(patient, owned)
    return Plan(planner.expanded(owned), name, owned, rids, names, others)


def candidates(
    conn: Connection,
    keyring: Keyring,
    chosen: Plan,
    asking: Asking,
    *,
    txn: int | None = None,
    told: Callable[[Sequence[str]], None] = lambda consulted: None,
) -> list[Sealed]:
    """The rows to open, in the order of their numbers. `txn`: as they were then. `told` hears which parameters the
    index answered. Raises NeedKeys.
    """
    org = keyring.organisation()
    rids = chosen.rids
    if rids is None:
        rids, consulted = _Planner(conn, keyring, chosen.query, asking).candidates(chosen.owners)
        told(consulted)
        rids = (*rids, *chosen.others)
        if txn is not None:
            rids = (*rids, *_changed(conn, chosen, txn))
    if txn is None:
        found = resources.by_rids(conn, org, sorted(set(rids)))
    else:
        found = resources.as_of(conn, org, sorted(set(rids)), txn)
    return [one for one in found if one.type == chosen.query.type and not one.deleted]


def patients_by_identifier(conn: Connection, org: OrganisationKeys, system: str, value: str) -> list[Sealed]:
    """Patients that may hold this identifier, to be opened and compared."""
    rids = _by_identifier(conn, org, "Patient", Token(system, value))
    return [one for one in resources.by_rids(conn, org, rids) if one.type == "Patient" and not one.deleted]


def _changed(conn: Connection, chosen: Plan, txn: int) -> Iterable[int]:
    """What the index no longer shows as it was at page one: what these owners changed, and what went to others."""
    hot, kind = Hot(conn), chosen.query.type
    changed = "SELECT rid FROM resource WHERE type = ? AND txn > ? AND owner IN (…)"
    yield from (row[0] for row in hot.each_in(changed, chosen.owners, (kind, txn)))
    moved = "SELECT rid FROM version WHERE op = 'd' AND txn > ? AND owner IN (…)"  # changing hands is a deletion first
    yield from (row[0] for row in hot.each_in(moved, chosen.owners, (txn,)))


def _by_identifier(conn: Connection, org: OrganisationKeys, resource_type: str, asked: Token) -> list[int]:
    """T1: rows of the whole organisation."""
    if asked.code is None:
        return []
    name = name_of(resource_type, "identifier", _spelling(asked))
    sql = "SELECT rid FROM token WHERE owner = ? AND tok = ? ORDER BY rid"
    return [row[0] for row in Hot(conn).all(sql, (LOCATOR_OWNER, token_of(org.locate(name.encode()))))]


def _spelling(asked: Token) -> str:
    code = (asked.code or "").casefold()
    return f"{asked.system.casefold()}|{code}" if asked.system else code


Anchored = tuple[str, tuple[int, ...], tuple[int, ...] | None]


class _Planner:
    """One query on one snapshot."""

    def __init__(
        self, conn: Connection, keyring: Keyring, query: Query, asking: Asking, txn: int | None = None
    ) -> None:
        self.txn = txn
        self.conn, self.hot, self.keyring, self.query, self.asking = conn, Hot(conn), keyring, query, asking
        self.org = keyring.organisation()

    # --- 1 anchors ---------------------------------------------------------------------------------------------------

    def anchor(self, patient: str | None) -> Anchored | None:
        """The best there is, in the order of the module's text."""
        if patient is not None:
            return "compartment", self._owners_of([patient]), None
        usable = [one for one in self.query.criteria if one.modifier in ("", "Patient")]
        for find in (self._ids, self._patient, self._located, self._name_and_birth):
            for criterion in usable:
                if (found := find(criterion)) is not None:
                    return found
        return None

    def _ids(self, criterion: Criterion) -> Anchored | None:
        if criterion.code != "_id":
            return None
        named = [one.code for one in criterion.operands if isinstance(one, Token) and one.code]
        found = [resources.current(self.conn, self.org, self.query.type, name) for name in named]
        return "_id", (), tuple(one.rid for one in found if one is not None)

    def _patient(self, criterion: Criterion) -> Anchored | None:
        if criterion.code not in OWNER_SAYS:
            return None
        if criterion.chain is not None:
            return self._chained(criterion.chain.get("Patient"))
        asked = [one for one in criterion.operands if isinstance(one, Reference)]
        if any(one.id is None or one.type not in (None, "Patient") for one in asked):
            return None
        return criterion.code, self._owners_of([one.id for one in asked if one.id]), None

    def _chained(self, criterion: Criterion | None) -> Anchored | None:
        """`patient.identifier`: the patients are found first."""
        if criterion is None or criterion.code != "identifier" or criterion.modifier:
            return None
        if (rids := self._rids(criterion, "Patient")) is None:
            return None
        found = resources.by_rids(self.conn, self.org, rids)
        return "patient.identifier", self._family(one.owner for one in found), None

    def _located(self, criterion: Criterion) -> Anchored | None:
        if criterion.code not in LOCATED or criterion.modifier or criterion.chain is not None:
            return None
        rids = self._rids(criterion, self.query.type)
        return None if rids is None else (criterion.code, (), tuple(rids))

    def _rids(self, criterion: Criterion, resource_type: str) -> list[int] | None:
        """T1 rows of an identifier or canonical URL; None where an alternative names no value."""
        found: list[int] = []
        for asked in criterion.operands:
            if isinstance(asked, Token) and asked.code:
                found += _by_identifier(self.conn, self.org, resource_type, asked)
            elif isinstance(asked, Uri):
                tok = token(self.org.locate, resource_type, criterion.code, asked.uri)
                found += self._located_rows(tok)
            else:
                return None
        return [*found, *self._renamed(resource_type)]

    def _renamed(self, resource_type: str) -> list[int]:
        """On a page that is cut, whatever has changed since: it may have had another identifier, or name, then."""
        if self.txn is None:
            return []
        sql = """
            SELECT v.rid FROM version v CROSS JOIN resource r
            WHERE r.rid = v.rid AND v.ver > 1 AND v.txn > ? AND r.type = ?
        """
        return [row[0] for row in self.hot.all(sql, (self.txn, resource_type))]

    def _name_and_birth(self, criterion: Criterion) -> Anchored | None:
        """`family` with a full `birthdate`, for Patients."""
        births = [one for other in self.query.criteria if other.code == "birthdate" for one in other.operands]
        dates = [one.lexeme for one in births if isinstance(one, Date) and one.prefix == "eq"]
        if criterion.code != "family" or self.query.type != "Patient" or len(dates) != len(births) or not dates:
            return None
        if any(len(date) != DAY for date in dates):
            return None
        names = [one.text for one in criterion.operands if isinstance(one, Text)]
        pairs = [f"{normalise(name)}|{date}" for name in names for date in dates]
        toks = [token(self.org.locate, "Patient", NAME_AND_BIRTH, pair) for pair in pairs]
        found = [rid for tok in toks for rid in self._located_rows(tok)]
        return "family", (), (*found, *self._renamed("Patient"))

    def _located_rows(self, tok: int) -> list[int]:
        sql = "SELECT rid FROM token WHERE owner = ? AND tok = ? ORDER BY rid"
        return [row[0] for row in self.hot.all(sql, (LOCATOR_OWNER, tok))]

    def _owners_of(self, ids: Iterable[str]) -> tuple[int, ...]:
        """The owners behind these Patients, through aliases; one who was never seen has what was stored for her."""
        fids = [keyed_id(self.org.locate, "Patient", logical_id) for logical_id in ids]
        every = [one for fid in fids for one in owners.of_patient(self.conn, self.org.org, fid)]
        return tuple(dict.fromkeys(every))

    def _family(self, found: Iterable[int]) -> tuple[int, ...]:
        every = [one for owner in found for one in owners.read_as_one(self.conn, self.org.org, owner)]
        return tuple(dict.fromkeys(every))

    def expanded(self, owned: Sequence[int]) -> Query:
        """The query with each reference to a merged patient under all of her names."""
        if len(owned) < 2:
            return self.query
        names = self._names(owned)
        return replace(self.query, criteria=tuple(_with_names(one, names) for one in self.query.criteria))

    def compartment(self, patient: str, owned: Sequence[int]) -> tuple[frozenset[str], tuple[int, ...]]:
        """All names of the patient, each `Patient/id`, and the rows that point to her without being hers: what she did
        for others.
        """
        names = {patient, *self._names(owned)}
        fids = [keyed_id(self.org.locate, "Patient", name) for name in sorted(names)]
        targets = [row[0] for row in self.hot.each_in("SELECT rid FROM resource WHERE fid IN (…)", fids)]
        found: dict[int, None] = {}
        for param in schema().compartment("Patient").get(self.query.type, ()):
            if param not in OWNER_SAYS:
                sql = "SELECT src FROM edge WHERE param = ? AND dst IN (…)"
                found.update((row[0], None) for row in self.hot.each_in(sql, targets, (param,)))
        return frozenset(f"Patient/{name}" for name in names), tuple(found)

    def _names(self, owned: Sequence[int]) -> set[str]:
        """The ids of the Patients that belong to these owners."""
        patients = resources.of_type(self.conn, self.org, owned, "Patient")
        self._load(one.owner for one in patients)
        return {decode(one.open(self.keyring.owner(one.owner)))["id"] for one in patients}

    def _load(self, wanted: Iterable[int]) -> None:
        if missing := self.keyring.missing(wanted):
            raise NeedKeys(missing)

    # --- 2 candidates ------------------------------------------------------------------------------------------------

    def candidates(self, owned: Sequence[int]) -> tuple[tuple[int, ...], list[str]]:
        """Rows of these owners that may match, and the parameters by which they were found."""
        found = [(one.code, self._posting(one, owned)) for one in self.query.criteria]
        postings = [(code, rows) for code, rows in found if rows is not None]
        if not postings:
            sql = "SELECT rid FROM resource WHERE type = ? AND NOT deleted AND ver > 0 AND owner IN (…)"
            return tuple(row[0] for row in self.hot.each_in(sql, owned, (self.query.type,))), []
        postings.sort(key=lambda posting: len(posting[1]))
        (code, left), consulted = postings[0], [postings[0][0]]
        for code, rows in postings[1:]:
            if len(left) <= FEW:
                break
            left &= rows
            consulted.append(code)
        return tuple(left), consulted

    def _posting(self, criterion: Criterion, owned: Sequence[int]) -> set[int] | None:
        """All rows that can meet a criterion; None where the index cannot tell."""
        if criterion.modifier or criterion.chain is not None or criterion.code in OWNER_SAYS | LOCATED | {"_id"}:
            return None
        params = COMBINED.get(criterion.code, (criterion.code,))
        if not set(params) <= codes(self.query.type, frozenset({"token", "date", "uri", "reference"})):
            return None
        found: set[int] = set()
        for asked in criterion.operands:
            rows = self._asked(params, asked, owned)
            if rows is None:
                return None
            found.update(rows)
        return found

    def _asked(self, params: Sequence[str], asked: Operand, owned: Sequence[int]) -> Iterable[int] | None:
        match asked:
            case Token(code=str()):
                whole = all(says_system(self.query.type, param) for param in params)
                return self._tokens(params, [_spelling(asked if whole else Token(None, asked.code))], owned)
            case Date(prefix="eq" | "ap"):
                spellings = cover(asked_interval(asked, instant(self.asking.now), self.asking.zone))
                return None if spellings is None else self._tokens(params, spellings, owned)
            case Uri():
                return self._tokens(params, [asked.uri], owned)
            case Reference(id=str()):
                return self._edges(params, asked, owned)
        return None

    def _tokens(self, params: Sequence[str], spellings: Iterable[str], owned: Sequence[int]) -> list[int]:
        self._load(owned)
        names = [name_of(self.query.type, param, text).encode() for param in params for text in spellings]
        found: list[int] = []
        for owner in owned:
            index = self.keyring.owner(owner).index
            toks = [token_of(index(name)) for name in names]
            sql = "SELECT rid FROM token WHERE owner = ? AND tok IN (…)"
            found += [row[0] for row in self.hot.each_in(sql, toks, (owner,))]
        return found

    def _edges(self, params: Sequence[str], asked: Reference, owned: Sequence[int]) -> list[int]:
        """What points to it, or to what its name stands for."""
        types = [asked.type] if asked.type else self._targets(params)
        fids = [keyed_id(self.org.locate, kind, asked.id or "") for kind in types]
        targets = list(self.hot.each_in("SELECT rid, owner FROM resource WHERE fid IN (…)", fids))
        aliased = "SELECT r.rid, r.owner FROM alias a JOIN resource r ON r.rid = a.rid WHERE a.fid IN (…)"
        targets += self.hot.each_in(aliased, fids)
        known = [(rid, owner) for rid, owner in targets]
        return [rid for param in params for rid in pointing(self.hot, self.query.type, param, known, owned)]

    def _targets(self, params: Sequence[str]) -> list[str]:
        known = schema().params(self.query.type)
        wanted = {kind for param in params for kind in known[param].targets}
        return sorted(schema().resource_types if not wanted or "Any" in wanted else wanted)


def _with_names(criterion: Criterion, names: set[str]) -> Criterion:
    """A criterion that names one of these patients names all."""
    asked = {one.id for one in criterion.operands if isinstance(one, Reference) and one.type in (None, "Patient")}
    if not asked & names:
        return criterion
    more = tuple(Reference("Patient", name) for name in sorted(names - asked))
    return replace(criterion, operands=(*criterion.operands, *more))


def resolver(conn: Connection, keyring: Keyring) -> Callable[[str], Json | None]:
    """What the matcher follows a chain with, in this snapshot. Raises NeedKeys; sees what the gate has not judged."""
    org = keyring.organisation()

    def resolve(reference: str) -> Json | None:
        resource_type, _, logical_id = reference.partition("/")
        found = resources.current(conn, org, resource_type, logical_id)
        return None if found is None or found.deleted else decode(found.open(keyring.owner(found.owner)))

    return resolve
