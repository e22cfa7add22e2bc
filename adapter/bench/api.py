"""The FHIR API at two sizes of a site, on each database: ingest, reads, searches, whole records.

1. A new site is filled through its own API with transactions of 25 resources from 8 clients, which is the figure of
   ingest, to a tenth of the size and then to the whole (`records.py` says what with).
2. At both sizes each line is asked by a closed loop of kept-alive connections, in turns with a route of the same
   framework that does nothing: what disturbs one disturbs the other. Every answer has to be a good one, and what a
   line finds is counted once.
3. The node is stopped and started again: memory before, what it all takes on the disk, the time until it answers.

Growth and the distance of the databases compare times of a request, each held against the bare route of its own turns.
What the figures are held against is `api_goals.py`'s. Source: fhir chapter §14.
"""

import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import chain
from operator import add
from pathlib import Path
from urllib.parse import quote

from adapter.bench import api_goals, asking, database, probes, process, records, sites
from adapter.bench.api_goals import Line, Measure, Memory, Standing
from adapter.bench.figure import Figure
from adapter.bench.load import HOST, Outcome, answered, closed_loop
from adapter.cli.console import progress
from adapter.data_place import data_place
from adapter.errors import Unavailable
from adapter.http_server import free_port
from adapter.store import outbox
from adapter.store.engine import DataStore

AREA = "api"
TENTH = 10
TURNS = 3
CHUNKS = 4  # of a filling; a turn of the bare route follows each
SAMPLE = 4_000  # resources that are asked for
CLIENTS = 8
SETTLE_S = 60.0
POLL_S = 0.1

_LOCATION = re.compile(rb"/fhir/([A-Z][A-Za-z]+)/([A-Za-z0-9-]+)/_history")


def measure(folder: Path, seconds: float, size: int) -> list[Figure]:
    """All lines, `seconds` for each side of each; `size` resources, 625 of them in one record and of nobody."""
    disk = probes.single_commit(probes.fsync(folder, seconds / 4))
    with process.running("adapter.bench.served", "bare", str(free_port(HOST))) as bare:
        found = [_engine(folder / "sqlite", None, int(bare.ready), seconds, size)]
        if (binaries := database.binaries()) is not None:
            with database.running(binaries) as server:
                found.append(_engine(folder / "postgres", server, int(bare.ready), seconds, size))
    return api_goals.figures(AREA, found, disk)


@dataclass(slots=True)
class _Known:
    """What the answers to transactions have named: paths of resources, ids of ordinary patients."""

    paths: list[str] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)

    def heard(self, arrived: bytearray) -> bool | None:
        """`answered`, with an ear for where things are."""
        good = answered(arrived)
        if good:
            found = [(kind.decode(), name.decode()) for kind, name in _LOCATION.findall(arrived)]
            self.patients += [name for kind, name in found if kind == "Patient"]
            self.paths += [f"/fhir/{kind}/{name}" for kind, name in found[:: len(found) // 2 or 1]]
        return good


def _engine(folder: Path, server: database.Database | None, bare: int, seconds: float, size: int) -> Standing:
    """One database, a file or a server: everything that is measured with it."""
    name = f"PostgreSQL {server.version}" if server else "SQLite"
    place = sites.make(folder, urls={"store": server.url} if server else {})
    small = max(size // TENTH, 2 * records.RESERVED)
    with process.running("adapter.bench.served", "node", str(place.folder)) as node:
        pids = (node.pid, server.pid) if server else (node.pid,)
        lines = _Asking(name, place, bare, seconds, pids)
        lines.begin()
        measures = lines.at(small), lines.at(size)
        memory = Memory(node.family_mb(), server.memory_mb() if server else 0.0)
    disk = sum(path.stat().st_size for path in place.folder.rglob("*") if path.is_file())
    disk += server.disk_bytes() if server else 0
    started = time.perf_counter()
    with process.running("adapter.bench.served", "node", str(place.folder)):
        start_s = time.perf_counter() - started
    return Standing(name, (small, size), measures, memory, disk, start_s)


class _Asking:
    """One running node, filled and asked; `pids` are its own and its server's."""

    def __init__(self, name: str, place: sites.Place, bare: int, seconds: float, pids: Sequence[int]) -> None:
        self._name, self._place, self._bare, self._seconds, self._pids = name, place, bare, seconds, pids
        self._records, self._known, self._count = records.Records(), _Known(), 0
        self._chance = random.Random(1)  # noqa: S311 - which resources are asked for, the same in each run

    def begin(self) -> None:
        """What is there once: nobody's resources, and the large record."""
        progress(f"{self._name}: the large record …")
        self._send(chain([records.staff()], records.large()), clients=1)

    def at(self, size: int) -> dict[Line, Measure]:
        """Fill up to this size, then every line."""
        found = {Line.INGEST: self._fill(size)}
        asked: Sequence[tuple[Line, Callable[[], Iterable[str]], int]] = (
            (Line.READ, self._paths, 1),
            (Line.SEARCH, self._searches, 2),
            (Line.IDENTIFIER, self._identifiers, 1),
            (Line.RECORD, self._small, records.RESOURCES + 2),
            (Line.LARGE, self._large, records.LARGE + 3),
            (Line.NEWEST, self._newest, records.LARGE // len(records.VALUES)),
            (Line.SCAN, self._scans, records.LARGE),
        )
        for line, requests, finds in asked:
            progress(f"{self._name}, {size:,} resources: {line.what} …")
            found[line] = self._turns(line, list(requests()), finds)
        return found

    # --- filling ------------------------------------------------------------------------------------------------------

    def _fill(self, size: int) -> Measure:
        """Records until there are so many resources; and wait until the log knows of all of them."""
        first, self._count = self._count, (size - records.RESERVED) // records.RESOURCES
        progress(f"{self._name}: filling up to {size:,} resources …")
        each = -(-(self._count - first) // CHUNKS)
        ours, bare, spent = [], [], 0.0
        for start in range(first, self._count, each):
            numbers = range(start, min(start + each, self._count))
            before = self._processor_s()
            ours.append(self._send(map(self._records.transaction, numbers), clients=CLIENTS))
            spent += self._processor_s() - before
            bare.append(self._ask(self._bare, ["/fhir/Basic/x"], Line.INGEST.connections, self._seconds / TURNS))
        started = time.perf_counter()
        self._settle()
        return Measure(reduce(add, ours), reduce(add, bare), spent, time.perf_counter() - started)

    def _processor_s(self) -> float:
        return sum(map(process.processor_s, self._pids))

    def _send(self, transactions: Iterable[bytes], *, clients: int) -> Outcome:
        requests = asking.transactions(transactions, self._place.token())
        return closed_loop((self._place.http_port,), requests, self._known.heard, connections=clients).expect_all()

    def _settle(self) -> None:
        """Until nothing waits for the log."""
        settings, folder = self._place.settings, self._place.folder
        store = DataStore.open(data_place(folder, settings), settings.node.pairing, readers=1)
        try:
            until = time.monotonic() + SETTLE_S
            while store.read_now(lambda conn: outbox.count(conn, settings.node.org)):
                if time.monotonic() > until:
                    raise Unavailable("what was written did not reach the log in time")
                time.sleep(POLL_S)
        finally:
            store.close()

    # --- what is asked ------------------------------------------------------------------------------------------------

    def _paths(self) -> Iterable[str]:
        return self._chance.sample(self._known.paths, min(SAMPLE, len(self._known.paths)))

    def _patients(self) -> list[str]:
        ids = [one for one in self._known.patients if one != records.LARGE_ID]
        return self._chance.sample(ids, min(SAMPLE, len(ids)))

    def _searches(self) -> Iterator[str]:
        code = quote(f"{records.LOINC}|{records.ASKED}", safe="")
        return (f"/fhir/Observation?patient={one}&code={code}" for one in self._patients())

    def _identifiers(self) -> Iterator[str]:
        numbers = self._chance.sample(range(self._count), min(SAMPLE, self._count))
        system = quote(f"{records.SYSTEM}|", safe="")
        return (f"/fhir/Patient?identifier={system}{records.identifier(n)}" for n in numbers)

    def _small(self) -> Iterator[str]:
        return (f"/fhir/Patient/{one}/$everything" for one in self._patients())

    def _large(self) -> Iterable[str]:
        return [f"/fhir/Patient/{records.LARGE_ID}/$everything"]

    def _newest(self) -> Iterable[str]:
        code = quote(f"{records.LOINC}|{records.ASKED}", safe="")
        return [f"/fhir/Observation?patient={records.LARGE_ID}&code={code}&_sort=-date&_count=20"]

    def _scans(self) -> Iterable[str]:
        """No index helps: a value is found by opening all."""
        return [f"/fhir/Observation?patient={records.LARGE_ID}&value-quantity=gt1&_count=1"]

    # --- asking -------------------------------------------------------------------------------------------------------

    def _turns(self, line: Line, paths: Sequence[str], finds: int) -> Measure:
        self._check(paths[0], finds)
        port, part = self._place.http_port, self._seconds / TURNS
        self._ask(port, paths, line.connections, part)  # warm
        ours, bare, spent = [], [], 0.0
        for _ in range(TURNS):
            before = self._processor_s()
            ours.append(self._ask(port, paths, line.connections, part))
            spent += self._processor_s() - before
            bare.append(self._ask(self._bare, ["/fhir/Basic/x"], line.connections, part / 2))
        return Measure(reduce(add, ours), reduce(add, bare), spent)

    def _check(self, path: str, finds: int) -> None:
        answer = asking.get(f"http://{HOST}:{self._place.http_port}{path}", self._place.token())
        found = answer.get("total") if answer["resourceType"] == "Bundle" else 1
        if found != finds:
            raise Unavailable(f"a request of the benchmark found {found}, expected {finds}")

    def _ask(self, port: int, paths: Sequence[str], connections: int, seconds: float) -> Outcome:
        requests = asking.reads(paths, self._place.token())
        return closed_loop((port,), requests, answered, connections=connections, seconds=seconds).expect_all()
