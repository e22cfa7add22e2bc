"""Several workers, in several processes, and writers beside them: an event is told once, and nobody waits for ever.

fhir chapter §8 (locks), §10 (subscriptions); operations chapter §4 (leases are the database's).
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapter.access.disclose import Gate
from adapter.notices.notifier import Notifier, Pace
from adapter.services import Services
from adapter.store import subscriptions
from adapter.store.subscriptions import EVENT, Notice
from tests import databases
from tests.adapter.api.conftest import observation, patient
from tests.adapter.notices.world import World

ROOT = Path(__file__).parents[3]
PROCESSES, COUNT = 2, 12


def told(here: World) -> list[str]:
    return [one.focus()["fullUrl"].rpartition("/")[2] for one in here.hook.received]  # type: ignore[index]


async def subscribed(here: World) -> dict[str, Any]:
    await here.node.put(patient())
    async with here.node.client() as ward:
        return await here.make(ward)


async def test_several_processes_tell_each_event_once_and_in_order(here: World, tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    here.hook.authority.cert_pem.write_to_path(str(authority))
    await subscribed(here)
    names = [f"o{number}" for number in range(COUNT)]
    await here.node.put(*map(observation, names))
    await here.node.stack.aclose()  # its stores: the processes below open them

    async def linger() -> None:
        await asyncio.sleep(0.03)  # so that they meet

    here.hook.meanwhile = linger
    arguments = [str(here.node.services.site), str(here.hook.port), str(authority), str(COUNT), "30"]
    command = [sys.executable, "-m", "tests.adapter.notices.teller", *arguments]
    started = [await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=dict(os.environ)) for _ in range(PROCESSES)]
    assert await asyncio.gather(*(one.wait() for one in started)) == [0] * PROCESSES
    assert told(here) == names
    assert len({one.key for one in here.hook.received}) == COUNT


@dataclass
class Stalled:
    """The gate of a worker that is held up on its way through it."""

    gate: Gate
    inside: asyncio.Event
    go: asyncio.Event

    async def disclose(self, *asked: Any, **more: Any) -> Any:
        self.inside.set()
        await self.go.wait()
        return await self.gate.disclose(*asked, **more)


async def test_a_worker_that_was_overtaken_sends_nothing_and_lets_nobody_elses_claim_go(here: World) -> None:
    await subscribed(here)
    await here.node.put(observation("o1"), observation("o2"))
    services = here.node.services
    gate = Stalled(services.gate, asyncio.Event(), asyncio.Event())
    slow: Services = replace(services, gate=gate)  # type: ignore[arg-type]
    first = asyncio.create_task(Notifier(slow, Pace(claim_s=0.1)).once())
    await gate.inside.wait()
    rid = (await here.standing()).rid
    while not await _taken(here, rid):  # noqa: ASYNC110 - a clock's matter
        await asyncio.sleep(0.02)
    gate.go.set()
    await first
    assert here.hook.received == [], "it is another's now"
    assert not await _taken(here, rid), "and stays so"


async def _taken(here: World, rid: int) -> bool:
    """Whether another worker could take it now; it does."""
    worker = Notifier(here.node.services, Pace())
    return bool(await here.node.services.store.write(lambda conn: worker._take(conn, rid)))


async def test_one_that_was_told_twice_at_once_is_counted_once(here: World) -> None:
    await subscribed(here)
    await here.node.put(observation("o1"))
    store, rid = here.node.services.store, (await here.standing()).rid
    waiting = await store.read(lambda conn: subscriptions.waiting(conn, rid))
    assert waiting is not None
    notice: Notice = waiting
    assert notice.kind == EVENT
    await asyncio.gather(
        *(store.write(lambda conn: subscriptions.done(conn, notice, 0, 1, told=True)) for _ in range(3))
    )
    assert (await here.standing()).events == 1


@pytest.mark.parametrize("both", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
async def test_a_claim_ends_by_the_databases_clock(here: World) -> None:
    """A worker whose clock is a year ahead takes nothing that another holds."""
    await subscribed(here)
    await here.node.put(observation("o1"))
    assert await _taken(here, (await here.standing()).rid)
    here.later = timedelta(days=365)
    await here.send()
    assert here.hook.received == []


@pytest.mark.parametrize("both", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
async def test_writers_clients_and_workers_never_wait_for_each_other_in_a_ring(
    here: World, server: databases.PostgresServer
) -> None:
    """Everybody locks in one order: the server has no deadlock to break up, and nothing is told twice or not at all."""
    log, mine = server.folder / "server.log", "deadlock detected"
    before = log.read_text("utf-8", "replace").count(mine)
    await here.node.put(patient(), patient("p2"))
    names = [f"o{number}" for number in range(12)]
    async with here.node.client() as ward:
        lasting = await here.make(ward)
        changing = [(await ward.post("/fhir/Subscription", json=here.subscription())).json() for _ in range(3)]

        async def write() -> None:
            for name in names:
                await here.node.put(observation(name), observation(f"x-{name}", of="p2"))

        async def change(made: dict[str, Any]) -> None:
            place = f"/fhir/Subscription/{made['id']}"
            for number in range(4):
                wanted = made | {"reason": f"reason {number}", "status": ("requested", "off")[number % 2]}
                await met(lambda wanted=wanted: ward.put(place, json=wanted))  # type: ignore[misc]
            await met(lambda: ward.delete(place))

        async def met(ask: Callable[[], Awaitable[httpx.Response]]) -> None:
            """Until it is done: a worker may have set the status between its look and its write."""
            while (answer := await ask()).status_code == 412:
                pass
            assert answer.status_code in (200, 204), answer.text

        async def send() -> None:
            while not quiet.is_set():
                await here.send()

        quiet = asyncio.Event()
        sending = [asyncio.create_task(send()) for _ in range(3)]
        await asyncio.gather(write(), *map(change, changing))
        quiet.set()
        await asyncio.gather(*sending)
        await here.send()
    assert log.read_text("utf-8", "replace").count(mine) == before
    lasting_ones = [one for one in here.hook.received if lasting["id"].encode() in one.body]
    found = [one.focus()["fullUrl"].rpartition("/")[2] for one in lasting_ones]  # type: ignore[index]
    assert found == names
