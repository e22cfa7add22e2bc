"""Who does what, where several processes serve one database: leases of lanes, fairly shared, and of single tasks.

Everything is a row of `lane`, leased by the database's clock and fenced by its token (`messages.py` claims and fences).
Beside the lanes of messages there are two kinds under schemes of their own:

- *seats*: each worker that lives holds one. How many are taken says how many workers share the lanes, and a worker's
  place among them how many are its own: 64 over all of them, the rest to the first.
- *tasks* that one process does for all: answering at addresses, rotating keys. Signing has a lease of the log's own.

A worker that has too many lanes gives the highest back; one that has too few takes what is free. A message that waits
in two lanes belongs to whoever holds the lower one: who holds the other gives it to them when the message is the oldest
there. Lanes only ever move towards a lower one of theirs, so of any two messages one can always go first.

All of it needs a database with several writers. Source: architecture §5; operations chapter §4 (lanes), fault F29.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection

from adapter.store.engine import Hot
from adapter.store.messages import LANES, SCHEME, Lease, claim, mark, release

SEATS, TASKS = -1, -2  # schemes beside those of the lane function, which count from 1
ANSWERS, ROTATION = 1, 2  # tasks

MOST_WORKERS = LANES  # more would have no lane
CHANNEL = "lane"  # on which workers hear that lanes were given


@dataclass(frozen=True, slots=True)
class Seat:
    """A worker's place among those that live: `rank` counts from 0."""

    rank: int
    workers: int

    def share(self, *, together: bool) -> int:
        """How many lanes are this worker's; `together`: all are one worker's, since a feed keeps one order."""
        if together:
            return LANES if self.rank == 0 else 0
        return LANES // self.workers + (self.rank < LANES % self.workers)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a worker has after it looked after its lanes."""

    seat: Seat
    tokens: dict[int, int]


def keep(conn: Connection, org: str, worker: str, now: int, lease_ms: int, *, together: bool, needed: set[int]) -> Kept:
    """Stay at work: the seat, the lanes that are this worker's or were given to it, and as many as are its share.

    `needed` are lanes of messages that wait in several: they stay until these are through.
    """
    seat = sit(conn, org, worker, now, lease_ms)
    tokens = renew(conn, org, worker, now, lease_ms)
    share = seat.share(together=together)
    loose = sorted(tokens.keys() - needed)
    if (over := len(tokens) - share) > 0 and (back := loose[-over:]):
        release(conn, org, Lease(worker, {lane: tokens.pop(lane) for lane in back}, 0))
        Hot(conn).notify(CHANNEL)
    elif over < 0:
        tokens |= claim(conn, org, worker, free(conn, org, now, -over), now, lease_ms).tokens
    return Kept(seat, tokens)


def sit(conn: Connection, org: str, worker: str, now: int, lease_ms: int) -> Seat:
    """Keep this worker's seat, or take one. Where every seat is taken it has none, and no share."""
    hot = Hot(conn)
    theirs = hot.now_ms(now)
    hot.lock(org, (b"seats",))
    sql = "SELECT lane, worker FROM lane WHERE org = ? AND scheme = ? AND worker IS NOT NULL AND until > ?"
    taken = {row[0]: row[1] for row in hot.all(sql, (org, SEATS, theirs))}
    mine = next((seat for seat, name in taken.items() if name == worker), None)
    if mine is None:
        mine = next((seat for seat in range(MOST_WORKERS) if seat not in taken), MOST_WORKERS)
    if mine < MOST_WORKERS:
        hold(conn, org, SEATS, mine, worker, now, lease_ms)
    others = [seat for seat in taken if seat != mine]
    return Seat(sum(seat < mine for seat in others), len(others) + 1)


def hold(conn: Connection, org: str, scheme: int, place: int, worker: str, now: int, lease_ms: int) -> bool:
    """Take or keep one seat or task; whether it is this worker's now."""
    return place in claim(conn, org, worker, (place,), now, lease_ms, scheme=scheme).tokens


def leave(conn: Connection, org: str, worker: str) -> None:
    """Give everything back that a worker holds: it ends."""
    hot = Hot(conn)
    hot.run("UPDATE lane SET worker = NULL WHERE org = ? AND worker = ?", (org, worker))
    hot.notify(CHANNEL)


def free(conn: Connection, org: str, now: int, most: int) -> list[int]:
    """Lanes that nobody holds, the lowest first; none under which somebody commits."""
    hot = Hot(conn)
    theirs = hot.now_ms(now)
    known = {row[0] for row in hot.all("SELECT lane FROM lane WHERE org = ? AND scheme = ?", (org, SCHEME))}
    sql = """
        SELECT lane FROM lane WHERE org = ? AND scheme = ? AND (worker IS NULL OR until <= ?)
        ORDER BY lane FOR UPDATE SKIP LOCKED
    """
    loose = {row[0] for row in hot.all(sql, (org, SCHEME, theirs))}
    return [lane for lane in range(LANES) if lane in loose or lane not in known][:most]


def give(conn: Connection, org: str, lease: Lease, lanes: Collection[int], lowest: int, now: int) -> bool:
    """Hand lanes of this lease to whoever holds the lane `lowest`; False where nobody does."""
    hot = Hot(conn)
    sql = "SELECT lane, worker, token, until FROM lane WHERE org = ? AND scheme = ? AND lane IN (…)"
    rows = {row[0]: row for row in hot.hold(sql, "lane", sorted({*lanes, lowest}), (org, SCHEME))}
    holder = rows.get(lowest)
    if holder is None or holder[1] is None or holder[3] <= hot.now_ms(now):
        return False
    sql = """
        UPDATE lane SET worker = ?, until = ?, token = token + 1
        WHERE org = ? AND scheme = ? AND lane = ? AND worker = ? AND token = ?
    """
    hot.many(
        sql, [(holder[1], holder[3], org, SCHEME, lane, lease.worker, lease.tokens.get(lane, 0)) for lane in lanes]
    )
    hot.notify(CHANNEL)
    return True


def renew(conn: Connection, org: str, worker: str, now: int, lease_ms: int) -> dict[int, int]:
    """All that a worker has: for so long again. Its lanes, whoever gave them; one that was too slow keeps what nobody
    took meanwhile."""
    hot = Hot(conn)
    until = hot.now_ms(now) + lease_ms
    sql = "UPDATE lane SET until = ? WHERE org = ? AND worker = ? RETURNING scheme, lane, token"
    return {row[1]: row[2] for row in hot.all(sql, (until, org, worker)) if row[0] == SCHEME}


def beat(conn: Connection, org: str, worker: str, now: int, lease_ms: int) -> None:
    """The same beside a commit of this worker: the lanes that it is under are locked, and nobody can take them."""
    hot = Hot(conn)
    until = hot.now_ms(now) + lease_ms
    sql = """
        UPDATE lane SET until = ? WHERE org = ? AND (scheme, lane) IN (
          SELECT scheme, lane FROM lane WHERE org = ? AND worker = ? ORDER BY scheme, lane FOR UPDATE SKIP LOCKED
        )
    """
    hot.run(sql, (until, org, org, worker))


def finished(conn: Connection, org: str) -> int:
    """Up to which number every message of the journal has a state; for a journal in this database.

    The journal's end is read first: what is behind it may be there already, and has no state yet.
    """
    hot, after = Hot(conn), mark(conn, org)
    end = hot.one("SELECT seq FROM journal_head")
    sql = """
        SELECT m.seq FROM message m WHERE m.org = ? AND m.seq > ? AND m.state = 'new'
        AND NOT EXISTS (SELECT 1 FROM message_state s WHERE s.org = m.org AND s.seq = m.seq) ORDER BY m.seq LIMIT 1
    """
    first = hot.one(sql, (org, after))
    newest = int(end[0]) if end else after
    return newest if first is None else min(newest, int(first[0]) - 1)
