"""The data store's file: created once, migrated, paired, and refused when it is not what it should be."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert

from adapter.errors import ConfigurationError, IntegrityFault, Unavailable
from adapter.store.engine import DataStore, Hot, savepoint
from adapter.store.tables import REVISION, meta, metadata


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.sqlite3"


def test_the_migrations_make_the_tables_of_the_page(path: Path) -> None:
    store = DataStore.open(path, DataStore.create(path))
    differences = store.read_now(lambda conn: compare_metadata(MigrationContext.configure(conn), metadata))
    every = store.read_now(lambda conn: Hot(conn).all("SELECT name FROM sqlite_master WHERE type = 'index'"))
    store.close()
    assert differences == []
    assert {index.name for table in metadata.tables.values() for index in table.indexes} <= {row[0] for row in every}


def test_every_row_carries_its_organisation() -> None:
    without = {name for name, table in metadata.tables.items() if "org" not in table.columns}
    assert without == {"meta", "sequence"}


def test_upgrading_again_changes_nothing(path: Path) -> None:
    DataStore.upgrade(path, DataStore.create(path))
    assert sqlite3.connect(path).execute("SELECT version_num FROM alembic_version").fetchall() == [(REVISION,)]


def test_it_is_durable_and_private(path: Path) -> None:
    store = DataStore.open(path, DataStore.create(path))
    pragmas = store.write_now(lambda conn: [Hot(conn).one(f"PRAGMA {name}") for name in PRAGMAS])
    store.close()
    assert pragmas == [("wal",), (2,), (2,)]
    assert path.stat().st_mode & 0o077 == 0


PRAGMAS = ("journal_mode", "synchronous", "temp_store")


def test_another_sites_pairing_is_refused_with_exit_7(path: Path) -> None:
    DataStore.create(path)
    with pytest.raises(IntegrityFault, match="another site") as caught:
        DataStore.open(path, "0" * 32)
    assert caught.value.exit_code == 7


def test_a_missing_file_is_refused_and_none_is_made(path: Path) -> None:
    with pytest.raises(IntegrityFault, match="missing"):
        DataStore.open(path, "0" * 32)
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to be read as a header" * 40])
def test_a_file_that_is_no_store_of_ours_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(IntegrityFault):
        DataStore.open(path, "0" * 32)


def test_an_existing_store_is_never_created_over(path: Path) -> None:
    pairing = DataStore.create(path)
    with pytest.raises(ConfigurationError, match="exists"):
        DataStore.create(path)
    DataStore.open(path, pairing).close()


def test_another_migration_names_the_way_out(path: Path) -> None:
    pairing = DataStore.create(path)
    with sqlite3.connect(path) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '0000'")
    conn.close()
    with pytest.raises(ConfigurationError, match="migration 0000") as caught:
        DataStore.open(path, pairing)
    assert "db upgrade" in caught.value.hint


async def test_a_unit_that_raises_leaves_nothing(path: Path) -> None:
    store = DataStore.open(path, DataStore.create(path))

    def work(conn: object) -> None:
        raise KeyError

    for statement in (_insert_by_core, _insert_raw):

        def failing(conn: object, run: object = statement) -> None:
            run(conn)  # type: ignore[operator]
            raise KeyError

        with pytest.raises(KeyError):
            await store.write(failing)
    assert await store.read(lambda conn: Hot(conn).one("SELECT count(*) FROM meta")) == (1,)
    await store.write(_insert_by_core)
    assert await store.read(lambda conn: Hot(conn).one("SELECT count(*) FROM meta")) == (2,)
    store.close()


def _insert_by_core(conn: object) -> None:
    conn.execute(insert(meta).values(key="a", value="b"))  # type: ignore[attr-defined]


def _insert_raw(conn: object) -> None:
    Hot(conn).run("INSERT INTO meta VALUES ('c', 'd')")  # type: ignore[arg-type]


async def test_a_refused_part_costs_only_itself(path: Path) -> None:
    store = DataStore.open(path, DataStore.create(path))

    def work(conn: object) -> None:
        hot = Hot(conn)  # type: ignore[arg-type]
        hot.run("INSERT INTO meta VALUES ('kept', '')")
        with savepoint(hot):
            hot.run("INSERT INTO meta VALUES ('kept too', '')")
        with pytest.raises(RuntimeError):
            lose(hot)

    def lose(hot: Hot) -> None:
        with savepoint(hot):
            hot.run("INSERT INTO meta VALUES ('lost', '')")
            raise RuntimeError

    await store.write(work)
    rows = await store.read(lambda conn: Hot(conn).all("SELECT key FROM meta ORDER BY key"))
    store.close()
    assert rows == [("kept",), ("kept too",), ("pairing",)]


async def test_a_store_that_cannot_be_written_is_unavailable_and_says_no_path(path: Path) -> None:
    store = DataStore.open(path, DataStore.create(path))

    def full(conn: object) -> None:
        hot = Hot(conn)  # type: ignore[arg-type]
        pages = hot.one("PRAGMA page_count")
        assert pages is not None
        hot.one(f"PRAGMA max_page_count = {pages[0]}")
        hot.run("INSERT INTO meta VALUES ('k', ?)", ("x" * 100_000,))

    with pytest.raises(Unavailable) as caught:
        await store.write(full)
    store.close()
    assert "SQLITE_FULL" in str(caught.value)
    assert str(path.parent) not in str(caught.value)


async def test_readers_see_one_snapshot_and_cannot_write(path: Path) -> None:
    store = DataStore.open(path, DataStore.create(path))
    with pytest.raises(Unavailable):
        await store.read(_insert_raw)
    await asyncio.gather(*(store.read(lambda conn: Hot(conn).one("SELECT 1")) for _ in range(8)))
    store.close()
