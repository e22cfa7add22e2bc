"""Rotation of the key that wraps keys: every wrapped key of a site goes under the next one, while the node serves.

1. The next key stands in `keys/kek.next` (`kek_files.py`). From here on it wraps what is new; both unwrap.
2. Every wrapped key of the vault under another one is unwrapped and wrapped again, batch by batch, each a transaction
   that changes a row only if it is still as it was read. Keys that were destroyed meanwhile stay so.
3. Again until none is left.
4. The log gets `key.rotated`, once: its id follows from the two keys and the time of the file.
5. The file takes its place; the key before is kept beside it, for backups of the vault need it.
6. Once more through the vault, for what a process wrapped that had not looked.

Whoever wraps has looked for the next key within `LOOKED_S` (`kek_files.py`). The last way of 3, and 6, wait until no
other process can still wrap with the key before.

Killed anywhere, it is run again and goes on: what is done is seen in the vault, not kept in a file. The node carries it
out; with the node stopped the command does, under the site's lock. Of several processes that serve a site, one does,
under a lease; one that lost it stops, and what another did first is taken as done. What does not unwrap stays as it is
and keeps the rotation from ending: nothing is lost to it, and the rest is done.

Source: ledger chapter §5 (`key.rotated`), §16 (KEK: re-wrap by `kek_id` in the background, resumable).
"""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from adapter.crash import crash_point
from adapter.errors import ChartbridgeError, IntegrityFault, Unavailable
from adapter.kek_files import LOOKED_S, Keks
from adapter.seal.kek import NONCE_BYTES, WRONG_VAULT, Wrapping
from adapter.site import Site
from ledger.errors import LedgerError
from ledger.event import Event, new_id
from ledger.log import Ledger
from ledger.vault import Rewrapped, Vault, WrappedAt

log = structlog.get_logger()

BATCH = 256  # keys a transaction: a few milliseconds of the vault's writer
WATCH_S = 1.0
SHOWN_S = 1.0  # how late a folder that machines share may show a new file to one of them
SHARED_SETTLE_S = LOOKED_S + SHOWN_S + 0.5  # where others may wrap, too: each wraps with the next key by then
SETTLE_S = 0.2  # a key that was wrapped a moment before the rotation began may be on its way into the vault


Leads = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Rotated:
    """What was done: the ids of the keys, and how many keys were wrapped again."""

    old: str
    new: str
    count: int


async def always() -> bool:
    """The duty of who is alone."""
    return True


class Rotation:
    """The rotation of one site, whenever one is under way. `leads` says whether this process carries it out."""

    def __init__(
        self, keks: Keks, vault: Vault, ledger: Ledger, org: str, leads: Leads = always, settle_s: float = SETTLE_S
    ) -> None:
        self._keks, self._vault, self._ledger, self._org = keks, vault, ledger, org
        self._leads, self._settle_s = leads, settle_s
        self._swept = False

    @classmethod
    def of(cls, site: Site, leads: Leads = always) -> "Rotation":
        settle_s = SHARED_SETTLE_S if site.shared else SETTLE_S
        return cls(site.keks, site.vault, site.ledger, site.org, leads, settle_s)

    async def watch(self) -> None:
        """Carry out what is begun, for as long as the node serves. What fails now is tried again."""
        while True:
            try:
                await self._turn()
            except (ChartbridgeError, LedgerError) as error:
                log.error("keys.rotation_waits", kind=type(error).__name__, text=str(error))
            await asyncio.sleep(WATCH_S)

    async def _turn(self) -> None:
        """Whoever begins to lead wraps again first what somebody may have wrapped with the key before."""
        self._keks.look()
        if not await self._leads():
            self._swept = False
            return
        if not self._swept:
            await self._passes(self._keks.current())
            self._swept = True
        if done := await self.run():
            log.info("keys.rotated", old=done.old, new=done.new, count=done.count)

    async def run(self) -> Rotated | None:
        """Steps 1 to 6, where a rotation is under way. Raises ChartbridgeError, LedgerError: run it again."""
        begun = self._begun()
        if begun is None or not self._keks.look():  # 1
            return None
        old, new = self._keks.stands(), self._keks.current()
        if old.id == new.id:  # its file took its place just now
            return None
        self._swept = False
        count = await self._passes(new)  # 2, 3
        await asyncio.sleep(self._settle_s)
        count += await self._passes(new)
        await self._truncate()
        crash_point("rotate.wrapped")
        await self._go_on(new)
        await self._record(old.id, new.id, begun)  # 4
        crash_point("rotate.recorded")
        await self._go_on(new)
        self._keks.finish(old.id, crash_point)  # 5
        await asyncio.sleep(self._settle_s)
        if late := await self._passes(new):  # 6
            await self._truncate()
        self._swept = True
        return Rotated(old.id, new.id, count + late)

    def _begun(self) -> float | None:
        try:
            return self._keks.coming.stat().st_mtime
        except FileNotFoundError:
            return None

    async def _go_on(self, new: Wrapping) -> None:
        """Raises Unavailable where another process leads, or another key wraps meanwhile."""
        self._keks.look()
        if self._keks.current().id != new.id or not await self._leads():
            raise Unavailable("another process goes on with this rotation")

    async def _truncate(self) -> None:
        """It takes minutes where the vault is large: the lease is kept meanwhile."""
        truncating = asyncio.ensure_future(self._vault.truncate())
        try:
            while not truncating.done():
                await asyncio.wait({truncating}, timeout=WATCH_S)
                with suppress(ChartbridgeError):  # who leads is asked again before anything else is done
                    await self._leads()
            await truncating
        finally:
            truncating.cancel()

    async def _passes(self, new: Wrapping) -> int:
        count = 0
        while done := await self._pass(new):
            count += done
        return count

    async def _pass(self, new: Wrapping) -> int:
        """How many keys one way through the vault wrapped again. Raises IntegrityFault after it for what stays."""
        count, faults, after = 0, 0, None
        await self._go_on(new)
        while rows := await self._vault.wrapped_otherwise(self._org, new.id, after, BATCH):
            changes, faulty = await asyncio.to_thread(self._wrapped_again, rows, new)
            count += await self._vault.rewrap(self._org, changes)
            faults += faulty
            after = rows[-1].place
            crash_point("rotate.batch")
            await self._go_on(new)
        if faults:
            raise IntegrityFault(f"wrapped keys that do not unwrap: {faults}", hint=WRONG_VAULT)
        return count

    def _wrapped_again(self, rows: Sequence[WrappedAt], new: Wrapping) -> tuple[list[Rewrapped], int]:
        changes: list[Rewrapped] = []
        faulty = 0
        for row in rows:
            where = (self._org, row.place.kind, row.place.bound, row.place.gen)
            try:
                key = self._keks.unwrap(*where, row.kek_id, row.wrapped)
            except IntegrityFault:
                faulty += 1
                continue
            wrapped = new.wrap(*where, key, os.urandom(NONCE_BYTES))
            changes.append(Rewrapped(row.place, row.kek_id, new.id, wrapped))
        return changes, faulty

    async def _record(self, old: str, new: str, begun: float) -> None:
        seed = hashlib.sha256(f"key.rotated\0{self._org}\0{old}\0{new}".encode()).digest()
        event_id = new_id(datetime.fromtimestamp(begun, UTC), lambda size: seed[:size])
        clear = {"role": "kek", "old": old, "new": new}
        await self._ledger.append([Event("key.rotated", event_id, self._org, clear=clear)])
