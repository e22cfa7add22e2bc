"""One message, once it is its turn: what a child makes of it, and what becomes of it. Steps 3 and 4 of the pipeline.

A stranger, a filter, a failure, an earlier message of the patient that waits for a person, or effects: each is a state
with its reason, written in the caller's transaction together with what the sender is still to hear. Who takes, orders
and commits is `pipeline.py`'s; `rehearsal.py` does the same in a transaction that it takes back.
Source: operations chapter §4.
"""

import os
import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import structlog
from sqlalchemy import Connection

from adapter import obstacles, wire
from adapter.children import ChildFailed, Children
from adapter.entropy import Buffered
from adapter.errors import OURS, ChartbridgeError, IntegrityFault, whereabouts
from adapter.inbound.ack import fingerprint
from adapter.inbound.feed import Feed
from adapter.inbound.journal_table import Row
from adapter.seal.keyring import Keyring
from adapter.store import locks, messages, replies
from adapter.store.engine import Hot
from adapter.store.messages import Step
from adapter.store.replies import Owed
from adapter.store.unit import Convert, Entry, Unit, Written
from adapter.store.writing import commit_unit, in_order
from mappings.errors import MappingError

log = structlog.get_logger()

TRIES = 2
ISSUES_KEPT = 20  # of one message, in its transition; the rest is counted
WRONG_SENDER = "wrong-sender"
_ORDINAL = re.compile(r"(?<=[a-z])\[[0-9]+\]|(?<=[a-zA-Z\]]) line [0-9]+$")


@dataclass(slots=True)
class Work:
    """One message on its way through: its journal row and, once converted, what came of it."""

    row: Row
    answer: wire.Answer | None = None
    took_us: int = 0
    written: Written | None = field(default=None, repr=False)


class SealFailed(ChartbridgeError):
    """A fault of ours while a message was merged, validated or sealed."""

    code = "seal-failed"


async def convert(children: Children, feed: Feed | None, row: Row, body: bytes | None) -> wire.Answer:
    """Step 3: what a child says of a message, or why it was not asked."""
    if body is None:
        return failed("content-gone")
    if feed is None or not feed.processes:
        return failed("not-asked")  # it will be held
    question = wire.pack(wire.Question(row.feed, row.at, body, WRONG_SENDER in row.issues))
    reason = ""
    for _ in range(TRIES):
        try:
            return wire.read_answer(await children.ask(question))
        except ChildFailed as exc:
            reason = exc.reason
        except wire.BadAnswer as exc:
            return failed(exc.code)
    return failed("conversion-" + reason.replace(" ", "-"))


class Decider:
    """Decides for one worker. `feeds` are those that it runs, and may be replaced."""

    def __init__(self, org: str, keyring: Keyring, worker: str, feeds: Mapping[str, Feed]) -> None:
        self._org, self._keyring, self._worker = org, keyring, worker
        self.feeds = feeds
        self._draw = Buffered(os.urandom)  # nonces: one for each version

    def in_order(self, works: Sequence[Work], at: datetime, conn: Connection) -> list[str]:
        """Step 4 for these, in this order, each in a SAVEPOINT; the states they are in now. Raises NeedKeys."""

        def refused(conn: Connection, number: int, error: ChartbridgeError | MappingError) -> str:
            return self._refused(works[number], at, conn, error)

        self._lock(works, conn)
        return in_order(conn, [partial(self._apply, work, at) for work in works], refused)

    def _lock(self, works: Sequence[Work], conn: Connection) -> None:
        """The locks of all, before the first SAVEPOINT. What cannot be read is refused in its turn."""
        hot = Hot(conn)
        if hot.several:
            entries = list[Entry]()
            for work in works:
                if work.answer is not None and work.answer.failure is None:
                    with suppress(wire.BadAnswer):
                        entries += map(Convert, wire.resources(work.answer))
            locks.take(hot, self._keyring.organisation(), entries)

    def _apply(self, work: Work, at: datetime, conn: Connection) -> str:
        row, org = work.row, self._org
        found = messages.state(conn, org, row.seq)
        if found is not None and found.state != messages.NEW:
            return found.state
        if why := obstacles.obstacle(conn, org, self.feeds.get(row.feed), row, found):
            return self._step(conn, at, row, self._to(row, messages.HELD, why))
        answer = work.answer
        if answer is None:
            raise RuntimeError("a message in hand has been converted")
        if answer.failure is not None:
            return self._step(conn, at, row, self._quarantine(row, "convert", answer.failure))
        if answer.filtered:
            return self._step(conn, at, row, self._to(row, messages.FILTERED, answer.filtered))
        try:
            return self._effects(conn, at, work, answer)
        except (*OURS, sqlite3.IntegrityError, sqlite3.DataError) as exc:
            log.error("message.seal_failed", feed=row.feed, seq=row.seq, fault=whereabouts(exc))
            raise SealFailed("a fault of the program, not of the message") from exc

    def _effects(self, conn: Connection, at: datetime, work: Work, answer: wire.Answer) -> str:
        row, feed = work.row, self.feeds.get(work.row.feed)
        unit = Unit(
            kind="transform.cda" if answer.document else "transform.hl7v2",
            who=row.feed,
            at=at,
            entries=tuple(Convert(mapped) for mapped in wire.resources(answer)),
            effects=wire.effects(answer),
            clear={"map": answer.rows},
            secret={"source": answer.digest.hex()},
            seq=row.seq,
            invariants=feed is not None and feed.policy.invariants,
        )
        written = work.written = commit_unit(conn, unit, self._keyring, self._draw, locked=True)
        why = _summary([*answer.issues, *(wire.WireIssue(i.code, "", i.type, "") for i in written.issues)], row.issues)
        step = self._to(row, messages.MAPPED, why, txn=written.txn or None, took_us=work.took_us)
        messages.done(conn, self._org, step, _ms(at), logged_too=not written.events)
        self._owe(conn, at, row, step)
        return messages.MAPPED

    def _refused(self, work: Work, at: datetime, conn: Connection, error: ChartbridgeError | MappingError) -> str:
        """What the store would not take: quarantined, with its own reason."""
        row = work.row
        if isinstance(error, IntegrityFault):
            log.error("store.altered", feed=row.feed, seq=row.seq)
        code = error.code if isinstance(error, ChartbridgeError) else child_code(error)
        first = error.items[0] if isinstance(error, ChartbridgeError) and error.items else None
        place = f"{first.expression} {first.rule}".rstrip() if first else ""
        failure = wire.WireIssue(code, "error", place, "")
        return self._step(conn, at, row, self._quarantine(row, "seal", failure))

    def _quarantine(self, row: Row, stage: str, failure: wire.WireIssue) -> Step:
        kind = fingerprint(row.feed, stage, failure.code, _kind(failure.place), failure.row)
        why = f"{failure.code} {failure.place}".rstrip()
        return self._to(row, messages.QUARANTINED, why, fingerprint=kind, code=failure.code)

    def _to(
        self,
        row: Row,
        state: str,
        why: str,
        *,
        txn: int | None = None,
        took_us: int | None = None,
        fingerprint: str | None = None,
        code: str | None = None,
    ) -> Step:
        worker = self._worker
        return Step(row.seq, row.feed, state, worker, why, row.patients, txn, fingerprint, code, took_us)

    def _step(self, conn: Connection, at: datetime, row: Row, step: Step) -> str:
        self._owe(conn, at, row, step)
        return messages.move(conn, self._org, step, _ms(at)).state

    def _owe(self, conn: Connection, at: datetime, row: Row, step: Step) -> None:
        """What the sender is to hear, if it asked. One that is held will end otherwise; only where a sender has heard
        nothing at all, and may wait on an open connection, is that an answer."""
        if not row.due or (step.to == messages.HELD and not row.unanswered):
            return
        place = step.why.partition(" ")[2] if step.to == messages.QUARANTINED else ""
        owed = Owed(row.seq, row.feed, row.due, step.to, step.code or "", place, step.fingerprint or "", _ms(at))
        replies.owe(conn, self._org, owed)


def child_code(error: MappingError) -> str:
    """The code of a mapping error, as the quarantine groups it."""
    return str(getattr(error, "code", "unreadable"))


def failed(code: str) -> wire.Answer:
    return wire.Answer(failure=wire.WireIssue(code, "error", "", ""))


def _summary(issues: Sequence[wire.WireIssue], received: Sequence[str]) -> str:
    """Which issues a message had, with their places: for the person who looks at it. No value among them."""
    named = [
        *received,
        *(f"{issue.code} {issue.place}".rstrip() for issue in issues if issue.severity != "information"),
    ]
    more = f", and {len(named) - ISSUES_KEPT} more" if len(named) > ISSUES_KEPT else ""
    return ", ".join(named[:ISSUES_KEPT]) + more


def _kind(place: str) -> str:
    """A place of a document without ordinals and line; that of a message as it stands."""
    return _ORDINAL.sub("", place)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
