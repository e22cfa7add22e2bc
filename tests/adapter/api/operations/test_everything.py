"""Patient/$everything: the whole record, nothing of another's, and not a byte before its event.

FHIR R4 patient-operation-everything.html; fhir chapter §10.
"""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import httpx
import pytest

from adapter.seal.envelope import BodyKeys
from adapter.store.unit import Delete
from mappings.fhir.codec import decode
from mappings.fhir.validate import validate
from tests.adapter.api.conftest import Json, Node, consent, observation, patient

pytestmark = pytest.mark.usefixtures("both")

RECORD = "/fhir/Patient/p1/$everything"


def doctor(logical_id: str = "d1") -> Json:
    return {"resourceType": "Practitioner", "id": logical_id, "name": [{"family": "Kaya"}]}


def role(logical_id: str = "r1", of: str = "d1") -> Json:
    return {"resourceType": "PractitionerRole", "id": logical_id, "practitioner": {"reference": f"Practitioner/{of}"}}


def seen_by(*references: str) -> Json:
    return {"performer": [{"reference": one} for one in references]}


async def fill(node: Node) -> None:
    """A record with staff, and a second patient beside it."""
    await node.put(
        doctor(),
        doctor("d2"),
        role(),
        patient("p1"),
        patient("p2", family="Anders"),
        observation("o1", when="2025-03-04", **seen_by("PractitionerRole/r1")),
        observation("o2", when="2026-03-04"),
        observation("x1", of="p2", **seen_by("Practitioner/d2")),
    )


async def page(client: httpx.AsyncClient, url: str, status: int = 200) -> Json:
    answer = await client.get(url)
    assert answer.status_code == status, answer.text
    found = decode(answer.content)
    assert validate(found) == ()
    return found


def names(found: Json) -> list[str]:
    return [f"{one['resource']['resourceType']}/{one['resource']['id']}" for one in found.get("entry", ())]


def next_of(found: Json) -> str:
    urls = [one["url"] for one in found["link"] if one["relation"] == "next"]
    return "/fhir" + urls[0].partition("/fhir")[2] if urls else ""


async def test_a_record_is_hers_and_what_it_refers_to_and_nothing_of_another(node: Node) -> None:
    await fill(node)
    async with node.client() as ward:
        found = await page(ward, RECORD)
    first, *rest = names(found)
    assert (first, sorted(rest[:2])) == ("Patient/p1", ["Observation/o1", "Observation/o2"])
    assert sorted(rest[2:]) == ["Practitioner/d1", "PractitionerRole/r1"]
    assert [one["search"]["mode"] for one in found["entry"]] == ["match"] * 3 + ["include"] * 2
    assert found["total"] == 5


async def test_what_another_patients_record_says_of_her_is_hers_too_and_has_both_events(node: Node) -> None:
    await fill(node)
    await node.put(observation("x2", of="p2", **seen_by("Patient/p1")))
    before = node.services.ledger.size
    async with node.client() as ward:
        assert "Observation/x2" in names(await page(ward, RECORD))
    assert await node.kinds(before) == ["access.read"] * 3  # hers, the other's, and what belongs to nobody


async def test_another_patient_whom_her_record_names_is_no_part_of_it(node: Node) -> None:
    await fill(node)
    await node.put(observation("o3", focus=[{"reference": "Patient/p2"}, {"reference": "Observation/x1"}]))
    async with node.client() as ward:
        found = names(await page(ward, RECORD))
    assert "Observation/o3" in found
    assert not {"Patient/p2", "Observation/x1"} & set(found)


async def test_who_may_see_staff_and_not_her_sees_no_staff_of_hers(node: Node) -> None:
    """What belongs to nobody would tell that there is a record."""
    await fill(node)
    async with node.client("clerk") as clerk:
        assert (await clerk.get("/fhir/Practitioner/d1")).status_code == 200
        for query in ("", "?_type=Practitioner", "?_count=0"):
            await page(clerk, RECORD + query, 404)


async def test_one_event_for_her_holds_every_line_and_precedes_the_answer(node: Node) -> None:
    written = await node.put(patient("p1"), observation("o1"), observation("o2"))
    owner = written.changes[0].owner
    before = node.services.ledger.size
    async with node.client() as ward:
        answer = await ward.get(RECORD)
        (entry,) = (await node.entries())[before:]
        detail = await node.detail(entry, owner)
        assert (detail["interaction"], len(detail["content"])) == ("everything", 3)
        assert int(answer.headers["x-ledger-index"].rpartition(":")[2]) == before
        await node.services.ledger.close()
        silent = await ward.get(RECORD)
    assert silent.status_code == 503
    assert b"Muster" not in silent.content


async def test_hidden_and_absent_records_are_answered_alike(node: Node) -> None:
    await fill(node)
    async with node.client("north") as north, node.client() as ward:
        for query in ("", "?_type=Practitioner", "?_count=0", "?start=2020-01-01"):
            hidden = await north.get(RECORD + query, headers={"X-Request-Id": "same"})
            absent = await north.get(RECORD.replace("p1", "p9") + query, headers={"X-Request-Id": "same"})
            assert hidden.status_code == absent.status_code == 404
            assert hidden.content == absent.content
        await ward.post("/fhir/Consent", json=consent())
        assert "Observation/o1" in names(await page(north, RECORD))


async def test_what_she_permits_is_not_told_to_another_organisation(node: Node) -> None:
    await fill(node)
    async with node.client("north") as north, node.client() as ward:
        await ward.post("/fhir/Consent", json=consent())
        assert not [name for name in names(await page(north, RECORD)) if name.startswith("Consent/")]
        assert [name for name in names(await page(ward, RECORD)) if name.startswith("Consent/")]


async def test_pages_hold_each_resource_once_in_one_order(node: Node) -> None:
    await fill(node)
    await node.put(*(observation(f"n{n}") for n in range(6)))
    async with node.client() as ward:
        whole = names(await page(ward, RECORD))
        for size in (1, 2, 3, 7):
            found, told = await page(ward, f"{RECORD}?_count={size}"), []
            while True:
                told.append(names(found))
                if not (url := next_of(found)):
                    break
                found = await page(ward, url)
            assert [name for names_ in told for name in names_] == whole
            assert {len(names_) for names_ in told[:-1]} == {size}


async def test_a_page_count_opens_no_more_than_it_needs(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    from adapter.store.resources import Sealed

    await node.put(patient("p1"), *(observation(f"n{n}") for n in range(40)))
    opened: list[str] = []
    unseal = Sealed.open

    def counted(sealed: Sealed, keys: BodyKeys) -> bytes:
        opened.append(sealed.type)
        return unseal(sealed, keys)

    monkeypatch.setattr(Sealed, "open", counted)
    async with node.client() as ward:
        found = await page(ward, f"{RECORD}?_count=5")
    assert len(found["entry"]) == 5
    assert len(opened) <= 8
    assert "total" not in found


async def test_later_pages_show_what_stood_at_the_first(node: Node) -> None:
    await node.put(patient("p1"), *(observation(f"n{n}") for n in range(6)))
    async with node.client() as ward:
        whole = names(await page(ward, RECORD))
        first = await page(ward, f"{RECORD}?_count=3")
        changed, deleted = (name.partition("/")[2] for name in whole[4:6])
        await node.put(observation(changed, code="9999-9"), observation("late"))
        await node.commit(Delete("Observation", deleted))
        second = await page(ward, next_of(first))
        third = await page(ward, next_of(second))
    assert names(first) + names(second) + names(third) == whole
    assert second["entry"][1]["resource"]["code"]["coding"][0]["code"] == "2160-0"
    assert next_of(third) == ""


async def test_a_page_after_a_revocation_is_no_page(node: Node) -> None:
    await node.put(patient("p1"), *(observation(f"n{n}") for n in range(6)))
    async with node.client() as ward, node.client("north") as north:
        made = decode((await ward.post("/fhir/Consent", json=consent())).content)
        first = await page(north, f"{RECORD}?_count=3")
        assert (await ward.get(next_of(first))).status_code == 404, "a cursor is one client's"
        await ward.put(f"/fhir/Consent/{made['id']}", json=made | {"status": "inactive"})
        assert (await north.get(next_of(first))).status_code == 404


async def test_types_and_changes_narrow_the_record(node: Node) -> None:
    await fill(node)
    async with node.client() as ward:
        assert sorted(names(await page(ward, f"{RECORD}?_type=Observation,Practitioner"))) == [
            "Observation/o1",
            "Observation/o2",
            "Practitioner/d1",
        ]
        assert names(await page(ward, f"{RECORD}?_type=Patient&_type=PractitionerRole")) == [
            "Patient/p1",
            "PractitionerRole/r1",
        ]
        none = await page(ward, f"{RECORD}?_type=Device")
        assert (none["total"], names(none)) == (0, [])
        later = quote((datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="milliseconds"))
        assert names(await page(ward, f"{RECORD}?_since={later}")) == []
        counted = await page(ward, f"{RECORD}?_count=0")
        assert (counted["total"], names(counted), next_of(counted)) == (5, [], "")


async def test_care_dates_narrow_what_says_when(node: Node) -> None:
    await fill(node)
    undated = {key: value for key, value in observation("o3").items() if key != "effectiveDateTime"}
    await node.put(undated)
    async with node.client() as ward:
        wanted = "&_type=Observation"
        assert sorted(names(await page(ward, f"{RECORD}?start=2026{wanted}"))) == ["Observation/o2", "Observation/o3"]
        assert sorted(names(await page(ward, f"{RECORD}?end=2025-03{wanted}"))) == ["Observation/o1", "Observation/o3"]
        assert names(await page(ward, f"{RECORD}?start=2025-03-05&end=2026-03-03{wanted}")) == ["Observation/o3"]


async def test_each_type_needs_its_own_scope(node: Node) -> None:
    await fill(node)
    async with node.client("ward", "system/Patient.r system/Practitioner.r") as narrow:
        assert names(await page(narrow, RECORD)) == ["Patient/p1", "Practitioner/d1"]
    async with node.client("ward", "system/Patient.r system/Observation.r?date=2026") as granular:
        assert names(await page(granular, RECORD)) == ["Patient/p1", "Observation/o2"]
    async with node.client("ward", "system/Observation.r") as none:
        await page(none, RECORD, 403)
    async with node.client("ward", "system/*.s") as searching:
        await page(searching, RECORD, 403)


async def test_merged_records_are_one(node: Node) -> None:
    from tests.adapter.api.test_consent import merge

    written = await node.put(patient("p1"), observation("o1"), patient("p2"), observation("o2", of="p2"))
    first, _, second, _ = (change.owner for change in written.results if change)
    await merge(node, second, first)
    async with node.client() as ward:
        assert {"Observation/o1", "Observation/o2"} <= set(names(await page(ward, RECORD)))


async def test_a_deleted_patient_has_no_record_any_more(node: Node) -> None:
    await node.put(patient("p1"))
    await node.commit(Delete("Patient", "p1"))
    async with node.client() as ward, node.client("north") as north:
        await page(ward, RECORD, 410)
        await page(north, RECORD, 404)


async def test_the_parameters_may_be_posted(node: Node) -> None:
    await fill(node)
    asked = {"resourceType": "Parameters", "parameter": [{"name": "_type", "valueCode": "Observation"}]}
    async with node.client() as ward:
        answer = await ward.post(f"{RECORD}", json=asked)
        assert sorted(names(decode(answer.content))) == ["Observation/o1", "Observation/o2"]


@pytest.mark.parametrize(
    "query",
    [
        "_type=Nothing",
        "_since=yesterday",
        "_since=2026-01-01",
        "_since=20260101T000000Z",
        "start=2026-13-01",
        "end=now",
        "_count=-1",
        "_count=many",
        "_count=1&_count=2",
        "_include=*",
        "_cursor=AAAA&_type=Patient",
    ],
)
async def test_a_parameter_that_makes_no_sense_is_refused(node: Node, query: str) -> None:
    async with node.client() as ward:
        await page(ward, f"{RECORD}?{query}", 400)


async def test_an_altered_cursor_leads_nowhere(node: Node) -> None:
    await fill(node)
    async with node.client() as ward:
        url = next_of(await page(ward, f"{RECORD}?_count=1"))
        await page(ward, url[:-2] + ("AA" if url[-2:] != "AA" else "BB"), 404)
        await page(ward, url.replace("p1", "p2"), 404)
