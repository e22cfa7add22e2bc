"""History of a type and of everything: order, scope, gate, deletions, pages. FHIR R4 http.html#history; fhir chapter
§7.
"""

import httpx
import pytest

from adapter.api import history
from adapter.store.unit import Delete
from mappings.fhir.codec import decode
from mappings.fhir.validate import validate
from tests.adapter.api.conftest import Json, Node, consent, observation, patient
from tests.adapter.api.test_create import code_of

pytestmark = pytest.mark.usefixtures("both")


async def page(client: httpx.AsyncClient, url: str) -> Json:
    answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    return decode(answer.content)


def told(bundle: Json) -> list[str]:
    """Method, resource and version of each entry."""
    return [
        f"{one['request']['method']} {'/'.join(one['fullUrl'].split('/')[-2:])} {one['response']['etag'][3:-1]}"
        for one in bundle.get("entry", ())
    ]


def next_of(node: Node, bundle: Json) -> str:
    urls = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
    return urls[0].removeprefix(node.services.base.removesuffix("/fhir")) if urls else ""


async def whole(node: Node, client: httpx.AsyncClient, url: str) -> list[list[str]]:
    pages = []
    while url:
        found = await page(client, url)
        pages.append(told(found))
        url = next_of(node, found)
    return pages


async def written(node: Node) -> None:
    """A patient and two Observations, of which one is changed and then deleted."""
    await node.put(patient())
    await node.put(observation("o1"))
    await node.put(observation("o2"))
    await node.put(observation("o1", status="amended"))
    await node.commit(Delete("Observation", "o1"))


async def test_a_type_is_told_newest_first_with_its_deletions(node: Node) -> None:
    await written(node)
    async with node.client() as ward:
        bundle = await page(ward, "/fhir/Observation/_history")
        first = decode((await ward.get("/fhir/Observation/o1/_history/1")).content)
    assert validate(bundle) == ()
    assert (bundle["type"], "total" in bundle) == ("history", False)
    assert told(bundle) == [
        "DELETE Observation/o1 3",
        "PUT Observation/o1 2",
        "PUT Observation/o2 1",
        "PUT Observation/o1 1",
    ]
    assert [("resource" in one) for one in bundle["entry"]] == [False, True, True, True]
    assert bundle["entry"][0]["request"]["url"] == "Observation/o1"
    assert bundle["entry"][3]["resource"] == first


async def test_each_version_is_told_as_the_request_that_has_its_effect(node: Node) -> None:
    """Whoever made it, and however: the store does not keep which."""
    await node.put({"resourceType": "Organization", "id": "fed", "name": "Fed"})
    async with node.client() as ward:
        body = {"resourceType": "Organization", "name": "Station"}
        made = decode((await ward.post("/fhir/Organization", json=body)).content)["id"]
        for change in ({}, {"active": True}):
            await ward.put("/fhir/Organization/q1", json=body | change | {"id": "q1"})
        await ward.delete("/fhir/Organization/q1")
        await ward.put("/fhir/Organization/q1", json=body | {"id": "q1"})
        bundle = await page(ward, "/fhir/Organization/_history")
    assert validate(bundle) == ()
    assert [(*one["request"].values(), one["response"]["status"]) for one in bundle["entry"]] == [
        ("PUT", "Organization/q1", "201"),
        ("DELETE", "Organization/q1", "204"),
        ("PUT", "Organization/q1", "200"),
        ("PUT", "Organization/q1", "201"),
        ("PUT", f"Organization/{made}", "201"),
        ("PUT", "Organization/fed", "201"),
    ]


async def test_everything_is_told_of_the_types_that_the_scopes_of_the_system_cover(node: Node) -> None:
    await written(node)
    everything = ["DELETE Observation/o1 3", "PUT Observation/o1 2", "PUT Observation/o2 1", "PUT Observation/o1 1"]
    async with node.client() as ward, node.client("ward", "system/Patient.rs user/*.cruds") as half:
        assert told(await page(ward, "/fhir/_history")) == [*everything, "PUT Patient/p1 1"]
        assert told(await page(half, "/fhir/_history")) == ["PUT Patient/p1 1"]
        assert (await half.get("/fhir/Observation/_history")).status_code == 403


@pytest.mark.parametrize("scope", ["user/*.cruds", "system/Observation.r", "patient/*.rs", "system/Encounter.s"])
async def test_nothing_but_a_scope_of_the_system_that_searches_is_enough(node: Node, scope: str) -> None:
    await written(node)
    before = node.services.ledger.size
    async with node.client("ward", scope) as ward:
        answer = await ward.get("/fhir/Observation/_history")
    assert (answer.status_code, code_of(answer)) == (403, "scope")
    assert await node.kinds(before) == ["access.denied"]


async def test_a_granular_scope_judges_what_a_deletion_deleted(node: Node) -> None:
    await node.put(patient(), observation("o1"), observation("o2", code="718-7"))
    await node.commit(Delete("Observation", "o1"), Delete("Observation", "o2"))
    async with node.client("ward", "system/Observation.s?code=http://loinc.org|718-7") as ward:
        assert told(await page(ward, "/fhir/Observation/_history")) == [
            "DELETE Observation/o2 2",
            "PUT Observation/o2 1",
        ]


async def test_each_version_is_judged_by_its_patient_and_hidden_is_absent(node: Node) -> None:
    await node.put(patient("p1"), patient("p2"))
    async with node.client("north") as north:
        absent = await north.get("/fhir/Observation/_history")
    await node.put(observation("o1", of="p1"), observation("o2", of="p2"))
    await node.commit(Delete("Observation", "o1"), Delete("Observation", "o2"))
    async with node.client() as ward, node.client("north") as north:
        hidden = await north.get("/fhir/Observation/_history")
        await ward.post("/fhir/Consent", json=consent(of="p1"))
        mine = await page(north, "/fhir/_history")
    assert (hidden.status_code, hidden.content) == (200, absent.content)
    assert told(mine) == ["DELETE Observation/o1 2", "PUT Observation/o1 1", "PUT Patient/p1 1"], "and no Consent"


async def test_what_moved_is_shown_under_whom_each_version_was_about(node: Node) -> None:
    await node.put(patient("p1"), patient("p2"), observation("o1", of="p1"))
    await node.put(observation("o1", of="p2"))
    async with node.client() as ward, node.client("north") as north:
        await ward.post("/fhir/Consent", json=consent(of="p1"))
        found = told(await page(north, "/fhir/Observation/_history"))
    assert found == ["DELETE Observation/o1 2", "PUT Observation/o1 1"]


async def test_one_event_for_each_patient_precedes_the_page(node: Node) -> None:
    await node.put(patient("p1"), patient("p2"), observation("o1", of="p1"))
    before = node.services.ledger.size
    async with node.client() as ward:
        answer = await ward.get("/fhir/_history")
        assert await node.kinds(before) == ["access.search", "access.search"]
        assert len(answer.headers["x-ledger-index"].split(", ")) == 2
        await node.services.ledger.close()
        refused = await ward.get("/fhir/_history")
    assert refused.status_code == 503
    assert b"Muster" not in refused.content


async def test_pages_hold_every_version_once_whatever_is_written_meanwhile(node: Node) -> None:
    await written(node)
    found: list[str] = []
    async with node.client() as ward:
        url = "/fhir/_history?_count=2"
        while url:
            bundle = await page(ward, url)
            found += told(bundle)
            url = next_of(node, bundle)
            await node.put(observation(f"later{len(found)}"))
            await node.put(observation("o2", status="amended", issued=f"2026-01-0{len(found)}T00:00:00Z"))
    assert found == [
        "DELETE Observation/o1 3",
        "PUT Observation/o1 2",
        "PUT Observation/o2 1",
        "PUT Observation/o1 1",
        "PUT Patient/p1 1",
    ]


async def test_a_page_is_full_however_many_are_hidden_between(node: Node) -> None:
    await node.put(patient("p1"), patient("p2"))
    for n in range(1, 7):
        await node.put(observation(f"o{n}", of="p1" if n % 3 == 0 else "p2"))
    async with node.client() as ward, node.client("north") as north:
        await ward.post("/fhir/Consent", json=consent(of="p1"))
        pages = await whole(node, north, "/fhir/_history?_count=2")
    assert pages == [["PUT Observation/o6 1", "PUT Observation/o3 1"], ["PUT Patient/p1 1"]]


async def test_a_page_looks_at_so_many_and_the_next_one_goes_on(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "LOOKED", 4)
    await node.put(patient("p1"), patient("p2"))
    await node.put(observation("o1", of="p1"))
    for n in range(10, 20):
        await node.put(observation(f"o{n}", of="p2"))
    async with node.client() as ward, node.client("north") as north:
        await ward.post("/fhir/Consent", json=consent(of="p1"))
        pages = await whole(node, north, "/fhir/_history?_count=1")
    assert [one for one in pages if one] == [["PUT Observation/o1 1"], ["PUT Patient/p1 1"]]
    assert pages[:2] == [[], []]


async def test_a_page_after_a_revocation_holds_nothing_of_hers(node: Node) -> None:
    await node.put(patient("p1"))
    for n in range(4):
        await node.put(observation(f"o{n}"))
    async with node.client() as ward, node.client("north") as north:
        made = decode((await ward.post("/fhir/Consent", json=consent())).content)
        first = await page(north, "/fhir/Observation/_history?_count=2")
        assert (await ward.put(f"/fhir/Consent/{made['id']}", json=made | {"status": "inactive"})).is_success
        second = await page(north, next_of(node, first))
    assert (len(told(first)), told(second)) == (2, [])


async def test_since_tells_what_came_then_or_later(node: Node) -> None:
    await node.put(patient())
    await node.put(observation("o1"))
    async with node.client() as ward:
        newest = (await page(ward, "/fhir/_history"))["entry"][0]["response"]["lastModified"]
        await node.put(observation("o2"))
        found = told(await page(ward, f"/fhir/_history?_since={newest}&_count=1"))
        since = [told(await page(ward, f"/fhir/{kind}_history?_since={newest}")) for kind in ("", "Observation/")]
        empty = await page(ward, "/fhir/Observation/_history?_since=2999-01-01T00:00:00Z")
    assert found == ["PUT Observation/o2 1"]
    assert since[0] == since[1] == ["PUT Observation/o2 1", "PUT Observation/o1 1"]
    assert "entry" not in empty


@pytest.mark.parametrize(
    ("query", "issue"),
    [
        ("_at=2026", "not-supported"),
        ("_list=x", "not-supported"),
        ("code=x", "not-supported"),
        ("_count=0", "too-costly"),
        ("_since=yesterday", "value"),
        ("_since=2026", "value"),
        ("_since=20260101T000000Z", "value"),
        ("_cursor=x&_count=1", "invalid"),
    ],
)
async def test_what_a_history_does_not_know_is_refused(node: Node, query: str, issue: str) -> None:
    async with node.client() as ward:
        for path in ("/fhir/_history", "/fhir/Observation/_history"):
            answer = await ward.get(f"{path}?{query}")
            assert (answer.status_code, decode(answer.content)["issue"][0]["code"]) == (400, issue)
        assert (await ward.get("/fhir/Nothing/_history")).status_code == 404


async def test_a_cursor_of_one_history_leads_nowhere_in_another(node: Node) -> None:
    await written(node)
    async with node.client() as ward, node.client("clerk") as clerk:
        url = next_of(node, await page(ward, "/fhir/Observation/_history?_count=1"))
        answers = [await ward.get(url.replace("/Observation", "")), await clerk.get(url)]
    assert [answer.status_code for answer in answers] == [404, 404]


async def test_the_versions_of_one_resource_are_counted(node: Node) -> None:
    await written(node)
    async with node.client() as ward:
        bundle = await page(ward, "/fhir/Observation/o1/_history?_count=0")
    assert (bundle["total"], told(bundle), next_of(node, bundle)) == (3, [], "")
