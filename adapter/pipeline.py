"""READ FIRST. The way of one message: receive, convert, seal, commit, log.

1. Receive (`inbound/`): the message is durable in the journal, then acknowledged.
2. Take: rows without a state, and those sent round again, wait in their lanes (`lanes.py`).
3. Convert (`children.py`, `child.py`): ahead of order, in other processes; two tries, then the failure is the outcome.
4. Decide (`decision.py`), in lane order: a stranger, a filter, a failure, an earlier message of the patient that waits
   for a person, or effects.
5. Commit (`store/`): merge, validate once, seal; what is ready in all lanes goes in one transaction under the lanes'
   fencing tokens, a SAVEPOINT a message. The state, the effects, what the ledger is owed and what the sender is still
   to hear (`replies.py`) are one commit.
6. Log (`access/deliver.py`): the outbox goes into the log; then the message is `logged`, and without sinks `delivered`.

A crash between any two steps leaves the message where a state says it is; starting again takes it up from there.
Whoever calls this has opened the stores; sockets and HTTP are others'. Source: architecture §1; operations chapter §4.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Connection

from adapter import obstacles
from adapter.access.deliver import Delivery
from adapter.children import Children
from adapter.crash import crash_point
from adapter.decision import Decider, Work, convert, failed
from adapter.errors import Conflict, IntegrityFault, Unavailable
from adapter.inbound.feed import Feed
from adapter.inbound.journal import JournalReader
from adapter.inbound.journal_table import Row
from adapter.lanes import Lanes
from adapter.seal.keyring import STOCK, Keyring
from adapter.store import messages
from adapter.store.engine import DataStore
from adapter.store.messages import LANES, Lease

log = structlog.get_logger()

WINDOW = 512  # messages taken from the journal and not committed yet
CHUNK = 8  # messages whose bodies are opened together
CHUNKS = 8  # chunks at a time: what is held in clear
LEASE_MS = 30_000
POLL_S = 1.0  # how soon a message that someone sent round again is noticed
RETRY_S = 1.0

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a pipeline works on. `feeds` may change while it runs (`feeds_changed`); `owed` hears when a sender is to.

    `owed` is called on the loop.
    """

    org: str
    store: DataStore
    journal: JournalReader
    keyring: Keyring
    delivery: Delivery
    children: Children
    feeds: Mapping[str, Feed]
    clock: Clock
    batch: int = 20
    worker: str = "worker"
    owed: Callable[[], None] = lambda: None


class Pipeline:
    """One worker over all lanes. `start`, then `run` and `deliver` until cancelled; `wake` when something came."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._woken, self._owed = asyncio.Event(), asyncio.Event()
        self._lease = Lease(parts.worker, {}, 0)
        self._decider = Decider(parts.org, parts.keyring, parts.worker, dict(parts.feeds))
        self._feed_lanes: dict[str, int] = {}
        self._changes: list[asyncio.Future[None]] = []  # who waits for feeds that have changed
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault: BaseException | None = None
        self._forget()

    def _forget(self) -> None:
        """Start over from what the store says."""
        self._lanes, self._works = Lanes(), dict[int, Work]()
        self._tickets = itertools.count(1)
        self._in_hand: list[Work] = []
        self._open: set[int] = set()  # numbers taken and not committed
        self._cursor = -1  # newest journal row taken
        self._asked_again = 0.0  # when the store was last asked what goes round again
        self._slots = asyncio.Semaphore(CHUNKS)

    def wake(self) -> None:
        """A row came into the journal, or a message was sent round again."""
        self._woken.set()

    def owes(self) -> None:
        """Something waits for the log, that another process wrote."""
        self._owed.set()

    @property
    def waiting(self) -> int:
        """Messages taken and not committed."""
        return len(self._open)

    async def start(self) -> None:
        """Before `run`: keys for new patients, and on with what waited for its feed."""
        await self._parts.keyring.restock()
        await self._parts.store.write(self._resume)

    async def feeds_changed(self) -> None:
        """Feeds run otherwise than they did; returns when the worker knows. For a pipeline that runs."""
        known: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changes.append(known)
        self._woken.set()
        await known

    async def run(self) -> None:
        """Steps 2 to 5, for ever."""
        try:
            while self._fault is None:
                try:
                    await self._round()
                except Conflict as exc:  # another worker holds a lane: what was not committed is its business
                    log.warning("worker.fenced", code=exc.code)
                    await self._start_over()
                except Unavailable as exc:
                    log.error("worker.unavailable", code=exc.code)
                    await asyncio.sleep(RETRY_S)
            raise self._fault
        finally:
            await self._stop_converting()
            await self._parts.store.write(lambda conn: messages.release(conn, self._parts.org, self._lease))

    async def _take_up(self) -> None:
        """Begin anew with the feeds as they are now: what waited for one goes on, and nothing that came later before
        it. So whatever is under way is dropped here, and taken again in its order."""
        waiting, self._changes = self._changes, []
        try:
            await self._stop_converting()
            self._forget()
            self._decider.feeds = dict(self._parts.feeds)
            await self._parts.store.write(self._resume)
        except BaseException:
            self._changes += waiting
            raise
        for known in waiting:
            if not known.done():
                known.set_result(None)

    async def _round(self) -> None:
        if self._changes:
            await self._take_up()
        await self._claim()
        if self._in_hand or self._take_in_hand():
            await self._commit()
            return
        self._woken.clear()
        await self._take()
        if not self._take_in_hand():
            await _wait(self._woken, POLL_S)

    def _resume(self, conn: Connection) -> None:
        obstacles.resume(conn, self._parts.org, self._decider.feeds, self._parts.worker, self._now_ms())

    async def _start_over(self) -> None:
        await self._stop_converting()
        self._forget()
        self._lease = Lease(self._parts.worker, {}, 0)
        await asyncio.sleep(RETRY_S)

    async def _stop_converting(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _now_ms(self) -> int:
        return int(self._parts.clock().timestamp() * 1000)

    # 2. Take ---------------------------------------------------------------------------------------------------------

    async def _claim(self) -> None:
        now, parts = self._now_ms(), self._parts
        if len(self._lease.tokens) == LANES and self._lease.until - now > LEASE_MS // 2:
            return
        lanes = range(LANES)
        before = self._lease.tokens
        self._lease = await parts.store.write(
            lambda conn: messages.claim(conn, parts.org, parts.worker, lanes, now, LEASE_MS)
        )
        crash_point("take.claimed")
        if any(self._lease.tokens.get(lane) != token for lane, token in before.items()):
            raise Conflict("a lane passed to another worker", code="fenced")

    async def _take(self) -> None:
        """Fill the window: what was sent round again, then new rows of the journal, in their order."""
        room = WINDOW - len(self._open)
        if room <= 0:
            return
        if self._cursor < 0:
            self._cursor = await self._parts.store.read(lambda conn: messages.mark(conn, self._parts.org))
        fresh = await self._parts.journal.read(self._cursor, room)
        again, unseen = await self._states([row.seq for row in fresh], room)
        rows = [await self._parts.journal.row(seq) for seq in again]
        if fresh and unseen is not None:
            self._cursor = fresh[-1].seq
            rows += [row for row in fresh if row.seq in unseen]
        works = [self._enter(row) for row in sorted(rows, key=lambda row: row.seq)]
        for start in range(0, len(works), CHUNK):
            self._spawn(self._convert(works[start : start + CHUNK]))

    async def _states(self, fresh: Sequence[int], room: int) -> tuple[list[int], set[int] | None]:
        """What was sent round again, and which of the fresh ones have no state yet. Asked together, so that none of a
        patient's new messages is taken before an older one that was sent round again; None: more of those are left."""
        org, most = self._parts.org, room + len(self._open)
        if not fresh and time.monotonic() - self._asked_again < POLL_S:
            return [], set()
        self._asked_again = time.monotonic()

        def ask(conn: Connection) -> tuple[list[int], set[int]]:
            states = messages.in_state(conn, org, [messages.NEW], limit=most)
            return [one.seq for one in states], set(messages.unseen(conn, org, fresh))

        again, unseen = await self._parts.store.read(ask)
        left = [seq for seq in again if seq not in self._open]
        return left, None if len(again) == most else unseen - self._open

    def _enter(self, row: Row) -> Work:
        ticket, work = next(self._tickets), Work(row)
        self._lanes.add(ticket, (*row.lanes, *self._feed_lane(row.feed)))
        self._works[ticket] = work
        self._open.add(row.seq)
        return work

    def _feed_lane(self, name: str) -> tuple[int, ...]:
        """A feed that one message may stop keeps the order of all its messages: a lane here, which no lease knows."""
        feed = self._decider.feeds.get(name)
        if feed is None or feed.policy.poison != messages.HOLD_FEED:
            return ()
        return (self._feed_lanes.setdefault(name, -1 - len(self._feed_lanes)),)

    def _spawn(self, coroutine: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A fault in a task of its own is the pipeline's: a node that converts no more must not go on."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fault = error
            self._woken.set()

    # 3. Convert ------------------------------------------------------------------------------------------------------

    async def _convert(self, works: Sequence[Work]) -> None:
        async with self._slots:
            bodies = await self._bodies(works)
            await asyncio.gather(*(self._convert_one(work, bodies.get(work.row.seq)) for work in works))

    async def _bodies(self, works: Sequence[Work]) -> dict[int, bytes]:
        """Messages by number. One that was changed where it lay costs only itself."""
        while True:
            try:
                return await self._parts.journal.bodies([work.row for work in works])
            except Unavailable as exc:
                log.error("journal.unavailable", code=exc.code)
                await asyncio.sleep(RETRY_S)
            except IntegrityFault:
                if len(works) > 1:
                    return {seq: body for work in works for seq, body in (await self._bodies([work])).items()}
                log.error("journal.altered", seq=works[0].row.seq)
                works[0].answer = failed("content-altered")
                return {}

    async def _convert_one(self, work: Work, body: bytes | None) -> None:
        started = time.perf_counter_ns()
        if work.answer is None:
            work.answer = await convert(self._parts.children, self._decider.feeds.get(work.row.feed), work.row, body)
        work.took_us = (time.perf_counter_ns() - started) // 1000
        crash_point("take.converted")
        self._woken.set()

    # 4 and 5. Decide and commit --------------------------------------------------------------------------------------

    def _take_in_hand(self) -> bool:
        """Take out of their lanes what is converted and in order, several of one lane too; whether there is any."""
        taken = True
        while taken and len(self._in_hand) < self._parts.batch:
            taken = False
            for ticket in self._lanes.ready():
                if self._works[ticket].answer is None or len(self._in_hand) >= self._parts.batch:
                    continue
                self._lanes.done(ticket)
                self._in_hand.append(self._works.pop(ticket))
                taken = True
        return bool(self._in_hand)

    async def _commit(self) -> None:
        """Commit what is in hand; it stays there until a commit succeeded, so that order holds across a failure."""
        crash_point("commit.begin")
        works, parts = self._in_hand, self._parts
        lanes = {lane for work in works for lane in work.row.lanes}
        left = self._open - {work.row.seq for work in works}
        mark = min(left, default=self._cursor + 1) - 1

        def unit(conn: Connection) -> list[str]:
            at = parts.clock()
            messages.fence(conn, parts.org, self._lease, lanes)
            states = self._decider.in_order(works, at, conn)
            messages.set_mark(conn, parts.org, mark)
            crash_point("commit.marked")
            return states

        states = await parts.keyring.retrying(parts.store.write, unit)
        crash_point("commit.done")
        self._open = left
        self._in_hand = []
        self._owed.set()
        if any(work.row.due for work in works):
            parts.owed()
        for work, state in zip(works, states, strict=True):
            if state != messages.MAPPED:
                log.warning("message.stopped", feed=work.row.feed, seq=work.row.seq, state=state)
        if parts.keyring.stock < STOCK // 2:
            await parts.keyring.restock()

    # 6. Log ----------------------------------------------------------------------------------------------------------

    def owed(self) -> None:
        """Somebody else has written what the log must hear of."""
        self._owed.set()

    async def deliver(self) -> None:
        """Step 6, for ever, beside `run`."""
        while True:
            self._owed.clear()
            try:
                while await self._parts.delivery.deliver():
                    crash_point("deliver.done")
            except Unavailable as exc:  # what is owed stays owed; care goes on
                log.error("delivery.unavailable", code=exc.code)
                await asyncio.sleep(RETRY_S)
            await _wait(self._owed, POLL_S)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        pass
