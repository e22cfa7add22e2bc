"""Killed between any two steps of the commit, a unit is there whole or not at all: fhir chapter §14, fault F2."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from adapter.seal.kek import Kek
from adapter.seal.keyring import Keyring
from adapter.store.check import check_owners
from adapter.store.engine import DataStore
from ledger.vault import create_vault, open_vault
from tests.adapter.store.conftest import KEK, ORG, PAIRING

UNITS = 3
ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.crash


def run(folder: Path, crash_at: str = "") -> tuple[int, list[int]]:
    """(exit code, units whose commit returned)."""
    arguments = [str(folder / "data.sqlite3"), str(folder / "vault.sqlite3"), PAIRING, str(UNITS)]
    environment = {**os.environ, "CHARTBRIDGE_CRASH_AT": crash_at}
    command = [sys.executable, "-m", "tests.adapter.store.committer", *arguments]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    return ended.returncode, [int(line) for line in ended.stdout.split()]


@pytest.mark.parametrize("point", ["commit.resolved", "commit.sealed", "commit.rows", "commit.events"])
async def test_a_unit_is_there_whole_or_not_at_all(tmp_path: Path, point: str) -> None:
    unit = 2
    path = tmp_path / "data.sqlite3"
    DataStore.create(path, PAIRING)
    create_vault(tmp_path / "vault.sqlite3", PAIRING)
    vault = open_vault(tmp_path / "vault.sqlite3", PAIRING)
    await Keyring(Kek(KEK), vault, ORG).create()
    code, returned = run(tmp_path, f"{point}:{unit}")
    assert code == -signal.SIGKILL
    assert returned == list(range(1, unit))
    assert counts(path) == (unit - 1, 2 * (unit - 1), unit - 1, unit - 1)
    store = DataStore.open(path, PAIRING)
    assert await check_owners(store, vault, ORG) == unit - 1
    store.close()
    await vault.close()
    assert run(tmp_path) == (0, list(range(unit, UNITS + 1)))
    assert counts(path) == (UNITS, 2 * UNITS, UNITS, UNITS)


def counts(path: Path) -> tuple[int, ...]:
    """Messages mapped, versions, events, owners."""
    with sqlite3.connect(path) as conn:
        tables = ("message_state", "version", "outbox", "owner")
        found = tuple(conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables)  # noqa: S608
    conn.close()
    return found
