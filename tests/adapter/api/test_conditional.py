"""Conditional create and update: one identity stays one resource, however many ask at once. fhir chapter §7, §8."""

import asyncio
from collections import Counter
from pathlib import Path

import httpx
import pytest

from adapter.settings import Settings
from tests.adapter.api.conftest import Json, Node, consent, decode_json, observation, patient, start
from tests.adapter.api.test_create import code_of
from tests.adapter.api.test_server import on_granian

pytestmark = pytest.mark.usefixtures("both")

SYSTEM = "urn:oid:2.999.1.1"


async def count(node: Node, kind: str) -> int:
    sql = f"SELECT count(*) FROM resource WHERE type = '{kind}' AND ver > 0 AND NOT deleted"  # noqa: S608
    found = await node.services.store.read(lambda conn: conn.exec_driver_sql(sql).scalar())
    assert isinstance(found, int)
    return found


async def test_a_match_is_answered_and_nothing_is_written(node: Node) -> None:
    await node.put(patient())
    before = node.services.ledger.size
    async with node.client() as ward:
        criteria = {"If-None-Exist": f"identifier={SYSTEM}|MR-p1"}
        met = await ward.post("/fhir/Patient", json=patient("x", family="Neu"), headers=criteria)
        assert (met.status_code, met.headers["etag"]) == (200, 'W/"1"')
        assert met.headers["location"] == f"{node.services.base}/Patient/p1/_history/1"
        assert decode_json(met.content)["name"][0]["family"] == "Muster"
        by_url = await ward.post(f"/fhir/Patient?identifier={SYSTEM}|MR-p1", json=patient("x"))
        assert (by_url.status_code, by_url.content) == (200, met.content)
        new = await ward.post("/fhir/Patient", json=patient("x"), headers={"If-None-Exist": "identifier=MR-x"})
        assert new.status_code == 201
    assert await count(node, "Patient") == 2
    assert (await node.kinds(before))[:2] == ["access.read", "access.read"]


async def test_the_body_of_a_match_passes_the_gate(node: Node) -> None:
    """Criteria see what is hidden, for else a consent would breed duplicates; the answer shows nothing of it."""
    await node.put(patient())
    async with node.client() as ward:
        assert (await ward.post("/fhir/Consent", json=consent("deny", to=None))).status_code == 201
        met = await ward.post(f"/fhir/Patient?identifier={SYSTEM}|MR-p1", json=patient("x"))
    assert (met.status_code, met.content) == (200, b"")
    assert await count(node, "Patient") == 1


@pytest.mark.parametrize("url", ["/fhir/Patient/p1", f"/fhir/Patient?identifier={SYSTEM}|MR-p1"])
async def test_an_update_that_is_to_create_never_overwrites(node: Node, url: str) -> None:
    """`If-None-Match: *` (RFC 9110 §13.1.2); of a tag, only where it is another version's."""
    async with node.client() as ward:
        first, again, this, other = [
            await ward.put(url, json=patient(family=str(number)), headers={"If-None-Match": tag})
            for number, tag in enumerate(("*", "*", 'W/"1"', 'W/"9"'))
        ]
    assert first.status_code == 201
    assert [(one.status_code, code_of(one)) for one in (again, this)] == [(412, "version")] * 2
    assert (other.status_code, other.headers["etag"]) == (200, 'W/"2"')


async def test_several_matches_are_412(node: Node) -> None:
    await node.put(patient("p1", number="7"), observation("o1"), observation("o2"))
    async with node.client() as ward:
        made = await ward.post("/fhir/Observation?patient=p1", json=observation("x"))
        changed = await ward.put("/fhir/Observation?patient=p1", json=observation("x"))
    assert (made.status_code, code_of(made)) == (412, "several")
    assert (changed.status_code, code_of(changed)) == (412, "several")
    assert await count(node, "Observation") == 2


@pytest.mark.parametrize(
    ("criteria", "status", "code"),
    [
        ("gender=female", 412, "criteria"),
        ("family=Muster&birthdate=1970-05-17", 412, "criteria"),
        ("_count=1", 412, "criteria"),
        ("identifier=a|b&_sort=family", 412, "criteria"),
        ("nonsense=1", 400, "search"),
        ("birthdate=never&identifier=x", 400, "search"),
    ],
)
async def test_criteria_must_name_a_key(node: Node, criteria: str, status: int, code: str) -> None:
    async with node.client() as ward:
        for answer in (
            await ward.post("/fhir/Patient", json=patient("x"), headers={"If-None-Exist": criteria}),
            await ward.put(f"/fhir/Patient?{criteria}", json=patient("x")),
        ):
            assert (answer.status_code, code_of(answer)) == (status, code)
    assert await count(node, "Patient") == 0


async def test_criteria_in_two_places_are_refused(node: Node) -> None:
    async with node.client() as ward:
        answer = await ward.post("/fhir/Patient?_id=a", json=patient("x"), headers={"If-None-Exist": "_id=b"})
    assert (answer.status_code, code_of(answer)) == (400, "parameter")


async def test_a_conditional_update_creates_updates_and_keeps(node: Node) -> None:
    address = f"/fhir/Patient?identifier={SYSTEM}|MR-x"
    bare = {name: value for name, value in patient("x").items() if name != "id"}
    async with node.client() as ward:
        new = await ward.put(address, json=bare)
        assert new.status_code == 201
        made = decode_json(new.content)["id"]
        changed = await ward.put(address, json=bare | {"gender": "male"})
        assert (changed.status_code, changed.headers["etag"]) == (200, 'W/"2"')
        assert decode_json(changed.content)["id"] == made
        same = await ward.put(address, json=bare | {"gender": "male", "id": made})
        assert (same.status_code, same.headers["etag"]) == (200, 'W/"2"')
        other = await ward.put(address, json=bare | {"id": "other"})
        assert (other.status_code, other.json()["issue"][0]["expression"]) == (400, ["Patient.id"])
        stale = await ward.put(address, json=bare, headers={"If-Match": 'W/"1"'})
        assert stale.status_code == 412
    assert await count(node, "Patient") == 1


async def test_no_match_under_an_id_that_is_taken_is_a_conflict(node: Node) -> None:
    await node.put(patient("p1"))
    async with node.client() as ward:
        free = await ward.put("/fhir/Patient?identifier=none", json=patient("free"))
        taken = await ward.put("/fhir/Patient?identifier=none", json=patient("p1"))
    assert (free.status_code, decode_json(free.content)["id"]) == (201, "free")
    assert (taken.status_code, code_of(taken)) == (409, "id-taken")


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ("system/Patient.crus", (200, 200)),
        ("system/Patient.cu", (403, 403)),
        ("system/Patient.rs", (403, 403)),
        ("system/Patient.cs", (200, 403)),
        ("system/Patient.us", (403, 200)),
        ("system/Patient.crus?identifier=x", (403, 403)),
    ],
)
async def test_a_conditional_form_needs_to_search(node: Node, scope: str, status: tuple[int, int]) -> None:
    await node.put(patient())
    async with node.client("ward", scope) as ward:
        made = await ward.post("/fhir/Patient?_id=p1", json=patient("p1"))
        changed = await ward.put("/fhir/Patient?_id=p1", json=patient("p1"))
    assert (made.status_code, changed.status_code) == status


async def test_only_a_scope_of_the_system_sees_the_whole_organisation(empty_site: Path, tmp_path: Path) -> None:
    """A user's scope writes plainly; criteria would tell her of patients whom she may not see."""
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:
        node = await start(stack, empty_site, tmp_path / "node", lambda s: _registered(s, scopes="user/*.cruds"))
        async with node.client("ward", "user/*.cruds") as ward:
            assert (await ward.post("/fhir/Patient", json=patient("x"))).status_code == 201
            assert (await ward.post("/fhir/Patient?_id=x", json=patient("x"))).status_code == 403


def about_whoever_has(number: str) -> Json:
    """A transaction with a conditional reference."""
    about = observation("x") | {"subject": {"reference": f"Patient?identifier={SYSTEM}|{number}"}}
    entry = {"resource": about, "request": {"method": "POST", "url": "Observation"}}
    return {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}


async def test_a_gateway_creates_and_does_nothing_else(empty_site: Path, tmp_path: Path) -> None:
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:
        node = await start(stack, empty_site, tmp_path / "node", lambda s: _registered(s, roles=("gateway",)))
        await node.put(patient())
        async with node.client() as gateway:
            assert (await gateway.post("/fhir/Observation", json=observation("x"))).status_code == 201
            for answer in (
                await gateway.put("/fhir/Patient/p1", json=patient()),
                await gateway.post("/fhir", json=about_whoever_has("MR-p1")),
                await gateway.post("/fhir", json=about_whoever_has("MR-nobody")),
                await gateway.put("/fhir/Patient/new", json=patient("new")),
                await gateway.delete("/fhir/Patient/p1"),
                await gateway.post("/fhir/Patient?_id=p1", json=patient()),
                await gateway.put("/fhir/Patient?_id=p1", json=patient()),
            ):
                assert (answer.status_code, code_of(answer)) == (403, "gateway")


def _registered(settings: Settings, **more: object) -> Settings:
    ward = settings.access.client["ward"].model_copy(update=more)
    access = settings.access.model_copy(update={"client": settings.access.client | {"ward": ward}})
    return settings.model_copy(update={"access": access})


# --- races ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["If-None-Exist", "POST", "PUT", "mixed"])
async def test_64_at_once_make_exactly_one_resource(node: Node, form: str, tmp_path: Path) -> None:
    """Over real sockets; every caller hears 200 or 201, and of the same resource."""
    headers = {"Authorization": f"Bearer {node.token()}"}
    bare = {name: value for name, value in patient("x").items() if name != "id"}
    limits = httpx.Limits(max_connections=64)
    async with on_granian(node.app, tmp_path) as url, httpx.AsyncClient(base_url=url, limits=limits) as client:

        async def ask(number: int) -> httpx.Response:
            way = ("If-None-Exist", "POST", "PUT")[number % 3] if form == "mixed" else form
            query = f"identifier={SYSTEM}|MR-x"
            if way == "If-None-Exist":
                return await client.post("/fhir/Patient", json=bare, headers=headers | {way: query}, timeout=60)
            return await client.request(way, f"/fhir/Patient?{query}", json=bare, headers=headers, timeout=60)

        answers = await asyncio.gather(*map(ask, range(64)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 63}
    assert len({decode_json(answer.content)["id"] for answer in answers}) == 1
    assert await count(node, "Patient") == 1


async def test_64_updates_of_one_version_let_exactly_one_through(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:

        async def ask(number: int) -> int:
            body: Json = patient(family=f"Name{chr(65 + number % 26)}{number}")
            return (await ward.put("/fhir/Patient/p1", json=body, headers={"If-Match": 'W/"1"'})).status_code

        answers = Counter(await asyncio.gather(*map(ask, range(64))))
        assert answers == {200: 1, 412: 63}
        assert (await ward.get("/fhir/Patient/p1")).headers["etag"] == 'W/"2"'
