"""What the machine does by itself: the disk's fsync, a commit of SQLite, a hash.

Each is taken in the same run as what it is held against, on the same disk. Source: ledger chapter §20.
"""

import hashlib
import os
import platform
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from adapter.bench.figure import Figure, Probe
from adapter.compiled import is_compiled

AREA = "probes"
APPEND_BYTES = 4096  # one page, as a small commit writes it
LYING_DISK_S = 20e-6  # an fsync faster than this has reached no disk
HASHES = 20_000
NODE_BYTES = 65  # what one step of a Merkle proof hashes


@dataclass(frozen=True, slots=True)
class Latencies:
    """Times of single calls, in seconds and in order of size."""

    ordered: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> "Latencies":
        return cls(tuple(sorted(values)))

    def percentile(self, share: float) -> float:
        """The time that `share` of the calls did not exceed; 0 where there was none."""
        return self.ordered[min(len(self.ordered) - 1, int(share * len(self.ordered)))] if self.ordered else 0.0

    @property
    def rate(self) -> float:
        """Calls a second, one after the other."""
        total = sum(self.ordered)
        return len(self.ordered) / total if total else 0.0

    def __add__(self, other: "Latencies") -> "Latencies":
        return Latencies.of(self.ordered + other.ordered)


def fsync(folder: Path, seconds: float) -> Latencies:
    """Append one page to a file and wait until it is on the disk, again and again: the single commit of this disk."""
    path, page = folder / "fsync.probe", os.urandom(APPEND_BYTES)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def commit() -> None:
        os.write(descriptor, page)
        os.fdatasync(descriptor)

    try:
        return Latencies.of(_repeat(commit, seconds))
    finally:
        os.close(descriptor)
        path.unlink()


def sqlite_commit(folder: Path, seconds: float) -> Latencies:
    """Insert one row and commit it, as our stores are set: WAL, synchronous=FULL."""
    path, row = folder / "commit.probe", (os.urandom(1024),)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE probe(row BLOB)")
        taken = _repeat(lambda: connection.execute("INSERT INTO probe VALUES (?)", row), seconds)
    path.unlink()
    return Latencies.of(taken)


def sha256_us() -> float:
    """Time of one node hash, in microseconds."""
    data = os.urandom(NODE_BYTES)
    started = time.perf_counter()
    for _ in range(HASHES):
        hashlib.sha256(data).digest()
    return (time.perf_counter() - started) / HASHES * 1e6


def _repeat(call: Callable[[], object], seconds: float) -> list[float]:
    taken = []
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        call()
        taken.append(time.perf_counter() - started)
    return taken


def single_commit(found: Latencies) -> Probe:
    """The fsync probe as a rate."""
    return Probe("append and fsync", found.rate, "/s")


def measure(folder: Path, seconds: float) -> list[Figure]:
    """The disk, for information: both probes of a commit."""
    synced, committed = fsync(folder, seconds / 2), sqlite_commit(folder, seconds / 2)
    p50, p99 = synced.percentile(0.5), synced.percentile(0.99)
    note = f"p50 {p50 * 1e6:.0f} µs, p99 {p99 * 1e6:.0f} µs"
    if p50 < LYING_DISK_S:
        note += ": no disk is so fast, do not trust it"
    rows = committed.rate
    return [
        Figure(AREA, "append 4 KiB, fsync", synced.rate, "/s", "", note=note),
        Figure(
            AREA, "SQLite, one row a commit", rows, "/s", "", None, single_commit(synced), _ratio(rows, synced.rate)
        ),
    ]


def _ratio(value: float, probe: float) -> float | None:
    return value / probe if probe else None


def hardware() -> dict[str, str]:
    """What this ran on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": str(cores),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "hot path": "compiled" if is_compiled() else "Python",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
