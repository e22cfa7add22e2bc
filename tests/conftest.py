"""What holds for every test."""

from collections.abc import Iterator

import pytest

from tests import databases


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The compiler takes minutes: who waits for it begins first, while the other workers do all the rest."""
    items.sort(key=lambda item: item.get_closest_marker("native") is None)


@pytest.fixture(scope="session")
def server() -> Iterator[databases.PostgresServer]:
    """A PostgreSQL server, started when the first test asks for it."""
    with databases.running() as started:
        yield started
