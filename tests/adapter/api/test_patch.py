"""patch: what is written, what is refused, what is hidden, and who comes in between. fhir chapter §7, §12, §13."""

import asyncio
import base64
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from adapter.api import delete
from adapter.api.content import PATCHES
from mappings.fhir.codec import encode
from tests.adapter.api.conftest import Json, Node, consent, decode_json, observation, patient
from tests.adapter.api.test_create import code_of
from tests.adapter.api.test_transaction import bundle, entry, places, post, statuses

pytestmark = pytest.mark.usefixtures("both")

JSON_PATCH = "application/json-patch+json"
GENDER = [{"op": "replace", "path": "/gender", "value": "male"}]


async def send(
    client: httpx.AsyncClient, body: Any, kind: str = JSON_PATCH, at: str = "Patient/p1", **headers: str
) -> httpx.Response:
    content = body if isinstance(body, bytes) else encode(body)
    return await client.patch(f"/fhir/{at}", content=content, headers={"Content-Type": kind} | headers)


async def test_a_patch_writes_a_version_and_answers_with_it(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        done = await send(ward, GENDER)
        assert (done.status_code, done.headers["etag"]) == (200, 'W/"2"')
        assert "location" not in done.headers
        read = await ward.get("/fhir/Patient/p1")
        assert (read.content, decode_json(read.content)["gender"]) == (done.content, "male")
        assert decode_json((await ward.get("/fhir/Patient/p1/_history/1")).content)["gender"] == "female"


@pytest.mark.parametrize("kind", [*PATCHES[1:], "application/json; charset=utf-8", "Application/Merge-Patch+JSON"])
async def test_an_object_is_merged(node: Node, kind: str) -> None:
    await node.put(patient())
    async with node.client() as ward:
        done = await send(ward, {"gender": None, "active": True, "name": [{"family": "Neu"}]}, kind)
    assert done.status_code == 200
    body = decode_json(done.content)
    assert ("gender" in body, body["active"], body["name"]) == (False, True, [{"family": "Neu"}])
    assert body["birthDate"] == "1970-05-17"


async def test_numbers_stay_as_they_were_written(node: Node) -> None:
    body = observation("o1", valueQuantity={"value": 7})
    await node.put(patient(), body)
    change = b'[{"op":"replace","path":"/valueQuantity/value","value":1.50}]'
    holds = (
        b'[{"op":"test","path":"/valueQuantity/value","value":1.5},{"op":"replace","path":"/status","value":"amended"}]'
    )
    async with node.client() as ward:
        assert b'"value":1.50}' in (await send(ward, change, at="Observation/o1")).content
        kept = await send(ward, holds, at="Observation/o1")
    assert (kept.status_code, kept.headers["etag"]) == (200, 'W/"3"')
    assert b'"value":1.50}' in kept.content


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ([{"op": "test", "path": "/gender", "value": "female"}], JSON_PATCH),
        ([], JSON_PATCH),
        ({}, "application/merge-patch+json"),
        ({"gender": "female", "meta": {"versionId": "9"}}, "application/json"),
    ],
)
async def test_what_says_the_same_as_before_writes_nothing(node: Node, body: Any, kind: str) -> None:
    await node.put(patient())
    async with node.client() as ward:
        done = await send(ward, body, kind)
        assert (done.status_code, done.headers["etag"]) == (200, 'W/"1"')
        assert (await ward.get("/fhir/Patient/p1/_history/2")).status_code == 404


REFUSED: list[tuple[Any, str, int, str, list[str]]] = [
    ([{"op": "test", "path": "/gender", "value": "male"}], JSON_PATCH, 422, "patch-test", ["Patient.gender"]),
    ([{"op": "remove", "path": "/name/0/period"}], JSON_PATCH, 422, "patch-path", ["Patient.name[0]"]),
    ([{"op": "replace", "path": "/id", "value": "p2"}], JSON_PATCH, 422, "patch-result", ["Patient.id"]),
    ([{"op": "remove", "path": "/id"}], JSON_PATCH, 422, "patch-result", ["Patient.id"]),
    ([{"op": "remove", "path": ""}], JSON_PATCH, 422, "patch-result", ["Patient"]),
    ([{"op": "replace", "path": "", "value": []}], JSON_PATCH, 422, "patch-result", ["Patient"]),
    ({"resourceType": "Parameters"}, "application/fhir+json", 422, "patch-result", ["Patient.resourceType"]),
    (
        [{"op": "add", "path": "/gender", "value": "x"}, {"op": "add", "path": "/birthDate", "value": "then"}],
        JSON_PATCH,
        422,
        "invalid-resource",
        ["Patient.birthDate", "Patient.gender"],
    ),
    ({"name": []}, "application/merge-patch+json", 422, "invalid-resource", ["Patient.name"]),
    ({"name": [None]}, "application/merge-patch+json", 422, "invalid-resource", ["Patient.name[0]"]),
    ([{"op": "copy", "from": "", "path": f"/x{n}"} for n in range(60)], JSON_PATCH, 413, "too-large", []),
    ([{"op": "test", "path": "", "value": 1}] * 1001, JSON_PATCH, 413, "too-large", []),
    (b"[{", JSON_PATCH, 400, "patch", []),
    ({}, JSON_PATCH, 400, "patch", []),
    ([], "application/merge-patch+json", 400, "bad-request", ["Resource"]),
    (b"", "application/json", 400, "bad-request", ["Resource"]),
    (b'{"gender":"male","gender":"female"}', "application/json", 400, "bad-request", ["Resource.gender"]),
    ([], "application/fhir+xml", 415, "patch-type", []),
    ([], "text/plain", 415, "patch-type", []),
    ([], "", 415, "patch-type", []),
    ([], f"{JSON_PATCH}; charset=latin-1", 415, "patch-type", []),
]


@pytest.mark.parametrize(("body", "kind", "status", "code", "at"), REFUSED, ids=lambda value: str(value)[:40])
async def test_what_cannot_be_done_is_told_with_its_places_and_not_done(
    node: Node, body: Any, kind: str, status: int, code: str, at: list[str]
) -> None:
    await node.put(patient())
    async with node.client() as ward:
        answer = await send(ward, body, kind)
        assert (answer.status_code, code_of(answer)) == (status, code), answer.text
        assert sorted(places(answer)) == at
        assert ("accept-patch" in answer.headers) == (status == 415)
        assert b"Muster" not in answer.content
        assert (await ward.get("/fhir/Patient/p1")).headers["etag"] == 'W/"1"'


async def test_a_patch_of_another_version_than_the_one_expected_is_refused(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        assert (await send(ward, GENDER, **{"If-Match": 'W/"2"'})).status_code == 412
        assert (await send(ward, GENDER, **{"If-Match": 'W/"1"'})).status_code == 200
        late = await send(ward, GENDER, **{"If-Match": 'W/"1"'})
    assert (late.status_code, code_of(late)) == (412, "version")


async def test_what_is_hidden_answers_like_what_is_absent_and_stays(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        assert (await ward.post("/fhir/Consent", json=consent("deny", to=None))).status_code == 201
        hidden = await send(ward, GENDER)
        absent = await send(ward, GENDER, at="Patient/none")
        wrong = await send(ward, [{"op": "test", "path": "/gender", "value": "no"}])
        matched = await send(ward, GENDER, **{"If-Match": 'W/"7"'})
    assert hidden.status_code == 404
    assert {one.content for one in (hidden, absent, wrong, matched)} == {absent.content}
    assert "resource.written" not in (await node.kinds())[-3:]


async def test_what_was_deleted_is_not_patched(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        await ward.delete("/fhir/Patient/p1")
        assert (await send(ward, GENDER)).status_code == 410


@pytest.mark.parametrize("scope", ["system/*.u", "system/*.r", "system/*.cds"])
async def test_a_patch_needs_to_read_and_to_update(node: Node, scope: str) -> None:
    await node.put(patient())
    async with node.client("ward", scope) as client:
        answer = await send(client, GENDER)
    assert (answer.status_code, code_of(answer)) == (403, "scope")


@pytest.mark.parametrize("at", [0, 1])
async def test_granular_scopes_judge_what_stands_and_what_comes(node: Node, at: int) -> None:
    await node.put(patient(), observation("o1", status="final"))
    scope = ("system/Observation.u?status=amended", "system/Observation.u?status=final")[at]
    async with node.client("ward", f"system/Observation.r {scope}") as client:
        answer = await send(client, [{"op": "replace", "path": "/status", "value": "amended"}], at="Observation/o1")
    assert (answer.status_code, code_of(answer)) == (403, "scope")


async def test_others_do_not_patch_what_they_may_read(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward, node.client("north") as north:
        assert (await ward.post("/fhir/Consent", json=consent())).status_code == 201
        answer = await send(north, GENDER)
    assert (answer.status_code, code_of(answer)) == (403, "custodian")


async def test_what_came_in_between_is_kept(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version between the look and the write: the patch is applied again, to that one."""
    await node.put(patient())
    seen: list[int] = []
    real: Callable[..., Any] = delete.current

    async def current(*args: Any) -> Any:
        item = await real(*args)
        seen.append(item.version)
        if len(seen) == 1:
            await node.put(patient(family="Between"))
        return item

    monkeypatch.setattr("adapter.api.patch.current", current)
    async with node.client() as ward:
        done = await send(ward, GENDER)
    body = decode_json(done.content)
    assert (seen, body["name"][0]["family"], body["gender"]) == ([1, 2], "Between", "male")
    assert done.headers["etag"] == 'W/"3"'


async def test_no_patch_of_many_at_once_is_lost(node: Node) -> None:
    """Each that is answered with 200 stands in the end; the others hear that they should repeat."""
    await node.put(patient())
    async with node.client() as ward:

        async def ask(number: int) -> tuple[int, int]:
            given = [{"op": "add", "path": "/name/0/given/-", "value": f"N{number}"}]
            return number, (await send(ward, given)).status_code

        answers = dict(await asyncio.gather(*map(ask, range(16))))
        body = decode_json((await ward.get("/fhir/Patient/p1")).content)
    assert set(answers.values()) <= {200, 409}
    assert Counter(body["name"][0]["given"]) == Counter(["Ana"] + [f"N{n}" for n, s in answers.items() if s == 200])
    assert int(body["meta"]["versionId"]) == 1 + list(answers.values()).count(200)


def binary(patch: Any, kind: str = JSON_PATCH) -> Json:
    return {"resourceType": "Binary", "contentType": kind, "data": base64.b64encode(encode(patch)).decode()}


async def test_a_batch_takes_a_patch_inside_a_binary_or_as_an_object(node: Node) -> None:
    await node.put(patient(), patient("p2"))
    sent = bundle(
        entry("PATCH", "Patient/p1", binary(GENDER)),
        entry("PATCH", "Patient/p1", binary({"active": True}, "application/merge-patch+json"), ifMatch='W/"2"'),
        entry("PATCH", "Patient/p2", {"resourceType": "Patient", "active": True}),
        entry("PATCH", "Patient/p1", binary(GENDER), ifMatch='W/"1"'),
        entry("PATCH", "Patient/p1", binary(GENDER, "text/plain")),
        entry("PATCH", "Patient/p1", {"resourceType": "Binary", "contentType": JSON_PATCH, "data": "!"}),
        entry("PATCH", "Patient/p1", {"resourceType": "Binary"}),
        entry("PATCH", "Patient/none", binary(GENDER)),
        entry("PATCH", "Patient/p1"),
        kind="batch",
    )
    async with node.client() as ward:
        answer = await post(ward, sent)
        assert statuses(answer) == ["200", "200", "200", "412", "415", "400", "415", "404", "400"]
        body = decode_json((await ward.get("/fhir/Patient/p1")).content)
    assert (body["gender"], body["active"], body["meta"]["versionId"]) == ("male", True, "3")


# --- in a transaction -------------------------------------------------------------------------------------------------

URN = "urn:uuid:aaaaaaaa-0000-4000-8000-000000000001"
TXNS = "SELECT txn FROM txn"


async def test_a_transaction_takes_patches_with_what_else_it_does(node: Node) -> None:
    """After POST, as one commit; the names of the Bundle are names in what a patch brings."""
    await node.put(patient(), observation("o1"), observation("o2"))
    note = [{"op": "add", "path": "/derivedFrom", "value": [{"reference": URN}]}]
    sent = bundle(
        entry("GET", "Observation/o1"),
        entry("PATCH", "Observation/o1", binary(note), ifMatch='W/"1"'),
        entry("PATCH", "Patient/p1", {"gender": "male"}),
        entry("DELETE", "Observation/o2"),
        entry("POST", "Observation", observation("x"), URN),
        entry("GET", "Patient/p1"),
    )
    async with node.client() as ward:
        answer = await post(ward, sent)
        assert statuses(answer) == ["200", "200", "200", "204", "201", "200"]
        found = decode_json(answer.content)["entry"]
    made = found[4]["response"]["location"].split("/")[-3]
    assert found[0]["resource"]["derivedFrom"] == [{"reference": f"Observation/{made}"}]
    assert (found[1]["response"]["etag"], found[5]["resource"]["gender"]) == ('W/"2"', "male")
    written = await node.services.store.read(lambda conn: conn.exec_driver_sql(TXNS).fetchall())
    assert len(written) == 2, "what was there, and the transaction"


async def test_a_patch_that_says_the_same_writes_no_version_in_a_transaction_either(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        answer = await post(
            ward, bundle(entry("PATCH", "Patient/p1", {"gender": "female"})), Prefer="return=representation"
        )
    (one,) = decode_json(answer.content)["entry"]
    assert (one["response"]["etag"], one["resource"]["gender"]) == ('W/"1"', "female")


async def test_one_patch_that_fails_takes_all_back(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    failing = [{"op": "test", "path": "/status", "value": "amended"}]
    sent = bundle(
        entry("PATCH", "Patient/p1", {"gender": "male"}),
        entry("DELETE", "Observation/o1"),
        entry("PATCH", "Observation/o9", binary(failing)),
        entry("PUT", "Observation/o9", observation("o9")),
    )
    async with node.client() as ward:
        answer = await post(ward, sent)
        assert (answer.status_code, places(answer)) == (404, ["Bundle.entry[2]"])
        sent["entry"][2]["request"]["url"] = "Observation/o1"
        sent["entry"][1:2] = []
        failed = await post(ward, sent)
        assert (failed.status_code, code_of(failed), places(failed)) == (
            422,
            "patch-test",
            ["Bundle.entry[1].resource.status"],
        )
        for name in ("Patient/p1", "Observation/o1"):
            assert (await ward.get(f"/fhir/{name}")).headers["etag"] == 'W/"1"'
        assert (await ward.get("/fhir/Observation/o9")).status_code == 404


@pytest.mark.parametrize(
    "second",
    [
        entry("PATCH", "Patient/p1", {"active": True}),
        entry("DELETE", "Patient/p1"),
        entry("PUT", "Patient/p1", patient()),
    ],
)
async def test_two_entries_that_change_one_resource_are_refused(node: Node, second: Json) -> None:
    await node.put(patient())
    async with node.client() as ward:
        answer = await post(ward, bundle(entry("PATCH", "Patient/p1", {"gender": "male"}), second))
        assert (answer.status_code, code_of(answer)) == (400, "duplicate")
        assert (await ward.get("/fhir/Patient/p1")).headers["etag"] == 'W/"1"'


@pytest.mark.parametrize(
    ("scope", "status"),
    [("system/*.u", 403), ("system/*.r", 403), ("system/Observation.cruds", 403), ("system/*.ru", 200)],
)
async def test_a_patch_in_a_transaction_needs_the_letters_of_a_patch(node: Node, scope: str, status: int) -> None:
    await node.put(patient())
    async with node.client("ward", scope) as ward:
        answer = await post(ward, bundle(entry("PATCH", "Patient/p1", {"gender": "male"})))
    assert answer.status_code == status


async def test_what_is_hidden_is_not_patched_and_answers_like_what_is_absent(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        assert (await ward.post("/fhir/Consent", json=consent("deny", to=None))).status_code == 201
        before = node.services.ledger.size
        hidden = await post(ward, bundle(entry("PATCH", "Patient/p1", {"gender": "male"})))
        absent = await post(ward, bundle(entry("PATCH", "Patient/p9", {"gender": "male"})))
    assert (hidden.status_code, hidden.content) == (404, absent.content)
    assert await node.kinds(before) == ["access.denied", "access.denied"]


async def test_what_was_deleted_is_410_in_a_transaction(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    async with node.client() as ward:
        assert (await ward.delete("/fhir/Observation/o1")).status_code == 204
        answer = await post(ward, bundle(entry("PATCH", "Observation/o1", {"status": "amended"})))
    assert (answer.status_code, code_of(answer), places(answer)) == (410, "deleted", ["Bundle.entry[0]"])


async def test_a_reference_that_stood_there_is_no_fault_of_the_patch(node: Node) -> None:
    """What a feed left without a meaning stays what it was; what the patch brings has to mean something."""
    loose = observation("o1", derivedFrom=[{"reference": URN}])
    await node.put(patient(), loose)
    async with node.client() as ward:
        answer = await post(ward, bundle(entry("PATCH", "Observation/o1", {"status": "amended"})))
    assert statuses(answer) == ["200"]


async def test_parallel_transactions_that_patch_one_resource_lose_nothing(node: Node) -> None:
    await node.put(patient())

    async def one(ward: httpx.AsyncClient, number: int) -> int:
        add = [{"op": "add", "path": "/name/0/given/-", "value": f"N{number}"}]
        return (await post(ward, bundle(entry("PATCH", "Patient/p1", binary(add))))).status_code

    async with node.client() as ward:
        found = await asyncio.gather(*(one(ward, number) for number in range(6)))
        body = decode_json((await ward.get("/fhir/Patient/p1")).content)
    assert set(found) <= {200, 409}
    names = ["Ana", *(f"N{number}" for number, status in enumerate(found) if status == 200)]
    assert Counter(body["name"][0]["given"]) == Counter(names)
