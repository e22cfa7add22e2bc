"""create and update: ids, versions, conditions, preferences, faults. FHIR R4 §3.1.0.4, §3.1.0.8; fhir chapter §7."""

from typing import Any

import httpx
import pytest

from adapter.api.prefer import returned
from tests.adapter.api.conftest import Json, Node, consent, decode_json, observation, patient

pytestmark = pytest.mark.usefixtures("both")


def code_of(answer: httpx.Response) -> str:
    found: str = decode_json(answer.content)["issue"][0]["details"]["coding"][0]["code"]
    return found


def organisation(**more: Any) -> Json:
    return {"resourceType": "Organization", "name": "Station 3"} | more


@pytest.mark.parametrize(
    "reference",
    [
        "urn:uuid:59c4e8a6-3c4d-4a1b-9f57-000000000001",
        "http://other.example/Patient/1",
        "Patient?identifier=urn:oid:2.999.1.1|MR-9",
        "Muster",
        "Device/absent",
    ],
)
async def test_whose_data_cannot_be_told_is_refused_at_its_place(node: Node, reference: str) -> None:
    async with node.client() as ward:
        answer = await ward.post("/fhir/Observation", json=observation("x") | {"subject": {"reference": reference}})
    [issue] = decode_json(answer.content)["issue"]
    assert (answer.status_code, code_of(answer)) == (422, "owner-unknown")
    assert issue["expression"] == ["Observation.subject"]
    assert issue["diagnostics"].startswith("whose data this is cannot be told: ")
    assert reference not in answer.text


async def test_a_new_resource_gets_an_id_of_ours_and_says_where_it_is(node: Node) -> None:
    async with node.client() as ward:
        made = await ward.post("/fhir/Patient", json=patient("chosen-by-the-client"))
        assert made.status_code == 201
        body = decode_json(made.content)
        assert body["id"] != "chosen-by-the-client"
        assert body["meta"]["versionId"] == "1"
        assert made.headers["location"] == f"{node.services.base}/Patient/{body['id']}/_history/1"
        assert made.headers["etag"] == 'W/"1"'
        read = await ward.get(f"/fhir/Patient/{body['id']}")
        assert (read.content, read.headers["last-modified"]) == (made.content, made.headers["last-modified"])
        assert (await ward.get("/fhir/Patient/chosen-by-the-client")).status_code == 404


async def test_numbers_stay_as_they_were_written(node: Node) -> None:
    """1.50 is another statement than 1.5, and 1e2 is not 100."""
    await node.put(patient())
    text = b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/p1"},'
    text += b'"component":[{"code":{"text":"a"},"valueQuantity":{"value":1.50}},{"code":{"text":"b"},'
    text += b'"valueQuantity":{"value":1e2}}]}'
    async with node.client() as ward:
        made = await ward.post("/fhir/Observation", content=text, headers={"Content-Type": "application/fhir+json"})
    assert made.status_code == 201
    assert b'"value":1.50}' in made.content
    assert b'"value":1e2}' in made.content


async def test_the_log_is_owed_one_event_for_a_write_and_its_patient(node: Node) -> None:
    await node.put(patient())
    before = node.services.ledger.size
    async with node.client() as ward:
        made = await ward.post("/fhir/Observation", json=observation("x"), headers={"Prefer": "return=minimal"})
    assert (made.status_code, made.content) == (201, b"")
    assert await node.kinds(before) == []
    await node.services.delivery.deliver()
    assert await node.kinds(before) == ["resource.written"]


async def test_whoever_writes_wakes_the_delivery(node: Node) -> None:
    heard: list[str] = []
    node.services.delivery.heard_by(lambda: heard.append("owed"))
    async with node.client() as ward:
        await ward.post("/fhir/Organization", json=organisation())
    assert heard == ["owed"]


@pytest.mark.parametrize(
    ("prefer", "kind"),
    [
        (None, "Organization"),
        ("return=representation", "Organization"),
        ("respond-async, return=OperationOutcome", "OperationOutcome"),
        ("return=minimal; x=y", None),
        ("return=everything", "Organization"),
    ],
)
async def test_the_client_says_what_it_wants_back(node: Node, prefer: str | None, kind: str | None) -> None:
    headers = {} if prefer is None else {"Prefer": prefer}
    async with node.client() as ward:
        made = await ward.post("/fhir/Organization", json=organisation(), headers=headers)
    assert made.status_code == 201
    assert (decode_json(made.content)["resourceType"] if made.content else None) == kind


def test_a_long_preference_is_not_read_to_its_end() -> None:
    assert returned("x," * 5000 + "return=minimal") == "representation"


async def test_whoever_writes_and_may_not_read_gets_no_body(node: Node) -> None:
    await node.put(patient())
    async with node.client("ward", "system/*.cud") as writer, node.client() as ward:
        made = await writer.post("/fhir/Observation", json=observation("x"))
        assert (made.status_code, made.content) == (201, b"")
        assert (await ward.post("/fhir/Consent", json=consent("deny", to=None))).status_code == 201
        hidden = await ward.post("/fhir/Observation", json=observation("y"))
        assert (hidden.status_code, hidden.content) == (201, b"")


async def test_an_update_writes_a_version_and_the_same_content_none(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        new = await ward.put("/fhir/Patient/p2", json=patient("p2"))
        assert (new.status_code, new.headers["etag"]) == (201, 'W/"1"')
        assert new.headers["location"] == f"{node.services.base}/Patient/p2/_history/1"
        again = await ward.put("/fhir/Patient/p2", json=patient("p2"))
        assert (again.status_code, again.headers["etag"]) == (200, 'W/"1"')
        assert again.headers["last-modified"] == new.headers["last-modified"]
        assert again.content == new.content
        changed = await ward.put("/fhir/Patient/p2", json=patient("p2", family="Neu"))
        assert (changed.status_code, changed.headers["etag"]) == (200, 'W/"2"')
        assert "location" not in changed.headers
        stamped = decode_json(changed.content)
        assert (await ward.put("/fhir/Patient/p2", json=stamped)).headers["etag"] == 'W/"2"'


async def test_what_was_deleted_comes_back_as_new(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        assert (await ward.delete("/fhir/Patient/p1")).headers["etag"] == 'W/"2"'
        assert (await ward.get("/fhir/Patient/p1")).status_code == 410
        back = await ward.put("/fhir/Patient/p1", json=patient())
    assert (back.status_code, back.headers["etag"]) == (201, 'W/"3"')


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ('W/"1"', 200),
        ('"1"', 200),
        ("1", 200),
        ("W/1", 200),
        ('W/"7", W/"1"', 200),
        ("*", 200),
        ('W/"2"', 412),
        ("", 412),
        ("nonsense", 412),
    ],
)
async def test_if_match_names_the_version_that_may_be_replaced(node: Node, header: str, status: int) -> None:
    await node.put(patient())
    async with node.client() as ward:
        answer = await ward.put("/fhir/Patient/p1", json=patient(family="Neu"), headers={"If-Match": header})
        assert answer.status_code == status
        if status == 412:
            assert code_of(answer) == "version"
        absent = await ward.put("/fhir/Patient/nobody", json=patient("nobody"), headers={"If-Match": header})
        assert absent.status_code == 412


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "expression"),
    [
        ("POST", "/fhir/Patient", b"{", 400, "bad-request", "Resource"),
        ("POST", "/fhir/Patient", b'{"resourceType":"Patient","id":"a","id":"b"}', 400, "bad-request", "Patient.id"),
        ("POST", "/fhir/Patient", b'{"resourceType":"Observation"}', 400, "bad-request", "Patient.resourceType"),
        ("POST", "/fhir/Nothing", b'{"resourceType":"Nothing"}', 404, "type-unknown", None),
        ("POST", "/fhir/Patient", b'{"resourceType":"Patient","pet":"x"}', 422, "invalid-resource", "Patient.pet"),
        ("POST", "/fhir/Patient", b'{"resourceType":"Patient","contact":[{}]}', 422, "invalid-resource", None),
        ("PUT", "/fhir/Patient/p1", b'{"resourceType":"Patient"}', 400, "id-differs", "Patient.id"),
        ("PUT", "/fhir/Patient/p1", b'{"resourceType":"Patient","id":"p2"}', 400, "id-differs", "Patient.id"),
        ("PUT", "/fhir/Patient/p_1", b'{"resourceType":"Patient","id":"p_1"}', 400, "id", None),
        ("PUT", "/fhir/Patient", b'{"resourceType":"Patient"}', 400, "criteria-missing", None),
        ("PUT", "/fhir/Patient/p1?x=1", b'{"resourceType":"Patient","id":"p1"}', 400, "parameter", None),
        ("POST", "/fhir/AuditEvent", b'{"resourceType":"AuditEvent"}', 405, "read-only", None),
        ("DELETE", "/fhir/AuditEvent/a", b"", 405, "read-only", None),
        ("DELETE", "/fhir/Consent/c", b"", 405, "read-only", None),
        ("DELETE", "/fhir/Patient?identifier=x", b"", 405, "method-not-allowed", None),
    ],
)
async def test_a_fault_has_its_status_its_code_and_its_place(
    node: Node, method: str, path: str, body: bytes, status: int, code: str, expression: str | None
) -> None:
    async with node.client() as ward:
        answer = await ward.request(method, path, content=body, headers={"Content-Type": "application/fhir+json"})
    assert (answer.status_code, code_of(answer)) == (status, code)
    if expression is not None:
        assert decode_json(answer.content)["issue"][0]["expression"] == [expression]


async def test_all_faults_are_told_at_once(node: Node) -> None:
    wrong = {"resourceType": "Patient", "gender": "?", "birthDate": "1970-02-30", "name": "Muster"}
    async with node.client() as ward:
        answer = await ward.post("/fhir/Patient", json=wrong)
    told = decode_json(answer.content)["issue"]
    assert {issue["expression"][0] for issue in told} == {"Patient.gender", "Patient.birthDate", "Patient.name"}
    assert "Muster" not in answer.text


async def test_a_body_of_another_type_is_415(node: Node) -> None:
    async with node.client() as ward:
        answer = await ward.post("/fhir/Patient", content=b"a=b", headers={"Content-Type": "text/plain"})
    assert (answer.status_code, code_of(answer)) == (415, "body-type")


@pytest.mark.parametrize(
    ("scope", "create", "update", "upsert", "delete"),
    [
        ("system/*.cruds", 201, 200, 201, 204),
        ("system/*.rs", 403, 403, 403, 403),
        ("system/Observation.c", 201, 403, 403, 403),
        ("system/Observation.u", 403, 200, 404, 403),
        ("system/Observation.cu", 201, 200, 201, 403),
        ("system/Observation.d", 403, 403, 403, 204),
        ("system/Patient.cruds", 403, 403, 403, 403),
        ("patient/Observation.cud", 403, 403, 403, 403),
    ],
)
async def test_each_interaction_needs_its_letter(
    node: Node, scope: str, create: int, update: int, upsert: int, delete: int
) -> None:
    await node.put(patient(), observation("o1"))
    async with node.client("ward", scope) as ward:
        made = await ward.post("/fhir/Observation", json=observation("x"))
        changed = await ward.put("/fhir/Observation/o1", json=observation("o1", when="2026-01-01"))
        new = await ward.put("/fhir/Observation/o2", json=observation("o2"))
        gone = await ward.delete("/fhir/Observation/o1")
    assert [answer.status_code for answer in (made, changed, new, gone)] == [create, update, upsert, delete]


async def test_a_granular_scope_judges_what_comes_and_what_stands(node: Node) -> None:
    await node.put(patient(), observation("o1"), observation("o2", code="1-8"))
    async with node.client("ward", "system/Observation.cu?code=2160-0") as lab:
        assert (await lab.post("/fhir/Observation", json=observation("x"))).status_code == 201
        assert (await lab.post("/fhir/Observation", json=observation("x", code="1-8"))).status_code == 403
        assert (await lab.put("/fhir/Observation/o1", json=observation("o1", when="2026-01-01"))).status_code == 200
        assert (await lab.put("/fhir/Observation/o1", json=observation("o1", code="1-8"))).status_code == 403
        assert (await lab.put("/fhir/Observation/o2", json=observation("o2"))).status_code == 403


async def test_an_update_that_creates_is_judged_by_the_scope_to_create(node: Node) -> None:
    """Its query, too; alone and in a transaction."""
    scope = "system/Observation.u system/Observation.c?code=http://loinc.org|718-7"
    await node.put(patient())
    async with node.client("ward", scope) as ward:
        other = await ward.put("/fhir/Observation/o1", json=observation("o1"))
        entry = {"resource": observation("o1"), "request": {"method": "PUT", "url": "Observation/o1"}}
        inside = await ward.post("/fhir", json={"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
        own = await ward.put("/fhir/Observation/o2", json=observation("o2", code="718-7"))
        changed = await ward.put("/fhir/Observation/o2", json=observation("o2"))
    assert [one.status_code for one in (other, inside, own, changed)] == [404, 404, 201, 200]


async def test_a_granular_scope_judges_what_a_deletion_would_delete(node: Node) -> None:
    await node.put(patient(), observation("o1"), observation("o2", code="1-8"))
    async with node.client("ward", "system/Observation.d?code=2160-0") as lab:
        answers = [await lab.delete(f"/fhir/Observation/{one}") for one in ("o2", "o1")]
    assert [answer.status_code for answer in answers] == [404, 204]  # what is hidden answers like what is absent


async def test_only_the_custodian_writes_and_a_refusal_is_recorded(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    before = node.services.ledger.size
    async with node.client("north") as north:
        answers = [
            await north.post("/fhir/Observation", json=observation("x")),
            await north.put("/fhir/Observation/o1", json=observation("o1")),
            await north.delete("/fhir/Observation/o1"),
        ]
    assert {(answer.status_code, code_of(answer)) for answer in answers} == {(403, "custodian")}
    assert await node.kinds(before) == ["access.denied"] * 3


async def test_a_delete_is_answered_twice_and_never_for_what_never_was(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    async with node.client() as ward:
        first = await ward.delete("/fhir/Observation/o1")
        again = await ward.delete("/fhir/Observation/o1")
        never = await ward.delete("/fhir/Observation/o9")
        assert (await ward.get("/fhir/Observation/o1")).status_code == 410
        assert (await ward.get("/fhir/Observation/o1/_history/1")).status_code == 200
    assert (first.status_code, first.headers["etag"], first.content) == (204, 'W/"2"', b"")
    assert (again.status_code, again.headers["etag"]) == (204, 'W/"2"')
    assert never.status_code == 404


async def test_a_delete_of_another_version_is_refused(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        refused = await ward.delete("/fhir/Patient/p1", headers={"If-Match": 'W/"9"'})
        assert (refused.status_code, code_of(refused)) == (412, "version")
        assert (await ward.delete("/fhir/Patient/p1", headers={"If-Match": 'W/"1"'})).status_code == 204


async def test_what_is_hidden_is_deleted_like_what_is_absent(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    async with node.client() as ward:
        assert (await ward.post("/fhir/Consent", json=consent("deny", to=None))).status_code == 201
        hidden = await ward.delete("/fhir/Observation/o1", headers={"X-Request-Id": "same"})
        absent = await ward.delete("/fhir/Observation/o9", headers={"X-Request-Id": "same"})
    assert hidden.status_code == 404
    assert (hidden.content, hidden.headers) == (absent.content, absent.headers)
    stands = await node.services.store.read(
        lambda conn: conn.exec_driver_sql("SELECT count(*) FROM version WHERE op = 'd'").scalar()
    )
    assert stands == 0


async def test_a_log_that_cannot_append_lets_nothing_be_deleted(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        await node.services.ledger.close()
        assert (await ward.delete("/fhir/Patient/p1")).status_code == 503
    deleted = await node.services.store.read(
        lambda conn: conn.exec_driver_sql("SELECT count(*) FROM version WHERE op = 'd'").scalar()
    )
    assert deleted == 0
