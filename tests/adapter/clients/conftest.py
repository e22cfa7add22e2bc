"""A node whose public address is a free port of this machine: clients follow links to where they lead."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from adapter import http_server
from adapter.settings import Settings
from tests.adapter.api.conftest import Node, empty_site, start

__all__ = ["empty_site"]  # the fixture, for these files

TOKEN_URL = "https://id.example/token"


@pytest.fixture
async def node(empty_site: Path, tmp_path: Path) -> AsyncIterator[Node]:
    async with AsyncExitStack() as stack:
        yield await start(stack, empty_site, tmp_path / "node", _reachable)


def _reachable(settings: Settings) -> Settings:
    http = settings.http.model_copy(update={"port": http_server.free_port("127.0.0.1")})
    access = settings.access.model_copy(update={"token_url": TOKEN_URL})
    return settings.model_copy(update={"http": http, "access": access})
