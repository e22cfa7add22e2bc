"""Where each message stands: states, transitions, lanes with fencing tokens, holds and replays.

Only places where a crash can leave a message are states. A message without a row here is `new`; the row and its
transition are written in the transaction of the effects, under the fencing token of each lane the message waits in, so
a worker that lost its lease commits nothing. Transitions are never overwritten.

The journal's rows are named by `seq`. Which message may run is `adapter/lanes.py`'s; what a poison message does to its
neighbours is the feed's policy: `hold-patient` holds the patient's later ones, `skip` lets them pass, `hold-feed` stops
the feed.
Source: operations chapter §4.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from adapter.errors import Conflict, NotFound
from adapter.store.engine import Hot

NEW, MAPPED, LOGGED, DELIVERED, DEAD = "new", "mapped", "logged", "delivered", "dead"
FILTERED, QUARANTINED, HELD, DUPLICATE = "filtered", "quarantined", "held", "duplicate"
REJECTED, DISCARDED = "rejected", "discarded"

# Every move there is. Whoever asks for another is told so; the first two lines are workers', the last a person's.
MOVES: dict[str, frozenset[str]] = {
    NEW: frozenset({MAPPED, FILTERED, QUARANTINED, HELD, DUPLICATE, REJECTED}),  # held: by the feed, or by a person
    MAPPED: frozenset({LOGGED}),
    LOGGED: frozenset({DELIVERED, DEAD}),
    QUARANTINED: frozenset({NEW, DISCARDED}),
    HELD: frozenset({NEW, DISCARDED}),
    REJECTED: frozenset({NEW, DISCARDED}),
    DEAD: frozenset({LOGGED, DISCARDED}),
}
OPEN = frozenset({NEW, QUARANTINED, HELD, DEAD})  # on the morning view until someone acts
BLOCKING = frozenset({QUARANTINED, HELD})  # later messages of the same patient wait behind these
REPLAYABLE = frozenset({QUARANTINED, HELD, REJECTED})

LANES = 64
SCHEME = 1  # version of the lane function: another one has lanes of its own

RELEASED = "released"  # `code` of a message that a person let go before what it waits behind

HOLD_PATIENT, SKIP, HOLD_FEED = "hold-patient", "skip", "hold-feed"


@dataclass(frozen=True, slots=True)
class MessageState:
    """One message. `stamp` rises with each transition; `attempt` with each replay."""

    seq: int
    feed: str
    state: str
    stamp: int
    attempt: int
    txn: int | None
    fingerprint: str | None
    code: str | None
    at: int


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of a message. `took_us` is the time of what led to it, in microseconds."""

    attempt: int
    from_state: str
    to_state: str
    at: int
    who: str
    why: str
    took_us: int | None


@dataclass(frozen=True, slots=True)
class Moved:
    """A transition among those of all messages; `n` is its place."""

    n: int
    seq: int
    feed: str
    to_state: str
    at: int
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Step:
    """Where a message is to go. `patients` are the keyed ids of the journal row."""

    seq: int
    feed: str
    to: str
    who: str
    why: str = ""
    patients: tuple[bytes, ...] = ()
    txn: int | None = None
    fingerprint: str | None = None
    code: str | None = None
    took_us: int | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """Lanes that a worker holds until a time, each with its fencing token."""

    worker: str
    tokens: dict[int, int]
    until: int


_COLUMNS = "seq, feed, state, stamp, attempt, txn, fingerprint, code, at"


def claim(
    conn: Connection, org: str, worker: str, lanes: Iterable[int], now: int, lease_ms: int, *, scheme: int = SCHEME
) -> Lease:
    """Take or keep what is free of these lanes. A new holder's token is higher than every one before it.

    `now` is the worker's clock, and so is the end that it is told; where several machines share a database, the lease
    itself runs by the database's.
    """
    hot = Hot(conn)
    theirs = hot.now_ms(now)
    until = theirs + lease_ms
    tokens: dict[int, int] = {}
    sql = """
        INSERT INTO lane(org, scheme, lane, worker, token, until) VALUES (?, ?, ?, ?, 1, ?)
        ON CONFLICT(org, scheme, lane) DO UPDATE SET
          token = lane.token + CASE WHEN lane.worker = excluded.worker AND lane.until > ? THEN 0 ELSE 1 END,
          worker = excluded.worker, until = excluded.until
        WHERE lane.worker IS NULL OR lane.worker = excluded.worker OR lane.until <= ?
        RETURNING token
    """
    for lane in sorted(set(lanes)):
        if row := hot.one(sql, (org, scheme, lane, worker, until, theirs, theirs)):
            tokens[lane] = int(row[0])
    return Lease(worker, tokens, now + lease_ms)


def release(conn: Connection, org: str, lease: Lease) -> None:
    """Give lanes back; those that someone else took meanwhile stay theirs."""
    rows = [(org, SCHEME, lane, lease.worker, token) for lane, token in lease.tokens.items()]
    sql = "UPDATE lane SET worker = NULL WHERE org = ? AND scheme = ? AND lane = ? AND worker = ? AND token = ?"
    Hot(conn).many(sql, rows)


def vacate(conn: Connection, org: str) -> None:
    """Free every lane. For whoever holds the site alone: the workers named there are dead, and leases outlive them."""
    Hot(conn).run("UPDATE lane SET worker = NULL WHERE org = ? AND scheme = ?", (org, SCHEME))


def fence(conn: Connection, org: str, lease: Lease, lanes: Iterable[int]) -> None:
    """Refuse a worker whose lease passed to another. Call it in the transaction of the effects. Raises Conflict.

    The lanes stay as they are until that transaction ends: nobody takes one between the look and the commit.
    """
    wanted = sorted(set(lanes))
    sql = "SELECT lane, token FROM lane WHERE org = ? AND scheme = ? AND lane IN (…)"
    held = {row[0]: row[1] for row in Hot(conn).hold(sql, "lane", wanted, (org, SCHEME))}
    if any(lease.tokens.get(lane) != held.get(lane, 0) for lane in wanted):
        raise Conflict("a lane passed to another worker", code="fenced")


def move(conn: Connection, org: str, step: Step, at: int) -> MessageState:
    """Bring a message to its next state. Raises Conflict for a move there is not.

    Nobody else moves it meanwhile: its row is locked, and of two who make the first row one runs again.
    """
    hot = Hot(conn)
    before = state(conn, org, step.seq, hold=True)
    found = before or MessageState(step.seq, step.feed, NEW, 0, 1, None, None, None, at)
    _check_move(found, step.to)
    attempt = found.attempt + (step.to == NEW)
    txn = step.txn if step.txn is not None else found.txn
    after = MessageState(step.seq, found.feed, step.to, found.stamp + 1, attempt, txn, step.fingerprint, step.code, at)
    _put(hot, org, after, new=before is None)
    _log(hot, org, [(step.seq, attempt, found.state, step.to, at, step.who, step.why, step.took_us)])
    if step.to in BLOCKING:
        rows = [(fid, step.seq, org) for fid in set(step.patients)]
        hot.many("INSERT INTO message_patient(fid, seq, org) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", rows)
    elif found.state in BLOCKING:
        hot.run("DELETE FROM message_patient WHERE org = ? AND seq = ?", (org, step.seq))
    return after


def done(conn: Connection, org: str, step: Step, at: int, *, logged_too: bool) -> None:
    """`new` → `mapped`, the way of nearly every message; with nothing for the ledger it goes on to `delivered`."""
    move(conn, org, step, at)
    if logged_too:
        _advance(Hot(conn), org, [step.seq], at)


def logged(hot: Hot, org: str, txns: Iterable[int], at: int) -> None:
    """Move on the messages of these transactions, when every event of theirs is in the log.

    Who marks another event of the same transaction meanwhile is waited for: of two, neither would see the last.
    """
    hot.hold("SELECT txn FROM txn WHERE org = ? AND txn IN (…)", "txn", sorted(txns := set(txns)), (org,))
    sql = """
        SELECT DISTINCT m.seq FROM txn t JOIN message_state m ON m.org = t.org AND m.seq = t.seq AND m.state = 'mapped'
        WHERE t.org = ? AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.txn = t.txn AND o.ref IS NULL) AND t.txn IN (…)
    """
    _advance(hot, org, [row[0] for row in hot.each_in(sql, sorted(txns), (org,))], at)


def _advance(hot: Hot, org: str, seqs: Sequence[int], at: int) -> None:
    """`mapped` → `logged` → `delivered`: without sinks the last step follows at once."""
    sql = "SELECT seq, attempt FROM message_state WHERE org = ? AND state = 'mapped' AND seq IN (…)"
    found: dict[int, int] = {row[0]: row[1] for row in hot.hold(sql, "seq", sorted(set(seqs)), (org,))}
    for from_state, to_state in ((MAPPED, LOGGED), (LOGGED, DELIVERED)):
        _log(hot, org, [(seq, found[seq], from_state, to_state, at, "ledger", "", None) for seq in found])
    hot.many(
        "UPDATE message_state SET state = 'delivered', stamp = stamp + 2, at = ? WHERE org = ? AND seq = ?",
        [(at, org, seq) for seq in found],
    )


def replay(conn: Connection, org: str, seq: int, stamp: int, who: str, why: str, at: int) -> MessageState:
    """Send a message round again: a child attempt. `stamp` is what the operator saw. Raises Conflict, NotFound."""
    return act(conn, org, seq, stamp, NEW, who, why, at)


def discard(conn: Connection, org: str, seq: int, stamp: int, who: str, why: str, at: int) -> MessageState:
    """Leave a message for good, with a reason."""
    return act(conn, org, seq, stamp, DISCARDED, who, why, at)


def let_go(conn: Connection, org: str, seq: int, stamp: int, who: str, why: str, at: int) -> MessageState:
    """Let a held message go, before what it waits behind."""
    return act(conn, org, seq, stamp, NEW, who, why, at, code=RELEASED)


def act(
    conn: Connection, org: str, seq: int, stamp: int, to: str, who: str, why: str, at: int, *, code: str | None = None
) -> MessageState:
    """A person's move: two operators at once, and one is told so."""
    found = state(conn, org, seq, hold=True)
    if found is None:
        raise NotFound("no such message waits for anyone")
    if found.stamp != stamp:
        raise Conflict("somebody else acted on this message", code="stale")
    after = move(conn, org, Step(seq, found.feed, to, who, why, code=code), at)
    if to == NEW:
        sql = "INSERT INTO attempt(org, seq, attempt, at, who, why) VALUES (?, ?, ?, ?, ?, ?)"
        Hot(conn).run(sql, (org, seq, after.attempt, at, who, why))
    return after


def blocked(conn: Connection, org: str, patients: Sequence[bytes], seq: int) -> int | None:
    """The oldest earlier message of these patients that is quarantined or held."""
    if not patients:
        return None
    sql = "SELECT seq FROM message_patient WHERE org = ? AND seq < ? AND fid IN (…)"
    return min((row[0] for row in Hot(conn).each_in(sql, list(patients), (org, seq))), default=None)


def stopped(conn: Connection, org: str, feed: str, seq: int) -> bool:
    """Whether an earlier message of a feed under `hold-feed` waits for a person."""
    sql = """
        SELECT 1 FROM message_state WHERE org = ? AND state IN ('held', 'quarantined') AND feed = ? AND seq < ? LIMIT 1
    """
    return Hot(conn).one(sql, (org, feed, seq)) is not None


def held_behind(conn: Connection, org: str, seq: int) -> list[MessageState]:
    """What waits behind this message: the held ones of its patients, oldest first."""
    sql = f"""
        SELECT DISTINCT {", ".join(f"m.{name}" for name in _COLUMNS.split(", "))}
        FROM message_patient mine JOIN message_patient other ON other.fid = mine.fid AND other.org = mine.org
        JOIN message_state m ON m.org = other.org AND m.seq = other.seq
        WHERE mine.org = ? AND mine.seq = ? AND m.state = 'held' AND m.seq > ? ORDER BY m.seq
    """  # noqa: S608 - columns of ours
    return [MessageState(*row) for row in Hot(conn).all(sql, (org, seq, seq))]


def state(conn: Connection, org: str, seq: int, *, hold: bool = False) -> MessageState | None:
    """Where a message stands; None: it is new and was never touched. `hold`: and stays until this transaction ends."""
    hot = Hot(conn)
    if hold and hot.several:
        sql = f"SELECT {_COLUMNS} FROM message_state WHERE org = ? AND seq IN (…)"  # noqa: S608 - columns of ours
        return next((MessageState(*row) for row in hot.hold(sql, "seq", [seq], (org,))), None)
    row = hot.one(f"SELECT {_COLUMNS} FROM message_state WHERE org = ? AND seq = ?", (org, seq))  # noqa: S608 - columns of ours
    return MessageState(*row) if row else None


def in_state(
    conn: Connection, org: str, states: Iterable[str], *, feed: str | None = None, after: int = 0, limit: int = 1_000
) -> list[MessageState]:
    """Messages by state, oldest first. `new` are those sent round again."""
    wanted = sorted(states)
    sql = f"""
        SELECT {_COLUMNS} FROM message_state
        WHERE org = ? AND state IN ({", ".join("?" * len(wanted))}) AND seq > ?
        AND (CAST(? AS TEXT) IS NULL OR feed = ?)
        ORDER BY seq LIMIT ?
    """  # noqa: S608 - columns of ours
    return [MessageState(*row) for row in Hot(conn).all(sql, (org, *wanted, after, feed, feed, limit))]


def by_fingerprint(conn: Connection, org: str, fingerprint: str) -> list[MessageState]:
    """Every quarantined message of one error group, oldest first: one fix, one replay."""
    sql = f"""
        SELECT {_COLUMNS} FROM message_state
        WHERE org = ? AND fingerprint = ? AND state = 'quarantined' ORDER BY seq
    """  # noqa: S608 - columns of ours
    return [MessageState(*row) for row in Hot(conn).all(sql, (org, fingerprint))]


def groups(conn: Connection, org: str) -> list[tuple[str, str, str, int, int, int]]:
    """Error groups: fingerprint, feed, code, count, first and last seen; the largest first."""
    sql = """
        SELECT fingerprint, feed, coalesce(code, ''), count(*), min(at), max(at) FROM message_state
        WHERE org = ? AND state = 'quarantined' AND fingerprint IS NOT NULL
        GROUP BY fingerprint, feed, code ORDER BY count(*) DESC, fingerprint
    """
    return [(row[0], row[1], row[2], row[3], row[4], row[5]) for row in Hot(conn).all(sql, (org,))]


def counts(conn: Connection, org: str) -> dict[tuple[str, str], int]:
    """How many messages stand where, by feed and state."""
    sql = "SELECT feed, state, count(*) FROM message_state WHERE org = ? GROUP BY feed, state"
    return {(row[0], row[1]): row[2] for row in Hot(conn).all(sql, (org,))}


def transitions(conn: Connection, org: str, seq: int) -> list[Transition]:
    """All that happened to a message, oldest first."""
    sql = """
        SELECT attempt, from_state, to_state, at, who, why, took_us FROM transition
        WHERE org = ? AND seq = ? ORDER BY n
    """
    return [Transition(*row) for row in Hot(conn).all(sql, (org, seq))]


def steps_after(conn: Connection, org: str, after: int, limit: int) -> list[Moved]:
    """Transitions of all messages behind this one, in their order."""
    sql = """
        SELECT t.n, t.seq, m.feed, t.to_state, t.at, t.who, t.why
        FROM transition t JOIN message_state m ON m.org = t.org AND m.seq = t.seq
        WHERE t.org = ? AND t.n > ? ORDER BY t.n LIMIT ?
    """
    return [Moved(*row) for row in Hot(conn).all(sql, (org, after, limit))]


def last_step(conn: Connection, org: str, before: int | None = None) -> int:
    """The number of the last transition, of all or before a time; 0 where there is none."""
    sql = "SELECT max(n) FROM transition WHERE org = ?1 AND (CAST(?2 AS BIGINT) IS NULL OR at < ?2)"
    row = Hot(conn).one(sql, (org, before))
    return int(row[0] or 0) if row else 0


def ended(conn: Connection, org: str, seqs: Sequence[int]) -> set[int]:
    """Those of these messages that have a state, and are not to go round again."""
    sql = "SELECT seq FROM message_state WHERE org = ? AND state <> 'new' AND seq IN (…)"
    return {row[0] for row in Hot(conn).each_in(sql, sorted(seqs), (org,))}


def unseen(conn: Connection, org: str, seqs: Sequence[int]) -> list[int]:
    """Those of these journal numbers that have no state yet, in their order."""
    found = {row[0] for row in Hot(conn).each_in(_SEEN, list(seqs), (org,))} if seqs else set()
    return [seq for seq in seqs if seq not in found]


_SEEN = "SELECT seq FROM message_state WHERE org = ? AND seq IN (…)"


def mark(conn: Connection, org: str) -> int:
    """Up to here every journal row has a state: where a worker starts to read."""
    row = Hot(conn).one("SELECT seq FROM message_mark WHERE org = ?", (org,))
    return int(row[0]) if row else 0


def set_mark(conn: Connection, org: str, seq: int) -> None:
    """Move the mark forward; never back."""
    sql = """
        INSERT INTO message_mark(org, seq) VALUES (?, ?)
        ON CONFLICT(org) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > message_mark.seq
    """
    Hot(conn).run(sql, (org, seq))


def _check_move(found: MessageState, to: str) -> None:
    if to not in MOVES.get(found.state, frozenset()):
        raise Conflict(f"a message that is {found.state} cannot become {to}", code="state")


def _put(hot: Hot, org: str, one: MessageState, *, new: bool) -> None:
    values = (one.feed, one.state, one.stamp, one.attempt, one.txn, one.fingerprint, one.code, one.at, org, one.seq)
    if new:
        sql = """
            INSERT INTO message_state(feed, state, stamp, attempt, txn, fingerprint, code, at, org, seq)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """
    else:
        sql = """
            UPDATE message_state SET feed = ?, state = ?, stamp = ?, attempt = ?, txn = ?, fingerprint = ?, code = ?,
              at = ? WHERE org = ? AND seq = ?
        """
    hot.run(sql, values)


def _log(hot: Hot, org: str, rows: Sequence[tuple[int, int, str, str, int, str, str, int | None]]) -> None:
    sql = """
        INSERT INTO transition(org, seq, attempt, from_state, to_state, at, who, why, took_us)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    """
    hot.many(sql, [(org, *row) for row in rows])
