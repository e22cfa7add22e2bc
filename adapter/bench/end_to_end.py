"""From acknowledged to queryable: whole node, everything on; results of ten observations, each of another patient.

1. a short run says how fast this machine is
2. then as many messages as that takes `seconds` for are sent as fast as they are acknowledged; the rate is taken over
   the time until the last of them is sealed, logged and `delivered`
3. at the goal's rate, sent evenly, how long after its receipt a message can be queried
4. the last patient's results are then asked for over the API: a rate of what cannot be found would be none

Source: operations chapter §4 (states).
"""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter.bench import process, sites, traffic
from adapter.bench.asking import find_patient, get
from adapter.bench.figure import Figure, Probe, number
from adapter.bench.load import HOST, acknowledged, closed_loop
from adapter.bench.probes import Latencies
from adapter.errors import Unavailable
from adapter.sender import send_many
from adapter.store.messages import DELIVERED

AREA = "end-to-end"
RATE, MARK = 120, 250
OBSERVATIONS = 10
CONNECTIONS = 8
FIRST, FEWEST = 60, 120
POLL_S = 0.02
LONGEST_S = 120.0


def measure(folder: Path, seconds: float) -> list[Figure]:
    """Sustained rate, and the delay at the goal's rate."""
    place = sites.make(folder / "node")
    with process.running("adapter.bench.served", "node", str(place.folder)) as node:
        flow = _Flow(place, traffic.Template(traffic.ORU_10))
        flow.push(FIRST)
        rate = flow.push(max(FEWEST, int(flow.push(FIRST) * 2 * seconds)))
        delays = flow.steady(RATE, int(RATE * seconds))
        flow.check_last()
        memory = node.memory_mb()
    return [_sustained(rate, flow.acknowledged, memory), _delay(delays)]


def _sustained(rate: float, acknowledged_rate: float, memory_mb: float) -> Figure:
    return Figure(
        AREA,
        f"acknowledged to queryable, ORU with {OBSERVATIONS} OBX",
        rate,
        "messages/s",
        f"≥ {RATE}/s; {MARK}/s is the mark",
        rate >= RATE,
        Probe("acknowledged alone", acknowledged_rate, "/s"),
        rate / acknowledged_rate,
        f"{number(rate * (OBSERVATIONS + 1))} results/s, node {memory_mb:.0f} MB",
    )


def _delay(delays: Latencies) -> Figure:
    p50, p99 = delays.percentile(0.5), delays.percentile(0.99)
    note = f"p50 {number(p50 * 1000)} ms"
    return Figure(AREA, f"the same at {RATE} messages/s: delay, p99", p99 * 1000, "ms", "", note=note)


@dataclass(slots=True)
class _Flow:
    """Messages into one node, each sent once, and what its stores say of them."""

    place: sites.Place
    template: traffic.Template
    sent: int = 0
    acknowledged: float = 0.0

    def push(self, count: int) -> float:
        """Send `count` messages; how many a second became queryable."""
        started = time.perf_counter()
        outcome = closed_loop((self.place.mllp_port,), self._frames(count), acknowledged, connections=CONNECTIONS)
        self.acknowledged = outcome.expect_all().rate
        self._await_delivered()
        return count / (time.perf_counter() - started)

    def steady(self, rate: float, count: int) -> Latencies:
        """Send evenly; the delays from receipt to `delivered`, by the node's own clock."""
        first = self.sent
        frames = [frame[1:-2] for frame in self._frames(count)]
        asyncio.run(send_many(HOST, self.place.mllp_port, frames, connections=CONNECTIONS, rate=rate))
        self._await_delivered()
        return self._delays(first)

    def check_last(self) -> None:
        """The last patient's results are found by a search. Raises Unavailable."""
        base, token = f"http://{HOST}:{self.place.http_port}/fhir", self.place.token()
        path = find_patient(base, token, self.sent - 1)
        total = path and get(f"{base}/Observation?patient={path.rpartition('/')[2]}&_count=0", token)["total"]
        if total != OBSERVATIONS:
            raise Unavailable("the results of a delivered message cannot be queried")

    def _frames(self, count: int) -> Iterator[bytes]:
        first, self.sent = self.sent, self.sent + count
        return map(self.template.frame, range(first, first + count))

    def _await_delivered(self) -> None:
        deadline = time.monotonic() + LONGEST_S
        while self._delivered() < self.sent:
            if time.monotonic() > deadline:
                raise Unavailable("not all messages of the benchmark were delivered in time")
            time.sleep(POLL_S)

    def _delivered(self) -> int:
        sql = "SELECT count(*) FROM message_state WHERE state = ?"
        ((count,),) = self._ask(self.place.settings.store.path, sql, DELIVERED)
        return int(count)

    def _delays(self, first: int) -> Latencies:
        """Those of the messages after the first so many. In a new journal the rows are numbered from 1."""
        received: dict[int, int] = dict(
            self._ask(self.place.settings.store.journal, "SELECT seq, at FROM message WHERE seq > ?", first)
        )
        sql = "SELECT seq, at FROM transition WHERE to_state = ? AND seq > ?"
        delivered: dict[int, int] = dict(self._ask(self.place.settings.store.path, sql, DELIVERED, first))
        return Latencies.of((at - received[seq]) / 1000 for seq, at in delivered.items())

    def _ask(self, file: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """One query beside the process that serves."""
        path = self.place.folder / file
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, values).fetchall()
