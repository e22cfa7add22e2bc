"""What `chartbridge msg tail` follows: arrivals in the journal, transitions in the data store, merged as they come."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from adapter.cli.console import shown
from adapter.inbound.journal import JournalReader
from adapter.inbound.journal_table import Row
from adapter.site import Site
from adapter.store import messages
from adapter.store.messages import Moved

POLL_S = 0.25
PAGE = 500


async def follow(
    site: Site, journal: JournalReader, feed: str, since: datetime | None
) -> AsyncIterator[dict[str, Any]]:
    """Each arrival and each step, oldest first; from now on, or from a time."""
    newest = await journal.listing(1)
    seen = newest[0].seq if newest else 0
    step = await site.store.read(lambda conn: messages.last_step(conn, site.org))
    if since is not None:
        seen, step = await _before(site, journal, since)
    while True:
        rows = await journal.arrivals(seen, PAGE)
        steps = await _steps(site, step)
        seen = rows[-1].seq if rows else seen
        step = steps[-1].n if steps else step
        told = [(row.at, _arrival(row)) for row in rows] + [(_at(one), _moved(one)) for one in steps]
        for _, one in sorted(told, key=lambda pair: pair[0]):
            if not feed or one["feed"] == feed:
                yield one
        if not told:
            await asyncio.sleep(POLL_S)


async def _steps(site: Site, after: int) -> list[Moved]:
    return await site.store.read(lambda conn: messages.steps_after(conn, site.org, after, PAGE))


async def _before(site: Site, journal: JournalReader, since: datetime) -> tuple[int, int]:
    """The last number, and the last step, before a time."""
    before, seen = None, 0
    while page := await journal.listing(PAGE, before):
        older = [row.seq for row in page if row.at < since]
        if older:
            seen = older[0]
            break
        before = page[-1].seq
    at = int(since.timestamp() * 1000)
    return seen, await site.store.read(lambda conn: messages.last_step(conn, site.org, at))


def _arrival(row: Row) -> dict[str, Any]:
    return {"at": shown(row.at), "seq": row.seq, "feed": row.feed, "state": row.state, "why": " ".join(row.issues)}


def _at(one: Moved) -> datetime:
    return datetime.fromtimestamp(one.at / 1000, UTC)


def _moved(one: Moved) -> dict[str, Any]:
    return {"at": shown(_at(one)), "seq": one.seq, "feed": one.feed, "state": one.to_state, "why": one.why}
