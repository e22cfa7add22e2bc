"""What `chartbridge msg replay --dry-run` says: which messages, what would become of each, and what it would change.

Paths and ids, no value. Source: operations chapter §4 (replay, dry run).
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

import structlog

from adapter import operators
from adapter.cli.console import emit, progress
from adapter.feed_acts import feeds_of, runs
from adapter.inbound.journal import JournalReader
from adapter.lock import is_served
from adapter.rehearsal import MOST, Rehearsed, rehearse
from adapter.site import Site
from mappings.compare import Change

SIGNS = {"added": "+", "removed": "-", "changed": "~"}


async def would_go(site: Site, journal: JournalReader, seqs: Sequence[int]) -> tuple[list[int], list[Rehearsed]]:
    """The messages that would go round again, and what would become of them."""
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))  # the result has standard output
    waiting = await operators.waiting(site, journal, seqs)
    if len(waiting) > MOST:
        progress(f"the oldest {MOST} of {len(waiting)} are rehearsed")
    for name in await _drifted(site, {one.feed for one in waiting.values()}):
        progress(f"feed {name}: not what serve runs, but its files as they are now; apply it before the replay")
    return list(waiting), await rehearse(site, journal, waiting)


async def _drifted(site: Site, names: set[str]) -> list[str]:
    """Feeds that a running `serve` has otherwise than their files say."""
    if not is_served(site.folder):
        return []
    known, found = await runs(site), feeds_of(site)
    return [
        name for name in sorted(names & found.keys()) if name not in known or known[name].runs != found[name].revision
    ]


def show(told: Iterable[Rehearsed]) -> None:
    verdicts: Counter[str] = Counter()
    for one in told:
        verdicts[one.verdict] += 1
        value = asdict(one) | {"changes": len(one.changes)}
        text = f"{one.seq}: {one.verdict}, {one.before} → {one.becomes}, {len(one.changes)} changes  {one.why}"
        emit("chartbridge.msg.rehearsal/1", value, text.rstrip())
        for change in one.changes:
            value = {"seq": one.seq, "kind": change.kind, "resource": change.resource, "path": change.path}
            emit("chartbridge.msg.change/1", value | {"lost": change.lost}, "  " + " ".join(_words(change)))
    progress(", ".join(f"{verdicts[each]} {each}" for each in ("unchanged", "changed", "worse")))


def _words(change: Change) -> Iterator[str]:
    kind, _, number = change.resource.partition("/")
    yield from (SIGNS[change.kind], f"{kind}/{number[:8]}", change.path)
