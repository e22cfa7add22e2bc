"""A node and a subscriber for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.adapter.api.conftest import empty_site
from tests.adapter.notices.world import World, world

__all__ = ["empty_site"]


@pytest.fixture
async def here(empty_site: Path, tmp_path: Path) -> AsyncIterator[World]:
    async with world(empty_site, tmp_path / "node") as found:
        yield found
