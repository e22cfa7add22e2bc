"""`chartbridge doctor` on a real site: a fresh one is well; each fault is told with what to do, and its exit code."""

import shutil
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from adapter import doctor, site
from adapter.doctor import Finding, examine


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doctor") / "site"
    return site.create(folder, org="klinik", name="Klinik", http_port=free_port(), mllp_port=free_port())


@pytest.fixture
def here(fresh: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fresh, tmp_path / "site"))


def faults(folder: Path) -> dict[str, Finding]:
    return {finding.check: finding for finding in examine(folder) if finding.state == "fail"}


def test_a_fresh_site_is_well(here: Path) -> None:
    findings = examine(here)
    assert {finding.check for finding in findings if finding.state == "fail"} == set()
    assert [f.check for f in findings][:3] == ["configuration", "time zones", "feeds"]
    assert {"key kek", "key log", "key token", "journal", "data store", "owners", "checkpoint", "last entries"} <= {
        finding.check for finding in findings if finding.state == "ok"
    }
    assert all(finding.exit_code == 0 for finding in findings)


def removed(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def opened(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).chmod(0o644)


def written(name: str, text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text(text)

    return change


def sql(file: str, *statements: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with sqlite3.connect(folder / file) as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    return change


FAULTS: dict[str, tuple[Callable[[Path], None], str, int]] = {
    "no configuration": (removed("chartbridge.toml"), "configuration", 3),
    "an unknown key": (written("chartbridge.toml", "[nodes]\norg = 'x'\n"), "configuration", 3),
    "a feed that cannot be read": (written("feeds/main.toml", "fead = 'main'\n"), "feeds", 3),
    "a key that is lost": (removed("keys/kek"), "key kek", 3),
    "a key that is open to others": (opened("keys/log"), "key log", 3),
    "another key": (written("keys/kek", "00" * 32), "keyring", 7),
    "a lost journal": (removed("journal.sqlite3"), "journal", 7),
    "a lost data store": (removed("data.sqlite3"), "data store", 7),
    "another site's data store": (sql("data.sqlite3", "UPDATE meta SET value = 'x'"), "data store", 7),
    "an older data store": (sql("data.sqlite3", "UPDATE alembic_version SET version_num = '0000'"), "data store", 3),
    "a vault without keys": (sql("vault/vault.sqlite3", "DELETE FROM org_key"), "keyring", 7),
    "another log's pairing": (
        sql("log.sqlite3", "UPDATE meta SET value = 'x' WHERE key = 'pairing'"), "log and vault", 7,
    ),
    "a changed entry": (
        sql("log.sqlite3", "DROP TRIGGER entry_UPDATE", "UPDATE entry SET body = zeroblob(9)"), "last entries", 7,
    ),
    "a changed tile": (sql("log.sqlite3", "UPDATE tile SET hashes = zeroblob(224)"), "checkpoint", 7),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_told_with_its_exit_code(here: Path, name: str) -> None:
    change, check, code = FAULTS[name]
    change(here)
    found = faults(here)
    assert check in found
    assert found[check].exit_code == code
    assert found[check].hint
    assert str(here) not in found[check].found


def test_a_port_that_another_holds_is_told(here: Path) -> None:
    from adapter.settings import load

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", load(here).http.port))
        holder.listen()
        found = faults(here)
    assert list(found) == [f"port {load(here).http.port}"]


def test_open_modes_a_full_disk_and_few_files_are_warned_of(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here.chmod(0o755)
    monkeypatch.setattr(doctor, "OPEN_FILES", 10**9)
    monkeypatch.setattr(doctor, "FEW_BYTES", 1 << 60)
    warned = {finding.check: finding for finding in examine(here) if finding.state == "warn"}
    assert {"modes", "disk", "open files"} <= set(warned)
    assert all(finding.exit_code == 0 and finding.hint for finding in warned.values())
    monkeypatch.setattr(doctor, "LOW_BYTES", 1 << 60)
    assert faults(here)["disk"].exit_code == 4


def test_a_clock_behind_the_log_is_warned_of(here: Path) -> None:
    sql("log.sqlite3", "UPDATE head SET last_t = '2999-01-01T00:00:00.000Z'")(here)
    assert "clock" in {finding.check for finding in examine(here) if finding.state == "warn"}
