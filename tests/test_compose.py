"""`compose.yaml`, `compose.roles.yaml` and the image's command: what they set is known, and what they run comes up.

No container is built or started here: the commands run on this machine, under the environment that the files give them.
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from adapter.http_server import free_port
from adapter.settings import PREFIX, known_keys
from tests import databases

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"
READY_S = 90.0
HEALTH = f"{PREFIX}HTTP__HEALTH_PORT"
STORES = ("store", "ledger", "vault")
FILES = {name: yaml.safe_load((ROOT / name).read_text("utf-8")) for name in ("compose.yaml", "compose.roles.yaml")}


def environment(file: str, service: str) -> dict[str, str]:
    below = FILES["compose.yaml"]["services"].get(service, {}).get("environment", {})
    return {**below, **FILES[file]["services"][service].get("environment", {})}


def services() -> Iterator[tuple[str, str]]:
    return ((file, name) for file, parsed in FILES.items() for name in parsed["services"])


@pytest.mark.parametrize(("file", "service"), list(services()))
def test_every_variable_is_a_setting(file: str, service: str) -> None:
    names = [name for name in environment(file, service) if name.startswith(PREFIX)]
    known = {PREFIX + key.upper().replace(".", "__") for key in known_keys()}
    assert set(names) <= known


def test_no_password_has_a_default_and_nothing_runs_with_more_rights_than_it_needs() -> None:
    for file, name in services():
        service: dict[str, Any] = FILES[file]["services"][name]
        for value in map(str, service.get("environment", {}).values()):
            assert re.findall(r"\$\{\w*PASSWORD(?!:\?)", value) == []
        if name in ("app", "mllp", "worker", "anchor") and "image" not in service and "build" in service:
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")


def command(file: str, service: str) -> list[str]:
    given = FILES[file]["services"][service].get("command")
    if given is None:
        (line,) = re.findall(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
        given = yaml.safe_load(line)
    return [word.replace("$$", "$") for word in given]


@asynccontextmanager
async def up(file: str, service: str, place: dict[str, str], log: Path) -> AsyncIterator[None]:
    """A service's command under its environment, with this machine's places for the network's; ready."""
    own = {name: value for name, value in environment(file, service).items() if "__URL" not in name}
    own["CHARTBRIDGE_HTTP__BASE"] = place["CHARTBRIDGE_HTTP__BASE"]
    port = free_port(HOST)
    own[HEALTH if HEALTH in own else f"{PREFIX}HTTP__PORT"] = str(port)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, **place, **own, "PATH": path, "PYTHONPATH": str(ROOT)}
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command(file, service), env=env, stdout=output, stderr=output, cwd=log.parent
        )
    try:
        async with asyncio.timeout(READY_S), httpx.AsyncClient() as client:
            while True:
                assert process.returncode is None, service
                try:
                    if (await client.get(f"http://{HOST}:{port}/readyz")).status_code == 200:
                        break
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.1)
        yield
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 15) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.postgres
async def test_the_commands_make_the_site_and_come_up(server: databases.PostgresServer, tmp_path: Path) -> None:
    """The image's own first, which makes the site; then a role's, on what it made. The others differ in one word."""
    name = f"compose_{free_port(HOST)}"
    for section in STORES:
        server.sql(f"CREATE DATABASE {name}_{section}")
    place = {f"{PREFIX}{section.upper()}__URL": server.url(f"{name}_{section}") for section in STORES}
    place |= {"CHARTBRIDGE_SITE": str(tmp_path / "site"), "CHARTBRIDGE_HTTP__BASE": f"http://{HOST}:8080/fhir"}
    async with up("compose.yaml", "app", place, tmp_path / "log"):
        assert (tmp_path / "site" / "chartbridge.toml").is_file()
    async with up("compose.roles.yaml", "worker", place, tmp_path / "log"):
        pass
    roles = {
        name: command("compose.roles.yaml", name)[-1].split()[-1] for name in FILES["compose.roles.yaml"]["services"]
    }
    assert roles == {"app": "api", "mllp": "mllp", "worker": "worker", "anchor": "anchor"}
