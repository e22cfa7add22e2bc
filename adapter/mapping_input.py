"""Messages to try a mapping on: files and folders, or what a feed of this site has received.

Reading a feed's messages opens their content, so it is an act of its own: recorded on the ledger before the first one
is opened. Source: operations chapter §1 (`map diff`, `map codes`, `map unmapped`), §4.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from adapter import journals
from adapter.errors import NotFound, UsageError
from adapter.inbound.feed import load_feeds
from adapter.inbound.journal_table import Row
from adapter.operators import record
from adapter.site import Site
from mappings.fixtures import SUFFIXES

PAGE = 500


@dataclass(frozen=True, slots=True)
class Input:
    """One message: what it is called in a report (a file's path, a journal number), and its bytes."""

    name: str
    data: bytes = field(repr=False)
    at: datetime | None = None  # of receipt, where it came over a feed


def from_files(paths: Iterable[Path]) -> Iterator[Input]:
    """Files, and the `*.hl7` and `*.xml` below folders, by name. Raises UsageError where there is none."""
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(_below(path)))]
    if not files:
        raise UsageError("no message found", hint="name a file, or a folder with *.hl7 or *.xml files")
    return (Input(str(file), file.read_bytes()) for file in files)


def _below(folder: Path) -> Iterator[Path]:
    return (file for suffix in SUFFIXES for file in folder.rglob(f"*{suffix}"))


def profile_of(site: Path, org: str, feed: str) -> str:
    """The profile that a feed names. Raises NotFound."""
    found = load_feeds(site, org).get(feed)
    if found is None:
        raise NotFound(f"no feed {feed}", hint="chartbridge feed list")
    return found.profile


async def from_feed(site: Site, feed: str, since: datetime | None, limit: int, who: str) -> list[Input]:
    """The newest messages of a feed, oldest first, recorded as `map.read` before any is opened."""
    journal = journals.reader(site)
    try:
        rows: list[Row] = []
        before = None
        while len(rows) < limit and (page := await journal.listing(PAGE, before, feed)):
            before = page[-1].seq
            rows += [row for row in page if since is None or row.at >= since]
            if since is not None and page[-1].at < since:
                break
        rows = sorted(rows[:limit], key=lambda row: row.seq)
        if not rows:
            raise NotFound(f"the feed {feed} has no such message", hint="chartbridge msg list")
        await record(site, who, "map.read", f"{feed} {rows[0].seq}-{rows[-1].seq}")
        found = []
        for start in range(0, len(rows), PAGE):
            part = rows[start : start + PAGE]
            bodies = await journal.bodies(part)
            found += [Input(str(row.seq), bodies[row.seq], row.at) for row in part if row.seq in bodies]
        return found
    finally:
        await journal.close()
