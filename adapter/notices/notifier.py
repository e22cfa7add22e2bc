"""Sends what subscribers are owed, in order, until it has arrived or a day is over.

One subscription's turn, of which several run beside each other:
1. Claim it: no other worker, in any process, sends for it until the claim ends, by the store's clock. Each notice
   renews it; a worker that was held up looks before it sends whether it still is the one.
2. Take the next notice: the handshake first, then events in their order.
3. See that the change it tells of is in the log: a notice never precedes its entry.
4. Ask the gate, as the subscriber, at this moment: what it may not see it is not told of, whatever the payload.
   The gate's own entry stands in the log before the first byte leaves.
5. POST it to an address that was just checked.
6. Write down what became of it. Killed between 5 and 6, the same event goes out again under the same id.

What does not arrive is tried again after 1 s, 2 s, 4 s … 1 h, and all of this subscription waits for it. After 24 h the
Subscription's status is `error`, and what waited are dead letters. An answered handshake makes it `active`.
No log line holds an endpoint, an id or a header.
Source: fhir chapter §10; FHIR R4 Subscription; operations chapter fault F15.
"""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from adapter.access.disclose import Arranged, Ask, Disclosed, Found
from adapter.access.identity import Actor
from adapter.crash import crash_point
from adapter.errors import Conflict, PreconditionFailed, Unavailable
from adapter.notices import status
from adapter.notices.bundle import About, Focus, notification
from adapter.notices.endpoint import listed
from adapter.notices.post import POST_S, post
from adapter.notices.wanted import EMPTY, FULL, MIME, NOTHING, Wanted, read
from adapter.services import Services
from adapter.store import resources
from adapter.store import subscriptions as table
from adapter.store.engine import Hot
from adapter.store.subscriptions import ACTIVE, ERROR, OFF, REQUESTED, Notice, Standing
from mappings.fhir.codec import Json

log = structlog.get_logger()

ARRIVED, HIDDEN, OVERTAKEN = "", "hidden", "overtaken"
WIDTH = 16  # subscriptions that are sent to at once
POLL_S = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pace:
    """How soon what did not arrive is tried again, and when it is given up. Seconds."""

    first_s: float = 1.0
    most_s: float = 3600.0
    give_up_s: float = 86_400.0
    post_s: float = POST_S
    claim_s: float = 30.0  # longer than one notice takes

    def rest_ms(self, tries: int, jitter: float) -> int:
        """After so many tries in a row that failed; up to a quarter more, so that those of one host spread."""
        return int(1000 * min(self.most_s, self.first_s * 2 ** min(tries, 16)) * (1 + jitter / 4))


@dataclass(frozen=True, slots=True)
class _Turn:
    """One subscription as it stands while it is worked off."""

    row: Standing
    resource: Json
    version: int
    wanted: Wanted

    @property
    def id(self) -> str:
        return str(self.resource["id"])


@dataclass(slots=True)
class _Claim:
    """One subscription that this worker sends for: until when, in the store's time, and since when, in the loop's."""

    rid: int
    until: int
    since: float


class Notifier:
    """One process's worker. Any number of them may run on one store."""

    def __init__(self, services: Services, pace: Pace | None = None) -> None:
        self._services, self._pace = services, pace or Pace()
        self._org = services.settings.node.org
        self._running: dict[int, asyncio.Task[bool]] = {}
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """For ever. A fault of ours ends it, and with it the node."""
        try:
            while True:
                self._woken.clear()
                await self._round()
                await _either(self._woken, POLL_S)
        finally:
            tasks = list(self._running.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def once(self) -> None:
        """What can be sent now, and no more."""
        await self._round()
        await asyncio.gather(*self._running.values())

    async def _round(self) -> None:
        for rid, task in list(self._running.items()):
            if task.done():
                del self._running[rid]
                task.result()
        now = self._now()
        try:
            found = await self._services.store.read(lambda conn: table.due(conn, self._org, _shared(conn, now), WIDTH))
        except Unavailable as exc:
            log.error("notices.unavailable", code=exc.code)
            return
        for rid in found[: WIDTH - len(self._running)]:
            if rid not in self._running:
                self._running[rid] = task = asyncio.create_task(self._work(rid))
                task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[bool]") -> None:
        """Look again at once, unless store or log cannot be used now."""
        if task.cancelled() or task.exception() is not None or task.result():
            self._woken.set()

    async def _work(self, rid: int) -> bool:
        """Step 1 and its end; False where store or log could not."""
        write, since = self._services.store.write, asyncio.get_running_loop().time()
        try:
            until = await write(lambda conn: self._take(conn, rid))
            if not until:
                return True
            claim = _Claim(rid, until, since)
            try:
                while await self._next(claim):
                    pass
            finally:
                await write(lambda conn: table.release(conn, rid, claim.until))
        except Unavailable as exc:
            log.error("notices.unavailable", code=exc.code)
            return False
        except (Conflict, PreconditionFailed):
            pass  # its client changed it meanwhile: the next round sees what stands now
        return True

    def _take(self, conn: Connection, rid: int) -> int:
        """Until when the claim stands; 0 where another worker has it."""
        now = _shared(conn, self._now())
        until = now + self._claim_ms
        return until if table.claim(conn, rid, now, until) else 0

    async def _next(self, claim: _Claim) -> bool:
        """Steps 2 to 6 for one notice; whether to go on."""
        services = self._services
        turn, notice = await services.keyring.retrying(services.store.read, partial(self._look, rid=claim.rid))
        if turn is None or notice is None:
            return False
        if turn.wanted.end is not None and turn.wanted.end <= services.ledger.now():
            await self._write(lambda conn: self._switch_off(conn, turn))
            return False
        await services.delivery.deliver_owners({turn.row.owner})  # 3
        crash_point("notice.taken")
        how = await self._attempt(turn, notice, claim)
        if how == OVERTAKEN:
            return False
        crash_point("notice.sent")
        since = asyncio.get_running_loop().time()
        claim.until, claim.since = (
            await self._write(lambda conn: self._note(conn, turn, notice, how, claim)),
            since,
        )  # 6
        crash_point("notice.noted")
        if how in (ARRIVED, HIDDEN):
            return True
        log.info("notice.not_arrived", subscription=claim.rid, reason=how, tries=turn.row.tries + 1)
        return False

    async def _holds(self, claim: _Claim) -> bool:
        """Whether this worker is the one still: a claim that is half over is renewed, or was lost."""
        since = asyncio.get_running_loop().time()
        if since - claim.since < self._pace.claim_s / 2:
            return True

        def renew(conn: Connection) -> int:
            until = _shared(conn, self._now()) + self._claim_ms
            return until if table.renew(conn, claim.rid, claim.until, until) else 0

        until = await self._services.store.write(renew)
        if until:
            claim.until, claim.since = until, since
        return bool(until)

    def _look(self, conn: Connection, rid: int) -> tuple[_Turn | None, Notice | None]:
        row, found = table.standing(conn, self._org, rid), resources.newest(conn, self._services.keyring, rid)
        if row is None or found is None or row.status not in (REQUESTED, ACTIVE):
            return None, None
        resource, version = found
        return _Turn(row, resource, version, read(resource, self._services.base)), table.waiting(conn, rid)  # 2

    async def _attempt(self, turn: _Turn, notice: Notice, claim: _Claim) -> str:
        """Steps 4 and 5: ARRIVED, HIDDEN where it is not for this subscriber, OVERTAKEN where another worker sends it,
        else why it did not arrive."""
        services, wanted = self._services, turn.wanted
        client = services.settings.access.client.get(turn.row.client)
        actor = services.identities.standing(turn.row.client, turn.row.scope, turn.row.purposes)
        if client is None or actor is None:
            return "client"
        if not listed(wanted.endpoint, client.notify):
            return "not-listed"
        focus = None
        if not notice.handshake:
            shown = await self._shown(actor, turn, notice)  # 4
            if shown is None:
                return HIDDEN
            focus = _focus(wanted, notice, shown)
        headers = [*wanted.headers, ("Idempotency-Key", f'"{uuid.UUID(bytes=notice.id)}"')]
        body = b""
        if wanted.content != NOTHING:
            headers.append(("Content-Type", MIME))
            about = About(turn.id, wanted.topic, turn.row.status, turn.row.events + 1)
            body = notification(services.base, about, notice, focus)
        if not await self._holds(claim):
            return OVERTAKEN
        return await post(services.endpoints, wanted.endpoint, body, headers, self._pace.post_s)  # 5

    async def _shown(self, actor: Actor, turn: _Turn, notice: Notice) -> Disclosed | None:
        """What the gate shows the subscriber of what an event is about; None where it is hidden from it."""
        services = self._services
        if not actor.scopes.judge(notice.type, "r").permitted:
            return None
        version = notice.ver - (notice.op == "d")  # of a deletion: what was deleted
        seen: list[Disclosed] = []

        def find(conn: Connection) -> Found:
            sealed = resources.numbered(conn, services.keyring.organisation(), notice.rid, version)
            return Found(() if sealed is None else (sealed,))

        def arrange(shown: list[Disclosed]) -> Arranged:
            seen[:] = shown
            told = shown if turn.wanted.content not in (NOTHING, EMPTY) else ()
            return Arranged(told, total=len(shown))

        now, received = services.ledger.now(), asyncio.get_running_loop().time()
        event = str(uuid.UUID(bytes=notice.id))
        thing, query = f"{notice.type}/{notice.rid}", f"Subscription/{turn.id}"
        ask = Ask(actor, "access.search", "subscription", notice.type, "r", thing, query, event, now, received)
        await services.gate.disclose(ask, find, arrange=arrange)
        return seen[0] if seen else None

    # What became of it --------------------------------------------------------------------------------------------

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._services.keyring.retrying(self._services.store.write, work)

    def _note(self, conn: Connection, turn: _Turn, notice: Notice, how: str, claim: _Claim) -> int:
        """Until when the claim stands then. The resource before its rows: its names are locked first."""
        if how not in (ARRIVED, HIDDEN):
            self._failed(conn, turn, notice, how)
            return claim.until
        if turn.row.status == REQUESTED:
            self._change(conn, turn, ACTIVE)
        until = _shared(conn, self._now()) + self._claim_ms
        held = table.done(conn, notice, claim.until, until, told=how == ARRIVED)
        return until if held else claim.until

    def _failed(self, conn: Connection, turn: _Turn, notice: Notice, why: str) -> None:
        now, row, pace = _shared(conn, self._now()), turn.row, self._pace
        if row.failing_since is not None and now - row.failing_since >= pace.give_up_s * 1000:
            hours = int(pace.give_up_s // 3600)
            self._change(conn, turn, ERROR, f"the endpoint took no notification for {hours} hours ({why})")
            table.give_up(conn, row.rid, why)
            log.warning("subscription.given_up", subscription=row.rid, reason=why)
        else:
            jitter = int.from_bytes(self._services.entropy(1), "big") / 256
            table.failed(conn, notice, now, now + pace.rest_ms(row.tries, jitter))

    def _switch_off(self, conn: Connection, turn: _Turn) -> None:
        """Its `end` has come."""
        self._change(conn, turn, OFF)
        table.forget(conn, turn.row.rid)

    def _change(self, conn: Connection, turn: _Turn, to: str, error: str = "") -> None:
        at, keyring = self._services.ledger.now(), self._services.keyring
        status.change(conn, keyring, turn.row.rid, to, at, expected=turn.version, error=error)

    def _now(self) -> int:
        return int(self._services.clock().astimezone(UTC).timestamp() * 1000)

    @property
    def _claim_ms(self) -> int:
        return int(self._pace.claim_s * 1000)


def _shared(conn: Connection, ours: int) -> int:
    """The time that all workers of this store share."""
    return Hot(conn).now_ms(ours)


def _focus(wanted: Wanted, notice: Notice, shown: Disclosed) -> Focus | None:
    """As much of it as the subscriber wants."""
    if wanted.content in (NOTHING, EMPTY):
        return None
    whole = wanted.content == FULL and notice.op != "d"
    return Focus(shown.type, shown.id, notice.op, shown.body if whole else b"")


async def _either(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        pass
