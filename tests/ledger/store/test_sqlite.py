"""The SQLite log file: what only a file can get wrong."""

import sqlite3
from pathlib import Path

import pytest

from ledger.errors import IntegrityError
from ledger.store.base import Facts, StoreError
from ledger.store.file import memory_connection
from ledger.store.sqlite import KIND, SCHEMA, SHARD_SHIFT, create_log, open_log
from tests.ledger.conftest import ORIGIN, PAIRING
from tests.ledger.store.test_contract import NOTHING, Decision, grow


@pytest.fixture
def log(tmp_path: Path) -> Path:
    create_log(tmp_path / "log.sqlite3", PAIRING, ORIGIN)
    return tmp_path / "log.sqlite3"


async def test_what_was_appended_outlives_the_process(log: Path) -> None:
    first = open_log(log, PAIRING, ORIGIN)
    await grow(first, 5)
    await first.close()
    again = open_log(log, PAIRING, ORIGIN)
    assert (await again.head()).size == 5
    await again.close()


async def test_commits_are_synced_and_nothing_lies_in_a_temporary_file(log: Path) -> None:
    store = open_log(log, PAIRING, ORIGIN)
    settings = store._writer.call(
        lambda connection: [
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "temp_store")
        ]
    )
    assert settings == ["wal", 2, 2]
    await store.close()


@pytest.mark.parametrize("table", ["entry", "checkpoint", "ended"])
async def test_no_row_of_history_is_changed_or_deleted(log: Path, table: str) -> None:
    store = open_log(log, PAIRING, ORIGIN)
    await grow(store, 1, {"2026:0": 0})
    await store.close()
    connection = sqlite3.connect(log)
    connection.execute("INSERT INTO checkpoint VALUES (1, 1, x'00', 'note')")
    column = {"entry": "body = x'00'", "checkpoint": "note = ''", "ended": "pos = 9"}[table]
    for statement in (f"UPDATE {table} SET {column}", f"DELETE FROM {table}"):  # noqa: S608 - the names above
        with pytest.raises(sqlite3.IntegrityError, match="never changed"):
            connection.execute(statement)
    connection.execute("PRAGMA recursive_triggers = ON")
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT OR REPLACE INTO entry SELECT * FROM entry")
    connection.close()


def test_every_table_is_strict() -> None:
    connection = memory_connection(KIND, SCHEMA, {"pairing": PAIRING})
    tables = connection.execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'").fetchall()
    assert {name for name, strict in tables if not strict} <= {"sqlite_schema"}
    connection.close()


def test_the_file_is_its_owners_only_and_is_made_once(log: Path) -> None:
    assert log.stat().st_mode & 0o777 == 0o600
    before = log.read_bytes()
    with pytest.raises(IntegrityError, match="exists already"):
        create_log(log, PAIRING, ORIGIN)
    assert log.read_bytes() == before


def test_a_missing_empty_or_foreign_log_is_refused(tmp_path: Path, log: Path) -> None:
    with pytest.raises(IntegrityError, match="missing"):
        open_log(tmp_path / "nowhere", PAIRING, ORIGIN)
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "empty").touch()
    with pytest.raises(IntegrityError, match="empty"):
        open_log(tmp_path / "empty", PAIRING, ORIGIN)
    (tmp_path / "junk").write_bytes(b"junk" * 1_000)
    with pytest.raises(IntegrityError, match="damaged"):
        open_log(tmp_path / "junk", PAIRING, ORIGIN)
    with pytest.raises(IntegrityError, match="another node"):
        open_log(log, "cd" * 16, ORIGIN)
    with pytest.raises(IntegrityError, match="no shard"):
        open_log(log, PAIRING, ORIGIN.replace("2026", "2027"))


async def test_an_id_of_another_shard_is_taken_but_not_found(log: Path) -> None:
    connection = sqlite3.connect(log)
    connection.execute("INSERT INTO entry VALUES (?, ?, x'00', x'00')", (2 << SHARD_SHIFT, b"x" * 16))
    connection.commit()
    connection.close()
    store = open_log(log, PAIRING, ORIGIN)
    assert await store.find(b"x" * 16) is None
    assert await store.entries(0, 10) == []
    await store.close()


async def test_a_locked_or_damaged_file_is_our_error_and_names_no_path(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_log(log, PAIRING, ORIGIN)
    await grow(store, 1)
    store._writer.call(lambda connection: connection.execute("PRAGMA busy_timeout = 1"))
    other = sqlite3.connect(log, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="SQLITE_BUSY") as caught:
        await grow(store, 1)
    assert str(log) not in str(caught.value)
    other.execute("ROLLBACK")
    other.close()

    def decide(facts: Facts) -> Decision:
        error = sqlite3.DatabaseError("malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        error.sqlite_errorname = "SQLITE_CORRUPT"
        raise error

    with pytest.raises(IntegrityError, match="damaged"):
        await store.append(NOTHING, decide)
    await store.close()
