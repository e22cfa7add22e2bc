"""Patient/$match: one certain match or none, and nothing of who is hidden.

FHIR R4 patient-operation-match.html; fhir chapter §5 (T1), §10.
"""

from decimal import Decimal
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection

from adapter.store.engine import Hot
from mappings.fhir.codec import decode
from mappings.fhir.validate import validate
from tests.adapter.api.conftest import Json, Node, consent, patient

pytestmark = pytest.mark.usefixtures("both")

REACHED = {"telecom": [{"system": "phone", "value": "0316 123456"}]}


def described(**resource: Any) -> Json:
    asked = {"resourceType": "Patient"} | resource
    return {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": asked}]}


def by_number(number: str) -> Json:
    return described(identifier=[{"system": "urn:oid:2.999.1.1", "value": number}])


def by_name(**more: Any) -> Json:
    known = {name: value for name, value in patient().items() if name in ("name", "birthDate", "gender")}
    return described(**(known | REACHED | more))


async def matched(client: httpx.AsyncClient, body: Json, status: int = 200) -> Json:
    answer = await client.post("/fhir/Patient/$match", json=body)
    assert answer.status_code == status, answer.text
    found = decode(answer.content)
    assert validate(found) == ()
    return found


def ids(found: Json) -> list[str]:
    return [one["resource"]["id"] for one in found.get("entry", ()) if one["search"]["mode"] == "match"]


async def test_an_identifier_finds_its_patient_with_the_grade_certain(node: Node) -> None:
    await node.put(patient("p1"), patient("p2"))
    async with node.client() as ward:
        found = await matched(ward, by_number("MR-p1"))
    (entry,) = found["entry"]
    assert (found["total"], entry["resource"]["id"]) == (1, "p1")
    assert entry["search"] == {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/match-grade", "valueCode": "certain"}],
        "mode": "match",
        "score": Decimal("1.0"),
    }


async def test_name_birth_gender_and_telecom_find_her(node: Node) -> None:
    await node.put(patient("p1") | REACHED, patient("p2") | {"telecom": [{"system": "phone", "value": "999999"}]})
    async with node.client() as ward:
        assert ids(await matched(ward, by_name())) == ["p1"]
        assert ids(await matched(ward, by_name(gender="male"))) == []


async def test_two_certain_ones_are_none(node: Node) -> None:
    await node.put(patient("p1") | REACHED, patient("p2") | REACHED)
    before = node.services.ledger.size
    async with node.client() as ward:
        found = await matched(ward, by_name())
    assert (found["total"], ids(found)) == (0, [])
    (entry,) = (await node.entries())[before:]
    assert (entry["type"], entry["outcome"]) == ("access.search", "deny")


async def test_one_person_in_two_merged_records_is_one(node: Node) -> None:
    written = await node.put(patient("p1") | REACHED, patient("p2") | REACHED)
    first, second = (change.rid for change in written.results if change)

    def retire(conn: Connection) -> None:
        """`p2` goes on as another name of `p1`."""
        sql = """
            INSERT INTO alias(fid, org, type, rid, said, txn)
            SELECT fid, org, type, ?, 1, txn FROM resource WHERE rid = ?
        """
        Hot(conn).run(sql, (first, second))

    async with node.client() as ward:
        assert ids(await matched(ward, by_name())) == []
        await node.services.store.write(retire)
        assert ids(await matched(ward, by_name())) == ["p1"]


async def test_too_little_is_said_and_finds_nobody(node: Node) -> None:
    await node.put(patient("p1") | REACHED)
    nowhere = [{"system": "url", "value": "https://example.org"}]
    async with node.client() as ward:
        found = await matched(ward, by_name(telecom=nowhere))
    (entry,) = found["entry"]
    assert entry["search"]["mode"] == "outcome"
    assert entry["resource"]["issue"][0]["details"]["coding"][0]["code"] == "match-too-little"


async def test_who_is_hidden_has_no_part_in_the_answer(node: Node) -> None:
    """Another organisation sees the one who permits it, though a hidden namesake is as certain."""
    await node.put(patient("p1") | REACHED, patient("p2") | REACHED)
    async with node.client() as ward, node.client("north") as north:
        hidden = await north.post("/fhir/Patient/$match", json=by_number("MR-p1"), headers={"X-Request-Id": "same"})
        absent = await north.post("/fhir/Patient/$match", json=by_number("MR-p9"), headers={"X-Request-Id": "same"})
        assert hidden.content == absent.content
        await ward.post("/fhir/Consent", json=consent(of="p1"))
        assert ids(await matched(north, by_name())) == ["p1"]


async def test_a_match_is_recorded_for_its_patient_alone(node: Node) -> None:
    written = await node.put(patient("p1"), patient("p2"))
    change = written.results[0]
    assert change is not None
    before = node.services.ledger.size
    async with node.client() as ward:
        await matched(ward, by_number("MR-p1"))
    (entry,) = (await node.entries())[before:]
    detail = await node.detail(entry, change.owner)
    assert (detail["interaction"], [line.split(" ")[1] for line in detail["content"]]) == (
        "match",
        ["Patient/p1/_history/1"],
    )


async def test_a_scope_that_searches_patients_is_needed(node: Node) -> None:
    await node.put(patient("p1"))
    async with node.client("ward", "system/Patient.r") as reader, node.client("ward", "system/Patient.s") as searcher:
        await matched(reader, by_number("MR-p1"), 403)
        assert ids(await matched(searcher, by_number("MR-p1"))) == ["p1"]
    async with node.client("ward", "system/Patient.s?gender=male") as narrow:
        assert ids(await matched(narrow, by_number("MR-p1"))) == []


def asked(*rows: Json) -> Json:
    return {"resourceType": "Parameters", "parameter": list(rows)}


ONE = {"name": "resource", "resource": patient()}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"resourceType": "Parameters"}, 400),
        ({"resourceType": "Patient"}, 400),
        (asked({"name": "resource", "valueString": "x"}), 400),
        (asked({"name": "resource", "resource": {"resourceType": "Group"}}), 400),
        (asked(ONE, ONE), 400),
        (asked(ONE, {"name": "count", "valueInteger": 0}), 400),
        (described(birthDate="never"), 422),
        (described(name=[{"family": ["x"]}]), 422),
        (described(identifier=[{"system": 1, "value": {}}]), 422),
    ],
)
async def test_a_description_that_is_none_is_refused(node: Node, body: Json, status: int) -> None:
    async with node.client() as ward:
        await matched(ward, body, status)
