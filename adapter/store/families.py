"""Patients that turned out to be one: since when they are.

A consent given after that speaks for the one person that they are; one given before speaks for the record it was given
for. The alias of each retired Patient holds the transaction of its merge (`effects.py`); an alias without an event time
is a name that was recognised, and joins nobody.
Source: fhir chapter §5 (merges); access chapter §6, §9.
"""

from collections.abc import Iterable

from sqlalchemy import Connection

from adapter.store.engine import Hot


def merged_since(conn: Connection, owners: Iterable[int]) -> int | None:
    """The transaction of the newest merge among these owners; None when an alias of none of them says so."""
    sql = """
        SELECT max(a.txn) FROM resource r JOIN alias a ON a.rid = r.rid
        WHERE a.said > 0 AND r.type = 'Patient' AND r.owner IN (…)
    """
    found = [row[0] for row in Hot(conn).each_in(sql, sorted(set(owners))) if row[0] is not None]
    return max(found) if found else None
