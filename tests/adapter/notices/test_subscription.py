"""Subscription as a resource: its client's own, to listed public endpoints, about patients it sees. R4 Subscription."""

from typing import Any

import pytest

from adapter.notices.endpoint import is_public
from adapter.notices.wanted import CONTENT
from tests.adapter.api.conftest import Json, consent, observation, patient
from tests.adapter.notices.world import World

PREFERRED = [
    ("return=representation", "Subscription"),
    ("return=OperationOutcome", "OperationOutcome"),
    ("return=minimal", None),
]


def places(body: Json) -> list[str]:
    return [place for issue in body["issue"] for place in issue.get("expression", ())]


async def test_it_is_created_read_changed_and_deleted_by_its_own_client(here: World) -> None:
    await here.node.put(patient())
    async with here.node.client() as ward:
        made = await ward.post("/fhir/Subscription", json=here.subscription())
        assert made.status_code == 201
        place = f"/fhir/Subscription/{made.json()['id']}"
        assert made.headers["location"].endswith(f"{place}/_history/1")
        assert "x-ledger-index" in made.headers
        changed = await ward.put(
            place, json=made.json() | {"reason": "another"}, headers={"if-match": made.headers["etag"]}
        )
        assert (changed.status_code, changed.headers["etag"]) == (200, 'W/"2"')
        assert (await ward.put(place, json=made.json(), headers={"if-match": 'W/"1"'})).status_code == 412
        off = await ward.put(place, json=changed.json() | {"status": "off"})
        assert off.json()["status"] == "off"
        await here.send()
        assert here.hook.received == []
        assert (await ward.delete(place)).status_code == 204
        assert (await ward.delete(place)).status_code == 204
        assert (await ward.get(place)).status_code == 410
        assert (await ward.put(place, json=made.json())).status_code == 404


@pytest.mark.parametrize(("prefer", "answered"), PREFERRED)
async def test_a_writer_gets_back_what_it_prefers(here: World, prefer: str, answered: str | None) -> None:
    await here.node.put(patient())
    async with here.node.client() as ward:
        made = await ward.post("/fhir/Subscription", json=here.subscription(), headers={"Prefer": prefer})
        place = "/fhir/Subscription/" + made.headers["location"].split("/")[-3]
        body = (await ward.get(place)).json()
        changed = await ward.put(place, json=body | {"reason": "another"}, headers={"Prefer": prefer})
    assert (made.status_code, changed.status_code, changed.headers["etag"]) == (201, 200, 'W/"2"')
    for answer in (made, changed):
        assert (answer.json()["resourceType"] if answer.content else None) == answered


async def test_another_client_finds_nothing_in_any_way(here: World) -> None:
    """The same organisation, the same scopes: what holds the key to a client's door is that client's alone."""
    await here.node.put(patient())
    async with here.node.client() as ward, here.node.client("other") as other:
        made = await here.make(ward)
        place = f"/fhir/Subscription/{made['id']}"
        absent = await other.get("/fhir/Subscription/none")
        for path in (place, f"{place}/_history/1", f"{place}/_history"):
            answer = await other.get(path)
            assert (answer.status_code, answer.content) == (404, absent.content)
        assert (await other.put(place, json=made)).status_code == 404
        assert (await other.delete(place)).status_code == 404
        found = await other.get(f"/fhir/Subscription?_id={made['id']}")
        assert b"rest-hook" not in found.content
        assert made["id"].encode() in (await ward.get(f"/fhir/Subscription?_id={made['id']}")).content
        assert (await ward.get(place)).json()["status"] == "active"


async def test_only_clients_of_the_custodian_with_the_scope_subscribe(here: World) -> None:
    await here.node.put(patient())
    async with here.node.client("north") as north, here.node.client(scope="system/Patient.rs") as reader:
        assert (await here.node_post(north)).status_code == 403
        assert (await here.node_post(reader)).status_code == 403


async def test_a_patient_who_is_hidden_is_as_absent(here: World) -> None:
    await here.node.put(patient())
    async with here.node.client() as ward:
        absent = await ward.post("/fhir/Subscription", json=here.subscription(of="nobody"))
        assert (await ward.post("/fhir/Consent", json=consent("deny", to=None))).status_code == 201
        hidden = await ward.post("/fhir/Subscription", json=here.subscription())
    assert (absent.status_code, places(absent.json())) == (422, ["Subscription.criteria"])
    assert (hidden.status_code, hidden.content) == (422, absent.content)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"criteria": "Observation?code=1"}, "criteria"),
    ({"criteria": "resource-changed"}, "criteria"),
    ({"criteria": "resource-changed?patient=p1&code=1"}, "criteria"),
    ({"criteria": "resource-changed?patient=p1&patient=p2"}, "criteria"),
    ({"criteria": "resource-changed?patient=Group/g1"}, "criteria"),
    ({"criteria": "resource-changed?patient=https://elsewhere.example.org/Patient/p1"}, "criteria"),
    ({"criteria": "resource-changed?patient="}, "criteria"),
    ({"status": "error"}, "status"),
    ({"end": "2020-01-01T00:00:00Z"}, "end"),
    ({"channel": {"type": "websocket"}}, "channel.type"),
    ({"channel": {"type": "message"}}, "channel.type"),
    ({"channel": {"endpoint": None}}, "channel.endpoint"),
    ({"channel": {"endpoint": "http://hook.example.org/"}}, "channel.endpoint"),
    ({"channel": {"endpoint": "https://user:secret@hook.example.org/"}}, "channel.endpoint"),
    ({"channel": {"endpoint": "https://hook.example.org/?patient=p1"}}, "channel.endpoint"),
    ({"channel": {"endpoint": "https://elsewhere.example.org/"}}, "channel.endpoint"),
    ({"channel": {"endpoint": "https://hook.example.org/"}}, "channel.endpoint"),
    ({"channel": {"payload": "application/fhir+xml"}}, "channel.payload"),
    ({"channel": {"payload": None}}, "channel.payload"),
    ({"content": "everything"}, "channel.payload"),
    ({"channel": {"_payload": {"extension": [{"url": "urn:other", "valueCode": "empty"}]}}}, "channel.payload"),
    ({"channel": {"_payload": {"extension": [{"url": CONTENT, "valueCode": "empty"}] * 2}}}, "channel.payload"),
    ({"channel": {"header": ["no header"]}}, "channel.header[0]"),
    ({"channel": {"header": ["A: 1", "X: a\r\nHost: b"]}}, "channel.header[1]"),
    ({"channel": {"header": ["Host: internal"]}}, "channel.header[0]"),
    ({"channel": {"header": ["transfer-encoding: chunked"]}}, "channel.header[0]"),
    ({"channel": {"header": [f"X-{number}: 1" for number in range(9)]}}, "channel.header"),
    ({"extension": [{"url": "urn:other", "valueCode": "a"}]}, "extension"),
    ({"modifierExtension": [{"url": "urn:other", "valueCode": "a"}]}, "modifierExtension"),
]


@pytest.mark.parametrize(("wrong", "place"), WRONG)
async def test_what_cannot_be_served_is_refused_at_its_place(here: World, wrong: dict[str, Any], place: str) -> None:
    await here.node.put(patient())
    async with here.node.client() as ward:
        answer = await ward.post("/fhir/Subscription", json=here.subscription(**wrong))
    assert answer.status_code == 422, answer.text
    assert f"Subscription.{place}" in places(answer.json())
    for value in ("secret", "elsewhere", "internal"):
        assert value not in answer.text
    assert here.hook.received == []


async def test_a_client_without_a_list_may_name_no_host(here: World) -> None:
    await here.node.put(patient())
    async with here.node.client("unlisted") as unlisted:
        answer = await here.node_post(unlisted)
    assert (answer.status_code, places(answer.json())) == (422, ["Subscription.channel.endpoint"])


@pytest.mark.parametrize("found", [["127.0.0.1"], ["10.1.1.1"], ["169.254.169.254"], ["93.184.215.14", "::1"], []])
async def test_a_listed_host_with_a_private_address_is_refused(here: World, found: list[str]) -> None:
    await here.node.put(patient())
    here.hook.allowed, here.hook.resolved = is_public, found
    async with here.node.client() as ward:
        answer = await here.node_post(ward)
    assert (answer.status_code, places(answer.json())) == (422, ["Subscription.channel.endpoint"])


async def test_a_host_that_became_private_is_told_nothing(here: World) -> None:
    await here.node.put(patient())
    async with here.node.client() as ward:
        await here.make(ward)
    here.hook.resolved = ["127.0.0.1", "192.168.1.1"]
    await here.node.put(observation("o1"))
    await here.send()
    assert here.hook.received == []
    assert (await here.standing()).tries == 1


async def test_a_changed_one_shakes_hands_again_before_it_tells(here: World) -> None:
    await here.node.put(patient())
    async with here.node.client() as ward:
        made = await here.make(ward)
        await here.node.put(observation("o1"))
        changed = await ward.put(f"/fhir/Subscription/{made['id']}", json=made | {"reason": "another"})
        assert changed.json()["status"] == "requested"
    await here.send()
    assert [one.status()["type"] for one in here.hook.received] == ["handshake", "event-notification"]


async def test_an_unanswered_handshake_leaves_it_requested(here: World) -> None:
    await here.node.put(patient())
    here.hook.answer = b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/\r\n\r\n"
    async with here.node.client() as ward:
        made = (await here.node_post(ward)).json()
        await here.send()
        assert (await ward.get(f"/fhir/Subscription/{made['id']}")).json()["status"] == "requested"
    assert len(here.hook.received) == 1
