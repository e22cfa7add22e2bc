"""The journal: messages made durable before anyone hears that they arrived.

One procedure a group. Whatever is queued when the disk is free is one group; nobody ever waits for company.

1. Take what is queued, as far as there are message keys.
2. Seal each message.
3. Insert it, unless its control id was heard before; then look closer: received before, or used for another? All in one
   transaction. The key of what was received before is spent: no row will name it.
4. Commit; it is durable when that returns.
5. Begin the next group, then tell those of this one, in their order.

Steps 1 and 5 and all reading stand here. Steps 2 to 4 are the business of where the journal lies: a file of the site
(`journal_file.py`) or the database of the data store (`journal_postgres.py`).

When a commit fails, nothing of the group is kept, its senders hear so, and the next group is tried anew.
Source: operations chapter §4; hl7v2 chapter §11.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from adapter.errors import IntegrityFault, NotFound, Unavailable
from adapter.inbound import journal_table as table
from adapter.inbound.bodies import Entropy, KeyStock, MessageKeys, open_body
from adapter.inbound.journal_table import NEW, Part, Row, State, Statements

GROUP_ROWS = 512
GROUP_BYTES = 8 * 1024 * 1024  # of messages in one transaction; one larger than that is a group of its own
CHANNEL = "journal"  # on which other processes hear that something came
LARGE_BYTES = 256 * 1024  # beyond this, hashing and encrypting would hold up the loop

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Incoming:
    """One received message. `code` is its MSA-1 ("" for none), `time` the answer's MSH-7; `dedupe` None: no look-up.

    `due` is the application answer that will follow (AL, ER, SU); `part` its place among those it came with; `reused`
    the issue of one whose number another content had.
    """

    feed: str
    at: datetime
    data: bytes = field(repr=False)
    state: State
    code: str
    time: str
    dedupe: bytes | None = field(default=None, repr=False)
    patients: tuple[bytes, ...] = field(default=(), repr=False)
    lanes: tuple[int, ...] = ()
    issues: tuple[str, ...] = ()
    due: str = ""
    part: Part | None = None
    reused: str = "control-id-reused"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message is durable. `first` is the row it repeats, if it does; `ack` what its answer says, or said then.

    A part that lay in its place already is told as it was kept then.
    """

    seq: int
    state: State
    first: int | None
    ack: str
    issues: tuple[str, ...]


Told = Callable[[Accepted | None], None]
Group = list[tuple[Incoming, Told]]


def control_id(seq: int) -> str:
    """MSH-10 of the ACK for a row: never the same twice, at most 20 characters."""
    return f"CB{seq:014d}"


def application_id(seq: int) -> str:
    """MSH-10 of the application's answer for a row."""
    return f"CM{seq:014d}"


class Source(Protocol):
    """Where the rows of a journal are read."""

    async def read(self, work: Callable[[Statements], T]) -> T: ...

    def close(self) -> None: ...


class JournalReader:
    """Reading the journal, beside its writers or without them. Opened bodies need the organisation's message keys."""

    def __init__(self, source: Source, keys: MessageKeys) -> None:
        self._source, self._keys = source, keys

    async def read(self, after_seq: int, limit: int, state: State = NEW) -> list[Row]:
        """Rows behind `after_seq`, oldest first; the unread ones, unless another state is named."""
        return await self._source.read(lambda ask: table.rows_after(ask, after_seq, limit, state))

    async def listing(self, limit: int, before_seq: int | None = None, feed: str | None = None) -> list[Row]:
        """Rows of every state, newest first."""
        return await self._source.read(lambda ask: table.rows_before(ask, before_seq, limit, feed))

    async def arrivals(self, after_seq: int, limit: int) -> list[Row]:
        """Rows of every state behind `after_seq`, oldest first."""
        return await self._source.read(lambda ask: table.arrivals(ask, after_seq, limit))

    async def row(self, seq: int) -> Row:
        """Raises NotFound."""
        found = await self._source.read(lambda ask: table.row(ask, seq))
        if found is None:
            raise NotFound(f"no message {seq} in the journal")
        return found

    async def rows(self, seqs: Sequence[int]) -> list[Row]:
        """These, as far as they are there."""
        return await self._source.read(lambda ask: table.rows(ask, seqs)) if seqs else []

    async def body(self, row: Row) -> bytes:
        """The message as received. Raises NotFound where it was pruned or its key destroyed, or never kept."""
        found = await self.bodies([row])
        if row.seq not in found:
            raise NotFound(f"the content of message {row.seq} is not kept any more")
        return found[row.seq]

    async def bodies(self, rows: Sequence[Row]) -> dict[int, bytes]:
        """Messages by number; those without content or key are left out. Raises IntegrityFault for a changed one."""
        sealed = await self._source.read(lambda ask: table.bodies(ask, [row.seq for row in rows]))
        names = {row.seq: row.key_id for row in rows if row.seq in sealed and row.key_id is not None}
        keys = await self._keys.message_keys(names.values())
        places = {row.seq: (row.org, row.feed) for row in rows}
        return {
            seq: open_body(*places[seq], key_id, keys[key_id], sealed[seq])
            for seq, key_id in names.items()
            if key_id in keys
        }

    async def parts(self, seqs: Sequence[int]) -> dict[int, Part]:
        """Places by number, of those that came with others."""
        return await self._source.read(lambda ask: table.parts(ask, seqs))

    async def newest_keys(self, rows: int) -> dict[bytes, int]:
        """Key id → when received, of what still has a body among so many newest rows."""
        return await self._source.read(lambda ask: table.newest_keys(ask, rows))

    async def counts(self) -> dict[tuple[str, State], int]:
        """Rows by feed and state."""
        return await self._source.read(table.counts)

    async def close(self) -> None:
        self._source.close()


class Journal(JournalReader, ABC):
    """What listeners write into. `await start()` on the loop that submits; `await close()` finishes what is queued."""

    def __init__(
        self, source: Source, keys: MessageKeys, entropy: Entropy, lost: Callable[[str], None] = lambda text: None
    ) -> None:
        super().__init__(source, keys)
        self._lost = lost
        self._stock = KeyStock(keys, entropy, self._wake)
        self.senders = 0  # open connections, of all listeners
        self._queue: deque[tuple[Incoming, Told]] = deque()
        self._queued_bytes = 0
        self._writing = self._woken = self._closing = self._broken = False
        self._arrivals: list[asyncio.Future[None]] = []
        self._idle = asyncio.Event()
        self._idle.set()

    async def start(self) -> None:
        """Make this start's own message keys. Raises Unavailable."""
        self._loop = asyncio.get_running_loop()
        await self._stock.fill()

    @property
    @abstractmethod
    def last(self) -> int:
        """The newest row's number, as far as this process knows; 0 for an empty journal."""

    @abstractmethod
    def _keep(self, group: Group, size: int) -> None:
        """Steps 2 to 4 for a group of so many bytes; `_settle` is called on the loop with what came of it."""

    @abstractmethod
    def _took(self, accepted: Sequence[Accepted]) -> None:
        """These are durable."""

    @property
    def queued_bytes(self) -> int:
        """Of messages that wait for their commit."""
        return self._queued_bytes

    def submit(self, incoming: Incoming, told: Told) -> None:
        """Queue a message; `told` hears when it is durable, or None when it cannot be kept. Only on the loop."""
        if self._closing or self._broken:
            told(None)
            return
        self._queue.append((incoming, told))
        self._queued_bytes += len(incoming.data)
        self._idle.clear()
        self._wake()

    def nudge(self) -> None:
        """Write what is queued now, if only one sender is connected: nobody else can join its group."""
        if self.senders == 1 and not self._writing:
            self._write()

    async def accept(self, incoming: Incoming) -> Accepted:
        """`submit`, awaited. Raises Unavailable."""
        done: asyncio.Future[Accepted | None] = asyncio.get_running_loop().create_future()
        self.submit(incoming, lambda accepted: None if done.done() else done.set_result(accepted))
        accepted = await done
        if accepted is None:
            raise Unavailable("the message cannot be kept now", hint="send it again")
        return accepted

    async def wait(self, after_seq: int) -> None:
        """Return once this process has a row behind `after_seq`."""
        while self.last <= after_seq:
            arrival: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._arrivals.append(arrival)
            await arrival

    async def close(self) -> None:
        """Commit and answer what is queued, and take nothing more."""
        self._closing = True
        await self._idle.wait()
        await self._stock.close()
        await super().close()

    # The procedure -----------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Write once the loop has handed out what has come: that is the group."""
        if not (self._writing or self._woken) and self._queue:
            self._woken = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        self._woken = False
        if self._writing or not self._queue:
            return
        group = self._take_group()  # step 1
        self._stock.refill()
        if not group:
            if self._stock.failure is not None:
                self._refuse_all()
            return
        self._writing = True
        self._keep(group, sum(len(incoming.data) for incoming, _ in group))

    def _take_group(self) -> Group:
        group: Group = []
        size, keys = 0, len(self._stock)
        while self._queue and len(group) < min(GROUP_ROWS, keys):
            size += len(self._queue[0][0].data)
            if group and size > GROUP_BYTES:
                break
            group.append(self._queue.popleft())
        return group

    def _seal(self, incoming: Incoming) -> tuple[bytes, bytes]:
        """The key's name, and the message closed under it."""
        seal = self._stock.take()
        return seal.key_id, seal.close(self._keys.org, incoming.feed, incoming.data)

    def _faulty(self, error: Exception) -> None:
        self._loop.call_exception_handler({"message": "a fault in the journal", "exception": error})

    def _settle(self, group: Group, outcome: list[Accepted] | Unavailable | IntegrityFault) -> None:
        """Step 5."""
        self._writing = False
        self._queued_bytes -= sum(len(incoming.data) for incoming, _ in group)
        if isinstance(outcome, list):
            self._took(outcome)
            self._announce()
        elif self._broken:
            self._lost(outcome.text)
            self._refuse_all()
        self._write()
        for n, (_, told) in enumerate(group):
            try:
                told(outcome[n] if isinstance(outcome, list) else None)
            except Exception as exc:  # its answer could not be made; those of the others can
                self._faulty(exc)
        if not (self._queue or self._writing):
            self._idle.set()

    def _refuse_all(self) -> None:
        """What is queued cannot be kept."""
        refused, self._queue, self._queued_bytes = self._queue, deque(), 0
        for _, told in refused:
            told(None)
        if not self._writing:
            self._idle.set()

    def _announce(self) -> None:
        arrivals, self._arrivals = self._arrivals, []
        for arrival in arrivals:
            if not arrival.done():
                arrival.set_result(None)
