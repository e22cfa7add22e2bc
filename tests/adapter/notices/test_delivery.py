"""What subscribers are told, in order, at least once, and never of what they may not see. fhir chapter §10."""

import asyncio
import json
from datetime import timedelta

import pytest

from adapter.store.engine import Hot
from adapter.store.unit import Delete
from mappings.fhir.codec import decode
from mappings.fhir.validate import validate
from tests.adapter.api.conftest import consent, observation, patient
from tests.adapter.notices.world import World


async def test_a_handshake_then_active_then_each_change_in_order(here: World) -> None:
    await here.node.put(patient())
    async with here.node.client() as ward:
        answer = await ward.post("/fhir/Subscription", json=here.subscription())
        assert answer.json()["status"] == "requested"
        await here.node.put(observation("o0"))  # after the request, before the handshake: nothing is lost
        await here.send()
        read = (await ward.get(f"/fhir/Subscription/{answer.json()['id']}")).json()
    assert read["status"] == "active"
    await here.node.put(observation("o1"))
    await here.node.put(observation("o1", code="718-7"))
    await here.node.commit(Delete("Observation", "o1"))
    await here.send()
    kinds = [one.status()["type"] for one in here.hook.received]
    assert kinds == ["handshake"] + ["event-notification"] * 4
    told = [one.focus() for one in here.hook.received[1:]]
    assert [one["request"] for one in told if one] == [
        {"method": "PUT", "url": "Observation/o0"},
        {"method": "PUT", "url": "Observation/o1"},
        {"method": "PUT", "url": "Observation/o1"},
        {"method": "DELETE", "url": "Observation/o1"},
    ]
    numbers = [one.status()["events-since-subscription-start"] for one in here.hook.received[1:]]
    assert numbers == ["1", "2", "3", "4"]
    assert len({one.key for one in here.hook.received}) == 5
    for one in here.hook.received:
        assert [fault for fault in validate(decode(one.body)) if fault.severity == "error"] == []


@pytest.mark.parametrize(("content", "holds"), [("empty", ""), ("id-only", "id"), ("full-resource", "all")])
async def test_a_notice_says_as_much_as_was_asked_for(here: World, content: str, holds: str) -> None:
    await here.node.put(patient())
    async with here.node.client() as ward:
        await here.make(ward, here.subscription(content=content))
    since = here.node.services.ledger.size
    await here.node.put(observation("o1"))
    await here.send()
    (one,) = here.hook.received
    assert (b"2160-0" in one.body) is (holds == "all")
    assert (b"Observation/o1" in one.body) is (holds != "")
    assert one.headers["content-type"] == "application/fhir+json"
    told = (await here.node.entries())[since:]
    assert [entry["type"] for entry in told][-2:] == [
        "resource.written",
        "access.search",
    ]  # the change, then its telling
    assert told[-1]["outcome"] == "permit"


async def test_without_a_payload_a_notice_is_an_empty_post(here: World) -> None:
    await here.node.put(patient())
    async with here.node.client() as ward:
        await here.make(ward, here.subscription(channel={"payload": None, "_payload": None}))
    await here.node.put(observation("o1"))
    await here.send()
    (one,) = here.hook.received
    assert one.body == b""
    assert "content-type" not in one.headers


@pytest.mark.parametrize(
    ("topic", "told"), [("consent-changed", "Consent"), ("document-available", "DocumentReference")]
)
async def test_a_topic_is_about_its_types_only(here: World, topic: str, told: str) -> None:
    await here.node.put(patient())
    document = {
        "resourceType": "DocumentReference",
        "id": "d1",
        "status": "current",
        "subject": {"reference": "Patient/p1"},
        "content": [{"attachment": {"title": "letter"}}],
    }
    async with here.node.client() as ward:
        await here.make(ward, here.subscription(topic))
        await here.node.put(observation("o1"), document)
        assert (await ward.post("/fhir/Consent", json=consent())).status_code == 201
    await here.send()
    assert [one.focus()["fullUrl"].split("/")[-2] for one in here.hook.received if one.focus()] == [told]  # type: ignore[index]


async def test_another_patient_is_nobody_s_business(here: World) -> None:
    await here.node.put(patient(), patient("p2"))
    async with here.node.client() as ward:
        await here.make(ward)
    await here.node.put(observation("o2", of="p2"))
    await here.send()
    assert here.hook.received == []


async def test_a_client_s_own_headers_go_with_it(here: World) -> None:
    await here.node.put(patient())
    async with here.node.client() as ward:
        await here.make(ward, here.subscription(channel={"header": ["Authorization: Bearer of-the-client"]}))
    await here.node.put(observation("o1"))
    await here.send()
    assert here.hook.received[0].headers["authorization"] == "Bearer of-the-client"


@pytest.mark.parametrize("content", ["empty", "id-only", "full-resource"])
async def test_what_is_hidden_at_send_time_is_not_told(here: World, content: str) -> None:
    """Written while it could be seen, denied before it was sent: nothing leaves, and no number is missing."""
    await here.node.put(patient())
    async with here.node.client() as ward:
        await here.make(ward, here.subscription(content=content))
        await here.node.put(observation("o1"))
        since = here.node.services.ledger.size
        deny = await ward.post("/fhir/Consent", json=consent("deny", to=None))
        assert deny.status_code == 201
        await here.send()
        assert here.hook.received == []
        assert "access.search" in await here.node.kinds(since)  # it was decided, and recorded
        number = deny.headers["location"].split("/")[-3]
        revoked = consent("deny", to=None, id=number, status="inactive")
        assert (await ward.put(f"/fhir/Consent/{number}", json=revoked)).status_code == 200
    await here.send()
    here.hook.received.clear()
    await here.node.put(observation("o2"))
    await here.send()
    (one,) = here.hook.received
    assert one.status()["events-since-subscription-start"] in ("1", "2")  # the revoke may have been told; no gap


async def test_a_scope_that_the_client_lost_tells_nothing(here: World) -> None:
    await here.node.put(patient())
    async with here.node.client(scope="system/Subscription.cruds system/Patient.r") as ward:
        await here.make(ward)
    await here.node.put(observation("o1"))
    await here.send()
    assert here.hook.received == []


async def test_nothing_leaves_while_the_log_cannot_record(here: World) -> None:
    await here.node.put(patient())
    async with here.node.client() as ward:
        await here.make(ward)
    await here.node.put(observation("o1"))
    await here.node.services.ledger.close()
    await here.send()
    assert here.hook.received == []
    assert (await here.standing()).tries == 0  # the endpoint is not to blame


# Failing ------------------------------------------------------------------------------------------------------------


async def test_what_did_not_arrive_goes_out_again_under_the_same_id(here: World) -> None:
    await here.node.put(patient())
    async with here.node.client() as ward:
        await here.make(ward)
    await here.node.put(observation("o1"), observation("o2"))
    here.hook.answer = b"HTTP/1.1 503 Later\r\n\r\n"
    await here.send(turns=3)
    here.hook.answer = b"HTTP/1.1 200 OK\r\n\r\n"
    await here.send()
    keys = [one.key for one in here.hook.received]
    assert len(keys) == 5
    assert len(set(keys[:4])) == 1  # the first holds the second up
    assert len({one.body for one in here.hook.received[:4]}) == 1
    assert (await here.standing()).tries == 0


async def test_an_endpoint_that_fails_rests_longer_each_time(here: World) -> None:
    from adapter.notices.notifier import Pace

    await here.node.put(patient())
    async with here.node.client() as ward:
        await here.make(ward)
    here.pace = Pace()
    here.hook.answer = b"HTTP/1.1 500 No\r\n\r\n"
    await here.node.put(observation("o1"))
    await here.send(turns=5)
    assert len(here.hook.received) == 1  # it rests
    rests = [Pace().rest_ms(tries, 0.0) for tries in range(14)]
    assert rests[:4] == [1000, 2000, 4000, 8000]
    assert rests[-1] == 3_600_000
    await here.pass_by(timedelta(seconds=5))
    await here.send()
    assert len(here.hook.received) == 2


async def test_after_a_day_it_is_in_error_and_what_waited_is_a_dead_letter(here: World) -> None:
    await here.node.put(patient())
    async with here.node.client() as ward:
        made = await here.make(ward)
        here.hook.answer = b"HTTP/1.1 500 No\r\n\r\n"
        await here.node.put(observation("o1"), observation("o2"))
        await here.send()
        await here.pass_by(timedelta(hours=24, seconds=1))
        await here.send()
        read = (await ward.get(f"/fhir/Subscription/{made['id']}")).json()
        assert read["status"] == "error"
        assert "http-500" in read["error"]
        assert [(one.type, one.dead) for one in await here.dead()] == [("Observation", "http-500")] * 2
        await here.node.put(observation("o3"))  # nothing is collected for it any more
        assert len(await here.dead()) == 2
        here.hook.received.clear()
        here.hook.answer = b"HTTP/1.1 200 OK\r\n\r\n"
        await here.send()
        assert here.hook.received == []
        await _replayed(here)
        await here.send()
        assert [one.status()["type"] for one in here.hook.received] == ["handshake", *["event-notification"] * 2]
        assert (await ward.get(f"/fhir/Subscription/{made['id']}")).json()["status"] == "active"


async def _replayed(here: World) -> None:
    from adapter.notices.replay import chosen, revive

    site = here.node.opened
    before = here.node.services.ledger.size
    found = await chosen(site, [], (await here.standing()).rid)
    await revive(site, found, "operator", "mended")
    assert "operator.acted" in await here.node.kinds(before)


async def test_two_workers_tell_an_event_once(here: World) -> None:
    from adapter.notices.notifier import Notifier

    await here.node.put(patient())
    async with here.node.client() as ward:
        await here.make(ward)

    async def linger() -> None:
        await asyncio.sleep(0.05)

    here.hook.meanwhile = linger
    await here.node.put(*(observation(f"o{number}") for number in range(4)))
    await asyncio.gather(*(Notifier(here.node.services).once() for _ in range(4)))
    assert len([one.key for one in here.hook.received]) == 4
    assert len({one.key for one in here.hook.received}) == 4


async def test_one_that_is_deleted_while_it_is_sent_to_is_sent_nothing_more(here: World) -> None:
    await here.node.put(patient())
    async with here.node.client() as ward:
        made = await here.make(ward)

        async def gone() -> None:
            assert (await ward.delete(f"/fhir/Subscription/{made['id']}")).status_code == 204

        here.hook.meanwhile = gone
        await here.node.put(observation("o1"), observation("o2"))
        await here.send(turns=2)
    assert len(here.hook.received) == 1


async def test_its_end_switches_it_off(here: World) -> None:
    await here.node.put(patient())
    soon = here.node.services.ledger.now() + timedelta(seconds=0.8)
    async with here.node.client() as ward:
        made = await here.make(ward, here.subscription(end=soon.isoformat()))
        await asyncio.sleep(0.9)
        await here.node.put(observation("o1"))
        await here.send()
        assert here.hook.received == []
        assert (await ward.get(f"/fhir/Subscription/{made['id']}")).json()["status"] == "off"


async def test_no_log_line_and_no_row_holds_what_is_told(here: World, capfd: pytest.CaptureFixture[str]) -> None:
    await here.node.put(patient())
    async with here.node.client() as ward:
        await here.make(ward, here.subscription(channel={"header": ["Authorization: Bearer Canary77"]}))
    here.hook.answer = b"HTTP/1.1 500 No\r\n\r\n"
    await here.node.put(observation("Canary-o1"))
    await here.send()
    assert here.hook.received
    out, err = capfd.readouterr()
    assert "notice.not_arrived" in out + err
    for planted in ("Canary", "p1", "hook.example.org"):
        assert planted not in out + err
    for file in here.node.services.site.glob("data.sqlite3*"):
        raw = file.read_bytes()
        for hidden in (b"Canary", b"hook.example.org", b"patient=p1"):
            assert hidden not in raw
    assert json.loads(here.hook.received[0].body)["resourceType"] == "Bundle"


# Another organisation -----------------------------------------------------------------------------------------------


async def test_what_another_organisation_is_told_follows_the_patient_s_consent(here: World) -> None:
    """It cannot register one itself; one that acts for it is decided by the gate as it would be: each time."""
    await here.node.put(patient())
    async with here.node.client() as ward:
        await here.make(ward, here.subscription(content="full-resource"))
        await here.node.services.store.write(lambda conn: Hot(conn).run("UPDATE subscription SET client = 'north'"))
        await here.node.put(observation("before"))
        await here.send()
        assert here.hook.received == [], "across borders nothing is permitted"
        granted = await ward.post("/fhir/Consent", json=consent())
        await here.node.put(observation("during"))
        await here.send()
        assert [one.focus()["resource"]["id"] for one in here.hook.received] == ["during"]  # type: ignore[index]
        here.hook.received.clear()
        await here.node.put(observation("late"))
        over = granted.json() | {"status": "inactive"}
        assert (await ward.put(f"/fhir/Consent/{over['id']}", json=over)).status_code == 200
        await here.send()
    assert here.hook.received == [], "written under the consent, and sent after its end"
