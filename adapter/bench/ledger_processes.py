"""Appends of several processes to one log on PostgreSQL, vault and details included, each with its clients.

Each process opens the site for itself, makes its events, says that it is ready and begins when all are. All of them
would sign, one does. As a program (`python -m`): one of the processes. Source: ledger chapter §20.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from adapter import tuning
from adapter.bench import database, probes, sites
from adapter.bench.figure import Figure, number
from adapter.bench.ledger_clients import READY_A_SECOND, Clients
from adapter.errors import Unavailable
from adapter.loop import run_loop
from adapter.site import open_site
from ledger.errors import LedgerError

AREA = "ledger"
PROCESSES, CLIENTS = 4, 64
RATE, WAIT_S = 5_000, 1.0
WARM_S = 0.5
STORES = ("ledger", "vault")


@dataclass(frozen=True, slots=True)
class Done:
    """What one process came to: events, the seconds that they took, and how long they waited."""

    events: int
    seconds: float
    p50: float
    p99: float
    longest: float


def measure(folder: Path, seconds: float) -> list[Figure]:
    """One line; none where there is no PostgreSQL on this machine."""
    if (binaries := database.binaries()) is None:
        return []
    with database.running(binaries) as server:
        urls = {name: server.new(name) for name in STORES}
        site = sites.make(folder / "ledger-postgres", urls=urls).folder
        disk = probes.fsync(folder, seconds / 2)
        with _started(site, seconds) as processes:
            done = [msgspec.json.decode(process.communicate()[0], type=Done) for process in processes]
        disk += probes.fsync(folder, seconds / 2)
        return [_figure(done, disk, server.version)]


def _figure(done: Sequence[Done], disk: probes.Latencies, version: str) -> Figure:
    rate = sum(one.events for one in done) / max(one.seconds for one in done)
    longest, probe = max(one.longest for one in done), probes.single_commit(disk)
    p50, p99 = max(one.p50 for one in done), max(one.p99 for one in done)
    return Figure(
        AREA,
        f"append, PostgreSQL {version}, {PROCESSES} processes, {CLIENTS} clients",
        rate,
        "events/s",
        f"≥ {RATE:,}/s, none waits over {WAIT_S:.0f} s",
        rate >= RATE and longest <= WAIT_S,
        probe,
        rate / probe.value,
        f"of the slowest process p50 {number(p50 * 1000)} ms, p99 {number(p99 * 1000)} ms, longest "
        f"{number(longest * 1000)} ms",
    )


@contextmanager
def _started(site: Path, seconds: float) -> Iterator[list[subprocess.Popen[str]]]:
    """All of them, ready. Raises Unavailable."""
    command = [sys.executable, "-P", "-m", __name__, str(site), str(seconds)]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(PROCESSES)]  # noqa: S603 - our own
    try:
        if not all(process.stdout and process.stdout.readline() for process in processes):
            raise Unavailable("a process to be measured did not start")
        for process in processes:
            if process.stdin:
                process.stdin.write("go\n")
                process.stdin.flush()
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def _main(site: Path, seconds: float) -> Done:
    async with open_site(site) as opened:
        clients = Clients(opened.ledger, opened.org)
        integrating = asyncio.create_task(opened.ledger.keep_integrated(_told))
        await clients.run(CLIENTS // PROCESSES, WARM_S)
        events = clients.events(int(seconds * READY_A_SECOND / PROCESSES))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        found, taken = await clients.run(CLIENTS // PROCESSES, seconds, events)
        integrating.cancel()
        await asyncio.gather(integrating, return_exceptions=True)
    return Done(len(found.ordered), taken, found.percentile(0.5), found.percentile(0.99), found.ordered[-1])


def _told(error: LedgerError) -> None:
    sys.stderr.write(f"{type(error).__name__}\n")


if __name__ == "__main__":
    tuning.tune()
    sys.stdout.buffer.write(msgspec.json.encode(run_loop(_main(Path(sys.argv[1]), float(sys.argv[2])))))
