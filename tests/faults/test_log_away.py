"""What goes on when the log cannot be written, and when its checkpoints cannot be published (ledger chapter §13).

Locked by another process, the log takes nothing: messages are acknowledged and mapped all the same, no byte of a
resource leaves, a consent is not answered; afterwards everything is logged, once. Checkpoints and public files are
what witnesses and chains build on: without them ingest, reads and revocations work as ever (promise 10).
"""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapter.node import Node, running
from adapter.sender import acknowledgement_code, send_one
from adapter.store.engine import Hot
from tests.faults import account
from tests.faults.process import HOST, Place, create
from tests.simulators import hospital
from tests.simulators.ward import client

PATIENT = "/Patient?identifier=urn:oid:2.999.1.4|4000"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return create(tmp_path / "site")


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """As a copy, a migration or a mad administrator does."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def send(place: Place, numbers: list[int]) -> list[hospital.Numbered]:
    sent = hospital.messages(0, numbers)
    for message in sent:
        answer = await send_one(HOST, place.mllp_port, message.body)
        assert acknowledgement_code(answer) == "CA"
    return sent


async def states(node: Node) -> set[str]:
    rows = await node.site.store.read(lambda conn: Hot(conn).all("SELECT state FROM message_state"))
    return {row[0] for row in rows}


async def mapped(node: Node, count: int) -> None:
    """Return once that many messages have taken effect."""
    sql = "SELECT count(*) FROM message_state"
    async with asyncio.timeout(30):
        while (await node.site.store.read(lambda conn: Hot(conn).all(sql)))[0][0] < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_log_that_cannot_append_stops_disclosure_and_nothing_else(place: Place) -> None:
    of = client(place.folder)
    async with running(place.folder) as node:
        sent = await send(place, [1])
        await node.settled()
        size = node.site.ledger.size
        with locked(place.folder / "log.sqlite3"):
            sent += await send(place, [2, 3])
            await mapped(node, 6)
            assert await states(node) == {"delivered", "mapped"}, "effects do not wait for the log"
            answer = await of.get(PATIENT)
            assert answer.status == 503
            assert answer.headers["retry-after"]
            assert json.loads(answer.body)["resourceType"] == "OperationOutcome"
            assert b"Demo" not in answer.body
        await asyncio.wait_for(node.settled(), 30)
        assert node.site.ledger.size == size + 4
        assert (await of.get(PATIENT)).status == 200
        assert await states(node) == {"delivered"}
        assert await account.violations(node, sent) == []


async def test_the_chain_never_blocks_care(place: Place) -> None:
    """No checkpoint can be published; nobody notices but the one who reads the log of the process."""
    of = client(place.folder)
    async with running(place.folder) as node:
        await node.site.ledger.integrate()
        tiles = next((place.folder / "www").glob("*")) / "tile"
        shutil.rmtree(tiles)
        tiles.write_text("in the way")
        sent = await send(place, [1, 2])
        await mapped(node, 4)
        found = json.loads((await of.get(PATIENT)).body)
        granted = await of.send("POST", "/Consent", _consent(found["entry"][0]["resource"]["id"]))
        assert granted.status == 201, granted.body
        revoked = await of.send("PUT", f"/Consent/{granted.json()['id']}", granted.json() | {"status": "inactive"})
        assert revoked.status == 200
        assert revoked.headers["x-ledger-index"]
        tiles.unlink()
        await asyncio.wait_for(node.settled(), 30)
        assert await account.violations(node, sent) == []
        published = next((place.folder / "www").glob("*/checkpoint")).read_bytes()
        assert int(published.splitlines()[1]) == node.site.ledger.size, "it catches up by itself"


def _consent(patient: str) -> dict[str, Any]:
    scope = {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}
    policy = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [scope]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{patient}"},
        "policyRule": {"coding": [policy]},
        "provision": {"type": "permit"},
    }
