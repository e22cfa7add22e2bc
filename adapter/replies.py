"""Telling senders what became of their messages: the application's answer, on their connection or at `ack.reply_to`.

1. The pipeline writes an outcome with the transition it tells of (`store/replies.py`), and wakes this part.
2. Who waits on a connection is told there; whether that could be done is the end of it. A sender that has gone asks
   again by sending again: a duplicate hears the outcome of its first reception.
3. What goes to `ack.reply_to` is rendered from the message as it lies in the journal and sent as a message of its own
   over MLLP. It has arrived when the other side acknowledges it (MSH-15 asks it to); until then it is tried again, for
   24 h. An address that does not answer rests for 1 s, 2 s, 4 s … 600 s. What waits outlives a restart.

Where several processes serve a site, each tells those who wait on its own connections; that nobody waits is known only
after ELSEWHERE_S, and one process at a time sends to addresses, for all.

At a kill between arrival and the note of it, the same answer goes out again, under the same control id.
Source: hl7v2 chapter §11; HL7 v2.9 §2.9.3 (enhanced mode); operations chapter §4.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from urllib.parse import urlsplit

import structlog
from sqlalchemy import Connection

from adapter.crash import crash_point
from adapter.errors import ConfigurationError, Conflict, IntegrityFault, NotFound, Unavailable
from adapter.inbound.ack import TAKEN, is_due, render
from adapter.inbound.intake import Intake, Outcome
from adapter.inbound.journal import JournalReader
from adapter.sender import acknowledgement_code, send_one
from adapter.store import replies as table
from adapter.store.engine import DataStore
from adapter.store.replies import GIVEN_UP, REFUSED, TOLD, UNHEARD, UNWANTED, Owed
from mappings.hl7v2.message import peek

log = structlog.get_logger()

FIRST_S, MOST_S, GIVE_UP_S = 1.0, 600.0, 86_400.0
ANSWER_S = 30.0  # until the other side has acknowledged
POLL_S = 1.0
ELSEWHERE_S = 60.0
WAITERS = 16  # of one message: a sender that sends it again and again, and never waits
MOST_WAITING = 65_536  # messages that senders wait for: a feed may be paused for days. The oldest are let go
ACCEPTED, TURNED_AWAY = ("AA", "CA"), ("AR", "CR")

Told = Callable[[Outcome], bool]


@dataclass(slots=True)
class _Line:
    """An address: who sends to it now, how often in a row it did not answer, and until when it rests."""

    sending: asyncio.Task[None] | None = None
    failures: int = 0
    rests_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where application answers go: `mllp://host:port`, or `mllps://` for TLS under a certificate that is verified."""

    host: str
    port: int
    tls: bool = False


def address(text: str) -> Address:
    """What `ack.reply_to` says. Raises ConfigurationError."""
    try:
        parts = urlsplit(text if "://" in text else f"mllp://{text}")
        if parts.scheme in ("mllp", "mllps") and parts.hostname and parts.port and not parts.path.strip("/"):
            return Address(parts.hostname, parts.port, parts.scheme == "mllps")
    except ValueError:
        pass  # a port that is no number, a bracket that is not closed
    raise ConfigurationError("ack.reply_to is no address", hint='as "mllp://lis.lab.example:2576"')


Leads = Callable[[], Awaitable[bool]]


async def always() -> bool:
    """This process leads: there is no other."""
    return True


@dataclass(frozen=True, slots=True)
class Parts:
    """What it works on. `intakes` may change while it runs. `leads`: whether it is this process that does for all what
    one does, where others serve the site, too (`shared`)."""

    org: str
    store: DataStore
    journal: JournalReader
    intakes: Mapping[str, Intake]
    clock: Callable[[], datetime]
    shared: bool = False
    leads: Leads = always


class Replies:
    """The one that tells. `run` until cancelled; `wake` when an outcome was written. Belongs to the loop."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._waiters: dict[int, deque[Told]] = {}
        self._asked: set[int] = set()  # whose outcome may be known already
        self._woken = asyncio.Event()
        self._fault: BaseException | None = None
        self._lines: dict[str, _Line] = defaultdict(_Line)  # by address

    def wake(self) -> None:
        self._woken.set()

    def wait(self, seq: int, told: Told) -> None:
        """Call `told` when the outcome of this message is known, which it may be already."""
        self._waiters.setdefault(seq, deque(maxlen=WAITERS)).append(told)
        if len(self._waiters) > MOST_WAITING:
            del self._waiters[next(iter(self._waiters))]
        self._asked.add(seq)
        self._woken.set()

    async def run(self) -> None:
        """For ever."""
        try:
            while self._fault is None:
                self._woken.clear()
                try:
                    await self._round()
                except (Unavailable, Conflict) as exc:
                    log.error("replies.unavailable", code=exc.code)
                await _either(self._woken, POLL_S)
            raise self._fault
        finally:
            tasks = [line.sending for line in self._lines.values() if line.sending is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _round(self) -> None:
        asked, self._asked = self._asked, set()
        if self._parts.shared:
            asked |= self._waiters.keys()  # another process may be done with them
        org = self._parts.org
        try:
            known = await self._parts.store.read(lambda conn: table.outcomes(conn, org, asked)) if asked else []
            fresh = await self._parts.store.read(lambda conn: table.pending(conn, org))
        except Unavailable:
            self._asked |= asked
            raise
        leads = await self._parts.leads()
        ended = [(owed.seq, how) for owed in fresh if (how := self._dealt_with(owed, leads=leads))]
        ended += [(owed.seq, TOLD) for owed in known if self._tell(owed)]
        if ended:
            crash_point("reply.told")
            await self._parts.store.write(lambda conn: table.end(conn, org, ended))
        dealt_with = {seq for seq, _ in ended}
        self._send([owed for owed in fresh if leads and owed.seq not in dealt_with])

    def _dealt_with(self, owed: Owed, *, leads: bool) -> str:
        """How an outcome that nobody heard of ended; "" where it goes to an address."""
        if not _is_due(owed):
            self._waiters.pop(owed.seq, None)
            return UNWANTED
        intake = self._parts.intakes.get(owed.feed)
        if intake is not None and intake.reply_to:
            return ""
        if self._tell(owed):
            return TOLD
        elsewhere = self._parts.shared and (not leads or self._now_ms() - owed.at < ELSEWHERE_S * 1000)
        return "" if elsewhere else UNHEARD

    def _tell(self, owed: Owed) -> bool:
        """Tell who waits here; whether anyone could be told."""
        outcome = Outcome(owed.seq, owed.became, owed.issue, owed.place, owed.fingerprint)
        heard = [_is_due(owed) and told(outcome) for told in self._waiters.pop(owed.seq, ())]
        return any(heard)

    # To an address -----------------------------------------------------------------------------------------------

    def _send(self, owed: Sequence[Owed]) -> None:
        """Begin to send to each address that neither rests nor is being sent to; the others come round again."""
        by_address: dict[str, list[tuple[Owed, Intake]]] = defaultdict(list)
        for one in owed:
            if (intake := self._parts.intakes.get(one.feed)) is not None and intake.reply_to:
                by_address[intake.reply_to].append((one, intake))
        for where, some in by_address.items():
            line = self._lines[where]
            if line.sending is None and line.rests_until <= time.monotonic():
                line.sending = asyncio.create_task(self._deliver(line, address(where), some))
                line.sending.add_done_callback(partial(self._sent, line))

    def _sent(self, line: _Line, task: asyncio.Task[None]) -> None:
        """The address is free; a fault of ours is the whole part's."""
        line.sending = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fault = error
        self._woken.set()

    async def _deliver(self, line: _Line, to: Address, some: Sequence[tuple[Owed, Intake]]) -> None:
        """In order; the first that does not arrive ends the turn, for the next would not either."""
        try:
            for owed, intake in some:
                how = await self._attempt(to, owed, intake)
                crash_point("reply.sent")
                await self._parts.store.write(partial(self._note, owed, how))
                if not how:
                    line.rests_until = time.monotonic() + min(MOST_S, FIRST_S * 2 ** min(line.failures, 16))
                    line.failures += 1
                    return
                line.failures = 0
        except Unavailable as exc:  # the note of it: it will be sent again
            log.error("replies.unavailable", code=exc.code)
            line.rests_until = time.monotonic() + FIRST_S

    def _note(self, owed: Owed, how: str, conn: Connection) -> None:
        if how:
            table.end(conn, self._parts.org, [(owed.seq, how)])
        else:
            table.failed(conn, self._parts.org, owed.seq)

    async def _attempt(self, to: Address, owed: Owed, intake: Intake) -> str:
        """How it ended; "" where it is to be tried again."""
        message = await self._rendered(owed, intake)
        if message is None:
            return UNHEARD
        try:
            code = acknowledgement_code(await send_one(to.host, to.port, message, ANSWER_S, tls=to.tls))
        except Unavailable:
            code = "?"
        if code in ACCEPTED:
            return TOLD
        if code in TURNED_AWAY:
            log.warning("reply.refused", feed=owed.feed, seq=owed.seq)
            return REFUSED
        if self._now_ms() - owed.at > GIVE_UP_S * 1000:
            log.warning("reply.given_up", feed=owed.feed, seq=owed.seq)
            return GIVEN_UP
        log.info("reply.not_arrived", feed=owed.feed, seq=owed.seq, tries=owed.tries + 1)
        return ""

    async def _rendered(self, owed: Owed, intake: Intake) -> bytes | None:
        """The answer as a message; None where the message it answers cannot be read any more."""
        try:
            body = await self._parts.journal.body(await self._parts.journal.row(owed.seq))
        except (NotFound, IntegrityFault):
            return None
        if (header := peek(body)) is None:
            return None
        outcome = Outcome(owed.seq, owed.became, owed.issue, owed.place, owed.fingerprint)
        return render(header, replace(intake.application(outcome), accept="AL"))

    def _now_ms(self) -> int:
        return int(self._parts.clock().timestamp() * 1000)


def _is_due(owed: Owed) -> bool:
    return is_due(owed.due, "AA" if owed.became in TAKEN else "AE")


async def _either(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        pass
