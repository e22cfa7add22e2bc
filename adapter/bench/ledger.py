"""The ledger: appends with commitments, vault and details; proofs.

What runs is the ledger's own (`Ledger.append` on the files of a real site): one client, then sixty-four, each waiting
for its receipt before its next event; then sixty-four of four processes on PostgreSQL (`ledger_processes.py`). An event
is a permitted read, the commonest there is. Source: ledger chapter §20.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from adapter.bench import ledger_processes, probes, sites
from adapter.bench.figure import Figure, Probe, number
from adapter.bench.ledger_clients import Clients
from adapter.bench.probes import Latencies
from adapter.loop import run_loop
from adapter.site import open_site
from ledger.log import Ledger
from ledger.merkle import verify_inclusion

AREA = "ledger"
CLIENTS = 64
P99_TIMES, P99_MORE_S = 8, 0.5e-3
RATE_TIMES, RATE = 4, 12_000
PROOF_US = 50
PROOFS = 2_000


def measure(folder: Path, seconds: float) -> list[Figure]:
    """One client, sixty-four, and proofs over what they wrote."""
    place = sites.make(folder / "ledger")
    return [*run_loop(_measure(place.folder, folder, seconds)), *ledger_processes.measure(folder, seconds)]


async def _measure(site: Path, folder: Path, seconds: float) -> list[Figure]:
    async with open_site(site) as opened:
        clients = Clients(opened.ledger, opened.org)
        integrating = asyncio.create_task(opened.ledger.keep_integrated(_raise))
        await clients.run(CLIENTS, seconds / 4)  # until the WAL has its length and all code has run
        one, beside_one, _ = await clients.beside(folder, 1, seconds)
        many, beside_many, taken = await clients.beside(folder, CLIENTS, seconds)
        integrating.cancel()
        await asyncio.gather(integrating, return_exceptions=True)
        proofs = await _proofs(opened.ledger)
    return [_one(one, beside_one), _many(many, taken, beside_many), *proofs]


def _raise(error: Exception) -> None:
    raise error


def _one(found: Latencies, disk: Latencies) -> Figure:
    p50, p99, synced = found.percentile(0.5), found.percentile(0.99), disk.percentile(0.99)
    limit = P99_TIMES * synced + P99_MORE_S
    return Figure(
        AREA,
        "append, 1 client: p99",
        p99 * 1000,
        "ms",
        f"≤ {P99_TIMES} × fsync p99 + {P99_MORE_S * 1000:.1f} ms",
        p99 <= limit,
        Probe("fsync p99", synced * 1000, "ms"),
        synced / p99,
        f"limit {number(limit * 1000)} ms, p50 {number(p50 * 1000)} ms, {number(found.rate)}/s",
    )


def _many(found: Latencies, seconds: float, disk: Latencies) -> Figure:
    rate, probe = len(found.ordered) / seconds, probes.single_commit(disk)
    return Figure(
        AREA,
        f"append, {CLIENTS} clients",
        rate,
        "events/s",
        f"≥ {RATE:,}/s or {RATE_TIMES} × fsync, the lower",
        rate >= min(RATE, RATE_TIMES * probe.value),
        probe,
        rate / probe.value,
        f"p50 {number(found.percentile(0.5) * 1000)} ms, p99 {number(found.percentile(0.99) * 1000)} ms",
    )


async def _proofs(ledger: Ledger) -> list[Figure]:
    """Making and checking inclusion proofs of entries all over the log, their tiles in memory."""
    checkpoint = await ledger.integrate()
    if checkpoint is None:
        raise RuntimeError("nothing was appended")
    size = checkpoint.size
    indices = [n * size // PROOFS for n in range(min(PROOFS, size))]
    refs = [f"{ledger.shard}:{index}" for index in indices]
    for ref in refs:
        await ledger.inclusion(ref, size)
    started = time.process_time()
    proofs = [await ledger.inclusion(ref, size) for ref in refs]
    made = (time.process_time() - started) / len(refs) * 1e6
    leaves = [(await ledger.entry(ref)).leaf for ref in refs]

    def check_all() -> None:
        for leaf, proof in zip(leaves, proofs, strict=True):
            verify_inclusion(leaf, proof.index, proof.size, proof.hashes, checkpoint.root)

    verified = _each_us(check_all, len(refs))
    hashed = probes.sha256_us()
    return [_proof("make a hot inclusion proof", made, size, hashed), _proof("verify it", verified, size, hashed)]


def _each_us(work: Callable[[], None], times: int) -> float:
    started = time.process_time()
    work()
    return (time.process_time() - started) / times * 1e6


def _proof(what: str, us: float, size: int, hashed: float) -> Figure:
    probe = Probe("SHA-256 of 65 bytes", hashed, "µs")
    return Figure(
        AREA, what, us, "µs", f"≤ {PROOF_US} µs", us <= PROOF_US, probe, hashed / us, f"tree of {size:,} entries"
    )
