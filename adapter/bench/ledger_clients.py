"""Clients of one log, each of which waits for its receipt before its next event: a permitted read."""

import asyncio
import os
import time
from collections import deque
from itertools import count
from pathlib import Path

from adapter.bench import probes
from adapter.bench.probes import Latencies
from ledger.commitment import SubjectKey
from ledger.event import Event, RequiresEpoch, RequiresRef
from ledger.log import Ledger

SUBJECTS = 500
TURNS = 6
READY_A_SECOND = 20_000  # events made before a turn
BASIS_INDEX = 2  # the first policy that a new log adopts

# As long as what the gate seals about a read.
DETAIL = b'{"v":1,"client":"clinic","organisation":{"system":"urn:oid:2.999.1","value":"hospital"}}'.ljust(420)


class Clients:
    """Clients of one log, each with patients of its own."""

    def __init__(self, ledger: Ledger, org: str) -> None:
        self._ledger, self._org = ledger, org
        self._basis = f"{ledger.shard}:{BASIS_INDEX}"
        self._subjects = [SubjectKey.of(10_000 + n, os.urandom(32)) for n in range(SUBJECTS)]
        self._numbers = count()

    async def beside(self, folder: Path, clients: int, seconds: float) -> tuple[Latencies, Latencies, float]:
        """A run and its fsync probe, taking turns; and what the run took, in seconds."""
        found = disk = Latencies(())
        taken = 0.0
        for _ in range(TURNS):
            disk += await asyncio.to_thread(probes.fsync, folder, seconds / (2 * TURNS))
            answered, turn = await self.run(clients, seconds / TURNS)
            found += answered
            taken += turn
        return found, disk, taken

    def events(self, count: int) -> deque[Event]:
        """Events that stand ready: they are the load, and must not be what is measured."""
        return deque(self._read(next(self._numbers)) for _ in range(count))

    async def run(self, clients: int, seconds: float, ready: deque[Event] | None = None) -> tuple[Latencies, float]:
        """The times of the appends of some `seconds`, and how long those were."""
        taken: list[float] = []
        events = self.events(int(seconds * READY_A_SECOND)) if ready is None else ready
        started = time.perf_counter()
        await asyncio.gather(*(self._client(taken, events, started + seconds) for _ in range(clients)))
        return Latencies.of(taken), time.perf_counter() - started

    async def _client(self, taken: list[float], events: deque[Event], end: float) -> None:
        while (started := time.perf_counter()) < end:
            await self._ledger.append([events.popleft() if events else self._read(next(self._numbers))])
            taken.append(time.perf_counter() - started)

    def _read(self, number: int) -> Event:
        subject = self._subjects[number % SUBJECTS]
        secret = {
            "actor": "clinic",
            "subject": f"o-{subject.row}",
            "purpose": "TREAT",
            "content": f"{number:064x}",
            "basis": self._basis,
        }
        return Event(
            "access.read",
            self._ledger.new_id(),
            self._org,
            outcome="permit",
            subject_key=subject,
            secret=secret,
            detail=DETAIL,
            requires=(RequiresRef(self._basis), RequiresEpoch(subject.row, 1)),
        )
