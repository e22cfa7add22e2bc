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
from adapter.holding import LEASE_MS, Holding
from adapter.inbound.feed import Feed
from adapter.inbound.journal import JournalReader
from adapter.inbound.journal_table import Row
from adapter.lanes import Lanes
from adapter.seal.keyring import STOCK, Keyring
from adapter.store import leases, messages
from adapter.store.engine import DataStore
from adapter.store.messages import LANES

log = structlog.get_logger()

WINDOW = 512  # messages taken from the journal and not committed yet
CHUNK = 8  # messages whose bodies are opened together
CHUNKS = 8  # chunks at a time: what is held in clear
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
    shared: bool = False  # other workers may live, in other processes
    lease_ms: int = LEASE_MS


class Pipeline:
    """One worker over its lanes. `start`, then `run` and `deliver` until cancelled; `wake` when something came."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._woken, self._owed = asyncio.Event(), asyncio.Event()
        self.holding = Holding(
            parts.org, parts.store, parts.worker, self._now_ms, shared=parts.shared, lease_ms=parts.lease_ms
        )
        self._moved, self._marked = False, 0.0  # whether the mark may move, and when it did
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
        self._foreign: set[int] = set()  # tickets of what waits in a lane of another worker, too
        self._cursor = -1  # newest journal row taken
        self._asked_again = 0.0  # when the store was last asked what goes round again
        self._slots = asyncio.Semaphore(CHUNKS)

    def wake(self) -> None:
        """A row came into the journal, or a message was sent round again."""
        self._woken.set()

    def owes(self) -> None:
        """Something waits for the log, that another process wrote."""
        self._owed.set()

    def lanes_moved(self) -> None:
        """Another worker gave lanes, or gave them back."""
        self.holding.look_soon()
        self._woken.set()

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
            await self.holding.leave()

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
        if await self.holding.keep(together=self._together(), needed=self._needed()):
            await self._begin_anew()
        crash_point("take.claimed")
        await self._move_mark()
        if self._in_hand or self._take_in_hand():
            await self._commit()
            return
        self._woken.clear()
        await self._take()
        if not self._take_in_hand() and not await self._settle_heads():
            await _wait(self._woken, POLL_S)

    def _resume(self, conn: Connection) -> None:
        obstacles.resume(conn, self._parts.org, self._decider.feeds, self._parts.worker, self._now_ms())

    async def _start_over(self) -> None:
        await self._begin_anew()
        self.holding.forget()
        await asyncio.sleep(RETRY_S)

    async def _begin_anew(self) -> None:
        """Take what is to be taken from the mark on: whose it is has changed."""
        await self._stop_converting()
        self._forget()

    async def _stop_converting(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _now_ms(self) -> int:
        return int(self._parts.clock().timestamp() * 1000)

    # 2. Take ---------------------------------------------------------------------------------------------------------

    def _together(self) -> bool:
        """Whether one worker must have all lanes, so that a feed that one message may stop keeps one order."""
        return self._parts.shared and any(_stops(feed) for feed in self._decider.feeds.values())

    def _needs(self, row: Row) -> frozenset[int]:
        """Lanes that a worker must hold to work on a message."""
        if self._parts.shared and _stops(self._decider.feeds.get(row.feed)):
            return frozenset(range(LANES))
        return frozenset(row.lanes)

    def _needed(self) -> set[int]:
        several = (work.row.lanes for work in self._works.values() if len(work.row.lanes) > 1)
        return {lane for lanes in several for lane in lanes}

    async def _settle_heads(self) -> bool:
        """What stands first in a lane of ours and waits in one of another worker: whether that went on."""
        if not self._parts.shared:
            return False
        heads = {ticket: self._works[ticket].row for ticket in self._lanes.ready() if ticket in self._foreign}
        if not heads:
            return False
        seqs, org = [row.seq for row in heads.values()], self._parts.org
        ended = await self._parts.store.read(lambda conn: messages.ended(conn, org, seqs))
        for ticket, row in heads.items():
            if row.seq in ended:
                self._lanes.done(ticket)
                self._foreign.discard(ticket)
                self._open.discard(self._works.pop(ticket).row.seq)
        if ended:
            return True
        for row in heads.values():
            if self._needs(row) == frozenset(row.lanes) and await self.holding.settle(row.lanes):
                await self._begin_anew()
                return True
        return False

    async def _move_mark(self) -> None:
        """Where several work, the mark follows what all of them have done."""
        if not self._moved or time.monotonic() - self._marked < POLL_S:
            return
        self._moved, self._marked, org = False, time.monotonic(), self._parts.org
        upto = await self._parts.store.read(lambda conn: leases.finished(conn, org))
        await self._parts.store.write(lambda conn: messages.set_mark(conn, org, upto))

    async def _take(self) -> None:
        """Fill the window: what was sent round again, then new rows of the journal, in their order."""
        room = WINDOW - len(self._open)
        if room <= 0:
            return
        if self._cursor < 0:
            self._cursor = await self._parts.store.read(lambda conn: messages.mark(conn, self._parts.org))
        fresh = await self._parts.journal.read(self._cursor, room)
        again, unseen = await self._states([row.seq for row in fresh], room)
        rows = await self._parts.journal.rows(again)
        if fresh and unseen is not None:
            self._cursor = fresh[-1].seq
            rows += [row for row in fresh if row.seq in unseen]
            if len(fresh) == room:
                self._woken.set()  # there may be more, if none of these is ours
        held = self.holding.lanes
        mine = [row for row in rows if held.intersection(row.lanes)]
        works = [work for row in sorted(mine, key=lambda row: row.seq) if (work := self._enter(row, held))]
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

    def _enter(self, row: Row, held: frozenset[int]) -> Work | None:
        """Let a message wait in its lanes; None where it is not this worker's, but keeps later ones waiting."""
        ticket, work = next(self._tickets), Work(row)
        self._lanes.add(ticket, (*held.intersection(row.lanes), *self._feed_lane(row.feed)))
        self._works[ticket] = work
        self._open.add(row.seq)
        if self._needs(row) <= held:
            return work
        self._foreign.add(ticket)
        return None

    def _feed_lane(self, name: str) -> tuple[int, ...]:
        """A feed that one message may stop keeps the order of all its messages: a lane here, which no lease knows."""
        if not _stops(self._decider.feeds.get(name)):
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
        lanes = {lane for work in works for lane in self._needs(work.row)}
        left = self._open - {work.row.seq for work in works}
        mark = min(left, default=self._cursor + 1) - 1

        def unit(conn: Connection) -> list[str]:
            at = parts.clock()
            messages.fence(conn, parts.org, self.holding.lease, lanes)
            states = self._decider.in_order(works, at, conn)
            if not parts.shared:
                messages.set_mark(conn, parts.org, mark)
            crash_point("commit.marked")
            return states

        states = await parts.keyring.retrying(parts.store.write, unit)
        crash_point("commit.done")
        self._open, self._in_hand, self._moved = left, [], parts.shared
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
            except (Unavailable, Conflict) as exc:  # what is owed stays owed; care goes on
                log.error("delivery.unavailable", code=exc.code)
                await asyncio.sleep(RETRY_S)
            await _wait(self._owed, POLL_S)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        pass


def _stops(feed: Feed | None) -> bool:
    """Whether one message may stop the feed."""
    return feed is not None and feed.policy.poison == messages.HOLD_FEED
