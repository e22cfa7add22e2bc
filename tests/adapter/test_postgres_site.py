"""A whole node whose stores lie on PostgreSQL, its data alone or log and vault too: made, served, checked, verified;
and its server away while it runs (F5, F6).

Source: operations chapter §2, §5 (health), §9; ledger chapter §15.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adapter.data_place import data_place
from adapter.doctor import examine
from adapter.errors import ConfigurationError
from adapter.files import write_private
from adapter.http_server import free_port
from adapter.key_acts import rotate
from adapter.ledger_view import check_all, replay_site, status, viewing
from adapter.node import Node, running
from adapter.settings import FILE, load, parse
from adapter.site import create, open_site
from adapter.store import messages
from adapter.store.engine import Server
from adapter.upgrade import check, upgrade
from ledger.errors import IntegrityError
from ledger.event import decode
from ledger.export import export
from ledger.note import Ed25519Verifier
from ledger.verify import Trusted, verify_folder
from tests import databases
from tests.adapter.nodes import HOST, a08, send, states

pytestmark = pytest.mark.postgres


STORES = ("store", "ledger", "vault")


@pytest.fixture(scope="module")
def one() -> Iterator[databases.PostgresServer]:
    with databases.running() as started:
        yield started


@pytest.fixture
def own(one: databases.PostgresServer) -> Iterator[databases.PostgresServer]:
    """A server with empty databases, which a test may stop. (One that was started in a thread ends with that.)"""
    if one.process is None:
        one.start()
    begun = one.process
    for name in ("site", *STORES[1:]):
        one.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        one.sql(f"CREATE DATABASE {name}")
    yield one
    if one.process is not begun:
        one.stop()


@pytest.fixture(params=[STORES[:1], STORES], ids=len)
def served(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Which stores of the site lie on the server."""
    found: tuple[str, ...] = request.param
    return found


@pytest.fixture
def site(own: databases.PostgresServer, tmp_path: Path, served: tuple[str, ...]) -> Path:
    write_private(tmp_path / "url", own.url("site").encode() + b"\n")
    for name in STORES[1:]:
        write_private(tmp_path / name, own.url(name).encode())
    files = {name: tmp_path / ("url" if name == "store" else name) for name in served}
    return create(
        tmp_path / "site",
        org="stadtklinik",
        name="Stadtklinik",
        http_port=free_port(HOST),
        mllp_port=0,
        url_files=files,
    )


async def health(node: Node) -> tuple[int, int, list[str]]:
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{node.http_port}") as client:
        live, ready = await client.get("/livez"), await client.get("/readyz")
        return live.status_code, ready.status_code, ready.json()["failing"]


async def test_a_node_works_goes_without_and_goes_on(
    site: Path, own: databases.PostgresServer, served: tuple[str, ...]
) -> None:
    away = ["store"] if len(served) == 1 else ["store", "log", "vault"]
    async with running(site) as node:
        assert await send(node, a08("1", "11"), a08("2", "12")) == ["CA", "CA"]
        assert await states(node) == {1: messages.DELIVERED, 2: messages.DELIVERED}
        assert await health(node) == (200, 200, [])

        await asyncio.to_thread(own.stop)
        assert await health(node) == (200, 503, away)

        await asyncio.to_thread(own.start)
        async with asyncio.timeout(20):
            while await health(node) != (200, 200, []):  # noqa: ASYNC110 - a write that failed is believed for a moment
                await asyncio.sleep(0.1)
        assert await send(node, a08("3", "13")) == ["CA"]
        assert (await states(node))[3] == messages.DELIVERED
    assert not (site / "data.sqlite3").exists()
    assert (site / "log.sqlite3").exists() == (site / "vault" / "vault.sqlite3").exists() == (len(served) == 1)
    assert own.sql("SELECT count(*) FROM resource WHERE type = 'Patient'", "site") == "3"


def test_db_and_doctor_look_at_the_database(site: Path) -> None:
    assert {stand.state for stand in check(site)} == {"current"}
    assert {stand.state for stand in upgrade(site)} == {"current"}
    found = {finding.check: finding.state for finding in examine(site)}
    assert {found[check] for check in ("data store", "log and vault", "keyring", "checkpoint", "last entries")} == {
        "ok"
    }


EVERYTHING = pytest.mark.parametrize("served", [STORES], ids=len, indirect=True)


@EVERYTHING
async def test_the_log_is_signed_proven_exported_verified_replayed_and_checked(site: Path, tmp_path: Path) -> None:
    async with running(site) as node:
        assert await send(node, a08("1", "11"), a08("2", "12")) == ["CA", "CA"]
        await node.settled()
    async with viewing(site) as view:
        found = await status(view)
        assert found.size == found.signed == found.published > 8
        done = await check_all(view, sweep=False)
        assert (done.faults, done.entries) == ([], found.size)
        proof, body = await view.receipt("2026:8".replace("2026", view.shard))
        proof.verify(body, view.signer.name, Ed25519Verifier.of(view.signer.vkey))
        await export(view.log, view.signer, tmp_path / "kit")
    assert verify_folder(tmp_path / "kit", Trusted(view.signer.vkey)).exit_code == 0
    assert (await replay_site(site)).entries == found.size


@EVERYTHING
async def test_keys_are_rotated_in_the_database(site: Path) -> None:
    async with running(site) as node:
        await send(node, a08("1", "11"))
    done = await rotate(site, "", "test")
    async with open_site(site) as opened:
        assert await opened.vault.wrapped_by(opened.org) == {done.new: done.count}
        kinds = [decode(entry.body)["type"] for entry in await opened.ledger.entries(0, opened.ledger.size)]
    assert kinds[-2:] == ["operator.acted", "key.rotated"]


@EVERYTHING
@pytest.mark.parametrize("name", STORES[1:])
async def test_another_sites_database_is_refused(site: Path, own: databases.PostgresServer, name: str) -> None:
    own.sql("UPDATE meta SET value = repeat('0', 32) WHERE key = 'pairing'", name)
    with pytest.raises(IntegrityError, match="another node"):
        async with open_site(site):
            pass
    assert {stand.store: stand.exit_code for stand in await asyncio.to_thread(check, site)} == {
        "journal": 0, "data": 0, "vault": 0, "log": 0, {"ledger": "log"}.get(name, name): 7,
    }  # fmt: skip


@EVERYTHING
def test_what_is_away_is_told_as_away(site: Path, own: databases.PostgresServer) -> None:
    own.stop()
    found = {finding.check: finding.exit_code for finding in examine(site) if finding.state == "fail"}
    assert found == {"journal": 4, "data store": 4, "log and vault": 4}
    assert [stand.exit_code for stand in check(site)] == [4, 4, 4, 4]


def test_the_vault_has_a_database_of_its_own(own: databases.PostgresServer, tmp_path: Path) -> None:
    write_private(tmp_path / "vault", own.url("vault").encode())
    write_private(tmp_path / "none", own.url("nowhere").encode())
    both = {"vault": tmp_path / "vault", "ledger": tmp_path / "vault"}
    with pytest.raises(IntegrityError, match="holds tables already"):
        create(tmp_path / "site", org="stadtklinik", name="Stadtklinik", url_files=both)
    with pytest.raises(ConfigurationError, match="refuses this user or database") as caught:
        create(tmp_path / "other", org="stadtklinik", name="Stadtklinik", url_files={"ledger": tmp_path / "none"})
    assert caught.value.hint == "check ledger.url_file"


def test_the_urls_may_come_from_the_environment(
    own: databases.PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in STORES[1:]:
        monkeypatch.setenv(f"CHARTBRIDGE_{name.upper()}__URL", own.url(name))
    site = create(tmp_path / "site", org="stadtklinik", name="Stadtklinik")
    assert own.sql("SELECT size FROM head", "ledger") == "7"
    assert own.sql("SELECT count(*) FROM org_key", "vault") == "2"
    settings = load(site)
    assert "postgresql" not in repr(settings) + settings.model_dump_json() + (site / FILE).read_text()
    for before, section in (("[ledger]\n", "ledger"), ("[vault]\n", "vault")):
        text = (site / FILE).read_text().replace(before, "") + f'[{section}]\nurl = "postgresql://a:geheim@b/c"\n'
        with pytest.raises(ConfigurationError, match=rf"{section}\.url is a secret"):
            parse(text)


def test_the_url_is_read_from_a_private_file_and_from_nowhere_that_others_see(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "url").chmod(0o644)
    with pytest.raises(ConfigurationError, match="open to others"):
        data_place(site, load(site))
    (tmp_path / "url").chmod(0o600)
    (tmp_path / "url").write_text("mysql://geheim")
    with pytest.raises(ConfigurationError, match="no postgresql:// URL") as caught:
        data_place(site, load(site))
    assert "geheim" not in caught.value.text
    text = (site / FILE).read_text()
    with pytest.raises(ConfigurationError, match="secret"):
        parse(text.replace("[store]", '[store]\nurl = "postgresql://a:geheim@b/c"'))
    monkeypatch.setenv("CHARTBRIDGE_STORE__URL", "postgresql://a:geheim@b/c")
    settings = load(site)
    assert data_place(site, settings) == Server("postgresql://a:geheim@b/c")
    assert "geheim" not in repr(settings) + settings.model_dump_json()
