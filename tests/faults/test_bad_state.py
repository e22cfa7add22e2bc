"""A start on a bad state is refused with a clear message, and changes nothing; what is tampered with is never served.

One site with messages, reads and a consent behind it is copied for each test, damaged, and started by the command line.
Exit codes: operations chapter §1 (3 configuration, 7 integrity). Ledger chapter §15 and §19; operations chapter §9
(F33, F34, F35); the issue's list of bad states.
"""

import asyncio
import hashlib
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

import pytest

from adapter.cli.app import exit_code
from adapter.node import running
from adapter.sender import send_one
from adapter.settings import load
from adapter.store.engine import DataStore
from ledger.store.sqlite import FIRST_SHARD, SHARD_SHIFT, create_log
from ledger.vault import create_vault
from tests.faults.process import HOST, Place, create
from tests.simulators import hospital
from tests.simulators.ward import client

CONFIGURATION, INTEGRITY = 3, 7
STARTED_S = 30
DATA, JOURNAL, LOG, VAULT = "data.sqlite3", "journal.sqlite3", "log.sqlite3", "vault/vault.sqlite3"
FIRST = FIRST_SHARD << SHARD_SHIFT  # position of entry 0
NEWEST = "size = (SELECT max(size) FROM checkpoint)"
# what opening makes and closing takes away again, and the lock's empty file
PASSING = ("lock", "-wal", "-shm")

Damage = Callable[["Site"], None]


class Site:
    """A copy of the site to be damaged, beside what was copied from it earlier, and another site."""

    def __init__(self, place: Place, earlier: Path, other: Path) -> None:
        self.folder, self.earlier, self.other = place.folder, earlier, other
        self.place = place

    def file(self, name: str) -> Path:
        return self.folder / name

    def put_back(self, *names: str, source: Path | None = None) -> None:
        """Restore these, alone, from the earlier copy (or from another folder)."""
        for name in names:
            shutil.copyfile((source or self.earlier) / name, self.file(name))

    @contextmanager
    def opened(self, file: str) -> Iterator[sqlite3.Connection]:
        """A file as an administrator opens it: its triggers do not stop who may drop them."""
        with closing(sqlite3.connect(self.file(file), isolation_level=None)) as connection:
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f"DROP TRIGGER {name}")
            yield connection

    def sql(self, file: str, *statements: str) -> None:
        with self.opened(file) as connection:
            for statement in statements:
                assert connection.execute(statement).rowcount, statement

    def flip(self, file: str, table: str, column: str, where: str, at: int) -> None:
        """One bit of one value."""
        with self.opened(file) as connection:
            (value,) = connection.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchone()  # noqa: S608
            changed = bytearray(value.encode() if isinstance(value, str) else value)
            changed[at] ^= 1
            new = changed.decode() if isinstance(value, str) else bytes(changed)
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (new,))  # noqa: S608

    @property
    def published(self) -> Path:
        return next((self.folder / "www").glob("*/checkpoint"))

    def digests(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and not path.name.endswith(PASSING)
        }


async def live(place: Place, patients: int) -> None:
    """An hour of a node's life: messages of some patients, and a read."""
    async with running(place.folder) as node:
        for patient in range(patients):
            for message in hospital.messages(patient, [1, 2]):
                await send_one(HOST, place.mllp_port, message.body)
        await node.settled()
        of = client(place.folder)
        assert (await of.get("/Patient?identifier=urn:oid:2.999.1.4|4000")).status == 200
        await node.settled()


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, Path, Path]:
    """(the site, its copy from before its second hour, another site)."""
    folder = tmp_path_factory.mktemp("lived")
    place = create(folder / "site")
    asyncio.run(live(place, 1))
    shutil.copytree(place.folder, folder / "earlier")
    asyncio.run(live(place, 3))
    return place, folder / "earlier", create(folder / "other").folder


@pytest.fixture
def site(lived: tuple[Place, Path, Path], tmp_path: Path) -> Site:
    place, earlier, other = lived
    folder = shutil.copytree(place.folder, tmp_path / "site")
    return Site(Place(folder, place.http_port, place.mllp_port), earlier, other)


def test_a_node_that_was_stopped_left_nothing_unsigned(lived: tuple[Place, Path, Path]) -> None:
    """What no checkpoint covers could be cut off unnoticed."""
    with closing(sqlite3.connect(lived[0].folder / LOG)) as connection:
        entries, signed = (
            connection.execute(sql).fetchone()[0]
            for sql in ("SELECT size FROM head", "SELECT max(size) FROM checkpoint")
        )
    assert entries == signed


def kek_missing(site: Site) -> None:
    site.file("keys/kek").unlink()


def kek_wrong(site: Site) -> None:
    site.put_back("keys/kek", source=site.other)


def kek_open_to_others(site: Site) -> None:
    site.file("keys/kek").chmod(0o644)


def kek_cut(site: Site) -> None:
    site.file("keys/kek").write_text("00ff\n")


def log_key_of_another(site: Site) -> None:
    site.put_back("keys/log", source=site.other)


def vault_missing(site: Site) -> None:
    site.file(VAULT).unlink()


def vault_empty(site: Site) -> None:
    site.file(VAULT).unlink()
    create_vault(site.file(VAULT), load(site.folder).node.pairing)


def vault_of_no_bytes(site: Site) -> None:
    site.file(VAULT).write_bytes(b"")


def vault_older(site: Site) -> None:
    """From before the patients who came last."""
    site.put_back(VAULT)


def vault_of_another(site: Site) -> None:
    site.put_back(VAULT, source=site.other)


def vault_rows_swapped(site: Site) -> None:
    site.sql(VAULT, "UPDATE org_key SET wrapped = (SELECT wrapped FROM subject WHERE row = 0)")


def journal_missing(site: Site) -> None:
    site.file(JOURNAL).unlink()


def journal_of_another(site: Site) -> None:
    site.put_back(JOURNAL, source=site.other)


def journal_older(site: Site) -> None:
    site.put_back(JOURNAL)


def journal_no_database(site: Site) -> None:
    site.file(JOURNAL).write_bytes(b"no database at all" * 999)


def data_missing(site: Site) -> None:
    site.file(DATA).unlink()


def data_of_another(site: Site) -> None:
    site.put_back(DATA, source=site.other)


def data_older(site: Site) -> None:
    site.put_back(DATA)


def data_of_nobody(site: Site) -> None:
    site.file(DATA).unlink()
    DataStore.create(site.file(DATA), load(site.folder).node.pairing)


def log_missing(site: Site) -> None:
    site.file(LOG).unlink()


def log_of_another(site: Site) -> None:
    site.put_back(LOG, source=site.other)


def log_older(site: Site) -> None:
    """The public files know better."""
    site.put_back(LOG)


def log_older_with_its_files(site: Site) -> None:
    """Only the data store knows better."""
    site.put_back(LOG)
    shutil.rmtree(site.folder / "www")
    shutil.copytree(site.earlier / "www", site.folder / "www")


def log_made_anew(site: Site) -> None:
    site.file(LOG).unlink()
    settings = load(site.folder)
    create_log(site.file(LOG), settings.node.pairing, f"{settings.ledger.name}/{settings.ledger.shard}")


def log_cut(site: Site) -> None:
    last = "DELETE FROM entry WHERE pos = (SELECT max(pos) FROM entry)"
    site.sql(LOG, last, "UPDATE head SET size = size - 1")


def log_entry_changed(site: Site) -> None:
    site.flip(LOG, "entry", "body", f"pos = {FIRST + 4}", 60)


def log_entries_swapped(site: Site) -> None:
    moves = ((8, -1), (9, 8), (-1, 9))
    site.sql(LOG, *(f"UPDATE entry SET pos = {FIRST + to} WHERE pos = {FIRST + of}" for of, to in moves))  # noqa: S608


def log_entry_and_leaf_rewritten(site: Site) -> None:
    """Consistent with itself, and not with what was signed."""
    site.flip(LOG, "entry", "body", f"pos = {FIRST + 6}", 60)
    with site.opened(LOG) as connection:
        (body,) = connection.execute("SELECT body FROM entry WHERE pos = ?", (FIRST + 6,)).fetchone()
        leaf = hashlib.sha256(b"\0" + body).digest()
        connection.execute("UPDATE entry SET leaf = ? WHERE pos = ?", (leaf, FIRST + 6))


def tile_changed(site: Site) -> None:
    site.flip(LOG, "tile", "hashes", "level = 0 AND idx = 0", 40)


def checkpoint_changed(site: Site) -> None:
    site.flip(LOG, "checkpoint", "note", NEWEST, -12)


def checkpoint_row_changed(site: Site) -> None:
    site.flip(LOG, "checkpoint", "root", NEWEST, 0)


def published_checkpoint_changed(site: Site) -> None:
    text = site.published.read_text()
    site.published.write_text(text.replace("\n", "\n1", 1))


def published_checkpoint_of_another(site: Site) -> None:
    shutil.copyfile(next((site.other / "www").glob("*/checkpoint")), site.published)


REFUSED: list[tuple[Damage, int, str]] = [
    (kek_missing, CONFIGURATION, "key file kek cannot be read"),
    (kek_open_to_others, CONFIGURATION, "key file kek is open to others"),
    (kek_cut, CONFIGURATION, "key file kek holds 2 bytes"),
    (kek_wrong, INTEGRITY, "locator key is wrapped by key"),
    (log_key_of_another, INTEGRITY, "log"),
    (vault_missing, INTEGRITY, "vault is missing"),
    (vault_empty, INTEGRITY, "the vault holds no keys of this organisation"),
    (vault_of_no_bytes, INTEGRITY, "vault is empty"),
    (vault_older, INTEGRITY, "owners have no key in the vault"),
    (vault_of_another, INTEGRITY, "belongs to another node"),
    (vault_rows_swapped, INTEGRITY, "does not unwrap"),
    (journal_missing, INTEGRITY, "the journal is missing"),
    (journal_of_another, INTEGRITY, "the journal belongs to another site"),
    (journal_older, INTEGRITY, "the journal is older than the data store"),
    (journal_no_database, INTEGRITY, "the journal is not a journal, or is damaged"),
    (data_missing, INTEGRITY, "the data store is missing"),
    (data_of_another, INTEGRITY, "the data store belongs to another site"),
    (data_older, INTEGRITY, "the data store is older than the log"),
    (data_of_nobody, INTEGRITY, "the data store is older than the log"),
    (log_missing, INTEGRITY, "log is missing"),
    (log_of_another, INTEGRITY, "belongs to another node"),
    (log_older, INTEGRITY, "log_behind_published"),
    (log_older_with_its_files, INTEGRITY, "log_behind_published"),
    (log_made_anew, INTEGRITY, "log"),
    (log_cut, INTEGRITY, "log has"),
    (log_entry_changed, INTEGRITY, "entry 4 is missing, or not what was hashed"),
    (log_entries_swapped, INTEGRITY, "are not those of the signed tree"),
    (log_entry_and_leaf_rewritten, INTEGRITY, "are not those of the signed tree"),
    (tile_changed, INTEGRITY, "right edge does not give the signed root"),
    (checkpoint_changed, INTEGRITY, "is not signed by this log's key"),
    (checkpoint_row_changed, INTEGRITY, "says otherwise than its row"),
    (published_checkpoint_changed, INTEGRITY, "published checkpoint is not signed by this log's key"),
    (published_checkpoint_of_another, INTEGRITY, "published checkpoint is not signed by this log's key"),
]


@contextmanager
def not_started() -> Iterator[None]:
    """A start that is not refused serves for ever: end it as a failure."""

    def started(number: int, frame: FrameType | None) -> None:
        raise AssertionError("the node has started")

    before = signal.signal(signal.SIGALRM, started)
    signal.alarm(STARTED_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(("damage", "code", "text"), REFUSED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_bad_state_is_refused_and_left_as_it_is(
    site: Site,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    damage: Damage,
    code: int,
    text: str,
) -> None:
    monkeypatch.setattr("adapter.logs.configure", lambda: None)  # it would outlive the test, with its output closed
    damage(site)
    before = site.digests()
    with not_started():
        assert exit_code(["--site", str(site.folder), "serve"]) == code
    told = capfd.readouterr().err
    assert text in told
    assert "Traceback" not in told
    assert site.digests() == before


OLDER_VAULT = [
    (True, False, "the vault is older than the journal: it lacks 1 of the 2 newest message keys"),
    (False, True, "the vault is older than the log: it lacks "),
]


@pytest.mark.parametrize(("message", "read", "text"), OLDER_VAULT, ids=["message", "read"])
def test_a_vault_that_has_every_owner_but_is_older_is_refused(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    message: bool,
    read: bool,
    text: str,
) -> None:
    """Since the copy came another message of the same patient, or a read, and no new owner."""
    monkeypatch.setattr("adapter.logs.configure", lambda: None)  # it would outlive the test, with its output closed
    place = create(tmp_path / "site")
    first, second = hospital.messages(1, [1, 2])[:2]

    async def hour(data: bytes | None, read: bool) -> None:
        async with running(place.folder) as node:
            if data is not None:
                await send_one(HOST, place.mllp_port, data)
                await node.settled()
            if read:
                assert (await client(place.folder).get("/Patient?identifier=urn:oid:2.999.1.4|4001")).status == 200
            await node.settled()

    asyncio.run(hour(first.body, read=False))
    shutil.copyfile(place.folder / VAULT, tmp_path / "older")
    asyncio.run(hour(second.body if message else None, read))
    newer = (place.folder / VAULT).read_bytes()
    shutil.copyfile(tmp_path / "older", place.folder / VAULT)
    with not_started():
        assert exit_code(["--site", str(place.folder), "serve"]) == INTEGRITY
    assert text in capfd.readouterr().err
    assert (place.folder / VAULT).read_bytes() == (tmp_path / "older").read_bytes()
    (place.folder / VAULT).write_bytes(newer)
    asyncio.run(hour(None, read=True))
