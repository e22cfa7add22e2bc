"""Reading versions: the current one, an old one, a history, an owner's of one type.

Plain functions of a connection inside one snapshot. They give `Sealed` rows, which hold no plaintext: opening is the
gate's (`access/disclose.py`) and the store's own. A resource whose version is 0 was referred to and never seen: absent.
Source: fhir chapter §5, §7.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from adapter.errors import IntegrityFault
from adapter.seal import envelope
from adapter.seal.blind import keyed_id
from adapter.seal.envelope import BodyKeys
from adapter.seal.keyring import Keyring, OrganisationKeys
from adapter.store import ahead, owners
from adapter.store.engine import Hot, Row
from mappings.fhir.codec import Json, decode

COLUMNS = "r.org, r.rid, r.type, r.fid, v.owner, v.ver, v.txn, v.at, v.op, v.body, r.ver"
_CURRENT = f"SELECT {COLUMNS} FROM resource r LEFT JOIN version v ON v.rid = r.rid AND v.ver = r.ver"  # noqa: S608
_AHEAD = f"""
    SELECT {COLUMNS}, o.org = ? AND {owners.ALONE}, o.epoch, o.erased_at
    FROM resource r LEFT JOIN version v ON v.rid = r.rid AND v.ver = r.ver LEFT JOIN owner o ON o.owner = v.owner
    WHERE r.fid IN (…)
"""  # noqa: S608 - our own
_ANY = f"SELECT {COLUMNS} FROM resource r JOIN version v ON v.rid = r.rid"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Sealed:
    """One version as it lies in the store. `owner` is whose key opens it, `latest` the resource's newest version.

    `at` is `meta.lastUpdated` in milliseconds. A delete marker (`op` d) has no body; `before` is what it deleted, where
    somebody has to judge it by that.
    """

    org: str
    rid: int
    type: str
    fid: bytes = field(repr=False)
    owner: int
    ver: int
    txn: int
    at: int
    op: str
    body: bytes | None = field(repr=False)
    latest: int
    before: "Sealed | None" = None

    @property
    def deleted(self) -> bool:
        return self.op == "d"

    @property
    def gen(self) -> int:
        return 0 if self.body is None else int.from_bytes(self.body[2:4], "big")

    def open(self, keys: BodyKeys) -> bytes:
        """The canonical bytes. Raises IntegrityFault when the row was changed, moved or is another owner's."""
        if self.body is None:
            raise RuntimeError("a delete marker has no body to open")
        return envelope.unseal(keys, envelope.Row(self.org, self.type, self.fid, self.ver), self.body)


def current(conn: Connection, org: OrganisationKeys, resource_type: str, logical_id: str) -> Sealed | None:
    """The newest version under this id or alias, a delete marker too; None when there is none."""
    hot, fid, kept = Hot(conn), keyed_id(org.locate, resource_type, logical_id), ahead.of(conn)
    row = None if kept is None else kept.rows.get(fid)
    if row is None or row[2] != resource_type:
        row = hot.one(f"{_CURRENT} WHERE r.fid = ? AND r.type = ?", (fid, resource_type))
    if row is None or not row[10]:
        row = hot.one(f"{_CURRENT} JOIN alias a ON a.rid = r.rid WHERE a.fid = ? AND r.type = ?", (fid, resource_type))
    return _sealed(row, org.org)


def look_ahead(conn: Connection, org: OrganisationKeys, fids: Sequence[bytes]) -> None:
    """Ask at once what `current` will be asked of these, and who stands behind each; for the snapshot that keeps it."""
    if (kept := ahead.of(conn)) is None:
        raise RuntimeError("nothing keeps what this snapshot tells")
    for row in Hot(conn).each_in(_AHEAD, fids, (org.org,)):
        *found, is_alone, epoch, erased_at = row
        kept.rows[row[3]] = tuple(found)
        if is_alone:
            kept.facts[row[4]] = owners.alone(row[4], epoch, erased_at)


def version(conn: Connection, org: OrganisationKeys, resource_type: str, logical_id: str, ver: int) -> Sealed | None:
    """One version of it."""
    rid = _rid(conn, org, resource_type, logical_id)
    return _sealed(Hot(conn).one(f"{_ANY} WHERE v.rid = ? AND v.ver = ?", (rid, ver)), org.org)


def content(conn: Connection, ring: Keyring, resource_type: str, logical_id: str, ver: int) -> bytes | None:
    """What one version holds, opened for what stays inside the node; None where there is none, or a deletion."""
    found = version(conn, ring.organisation(), resource_type, logical_id, ver)
    return None if found is None or found.deleted else found.open(ring.owner(found.owner))


def numbered(conn: Connection, org: OrganisationKeys, rid: int, ver: int) -> Sealed | None:
    """One version of the resource with this number."""
    return _sealed(Hot(conn).one(f"{_ANY} WHERE v.rid = ? AND v.ver = ?", (rid, ver)), org.org)


def deleted_by(conn: Connection, org: OrganisationKeys, marker: Sealed) -> Sealed:
    """What a delete marker deleted."""
    sql = f"{_ANY} WHERE v.rid = ? AND v.ver < ? AND v.body IS NOT NULL ORDER BY v.ver DESC LIMIT 1"
    found = _sealed(Hot(conn).one(sql, (marker.rid, marker.ver)), org.org)
    if found is None:
        raise IntegrityFault("a version row is missing: it was removed behind the store's back")
    return found


def newest(conn: Connection, ring: Keyring, rid: int) -> tuple[Json, int] | None:
    """What stands and its version, opened for what stays inside the node; None where it was deleted."""
    found = next(iter(by_rids(conn, ring.organisation(), (rid,))), None)
    if found is None or found.deleted:
        return None
    return decode(found.open(ring.owner(found.owner))), found.ver


def history(
    conn: Connection,
    org: OrganisationKeys,
    resource_type: str,
    logical_id: str,
    *,
    since: int | None = None,
    before_ver: int | None = None,
    limit: int = 50,
) -> list[Sealed]:
    """Its versions, newest first; `since` in milliseconds, `before_ver` where the last page ended."""
    rid = _rid(conn, org, resource_type, logical_id)
    sql = f"{_ANY} WHERE v.rid = ? AND v.at >= ? AND v.ver < ? ORDER BY v.ver DESC LIMIT ?"
    ceiling = before_ver if before_ver is not None else 2**31 - 1
    return sealed_rows(Hot(conn).all(sql, (rid, since or 0, ceiling, limit)), org.org)


def has_moved(conn: Connection, org: OrganisationKeys, resource_type: str, logical_id: str) -> bool:
    """Whether its versions belong to more than one owner: then who sees one version need not see the next."""
    sql = "SELECT count(DISTINCT owner) FROM version WHERE rid = ?"
    row = Hot(conn).one(sql, (_rid(conn, org, resource_type, logical_id),))
    return row is not None and row[0] > 1


def of_type(conn: Connection, org: OrganisationKeys, owners: Iterable[int], resource_type: str) -> list[Sealed]:
    """The undeleted resources of one type that belong to any of the owners, oldest first."""
    sql = f"{_CURRENT} WHERE r.type = ? AND NOT r.deleted AND r.ver > 0 AND r.owner IN (…)"
    rows = {row[1]: row for row in Hot(conn).each_in(sql, sorted(set(owners)), (resource_type,))}
    return sealed_rows([rows[rid] for rid in sorted(rows)], org.org)


def by_rids(conn: Connection, org: OrganisationKeys, rids: Sequence[int]) -> list[Sealed]:
    """The current versions of these, delete markers too, in the order of their numbers."""
    rows = {row[1]: row for row in Hot(conn).each_in(f"{_CURRENT} WHERE r.rid IN (…)", rids)}
    return sealed_rows([rows[rid] for rid in sorted(rows)], org.org)


def as_of(conn: Connection, org: OrganisationKeys, rids: Sequence[int], txn: int) -> list[Sealed]:
    """Each at its newest version not after that transaction; what came later, or was deleted by then, is left out."""
    newest = "SELECT max(o.ver) FROM version o WHERE o.rid = v.rid AND o.txn <= ?"
    sql = f"{_ANY} WHERE v.ver = ({newest}) AND v.rid IN (…)"
    rows = {row[1]: row for row in Hot(conn).each_in(sql, rids, (txn,))}
    return [one for one in sealed_rows([rows[rid] for rid in sorted(rows)], org.org) if not one.deleted]


def _rid(conn: Connection, org: OrganisationKeys, resource_type: str, logical_id: str) -> int | None:
    found = current(conn, org, resource_type, logical_id)
    return found.rid if found else None


def _sealed(row: Row | None, org: str) -> Sealed | None:
    return next(iter(sealed_rows([row], org)), None) if row else None


def sealed_rows(rows: Iterable[Row], org: str) -> list[Sealed]:
    """Rows as they may be used: without what was never seen (version 0); what should be here and is not is refused."""
    found = [Sealed(*row) for row in rows if row[10]]
    if any(one.org != org for one in found):
        raise IntegrityFault("a row belongs to another organisation")
    if any(one.ver is None or (one.body is None) is not one.deleted for one in found):
        raise IntegrityFault("a version row is missing: it was removed behind the store's back")
    return found
