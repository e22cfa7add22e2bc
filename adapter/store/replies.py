"""What senders are still to hear: the application's answer to a message, kept from the moment it is known.

The row is written with the transition it tells of, so that neither is without the other after a crash. A message has
one row; where it goes round again and ends elsewhere, the row says what is true now, for a sender that asks again, but
nobody is told twice unasked. Who tells whom, and how often, is `adapter/replies.py`'s.
Source: hl7v2 chapter §11; operations chapter §4.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from adapter.store.engine import Hot

CHANNEL = "reply"  # on which other processes hear that there is an outcome
# How an answer ended. The last three are for a person to know of: nobody heard it.
TOLD, UNWANTED = "told", "unwanted"
UNHEARD, REFUSED, GIVEN_UP = "unheard", "refused", "given-up"


@dataclass(frozen=True, slots=True)
class Owed:
    """The outcome of a message, for its sender. `due` is AL, ER or SU."""

    seq: int
    feed: str
    due: str
    became: str
    issue: str = ""
    place: str = ""
    fingerprint: str = ""
    at: int = 0
    tries: int = 0
    ended: str | None = None


_COLUMNS = "seq, feed, due, became, issue, place, fingerprint, at, tries, ended"


def owe(conn: Connection, org: str, owed: Owed) -> None:
    """Write down an outcome, in the transaction of the transition that it tells of."""
    sql = """
        INSERT INTO reply(org, seq, feed, due, became, issue, place, fingerprint, at, tries)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)
        ON CONFLICT(org, seq) DO UPDATE SET became = excluded.became, issue = excluded.issue, place = excluded.place,
          fingerprint = excluded.fingerprint, at = excluded.at
    """
    values = (owed.seq, owed.feed, owed.due, owed.became, owed.issue, owed.place, owed.fingerprint, owed.at)
    hot = Hot(conn)
    hot.run(sql, (org, *values))
    hot.notify(CHANNEL)


def pending(conn: Connection, org: str, limit: int = 200) -> list[Owed]:
    """Answers that nobody has heard yet, the least tried first: one that never arrives does not block the others."""
    sql = f"SELECT {_COLUMNS} FROM reply WHERE org = ? AND ended IS NULL ORDER BY tries, seq LIMIT ?"  # noqa: S608
    return [Owed(*row) for row in Hot(conn).all(sql, (org, limit))]


def outcomes(conn: Connection, org: str, seqs: Iterable[int]) -> list[Owed]:
    """What became of these messages, as far as it is known."""
    sql = f"SELECT {_COLUMNS} FROM reply WHERE org = ? AND seq IN (…)"  # noqa: S608
    return [Owed(*row) for row in Hot(conn).each_in(sql, sorted(set(seqs)), (org,))]


def end(conn: Connection, org: str, ended: Sequence[tuple[int, str]]) -> None:
    """Nothing more is to be done about these."""
    sql = "UPDATE reply SET ended = ? WHERE org = ? AND seq = ? AND ended IS NULL"
    Hot(conn).many(sql, [(how, org, seq) for seq, how in ended])


def failed(conn: Connection, org: str, seq: int) -> None:
    """Count a try that did not arrive."""
    Hot(conn).run("UPDATE reply SET tries = tries + 1 WHERE org = ? AND seq = ? AND ended IS NULL", (org, seq))


def count(conn: Connection, org: str) -> dict[tuple[str, str], int]:
    """Answers by feed and by how they ended; "" for those that wait."""
    sql = "SELECT feed, coalesce(ended, ''), count(*) FROM reply WHERE org = ? GROUP BY 1, 2"
    return {(row[0], row[1]): row[2] for row in Hot(conn).all(sql, (org,))}
