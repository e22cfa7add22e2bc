"""Promise 1 for the log: killed between any two steps, it has lost nothing it acknowledged and doubled nothing."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adapter.store.place import Server
from ledger.event import id_bytes
from ledger.merkle import root_of
from ledger.note import open_checkpoint
from ledger.store.base import no_step
from ledger.store.sqlite import create_log
from ledger.vault import create_vault
from tests import databases
from tests.ledger.conftest import ORIGIN, PAIRING, SIGNER
from tests.ledger.crashing import event, node

ROOT = Path(__file__).parents[2]
STEPS = [
    "append.details_written",
    "append.details_committed",
    "append.head_locked",
    "append.entries_written",
    "append.entries_committed",
    "append.answered",
    "integrate.signed",
    "integrate.stored",
    "integrate.committed",
    "publish.tiles_written",
    "publish.checkpoint_written",
]
# where another engine stands behind the step; the others are the same code
ON_SERVER = [
    *("append.details_committed", "append.entries_decided", "append.entries_written", "append.entries_committed"),
    "integrate.stored",
]


def run_until_killed(folder: Path, step: str, passes: int) -> dict[int, str]:
    """What the node acknowledged before it died: number of the event → reference."""
    command = [sys.executable, "-m", "tests.ledger.crashing", str(folder), step, str(passes)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert done.returncode == -signal.SIGKILL, done.stderr
    return {int(number): ref for number, ref in (line.split() for line in done.stdout.splitlines())}


@pytest.mark.crash
@pytest.mark.parametrize("step", STEPS)
async def test_acknowledged_is_durable(tmp_path: Path, step: str) -> None:
    create_log(tmp_path / "log", PAIRING, ORIGIN)
    create_vault(tmp_path / "vault", PAIRING)
    await survives(tmp_path, step)


@pytest.mark.crash
@pytest.mark.postgres
@pytest.mark.parametrize("step", ON_SERVER)
async def test_acknowledged_is_durable_on_a_server(
    tmp_path: Path, step: str, server: databases.PostgresServer, empty_log: Server, empty_vault: Server
) -> None:
    (tmp_path / "log").write_text(empty_log.url)
    (tmp_path / "vault").write_text(empty_vault.url)
    await survives(tmp_path, step, lambda: server.sql("UPDATE lease SET until = now()", "log"))


async def survives(tmp_path: Path, step: str, later: Callable[[], object] = lambda: None) -> None:
    """Killed twice at this step, started again, and asked. `later` is when a lease of the dead has run out."""
    acknowledged = run_until_killed(tmp_path, step, 1)
    later()
    acknowledged |= run_until_killed(tmp_path, step, 5)
    later()
    ledger, store, vault = await node(tmp_path, no_step)
    await ledger.start()

    for number, ref in acknowledged.items():
        receipt = await ledger.find(event(number).id)
        assert str(receipt) == ref, "what was acknowledged is where it was said to be"

    highest = max(acknowledged, default=0) + 5
    again = [(await ledger.append([event(number)]))[0] for number in range(highest)]
    assert {number: str(again[number]) for number in acknowledged} == acknowledged, "a retry gets the first receipt"
    entries = await ledger.entries(0, ledger.size)
    assert len({entry.id for entry in entries}) == len(entries) >= highest, "nothing was logged twice"

    ids = [id_bytes(event(number).id) for number in range(1, highest)]
    assert (await vault.details(ids)).keys() == set(ids), "no entry lacks its detail"

    signed = await ledger.integrate()
    assert signed is not None
    assert root_of(entry.leaf for entry in entries) == signed.root
    published = open_checkpoint((tmp_path / "www" / "2026" / "checkpoint").read_bytes(), ORIGIN, SIGNER.verifier)
    assert (published.size, published.root) == (signed.size, signed.root)
    await ledger.close()
    await store.close()
    await vault.close()
