"""A real site for each test, copied from one that is made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapter.inbound import journal_postgres
from adapter.settings import FILE, load
from adapter.store.engine import DataStore, Server
from tests import databases
from tests.adapter import nodes
from tests.faults import process

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


def register(folder: Path, notify: str = "") -> None:
    """Let a site have a client `ward` of its own, which may do everything."""
    node = load(folder).node
    lines = [
        "[access.client.ward]", f'system = "{node.system}"', f'identifier = "{node.identifier}"',
        'roles = ["clinician", "admin"]', 'scopes = "system/*.cruds"', 'purposes = ["TREAT"]', f'notify = ["{notify}"]',
    ]  # fmt: skip
    with (folder / FILE).open("a", encoding="utf-8") as settings:
        settings.write("\n".join(lines if notify else lines[:-1]) + "\n")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def either_place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[process.Place]:
    """A site for a node in a process of its own, whose data lies on the one database or the other."""
    made = process.create(tmp_path / "site")
    if request.param == "sqlite":
        yield made
        return
    place: Server = request.getfixturevalue("emptied")
    databases.pair(place, load(made.folder).node.pairing)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("CHARTBRIDGE_STORE__URL", place.url)
        yield made
    databases.pair(place, PAIRING)
