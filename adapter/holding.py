"""The lanes that one worker holds: all of them, or its share where several work on one database.

A worker alone (`shared=False`) takes every lane and keeps it. Otherwise `store/leases.py` says what is its own; it
looks after its leases four times in their length, sooner when it was given something. Whoever asks `keep` hears when
its lanes have changed: what it took before then is to be taken anew, since others may have worked on it.
Source: architecture §5; operations chapter §4 (lanes), fault F29.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from adapter.errors import ChartbridgeError, Conflict
from adapter.store import leases, messages
from adapter.store.engine import DataStore
from adapter.store.messages import LANES, Lease

log = structlog.get_logger()

LEASE_MS = 10_000
WANTING_S = 1.0  # how soon a worker with too few lanes looks again


class Holding:
    """The leases of one worker. `now_ms` is its clock."""

    def __init__(
        self, org: str, store: DataStore, worker: str, now_ms: Callable[[], int], *, shared: bool, lease_ms: int
    ) -> None:
        self._org, self._store, self._worker, self._now_ms = org, store, worker, now_ms
        self._lease_ms = lease_ms
        self.shared = shared
        self.lease = Lease(worker, {}, 0)
        self._due = 0.0

    @property
    def lanes(self) -> frozenset[int]:
        return frozenset(self.lease.tokens)

    @property
    def alive(self) -> bool:
        """Whether this worker has looked after its leases in time."""
        return self.lease.until > self._now_ms()

    def look_soon(self) -> None:
        """Lanes may have been given or freed."""
        self._due = 0.0

    async def keep(self, *, together: bool, needed: set[int]) -> bool:
        """Look after the leases, when it is time; whether the lanes are others now. Raises Conflict when one passed to
        another worker. `together`: one worker has all; `needed`: these are not to be given back now."""
        if time.monotonic() < self._due:
            return False
        before, now = self.lease.tokens, self._now_ms()
        tokens = await (self._share(now, together=together, needed=needed) if self.shared else self._all(now))
        self.lease = Lease(self._worker, tokens, now + self._lease_ms)
        if any(tokens.get(lane, token) != token for lane, token in before.items()):
            raise Conflict("a lane passed to another worker", code="fenced")
        return tokens.keys() != before.keys()

    async def beat(self) -> None:
        """Keep the leases from running out, for ever, beside a worker that may be long about a commit."""
        while self.shared:
            await asyncio.sleep(self._lease_ms / 4_000)
            now = self._now_ms()
            try:
                await self._store.write(
                    lambda conn: leases.beat(conn, self._org, self._worker, now, self._lease_ms)  # noqa: B023 - runs before the next turn
                )
            except ChartbridgeError as error:
                log.warning("lanes.not_renewed", code=error.code)

    async def _all(self, now: int) -> dict[int, int]:
        lease = await self._store.write(
            lambda conn: messages.claim(conn, self._org, self._worker, range(LANES), now, self._lease_ms)
        )
        if len(lease.tokens) == LANES:
            self._due = time.monotonic() + self._lease_ms / 2_000
        return lease.tokens

    async def _share(self, now: int, *, together: bool, needed: set[int]) -> dict[int, int]:
        kept = await self._store.write(
            lambda conn: leases.keep(
                conn, self._org, self._worker, now, self._lease_ms, together=together, needed=needed
            )
        )
        few = len(kept.tokens) < kept.seat.share(together=together)
        self._due = time.monotonic() + min(self._lease_ms / 4_000, WANTING_S if few else self._lease_ms)
        return kept.tokens

    async def settle(self, lanes: Sequence[int]) -> bool:
        """A message that waits in lanes which are not all this worker's is the oldest in those that are; whether
        that changed whose they are."""
        lowest, mine = min(lanes), self.lanes.intersection(lanes)
        given = False
        if lowest not in mine:
            given = await self._store.write(
                lambda conn: leases.give(conn, self._org, self.lease, mine, lowest, self._now_ms())
            )
        if given:
            tokens = {lane: token for lane, token in self.lease.tokens.items() if lane not in mine}
            self.lease = Lease(self._worker, tokens, self.lease.until)
            return True
        wanted = set(lanes) - mine
        taken = await self._store.write(
            lambda conn: messages.claim(conn, self._org, self._worker, wanted, self._now_ms(), self._lease_ms)
        )
        self.lease = Lease(self._worker, self.lease.tokens | taken.tokens, self.lease.until)
        return bool(taken.tokens)

    def forget(self) -> None:
        """Begin without a lane."""
        self.lease = Lease(self._worker, {}, 0)
        self.look_soon()

    async def leave(self) -> None:
        """Give everything back."""
        if self.shared:
            await self._store.write(lambda conn: leases.leave(conn, self._org, self._worker))
        else:
            await self._store.write(lambda conn: messages.release(conn, self._org, self.lease))
