"""Bulk exports in the background: who permits it is put into segments, owner by owner, until all are through.

One task of the process works on one job at a time, a batch of owners in one transaction, and notes with it how far it
is: after a restart it goes on there. The gate decides each owner for the client that asked; nothing is opened, nothing
leaves, so no event is due yet: files pass the gate when they are fetched. A log or store that cannot be used now leaves
the job as it is, and the next look at it wakes the task again. Of several processes one works on a job: another takes
it over when its place has not moved for a while.

Finished jobs are kept for a day. Source: fhir chapter §10 (bulk); FHIR Bulk Data Access IG 2.0 (export).
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import Connection

from adapter.access.disclose import Gate
from adapter.access.identity import Actor, Organisation
from adapter.access.scopes import Scopes, parse
from adapter.access.sight import Ask
from adapter.crash import crash_point
from adapter.errors import OURS, ChartbridgeError, Unavailable, whereabouts
from adapter.seal.envelope import NONCE_BYTES
from adapter.seal.keyring import SHARED, Keyring
from adapter.store import exports
from adapter.store.engine import DataStore, Hot
from adapter.store.exports import DONE, FAILED, RUNNING, Job, Kept, Segment, Who

log = structlog.get_logger()

LIFE = timedelta(days=1)
BATCH = 50  # owners in one transaction
STILL_S = 5.0  # a job of another process that has not moved for so long is taken over


class Exports:
    """The exports of one node. All its methods are for one event loop."""

    def __init__(
        self,
        store: DataStore,
        keyring: Keyring,
        gate: Gate,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._store, self._keyring, self._gate, self._clock, self._entropy = store, keyring, gate, clock, entropy
        self._org = keyring.org
        self._task: asyncio.Task[None] | None = None
        self._awake = asyncio.Event()
        self._mine: dict[bytes, int] = {}  # the stamps of jobs that this process had last
        self._seen: dict[bytes, tuple[tuple[int, int], float]] = {}  # another's: its stamp and place, and since when

    def wake(self) -> None:
        """There may be something to do."""
        self._awake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Stop where it is; the next start goes on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        try:
            while self._awake.is_set():
                self._awake.clear()
                await self._clear()
                running = await self._store.read(lambda conn: exports.running(conn, self._org))
                self._mine = {job_id: self._mine[job_id] for job_id in running if job_id in self._mine}
                self._seen = {job_id: self._seen[job_id] for job_id in running if job_id in self._seen}
                if any([await self._left_to_another(job_id) for job_id in running]):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._awake.wait(), STILL_S)
                    self._awake.set()
        except ChartbridgeError as error:
            log.warning("export.waits", kind=type(error).__name__)

    async def _clear(self) -> None:
        before = int((self._clock() - LIFE).timestamp() * 1000)

        old = await self._store.read(lambda conn: exports.expired(conn, self._org, before))
        for job_id in old:
            await self._store.write(partial(exports.drop, org=self._org, job_id=job_id))

    async def _left_to_another(self, job_id: bytes) -> bool:
        """Whether another process is at it; else it is worked on here."""
        keys = self._keyring.owner(SHARED)
        kept, several = await self._store.read(
            lambda conn: (exports.find(conn, keys, self._org, job_id), Hot(conn).several)
        )
        if kept is None or kept.state != RUNNING:
            return False
        if several and not self._is_free(kept):
            return True
        stamp = await self._store.write(lambda conn: exports.claim(conn, self._org, job_id, kept.stamp))
        if stamp is None:
            return True
        self._mine[job_id] = stamp
        await self._run(job_id, stamp)
        return False

    def _is_free(self, kept: Kept) -> bool:
        """Nobody had it yet, or this process had it last, or it has not moved for a while."""
        if kept.stamp in (0, self._mine.get(kept.id)):
            return True
        now, place = asyncio.get_running_loop().time(), (kept.stamp, kept.job.done)
        seen, since = self._seen.get(kept.id, (None, now))
        if seen != place:
            self._seen[kept.id] = place, now
            return False
        return now - since >= STILL_S

    async def _run(self, job_id: bytes, stamp: int) -> None:
        """One job to its end, unless it is cancelled or taken over."""
        try:
            while await self._step(job_id, stamp):
                pass
        except Unavailable:
            raise
        except (*OURS, ChartbridgeError) as error:
            log.error("export.failed", where=whereabouts(error))
            await self._end(job_id, stamp, FAILED)

    async def _step(self, job_id: bytes, stamp: int) -> bool:
        """The next owners; False after the last."""
        keys = self._keyring.owner(SHARED)
        kept = await self._store.read(lambda conn: exports.find(conn, keys, self._org, job_id))
        if kept is None or kept.state != RUNNING or kept.stamp != stamp:
            return False
        batch = await self._store.read(lambda conn: exports.next_owners(conn, self._org, kept.job, BATCH))
        if not batch:
            await self._end(job_id, stamp, DONE)
            return False
        permitting = await self._gate.permitting(_ask(kept.job, self._clock()), batch)
        crash_point("export.decided")
        kept_on = await self._keyring.retrying(
            self._store.write, lambda conn: self._keep(conn, job_id, stamp, batch, permitting)
        )
        crash_point("export.kept")
        return kept_on

    def _keep(
        self, conn: Connection, job_id: bytes, stamp: int, batch: Sequence[int], permitting: frozenset[int]
    ) -> bool:
        """The segments of a batch, with the job's place behind it; False where somebody else has the job now."""
        keys = self._keyring.owner(SHARED)
        kept = exports.find(conn, keys, self._org, job_id) if exports.hold(conn, self._org, job_id, stamp) else None
        if kept is None:
            return False
        job = kept.job
        for owner in batch:
            rids = exports.rows_of(conn, job, owner) if owner in permitting else {}
            if rids:
                segment = Segment(exports.epochs(conn, self._org, owner), rids)
                number = job.add({kind: len(found) for kind, found in rids.items()})
                owner_keys, nonce = self._keyring.owner(owner), self._entropy(NONCE_BYTES)
                exports.add_segment(conn, owner_keys, self._org, job_id, number, owner, segment, job.at, nonce)
        job.last, job.done = batch[-1], job.done + len(batch)
        return exports.save(conn, keys, self._org, job_id, stamp, job, RUNNING, self._entropy(NONCE_BYTES))

    async def _end(self, job_id: bytes, stamp: int, state: str) -> None:
        keys = self._keyring.owner(SHARED)

        def work(conn: Connection) -> None:
            kept = exports.find(conn, keys, self._org, job_id)
            if kept is not None and kept.stamp == stamp:
                exports.save(conn, keys, self._org, job_id, stamp, kept.job, state, self._entropy(NONCE_BYTES))

        await self._store.write(work)
        crash_point("export.ended")


def who_of(actor: Actor) -> Who:
    """An actor as a job keeps it."""
    asked = actor.organisation
    return Who(
        actor.client_id, asked.system, asked.value, actor.own, tuple(sorted(actor.roles)), str(actor.scopes),
        actor.purposes, actor.address, actor.jti,
    )  # fmt: skip


def _ask(job: Job, now: datetime) -> Ask:
    """The asking that each owner is decided for."""
    who = job.who
    actor = Actor(
        who.client, Organisation(who.system, who.value), who.own, frozenset(who.roles), Scopes(parse(who.scopes)),
        who.purposes, "", who.jti, who.address,
    )  # fmt: skip
    return Ask(actor, "access.export", "export", "Patient", "r", "export", job.request, "", now.astimezone(UTC), 0.0)
