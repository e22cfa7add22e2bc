"""read, vread and history through the gate, with real stores and log. FHIR R4 http.html; fhir chapter §7; access §6."""

import asyncio
import base64
import hashlib
import os
import sqlite3
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from adapter.access import audit, policy
from adapter.api.call import MAX_QUERY_BYTES
from adapter.settings import Access
from adapter.store.unit import Delete
from mappings.fhir.codec import decode, encode
from mappings.fhir.validate import validate
from tests.adapter.api.conftest import Node, consent, observation, patient

pytestmark = pytest.mark.usefixtures("both")


async def test_a_read_answers_with_the_stored_bytes_and_their_headers(node: Node) -> None:
    await node.put(patient(), observation("o1", valueQuantity={"value": Decimal("1.50"), "unit": "mg/dL"}))
    async with node.client() as ward:
        answer = await ward.get("/fhir/Observation/o1", headers={"X-Request-Id": "my-id.1"})
    assert answer.status_code == 200
    assert encode(decode(answer.content)) == answer.content
    assert validate(decode(answer.content)) == ()
    headers = answer.headers
    assert headers["etag"] == 'W/"1"'
    assert headers["x-request-id"] == "my-id.1"
    assert headers["vary"] == "Accept, Authorization"
    assert headers["cache-control"] == "no-store"
    assert headers["content-type"] == "application/fhir+json; charset=utf-8"
    digest = base64.b64encode(hashlib.sha256(answer.content).digest()).decode()
    assert headers["content-digest"] == f"sha-256=:{digest}:"
    assert headers["last-modified"].endswith("GMT")


async def test_the_event_of_a_read_is_in_the_log_before_the_answer_and_opens_to_what_was_read(node: Node) -> None:
    written = await node.put(patient(), observation("o1"))
    owner = written.changes[0].owner
    async with node.client() as ward:
        answer = await ward.get("/fhir/Observation/o1")
    index = int(answer.headers["x-ledger-index"].rpartition(":")[2])
    entry = (await node.entries())[index]
    assert (entry["type"], entry["outcome"]) == ("access.read", "permit")
    detail = await node.detail(entry, owner)
    line = audit.line("r", "Observation", "o1", 1, answer.content)
    assert detail["content"] == [line]
    assert detail["committed"]["basis"] == node.services.house.policies["inside"].ref
    assert (detail["client"], detail["purposes"], detail["query"]) == ("ward", ["TREAT"], "/fhir/Observation/o1")
    assert detail["request"] == answer.headers["x-request-id"]


async def test_what_nobody_owns_is_the_organisations_and_its_event_is_about_nobody(node: Node) -> None:
    await node.put({"resourceType": "Organization", "id": "org1", "name": "Stadtklinik"})
    async with node.client("clerk") as clerk, node.client("north") as north:
        seen, hidden = await clerk.get("/fhir/Organization/org1"), await north.get("/fhir/Organization/org1")
    assert (seen.status_code, hidden.status_code) == (200, 404)


async def test_hidden_answers_exactly_like_absent(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    async with node.client("north") as north:
        hidden = await north.get("/fhir/Observation/o1", headers={"X-Request-Id": "same"})
        absent = await north.get("/fhir/Observation/o2", headers={"X-Request-Id": "same"})
    assert hidden.status_code == absent.status_code == 404
    assert hidden.content == absent.content
    assert dict(hidden.headers) == dict(absent.headers)
    kinds = [(entry["type"], entry["outcome"]) for entry in (await node.entries())[-2:]]
    assert kinds == [("access.denied", "deny")] * 2
    assert set((await node.entries())[-1]) == set((await node.entries())[-2])


@pytest.mark.parametrize("client", ["north", "clerk"])
async def test_refusals_leave_at_a_multiple_of_the_step(node: Node, client: str) -> None:
    await node.put(patient(), observation("o1"))
    loop = asyncio.get_running_loop()
    async with node.client(client) as foreign:
        for path in ("/fhir/Observation/o1", "/fhir/Observation/none"):
            began = loop.time()
            await foreign.get(path)
            assert loop.time() - began >= 0.019


async def test_repeats_of_one_refusal_are_one_event_until_the_minute_is_told(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    before = node.services.ledger.size
    async with node.client("north") as north:
        for _ in range(3):
            assert (await north.get("/fhir/Observation/o1")).status_code == 404
    assert await node.kinds(before) == ["access.denied"]


@pytest.mark.parametrize("logical_id", ["o1", "x1"])
async def test_the_log_grows_alike_for_versions_that_are_hidden_and_that_never_were(
    node: Node, logical_id: str
) -> None:
    await node.put(patient(), observation("o1"))
    before = node.services.ledger.size
    async with node.client("north") as north:
        for version in ("/_history/1", "/_history/99", "", "/_history"):
            answer = await north.get(f"/fhir/Observation/{logical_id}{version}")
            assert answer.status_code == 404
    assert await node.kinds(before) == ["access.denied"]


async def test_a_client_that_is_refused_too_often_waits(node: Node) -> None:
    async with node.client("north") as north:
        answers = await asyncio.gather(*(north.get(f"/fhir/Observation/x{n}") for n in range(60)))
        assert {answer.status_code for answer in answers} == {404}
        size = node.services.ledger.size
        answer = await north.get("/fhir/Observation/another")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert node.services.ledger.size == size


async def test_conditional_reads_answer_304_and_are_recorded(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        first = await ward.get("/fhir/Patient/p1")
        before = node.services.ledger.size
        for condition in (
            {"If-None-Match": first.headers["etag"]},
            {"If-None-Match": "1"},
            {"If-Modified-Since": first.headers["last-modified"]},
        ):
            answer = await ward.get("/fhir/Patient/p1", headers=condition)
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == 'W/"1"'
        assert (await ward.get("/fhir/Patient/p1", headers={"If-None-Match": 'W/"2"'})).status_code == 200
    assert await node.kinds(before) == ["access.read"] * 4


async def test_head_is_a_read_without_the_body(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        got, head = await ward.get("/fhir/Patient/p1"), await ward.head("/fhir/Patient/p1")
    assert head.content == b""
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.headers["etag"] == got.headers["etag"]


async def test_versions_are_read_one_by_one_and_as_a_history(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    await node.put(observation("o1", status="amended"))
    async with node.client() as ward:
        first = decode((await ward.get("/fhir/Observation/o1/_history/1")).content)
        second = decode((await ward.get("/fhir/Observation/o1/_history/2")).content)
        assert (first["status"], second["status"]) == ("final", "amended")
        bundle = decode((await ward.get("/fhir/Observation/o1/_history")).content)
        assert (await ward.get("/fhir/Observation/o1/_history/3")).status_code == 404
        assert (await ward.get("/fhir/Observation/o1/_history/x")).status_code == 404
    assert validate(bundle) == ()
    assert bundle["type"] == "history"
    assert [entry["resource"]["meta"]["versionId"] for entry in bundle["entry"]] == ["2", "1"]
    assert [entry["request"]["method"] for entry in bundle["entry"]] == ["PUT", "PUT"]


async def test_a_history_is_paged_by_sealed_cursors(node: Node) -> None:
    await node.put(patient())
    for family in "ABCDE":
        await node.put(patient(family=family))
    versions: list[str] = []
    async with node.client() as ward:
        url = "/fhir/Patient/p1/_history?_count=2"
        while url:
            bundle = decode((await ward.get(url)).content)
            versions += [entry["resource"]["meta"]["versionId"] for entry in bundle["entry"]]
            url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")
            url = url.removeprefix(node.services.base.removesuffix("/fhir"))
    assert versions == ["6", "5", "4", "3", "2", "1"]


async def test_a_history_pages_what_may_be_seen_past_what_may_not(node: Node) -> None:
    """A result that was filed under the wrong patient: whoever may see her sees what was said of her, page by page."""
    await node.put(patient("p1"), patient("p2"), observation("o1", of="p1"))
    await node.put(observation("o1", of="p1", code="718-7"))
    await node.put(observation("o1", of="p2"))
    await node.put(observation("o1", of="p2", code="718-7"))
    async with node.client() as ward, node.client("north") as north:
        await ward.post("/fhir/Consent", json=consent(of="p1"))
        url, seen = "/fhir/Observation/o1/_history?_count=1", []
        while url:
            page = (await north.get(url)).json()
            seen += [entry["response"]["etag"] for entry in page["entry"]]
            url = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
    assert seen == ['W/"3"', 'W/"2"', 'W/"1"']


async def test_a_history_since_now_is_empty_and_not_absent(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        answer = await ward.get("/fhir/Patient/p1/_history?_since=2999-01-01T00:00:00Z")
        assert (await ward.get("/fhir/Patient/p1/_history?_since=yesterday")).status_code == 400
    assert (answer.status_code, decode(answer.content)["total"]) == (200, 0)


async def test_deleted_is_told_only_to_one_who_could_have_read_it(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    await node.commit(Delete("Observation", "o1"))
    async with node.client() as ward, node.client("north") as north:
        gone, hidden = await ward.get("/fhir/Observation/o1"), await north.get("/fhir/Observation/o1")
        bundle = decode((await ward.get("/fhir/Observation/o1/_history")).content)
        marker = await ward.get("/fhir/Observation/o1/_history/2")
    assert (gone.status_code, hidden.status_code, marker.status_code) == (410, 404, 410)
    assert decode(gone.content)["issue"][0]["code"] == "deleted"
    assert [entry["request"]["method"] for entry in bundle["entry"]] == ["DELETE", "PUT"]
    assert "resource" not in bundle["entry"][0]


async def test_a_scope_that_does_not_cover_the_type_is_403_for_every_id(node: Node) -> None:
    await node.put(patient())
    async with node.client("ward", "system/Observation.rs") as ward:
        answers = [await ward.get(f"/fhir/Patient/{name}", headers={"X-Request-Id": "x"}) for name in ("p1", "none")]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert answers[0].content == answers[1].content
    assert (await node.entries())[-1]["type"] == "access.denied"


async def test_a_granular_scope_shows_what_its_query_finds(node: Node) -> None:
    await node.put(patient(), observation("o1"), observation("o2", code="718-7"))
    async with node.client("ward", "system/Observation.r?code=http://loinc.org|718-7") as ward:
        assert (await ward.get("/fhir/Observation/o2")).status_code == 200
        assert (await ward.get("/fhir/Observation/o1")).status_code == 404
    async with node.client("ward", "system/Observation.r?no-such=1") as ward:
        assert (await ward.get("/fhir/Observation/o2")).status_code == 404


async def test_without_a_log_that_appends_nothing_is_served(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        assert (await ward.get("/fhir/Patient/p1")).status_code == 200
        await node.services.ledger.close()
        answer = await ward.get("/fhir/Patient/p1")
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    assert decode(answer.content)["issue"][0]["code"] == "transient"
    assert b"Muster" not in answer.content


async def test_a_purpose_outside_treatment_sees_nothing(node: Node) -> None:
    await node.put(patient())
    async with node.client("ward", "system/*.rs", "HRESCH") as research:
        assert (await research.get("/fhir/Patient/p1")).status_code == 404


BAD: list[tuple[str, str, dict[str, str], int]] = [
    ("GET", "/fhir/Patient/no_id", {}, 400),
    ("GET", "/fhir/Patient/" + "x" * 65, {}, 400),
    ("GET", "/fhir/Patient/p1?unknown=1", {}, 400),
    ("GET", "/fhir/Patient/p1?_format=html", {}, 406),
    ("GET", "/fhir/Patient/p1", {"Accept": "text/html"}, 406),
    ("GET", "/fhir/Nothing/p1", {}, 404),
    ("GET", "/fhir/Patient/p1/p2/p3/p4", {}, 404),
    ("GET", "/nothing", {}, 404),
    ("GET", "/", {}, 404),
    ("DELETE", "/fhir/Patient", {}, 405),
    ("PATCH", "/fhir/Patient", {}, 405),
    ("POST", "/fhir/Patient", {}, 415),
    ("POST", "/fhir/Patient/p1", {}, 405),
    ("GET", "/fhir/Patient/p1?x=" + "y" * MAX_QUERY_BYTES, {}, 400),
    ("GET", "/fhir/Patient/p1?_format=%ff", {}, 400),
]


@pytest.mark.parametrize(("method", "path", "headers", "status"), BAD, ids=lambda value: str(value)[:40])
async def test_every_refusal_is_an_outcome(
    node: Node, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    async with node.client() as ward:
        answer = await ward.request(method, path, headers=headers)
    assert answer.status_code == status
    outcome = decode(answer.content)
    assert outcome["resourceType"] == "OperationOutcome"
    assert validate(outcome) == ()
    assert answer.headers["x-request-id"]
    assert ("allow" in answer.headers) == (status == 405)


async def test_without_a_token_nothing_is_said_but_that_one_is_needed(node: Node) -> None:
    await node.put(patient())
    async with node.bare() as nobody:
        answer = await nobody.get("/fhir/Patient/p1")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    async with node.bare({"Authorization": "Bearer nonsense"}) as nobody:
        answer = await nobody.get("/fhir/Patient/p1")
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_a_trailing_slash_is_the_same_address(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        assert (await ward.get("/fhir/Patient/p1/")).status_code == 200


async def test_pretty_is_another_form_of_the_same_content(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        plain, pretty = await ward.get("/fhir/Patient/p1"), await ward.get("/fhir/Patient/p1?_pretty=true")
    assert pretty.content.count(b"\n") > 5
    assert encode(decode(pretty.content)) == plain.content


async def test_a_strange_request_id_is_replaced(node: Node) -> None:
    async with node.bare() as nobody:
        answer = await nobody.get("/livez", headers={"X-Request-Id": "a b"})
        assert len(answer.headers["x-request-id"]) == 32


async def test_health_says_what_answers(node: Node) -> None:
    async with node.bare() as nobody:
        assert (await nobody.get("/livez")).status_code == 200
        ready = await nobody.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        with sqlite3.connect(node.services.site / node.settings.vault.path) as vault:
            vault.execute("DELETE FROM org_key")  # as after a restore of the wrong file
        vault.close()
        ready = await nobody.get("/readyz")
    assert (ready.status_code, ready.json()["failing"]) == (503, ["vault"])


async def test_checkpoint_and_tiles_are_public_and_nothing_else_of_the_folder_is(node: Node) -> None:
    await node.services.ledger.integrate()
    shard = node.services.ledger.shard
    async with node.bare() as nobody:
        checkpoint = await nobody.get(f"/log/{shard}/checkpoint")
        assert checkpoint.text.startswith(node.services.ledger.origin)
        size = int(checkpoint.text.split("\n")[1])
        tile = await nobody.get(f"/log/{shard}/tile/0/000.p/{size}")
        assert len(tile.content) == 32 * size
        deep = "tile/0/" + "x000/" * 3000 + "000"
        for path in (
            "tile/entries/000",
            "tile/0/..%2f..",
            "tile/0/000.p/999",
            "../chartbridge.toml",
            "checkpoint.pq",
            deep,
        ):
            assert (await nobody.get(f"/log/{shard}/{path}")).status_code == 404
        assert (await nobody.get("/log/..%2f/checkpoint")).status_code == 404


async def test_a_policy_retired_in_the_log_permits_nothing_from_then_on(node: Node) -> None:
    """Another process changed the house rules: the ledger refuses the old basis, and the gate reads the new ones."""
    await node.put(patient())
    async with node.client() as ward:
        assert (await ward.get("/fhir/Patient/p1")).status_code == 200
        changes = policy.changes(node.services.house.policies, policy.documents(Access(inside="deny")))
        await node.services.ledger.append(audit.policy_events(changes, "stadtklinik", datetime.now(UTC), os.urandom))
        assert (await ward.get("/fhir/Patient/p1")).status_code == 404
    assert node.services.house.policies["inside"].rule == "deny"
