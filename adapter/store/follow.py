"""References of one snapshot, both ways: what a resource points to, and what points to it.

For includes, chains and `_has`. What comes from here has passed no gate: a caller shows it to a `Sight` first, and
then asks `refers` whether the opened resource does point there, for a posting is only a promise. A page after the
first is read as of the transaction of page one, sources that changed since included.

What every resource of a patient says (`patient`, `subject`) is no edge: such referrers are looked for among all that
her owners have of the type. Source: fhir chapter §5 (edge), §6, §10.
"""

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection

from adapter.seal.blind import keyed_id
from adapter.seal.keyring import SHARED, OrganisationKeys
from adapter.store import owners, resources
from adapter.store.edges import pointing
from adapter.store.engine import Hot
from adapter.store.index import OWNER_SAYS
from adapter.store.resources import Sealed
from mappings.fhir.codec import Json
from mappings.fhir.search import ReferenceValue, Value, extract

PATIENT = "Patient"
CHUNK = 256  # rows that are in memory at once


class Follower:
    """One snapshot, as of `txn` (None: now). `base` is this server's address, with which references may be written."""

    def __init__(self, conn: Connection, org: OrganisationKeys, base: str, txn: int | None) -> None:
        self._conn, self._hot, self._org, self._txn = conn, Hot(conn), org, txn
        self._base = f"{base}/"
        self._targets: dict[str, Sealed | None] = {}
        self._families: dict[int, tuple[int, ...]] = {}

    def references(self, resource: Json, param: str) -> list[str]:
        """What a parameter of a resource points to on this server, each `Type/id`."""
        kind = resource["resourceType"]
        found = map(self._local, extract(kind, resource, frozenset({param})).get(param, ()))
        return list(dict.fromkeys(text for text in found if text is not None))

    def target(self, reference: str) -> Sealed | None:
        """What a reference points to; None where it is not here, or was deleted."""
        text = reference.removeprefix(self._base)
        if text not in self._targets:
            self._targets[text] = self._target(text)
        return self._targets[text]

    def referrers(self, kind: str, param: str, of: Iterable[int], targets: Sequence[Sealed]) -> Iterator[Sealed]:
        """Resources of a type, of these owners, of which the parameter may point to one of the targets; read by and
        by, for a caller may have enough.
        """
        among = tuple(dict.fromkeys(of))
        if param in OWNER_SAYS:
            sql = "SELECT rid FROM resource WHERE type = ? AND owner IN (…)"
            found = {row[0] for row in self._hot.each_in(sql, among, (kind,))}
        else:
            found = set(pointing(self._hot, kind, param, [(one.rid, one.owner) for one in targets], among))
        if self._txn is not None:
            sql = "SELECT rid FROM resource WHERE type = ? AND txn > ? AND owner IN (…)"
            found.update(row[0] for row in self._hot.each_in(sql, among, (kind, self._txn)))
        rids = sorted(found)
        for start in range(0, len(rids), CHUNK):
            yield from (
                one for one in self._read(rids[start : start + CHUNK]) if one.type == kind and one.owner in among
            )

    def refers(self, resource: Json, param: str, target: Sealed) -> bool:
        """Whether a parameter of an opened resource points there; merged patients are one."""
        found = map(self.target, self.references(resource, param))
        return any(self._same(one, target) for one in found if one is not None)

    def family(self, owner: int) -> tuple[int, ...]:
        """The owners of one compartment: of all patients behind this one, and what they share."""
        if owner not in self._families:
            behind = owners.patients(self._conn, self._org.org, owner)
            found = [one for facts in behind for one in owners.read_as_one(self._conn, self._org.org, facts.owner)]
            self._families[owner] = tuple(dict.fromkeys((owner, *found)))
        return self._families[owner]

    def _same(self, one: Sealed, other: Sealed) -> bool:
        if one.rid == other.rid:
            return True
        return one.type == other.type == PATIENT and SHARED != one.owner and one.owner in self.family(other.owner)

    def _local(self, value: Value) -> str | None:
        if not isinstance(value, ReferenceValue):
            return None
        if value.id is not None:
            return f"{value.type}/{value.id}"
        if value.url is not None and value.url.startswith(self._base):
            return value.url.removeprefix(self._base)
        return None

    def _target(self, text: str) -> Sealed | None:
        kind, slash, logical_id = text.partition("/")
        if not slash or "/" in logical_id:
            return None
        if self._txn is None:
            found = resources.current(self._conn, self._org, kind, logical_id)
            return None if found is None or found.deleted else found
        fid = keyed_id(self._org.locate, kind, logical_id)
        rows = self._hot.all(
            "SELECT rid FROM resource WHERE fid = ? UNION SELECT rid FROM alias WHERE fid = ?", (fid, fid)
        )
        return next((one for one in self._read([row[0] for row in rows]) if one.type == kind), None)

    def _read(self, rids: Sequence[int]) -> list[Sealed]:
        if self._txn is not None:
            return resources.as_of(self._conn, self._org, rids, self._txn)
        return [one for one in resources.by_rids(self._conn, self._org, rids) if not one.deleted]
