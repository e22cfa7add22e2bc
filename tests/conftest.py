"""What holds for every test."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The compiler takes minutes: who waits for it begins first, while the other workers do all the rest."""
    items.sort(key=lambda item: item.get_closest_marker("native") is None)
