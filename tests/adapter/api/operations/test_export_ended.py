"""An export that is cancelled or killed while it is made: nothing half is shown, nothing stays, nothing stands twice.

FHIR Bulk Data Access IG 2.0 (delete request); fhir chapter §10; operations chapter §9 (F2, F54).
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from typing import Any

import pytest

from adapter.client import FhirClient
from adapter.exporting import Exports
from adapter.store.engine import Hot
from mappings.fhir.codec import decode
from tests.adapter.api.conftest import Node, observation, patient
from tests.adapter.api.operations.test_export import begin, exported, fetch, fill, manifest
from tests.adapter.conftest import register
from tests.faults.process import Place, serving
from tests.simulators.ward import client

PATIENTS = 120  # more than two batches


class Held:
    """Decides about owners when it is told to go on."""

    def __init__(self, permitting: Any) -> None:
        self._permitting = permitting
        self.inside, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, *asked: Any) -> Any:
        self.inside.set()
        await self.go.wait()
        return await self._permitting(*asked)


def held_in(node: Node, monkeypatch: pytest.MonkeyPatch) -> Held:
    """What this node exports waits where it is decided what of it may leave."""
    made = Held(node.services.gate.permitting)
    monkeypatch.setattr(node.services.gate, "permitting", made)
    return made


async def rows(node: Node) -> int:
    found = await node.services.store.read(lambda conn: Hot(conn).one("SELECT count(*) FROM job"))
    assert found is not None
    return int(found[0])


@pytest.mark.usefixtures("both")
async def test_one_that_is_cancelled_while_it_is_made_leaves_nothing(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapter.exporting.BATCH", 1)
    await fill(node)
    held = held_in(node, monkeypatch)
    async with node.client() as ward:
        job = await begin(ward)
        await held.inside.wait()
        assert (await ward.get(job)).status_code == 202
        assert (await ward.get(f"{job}/0")).status_code == 404, "no file before all are there"
        assert (await ward.delete(job)).status_code == 202
        held.go.set()
        for path in (job, f"{job}/0"):
            assert (await ward.get(path)).status_code == 404
        assert (await ward.delete(job)).status_code == 404
        assert await exported(ward) == {"Patient": ["p1", "p2"], "Observation": ["o1", "o2"]}, "and the next is made"
        assert await rows(node) == 1 + 2  # the second job's own: of the first nothing came back


@pytest.mark.usefixtures("both")
async def test_cancelled_between_any_two_of_its_steps_it_leaves_nothing(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, in every order that there is: the worker keeps a part while the client cancels."""
    monkeypatch.setattr("adapter.exporting.BATCH", 1)
    await node.put(*(patient(f"p{n}") for n in range(6)))
    async with node.client() as ward:
        for pause in range(8):
            job = await begin(ward)
            for _ in range(4 * pause):
                await asyncio.sleep(0)
            await asyncio.sleep(0.002 * pause)
            assert (await ward.delete(job)).status_code == 202
            assert (await ward.get(job)).status_code == 404
        await settled(node.services.exports)
        assert await rows(node) == 0


async def settled(exports: Exports) -> None:
    assert exports._task is not None
    await asyncio.wait({exports._task})


def beside(node: Node) -> Exports:
    """The exports of another process of the same site."""
    services = node.services
    return Exports(services.store, services.keyring, services.gate, services.ledger.now, os.urandom)


async def stamps(node: Node) -> list[int]:
    found = await node.services.store.read(lambda conn: Hot(conn).all("SELECT stamp FROM job WHERE kind = 'export'"))
    return [row[0] for row in found]


@pytest.mark.postgres
@pytest.mark.parametrize("both", ["postgres"], indirect=True)
@pytest.mark.usefixtures("both")
async def test_a_job_that_runs_well_is_left_to_its_process(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(node)
    held = held_in(node, monkeypatch)
    other = beside(node)
    async with node.client() as ward:
        job = await begin(ward)
        await held.inside.wait()
        for _ in range(5):
            other.wake()
            await asyncio.sleep(0.05)
        assert await stamps(node) == [1]
        held.go.set()
        await manifest(ward, job)
        assert await stamps(node) == [1]
    await other.close()


@pytest.mark.postgres
@pytest.mark.parametrize("both", ["postgres"], indirect=True)
@pytest.mark.usefixtures("both")
async def test_a_job_whose_process_is_gone_is_taken_over(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapter.exporting.STILL_S", 0.1)
    await fill(node)
    held = held_in(node, monkeypatch)
    other = beside(node)
    async with node.client() as ward:
        job = await begin(ward)
        await held.inside.wait()
        await node.services.exports.close()
        held.go.set()
        other.wake()
        async with asyncio.timeout(10):
            await settled(other)
        assert await stamps(node) == [2]
        assert await fetch(ward, await manifest(ward, job)) == {"Patient": ["p1", "p2"], "Observation": ["o1", "o2"]}


# --- killed ----------------------------------------------------------------------------------------------------------


async def filled(of: FhirClient) -> None:
    numbers = range(PATIENTS)
    people = [*(patient(f"p{n}") for n in numbers), *(observation(f"o{n}", of=f"p{n}") for n in numbers)]
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}} for one in people
    ]
    answer = await of.send("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status == 200, answer.body


async def fetched(of: FhirClient, job: str) -> dict[str, list[str]]:
    """What is in the files once the job is done, by type, as often as it is there."""
    async with asyncio.timeout(60):
        while (answer := await of.get(job)).status == 202:  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.05)
    assert answer.status == 200, answer.body
    found: dict[str, list[str]] = {}
    for file in decode(answer.body)["output"]:
        lines: Sequence[bytes] = (await of.get(file["url"].partition("/fhir")[2])).body.splitlines()
        found.setdefault(file["type"], []).extend(decode(line)["id"] for line in lines)
    return {kind: sorted(ids) for kind, ids in found.items()}


@pytest.mark.crash
async def test_killed_while_it_is_made_it_goes_on_and_holds_everyone_once(either_place: Place) -> None:
    """Behind the first of three batches, with the second decided; then behind that one; then it is left alone."""
    place = either_place
    register(place.folder)
    of = client(place.folder, "ward")
    async with serving(place.folder, "export.decided:2") as served:
        assert await served.ready(place.http_port)
        await filled(of)
        begun = await of.get("/Patient/$export", Prefer="respond-async")
        assert begun.status == 202, begun.body
        job = begun.headers["content-location"].partition("/fhir")[2]
        assert await served.ended() == -signal.SIGKILL
    async with serving(place.folder, "export.kept:1") as served:
        assert await served.ended() == -signal.SIGKILL, "it went on by itself"
    async with serving(place.folder) as served:
        assert await served.ready(place.http_port)
        found = await fetched(of, job)
    numbers = range(PATIENTS)
    assert found == {
        "Patient": sorted(f"p{n}" for n in numbers), "Observation": sorted(f"o{n}" for n in numbers)
    }  # fmt: skip
