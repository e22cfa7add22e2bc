"""A plugin of pytest for runs that mean the compiled packages: any other end at once."""

import pytest

from adapter.compiled import is_compiled


def pytest_sessionstart() -> None:
    if not is_compiled():
        pytest.exit("these are not the compiled packages", returncode=1)
