"""The command line, and a site on which things have happened."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapter.cli.console import OPTIONS
from tests.adapter import nodes
from tests.adapter.cli.command import Command
from tests.adapter.nodes import STRANGE, STRICT, a08, node_with, profile


@pytest.fixture(autouse=True)
def _options() -> Iterator[None]:
    yield
    OPTIONS.site, OPTIONS.json, OPTIONS.quiet = None, False, False


@pytest.fixture(scope="session")
def lived_in(made_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with one delivered, one quarantined, one held, one duplicate and one refused message."""
    site = nodes.copy(made_site, tmp_path_factory.mktemp("lived") / "site")
    profile(site, STRICT, "strict")
    bodies = [
        a08("1", "11"),
        a08("2", "12", sender=STRANGE),
        a08("3", "12"),
        a08("1", "11"),
        a08("5", "13", processing="T"),
    ]

    async def live() -> None:
        async with node_with(site, bodies):
            pass

    asyncio.run(live())
    return site


@pytest.fixture
def plain(capsys: pytest.CaptureFixture[str]) -> Command:
    """Without a site."""
    return Command(capsys)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], lived_in: Path, tmp_path: Path) -> Command:
    """On a copy of the site that has been lived in."""
    return Command(capsys, Path(shutil.copytree(lived_in, tmp_path / "site")))
