"""Killed between any two steps, no notice is lost, and what goes out twice is the same event. fhir chapter §5, §10."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.adapter.api.conftest import patient
from tests.adapter.notices.world import World

ROOT = Path(__file__).parents[3]
COUNT = 3
POINTS = ["commit.events", "notice.taken", "notice.sent", "notice.noted"]

pytestmark = pytest.mark.crash


async def tell(here: World, authority: Path, crash_at: str = "") -> int:
    arguments = [str(here.node.services.site), str(here.hook.port), str(authority), str(COUNT), "0.2"]
    environment = {**os.environ, "CHARTBRIDGE_CRASH_AT": crash_at}
    ended = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.adapter.notices.teller", *arguments, cwd=ROOT, env=environment
    )
    return await ended.wait()


@pytest.mark.parametrize("point", POINTS)
async def test_a_kill_loses_no_notice_and_doubles_none_under_another_id(
    here: World, tmp_path: Path, point: str
) -> None:
    authority = tmp_path / "ca.pem"
    here.hook.authority.cert_pem.write_to_path(str(authority))
    await here.node.put(patient())
    async with here.node.client() as ward:
        await here.make(ward)
    await here.node.stack.aclose()  # its stores: the processes below open them
    assert await tell(here, authority, f"{point}:2") == -signal.SIGKILL
    assert await tell(here, authority) == 0
    told = here.hook.received
    assert len({one.key for one in told}) == COUNT
    assert len(told) == COUNT + (point == "notice.sent")  # only what was sent and not noted goes out again
    assert {one.body for one in told if one.key == told[0].key} == {told[0].body}
    focused = {one.focus()["fullUrl"].rpartition("/")[2] for one in told}  # type: ignore[index]
    assert focused == {f"o{number}" for number in range(COUNT)}
