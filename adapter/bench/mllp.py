"""MLLP: ACKs after a durable commit, from one connection to a thousand.

Listener and journal run in a process of their own, as the role `mllp` does; the load is here, on the same machine.
Load and fsync probe take turns, for disks have moods. Source: operations chapter §4.
"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from adapter.bench import probes, process, sites, traffic
from adapter.bench.figure import Figure, Probe, number
from adapter.bench.load import Outcome, acknowledged, closed_loop

AREA = "mllp"
ONE_SHARE = 0.5  # of the fsync probe
HUNDRED_RATE, HUNDRED_TIMES = 5_000, 10
MANY = 1_000
TURNS = 6
LONGER = 3
MANY_P99_S = 1.0
MEMORY_MB = 150


def measure(folder: Path, seconds: float) -> list[Figure]:
    """One, a hundred and a thousand connections on one listener, `seconds` each; one alone, which hangs on the disk's
    mood more than they do, for longer."""
    place = sites.make(folder / "receiver")
    messages = _framed()
    with process.running("adapter.bench.served", "receiver", str(place.folder)) as receiver:
        port = int(receiver.ready)
        _load(port, messages, 1, seconds / 4)  # until the WAL has its length and all code has run
        one, before = _beside(folder, port, messages, 1, LONGER * seconds)
        hundred, after = _beside(folder, port, messages, 100, seconds)
        thousand = _load(port, messages, MANY, seconds)
        memory = receiver.memory_mb()
    return [_one(one, before), _hundred(hundred, after), _thousand(thousand, memory, after)]


def _framed() -> Iterator[bytes]:
    return map(traffic.Template(traffic.ADT).frame, count())


def _load(port: int, messages: Iterator[bytes], connections: int, seconds: float) -> Outcome:
    return closed_loop((port,), messages, acknowledged, connections=connections, seconds=seconds).expect_all()


def _beside(
    folder: Path, port: int, messages: Iterator[bytes], connections: int, seconds: float
) -> tuple[Outcome, Probe]:
    """A run and its probe, taking turns."""
    disk = probes.fsync(folder, seconds / (2 * TURNS))
    outcome = _load(port, messages, connections, seconds / TURNS)
    for _ in range(TURNS - 1):
        disk += probes.fsync(folder, seconds / (2 * TURNS))
        outcome += _load(port, messages, connections, seconds / TURNS)
    return outcome, probes.single_commit(disk)


def _one(outcome: Outcome, probe: Probe) -> Figure:
    ratio = outcome.rate / probe.value
    note = _times(outcome)
    goal = f"≥ {ONE_SHARE} × fsync"
    return Figure(AREA, "1 connection", outcome.rate, "ACK/s", goal, ratio >= ONE_SHARE, probe, ratio, note)


def _hundred(outcome: Outcome, probe: Probe) -> Figure:
    least = min(HUNDRED_RATE, HUNDRED_TIMES * probe.value)
    goal = f"≥ {HUNDRED_RATE:,}/s or {HUNDRED_TIMES} × fsync, the lower"
    ratio, reached = outcome.rate / probe.value, outcome.rate >= least
    return Figure(AREA, "100 connections", outcome.rate, "ACK/s", goal, reached, probe, ratio, _times(outcome))


def _thousand(outcome: Outcome, memory_mb: float, probe: Probe) -> Figure:
    p99 = outcome.latencies.percentile(0.99)
    reached = outcome.served == MANY and p99 < MANY_P99_S and memory_mb < MEMORY_MB
    goal = f"all served, p99 < {MANY_P99_S:.0f} s, < {MEMORY_MB} MB"
    note = f"{outcome.served:,} served, {_times(outcome)}, {memory_mb:.0f} MB"
    ratio = outcome.rate / probe.value
    return Figure(AREA, f"{MANY:,} connections", outcome.rate, "ACK/s", goal, reached, probe, ratio, note)


def _times(outcome: Outcome) -> str:
    p50, p99 = outcome.latencies.percentile(0.5), outcome.latencies.percentile(0.99)
    return f"p50 {number(p50 * 1000)} ms, p99 {number(p99 * 1000)} ms"
