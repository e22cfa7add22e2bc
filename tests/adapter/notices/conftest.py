"""A node and a subscriber for each test, whose data lies on the one database or the other."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.adapter.api.conftest import both, empty_site
from tests.adapter.notices.world import World, world

__all__ = ["both", "empty_site"]


@pytest.fixture
async def here(both: None, empty_site: Path, tmp_path: Path) -> AsyncIterator[World]:
    async with world(empty_site, tmp_path / "node") as found:
        yield found
