"""The history of a type, or of everything: versions of the whole organisation, newest first. Nothing is opened here.

They stand in the order of the transactions that wrote them, within one by row and version, so that a page can go on
behind a version: what is written meanwhile comes before all that a page has shown. A deletion comes with the version
that it deleted, for by that it is judged who may learn of it. http://hl7.org/fhir/R4/http.html#history
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from adapter.seal.keyring import OrganisationKeys
from adapter.store.engine import Hot
from adapter.store.resources import COLUMNS, Sealed, deleted_by, sealed_rows

Place = tuple[int, int, int]  # transaction, row, version
NEWEST: Place = (2**62, 0, 0)  # behind it stands every version

# CROSS JOIN keeps SQLite to this order: the index of the transactions first, which is the order asked for
_VERSIONS = f"""
    SELECT {COLUMNS} FROM version v CROSS JOIN resource r
    WHERE r.rid = v.rid AND (v.txn, v.rid, v.ver) < (?, ?, ?) AND v.txn >= ? AND v.at >= ?
"""  # noqa: S608 - columns of ours
_ORDER = "ORDER BY v.txn DESC, v.rid DESC, v.ver DESC LIMIT ?"


def floor(conn: Connection, since: int) -> int:
    """The first transaction of that time or later, in milliseconds: nothing before it needs to be looked at."""
    # `+ 0`, for a database that takes the least of a key walks the keys from the first one on
    row = Hot(conn).one("SELECT coalesce(min(txn + 0), ?) FROM txn WHERE at >= ?", (NEWEST[0], since))
    return int(row[0]) if row and since else 0


def versions(
    conn: Connection, org: OrganisationKeys, kinds: Sequence[str], since: int, lowest: int, after: Place, limit: int
) -> list[Sealed]:
    """Up to `limit` versions behind `after`, of these types (none named: of all), stamped `since` then; `lowest` is
    `floor` of it.
    """
    names = f"AND r.type IN ({', '.join('?' * len(kinds))}) " if kinds else ""
    rows = Hot(conn).all(f"{_VERSIONS} {names}{_ORDER}", (*after, lowest, since, *kinds, limit))
    found = sealed_rows(rows, org.org)
    return [one if one.body is not None else replace(one, before=deleted_by(conn, org, one)) for one in found]
