"""Sites as earlier versions made them: real files of the first migrations, and what they hold.

The rows are those of a site of today, as far as the first version had tables for them.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from adapter.inbound import journal_table
from adapter.settings import load
from adapter.store.migrating import upgrade
from adapter.store.sqlite import WRITE, connect, transact
from ledger.store.file import create_file

Rows = dict[str, list[tuple[object, ...]]]


def first_data_store(path: Path) -> None:
    """The file as the first migration alone makes it; without a pairing id."""
    with closing(connect(path)) as conn:
        transact(conn, WRITE, lambda conn: upgrade(conn, "0001"))
    path.chmod(0o600)


def first_journal(path: Path, pairing: str) -> None:
    """The file before there were parts."""
    create_file(path, journal_table.KIND, journal_table.SCHEMA, {"pairing": pairing})


def make_former(site: Path) -> Path:
    """The site, with data store and journal as the first version kept them."""
    settings = load(site)
    data, journal = site / settings.store.path, site / settings.store.journal
    for path in (data, journal):
        path.rename(path.with_suffix(".now"))
    first_data_store(data)
    first_journal(journal, settings.node.pairing)
    for path in (data, journal):
        _copy(path.with_suffix(".now"), path)
        path.with_suffix(".now").unlink()
    return site


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(target, isolation_level=None)) as conn:
        conn.execute("ATTACH ? AS now", [str(source)])
        conn.execute("BEGIN")
        for table in tables(conn):
            if table != "alembic_version":
                conn.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
                names = ", ".join(f'"{row[1]}"' for row in conn.execute(f"PRAGMA main.table_info({table})"))
                conn.execute(f"INSERT INTO {table}({names}) SELECT {names} FROM now.{table}")  # noqa: S608
        conn.execute("COMMIT")


def tables(conn: sqlite3.Connection) -> list[str]:
    sql = "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    return [name for (name,) in conn.execute(sql)]


def rows(path: Path) -> Rows:
    """Every row of every table, but for the number of the migration."""
    with closing(sqlite3.connect(path)) as conn:
        return {
            table: sorted(conn.execute(f"SELECT * FROM {table}").fetchall(), key=repr)  # noqa: S608
            for table in tables(conn)
            if table != "alembic_version"
        }


def form(path: Path) -> set[tuple[str, ...]]:
    """The statements that made the tables, indexes and triggers."""
    with closing(sqlite3.connect(path)) as conn:
        return set(conn.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
