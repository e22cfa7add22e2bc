"""Reads of one api process, and of two, on one PostgreSQL server that has everything: data, log, vault, journal.

The load is a closed loop: 32 connections at one process, 32 at each of two; and beside these, for the note, half of
32 at each and all 64 at one: a process commits for all who wait at the moment, so the fewer they are, the more a read
costs. Both processes run all the time, and the turns alternate. Server and load share the machine's cores with them, so
each line says what everybody had of the processors.
Source: fhir chapter §14; architecture §5 (roles).
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import repeat
from operator import add
from pathlib import Path

from adapter.bench import asking, database, process, records, sites
from adapter.bench.figure import Figure, Probe, number
from adapter.bench.load import HOST, Outcome, answered, closed_loop
from adapter.http_server import free_port
from adapter.services import base_url

AREA = "api-roles"
STORES = ("store", "ledger", "vault")
RECORDS = 100  # transactions of 25 resources that there are to read
CONNECTIONS, CLIENTS = 32, 8
TIMES = 1.25
TURNS = 4  # of `seconds` each: two processes, their server and the load on two cores are a matter of luck in less
WARM = 0.25  # of a turn

_LOCATION = re.compile(rb"/fhir/[A-Z][A-Za-z]+/[A-Za-z0-9-]+(?=/_history)")


def measure(folder: Path, seconds: float) -> list[Figure]:
    """One line; none where there is no PostgreSQL on this machine."""
    if (binaries := database.binaries()) is None:
        return []
    with database.running(binaries) as server:
        place = sites.make(folder / "api-roles", urls={name: server.new(name) for name in STORES})
        base, ports = base_url(place.settings), (place.http_port, free_port(HOST))
        at = [("adapter.bench.served", "api", str(place.folder), str(port), base) for port in ports]
        with process.running(*at[0]) as first, process.running(*at[1]) as second:
            requests = asking.reads(_filled(place), place.token())
            pids = (first.pid, second.pid, server.pid)
            one = _Side(ports[:1], requests, (first.pid, server.pid), CONNECTIONS)
            two = _Side(ports, requests, pids, len(ports) * CONNECTIONS)
            halved = _Side(ports, requests, pids, CONNECTIONS)
            doubled = _Side(ports[:1], requests, (first.pid, server.pid), len(ports) * CONNECTIONS)
            sides = (one, two, halved, doubled)
            for side in sides:
                side.ask(seconds * WARM)  # each process has its keys then
                side.forget()
            for _ in range(TURNS):
                for side in sides:
                    side.ask(seconds)
        return [_figure(one, two, (halved, doubled), server.version)]


def _filled(place: sites.Place) -> list[str]:
    """Paths of what is there to read, once it is."""
    found: list[str] = []

    def heard(arrived: bytearray) -> bool | None:
        good = answered(arrived)
        if good:
            found.extend(path.decode() for path in _LOCATION.findall(arrived))
        return good

    made = records.Records()
    bodies = [records.staff(), *map(made.transaction, range(RECORDS))]
    for some, clients in ((bodies[:1], 1), (bodies[1:], CLIENTS)):
        requests = asking.transactions(some, place.token())
        closed_loop((place.http_port,), requests, heard, connections=clients).expect_all()
    return found


@dataclass(slots=True)
class _Side:
    """Reads at these ports; what came of them, and what each of the processes behind it had of the processors."""

    ports: Sequence[int]
    requests: Iterator[bytes]
    pids: Sequence[int]
    connections: int
    outcomes: list[Outcome] = field(default_factory=list)
    used_s: list[float] = field(default_factory=list)

    def ask(self, seconds: float) -> None:
        before = self._processors()
        asked = closed_loop(self.ports, self.requests, answered, connections=self.connections, seconds=seconds)
        self.outcomes.append(asked.expect_all())
        used = [after - earlier for after, earlier in zip(self._processors(), before, strict=True)]
        self.used_s = [sum(each) for each in zip(self.used_s or repeat(0.0), used, strict=False)]

    def forget(self) -> None:
        self.outcomes, self.used_s = [], []

    def _processors(self) -> list[float]:
        return [*map(process.processor_s, self.pids), time.process_time()]

    @property
    def outcome(self) -> Outcome:
        return reduce(add, self.outcomes)

    @property
    def note(self) -> str:
        """Of one processor: each api process, the database server, the load."""
        *apis, server, load = (used / self.outcome.seconds for used in self.used_s)
        processes = " + ".join(map(number, apis))
        return (
            f"p95 {number(self.outcome.latencies.percentile(0.95) * 1000)} ms, of a processor {processes}, "
            f"server {number(server)}, load {number(load)}"
        )


def _figure(one: _Side, two: _Side, beside: tuple[_Side, _Side], version: str) -> Figure:
    ratio = two.outcome.rate / one.outcome.rate
    halved, doubled = (f"{number(side.outcome.rate)}/s, {side.note}" for side in beside)
    more = f"two with half of the connections each {halved}; one with twice as many {doubled}"
    return Figure(
        AREA,
        f"read with audit, PostgreSQL {version}, two api processes",
        two.outcome.rate,
        "/s",
        f"≥ {TIMES} × one",
        ratio >= TIMES,
        Probe("one api process", one.outcome.rate, "/s"),
        ratio,
        f"{two.note}; one: {one.note}; {more}",
    )
