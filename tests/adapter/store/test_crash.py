"""Killed between any two steps of the commit, a unit is there whole or not at all: fhir chapter §14, fault F2."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from adapter.seal.kek import Kek
from adapter.seal.keyring import Keyring
from adapter.store.check import check_owners
from adapter.store.engine import DataStore, Hot, Place, Server
from ledger.vault import create_vault, open_vault
from tests.adapter.store.conftest import KEK, ORG, PAIRING

UNITS = 3
ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.crash


def run(place: Place, folder: Path, crash_at: str = "") -> tuple[int, list[int]]:
    """(exit code, units whose commit returned)."""
    arguments = [
        place.url if isinstance(place, Server) else str(place),
        str(folder / "vault.sqlite3"),
        PAIRING,
        str(UNITS),
    ]
    environment = {**os.environ, "CHARTBRIDGE_CRASH_AT": crash_at}
    command = [sys.executable, "-m", "tests.adapter.store.committer", *arguments]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    return ended.returncode, [int(line) for line in ended.stdout.split()]


@pytest.mark.parametrize(
    ("place", "point"),
    [
        ("sqlite", "commit.resolved"),
        ("sqlite", "commit.sealed"),
        ("sqlite", "commit.rows"),
        ("sqlite", "commit.events"),
        pytest.param("postgres", "commit.events", marks=pytest.mark.postgres),
    ],
    indirect=["place"],
)
async def test_a_unit_is_there_whole_or_not_at_all(place: Place, tmp_path: Path, point: str) -> None:
    unit = 2
    create_vault(tmp_path / "vault.sqlite3", PAIRING)
    vault = open_vault(tmp_path / "vault.sqlite3", PAIRING)
    await Keyring(Kek(KEK), vault, ORG).create()
    code, returned = run(place, tmp_path, f"{point}:{unit}")
    assert code == -signal.SIGKILL
    assert returned == list(range(1, unit))
    assert await counts(place) == (unit - 1, 2 * (unit - 1), unit - 1, unit - 1)
    store = DataStore.open(place, PAIRING)
    assert await check_owners(store, vault, ORG) == unit - 1
    store.close()
    await vault.close()
    assert run(place, tmp_path) == (0, list(range(unit, UNITS + 1)))
    assert await counts(place) == (UNITS, 2 * UNITS, UNITS, UNITS)


async def counts(place: Place) -> tuple[int, ...]:
    """Messages mapped, versions, events, owners."""
    store = DataStore.open(place, PAIRING)
    tables = ("message_state", "version", "outbox", "owner")
    found = [
        await store.read(lambda conn, table=table: Hot(conn).all(f"SELECT count(*) FROM {table}"))  # type: ignore[misc]  # noqa: S608
        for table in tables
    ]
    store.close()
    return tuple(rows[0][0] for rows in found)
