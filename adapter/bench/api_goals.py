"""What the lines of the API are held against: goals, the mark, growth, and one database against the other.

The mark is a tuned HAPI FHIR 8.8 with PostgreSQL 15 on two cores, durable, without encryption, consent or audit. A time
of a request is taken in times of the bare route in its own turns, where two of them are compared: so what else the
machine did meanwhile drops out. Source: fhir chapter §14; the marks are those of the issue.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from adapter.bench.figure import Figure, Probe, number
from adapter.bench.load import Outcome

RATE, SHARE = 2_000, 0.6
INGEST = 1_000
SEARCH_MS, LARGE_MS = 25, 150
MEMORY_MB, DISK_KB, START_S = 400, 8, 35
GROWTH, DISTANCE = 1.5, 2.0


class Line(Enum):
    """An interaction, over so many connections, and what the mark does."""

    INGEST = ("transactions of 25 resources", 8, "1,150/s, p95 309 ms")
    READ = ("read with audit", 32, "1,040 to 2,210/s, p95 28 to 14 ms")
    SEARCH = ("Observations by patient, code", 8, "230 to 440/s, p95 110 to 58 ms")
    IDENTIFIER = ("Patient by identifier", 8, "260 to 630/s, p95 104 to 42 ms")
    RECORD = ("$everything of 25", 1, "p95 19 to 24 ms")
    LARGE = ("$everything of 600", 1, "")
    NEWEST = ("newest 20 of a code, of 600", 8, "")
    SCAN = ("600 opened for one value", 1, "")

    def __init__(self, what: str, connections: int, mark: str) -> None:
        self.what, self.connections, self.mark = what, connections, mark


@dataclass(frozen=True, slots=True)
class Measure:
    """A line and the bare route beside it; what node and server had of the processors for it; `behind_s`: how long the
    log went on afterwards."""

    ours: Outcome
    bare: Outcome
    processor_s: float
    behind_s: float = 0.0

    @property
    def share(self) -> float:
        """Its rate in rates of the bare route."""
        return self.ours.rate / self.bare.rate

    @property
    def processor_ms(self) -> float:
        """Of a request."""
        return self.processor_s * 1000 / len(self.ours.latencies.ordered)

    def p_ms(self, share: float) -> float:
        return self.ours.latencies.percentile(share) * 1000


@dataclass(frozen=True, slots=True)
class Memory:
    """What the node with its conversion child holds, and its database server, in MB."""

    node: float
    server: float


@dataclass(frozen=True, slots=True)
class Standing:
    """One database: every line at each size, and what it all takes."""

    name: str
    sizes: tuple[int, int]
    measures: tuple[Mapping[Line, Measure], Mapping[Line, Measure]]
    memory: Memory
    disk_bytes: int
    start_s: float


def figures(area: str, found: Sequence[Standing], fsync: Probe) -> list[Figure]:
    """The lines of each database at its larger size, then what follows from several."""
    lines = [figure for one in found for figure in (*_lines(area, one, fsync), _growth(area, one), *_takes(area, one))]
    return lines + [_distance(area, found[0], other) for other in found[1:]]


def _lines(area: str, one: Standing, fsync: Probe) -> Iterator[Figure]:
    for line, measure in one.measures[1].items():
        ingest = line is Line.INGEST
        probe = fsync if ingest else Probe("bare route", measure.bare.rate, "/s")
        rate = measure.ours.rate * (25 if ingest else 1)
        goal, reached = _goal(line, measure, rate)
        what = f"{one.name}, {one.sizes[1]:,}: {line.what}"
        yield Figure(
            area, what, rate, "/s", goal, reached, probe, measure.ours.rate / probe.value, _note(line, measure)
        )


def _goal(line: Line, measure: Measure, rate: float) -> tuple[str, bool | None]:
    p95 = measure.p_ms(0.95)
    match line:
        case Line.INGEST:
            return f"≥ {INGEST:,} resources/s", rate >= INGEST
        case Line.READ:
            return f"≥ {RATE:,}/s or {SHARE} × bare, the lower", rate >= min(RATE, SHARE * measure.bare.rate)
        case Line.SEARCH | Line.IDENTIFIER | Line.NEWEST:
            return f"p95 < {SEARCH_MS} ms", p95 < SEARCH_MS
        case Line.LARGE:
            return f"p95 < {LARGE_MS} ms", p95 < LARGE_MS
        case Line.RECORD | Line.SCAN:
            return "", None


def _note(line: Line, measure: Measure) -> str:
    times = ", ".join(f"p{round(share * 100)} {number(measure.p_ms(share))}" for share in (0.5, 0.95, 0.99))
    behind = f"; all logged {measure.behind_s:.1f} s later" if line is Line.INGEST else ""
    cost = f"{number(measure.processor_ms)} ms of a processor"
    return f"{line.connections} at a time, {times} ms, {cost}{behind}" + (f"; mark {line.mark}" if line.mark else "")


def _growth(area: str, one: Standing) -> Figure:
    """How many times longer a request takes in the larger site: the worst of the lines, and each."""
    small, large = one.measures
    grown = {line: _apart(small[line], large[line]) for line in large}
    what = f"{one.name}: growth from {one.sizes[0]:,} to {one.sizes[1]:,}"
    return _worst(area, what, grown, GROWTH)


def _distance(area: str, first: Standing, other: Standing) -> Figure:
    """How many times longer a request takes with the other database: the worst of the lines, and each."""
    apart = {line: _apart(first.measures[1][line], other.measures[1][line]) for line in other.measures[1]}
    return _worst(area, f"{other.name} to {first.name}", apart, DISTANCE)


def _apart(one: Measure, other: Measure) -> tuple[float, float]:
    """How many times longer the other's request takes, and how many times more of the processors."""
    spent = other.processor_ms / one.processor_ms if one.processor_ms else 0.0
    return one.share / other.share, spent


def _worst(area: str, what: str, times: Mapping[Line, tuple[float, float]], most: float) -> Figure:
    value = max(time for time, _ in times.values())
    note = ", ".join(f"{line.name.lower()} {time:.2f} ({spent:.2f})" for line, (time, spent) in times.items())
    return Figure(area, what, value, "×", f"≤ {most}", value <= most, note=note)


def _takes(area: str, one: Standing) -> Iterator[Figure]:
    kilobytes = one.disk_bytes / one.sizes[1] / 1000
    beside = f"; its server {one.memory.server:.0f} MB" if one.memory.server else ""
    with_children = f"with the conversion child{beside}; mark 2,200 MB"
    memory = one.memory.node < MEMORY_MB
    yield Figure(area, f"{one.name}: memory", one.memory.node, "MB", f"< {MEMORY_MB} MB", memory, note=with_children)
    note = "with journal, vault and log, and what the reads of this run left there; mark 8 kB"
    disk = kilobytes <= DISK_KB
    yield Figure(area, f"{one.name}: disk, a resource", kilobytes, "kB", f"≤ {DISK_KB} kB", disk, note=note)
    started = one.start_s < START_S
    note = "from the start of the process to the first answer; mark 35 s"
    yield Figure(area, f"{one.name}: start", one.start_s, "s", f"< {START_S} s", started, note=note)
