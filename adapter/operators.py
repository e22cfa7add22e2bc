"""What operators do, recorded before it is done: `operator.acted` entries, and the acts that need one.

Source: ledger chapter §5; operations chapter §4.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import Connection

from adapter.access import audit
from adapter.errors import ConfigurationError, Conflict, NotFound
from adapter.files import sync_folder, write_private
from adapter.inbound.feed import FOLDER, Feed, read_feed
from adapter.inbound.journal import JournalReader
from adapter.inbound.journal_table import REJECTED, Row
from adapter.pipeline import FEED_WAITS
from adapter.profiles import site_profile
from adapter.site import Site, now
from adapter.store import messages
from adapter.store.messages import MessageState, Step
from ledger.commitment import SubjectKey

SHARED = 0


async def record(site: Site, actor: str, action: str, target: str) -> str:
    """Append the entry; its reference. Raises AppendFailed: then nothing may be done."""
    key = SubjectKey(SHARED, site.keyring.owner(SHARED).commitment)
    event = audit.operator_acted(key, site.org, now(), os.urandom, actor=actor, action=action, target=target)
    (receipt,) = await site.ledger.append([event])
    return str(receipt)


async def apply_feed(site: Site, file: Path, author: str) -> tuple[Feed, str]:
    """Check a feed beside the others, with its profile; record the act; put in place the very bytes that were checked.

    Raises ConfigurationError: nothing is recorded then. The feed, and the reference of the entry.
    """
    feed, data = _read(site, file)
    target = _place(site, feed)
    staged = target.with_suffix(".new")
    staged.unlink(missing_ok=True)  # of an apply that was cut off
    write_private(staged, data)
    ref = await record(site, author, "feed.apply", f"{feed.name} {feed.revision}")
    staged.replace(target)
    sync_folder(target.parent)
    return feed, ref


def _read(site: Site, file: Path) -> tuple[Feed, bytes]:
    feed = read_feed(file, site.folder, site.org)
    site_profile(site.folder, feed.profile)
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest()[: len(feed.revision)] != feed.revision:
        raise Conflict("the file changed while it was read", hint="apply it again")
    return feed, data


def _place(site: Site, feed: Feed) -> Path:
    """The file that holds the feed of this name, else a new one. Raises ConfigurationError for another's port."""
    folder = site.folder / FOLDER
    found = folder / f"{feed.name}.toml"
    for path in sorted(folder.glob("*.toml")):
        other = read_feed(path, site.folder, site.org)
        if other.name == feed.name:
            found = path
        elif feed.listen.kind == other.listen.kind == "mllp" and feed.listen.port == other.listen.port != 0:
            text = f"port {feed.listen.port} is that of the feed {other.name}"
            raise ConfigurationError(text, hint="choose another listen.port")
        elif path == found:
            raise ConfigurationError(f"{path.name} holds the feed {other.name}", hint="rename that file first")
    return found


async def waiting(site: Site, journal: JournalReader, seqs: Sequence[int]) -> list[int]:
    """What a replay of these messages would send round again: they, and the ones held behind them. Changes nothing."""
    rows = {seq: await journal.row(seq) for seq in seqs}
    found = await site.store.read(lambda conn: _waiting(conn, site.org, rows))
    return sorted(found)


async def replay(site: Site, journal: JournalReader, seqs: Sequence[int], who: str, why: str) -> list[int]:
    """Send messages round again, and with each the ones held behind it; the numbers, oldest first.

    A message that was refused at receipt may be sent round too. Raises NotFound for a number that waits for nobody,
    Conflict where somebody else was quicker.
    """
    rows = {seq: await journal.row(seq) for seq in seqs}
    found = await site.store.read(lambda conn: _waiting(conn, site.org, rows))
    await record(site, who, "msg.replay", ",".join(map(str, sorted(found))))
    at = int(now().timestamp() * 1000)

    def work(conn: Connection) -> list[int]:
        for seq in sorted(found):
            stamp = found[seq].stamp or _enter_refused(conn, site.org, rows[seq], at)
            messages.replay(conn, site.org, seq, stamp, who, why, at)
        return sorted(found)

    return await site.store.write(work)


async def by_fingerprint(site: Site, fingerprint: str) -> list[int]:
    """The quarantined messages of one error group, oldest first."""
    states = await site.store.read(lambda conn: messages.by_fingerprint(conn, site.org, fingerprint))
    return [state.seq for state in states]


def _waiting(conn: Connection, org: str, rows: Mapping[int, Row]) -> dict[int, MessageState]:
    """The messages themselves and all that is held behind them, or behind what is held behind them.

    A refused one has no state of its own yet: its stamp is 0 here.
    """
    found: dict[int, MessageState] = {}
    for seq, row in rows.items():
        state = messages.state(conn, org, seq)
        if state is None and row.state == REJECTED:
            state = MessageState(seq, row.feed, messages.REJECTED, 0, 1, None, None, None, 0)
        if state is None or state.state not in messages.REPLAYABLE:
            raise NotFound(f"message {seq} waits for nobody", hint="chartbridge msg list")
        found[seq] = state
    reached = list(found.values())
    while reached:
        one = reached.pop()
        for held in [*messages.held_behind(conn, org, one.seq), *_held_in_feed(conn, org, one)]:
            if held.seq not in found:
                found[held.seq] = held
                reached.append(held)
    return found


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


def _enter_refused(conn: Connection, org: str, row: Row, at: int) -> int:
    """Give a refused message its first state, which only the journal knew; its stamp. Raises Conflict."""
    if messages.state(conn, org, row.seq) is not None:
        raise Conflict("somebody else acted on this message", code="stale")
    step = Step(row.seq, row.feed, messages.REJECTED, "receipt", " ".join(row.issues))
    return messages.move(conn, org, step, at).stamp
