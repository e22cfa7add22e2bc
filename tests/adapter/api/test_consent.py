"""Consent, thin, end to end: written by the custodian, in the log before the answer, and in force at the next request.

FHIR R4 Consent; access chapter §6, §7, §9; ledger chapter §5, §10.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapter.ledger_view import opener, replay_site, viewing
from adapter.store import owners
from adapter.store.engine import Hot
from adapter.store.unit import Convert
from ledger.commitment import field_salt, opens
from ledger.errors import AppendFailed, BasisEnded
from ledger.event import Event, id_bytes
from ledger.log import Ledger
from ledger.replay import Verdict
from ledger.sequence import Receipt
from mappings.convert import Mapped
from mappings.fhir.codec import decode
from tests.adapter.api.conftest import Json, Node, consent, decode_json, observation, patient

pytestmark = pytest.mark.usefixtures("both")


async def grant(ward: httpx.AsyncClient, resource: Json | None = None) -> Json:
    answer = await ward.post("/fhir/Consent", json=resource or consent())
    assert answer.status_code == 201, answer.text
    made: Json = decode_json(answer.content)
    return made


async def status(client: httpx.AsyncClient, path: str = "/fhir/Observation/o1") -> int:
    return (await client.get(path)).status_code


async def test_granted_opens_revoked_closes_and_the_log_tells_it_in_order(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    before = node.services.ledger.size
    async with node.client() as ward, node.client("north") as north:
        assert await status(north) == 404
        made = await grant(ward)
        opened = await north.get("/fhir/Observation/o1")
        assert opened.status_code == 200
        revoked = await ward.put(f"/fhir/Consent/{made['id']}", json=made | {"status": "inactive"})
        assert revoked.status_code == 200
        assert await status(north) == 404
    told = [kind for kind in await node.kinds(before) if kind != "resource.written"]
    assert told == [
        "access.denied",
        "consent.granted",
        "access.read",  # the answer to the grant
        "access.read",  # what it opened
        "consent.revoked",
        "access.read",
    ]


async def test_the_permit_rests_on_the_entry_of_the_consent(node: Node) -> None:
    written = await node.put(patient(), observation("o1"))
    owner = written.changes[0].owner
    async with node.client() as ward, node.client("north") as north:
        answer = await ward.post("/fhir/Consent", json=consent())
        granted = answer.headers["x-ledger-index"]
        read = await north.get("/fhir/Observation/o1")
    entries = await node.entries()
    assert entries[int(granted.rpartition(":")[2])]["type"] == "consent.granted"
    entry = entries[int(read.headers["x-ledger-index"].rpartition(":")[2])]
    assert (await node.detail(entry, owner))["committed"]["basis"] == granted


async def test_the_detail_of_a_grant_holds_the_consent_as_it_is_kept(node: Node) -> None:
    written = await node.put(patient())
    owner = written.changes[0].owner
    async with node.client() as ward:
        answer = await ward.post("/fhir/Consent", json=consent())
    entry = (await node.entries())[int(answer.headers["x-ledger-index"].rpartition(":")[2])]
    detail = await node.detail(entry, owner)
    assert detail["consent"].encode() == answer.content
    assert (detail["version"], len(detail["committed"]["handle"])) == (1, 64)
    assert answer.headers["location"] == f"{node.services.base}/{detail['reference']}/_history/1"


async def test_another_country_another_purpose_and_another_patient_stay_closed(node: Node) -> None:
    await node.put(patient(), observation("o1"), patient("p2"), observation("o2", of="p2"))
    async with node.client() as ward:
        await grant(ward)
    async with node.client("south") as south, node.client("north", "system/*.rs", "HRESCH") as research:
        assert await status(south) == 404
        assert await status(research) == 404
    async with node.client("north") as north:
        assert await status(north, "/fhir/Observation/o2") == 404
        assert await status(north, "/fhir/Patient/p1") == 200


async def test_what_she_permits_to_others_is_not_shown_to_a_recipient(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    async with node.client() as ward, node.client("north") as north:
        made = await grant(ward)
        assert await status(north) == 200
        assert await status(north, f"/fhir/Consent/{made['id']}") == 404
        found = decode_json((await north.get("/fhir/Consent?patient=p1")).content)
        assert "entry" not in found
        assert decode_json((await ward.get("/fhir/Consent?patient=p1")).content)["total"] == 1


async def test_a_deny_closes_even_the_own_house(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    async with node.client() as ward:
        assert await status(ward) == 200
        denied = await ward.post("/fhir/Consent", json=consent("deny", to=None))
        assert denied.status_code == 201
        assert denied.content == b""  # she may not read it any more, so the answer is minimal
        assert await status(ward) == 404


async def test_an_amendment_ends_the_grant_before_it(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    async with node.client() as ward, node.client("north") as north, node.client("south") as south:
        made = await grant(ward)
        made["provision"]["actor"][0]["reference"]["identifier"]["value"] = "south"
        amended = await ward.put(f"/fhir/Consent/{made['id']}", json=made)
        assert amended.status_code == 200
        assert (await status(north), await status(south)) == (404, 200)
    kinds = await node.kinds()
    granted, ended = (
        f"{node.services.ledger.shard}:{kinds.index(kind)}" for kind in ("consent.granted", "consent.amended")
    )
    assert await node.services.ledger.ended([granted, ended]) == {granted: ended}


async def test_the_same_content_again_is_the_same_version_and_no_entry(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        made = await grant(ward)
        before = await node.kinds()
        again = await ward.put(f"/fhir/Consent/{made['id']}", json=made)
    assert (again.status_code, again.headers["etag"]) == (200, 'W/"1"')
    assert [kind for kind in (await node.kinds())[len(before) :] if not kind.startswith("access.")] == []


async def test_with_the_log_down_a_revoke_is_not_answered_but_already_closes(node: Node) -> None:
    """The retry waits for the same entry: no second version, no second event."""
    await node.put(patient(), observation("o1"))
    async with node.client() as ward, node.client("north") as north:
        made = await grant(ward)
        inactive = made | {"status": "inactive"}
        working, broken = node.services.delivery._ledger, _Broken()
        node.services.delivery._ledger = broken  # type: ignore[assignment]
        assert (await ward.put(f"/fhir/Consent/{made['id']}", json=inactive)).status_code == 503
        assert await status(north) == 404
        node.services.delivery._ledger = working
        again = await ward.put(f"/fhir/Consent/{made['id']}", json=inactive)
    assert (again.status_code, again.headers["etag"]) == (200, 'W/"2"')
    assert (await node.kinds()).count("consent.revoked") == 1


class _Broken:
    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        raise AppendFailed("disk full")


async def test_a_grant_that_is_not_in_the_log_opens_nothing_and_revoking_it_still_works(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    async with node.client() as ward, node.client("north") as north:
        working = node.services.delivery._ledger
        node.services.delivery._ledger = _Broken()  # type: ignore[assignment]
        body = consent() | {"id": "mine"}
        assert (await ward.put("/fhir/Consent/mine", json=body)).status_code == 503
        assert await status(north) == 404
        assert (await ward.put("/fhir/Consent/mine", json=body | {"status": "inactive"})).status_code == 503
        node.services.delivery._ledger = working
        assert (await ward.put("/fhir/Consent/mine", json=body | {"status": "inactive"})).status_code == 200
        assert await status(north) == 404
    kinds = await node.kinds()
    assert kinds.index("consent.granted") < kinds.index("consent.revoked")
    granted = f"{node.services.ledger.shard}:{kinds.index('consent.granted')}"
    assert granted in await node.services.ledger.ended([granted])


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_foreign_client_cannot_grant_itself_anything(node: Node, method: str) -> None:
    await node.put(patient())
    async with node.client("north") as north:
        path = "/fhir/Consent" if method == "POST" else "/fhir/Consent/mine"
        answer = await north.request(method, path, json=consent() | {"id": "mine"})
    assert answer.status_code == 403
    assert (await node.kinds())[-1] == "access.denied"


async def test_the_scope_must_cover_the_letter(node: Node) -> None:
    await node.put(patient())
    async with node.client("ward", "system/*.rs") as reader, node.client("ward", "system/Consent.u") as updater:
        assert (await reader.post("/fhir/Consent", json=consent())).status_code == 403
        absent = await updater.put("/fhir/Consent/mine", json=consent() | {"id": "mine"})
    assert absent.status_code == 404


async def test_a_granular_scope_judges_what_comes_and_what_stands(node: Node) -> None:
    await node.put(patient(), patient("p2"))
    async with node.client("ward") as ward:
        others = await grant(ward, consent(of="p2"))
    before = node.services.ledger.size
    async with node.client("ward", "system/Consent.cu?patient=Patient/p1") as hers:
        of_another = await hers.post("/fhir/Consent", json=consent(of="p2"))
        made = await hers.post("/fhir/Consent", json=consent() | {"id": "x"})
        logical_id = made.headers["location"].split("/Consent/")[1].split("/")[0]
        standing = await hers.put(f"/fhir/Consent/{others['id']}", json=others | {"status": "inactive"})
        hidden = await hers.put(f"/fhir/Consent/{others['id']}", json=consent() | {"id": others["id"]})
        moved = await hers.put(f"/fhir/Consent/{logical_id}", json=consent(of="p2") | {"id": logical_id})
        revoked = await hers.put(f"/fhir/Consent/{logical_id}", json=consent(status="inactive") | {"id": logical_id})
        upserted = await hers.put("/fhir/Consent/mine", json=consent() | {"id": "mine"})
    assert [answer.status_code for answer in (made, revoked, upserted)] == [201, 200, 201]
    assert {answer.status_code for answer in (of_another, standing, hidden, moved)} == {403}
    kinds = [kind for kind in await node.kinds(before) if kind != "resource.written"]
    assert kinds.count("access.denied") == 2  # of creates, of updates: the same refusal again is counted in one entry
    assert [kind for kind in kinds if kind.startswith("consent.")] == [
        "consent.granted",
        "consent.revoked",
        "consent.granted",
    ]


async def test_an_update_that_creates_is_within_the_scope_to_create(node: Node) -> None:
    await node.put(patient(), patient("p2"))
    scopes = "system/Consent.c?patient=Patient/p1 system/Consent.u"
    async with node.client("ward", scopes) as ward:
        hers = await ward.put("/fhir/Consent/hers", json=consent() | {"id": "hers"})
        others = await ward.put("/fhir/Consent/others", json=consent(of="p2") | {"id": "others"})
    assert (hers.status_code, others.status_code) == (201, 403)


async def test_a_batch_entry_is_judged_by_the_granular_scope_too(node: Node) -> None:
    await node.put(patient(), patient("p2"))
    asked = {"method": "POST", "url": "Consent"}
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": asked, "resource": consent(of="p2")}]}
    async with node.client("ward", "system/Consent.cu?patient=Patient/p1") as hers:
        answer = decode_json((await hers.post("/fhir", json=batch)).content)
    assert answer["entry"][0]["response"]["status"] == "403"


REFUSED: list[tuple[str, Any, dict[str, str], int]] = [
    ("not JSON", b"{", {}, 400),
    ("twice", b'{"resourceType":"Consent","status":"active","status":"inactive"}', {}, 400),
    ("another type", patient(), {}, 400),
    ("no status", {k: v for k, v in consent().items() if k != "status"}, {}, 422),
    ("an unknown member", consent() | {"nickname": "x"}, {}, 422),
    ("wider", consent() | {"provision": {"type": "permit", "class": [{"code": "Observation"}]}}, {}, 422),
    ("revoked from the start", consent() | {"status": "inactive"}, {}, 422),
    ("no such patient", consent(of="nobody"), {}, 422),
    ("a patient elsewhere", consent() | {"patient": {"reference": "https://other.example/Patient/p1"}}, {}, 422),
    ("a patient by identifier", consent() | {"patient": {"identifier": {"value": "MR-p1"}}}, {}, 422),
    ("not declared as JSON", consent(), {"Content-Type": "text/plain"}, 415),
    ("conditional", consent(), {"If-None-Exist": "identifier=x"}, 412),
]


@pytest.mark.parametrize(("case", "body", "headers", "expected"), REFUSED, ids=lambda value: str(value)[:24])
async def test_what_cannot_be_kept_is_refused_and_leaves_nothing(
    node: Node, case: str, body: Any, headers: dict[str, str], expected: int
) -> None:
    await node.put(patient())
    before = node.services.ledger.size
    async with node.client() as ward:
        content = body if isinstance(body, bytes) else httpx.Request("POST", "/", json=body).content
        answer = await ward.post(
            "/fhir/Consent", content=content, headers={"Content-Type": "application/fhir+json"} | headers
        )
    assert answer.status_code == expected, answer.text
    assert decode(answer.content)["resourceType"] == "OperationOutcome"
    assert node.services.ledger.size == before


async def test_a_wider_consent_is_refused_at_its_place(node: Node) -> None:
    await node.put(patient())
    body = consent()
    body["provision"]["dataPeriod"] = {"end": "2019"}
    async with node.client() as ward:
        answer = await ward.post("/fhir/Consent", json=body)
    (issue,) = decode(answer.content)["issue"]
    assert (issue["code"], issue["expression"]) == ("not-supported", ["Consent.provision.dataPeriod"])


async def test_an_update_must_name_its_id_and_keep_its_patient(node: Node) -> None:
    await node.put(patient(), patient("p2"))
    async with node.client() as ward:
        made = await grant(ward)
        path = f"/fhir/Consent/{made['id']}"
        assert (await ward.put(path, json=consent())).status_code == 400
        assert (await ward.put(path, json=made | {"patient": {"reference": "Patient/p2"}})).status_code == 422
        assert (await ward.put(path, json=made, headers={"If-Match": 'W/"7"'})).status_code == 412
        assert (await ward.put(path, json=made, headers={"If-Match": "x"})).status_code == 412
        assert (await ward.put(path, json=made, headers={"If-Match": 'W/"1"'})).status_code == 200


async def test_revoked_is_the_end_of_a_consent(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        made = await grant(ward)
        path = f"/fhir/Consent/{made['id']}"
        await ward.put(path, json=made | {"status": "inactive"})
        assert (await ward.put(path, json=made)).status_code == 422
        noted = made | {"status": "inactive", "language": "de"}
        assert (await ward.put(path, json=noted)).status_code == 200
    assert (await node.kinds()).count("consent.revoked") == 1


@pytest.mark.parametrize(
    ("prefer", "answered"),
    [
        ("return=representation", "Consent"),
        ("return=OperationOutcome", "OperationOutcome"),
        ("return=minimal", None),
    ],
)
async def test_a_writer_gets_back_what_it_prefers(node: Node, prefer: str, answered: str | None) -> None:
    """A change, too, and one that changes nothing; each says where its entry stands."""
    await node.put(patient())
    body = consent() | {"id": "mine"}
    async with node.client() as ward:
        answers = [
            await ward.put("/fhir/Consent/mine", json=body | more, headers={"Prefer": prefer})
            for more in ({}, {"language": "de"}, {"language": "de"})
        ]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    for answer in answers:
        assert (decode(answer.content)["resourceType"] if answer.content else None) == answered
        assert answer.headers["x-ledger-index"]


async def test_an_expired_consent_opens_nothing(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    body = consent()
    body["provision"]["period"] = {"start": "2019", "end": "2020"}
    async with node.client() as ward, node.client("north") as north:
        await grant(ward, body)
        assert await status(north) == 404


async def test_after_a_merge_both_patients_must_permit(node: Node) -> None:
    written = await node.put(patient("p1"), observation("o1"), patient("p2"), observation("o2", of="p2"))
    first, _, second, _ = (change.owner for change in written.results if change)
    async with node.client() as ward, node.client("north") as north:
        await grant(ward, consent(of="p1"))
        assert (await status(north), await status(north, "/fhir/Observation/o2")) == (200, 404)
        await merge(node, second, first)
        assert (await status(north), await status(north, "/fhir/Observation/o2")) == (404, 404)
        before = node.services.ledger.size
        assert await status(ward) == 200
    assert await node.kinds(before) == ["access.read", "access.read"]  # one for each tag


async def merge(node: Node, retired: int, into: int) -> None:
    def work(conn: Any) -> None:
        hot = Hot(conn)
        owners.merge(hot, retired, into)
        for owner in (retired, into):
            owners.raise_epoch(hot, owner)

    await node.services.store.write(work)


async def test_both_consents_of_a_merged_patient_open_together(node: Node) -> None:
    written = await node.put(patient("p1"), observation("o1"), patient("p2"), observation("o2", of="p2"))
    first, _, second, _ = (change.owner for change in written.results if change)
    async with node.client() as ward, node.client("north") as north:
        await grant(ward, consent(of="p1"))
        kept = await grant(ward, consent(of="p2"))
        await merge(node, second, first)
        assert (await status(north), await status(north, "/fhir/Observation/o2")) == (200, 200)
        await ward.put(f"/fhir/Consent/{kept['id']}", json=kept | {"status": "inactive"})
        assert (await status(north), await status(north, "/fhir/Observation/o2")) == (404, 404)


async def test_a_revoke_between_decision_and_record_is_decided_again(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    async with node.client() as ward, node.client("north") as north:
        made = await grant(ward)

        async def revoke() -> None:
            await ward.put(f"/fhir/Consent/{made['id']}", json=made | {"status": "inactive"})

        gate = node.services.gate
        gate._ledger = _Before(gate._ledger, revoke)  # type: ignore[assignment]
        assert await status(north) == 404
    assert (await node.kinds())[-1] == "access.denied"


class _Before:
    """A ledger to which something happens just before the first append."""

    def __init__(self, ledger: Ledger, happens: Callable[[], Awaitable[None]]) -> None:
        self._ledger, self._happens = ledger, [happens]

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        if self._happens:
            await self._happens.pop()()
        return await self._ledger.append(events)


async def test_a_basis_that_keeps_ending_is_unavailable_and_nothing_is_served(node: Node) -> None:
    await node.put(patient(), observation("o1"))

    class Ending:
        async def append(self, events: Sequence[Event]) -> list[Receipt]:
            raise BasisEnded(("2026:1",))

    node.services.gate._ledger = Ending()  # type: ignore[assignment]
    async with node.client() as ward:
        answer = await ward.get("/fhir/Observation/o1")
    assert answer.status_code == 503
    assert b"2160-0" not in answer.content


def retired(logical_id: str, into: str) -> Convert:
    """What a merge message says of the patient who is no more."""
    body: Json = {
        "resourceType": "Patient",
        "id": logical_id,
        "active": False,
        "link": [{"other": {"reference": f"Patient/{into}"}, "type": "replaced-by"}],
    }
    return Convert(Mapped(body, "state", (), (), (), "2026-03-04T09:00:00Z", (), into))


async def test_a_merge_message_joins_consents_and_either_can_still_be_revoked(node: Node) -> None:
    """Revoked under the retired name, a consent closes at the next request, for what lies under either owner."""
    await node.put(patient("p1"), observation("o1"), patient("p2"), observation("o2", of="p2"))
    async with node.client() as ward, node.client("north") as north:
        await grant(ward, consent(of="p1"))
        kept = await grant(ward, consent(of="p2"))
        await node.commit(retired("p2", "p1"))
        assert (await node.kinds()).count("subject.merged") == 2
        assert (await status(north), await status(north, "/fhir/Observation/o2")) == (200, 200)
        assert await status(north, "/fhir/Patient/p2") == 200  # the name of the retired leads to the survivor
        answer = await ward.put(f"/fhir/Consent/{kept['id']}", json=kept | {"status": "inactive"})
        assert answer.status_code == 200
        assert (await status(north), await status(north, "/fhir/Observation/o2")) == (404, 404)


async def test_a_consent_is_revoked_under_any_name_of_its_patient(node: Node) -> None:
    """After a merge the client may still know her by the retired name, or by the survivor's already."""
    await node.put(patient("p1"), patient("p2"))
    async with node.client() as ward, node.client("north") as north:
        before = await grant(ward, consent(of="p2"))
        await node.commit(retired("p2", "p1"))
        after = await grant(ward, consent(of="p2"))
        assert (before["patient"]["reference"], after["patient"]["reference"]) == ("Patient/p2", "Patient/p1")
        assert await status(north, "/fhir/Patient/p1") == 200
        for made, name in ((before, "p1"), (after, "p2")):
            revoked = made | {"status": "inactive", "patient": {"reference": f"Patient/{name}"}}
            assert (await ward.put(f"/fhir/Consent/{made['id']}", json=revoked)).status_code == 200
        assert await status(north, "/fhir/Patient/p1") == 404
        wrong = after | {"patient": {"reference": "Patient/nobody"}}
        assert (await ward.put(f"/fhir/Consent/{after['id']}", json=wrong)).status_code == 422


@pytest.mark.parametrize("name", ["p1", "p2"])
async def test_permits_under_the_consents_of_a_merged_patient_are_justified(node: Node, name: str) -> None:
    """Amended again and again after the merge, and given anew under either name: replay follows every step."""
    await node.put(patient("p1"), patient("p2"))
    async with node.client() as ward, node.client("north") as north:
        await grant(ward, consent(of="p1"))
        kept = await grant(ward, consent(of="p2"))
        await node.commit(retired("p2", "p1"))
        for end in ("2090", "2091", "2092"):
            kept["provision"]["period"] = {"end": end}
            assert (await ward.put(f"/fhir/Consent/{kept['id']}", json=kept)).status_code == 200
            assert await status(north, "/fhir/Patient/p1") == 200
        await ward.put(f"/fhir/Consent/{kept['id']}", json=kept | {"status": "inactive"})
        assert await status(north, "/fhir/Patient/p1") == 404
        await grant(ward, consent(of=name))
        assert await status(north, "/fhir/Patient/p1") == 200
    replayed = await replay_site(node.services.site)
    assert (replayed.refused, replayed.faults) == ([], [])
    assert {finding.verdict for finding in replayed.findings} == {Verdict.JUSTIFIED}
    assert await handles(node.services.site) == 3


async def handles(folder: Path) -> int:
    """How many consents the log knows: a stranger, to whom handles are disclosed, replays by them."""
    async with viewing(folder) as view:
        keys = await opener(view)
        entries = await view.log.entries(0, (await view.log.head()).size)
        opened = await keys.open([entry for entry in entries if decode(entry.body)["type"].startswith("consent.")])
        return len({one.values["handle"] for one in opened})


async def test_a_consent_given_after_a_merge_speaks_for_both_records(node: Node) -> None:
    """Each tag has its event, and each event the subject of the consent it rests on."""
    written = await node.put(patient("p1"), observation("o1"), patient("p2"), observation("o2", of="p2"))
    first, _, second, _ = (change.owner for change in written.results if change)
    async with node.client() as ward, node.client("north") as north:
        await node.commit(retired("p2", "p1"))
        assert await status(north) == 404
        made = await grant(ward, consent(of="p1"))
        before = node.services.ledger.size
        assert (await status(north), await status(north, "/fhir/Observation/o2")) == (200, 200)
        entries = (await node.entries())[before:]
        assert [entry["type"] for entry in entries] == ["access.read"] * 4
        for entry, owner in zip(entries, (first, second) * 2, strict=True):
            key = node.services.gate.subject_key(owner)
            salt = field_salt(key, id_bytes(entry["id"]), "subject")
            assert opens(entry["c"]["subject"], salt, "subject", f"o-{first}".encode())
        await ward.put(f"/fhir/Consent/{made['id']}", json=made | {"status": "inactive"})
        assert (await status(north), await status(north, "/fhir/Observation/o2")) == (404, 404)


async def test_a_deny_of_the_retired_record_outlives_the_merge(node: Node) -> None:
    await node.put(patient("p1"), observation("o1"), patient("p2"))
    async with node.client() as ward, node.client("north") as north:
        await ward.post("/fhir/Consent", json=consent("deny", of="p2"))
        await node.commit(retired("p2", "p1"))
        await grant(ward, consent(of="p1"))
        assert await status(north) == 404


async def test_a_merge_that_races_reads_leaves_no_permit_under_the_old_epoch(node: Node) -> None:
    await node.put(patient("p1"), observation("o1"), patient("p2"), observation("o2", of="p2"))
    async with node.client() as ward, node.client("north") as north:
        await grant(ward, consent(of="p1"))
        before = node.services.ledger.size
        reads = [asyncio.create_task(status(north)) for _ in range(30)]
        await asyncio.sleep(0.005)
        await node.commit(retired("p2", "p1"))
        answers = await asyncio.gather(*reads)
        assert await status(north) == 404  # p2 never agreed
    assert set(answers) <= {200, 404}
    entries = (await node.entries())[before:]
    merged = max(n for n, one in enumerate(entries) if one["type"] == "subject.merged")
    assert not [one for one in entries[merged:] if one.get("outcome") == "permit"]


@pytest.mark.parametrize("kind", ["revoke", "deny"])
async def test_no_permit_stands_after_the_end_of_its_basis(node: Node, kind: str) -> None:
    """Reads race a revocation and a new deny: by log index, none that was permitted comes after."""
    await node.put(patient(), observation("o1"))
    async with node.client() as ward, node.client("north") as north:
        made = await grant(ward)
        before = node.services.ledger.size
        reads = [asyncio.create_task(status(north)) for _ in range(30)]
        await asyncio.sleep(0.005)
        if kind == "revoke":
            closed = await ward.put(f"/fhir/Consent/{made['id']}", json=made | {"status": "inactive"})
        else:
            closed = await ward.post("/fhir/Consent", json=consent("deny", to="north"))
        assert closed.status_code in (200, 201)
        reads += [asyncio.create_task(status(north)) for _ in range(10)]
        answers = await asyncio.gather(*reads)
    assert set(answers) <= {200, 404}
    assert set(answers[30:]) == {404}
    entries = (await node.entries())[before:]
    end = next(n for n, one in enumerate(entries) if one["type"] in ("consent.revoked", "consent.granted"))
    after = [one for one in entries[end:] if one["type"] == "access.read" and one["outcome"] == "permit"]
    assert len(after) <= 1  # the ward's own, the body of its answer
