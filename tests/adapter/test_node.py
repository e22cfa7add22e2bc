"""What a node refuses to start with, and which doors it opens (operations chapter §2, §4)."""

import asyncio
import socket
import stat
from pathlib import Path

import pytest

from adapter.errors import ConfigurationError, Unavailable
from adapter.http_server import check, free_port
from adapter.node import running
from adapter.sender import send_one
from adapter.settings import FILE, Http, load
from tests.adapter.nodes import HOST, a08, edit, feed, profile, send

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is refused here


def too_wide(site: Path) -> list[str]:
    files = [path for path in site.rglob("*") if path.is_file() and "www" not in path.parts]
    return [path.name for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]


async def test_one_process_serves_a_site_at_a_time(fresh_site: Path) -> None:
    async with running(fresh_site):
        with pytest.raises(Unavailable, match="another process") as caught:
            async with running(fresh_site):
                pass
    assert caught.value.exit_code == 4
    async with running(fresh_site):
        pass


@pytest.mark.parametrize("host", [EVERYWHERE, "192.0.2.1", "hospital.example"])
def test_a_bind_beyond_loopback_without_tls_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigurationError):
        check(Http(host=host, base="https://fhir.example/fhir"), tmp_path)
    check(Http(host=host, base="https://fhir.example/fhir", proxy=True), tmp_path)


def test_half_a_certificate_is_refused_even_at_home(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").touch()
    with pytest.raises(ConfigurationError, match="belong together"):
        check(Http(tls_cert_file=Path("cert.pem")), tmp_path)
    with pytest.raises(ConfigurationError, match="missing"):
        check(Http(tls_cert_file=Path("cert.pem"), tls_key_file=Path("key.pem")), tmp_path)


def test_an_address_that_nobody_can_call_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"http\.host names no host"):
        check(Http(host=EVERYWHERE, proxy=True), tmp_path)


async def test_the_check_stands_in_the_way_of_a_start(fresh_site: Path) -> None:
    edit(fresh_site / FILE, 'host = "127.0.0.1"', 'host = "0.0.0.0"\nbase = "https://fhir.example/fhir"')
    with pytest.raises(ConfigurationError, match="without TLS"):
        async with running(fresh_site):
            pass


async def test_a_port_that_is_taken_is_named(fresh_site: Path) -> None:
    with socket.create_server((HOST, load(fresh_site).http.port)):
        with pytest.raises(Unavailable, match="cannot be opened") as caught:
            async with running(fresh_site):
                pass
    assert caught.value.hint == "set http.port"


@pytest.mark.parametrize("state", ["draining", "stopped"])
async def test_a_feed_that_takes_nothing_has_its_port_closed(fresh_site: Path, state: str) -> None:
    port = free_port(HOST)
    edit(fresh_site / "feeds" / "main.toml", "port = 0", f"port = {port}")
    feed(fresh_site, f'state = "{state}"')
    async with running(fresh_site) as node:
        assert node.listeners == {}
        with pytest.raises(Unavailable):
            await send_one(HOST, port, a08("1", "11"), timeout_s=2)


async def test_a_profile_that_cannot_be_used_is_a_configuration_error(fresh_site: Path) -> None:
    profile(fresh_site, 'name = "mine"\nextends = "default"\nnamespce = "x"\n', "mine")
    with pytest.raises(ConfigurationError, match="did you mean namespace") as caught:
        async with running(fresh_site):
            pass
    assert caught.value.exit_code == 3


async def test_what_a_running_node_writes_is_private(fresh_site: Path) -> None:
    async with running(fresh_site) as node:
        await send(node, a08("1", "11"))
        assert too_wide(fresh_site) == []


async def test_whoever_waits_for_a_node_that_failed_is_told(fresh_site: Path) -> None:
    async with running(fresh_site) as node:
        node.pipeline._open.add(0)  # a message that never comes to an end
        waiting = asyncio.create_task(node.settled())
        await asyncio.sleep(0.1)
        node.failed.set_exception(Unavailable("lost"))
        with pytest.raises(Unavailable, match="lost"):
            await asyncio.wait_for(waiting, 10)
