"""A real site for each test, copied from one that is made once."""

from pathlib import Path

import pytest

from tests.adapter import nodes


@pytest.fixture(scope="session")
def made_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nodes.make(tmp_path_factory.mktemp("made") / "site")


@pytest.fixture
def fresh_site(made_site: Path, tmp_path: Path) -> Path:
    return nodes.copy(made_site, tmp_path / "site")
