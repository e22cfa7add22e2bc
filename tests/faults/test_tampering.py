"""Rows changed under a running node: what was sealed either opens as it was or is an error, never something else.

A changed, moved or swapped body answers 503 with an OperationOutcome and nothing of anybody; its neighbours are read as
before. A changed message is quarantined and its neighbours pass; what the log is owed and cannot be opened ends the
node, which must not go on without its log. Fhir chapter §5; operations chapter §9 (F34).
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapter.errors import IntegrityFault
from adapter.inbound.mllp import frame
from adapter.node import Node, running
from adapter.sender import send_one
from adapter.store import messages
from tests.faults.process import HOST, Place, create, serving
from tests.simulators import hospital
from tests.simulators.ward import client


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return create(tmp_path / "site")


@asynccontextmanager
async def two_patients(place: Place) -> AsyncIterator[Node]:
    async with running(place.folder) as node:
        for patient in (0, 1):
            for message in hospital.messages(patient, [1, 2]):
                await send_one(HOST, place.mllp_port, message.body)
        await node.settled()
        yield node


@contextmanager
def opened(place: Place, name: str = "data.sqlite3") -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(place.folder / name, isolation_level=None)) as connection:
        yield connection


def patients(connection: sqlite3.Connection) -> list[int]:
    """The row numbers of the patients with content."""
    return [rid for (rid,) in connection.execute("SELECT rid FROM resource WHERE type = 'Patient' AND ver = 2")]


def flip(connection: sqlite3.Connection, rid: int) -> None:
    (body,) = connection.execute("SELECT body FROM version WHERE rid = ? AND ver = 2", (rid,)).fetchone()
    changed = body[:40] + bytes([body[40] ^ 1]) + body[41:]
    connection.execute("UPDATE version SET body = ? WHERE rid = ? AND ver = 2", (changed, rid))


def swap_patients(connection: sqlite3.Connection, rid: int) -> None:
    first, second = patients(connection)
    body = "SELECT body FROM version WHERE rid = ? AND ver = 2"
    bodies = [connection.execute(body, (one,)).fetchone()[0] for one in (first, second)]
    for one, other in zip((second, first), bodies, strict=True):
        connection.execute("UPDATE version SET body = ? WHERE rid = ? AND ver = 2", (other, one))


def swap_versions(connection: sqlite3.Connection, rid: int) -> None:
    """Her own older state, under her own key, in the place of the newer one."""
    older = "(SELECT body FROM version WHERE rid = ? AND ver = 1)"
    connection.execute(f"UPDATE version SET body = {older} WHERE rid = ? AND ver = 2", (rid, rid))  # noqa: S608


def give_away(connection: sqlite3.Connection, rid: int) -> None:
    """Name another patient as its owner: her consents would open it."""
    (other,) = set(patients(connection)) - {rid}
    owner = "(SELECT owner FROM resource WHERE rid = ?)"
    for table in ("version", "resource"):
        connection.execute(f"UPDATE {table} SET owner = {owner} WHERE rid = ?", (other, rid))  # noqa: S608


def strip(connection: sqlite3.Connection, rid: int) -> None:
    """Plain JSON in the place of the sealed body."""
    body = b'{"resourceType":"Patient","id":"x","name":[{"family":"Forged"}]}'
    connection.execute("UPDATE version SET body = ? WHERE rid = ? AND ver = 2", (body, rid))


@pytest.mark.parametrize("tamper", [flip, swap_patients, swap_versions, give_away, strip])
async def test_a_changed_row_is_an_error_and_never_another_answer(place: Place, tamper: Any) -> None:
    async with two_patients(place):
        of = client(place.folder)
        found = [json.loads((await of.get(f"/Patient?identifier=urn:oid:2.999.1.4|{4000 + n}")).body) for n in (0, 1)]
        names = [bundle["entry"][0]["resource"]["id"] for bundle in found]
        with opened(place) as connection:
            before = [(await of.get(f"/Patient/{name}")).body for name in names]
            tamper(connection, patients(connection)[0])
        answers = [await of.get(f"/Patient/{name}") for name in names]
        damaged = [answer for answer in answers if answer.status != 200]
        assert {answer.status for answer in damaged} == {503}
        for answer in damaged:
            outcome = json.loads(answer.body)
            assert outcome["resourceType"] == "OperationOutcome"
            assert b"Demo" not in answer.body
            assert b"Forged" not in answer.body
        shown = [answer.body for answer in answers if answer.status == 200]
        assert set(shown) <= set(before), "what is shown is what was written"
        assert len(shown) == (0 if tamper is swap_patients else 1)


async def accepted_only(place: Place) -> None:
    """Eight messages of eight patients, durable and not yet processed."""
    wire = b"".join(frame(hospital.messages(patient, [1])[0].body) for patient in range(8))
    async with serving(place.folder, "commit.begin:1") as served:
        assert await served.ready(place.mllp_port)
        _, writer = await asyncio.open_connection(HOST, place.mllp_port)
        writer.write(wire)
        await served.ended()
        writer.close()


async def test_a_changed_message_is_quarantined_and_its_neighbours_pass(place: Place) -> None:
    await accepted_only(place)
    with opened(place, "journal.sqlite3") as journal:
        for (name,) in journal.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name != 'message_part'"
        ).fetchall():
            journal.execute(f"DROP TRIGGER {name}")
        assert journal.execute("SELECT count(*) FROM message").fetchone() == (8,)
        journal.execute("UPDATE message SET body = zeroblob(length(body)) WHERE seq = 3")
    async with running(place.folder) as node:
        await asyncio.wait_for(node.settled(), 30)
        states = await node.site.store.read(lambda conn: [messages.state(conn, "hosp", seq) for seq in range(1, 9)])
    assert [state.state for state in states if state is not None and state.seq != 3] == ["delivered"] * 7
    changed = states[2]
    assert changed is not None
    assert (changed.state, changed.code) == ("quarantined", "content-altered")


async def test_what_the_log_is_owed_and_cannot_be_opened_ends_the_node(place: Place) -> None:
    await accepted_only(place)
    async with serving(place.folder, "deliver.logged:1") as served:
        await served.ended()
    with opened(place) as data:
        assert data.execute("UPDATE outbox SET payload = zeroblob(length(payload)) WHERE ref IS NULL").rowcount
    async with running(place.folder) as node:
        with pytest.raises(IntegrityFault, match="sealed body"):
            await asyncio.wait_for(node.failed, 30)
