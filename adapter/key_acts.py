"""What operators do with keys, recorded before it is done.

`rotate` begins a rotation (`rotation.py`); a running node carries it out and the caller waits for it, without one the
caller does it. One that is under way already is finished, and no other begun. Source: operations chapter §2 (`keys`).
"""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from adapter.errors import Unavailable
from adapter.lock import alone, is_served
from adapter.operators import record
from adapter.rotation import Rotation
from adapter.seal.pkcs11_kek import open_kek
from adapter.site import Site, open_site

WAIT_S = 0.2


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
            await _carried_out(site, folder)
            return Outcome(old, new, None)
        with ExitStack() as stack:
            stack.callback(alone(folder))
            done = await Rotation(site.keks, site.vault, site.ledger, site.org).run()
            await site.ledger.integrate()
    return Outcome(old, new, done.count if done else None)


async def _carried_out(site: Site, folder: Path) -> None:
    while site.keks.coming.exists():
        if not is_served(folder):
            raise Unavailable("the node stopped before the rotation ended", hint="chartbridge keys rotate")
        await asyncio.sleep(WAIT_S)
