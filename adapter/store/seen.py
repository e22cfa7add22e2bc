"""The last receipt from the log, as the data store remembers it: one more witness against a restored, older log.

A start holds it against the log: an entry that we were told of must still stand, with the same leaf.
Source: ledger chapter §15 "Restore safety".
"""

from sqlalchemy import Connection

from adapter.store.engine import Hot


def remember(conn: Connection, org: str, ref: str, leaf: bytes) -> None:
    """Keep the newest receipt of a shard; `ref` is `shard:index`. An older one changes nothing."""
    shard, _, index = ref.rpartition(":")
    sql = """
        INSERT INTO seen(shard, org, size, leaf) VALUES (?, ?, ?, ?)
        ON CONFLICT(shard, org) DO UPDATE SET size = excluded.size, leaf = excluded.leaf
        WHERE excluded.size > seen.size
    """
    Hot(conn).run(sql, (shard, org, int(index) + 1, leaf))


def newest(conn: Connection, org: str) -> list[tuple[str, bytes]]:
    """(reference, leaf hash) of the last receipt of each shard."""
    rows = Hot(conn).all("SELECT shard, size, leaf FROM seen WHERE org = ? ORDER BY shard", (org,))
    return [(f"{shard}:{size - 1}", leaf) for shard, size, leaf in rows]
