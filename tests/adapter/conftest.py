"""A real site for each test, copied from one that is made once."""

from pathlib import Path

import pytest

from adapter.store.engine import DataStore, Server
from tests import databases
from tests.adapter import nodes

PAIRING = "5" * 32


@pytest.fixture(scope="session")
def made_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nodes.make(tmp_path_factory.mktemp("made") / "site")


@pytest.fixture
def fresh_site(made_site: Path, tmp_path: Path) -> Path:
    return nodes.copy(made_site, tmp_path / "site")


@pytest.fixture(scope="session")
def migrated(server: databases.PostgresServer) -> Server:
    """A database with a store's tables: migrating costs more than most tests."""
    server.sql("CREATE DATABASE store")
    place = Server(server.url("store"))
    DataStore.create(place, PAIRING)
    return place


@pytest.fixture
def emptied(migrated: Server) -> Server:
    """That database with nothing in it."""
    databases.empty(migrated)
    return migrated
