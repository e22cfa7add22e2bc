"""`chartbridge ledger` and `chartbridge keys` on a real site: results, `--json`, exit codes (operations chapter §1)."""

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adapter import site
from adapter.cli.app import exit_code
from adapter.ledger_view import moment
from adapter.lock import LOCK, is_served
from tests.ledger.kits import standalone

Json = dict[str, Any]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return site.create(tmp_path_factory.mktemp("cli") / "site", org="stadtklinik", name="Stadtklinik Test")


@pytest.fixture
def here(fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(shutil.copytree(fresh, tmp_path / "site"))
    monkeypatch.setenv("CHARTBRIDGE_SITE", str(folder))
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Json:
    """One verb with `--json`; its object."""
    capsys.readouterr()
    assert exit_code([*words, "--json"]) == code
    found: Json = json.loads(capsys.readouterr().out.splitlines()[0])
    return found


def shard(folder: Path) -> str:
    from adapter.settings import load

    return load(folder).ledger.shard


def test_status_says_where_the_log_stands(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "ledger", "status")
    assert found["schema"] == "chartbridge.ledger.status/1"
    assert (found["size"], found["signed"], found["published"]) == (7, 7, 7)
    assert found["vkey"].startswith("localhost/stadtklinik/")
    assert found["served"] is False


def test_an_export_is_verified_by_both_and_a_flipped_byte_is_exit_7(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kit = tmp_path / "kit"
    assert run(capsys, "ledger", "export", "--dir", str(kit))["size"] == 7
    vkey = run(capsys, "ledger", "status")["vkey"]
    assert run(capsys, "ledger", "verify", str(kit), "--vkey", vkey)["verdict"] == "verified"
    bundle = kit / "tile/entries/000.p/7"
    data = bytearray(bundle.read_bytes())
    data[60] ^= 1
    bundle.write_bytes(data)
    report = run(capsys, "ledger", "verify", str(kit), code=7)
    assert json.loads(standalone(kit, "--json")[1]) == report
    bundle.unlink()
    assert run(capsys, "ledger", "verify", str(kit), code=9)["verdict"] == "cannot tell"


def test_a_receipt_is_written_and_verified(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ref = f"{shard(here)}:3"
    printed = run(capsys, "ledger", "prove", ref)
    assert printed["proof"].startswith("c2sp.org/tlog-proof@v1\nindex 3\n")
    run(capsys, "ledger", "prove", ref, "--out", str(tmp_path / "kept"))
    receipt = tmp_path / "kept" / f"{ref.replace(':', '-')}.tlog-proof"
    assert run(capsys, "ledger", "verify", str(receipt))["verdict"] == "verified"
    assert standalone(receipt)[0] == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("prove", "2026"), 5),
        (("prove", "1999:0"), 5),
        (("prove", "{shard}:7"), 5),
        (("verify", "nowhere"), 5),
        (("export", "--dir", "{site}"), 2),
        (("export", "--dir", "{out}", "--since", "yesterday"), 2),
        (("export", "--dir", "{out}", "--since", "2100-01-01"), 2),
        (("export", "--dir", "{out}", "--disclose", "{shard}:0"), 5),
    ],
)
def test_what_cannot_be_done_has_its_exit_code_and_says_why(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int
) -> None:
    filled = [word.format(shard=shard(here), site=here, out=tmp_path / "out") for word in words]
    assert exit_code(["ledger", *filled]) == code
    assert capsys.readouterr().err.startswith("error: ")


def test_replay_and_fsck_of_a_fresh_log_find_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "ledger", "replay")
    assert (found["permits"], found["unjustified"], found["faults"]) == (0, 0, [])
    assert run(capsys, "ledger", "fsck")["faults"] == []


def test_a_tampered_log_is_exit_7_for_fsck_export_and_start(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(here / "log.sqlite3") as connection:
        connection.execute("DROP TRIGGER entry_UPDATE")
        connection.execute("UPDATE entry SET body = CAST(replace(body, 'inside', 'insido') AS BLOB)")
    connection.close()
    faults = run(capsys, "ledger", "fsck", code=7)["faults"]
    assert any(fault.endswith("is not what was hashed") for fault in faults)
    assert exit_code(["ledger", "export", "--dir", str(tmp_path / "kit")]) == 7
    assert exit_code(["ledger", "replay"]) == 7


def test_a_log_of_another_site_is_refused(here: Path, tmp_path: Path) -> None:
    other = site.create(tmp_path / "other", org="stadtklinik", name="Other")
    for name in ("log.sqlite3", "log.sqlite3-wal", "log.sqlite3-shm"):
        (here / name).unlink(missing_ok=True)
        if (other / name).exists():
            shutil.copy(other / name, here / name)
    assert exit_code(["ledger", "status"]) == 7
    assert exit_code(["ledger", "fsck"]) == 7


def test_keys_are_listed_with_ids_and_modes_and_never_shown(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    (here / "keys/token").chmod(0o644)
    assert exit_code(["keys", "list", "--json"]) == 0
    out = capsys.readouterr().out
    rows = {row["key"]: row for row in map(json.loads, out.splitlines())}
    assert set(rows) == {"kek", "log", "token", "locator", "identity", "subjects", "all"}
    assert rows["all"]["state"].endswith(f"under {rows['kek']['id']}")
    assert rows["kek"]["mode"] == "0600"
    assert "0644" in rows["token"]["state"]
    assert (here / "keys/kek").read_text().strip() not in out


def test_whether_a_site_is_served_is_told_by_its_lock(here: Path) -> None:
    assert not is_served(here)
    code = (
        "import fcntl, os, sys; d = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT); "
        "fcntl.flock(d, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(here / LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:  # noqa: S603
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_served(here)
        holder.communicate(b"")
    assert not is_served(here)


def test_times_are_read_in_iso_or_as_ago() -> None:
    assert moment("2026-03-04") == "2026-03-04T00:00:00.000Z"
    assert moment("2026-03-04T09:00:00+02:00") == "2026-03-04T07:00:00.000Z"
    assert moment("2h") < moment("1h") < moment("0s")
