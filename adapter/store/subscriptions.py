"""Who wants to hear of which patient, and the notices they are owed.

A notice is written in the transaction of the change it tells of, under an event id that is fixed there: nothing is lost
between the two, and a retry is the same event. Rows hold numbers and types, no content: what a notice says is decided
when it is sent, by the gate (`adapter/notices/`).

`live` subscriptions (requested, active) collect notices. What arrived, or was not for its subscriber, is deleted; what
was given up stays as a dead letter until an operator sends it again or its Subscription is deleted.

Whoever changes one locks in one order: what `locks.py` takes, the row of the subscription, its notices. A change that
is told of only adds notices, and locks no subscription.
Source: fhir chapter §5 (outbox), §10 (subscriptions).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from adapter.seal.keyring import SHARED
from adapter.store import owners
from adapter.store.engine import Hot
from adapter.store.tables import LIVE
from adapter.store.unit import Change

REQUESTED, ACTIVE, ERROR, OFF = "requested", "active", "error", "off"
# topic → the types it is about (none: every type), and the changes that it tells of
TOPICS: dict[str, tuple[frozenset[str], str]] = {
    "consent-changed": (frozenset({"Consent"}), "cud"),
    "document-available": (frozenset({"DocumentReference"}), "cu"),
    "resource-changed": (frozenset(), "cud"),
}
_COLUMNS = "rid, client, scope, purposes, owner, topic, status, events, tries, failing_since, rest_until"
_NOTICE = "n, id, subscription, kind, type, rid, ver, op, at, tries, dead"

_NO_HANDSHAKE = "DELETE FROM notice WHERE subscription = ? AND kind = ?"
HANDSHAKE, EVENT = "handshake", "event"

Draw = Callable[[], tuple[int, bytes]]  # the number of a row, and the id of its event


@dataclass(frozen=True, slots=True)
class Standing:
    """One subscription as it is worked off. Times are milliseconds; `owner` is the patient's."""

    rid: int
    client: str
    scope: str
    purposes: str
    owner: int
    topic: str
    status: str
    events: int = 0
    tries: int = 0
    failing_since: int | None = None
    rest_until: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """One event that a subscriber is owed, or the handshake. `dead` says why it was given up."""

    n: int
    id: bytes
    subscription: int
    kind: str
    type: str
    rid: int
    ver: int
    op: str
    at: int
    tries: int = 0
    dead: str | None = field(default=None)

    @property
    def handshake(self) -> bool:
        return self.kind == HANDSHAKE


# Written with the change -------------------------------------------------------------------------------------------


def note(conn: Connection, org: str, changes: Sequence[Change], at: int, draw: Draw) -> None:
    """Owe a notice of each change to each live subscription that it concerns. Within the change's transaction."""
    hot = Hot(conn)
    changed = {one.owner for one in changes} - {SHARED}
    if not changed or hot.one("SELECT 1 FROM subscription WHERE org = ? LIMIT 1", (org,)) is None:
        return
    behind = {owner: {facts.owner for facts in owners.patients(conn, org, owner)} for owner in changed}
    patients = sorted(set().union(*behind.values()))
    sql = f"SELECT {_COLUMNS} FROM subscription WHERE {LIVE} AND org = ? AND owner IN (…)"  # noqa: S608
    for listener in [Standing(*row) for row in hot.each_in(sql, patients, (org,))]:
        told = [one for one in changes if listener.owner in behind.get(one.owner, ()) and _concerns(listener, one)]
        for one in told:
            n, event_id = draw()
            _insert(hot, org, Notice(n, event_id, listener.rid, EVENT, one.type, one.rid, one.ver, one.op, at))


def _concerns(listener: Standing, change: Change) -> bool:
    types, operations = TOPICS[listener.topic]
    return change.op in operations and (not types or change.type in types)


def _insert(hot: Hot, org: str, one: Notice) -> None:
    sql = f"INSERT INTO notice(org, {_NOTICE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
    at = (one.type, one.rid, one.ver, one.op, one.at, one.tries, one.dead)
    hot.run(sql, (org, one.n, one.id, one.subscription, one.kind, *at))


# A client's own ----------------------------------------------------------------------------------------------------


def put(conn: Connection, org: str, wanted: Standing) -> None:
    """Make or change what a subscription is; what has happened so far goes on being counted, failures do not."""
    sql = """
        INSERT INTO subscription(org, rid, client, scope, purposes, owner, topic, status, events, tries,
                                 failing_since, rest_until, held_until)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, NULL, 0, 0)
        ON CONFLICT(rid) DO UPDATE SET scope = excluded.scope, purposes = excluded.purposes, owner = excluded.owner,
          topic = excluded.topic, status = excluded.status, tries = 0, failing_since = NULL, rest_until = 0
    """
    one = wanted
    Hot(conn).run(sql, (org, one.rid, one.client, one.scope, one.purposes, one.owner, one.topic, one.status))


def shake(conn: Connection, org: str, rid: int, ver: int, at: int, draw: Draw) -> None:
    """Owe the handshake, once."""
    hot = Hot(conn)
    hot.run(_NO_HANDSHAKE, (rid, HANDSHAKE))
    n, event_id = draw()
    _insert(hot, org, Notice(n, event_id, rid, HANDSHAKE, "Subscription", rid, ver, "u", at))


def forget(conn: Connection, rid: int) -> None:
    """Owe nothing any more: it was switched off, deleted, or is about another patient now."""
    Hot(conn).run("DELETE FROM notice WHERE subscription = ?", (rid,))


def client_of(conn: Connection, rid: int) -> str | None:
    """Whose Subscription this is; None for one that did not come by its own way."""
    found = Hot(conn).one("SELECT client FROM subscription WHERE rid = ?", (rid,))
    return found[0] if found else None


def standing(conn: Connection, org: str, rid: int) -> Standing | None:
    found = Hot(conn).one(f"SELECT {_COLUMNS} FROM subscription WHERE org = ? AND rid = ?", (org, rid))  # noqa: S608
    return Standing(*found) if found else None


def every(conn: Connection, org: str) -> list[tuple[Standing, int, int]]:
    """All, with how many notices wait and how many were given up."""
    sql = "SELECT subscription, count(*), count(dead) FROM notice WHERE org = ? GROUP BY subscription"
    counts = {row[0]: (row[1] - row[2], row[2]) for row in Hot(conn).all(sql, (org,))}
    rows = Hot(conn).all(f"SELECT {_COLUMNS} FROM subscription WHERE org = ? ORDER BY rid", (org,))  # noqa: S608
    return [(one, *counts.get(one.rid, (0, 0))) for one in (Standing(*row) for row in rows)]


# Sending -----------------------------------------------------------------------------------------------------------


def due(conn: Connection, org: str, now: int, limit: int) -> list[int]:
    """Live subscriptions that are owed something, and neither rest nor are being sent to."""
    sql = f"""
        SELECT s.rid FROM subscription s
        WHERE s.{LIVE} AND s.org = ? AND s.rest_until <= ? AND s.held_until <= ?
          AND EXISTS (SELECT 1 FROM notice n WHERE n.subscription = s.rid AND n.dead IS NULL)
        ORDER BY s.rest_until, s.rid LIMIT ?
    """  # noqa: S608
    return [row[0] for row in Hot(conn).all(sql, (org, now, now, limit))]


def claim(conn: Connection, rid: int, now: int, until: int) -> bool:
    """Whether this worker sends for it now: nobody else does until then. `until` is the claim's name, too."""
    sql = "UPDATE subscription SET held_until = ? WHERE rid = ? AND held_until <= ?"
    return Hot(conn).run(sql, (until, rid, now)) == 1


def renew(conn: Connection, rid: int, held: int, until: int) -> bool:
    """Hold it longer; False where somebody else holds it now."""
    sql = "UPDATE subscription SET held_until = ? WHERE rid = ? AND held_until = ?"
    return Hot(conn).run(sql, (until, rid, held)) == 1


def release(conn: Connection, rid: int, held: int) -> None:
    """Let go of it, unless somebody else holds it now."""
    renew(conn, rid, held, 0)


def vacate(conn: Connection, org: str) -> None:
    """End every claim. For whoever holds the site alone: the workers that made them are dead."""
    Hot(conn).run("UPDATE subscription SET held_until = 0 WHERE org = ? AND held_until > 0", (org,))


def hold(conn: Connection, rids: Iterable[int]) -> None:
    """Nobody else changes these until this transaction ends."""
    Hot(conn).hold("SELECT rid FROM subscription WHERE rid IN (…)", "rid", sorted(rids))


def waiting(conn: Connection, rid: int) -> Notice | None:
    """What is to be sent next: the handshake, then events in their order."""
    sql = f"""
        SELECT {_NOTICE} FROM notice WHERE subscription = ? AND dead IS NULL
        ORDER BY CASE WHEN kind = ? THEN 0 ELSE 1 END, n LIMIT 1
    """  # noqa: S608
    found = Hot(conn).one(sql, (rid, HANDSHAKE))
    return Notice(*found) if found else None


def done(conn: Connection, one: Notice, held: int, until: int, *, told: bool) -> bool:
    """It arrived, or was not for its subscriber, who must not see a gap in the numbers then. Sent twice, it is counted
    once. Whether the claim still was this worker's, and is held longer."""
    hot = Hot(conn)
    hold(conn, (one.subscription,))
    gone = hot.run("DELETE FROM notice WHERE n = ?", (one.n,))
    counted = gone if told and not one.handshake else 0
    sql = "UPDATE subscription SET events = events + ?, tries = 0, failing_since = NULL, rest_until = 0 WHERE rid = ?"
    hot.run(sql, (counted, one.subscription))
    return renew(conn, one.subscription, held, until)


def failed(conn: Connection, one: Notice, now: int, rest_until: int) -> None:
    """It did not arrive: all of this subscription waits."""
    hot = Hot(conn)
    sql = """
        UPDATE subscription SET tries = tries + 1, failing_since = coalesce(failing_since, ?), rest_until = ?
        WHERE rid = ?
    """
    hot.run(sql, (now, rest_until, one.subscription))
    hot.run("UPDATE notice SET tries = tries + 1 WHERE n = ?", (one.n,))


def give_up(conn: Connection, rid: int, why: str) -> None:
    """What waits becomes dead letters; a handshake that never was answered is none."""
    hot = Hot(conn)
    hot.run(_NO_HANDSHAKE, (rid, HANDSHAKE))
    hot.run("UPDATE notice SET dead = ? WHERE subscription = ? AND dead IS NULL", (why, rid))


def became(conn: Connection, rid: int, status: str) -> None:
    """Its status; from `requested` on its failures are counted anew."""
    sql = "UPDATE subscription SET status = ? WHERE rid = ?"
    if status == REQUESTED:
        sql = "UPDATE subscription SET status = ?, tries = 0, failing_since = NULL, rest_until = 0 WHERE rid = ?"
    Hot(conn).run(sql, (status, rid))


# Dead letters ------------------------------------------------------------------------------------------------------


def dead(conn: Connection, org: str, rid: int | None = None) -> list[Notice]:
    """What was given up, oldest first."""
    sql = f"SELECT {_NOTICE} FROM notice WHERE org = ? AND dead IS NOT NULL ORDER BY n"  # noqa: S608
    found = [Notice(*row) for row in Hot(conn).all(sql, (org,))]
    return [one for one in found if rid is None or one.subscription == rid]


def revive(conn: Connection, numbers: Iterable[int]) -> int:
    """Owe dead letters again, in their old order under their old ids; how many."""
    hot = Hot(conn)
    sql = "UPDATE notice SET dead = NULL, tries = 0 WHERE n = ? AND dead IS NOT NULL"
    return sum(hot.run(sql, (n,)) for n in numbers)
