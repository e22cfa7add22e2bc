"""What operators do with messages, recorded before it is done: an `operator.acted` entry for each act.

Every act is whole or not at all, and of two operators at once one is told that the other was quicker. A message that
was refused at receipt has no state until someone acts on it. Feeds are `feed_acts.py`'s.
Source: ledger chapter §5; operations chapter §4.
"""

import os
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection

from adapter.access import audit
from adapter.errors import Conflict, NotFound
from adapter.inbound.journal import JournalReader
from adapter.inbound.journal_table import NEW, REJECTED, Row
from adapter.obstacles import BEHIND, FEED_WAITS
from adapter.site import Site, now
from adapter.store import messages, replies
from adapter.store.messages import MessageState, Step
from adapter.store.replies import Owed
from ledger.commitment import SubjectKey

SHARED = 0
BY_HAND = "on hold: "  # before the reason that a person gave: no feed that runs again, no replay of another lets it go

Move = Callable[[Connection, MessageState, int], None]


async def record(site: Site, actor: str, action: str, target: str) -> str:
    """Append the entry; its reference. Raises AppendFailed: then nothing may be done."""
    key = SubjectKey(SHARED, site.keyring.owner(SHARED).commitment)
    event = audit.operator_acted(key, site.org, now(), os.urandom, actor=actor, action=action, target=target)
    (receipt,) = await site.ledger.append([event])
    return str(receipt)


async def waiting(site: Site, journal: JournalReader, seqs: Sequence[int]) -> dict[int, MessageState]:
    """What a replay of these messages would send round again, oldest first: they, and the ones held behind them.

    Changes nothing. Raises NotFound.
    """
    rows = {seq: await journal.row(seq) for seq in seqs}
    found = await site.store.read(lambda conn: _waiting(conn, site.org, rows))
    return {seq: found[seq] for seq in sorted(found)}


async def replay(site: Site, journal: JournalReader, seqs: Sequence[int], who: str, why: str) -> list[int]:
    """Send messages round again, and with each the ones held behind it; the numbers, oldest first.

    A message that was refused at receipt may be sent round too. Raises NotFound for a number that waits for nobody,
    Conflict where somebody else was quicker.
    """
    rows = {seq: await journal.row(seq) for seq in seqs}
    found = await site.store.read(lambda conn: _waiting(conn, site.org, rows))
    return await _act(site, "msg.replay", who, rows, found, _again(site.org, who, why))


def send_round(
    conn: Connection, org: str, rows: Mapping[int, Row], found: Mapping[int, MessageState], who: str, at: int
) -> list[int]:
    """The moves of a replay alone, in the caller's transaction. Raises Conflict where somebody else was quicker."""
    return _move_all(conn, org, rows, found, _again(org, who, "replay"), at)


def _again(org: str, who: str, why: str) -> Move:
    def move(conn: Connection, one: MessageState, at: int) -> None:
        messages.replay(conn, org, one.seq, one.stamp, who, why, at)

    return move


async def hold(site: Site, journal: JournalReader, seqs: Sequence[int], who: str, why: str) -> list[int]:
    """Keep messages that have not taken effect from doing so, until they are released. Raises NotFound, Conflict."""
    rows = {seq: await journal.row(seq) for seq in seqs}
    found = await site.store.read(lambda conn: _chosen(conn, site.org, rows, {messages.NEW}, "has its state already"))

    def keep(conn: Connection, one: MessageState, at: int) -> None:
        step = Step(one.seq, one.feed, messages.HELD, who, BY_HAND + why, rows[one.seq].patients)
        messages.move(conn, site.org, step, at)
        if rows[one.seq].unanswered:  # its sender waits for nothing else
            replies.owe(conn, site.org, Owed(one.seq, one.feed, rows[one.seq].due, messages.HELD, at=at))

    return await _act(site, "msg.hold", who, rows, found, keep, why)


async def release(site: Site, journal: JournalReader, seqs: Sequence[int], who: str, why: str) -> list[int]:
    """Let held messages go, before what they wait behind; only their feed may still hold them. Raises NotFound."""
    rows = {seq: await journal.row(seq) for seq in seqs}
    found = await site.store.read(lambda conn: _chosen(conn, site.org, rows, {messages.HELD}, "is not held"))

    def let_go(conn: Connection, one: MessageState, at: int) -> None:
        messages.let_go(conn, site.org, one.seq, one.stamp, who, why, at)

    return await _act(site, "msg.release", who, rows, found, let_go, why)


async def discard(site: Site, journal: JournalReader, seqs: Sequence[int], who: str, why: str) -> list[int]:
    """Leave messages for good. What was held behind them alone goes round again. Raises NotFound, Conflict."""
    rows = {seq: await journal.row(seq) for seq in seqs}
    found = await site.store.read(lambda conn: _discardable(conn, site.org, rows))

    def leave(conn: Connection, one: MessageState, at: int) -> None:
        if one.seq not in rows:
            messages.replay(conn, site.org, one.seq, one.stamp, who, "what it waited behind was discarded", at)
            return
        messages.discard(conn, site.org, one.seq, one.stamp, who, why, at)
        if due := rows[one.seq].due:
            replies.owe(conn, site.org, Owed(one.seq, one.feed, due, messages.DISCARDED, at=at))

    await _act(site, "msg.discard", who, rows, found, leave, why)
    return sorted(rows)


async def _act(
    site: Site,
    action: str,
    who: str,
    rows: Mapping[int, Row],
    found: Mapping[int, MessageState],
    move: Move,
    why: str = "",
) -> list[int]:
    """Record, then move all of them, oldest first, or none."""
    await record(site, who, action, f"{','.join(map(str, sorted(found)))} {why}".rstrip())
    at = int(now().timestamp() * 1000)
    return await site.store.write(lambda conn: _move_all(conn, site.org, rows, found, move, at))


def _move_all(
    conn: Connection, org: str, rows: Mapping[int, Row], found: Mapping[int, MessageState], move: Move, at: int
) -> list[int]:
    for seq in sorted(found):
        one = found[seq]
        if one.state == messages.REJECTED and not one.stamp:
            one = _enter_refused(conn, org, rows[seq], at)
        move(conn, one, at)
    return sorted(found)


async def by_fingerprint(site: Site, fingerprint: str) -> list[int]:
    """The quarantined messages of one error group, oldest first."""
    states = await site.store.read(lambda conn: messages.by_fingerprint(conn, site.org, fingerprint))
    return [state.seq for state in states]


def _found(conn: Connection, org: str, row: Row) -> MessageState | None:
    """Where a message stands. A refused one, and one that nobody has touched, has no state of its own yet: stamp 0."""
    found = messages.state(conn, org, row.seq)
    if found is None and row.state in (REJECTED, NEW):
        return MessageState(row.seq, row.feed, row.state, 0, 1, None, None, None, 0)
    return found


def _chosen(
    conn: Connection, org: str, rows: Mapping[int, Row], states: set[str] | frozenset[str], otherwise: str
) -> dict[int, MessageState]:
    """These messages, each in one of the states. Raises NotFound."""
    found: dict[int, MessageState] = {}
    for seq, row in rows.items():
        state = _found(conn, org, row)
        if state is None or state.state not in states:
            raise NotFound(f"message {seq} {otherwise}", hint=f"chartbridge msg show {seq}")
        found[seq] = state
    return found


def _waiting(conn: Connection, org: str, rows: Mapping[int, Row]) -> dict[int, MessageState]:
    """The messages themselves and all that is held behind them, or behind what is held behind them."""
    return _with_those_behind(conn, org, _chosen(conn, org, rows, messages.REPLAYABLE, "waits for nobody"))


def _discardable(conn: Connection, org: str, rows: Mapping[int, Row]) -> dict[int, MessageState]:
    states = messages.REPLAYABLE | {messages.DEAD}
    return _with_those_behind(conn, org, _chosen(conn, org, rows, states, "waits for nobody"))


def _with_those_behind(conn: Connection, org: str, found: dict[int, MessageState]) -> dict[int, MessageState]:
    """And what is held behind these, or behind what is held behind them; not what a person holds, or its feed."""
    reached = list(found.values())
    while reached:
        one = reached.pop()
        for held in [*messages.held_behind(conn, org, one.seq), *_held_in_feed(conn, org, one)]:
            if held.seq not in found and _waits_behind(conn, org, held.seq):
                found[held.seq] = held
                reached.append(held)
    return found


def _waits_behind(conn: Connection, org: str, seq: int) -> bool:
    why = messages.transitions(conn, org, seq)[-1].why
    return why.startswith(BEHIND) or why == FEED_WAITS


def _held_in_feed(conn: Connection, org: str, behind: MessageState) -> list[MessageState]:
    """What a message holds up because it stopped its feed."""
    if behind.state != messages.QUARANTINED:
        return []
    held: list[MessageState] = []
    after = behind.seq
    while some := messages.in_state(conn, org, [messages.HELD], feed=behind.feed, after=after):
        after = some[-1].seq
        held += [one for one in some if messages.transitions(conn, org, one.seq)[-1].why == FEED_WAITS]
    return held


def _enter_refused(conn: Connection, org: str, row: Row, at: int) -> MessageState:
    """Give a refused message its first state, which only the journal knew. Raises Conflict."""
    if messages.state(conn, org, row.seq) is not None:
        raise Conflict("somebody else acted on this message", code="stale")
    step = Step(row.seq, row.feed, messages.REJECTED, "receipt", " ".join(row.issues))
    return messages.move(conn, org, step, at)
