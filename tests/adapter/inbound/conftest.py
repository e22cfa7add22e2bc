"""Fixtures over `site.py`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.adapter.inbound import site as sites
from tests.adapter.inbound.site import Site

OpenSite = Callable[[], Awaitable[Site]]


@pytest.fixture
async def open_site(tmp_path: Path) -> AsyncIterator[OpenSite]:
    """Opens the site of this test; again, once it was closed, as a restart would."""
    await sites.create_site(tmp_path)
    opened: list[Site] = []

    async def open_one() -> Site:
        opened.append(await sites.open_site(tmp_path))
        return opened[-1]

    yield open_one
    for site in opened:
        await sites.close_site(site)


@pytest.fixture
async def site(open_site: OpenSite) -> Site:
    return await open_site()
