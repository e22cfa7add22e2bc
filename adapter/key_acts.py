"""What operators do with keys, recorded before it is done.

`rotate` begins a rotation (`rotation.py`); a running node carries it out and the caller waits for it, without one the
caller does it. Roles leave it to the anchor: where nothing becomes of it for a while, the caller says so. One that is
under way already is finished, and no other begun. Source: operations chapter §2 (`keys`).
"""

import asyncio
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from adapter.errors import Unavailable
from adapter.lock import alone, is_served
from adapter.operators import record
from adapter.rotation import Rotation
from adapter.seal.pkcs11_kek import open_kek
from adapter.site import Site, open_site
from ledger.vault import VaultError

WAIT_S = 0.2
PATIENCE_S = 60.0  # without a key that was wrapped again
ENDING_S = 1_800.0  # while the old rows are taken out of the vault's tables
AGAIN = "chartbridge keys rotate"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The keys' ids; `count` is None where a running node wrapped the keys again."""

    old: str
    new: str
    count: int | None


async def rotate(folder: Path, uri: str, who: str) -> Outcome:
    """Bring the site's keys under a new key, or under that of a token. Raises ConfigurationError, Unavailable."""
    async with open_site(folder) as site:
        old = site.keks.stands().id
        if not site.keks.coming.exists():
            if uri:  # before it is recorded: a key that cannot be used is no act
                open_kek(uri, site.keks.coming.parent)
            await record(site, who, "keys.rotate", uri or "new key file")
        new = site.keks.begin(uri).id
        if is_served(folder):
            await _carried_out(site, folder, new)
            return Outcome(old, new, None)
        with ExitStack() as stack:
            stack.callback(alone(folder))
            done = await Rotation.of(site).run()
            await site.ledger.integrate()
    return Outcome(old, new, done.count if done else None)


async def _carried_out(site: Site, folder: Path, new: str) -> None:
    """Wait for whoever serves the site. Raises Unavailable when nobody does, or nothing becomes of it."""
    left, until, ending = await _left(site, new), time.monotonic() + PATIENCE_S, False
    while site.keks.coming.exists():
        if not is_served(folder):
            if not site.keks.coming.exists():  # it ended, then whoever carried it out
                return
            raise Unavailable("the node stopped before the rotation ended", hint=AGAIN)
        if time.monotonic() >= until:
            before, left = left, await _left(site, new)
            waits_s = PATIENCE_S
            if left == 0 and not ending:
                ending, waits_s = True, ENDING_S
            elif left is not None and before is not None and left >= before:
                raise _stuck(site, left)
            until = time.monotonic() + waits_s
        await asyncio.sleep(WAIT_S)


async def _left(site: Site, new: str) -> int | None:
    """How many keys of the vault are under another key; None: it cannot be asked now."""
    try:
        found = await site.vault.wrapped_by(site.org)
    except VaultError:
        return None
    return sum(count for kek, count in found.items() if kek != new)


def _stuck(site: Site, left: int) -> Unavailable:
    text = f"{left} keys wait to be wrapped again, and nobody does it"
    if not left:
        text = "every key is wrapped again, and the rotation does not end"
    if not site.shared:
        return Unavailable(text, hint=f"look for keys.rotation_waits on the node's log; then {AGAIN}")
    return Unavailable(
        text,
        hint="the anchor does: chartbridge serve --role anchor on this very site folder, no copy of it; "
        f"if it runs, look for keys.rotation_waits on its log; then {AGAIN}",
    )
