"""From every earlier migration to this one: no row changes, and the file becomes what a new one is (fault F31)."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adapter.errors import ConfigurationError, IntegrityFault
from adapter.inbound import journal_table
from adapter.store.engine import NEWER, DataStore
from adapter.store.migrating import missing
from adapter.store.tables import REVISION
from tests.adapter.former import first_data_store, first_journal, form, rows, tables

PAIRING = "00112233445566778899aabbccddeeff"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.sqlite3"


@pytest.fixture
def former(path: Path) -> Path:
    """A store of the first migration with two rows in every table."""
    first_data_store(path)
    with closing(sqlite3.connect(path)) as conn:
        for table in set(tables(conn)) - {"alembic_version"}:
            for n in (1, 2):
                fill(conn, table, n)
        conn.execute("INSERT INTO meta VALUES ('pairing', ?)", [PAIRING])
        conn.commit()
    return path


def fill(conn: sqlite3.Connection, table: str, n: int) -> None:
    """A row of values that are like no others."""
    made = {"INTEGER": n, "BIGINT": n, "BOOLEAN": n - 1, "TEXT": f"{table} {n}", "BLOB": bytes([n]) * 9}
    columns = conn.execute(f"PRAGMA table_info({table})").fetchall()
    values = [made[kind] for _, _, kind, *_ in columns]
    conn.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(values))})", values)  # noqa: S608 - our own names


def test_every_row_of_the_first_migration_stands_as_it_was(former: Path) -> None:
    before = rows(former)
    assert all(before.values()), "each table holds something to lose"
    DataStore.upgrade(former, PAIRING)
    after = rows(former)
    assert {table: after[table] for table in before} == before
    assert all(after[table] == [] for table in after.keys() - before.keys())


def test_an_upgraded_store_is_what_a_new_one_is(former: Path, tmp_path: Path) -> None:
    DataStore.upgrade(former, PAIRING)
    DataStore.create(tmp_path / "new.sqlite3")
    assert form(former) == form(tmp_path / "new.sqlite3")
    assert DataStore.revision(former, PAIRING) == REVISION
    DataStore.open(former, PAIRING).close()


def test_what_is_missing_is_told_in_order_with_what_it_brings() -> None:
    found = missing("0001")
    assert [one.revision for one in found] == [f"{n:04}" for n in range(2, int(REVISION) + 1)]
    assert all(one.brings for one in found)
    assert missing(REVISION) == []


def set_revision(path: Path, revision: str) -> None:
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("UPDATE alembic_version SET version_num = ?", [revision])
        conn.commit()


def test_a_later_versions_store_is_opened_by_none_and_never_taken_back(former: Path) -> None:
    set_revision(former, "9999")
    before = rows(former)
    for act in (DataStore.open, DataStore.upgrade):
        with pytest.raises(ConfigurationError, match="9999") as caught:
            act(former, PAIRING)
        assert caught.value.hint == NEWER
    assert rows(former) == before


@pytest.mark.parametrize(("revision", "pairing"), [("0000", PAIRING), ("0001", "0" * 32)])
def test_what_is_not_ours_is_not_upgraded(former: Path, revision: str, pairing: str) -> None:
    set_revision(former, revision)
    before = rows(former), form(former)
    with pytest.raises(IntegrityFault):
        DataStore.upgrade(former, pairing)
    assert (rows(former), form(former)) == before


def test_a_store_whose_making_was_cut_off_is_none_of_ours(path: Path) -> None:
    with closing(sqlite3.connect(path)) as conn:
        conn.executescript("CREATE TABLE alembic_version(version_num); CREATE TABLE meta(key, value);")
    with pytest.raises(IntegrityFault, match="not one of ours, or empty"):
        DataStore.upgrade(path, PAIRING)


@pytest.mark.parametrize("done", range(3))
def test_a_journal_of_before_the_parts_gets_them_even_where_that_was_begun(tmp_path: Path, done: int) -> None:
    """Earlier versions added them one statement after the other."""
    path = tmp_path / "journal.sqlite3"
    first_journal(path, PAIRING)
    with closing(sqlite3.connect(path)) as conn:
        for statement in [*journal_table._statements(journal_table.PARTS)][:done]:
            conn.execute(statement)
        fill(conn, "pruned", 1)
        conn.execute(
            "INSERT INTO message VALUES (7, 'o', 'f', 1, 'new', NULL, x'01', '', '[]', '[]', NULL, 'AA', x'02')"
        )
        conn.commit()
    before = rows(path)
    assert journal_table.revision(path, PAIRING) == "0001"
    journal_table.upgrade(path, PAIRING)
    assert rows(path) == before | {"part": []}
    journal_table.create(tmp_path / "new.sqlite3", PAIRING)
    assert form(path) == form(tmp_path / "new.sqlite3")
    journal_table.connect(path, PAIRING).close()
