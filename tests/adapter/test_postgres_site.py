"""A whole node whose data lies on PostgreSQL: made, served, checked; and its server away while it runs (F5, F6).

Source: operations chapter §2, §5 (health), §9.
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
from adapter.node import Node, running
from adapter.settings import FILE, load, parse
from adapter.site import create
from adapter.store import messages
from adapter.store.engine import Server
from adapter.upgrade import check, upgrade
from tests import databases
from tests.adapter.nodes import HOST, a08, send, states

pytestmark = pytest.mark.postgres


@pytest.fixture
def own() -> Iterator[databases.PostgresServer]:
    with databases.running("fsync=on", "full_page_writes=on") as started:
        started.sql("CREATE DATABASE site")
        yield started


@pytest.fixture
def site(own: databases.PostgresServer, tmp_path: Path) -> Path:
    write_private(tmp_path / "url", own.url("site").encode() + b"\n")
    return create(
        tmp_path / "site",
        org="stadtklinik",
        name="Stadtklinik",
        http_port=free_port(HOST),
        mllp_port=0,
        url_file=tmp_path / "url",
    )


async def health(node: Node) -> tuple[int, int, list[str]]:
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{node.http_port}") as client:
        live, ready = await client.get("/livez"), await client.get("/readyz")
        return live.status_code, ready.status_code, ready.json()["failing"]


async def test_a_node_works_goes_without_and_goes_on(site: Path, own: databases.PostgresServer) -> None:
    async with running(site) as node:
        assert await send(node, a08("1", "11"), a08("2", "12")) == ["CA", "CA"]
        assert await states(node) == {1: messages.DELIVERED, 2: messages.DELIVERED}
        assert await health(node) == (200, 200, [])

        await asyncio.to_thread(own.stop)
        assert await health(node) == (200, 503, ["store"])

        await asyncio.to_thread(own.start)
        assert await health(node) == (200, 200, [])
        assert await send(node, a08("3", "13")) == ["CA"]
        assert (await states(node))[3] == messages.DELIVERED
    assert not (site / "data.sqlite3").exists()
    assert own.sql("SELECT count(*) FROM resource WHERE type = 'Patient'", "site") == "3"


def test_db_and_doctor_look_at_the_database(site: Path) -> None:
    assert {stand.state for stand in check(site)} == {"current"}
    assert {stand.state for stand in upgrade(site)} == {"current"}
    found = {finding.check: finding.state for finding in examine(site)}
    assert found["data store"] == "ok"


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
