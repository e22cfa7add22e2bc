"""A new site: whole or not there, private, and with a log that can be built on (operations chapter §2)."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from adapter.errors import ConfigurationError, IntegrityFault
from adapter.logs import clock_stepped
from adapter.receiving import receiving
from adapter.seal.kek import Kek
from adapter.settings import FILE, load
from adapter.site import create, open_site
from ledger.event import decode


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_site_is_private_to_its_owner(made_site: Path) -> None:
    wide = [path.relative_to(made_site) for path in made_site.rglob("*") if path.is_file() and mode(path) & 0o077]
    assert [path for path in wide if path.parts[0] != "www"] == [], "what is published may be read, nothing else"
    assert mode(made_site) == 0o700
    assert {mode(path) for path in made_site.iterdir() if path.is_dir()} == {0o700}


def test_a_new_site_holds_what_the_chapter_names_and_no_more(made_site: Path) -> None:
    files = {str(path.relative_to(made_site)) for path in made_site.rglob("*") if path.is_file()}
    stores = {"data.sqlite3", "journal.sqlite3", "log.sqlite3", "vault/vault.sqlite3"}
    own = {FILE, "feeds/main.toml", "keys/kek", "keys/log", "keys/token"}
    assert own | stores <= files
    assert {name for name in files - own - stores if not name.startswith("www/")} == set()


def test_a_folder_that_holds_anything_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine")
    with pytest.raises(ConfigurationError, match="not empty"):
        create(tmp_path, org="o", name="O")
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


@pytest.mark.parametrize("org", ["Stadt Klinik", "", "-x", "ä", "a" * 64])
def test_a_name_that_cannot_be_leaves_nothing_behind(tmp_path: Path, org: str) -> None:
    with pytest.raises(ConfigurationError, match=r"node\.org"):
        create(tmp_path / "site", org=org, name="O")
    assert not (tmp_path / "site").exists()


def test_any_name_that_people_read_comes_back_as_it_was(tmp_path: Path) -> None:
    name = 'St. "Anna" \\ Süd\n\t☤\x7f'
    assert load(create(tmp_path / "site", org="o", name=name)).node.name == name


async def test_the_log_begins_with_its_name_its_key_and_the_house_rules_under_a_checkpoint(fresh_site: Path) -> None:
    async with open_site(fresh_site) as site:
        kinds = [decode(entry.body)["type"] for entry in await site.ledger.entries(0, site.ledger.size)]
        assert kinds[0] == "log.opened"
        assert kinds[1] == "key.rotated"
        assert set(kinds[2:]) == {"policy.adopted"}
        newest = await site.log.newest_checkpoint()
        assert newest is not None
        assert newest.size == len(kinds)


async def test_another_key_file_is_refused_and_nothing_is_deleted(fresh_site: Path) -> None:
    kek = fresh_site / "keys" / "kek"
    kek.unlink()
    with pytest.raises(ConfigurationError):
        async with open_site(fresh_site):
            pass
    Kek.generate(kek)
    before = content(fresh_site)
    with pytest.raises(IntegrityFault):
        async with open_site(fresh_site):
            pass
    kept = content(fresh_site)
    assert {path for path in before if before[path] != kept.get(path)} == set()


async def test_a_store_of_another_site_is_refused(fresh_site: Path, tmp_path: Path, made_site: Path) -> None:
    text = (fresh_site / FILE).read_text("utf-8")
    pairing = load(fresh_site).node.pairing
    (fresh_site / FILE).write_text(text.replace(pairing, "f" * 32), "utf-8")
    with pytest.raises(IntegrityFault, match="another site"):
        async with open_site(fresh_site):
            pass


@pytest.mark.parametrize("step_s", [3_600.0, -3_600.0])
async def test_a_step_of_the_clock_is_told_not_followed_and_settled_by_a_restart(
    fresh_site: Path, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    """Ledger chapter §6."""
    offset = timedelta()
    monkeypatch.setattr("adapter.site.now", lambda: datetime.now(UTC) + offset)
    with capture_logs() as told:
        async with open_site(fresh_site, clock_step=clock_stepped) as site:
            before = site.ledger.now()
            assert told == []
            offset = timedelta(seconds=step_s)
            for _ in range(2):
                assert abs((site.ledger.now() - before).total_seconds()) < 60
        (step,) = told
        assert (step["event"], step["log_level"], round(step["seconds"] / 10)) == (
            "clock.stepped",
            "warning",
            step_s / 10,
        )
        assert "restart" in step["hint"]
        async with open_site(fresh_site, clock_step=clock_stepped) as site:
            assert abs((site.ledger.now() - before).total_seconds() - step_s) < 60
    behind = [one["seconds"] for one in told[1:]]
    assert (len(behind) == 1 and behind[0] < 0) if step_s < 0 else behind == []  # the last entry is ahead of the clock


async def test_a_node_that_serves_tells_a_step_of_the_clock(fresh_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offset = timedelta()
    monkeypatch.setattr("adapter.site.now", lambda: datetime.now(UTC) + offset)
    with capture_logs() as told:
        async with receiving(fresh_site):
            pass
        assert [one for one in told if one["event"] == "clock.stepped"] == []
        offset = timedelta(hours=-1)
        async with receiving(fresh_site):
            pass
    (step,) = [one for one in told if one["event"] == "clock.stepped"]
    assert step["seconds"] < -3_000
