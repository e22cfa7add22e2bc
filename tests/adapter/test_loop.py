"""The loop that a service runs on (decision 0010)."""

import asyncio
import sys

import pytest

from adapter import loop


def test_without_the_faster_loop_a_service_runs_on_the_standard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop.factory() is asyncio.new_event_loop
    assert loop.run_loop(asyncio.sleep(0, "done")) == "done"


@pytest.mark.skipif(
    sys.platform == "win32" or sys.implementation.name != "cpython", reason="it is not made for this Python"
)
def test_where_it_can_be_installed_a_service_runs_on_it() -> None:
    async def kind() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert loop.run_loop(kind()) == "uvloop"
