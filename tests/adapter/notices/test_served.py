"""Subscriptions of a served node: a hospital sends HL7 messages, a subscriber hears of them, on either database.

`chartbridge serve` runs in a process of its own, is killed and is stopped. fhir chapter §10; operations chapter §2
(SIGTERM), §9 (F2, F15, F50).
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapter.client import FhirClient
from adapter.sender import acknowledgement_code, send_one
from tests.adapter.api.conftest import consent
from tests.adapter.conftest import register
from tests.adapter.nodes import a08
from tests.adapter.notices.hook import OK, Hook, listening
from tests.faults.process import HOST as HERE
from tests.faults.process import Place, Served, serving
from tests.simulators.ward import client

LEAVE_S = 15.0  # operations chapter §2


@dataclass
class Scene:
    """A site, its subscriber, and the hospital's next message."""

    place: Place
    hook: Hook
    authority: Path
    sent: int = 0

    @property
    def launch(self) -> tuple[str, ...]:
        return ("-m", "tests.adapter.notices.served", str(self.authority))

    @asynccontextmanager
    async def serving(self, crash_at: str = "") -> AsyncIterator[Served]:
        async with serving(self.place.folder, crash_at, launch=self.launch) as served:
            assert await served.ready(self.place.mllp_port)
            yield served

    @property
    def ward(self) -> FhirClient:
        return client(self.place.folder, "ward")

    async def say(self) -> str:
        """An update of the patient over MLLP, accepted; the street that it names."""
        self.sent += 1
        street = f"Weg {self.sent}"
        answer = await send_one(HERE, self.place.mllp_port, a08(f"c{self.sent}", "11", street=street))
        assert acknowledgement_code(answer) == "CA"
        return street

    async def patient(self) -> str:
        found: list[Any] = []
        async with asyncio.timeout(30):
            while not found:
                answer = await self.ward.get("/Patient?identifier=urn:oid:2.999.1.4|11")
                found = answer.json().get("entry", [])
        return str(found[0]["resource"]["id"])

    async def subscribe(self, patient: str) -> str:
        content = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content"
        channel = {
            "type": "rest-hook",
            "endpoint": self.hook.url,
            "payload": "application/fhir+json",
            "_payload": {"extension": [{"url": content, "valueCode": "full-resource"}]},
        }
        wanted = {
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "to see what is new",
            "criteria": f"resource-changed?patient={patient}",
            "channel": channel,
        }
        answer = await self.ward.send("POST", "/Subscription", wanted)
        assert answer.status == 201, answer.body
        await self.until(lambda: len(self.hook.received) == 1)
        assert self.hook.received[0].status()["type"] == "handshake"
        self.hook.received.clear()
        return str(answer.json()["id"])

    async def until(self, true: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(45):
                while not true():  # noqa: ASYNC110 - what it waits for is another process's
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"the subscriber heard {len(self.hook.received)} notices, and of {self.told()}")

    def told(self) -> list[str]:
        """The streets that the subscriber was told of."""
        shown = [one.focus() for one in self.hook.received]
        return [
            one["resource"]["address"][0]["line"][0] for one in shown if one and "address" in one.get("resource", {})
        ]


@pytest.fixture
async def scene(either_place: Place, tmp_path: Path) -> AsyncIterator[Scene]:
    place = either_place
    async with listening() as hook:
        register(place.folder, hook.place)
        authority = tmp_path / "ca.pem"
        hook.authority.cert_pem.write_to_path(str(authority))
        yield Scene(place, hook, authority)


async def test_a_message_becomes_a_notice_unless_the_patient_says_no(scene: Scene) -> None:
    """The whole resource, through the gate at send time: denied in between, nothing leaves."""
    async with scene.serving():
        await scene.say()
        patient = await scene.patient()
        await scene.subscribe(patient)
        street = await scene.say()
        await scene.until(lambda: street in scene.told())
        assert any(f"/fhir/Patient/{patient}".encode() in one.body for one in scene.hook.received)

        scene.hook.answer = b"HTTP/1.1 503 Later\r\n\r\n"
        scene.hook.received.clear()
        unseen = await scene.say()
        await scene.until(lambda: bool(scene.hook.received))  # tried, and it was not there to hear it
        denied = await scene.ward.send("POST", "/Consent", consent("deny", of=patient, to=None))
        assert denied.status == 201, denied.body
        await asyncio.sleep(0.5)  # one that was on its way already has arrived
        scene.hook.received.clear()
        scene.hook.answer = OK
        waiting = await scene.say()
        number = denied.headers["location"].split("/")[-3]  # no body: the ward may not see it, either
        allowed = consent("deny", of=patient, to=None, id=number, status="inactive")
        await asyncio.sleep(3)  # longer than the rest between two tries: what is to be dropped is dropped
        assert scene.hook.received == []
        assert (await scene.ward.send("PUT", f"/Consent/{number}", allowed)).status == 200
        seen = await scene.say()
        await scene.until(lambda: seen in scene.told())
        assert not {unseen, waiting} & set(scene.told())


@pytest.mark.crash
async def test_killed_anywhere_between_a_change_and_its_notice_it_tells_after_the_restart(scene: Scene) -> None:
    """Behind the commit; with the notice in hand; with the notice sent and nothing noted."""
    async with scene.serving("commit.done:2") as served:
        await scene.say()
        await scene.subscribe(await scene.patient())
        street = await scene.say()
        assert await served.ended() == -signal.SIGKILL
    for point in ("notice.taken:1", "notice.sent:1"):
        async with serving(scene.place.folder, point, launch=scene.launch) as served:
            assert await served.ended() == -signal.SIGKILL, point
        assert len(scene.hook.received) == (point == "notice.sent:1")
    async with scene.serving():
        await scene.until(lambda: street in scene.told() and len(scene.hook.received) > 1)
        after = await scene.say()
        await scene.until(lambda: after in scene.told())
    first, again, *others = scene.hook.received
    assert (first.key, first.body) == (again.key, again.body), "sent and not noted, it goes out again as the same event"
    keys = [one.key for one in others]
    assert len({first.key, *keys}) == len(keys) + 1, "and every other once"


@pytest.mark.crash
@pytest.mark.parametrize("either_place", ["sqlite"], indirect=True)
async def test_it_leaves_in_time_while_an_endpoint_hangs_and_tells_when_it_is_back(scene: Scene) -> None:
    async def hang() -> None:
        await asyncio.sleep(60)

    async with scene.serving() as served:
        await scene.say()
        await scene.subscribe(await scene.patient())
        scene.hook.meanwhile = hang
        await scene.say()
        await scene.until(lambda: len(scene.hook.received) == 1)
        os.kill(served.pid, signal.SIGTERM)
        assert await served.ended(LEAVE_S) == 0
    scene.hook.meanwhile = None
    async with scene.serving():
        await scene.until(lambda: len(scene.hook.received) > 1)
    first, second = scene.hook.received[:2]
    assert (first.key, json.loads(first.body)) == (second.key, json.loads(second.body))
