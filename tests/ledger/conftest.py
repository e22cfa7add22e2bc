"""A node's log and vault for the tests, with a clock that is told the time."""

import json
import os
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapter.store.place import Server
from adapter.store.server_pool import ServerPool
from ledger import vault_server
from ledger.clock import Clock
from ledger.commitment import SubjectKey
from ledger.event import Event, RequiresEpoch, RequiresRef, new_id, rule, types
from ledger.log import Ledger
from ledger.note import Ed25519Signer
from ledger.store import postgres
from ledger.store.base import LogStore
from ledger.store.memory import MemoryLogStore
from ledger.store.sqlite import create_log, open_log
from ledger.store.tables import SqliteTables
from ledger.store.thread import ConnectionThread
from ledger.vault import Vault, create_vault, memory_vault, open_vault
from tests import databases

VECTORS = Path(__file__).parent / "vectors"
ORIGIN = "log.example.org/chartbridge/2026"
ORG = "stadtklinik"
PAIRING = "ab" * 16
SIGNER = Ed25519Signer(ORIGIN, b"\1" * 32)
RULES = types(
    rule("resource.written", "actor subject content"),
    rule("subject.merged", "subject into", epoch=True),
)
PATIENT = SubjectKey.of(7_000, bytes(range(32)))
OTHER = SubjectKey.of(7_001, bytes(range(1, 33)))
HOUSE = SubjectKey.of(0, bytes(range(2, 34)))


def vector(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


class Ticking:
    """A wall clock and a running clock that go together until a test turns one."""

    def __init__(self, start: datetime = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)) -> None:
        self.wall = start
        self.running = 100.0

    def __call__(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.running

    def pass_(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.running += seconds


def an_id(at: datetime = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)) -> str:
    return new_id(at, os.urandom)


def policy(name: str = "treatment", **rest: Any) -> Event:
    return Event("policy.adopted", an_id(), ORG, clear={"digest": "ab" * 32, "name": name}, **rest)


def retirement(ref: str) -> Event:
    return Event("policy.retired", an_id(), ORG, clear={"of": ref}, ends=[ref])


def read(key: SubjectKey = PATIENT, basis: str = "2026:0", epoch: int = 1, **rest: Any) -> Event:
    """A permitted read of one patient under a basis, deciding under her epoch."""
    secret = {"actor": "u-41", "subject": f"o-{key.row}", "purpose": "TREAT", "content": "cd" * 32, "basis": basis}
    rest.setdefault("requires", [RequiresRef(basis), RequiresEpoch(key.row, epoch)])
    rest.setdefault("id", an_id())
    return Event("access.read", org=ORG, outcome="permit", subject_key=key, secret=secret, detail=b"who, what", **rest)


def consent(verb: str = "granted", epoch: int = 1, key: SubjectKey = PATIENT, **rest: Any) -> Event:
    secret = {"subject": f"o-{key.row}", "handle": "5f" * 32}
    if verb in ("granted", "amended"):
        secret |= {"scope": "a1" * 32, "nb": "2026-03-02T00:00:00.000Z", "exp": "none"}
    rest.setdefault("id", an_id())
    return Event(f"consent.{verb}", org=ORG, subject_key=key, secret=secret, detail=b"{}", epoch=epoch, **rest)


def writer_of(vault: Vault) -> ConnectionThread[sqlite3.Connection]:
    """The writer of a vault in a file."""
    tables = vault._tables
    assert isinstance(tables, SqliteTables)
    return tables._writer


def ledger_of(store: LogStore, vault: Vault, clock: Clock | None = None, **rest: Any) -> Ledger:
    ticking = clock or Ticking()
    running = ticking.monotonic if isinstance(ticking, Ticking) else (lambda: 0.0)
    rest.setdefault("signer", SIGNER)
    signer = rest.pop("signer")
    return Ledger(store, vault, ORIGIN, ORG, signer, ticking, os.urandom, rules=RULES, running=running, **rest)


@pytest.fixture(scope="session")
def made_log(server: databases.PostgresServer) -> Server:
    """A database with a log's tables: making them costs more than most tests."""
    return databases.make_log(server, PAIRING, ORIGIN)


@pytest.fixture
def empty_log(server: databases.PostgresServer, made_log: Server) -> Server:
    """That database with nothing in it."""
    databases.empty_log(server)
    return made_log


@pytest_asyncio.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LogStore]:
    """Every implementation of the seam; what passes here holds for all."""
    made: LogStore
    if request.param == "memory":
        made = MemoryLogStore()
    elif request.param == "postgres":
        made = await postgres.open_log(ServerPool(request.getfixturevalue("empty_log"), "log"), PAIRING, ORIGIN)
    else:
        create_log(tmp_path / "log.sqlite3", PAIRING, ORIGIN)
        made = open_log(tmp_path / "log.sqlite3", PAIRING, ORIGIN)
    yield made
    await made.close()


@pytest.fixture(scope="session")
def made_vault(server: databases.PostgresServer) -> Server:
    return databases.make_vault(server, PAIRING)


@pytest.fixture
def empty_vault(server: databases.PostgresServer, made_vault: Server) -> Server:
    databases.empty_vault(server)
    return made_vault


@pytest_asyncio.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def vault(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Vault]:
    if request.param == "memory":
        made = memory_vault(Ticking())
    elif request.param == "postgres":
        place: Server = request.getfixturevalue("empty_vault")
        made = await vault_server.open_vault(ServerPool(place, "vault"), PAIRING, Ticking())
    else:
        create_vault(tmp_path / "vault.sqlite3", PAIRING)
        made = open_vault(tmp_path / "vault.sqlite3", PAIRING, Ticking())
    yield made
    await made.close()


@pytest_asyncio.fixture
async def spare_vault() -> AsyncIterator[Vault]:
    """A vault for tests that are about the log."""
    made = memory_vault(Ticking())
    yield made
    await made.close()


@pytest_asyncio.fixture
async def ledger(store: LogStore, spare_vault: Vault) -> AsyncIterator[Ledger]:
    made = ledger_of(store, spare_vault)
    await made.start()
    yield made
    await made.close()
