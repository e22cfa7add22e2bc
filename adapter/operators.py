"""What operators do, recorded before it is done: `operator.acted` entries, and the acts that need one.

Source: ledger chapter §5; operations chapter §4.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import Connection

from adapter.access import audit
from adapter.child import find_profile
from adapter.errors import NotFound
from adapter.inbound.feed import Feed, read_feed
from adapter.inbound.journal import JournalReader
from adapter.inbound.journal_table import REJECTED, Row
from adapter.site import Site, now
from adapter.store import messages
from adapter.store.messages import MessageState, Step
from ledger.commitment import SubjectKey
from mappings.profile import load_profile

SHARED = 0


async def record(site: Site, actor: str, action: str, target: str) -> str:
    """Append the entry; its reference. Raises AppendFailed: then nothing may be done."""
    key = SubjectKey(SHARED, site.keyring.owner(SHARED).commitment)
    event = audit.operator_acted(key, site.org, now(), os.urandom, actor=actor, action=action, target=target)
    (receipt,) = await site.ledger.append([event])
    return str(receipt)


async def apply_feed(site: Site, file: Path, author: str) -> tuple[Feed, str]:
    """Check a feed and its profile, and record that it is applied; putting the file in place is the caller's."""
    feed = read_feed(file, site.folder, site.org)
    load_profile(find_profile(str(site.folder), feed.profile))
    return feed, await record(site, author, "feed.apply", f"{feed.name} {feed.revision}")


async def replay(site: Site, journal: JournalReader, seqs: Sequence[int], who: str, why: str) -> list[int]:
    """Send messages round again, and with each the ones held behind it; the numbers, oldest first.

    A message that was refused at receipt may be sent round too. Raises NotFound for a number that waits for nobody,
    Conflict where somebody else was quicker.
    """
    rows = {seq: await journal.row(seq) for seq in seqs}
    at = int(now().timestamp() * 1000)
    found = await site.store.write(lambda conn: _waiting(conn, site.org, rows, at))
    await record(site, who, "msg.replay", ",".join(str(state.seq) for state in found))

    def work(conn: Connection) -> list[int]:
        return [messages.replay(conn, site.org, one.seq, one.stamp, who, why, at).seq for one in found]

    return await site.store.write(work)


async def by_fingerprint(site: Site, fingerprint: str) -> list[int]:
    """The quarantined messages of one error group, oldest first."""
    states = await site.store.read(lambda conn: messages.by_fingerprint(conn, site.org, fingerprint))
    return [state.seq for state in states]


def _waiting(conn: Connection, org: str, rows: Mapping[int, Row], at: int) -> list[MessageState]:
    """The messages themselves and those held behind them. A refused one gets its state here: the journal knows it."""
    found: dict[int, MessageState] = {}
    for seq, row in rows.items():
        state = messages.state(conn, org, seq)
        if state is None and row.state == REJECTED:
            state = messages.move(
                conn, org, Step(seq, row.feed, messages.REJECTED, "receipt", " ".join(row.issues)), at
            )
        if state is None or state.state not in messages.REPLAYABLE:
            raise NotFound(f"message {seq} waits for nobody", hint="chartbridge msg list")
        found |= {one.seq: one for one in [state, *messages.held_behind(conn, org, seq)]}
    return [found[seq] for seq in sorted(found)]
