"""What stands in a message's way: its feed, or an earlier message that waits for a person.

A message that meets an obstacle is `held`, and the reason stands in its transition, for it says what lets it go: a feed
that processes again (`resume`), or what a person does with the message it waits behind (`operators.py`).
Source: operations chapter §4 (states, poison).
"""

from collections.abc import Mapping

from sqlalchemy import Connection

from adapter.inbound.feed import Feed
from adapter.inbound.journal_table import Row
from adapter.store import messages
from adapter.store.messages import MessageState, Step

PAUSED, STOPPED, NO_FEED = "feed paused", "feed stopped", "feed is not configured"
FEED_WAITS = "feed waits behind a quarantined message"
BEHIND = "behind message "


def obstacle(conn: Connection, org: str, feed: Feed | None, row: Row, found: MessageState | None) -> str:
    """Why this message has to wait; empty when nothing is in its way. One that a person released waits for its feed
    alone."""
    if feed is None:
        return NO_FEED
    if not feed.processes:
        return PAUSED if feed.state == "paused" else STOPPED
    if found is not None and found.code == messages.RELEASED:
        return ""
    if feed.policy.poison == messages.HOLD_FEED and messages.stopped(conn, org, row.feed, row.seq):
        return FEED_WAITS
    if feed.policy.poison == messages.HOLD_PATIENT:
        earlier = messages.blocked(conn, org, row.patients, row.seq)
        return f"{BEHIND}{earlier}" if earlier is not None else ""
    return ""


def resume(conn: Connection, org: str, feeds: Mapping[str, Feed], who: str, at: int) -> None:
    """Messages that came while their feed was paused, stopped or not configured go on once it processes."""
    for name, feed in feeds.items():
        after = 0
        while feed.processes and (some := messages.in_state(conn, org, [messages.HELD], feed=name, after=after)):
            after = some[-1].seq
            for held in some:
                if not _still(conn, org, held.seq):
                    continue
                if messages.transitions(conn, org, held.seq)[-1].why in (PAUSED, STOPPED, NO_FEED):
                    messages.move(conn, org, Step(held.seq, name, messages.NEW, who, "feed runs"), at)


def _still(conn: Connection, org: str, seq: int) -> bool:
    """Whether it is still held: another worker may have begun, too."""
    found = messages.state(conn, org, seq, hold=True)
    return found is not None and found.state == messages.HELD
