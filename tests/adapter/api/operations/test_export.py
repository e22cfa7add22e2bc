"""$export: asynchronous, sealed until it is fetched, and judged again when it is.

FHIR Bulk Data Access IG 2.0 (export); fhir chapter §10.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from adapter.errors import Unavailable
from adapter.exporting import Exports
from adapter.seal.keyring import SHARED
from adapter.store import exports, owners
from adapter.store.engine import Hot
from adapter.store.unit import Delete
from mappings.fhir.codec import decode
from tests.adapter.api.conftest import Json, Node, consent, observation, patient

pytestmark = pytest.mark.usefixtures("both")

ASYNC = {"Prefer": "respond-async"}
PATIENTS = "/fhir/Patient/$export"


def local(url: str) -> str:
    return "/fhir" + url.partition("/fhir")[2]


async def begin(client: httpx.AsyncClient, url: str = PATIENTS) -> str:
    answer = await client.get(url, headers=ASYNC)
    assert (answer.status_code, answer.content) == (202, b""), answer.text
    return local(answer.headers["content-location"])


async def manifest(client: httpx.AsyncClient, job: str) -> Json:
    for _ in range(500):
        answer = await client.get(job)
        if answer.status_code != 202:
            assert answer.status_code == 200, answer.text
            return decode(answer.content)
        assert answer.headers["x-progress"].endswith(" %")
        assert answer.headers["retry-after"]
        await asyncio.sleep(0.01)
    raise AssertionError("the export does not end")


async def fetch(client: httpx.AsyncClient, found: Json) -> dict[str, list[str]]:
    """The ids in the files, by type."""
    got: dict[str, list[str]] = {}
    for file in found["output"]:
        answer = await client.get(local(file["url"]))
        assert (answer.status_code, answer.headers.get("content-type", "")) in (
            (200, "application/fhir+ndjson"),
            (200, ""),
        )
        for line in answer.content.splitlines():
            resource = decode(line)
            assert resource["resourceType"] == file["type"]
            got.setdefault(file["type"], []).append(resource["id"])
    return {kind: sorted(ids) for kind, ids in got.items()}


async def exported(client: httpx.AsyncClient, url: str = PATIENTS) -> dict[str, list[str]]:
    return await fetch(client, await manifest(client, await begin(client, url)))


async def fill(node: Node) -> None:
    await node.put(
        {"resourceType": "Practitioner", "id": "d1"},
        patient("p1"),
        patient("p2", family="Anders"),
        observation("o1", performer=[{"reference": "Practitioner/d1"}]),
        observation("o2", of="p2"),
    )


async def test_the_manifest_names_files_of_all_patients_by_type(node: Node) -> None:
    await fill(node)
    async with node.client() as ward:
        found = await manifest(ward, await begin(ward, f"{PATIENTS}?_outputFormat=ndjson"))
        assert (found["requiresAccessToken"], found["error"]) == (True, [])
        assert found["request"].endswith("/fhir/Patient/$export?_outputFormat=ndjson")
        assert datetime.fromisoformat(found["transactionTime"]) <= datetime.now(UTC)
        assert await fetch(ward, found) == {"Patient": ["p1", "p2"], "Observation": ["o1", "o2"]}


async def test_each_patient_has_an_export_event_before_the_first_byte(node: Node) -> None:
    await fill(node)
    async with node.client() as ward:
        found = await manifest(ward, await begin(ward))
        before = node.services.ledger.size
        url = next(file["url"] for file in found["output"] if file["type"] == "Observation")
        answer = await ward.get(local(url))
        entries = (await node.entries())[before:]
        assert [(one["type"], one["outcome"]) for one in entries] == [("access.export", "permit")] * 2
        assert answer.headers["x-ledger-index"]
        await node.services.ledger.close()
        silent = await ward.get(local(url))
    assert silent.status_code == 503
    assert b"2160-0" not in silent.content


async def test_another_organisation_exports_those_who_permit_it(node: Node) -> None:
    await fill(node)
    async with node.client() as ward, node.client("north") as north:
        assert (await manifest(north, await begin(north)))["output"] == []
        await ward.post("/fhir/Consent", json=consent(of="p1"))
        assert await exported(north) == {"Patient": ["p1"], "Observation": ["o1"]}


async def test_who_revokes_before_the_download_is_left_out(node: Node) -> None:
    await fill(node)
    async with node.client() as ward, node.client("north") as north:
        made = [decode((await ward.post("/fhir/Consent", json=consent(of=of))).content) for of in ("p1", "p2")]
        found = await manifest(north, await begin(north))
        await ward.put(f"/fhir/Consent/{made[0]['id']}", json=made[0] | {"status": "inactive"})
        assert await fetch(north, found) == {"Patient": ["p2"], "Observation": ["o2"]}
        await ward.put(f"/fhir/Consent/{made[1]['id']}", json=made[1] | {"status": "inactive"})
        assert await fetch(north, found) == {}


async def test_whose_epoch_moved_is_left_out_though_she_still_permits(node: Node) -> None:
    """What she permitted then is over; asked for again, it is what she permits now."""
    await fill(node)
    async with node.client() as ward, node.client("north") as north:
        await ward.post("/fhir/Consent", json=consent(of="p1"))
        found = await manifest(north, await begin(north))
        await ward.post("/fhir/Consent", json=consent(of="p1", to="south"))
        assert await fetch(north, found) == {}
        assert await exported(north) == {"Patient": ["p1"], "Observation": ["o1"]}


async def test_who_was_erased_is_in_no_file(node: Node) -> None:
    await fill(node)
    async with node.client() as ward:
        found = await manifest(ward, await begin(ward))
        first = await node.services.store.read(
            lambda conn: Hot(conn).one("SELECT owner FROM resource WHERE type = 'Patient' ORDER BY rid")
        )
        assert first is not None
        await node.services.store.write(
            lambda conn: Hot(conn).run("UPDATE owner SET erased_at = 1 WHERE owner = ?", (first[0],))
        )
        await node.opened.vault.destroy_subject(node.services.keyring.org, first[0], datetime.now(UTC))
        node.services.keyring.forget(first[0])
        assert [len(ids) for ids in (await fetch(ward, found)).values()] == [1, 1]


async def left_out(client: httpx.AsyncClient, found: Json) -> list[str]:
    """What the manifest says of who is left out."""
    codes = []
    for file in found["error"]:
        assert file["type"] == "OperationOutcome"
        answer = await client.get(local(file["url"]))
        assert answer.headers["content-type"] == "application/fhir+ndjson"
        codes += [decode(line)["issue"][0]["details"]["coding"][0]["code"] for line in answer.content.splitlines()]
    return codes


async def test_who_is_left_out_is_told_and_not_named(node: Node) -> None:
    """Between the making and the download, and again after it: the manifest says what stands when it is read."""
    await fill(node)
    async with node.client() as ward, node.client("north") as north:
        made = decode((await ward.post("/fhir/Consent", json=consent(of="p1"))).content)
        job = await begin(north)
        before = await manifest(north, job)
        assert (before["error"], (await north.get(f"{job}/left-out")).content) == ([], b"")
        await ward.put(f"/fhir/Consent/{made['id']}", json=made | {"status": "inactive"})
        after = await manifest(north, job)
        assert await left_out(north, after) == ["export-left-out"]
        said = (await north.get(f"{job}/left-out")).text
        assert (await ward.get(f"{job}/left-out")).status_code == 404, "a job is its client's alone"
    assert not any(word in said for word in ("p1", "Muster", "Patient/"))
    assert after["output"] == before["output"]


async def test_whose_epoch_moves_while_the_export_is_made_is_told_of_too(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """She permits at first, and is put into a segment; before the job ends she gives another consent."""
    await fill(node)
    monkeypatch.setattr("adapter.exporting.BATCH", 1)
    ended, step = asyncio.Event(), Exports._step

    async def slow(self: Exports, job_id: bytes, stamp: int) -> bool:
        more = await step(self, job_id, stamp)
        if not ended.is_set():
            async with node.client() as ward:
                for of in ("p1", "p2"):
                    assert (await ward.post("/fhir/Consent", json=consent(of=of))).status_code == 201
            ended.set()
        return more

    monkeypatch.setattr(Exports, "_step", slow)
    async with node.client() as ward:
        found = await manifest(ward, await begin(ward, f"{PATIENTS}?_type=Observation"))
        assert await left_out(ward, found) == ["export-left-out"]
        assert len((await fetch(ward, found))["Observation"]) == 1, "and the other is there"
        again = await manifest(ward, await begin(ward, f"{PATIENTS}?_type=Observation"))
        assert (again["error"], await fetch(ward, again)) == ([], {"Observation": ["o1", "o2"]})


async def test_who_never_permitted_is_not_told_of(node: Node) -> None:
    """Hidden is absent: of those whom the client may not see, nothing was left out."""
    await fill(node)
    async with node.client() as ward, node.client("north") as north:
        await ward.post("/fhir/Consent", json=consent(of="p1"))
        job = await begin(north)
        await manifest(north, job)
        await ward.post("/fhir/Consent", json=consent("deny", of="p2", to="south"))
        assert (await manifest(north, job))["error"] == []


async def test_a_file_holds_what_stood_when_it_was_asked_for(node: Node) -> None:
    await fill(node)
    async with node.client() as ward:
        found = await manifest(ward, await begin(ward))
        await node.put(observation("o1", code="9999-9"), observation("o9"))
        await node.commit(Delete("Observation", "o2"))
        url = next(file["url"] for file in found["output"] if file["type"] == "Observation")
        answer = await ward.get(local(url))
        assert b"9999-9" not in answer.content
        assert (await fetch(ward, found))["Observation"] == ["o1", "o2"]
        assert (await exported(ward))["Observation"] == ["o1", "o9"]


async def test_types_and_changes_narrow_an_export(node: Node) -> None:
    await fill(node)
    async with node.client() as ward:
        assert await exported(ward, f"{PATIENTS}?_type=Observation") == {"Observation": ["o1", "o2"]}
        later = quote((datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="milliseconds"))
        assert await exported(ward, f"{PATIENTS}?_since={later}") == {}


async def test_a_groups_members_and_an_admins_everything(node: Node) -> None:
    await fill(node)
    group = {
        "resourceType": "Group",
        "id": "g1",
        "type": "person",
        "actual": True,
        "member": [{"entity": {"reference": "Patient/p1"}}, {"entity": {"reference": "Patient/p2"}, "inactive": True}],
    }
    await node.put(group)
    async with node.client() as ward, node.client("north") as north:
        assert (await exported(ward, "/fhir/Group/g1/$export"))["Patient"] == ["p1"]
        assert (await north.get("/fhir/Group/g1/$export", headers=ASYNC)).status_code == 404
        assert (await north.get("/fhir/Group/none/$export", headers=ASYNC)).status_code == 404
        assert (await ward.get("/fhir/$export", headers=ASYNC)).status_code == 403
    admin = node.settings.access.client["ward"].model_copy(update={"roles": ("clinician", "admin")})
    node.settings.access.client["ward"] = admin
    async with node.client() as ward:
        everything = await exported(ward, "/fhir/$export")
    assert everything["Practitioner"] == ["d1"]
    assert everything["Patient"] == ["p1", "p2"]


async def test_each_type_needs_its_scope(node: Node) -> None:
    await fill(node)
    async with node.client("ward", "system/Observation.r") as narrow:
        assert await exported(narrow) == {"Observation": ["o1", "o2"]}
        refused = await narrow.get(f"{PATIENTS}?_type=Observation,Patient", headers=ASYNC)
        assert refused.status_code == 403
    async with node.client("ward", "system/Observation.r?code=9") as granular:
        assert await exported(granular) == {}
    async with node.client("ward", "system/*.s") as searching:
        assert (await searching.get(PATIENTS, headers=ASYNC)).status_code == 403


async def test_a_job_is_its_clients_alone_and_can_be_deleted(node: Node) -> None:
    await fill(node)
    async with node.client() as ward, node.client("clerk") as clerk:
        job = await begin(ward)
        found = await manifest(ward, job)
        for path in (job, local(found["output"][0]["url"])):
            assert (await clerk.get(path)).status_code == 404
        assert (await clerk.delete(job)).status_code == 404
        assert (await ward.delete(job)).status_code == 202
        for path in (job, local(found["output"][0]["url"])):
            assert (await ward.get(path)).status_code == 404
        left = await node.services.store.read(lambda conn: Hot(conn).one("SELECT count(*) FROM job"))
    assert left == (0,)


async def test_a_restart_goes_on_where_the_last_process_stopped(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends after the first batch of owners; another one finishes, and nothing stands twice."""
    monkeypatch.setattr("adapter.exporting.BATCH", 1)
    await fill(node)
    services = node.services
    step, steps, died = Exports._step, 0, asyncio.Event()

    async def dies(self: Exports, job_id: bytes, stamp: int) -> bool:
        nonlocal steps
        steps += 1
        if steps > 1:
            died.set()
            raise asyncio.CancelledError
        return await step(self, job_id, stamp)

    monkeypatch.setattr(Exports, "_step", dies)
    async with node.client() as ward:
        job = await begin(ward)
        await died.wait()
        monkeypatch.setattr(Exports, "_step", step)
        kept = await services.store.read(lambda conn: exports.running(conn, services.keyring.org))
        assert len(kept) == 1
        async with node.app.router.lifespan_context(node.app):
            found = await manifest(ward, job)
        assert await fetch(ward, found) == {"Patient": ["p1", "p2"], "Observation": ["o1", "o2"]}


async def test_a_store_that_cannot_be_used_only_delays_an_export(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(node)
    step, failed = Exports._step, asyncio.Event()

    async def away(self: Exports, job_id: bytes, stamp: int) -> bool:
        failed.set()
        raise Unavailable("the data store cannot be used now")

    monkeypatch.setattr(Exports, "_step", away)
    async with node.client() as ward:
        job = await begin(ward)
        await failed.wait()
        assert (await ward.get(job)).status_code == 202
        monkeypatch.setattr(Exports, "_step", step)
        assert (await fetch(ward, await manifest(ward, job)))["Patient"] == ["p1", "p2"]


async def test_a_fault_of_the_program_ends_the_export_and_says_so(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks(self: Exports, job_id: bytes, stamp: int) -> bool:
        raise RuntimeError("MR-p1")

    monkeypatch.setattr(Exports, "_step", breaks)
    await fill(node)
    async with node.client() as ward:
        job = await begin(ward)
        for _ in range(500):
            if (answer := await ward.get(job)).status_code != 202:
                break
            await asyncio.sleep(0.01)
        assert answer.status_code == 500
        assert decode(answer.content)["issue"][0]["details"]["coding"][0]["code"] == "export-failed"
        assert b"MR-p1" not in answer.content
        assert (await ward.delete(job)).status_code == 202


async def test_an_export_is_kept_for_a_day(node: Node) -> None:
    await fill(node)
    async with node.client() as ward:
        job = await begin(ward)
        await manifest(ward, job)
        await node.services.store.write(lambda conn: Hot(conn).run("UPDATE job SET at = at - 86400001"))
        second = await begin(ward)
        await manifest(ward, second)
        assert (await ward.get(job)).status_code == 404
        assert (await ward.get(second)).status_code == 200


async def test_files_are_cut_and_together_hold_all(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapter.store.exports.FILE_RESOURCES", 2)
    people = [patient(f"p{n}") for n in range(5)]
    await node.put(*people, *(observation(f"o{n}", of=f"p{n}") for n in range(5)))
    async with node.client() as ward:
        found = await manifest(ward, await begin(ward))
        assert len([file for file in found["output"] if file["type"] == "Patient"]) == 3
        numbers = range(5)
        assert await fetch(ward, found) == {
            "Patient": [f"p{n}" for n in numbers],
            "Observation": [f"o{n}" for n in numbers],
        }


async def test_an_export_of_more_owners_than_the_keyring_holds_is_served(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty patients, keys of eight in memory; a rare type lies in three segments of twenty."""
    for name, most in (("exporting.BATCH", 4), ("api.operations.export.BATCH", 4), ("store.exports.FILE_RESOURCES", 4)):
        monkeypatch.setattr(f"adapter.{name}", most)
    numbers, rare = range(20), (0, 9, 19)
    await node.put(*(patient(f"p{n}") for n in numbers), *(observation(f"o{n}", of=f"p{n}") for n in rare))
    ring = node.services.keyring
    for owner in [owner for owner in ring._owners if owner != SHARED]:
        ring.forget(owner)
    monkeypatch.setattr(ring, "_size", 8)
    async with node.client() as ward:
        job = await begin(ward)
        found = await manifest(ward, job)
        assert found["error"] == []
        everything = {"Patient": sorted(f"p{n}" for n in numbers), "Observation": sorted(f"o{n}" for n in rare)}
        assert await fetch(ward, found) == everything
        await node.services.store.write(lambda conn: Hot(conn).run("UPDATE job SET stamp = 0 WHERE owner IS NOT NULL"))
        assert (await manifest(ward, job))["error"] == [], "of a version that put no epoch beside a segment"
        last = await node.services.store.read(
            lambda conn: Hot(conn).one("SELECT owner FROM job WHERE owner IS NOT NULL ORDER BY id DESC LIMIT 1")
        )
        assert last is not None
        await node.services.store.write(lambda conn: owners.raise_epoch(Hot(conn), last[0]))
        assert await left_out(ward, await manifest(ward, job)) == ["export-left-out"]
        assert len((await fetch(ward, found))["Patient"]) == 19
    assert len(ring._owners) <= 8


async def test_a_manifest_opens_no_segment_of_one_patient(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(node)
    async with node.client() as ward:
        job = await begin(ward)
        await manifest(ward, job)

        def opened(*asked: object) -> None:
            raise AssertionError("it is opened")

        monkeypatch.setattr(exports, "opened", opened)
        assert (await manifest(ward, job))["error"] == []


async def test_nothing_of_an_export_lies_in_clear(node: Node) -> None:
    """A planted id, name and type are found in no file of the site while the export waits to be fetched."""
    await node.put(patient("planted-id", family="Plantedname"), observation("planted-obs", of="planted-id"))
    async with node.client() as ward:
        await manifest(ward, await begin(ward))
    assert clear(node.services.site, b"planted", b"Plantedname", b"$export") == set()


def clear(folder: Path, *words: bytes) -> set[str]:
    """The files that hold one of the words."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name for path in files if any(word in path.read_bytes() for word in words)}


async def test_a_client_has_a_few_exports_at_once(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exports, "wake", lambda self: None)
    async with node.client() as ward:
        for _ in range(4):
            await begin(ward)
        assert (await ward.get(PATIENTS, headers=ASYNC)).status_code == 429


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        (PATIENTS, {}),
        (PATIENTS, {"Prefer": "return=minimal"}),
        (f"{PATIENTS}?_outputFormat=text/csv", ASYNC),
        (f"{PATIENTS}?_type=Nothing", ASYNC),
        (f"{PATIENTS}?_since=yesterday", ASYNC),
        (f"{PATIENTS}?_since=20260101T000000Z", ASYNC),
        (f"{PATIENTS}?_typeFilter=Observation%3Fcode%3D1", ASYNC),
    ],
)
async def test_what_an_export_cannot_be_is_refused(node: Node, url: str, headers: dict[str, str]) -> None:
    async with node.client() as ward:
        assert (await ward.get(url, headers=headers)).status_code == 400


async def test_a_parameter_that_is_not_served_may_be_left_out_by_the_client(node: Node) -> None:
    async with node.client() as ward:
        lenient: dict[str, Any] = {"Prefer": "respond-async, handling=lenient"}
        answer = await ward.get(f"{PATIENTS}?_elements=id", headers=lenient)
        assert answer.status_code == 202
        await manifest(ward, local(answer.headers["content-location"]))


@pytest.mark.parametrize("path", ["x", "0" * 32, "0" * 31 + "G", "0" * 32 + "/0", "../Patient/p1"])
async def test_a_job_that_never_was_is_absent(node: Node, path: str) -> None:
    async with node.client() as ward:
        assert (await ward.get(f"/fhir/job/{path}")).status_code == 404
