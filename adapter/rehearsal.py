"""What a replay would do, without doing it: the same steps as the pipeline's, in a transaction that is taken back.

1. What would go round again (`operators.py`), oldest first; of very many the oldest, for 4 holds the store's writer.
2. Their feeds and profiles as the site's files say; a running `serve` may run others, which its drift tells.
3. Convert, in a child as the pipeline does: a message that was poison may be so again.
4. In one transaction: send round, decide, merge, validate; then read what stood before and what would stand.
5. Take all of it back. New patients have keys that no vault ever holds.

So merges, holds, aliases and refusals are the real ones, and nothing is written: no state, no version, no entry. Names
and places only; what stands there is content.
Source: operations chapter §4 (replay, dry run).
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NoReturn

import msgspec
from sqlalchemy import Connection

from adapter import operators, wire
from adapter.children import Children
from adapter.decision import Decider, Work, convert
from adapter.inbound.feed import Feed, load_feeds
from adapter.inbound.journal import JournalReader
from adapter.inbound.journal_table import Row
from adapter.profiles import site_profile
from adapter.seal.commitment import unstamped
from adapter.seal.keyring import Keyring
from adapter.site import Site, now
from adapter.store import messages, resources
from adapter.store.effects import TESTIMONY
from adapter.store.messages import MessageState
from adapter.store.unit import Change as Version
from mappings.compare import Change, Verdict, compare
from mappings.fhir.codec import decode, encode

MOST = 200
WHO = "rehearsal"


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What would become of one message: its next state, why, and what it would change of what is stored."""

    seq: int
    feed: str
    before: str
    becomes: str
    why: str
    verdict: Verdict
    changes: tuple[Change, ...] = ()


class _TakenBack(Exception):
    """Ends the transaction."""

    def __init__(self, found: list[Rehearsed]) -> None:
        super().__init__("taken back")
        self.found = found


async def rehearse(site: Site, journal: JournalReader, waiting: Mapping[int, MessageState]) -> list[Rehearsed]:
    """What a replay of these (`operators.waiting`) would do. Raises ConfigurationError; Conflict, if one has moved."""
    found = {seq: waiting[seq] for seq in sorted(waiting)[:MOST]}  # 1
    rows = {seq: await journal.row(seq) for seq in found}
    names = {row.feed for row in rows.values()}
    feeds = {name: feed for name, feed in load_feeds(site.folder, site.org).items() if name in names}  # 2
    works = await _converted(site, journal, feeds, list(rows.values()))  # 3
    ring = site.keyring.rehearsing()
    decider = Decider(site.org, ring, WHO, feeds)

    def work(conn: Connection) -> NoReturn:  # 4
        at = now()
        operators.send_round(conn, site.org, rows, found, WHO, int(at.timestamp() * 1000))
        states = decider.in_order(works, at, conn)
        told = [_told(conn, ring, found[one.row.seq], one, state) for one, state in zip(works, states, strict=True)]
        raise _TakenBack(told)  # 5

    try:
        return await ring.retrying(site.store.write, work)
    except _TakenBack as exc:
        return exc.found


async def _converted(site: Site, journal: JournalReader, feeds: Mapping[str, Feed], rows: Sequence[Row]) -> list[Work]:
    bodies = await journal.bodies(rows)
    async with _children(site, feeds) as children:
        answers = await asyncio.gather(
            *(convert(children, feeds.get(row.feed), row, bodies.get(row.seq)) for row in rows)
        )
    return [Work(row, answer) for row, answer in zip(rows, answers, strict=True)]


@asynccontextmanager
async def _children(site: Site, feeds: Mapping[str, Feed]) -> AsyncIterator[Children]:
    """Children of these feeds. Raises ConfigurationError for a profile that no child could load."""
    for feed in feeds.values():
        site_profile(site.folder, feed.profile)
    workers, identity = site.settings.workers, site.keyring.organisation().identity
    profiles = {name: feed.profile for name, feed in feeds.items()}
    hello = wire.Hello(str(site.folder), profiles, identity, workers.memory_mib << 20, workers.convert_s)
    children = Children(wire.pack(hello), size=workers.children, limit_s=workers.convert_s)
    await children.start()
    try:
        yield children
    finally:
        await children.close()


def _told(conn: Connection, ring: Keyring, before: MessageState, work: Work, state: str) -> Rehearsed:
    """A message that is mapped is told by what it changes, any other by its state: worse, if it stopped only now."""
    steps = messages.transitions(conn, ring.org, before.seq)
    why = next(step.why for step in reversed(steps) if step.to_state == state)
    changes: tuple[Change, ...] = ()
    verdict: Verdict = "worse" if state == messages.QUARANTINED != before.state else "unchanged"
    if state == messages.MAPPED and work.written is not None:
        comparison = compare(*_records(conn, ring, work.written.changes))
        verdict, changes = comparison.verdict, comparison.changes
    return Rehearsed(before.seq, before.feed, before.state, state, why, verdict, changes)


def _records(conn: Connection, ring: Keyring, versions: Iterable[Version]) -> tuple[bytes, bytes]:
    """What stood before these versions, and what the last of them leave; that a message said so is no change."""
    old: dict[int, bytes | None] = {}
    new: dict[int, bytes | None] = {}
    for one in versions:
        if one.type in TESTIMONY:
            continue
        if one.rid not in old:
            old[one.rid] = resources.content(conn, ring, one.type, one.id, one.ver - 1)
        new[one.rid] = one.body
    return _record(old.values()), _record(new.values())


def _record(bodies: Iterable[bytes | None]) -> bytes:
    """Resources as `mappings/record.py` writes them, without the stamps of their versions."""
    found = [{"body": msgspec.Raw(encode(unstamped(decode(body))))} for body in bodies if body is not None]
    return msgspec.json.encode({"resources": found, "effects": [], "issues": []})
