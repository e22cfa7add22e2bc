"""A real site for each test, copied from one that is made once."""

from pathlib import Path

import pytest

from adapter.inbound import journal_postgres
from adapter.store.engine import DataStore, Server
from tests import databases
from tests.adapter import nodes

PAIRING = "5" * 32
JOURNAL_PAIRING = "00112233445566778899aabbccddeeff"  # of `inbound/site.py`


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


@pytest.fixture(scope="session")
def made_journal(server: databases.PostgresServer) -> Server:
    """A database with the tables of a store and of a journal."""
    server.sql("CREATE DATABASE journal")
    place = Server(server.url("journal"))
    DataStore.create(place, JOURNAL_PAIRING)
    journal_postgres.create(place)
    return place


@pytest.fixture
def journal_database(made_journal: Server) -> Server:
    """That database with nothing in it."""
    databases.empty(made_journal)
    databases.empty_journal(made_journal)
    return made_journal


@pytest.fixture
def emptied(migrated: Server) -> Server:
    """That database with nothing in it."""
    databases.empty(migrated)
    return migrated
