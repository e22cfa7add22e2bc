"""`chartbridge db`: a site of an earlier version, brought to this one, whatever happens on the way (fault F31)."""

import itertools
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from adapter import upgrade
from adapter.errors import Unavailable
from adapter.lock import lock
from adapter.node import running
from adapter.store import sqlite
from adapter.store.engine import NEWER
from adapter.store.tables import REVISION
from tests.adapter.cli.command import Command
from tests.adapter.former import Rows, form, make_former, rows
from tests.adapter.nodes import a08, send, states

STORES = ("journal.sqlite3", "data.sqlite3")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def former(lived_in: Path, tmp_path: Path) -> Path:
    """A site of the first version on which things have happened."""
    return make_former(Path(shutil.copytree(lived_in, tmp_path / "former")))


@pytest.fixture
def command(former: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys, former)


def versions(site: Path) -> dict[str, str]:
    return {one.store: one.found for one in upgrade.check(site)}


def held(site: Path) -> list[Rows]:
    """The rows of the tables that the first version had."""
    return [
        {
            name: kept
            for name, kept in rows(site / store).items()
            if name not in ("part", "reply", "feed_run", "subscription", "notice")
        }
        for store in STORES
    ]


def files(site: Path) -> dict[str, bytes]:
    """What a site holds; of locks, their being there says nothing."""
    apart = (".sqlite3-shm", ".sqlite3-wal", ".roles")
    found = (path for path in site.rglob("*") if path.is_file() and path.suffix not in apart)
    return {str(path.relative_to(site)): path.read_bytes() for path in found}


def test_a_former_site_is_refused_with_the_verb_that_mends_it(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapter.logs.configure", lambda: None)  # of a process of its own: here it would stay
    for words in (["msg", "list"], ["feed", "list"], ["serve"]):
        ended = command(*words)
        assert ended.code == 3
        assert "try: chartbridge db upgrade" in ended.err
    assert command("db", "upgrade").code == 0
    assert command("msg", "list").code == 0


def test_check_says_at_which_version_each_store_is(command: Command) -> None:
    ended = command("db", "check", json=True)
    assert ended.code == 3
    assert ended.schemas() == {"chartbridge.db.check/1"}
    assert [(one["store"], one["version"], one["needs"], one["state"]) for one in ended.objects()] == [
        ("journal", "0001", "0002", "old"),
        ("data", "0001", REVISION, "old"),
        ("vault", "0001", "0001", "current"),
        ("log", "0001", "0001", "current"),
    ]
    assert "chartbridge db upgrade" in command("db", "check").out
    assert command("db", "upgrade").code == 0
    after = command("db", "check", json=True)
    assert after.code == 0
    assert {one["state"] for one in after.objects()} == {"current"}


def test_upgrade_says_from_where_to_where_and_does_nothing_twice(command: Command, former: Path) -> None:
    before = held(former)
    ended = command("db", "upgrade", json=True)
    assert ended.code == 0
    assert ended.schemas() == {"chartbridge.db.upgrade/1"}
    moved = [(one["store"], one["from"], one["to"], one["state"]) for one in ended.objects()]
    assert moved[:2] == [("journal", "0001", "0002", "upgraded"), ("data", "0001", REVISION, "upgraded")]
    assert {state for _, _, _, state in moved[2:]} == {"current"}
    assert f"data: 0001 → {REVISION}" in ended.err
    assert held(former) == before
    again = command("db", "upgrade")
    assert (again.code, again.err) == (0, "")
    assert "upgraded" not in again.out


def test_a_dry_run_changes_no_byte(command: Command, former: Path) -> None:
    before = files(former)
    ended = command("db", "upgrade", "--dry-run", json=True)
    assert ended.code == 0
    assert [one["state"] for one in ended.objects()][:2] == ["would be upgraded"] * 2
    assert all(one["brings"] for one in ended.objects()[:2])
    assert command("db", "check").code == 3
    assert files(former) == before


async def test_an_upgraded_site_goes_on_where_it_stood(former: Path) -> None:
    upgrade.upgrade(former)
    async with running(former) as node:
        before = await states(node)
        assert await send(node, a08("1", "11"), a08("99", "19")) == ["CA", "CA"]
        after = await states(node)
    assert before.items() <= after.items(), "what was decided stays"
    assert after[max(after)] == "delivered"
    assert len(after) == len(before) + 1, "the first was known"


async def test_a_site_that_is_served_is_left_alone(lived_in: Path, tmp_path: Path) -> None:
    site = Path(shutil.copytree(lived_in, tmp_path / "site"))
    async with running(site):
        with pytest.raises(Unavailable, match="another process serves this site") as caught:
            upgrade.upgrade(site)
        assert caught.value.hint == "stop it first"
        assert {one.state for one in upgrade.check(site)} == {"current"}


def test_a_lock_that_is_held_stops_the_upgrade_and_no_dry_run(command: Command, former: Path) -> None:
    release = lock(former)
    before = files(former)
    ended = command("db", "upgrade")
    assert ended.code == 4
    assert "try: stop it first" in ended.err
    assert command("db", "upgrade", "--dry-run").code == 0
    assert files(former) == before
    release()
    assert command("db", "upgrade").code == 0


def statement(sql: str, store: str) -> Callable[[Path], None]:
    def damage(site: Path) -> None:
        with closing(sqlite3.connect(site / store)) as conn:
            conn.execute(sql)
            conn.commit()

    return damage


@pytest.mark.parametrize(
    ("damage", "code", "store"),
    [
        (statement("UPDATE alembic_version SET version_num = '9999'", "data.sqlite3"), 3, "data"),
        (statement("UPDATE alembic_version SET version_num = '0000'", "data.sqlite3"), 7, "data"),
        (statement("UPDATE meta SET value = 'another' WHERE key = 'pairing'", "data.sqlite3"), 7, "data"),
        (statement("UPDATE meta SET value = 'another' WHERE key = 'pairing'", "journal.sqlite3"), 7, "journal"),
        (statement("CREATE TABLE strange(a)", "log.sqlite3"), 7, "log"),
        (lambda site: (site / "vault" / "vault.sqlite3").unlink(), 7, "vault"),
        (lambda site: (site / "data.sqlite3").write_bytes(b"no database" * 1000), 7, "data"),
    ],
)
def test_one_store_that_cannot_be_used_stops_the_upgrade_of_all(
    command: Command, former: Path, damage: Callable[[Path], object], code: int, store: str
) -> None:
    damage(former)
    before = files(former)
    checked = command("db", "check", json=True)
    assert checked.code == max(code, 3)
    assert [one["store"] for one in checked.objects() if one["state"] == "fault"] == [store]
    ended = command("db", "upgrade")
    assert (ended.code, ended.out) == (code, "")
    assert NEWER in ended.err or code == 7
    assert files(former) == before


def run(site: Path, code: str, crash_at: str = "", limit: str = "true") -> int:
    """A process of its own, which may die at a point, or find no room."""
    words = ["bash", "-c", f'{limit}; exec "$@"', "bash", sys.executable, "-c", code, str(site)]
    env = os.environ | {"CHARTBRIDGE_CRASH_AT": crash_at}
    return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, check=False).returncode  # noqa: S603


ACT = "import sys, pathlib; from adapter.upgrade import upgrade; upgrade(pathlib.Path(sys.argv[1]))"
VERB = (
    "import sys; from adapter.cli.app import exit_code; sys.exit(exit_code(['--site', sys.argv[1], 'db', 'upgrade']))"
)
POINTS = ["journal.statement", "upgraded.journal", "migrate.statement", "upgraded.data"]


@pytest.mark.crash
@pytest.mark.parametrize("point", POINTS)
def test_a_kill_between_any_two_statements_leaves_what_the_next_upgrade_finishes(
    former: Path, tmp_path: Path, point: str
) -> None:
    before, whole = held(former), Path(shutil.copytree(former, tmp_path / "whole"))
    upgrade.upgrade(whole)
    at = ("0001" if point == "journal.statement" else "0002", REVISION if point == "upgraded.data" else "0001")
    kills = 0
    for n in itertools.count(1):
        site = Path(shutil.copytree(former, tmp_path / f"killed-{n}"))
        if run(site, ACT, f"{point}:{n}") != -signal.SIGKILL:
            break
        kills += 1
        found = versions(site)
        assert (found["journal"], found["data"]) == at, "a store is at its old version or at the new one"
        assert held(site) == before, "no row was lost"
        upgrade.upgrade(site)
        assert [form(site / store) for store in STORES] == [form(whole / store) for store in STORES]
        assert held(site) == before
    assert kills >= {"journal.statement": 3, "migrate.statement": 4}.get(point, 1)


def test_without_room_the_stores_stay_and_the_next_upgrade_finishes(
    command: Command, former: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = held(former)
    with closing(sqlite3.connect(former / "data.sqlite3")) as conn:
        (pages,) = conn.execute("PRAGMA page_count").fetchone()
    with monkeypatch.context() as small:
        small.setattr(sqlite, "PRAGMAS", (*sqlite.PRAGMAS, f"max_page_count={pages}"))
        ended = command("db", "upgrade")
    assert ended.code == 4
    assert "SQLITE_FULL" in ended.err
    assert versions(former)["data"] == "0001"
    assert held(former) == before
    assert command("db", "upgrade").code == 0
    assert held(former) == before


@pytest.mark.crash
def test_a_file_system_without_room_is_no_damage(former: Path) -> None:
    """Exit 4, which may be tried again; 7 is to be paged on."""
    assert run(former, VERB, limit="ulimit -f 24") == 4
    upgrade.upgrade(former)


def test_the_numbers_of_the_migrations_are_in_the_order_of_their_texts() -> None:
    """What tells a later store from an earlier one."""
    names = sorted(path.name for path in (ROOT / "adapter/store/migrations/versions").glob("0*.py"))
    assert all(re.fullmatch(rf"{n:04}_\w+\.py", name) for n, name in enumerate(names, 1))
