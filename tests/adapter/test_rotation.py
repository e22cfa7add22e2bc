"""Another key wraps all others: while the node serves, killed in the middle, with damage in the vault, into a token.
Ledger chapter §5 (`key.rotated`), §16 (re-wrap by `kek_id`, resumable); fault F35 (a key rotated mid-stream)."""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapter import kek_files, key_acts
from adapter.access import token
from adapter.access.token import Grant
from adapter.errors import ConfigurationError, IntegrityFault, Unavailable
from adapter.kek_files import Keks
from adapter.key_acts import rotate
from adapter.lock import join
from adapter.node import running
from adapter.rotation import BATCH, SHARED_SETTLE_S, SHOWN_S, Rotation
from adapter.seal.kek import Kek
from adapter.seal.keyring import SHARED, Keyring
from adapter.services import base_url
from adapter.site import Site, open_site
from ledger.event import decode
from tests.adapter.nodes import a08, copy, make, send
from tests.adapter.seal import tokens
from tests.adapter.test_serve import CLI, serving

OWNERS = 2 * BATCH + 20
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, bytes]]:
    """A site with owners for several batches and three message keys, and what must never change of it."""
    folder = make(tmp_path_factory.mktemp("rotation") / "site")

    async def fill() -> dict[int, bytes]:
        async with open_site(folder) as opened:
            await opened.keyring.restock(OWNERS)
            await opened.keyring.new_message_keys(3)
        return await known(folder)

    return folder, asyncio.run(fill())


@pytest.fixture
def site(made: tuple[Path, dict[int, bytes]], tmp_path: Path) -> Path:
    return copy(made[0], tmp_path / "site")


@pytest.fixture
def before(made: tuple[Path, dict[int, bytes]]) -> dict[int, bytes]:
    return made[1]


async def known(folder: Path) -> dict[int, bytes]:
    """A key of every owner in the vault: what must never change."""
    async with open_site(folder) as opened:
        owners = await opened.vault.present(opened.org)
        await opened.keyring.load(owners)
        return {owner: opened.keyring.owner(owner).commitment for owner in owners}


async def told(folder: Path) -> list[dict[str, Any]]:
    """What the log says of keys that wrap."""
    async with open_site(folder) as opened:
        entries = [decode(entry.body) for entry in await opened.ledger.entries(0, opened.ledger.size)]
    return [entry["d"] for entry in entries if entry["type"] == "key.rotated" and entry["d"]["role"] == "kek"]


async def wrapped_by(folder: Path) -> dict[str, int]:
    async with open_site(folder) as opened:
        return await opened.vault.wrapped_by(opened.org)


def command(folder: Path, *words: str, crash_at: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CHARTBRIDGE_CRASH_AT": crash_at}
    call = [sys.executable, "-c", CLI, "--json", "--site", str(folder), "keys", *words]
    return subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603


def stands(folder: Path) -> str:
    return Keks(folder / "keys" / "kek").stands().id


async def test_all_keys_go_under_the_next_one_and_stay_what_they_are(site: Path, before: dict[int, bytes]) -> None:
    (old,) = await wrapped_by(site)
    done = await rotate(site, "", "test")
    assert (done.old, done.count) == (old, len(before) + 2 + 3)
    assert await wrapped_by(site) == {done.new: done.count}
    assert await known(site) == before
    (entry,) = await told(site)
    assert (entry["old"], entry["new"]) == (old, done.new)
    assert key_files(site / "keys") == ["kek", f"kek-{old}", "log", "token"]
    assert {path.stat().st_mode & 0o777 for path in (site / "keys").iterdir()} == {0o600}


async def test_no_old_wrapping_is_left_in_the_vaults_files(site: Path) -> None:
    with sqlite3.connect(site / "vault" / "vault.sqlite3") as conn:
        wrappings = [row[0] for row in conn.execute("SELECT wrapped FROM subject")]
    conn.close()
    async with open_site(site) as opened:  # still open: closing it would empty the WAL
        opened.keks.begin("")
        await Rotation(opened.keks, opened.vault, opened.ledger, opened.org).run()
        left = b"".join(path.read_bytes() for path in (site / "vault").iterdir())
    assert [wrapped for wrapped in wrappings if wrapped in left] == []


async def test_a_backup_of_the_vault_from_before_is_opened_with_the_key_that_was_kept(
    site: Path, before: dict[int, bytes], tmp_path: Path
) -> None:
    shutil.copytree(site / "vault", tmp_path / "backup")
    await rotate(site, "", "test")
    shutil.rmtree(site / "vault")
    shutil.copytree(tmp_path / "backup", site / "vault")
    assert await known(site) == before


POINTS = ["rotate.batch:1", "rotate.written:2", "rotate.wrapped", "rotate.recorded", "rotate.kept"]


@pytest.mark.crash
@pytest.mark.parametrize("point", POINTS)
async def test_killed_anywhere_it_loses_no_key_and_goes_on(site: Path, before: dict[int, bytes], point: str) -> None:
    (old,) = await wrapped_by(site)
    assert command(site, "rotate", crash_at=point).returncode == -signal.SIGKILL
    assert await known(site) == before, "in the middle, every key opens"
    assert command(site, "rotate").returncode == 0
    new = stands(site)
    assert new != old
    assert list(await wrapped_by(site)) == [new]
    assert await known(site) == before
    assert [(entry["old"], entry["new"]) for entry in await told(site)] == [(old, new)], "recorded once"
    assert not (site / "keys" / "kek.next").exists()


@pytest.mark.crash
async def test_a_node_that_is_killed_in_a_rotation_ends_it_when_it_is_started_again(
    site: Path, before: dict[int, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = await wrapped_by(site)
    monkeypatch.setenv("CHARTBRIDGE_CRASH_AT", "rotate.batch:2")
    async with serving(site, tmp_path / "first.log") as process:
        asked = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLI, "--site", str(site), "keys", "rotate", stderr=asyncio.subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if name != "CHARTBRIDGE_CRASH_AT"},
        )  # fmt: skip
        assert await process.wait() == -signal.SIGKILL
        assert await asked.wait() == 4, "who asked hears that the node is gone"
    monkeypatch.delenv("CHARTBRIDGE_CRASH_AT")
    assert len(await wrapped_by(site)) == 2
    async with serving(site, tmp_path / "second.log"):
        async with asyncio.timeout(30):
            while (site / "keys" / "kek.next").exists():  # noqa: ASYNC110 - another process removes it
                await asyncio.sleep(0.05)
    assert old not in await wrapped_by(site)
    assert before.items() <= (await known(site)).items()
    assert len(await told(site)) == 1


async def test_a_node_serves_on_through_a_rotation(site: Path, before: dict[int, bytes]) -> None:
    """Messages are acknowledged and take effect, reads answer: before, while and after the keys are wrapped again."""
    (old,) = await wrapped_by(site)
    async with running(site) as node:
        assert await send(node, a08("m0", "1")) == ["CA"]
        await node.settled()
        stop, statuses, acks = asyncio.Event(), list[int](), list[str]()
        reads = asyncio.create_task(_read(node, stop, statuses))
        sends = asyncio.create_task(_send(node, stop, acks))
        done = await rotate(site, "", "test")
        await node.services.keyring.restock(300)
        stop.set()
        await asyncio.gather(reads, sends)
        await node.settled()
        assert done.old == old
        assert set(statuses) == {200}
        assert set(acks) == {"CA"}
        assert len(statuses) > 3
        assert len(acks) > 3
        assert list(await node.site.vault.wrapped_by(node.site.org)) == [done.new]
    async with running(site) as node:
        assert await send(node, a08("after", "2")) == ["CA"]
        await node.settled()
    assert len(await told(site)) == 1


async def _send(node: Any, stop: asyncio.Event, acks: list[str]) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        acks += await send(node, a08(f"m{number}", str(number % 4 + 1), street=f"Weg {number}"))


async def _read(node: Any, stop: asyncio.Event, statuses: list[int]) -> None:
    registered = node.site.settings.access.client["clinic"]
    grant = Grant(
        "clinic", registered.system, registered.identifier, "system/*.rs", registered.purposes[:1], registered.roles
    )
    bearer = token.issue(
        node.site.token_key,
        grant,
        audience=base_url(node.site.settings),
        life_s=300,
        now=datetime.now(UTC),
        entropy=os.urandom,
    )
    url = f"http://127.0.0.1:{node.http_port}/fhir/Patient?identifier=urn:oid:2.999.1.4|1"
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {bearer}"}) as client:
        while not stop.is_set():
            answer = await client.get(url)
            statuses.append(answer.status_code if answer.json().get("total") == 1 else 0)


async def test_an_erased_key_stays_erased(
    site: Path, before: dict[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Destroyed between reading and writing of a batch: the rotation does not bring it back."""
    async with open_site(site) as opened:
        gone = max(before)
        turning = Rotation(opened.keks, opened.vault, opened.ledger, opened.org)
        opened.keks.begin("")
        wrapped_again = turning._wrapped_again
        loop = asyncio.get_running_loop()

        def erasing(*arguments: Any) -> Any:
            destroying = opened.vault.destroy_subject(opened.org, gone, datetime.now(UTC))
            asyncio.run_coroutine_threadsafe(destroying, loop).result(10)
            return wrapped_again(*arguments)

        monkeypatch.setattr(turning, "_wrapped_again", erasing)
        assert await turning.run() is not None
        assert await opened.vault.destroyed(opened.org) == {gone}
        assert await opened.vault.subjects(opened.org, [gone]) == []


async def test_a_damaged_row_keeps_the_rotation_open_and_its_neighbours_are_done(
    site: Path, before: dict[int, bytes]
) -> None:
    (old,) = await wrapped_by(site)
    damaged = max(before)
    with sqlite3.connect(site / "vault" / "vault.sqlite3") as conn:
        conn.execute('UPDATE subject SET wrapped = zeroblob(60) WHERE "row" = ?', (damaged,))
    conn.close()
    with pytest.raises(IntegrityFault, match="do not unwrap: 1"):
        await rotate(site, "", "test")
    assert (await wrapped_by(site))[old] == 1
    assert (site / "keys" / "kek.next").exists()
    assert await told(site) == []


async def test_what_another_process_wrapped_with_the_key_before_is_found_at_the_next_start(site: Path) -> None:
    async with open_site(site) as slow:
        before = slow.keks.current()
        done = await rotate(site, "", "test")
        late = Keyring(before, slow.vault, slow.org)
        await late.restock(1)
        assert (await slow.vault.wrapped_by(slow.org))[done.old] == 1
    await known(site)
    async with running(site) as node, asyncio.timeout(10):
        while done.old in await node.site.vault.wrapped_by(node.site.org):  # noqa: ASYNC110 - what is in the vault
            await asyncio.sleep(0.05)


async def test_a_process_that_missed_the_next_key_wraps_with_it_all_the_same(site: Path) -> None:
    """It never saw `kek.next`: the key file says something else than before."""
    async with open_site(site) as slow:
        done = await rotate(site, "", "test")
        assert slow.keks.id == done.old
        assert not slow.keks.look()
        assert slow.keks.current().id == done.new
        await slow.keyring.restock(1)
        assert list(await slow.vault.wrapped_by(slow.org)) == [done.new]
    assert SHARED_SETTLE_S > kek_files.LOOKED_S + SHOWN_S


async def test_nothing_is_wrapped_with_a_key_that_was_not_looked_for(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is away, as when a mount is lost: a rotation elsewhere would never be heard of."""
    monkeypatch.setattr(kek_files, "LOOKED_S", 0.0)
    async with open_site(site) as opened:
        await opened.keyring.new_message_keys(1)
        (site / "keys").rename(site / "away")
        with pytest.raises(Unavailable, match="no key wraps now: key file kek is not there"):
            await opened.keyring.new_message_keys(1)
        with pytest.raises(ConfigurationError):
            opened.keks.look()
        await Keyring(opened.keks, opened.vault, opened.org).load((SHARED,))  # what is wrapped opens all the same
        (site / "away").rename(site / "keys")
        await opened.keyring.new_message_keys(1)


async def test_who_loses_the_lease_at_the_end_leaves_the_files_to_another(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its vault took long: another process leads by then."""
    leading = True

    async def leads() -> bool:
        return leading

    async with open_site(site) as opened:
        truncate = opened.vault.truncate

        async def long() -> None:
            nonlocal leading
            await truncate()
            leading = False

        opened.keks.begin("")
        monkeypatch.setattr(opened.vault, "truncate", long)
        with pytest.raises(Unavailable, match="another process goes on"):
            await Rotation.of(opened, leads).run()
        assert opened.keks.coming.exists()
    assert await told(site) == [], "nor does it record it"


async def test_what_is_wrapped_while_the_file_is_replaced_is_swept_by_the_rotation_itself(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_site(site) as slow, open_site(site) as opened:
        opened.keks.begin("")
        (old,) = await slow.vault.wrapped_by(slow.org)
        finish = opened.keks.finish

        def finish_late(*arguments: Any) -> None:
            finish(*arguments)
            late.append(asyncio.ensure_future(slow.keyring.restock(1)))

        late: list[asyncio.Future[None]] = []
        monkeypatch.setattr(opened.keks, "finish", finish_late)
        monkeypatch.setattr(kek_files, "LOOKED_S", 60.0)
        rotation = Rotation(opened.keks, opened.vault, opened.ledger, opened.org, settle_s=2.0)
        done = await rotation.run()
        assert done is not None
        await late[0]
        assert slow.keks.id == old, "it has not looked"
        assert list(await opened.vault.wrapped_by(opened.org)) == [done.new]


async def test_two_rotations_at_once_both_end_well(site: Path, before: dict[int, bytes]) -> None:
    async with open_site(site) as one, open_site(site) as other:
        old = one.keks.id
        assert one.keks.begin("").id == other.keks.begin("").id
        await asyncio.gather(*(_until_done(each) for each in (one, other)))
        new = one.keks.id
        assert other.keks.id == new != old
        assert list(await one.vault.wrapped_by(one.org)) == [new]
    assert await known(site) == before
    assert [(entry["old"], entry["new"]) for entry in await told(site)] == [(old, new)], "recorded once"
    assert key_files(site / "keys") == ["kek", f"kek-{old}", "log", "token"]


async def _until_done(opened: Site) -> None:
    """As `watch` does: what another process took over is tried again, and then done."""
    while opened.keks.look():
        try:
            await Rotation.of(opened).run()
        except Unavailable:
            await asyncio.sleep(0.05)


async def test_who_does_not_lead_leaves_a_rotation_alone_and_wraps_with_its_key(site: Path) -> None:
    async def never() -> bool:
        return False

    async with open_site(site) as opened, open_site(site) as other:
        new = other.keks.begin("").id
        stands_by = Rotation.of(opened, never)
        await stands_by._turn()
        assert opened.keks.id == new
        assert new not in await opened.vault.wrapped_by(opened.org)
        with pytest.raises(Unavailable, match="another process"):
            await stands_by.run()


def key_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".kek.lock")


def test_a_late_finish_keeps_no_link_of_the_key_that_wraps(tmp_path: Path) -> None:
    old = Kek.generate(tmp_path / "kek").id
    one, late = Keks(tmp_path / "kek"), Keks(tmp_path / "kek")
    new = one.begin("").id
    assert late.look()
    one.finish(old, lambda _: None)
    late.finish(old, lambda _: None)
    assert key_files(tmp_path) == ["kek", f"kek-{old}"]
    third = one.begin("").id
    late.finish(old, lambda _: None)
    assert late.stands().id == new, "another rotation's next key stays the next"
    assert Keks(tmp_path / "kek").id == third


async def test_where_nobody_carries_it_out_the_command_says_so(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Roles run, none of them an anchor."""
    monkeypatch.setattr(key_acts, "PATIENCE_S", 0.5)
    leave = join(site)
    try:
        with pytest.raises(Unavailable, match="keys wait to be wrapped again, and nobody does it"):
            await rotate(site, "", "test")
    finally:
        leave()
    assert (await rotate(site, "", "test")).count, "and goes on"


async def test_a_key_that_cannot_be_used_begins_nothing_and_is_not_recorded(site: Path) -> None:
    with pytest.raises(ConfigurationError):
        await rotate(site, "pkcs11:token=nobody", "test")
    assert key_files(site / "keys") == ["kek", "log", "token"]
    async with open_site(site) as opened:
        entries = [decode(entry.body)["type"] for entry in await opened.ledger.entries(0, opened.ledger.size)]
    assert "operator.acted" not in entries


async def test_from_a_file_into_a_token_and_on_to_another_key_of_it(
    site: Path, before: dict[int, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In processes of their own: PKCS#11 is started once a process, with the tokens that there are then."""
    library = tokens.library()
    monkeypatch.setenv(tokens.CONFIGURATION, str(tokens.configured(tmp_path / "softhsm")))
    tokens.new_token("hospital")
    code = "import pkcs11, sys; s = pkcs11.lib(sys.argv[1]).get_token(token_label='hospital').open(True, sys.argv[2])\n"
    code += "for l in 'one', 'two': s.generate_key(pkcs11.KeyType.AES, 256, label=l, store=True)"
    subprocess.run([sys.executable, "-c", code, library, tokens.PIN], check=True)  # noqa: S603, ASYNC221
    (site / "keys" / "kek.pin").write_text(tokens.PIN)
    (site / "keys" / "kek.pin").chmod(0o600)
    (old,) = await wrapped_by(site)
    for key in ("one", "two"):
        done = command(site, "rotate", "--to", tokens.uri("hospital", key))
        assert done.returncode == 0, done.stderr
        assert tokens.PIN not in done.stdout + done.stderr
    assert (site / "keys" / "kek").read_text().startswith("pkcs11:token=hospital;object=two")
    listed = [json.loads(line) for line in command(site, "list").stdout.splitlines()]
    new = next(row["id"] for row in listed if row["key"] == "kek")
    assert [row["state"] for row in listed if row["key"] == "all"] == [f"{len(before) + 5} under {new}"]
    again = command(site, "rotate", "--to", tokens.uri("hospital", "two"))
    assert again.returncode == 3
    assert command(site, "rotate").returncode == 0, "and back into a file"
    assert await known(site) == before
    chain = [(entry["old"], entry["new"]) for entry in await told(site)]
    assert chain[0][0] == old
    assert [new for _, new in chain[:-1]] == [old for old, _ in chain[1:]]
    assert SHARED in before
