"""Exports as they are kept: sealed, fenced, in one range, on each database. Fhir chapter §5 (job), §10 (bulk)."""

import pytest
from sqlalchemy import Connection

from adapter.errors import IntegrityFault
from adapter.seal.keyring import SHARED
from adapter.store import exports
from adapter.store.exports import DONE, RUNNING, File, Job, Segment, Who
from tests.adapter.store.conftest import ORG, Site, observation, patient, put

WHO = Who("ward", "urn:oid:2.999.2", "house", True, ("clinician",), "system/*.r", ("TREAT",), "10.0.0.1", "jti")
NONCE = b"\1" * 12
ID, OTHER = b"\xff" * 16, b"\xfe" * 16


def asked(**more: object) -> Job:
    given = {"members": None, "total": 2, "txn": 2**40, "at": 1000, "since": 0} | more
    return Job(WHO, "https://node.test/fhir/Patient/$export", "patient", ("Observation", "Patient"), **given)  # type: ignore[arg-type]


async def begun(site: Site, job: Job | None = None, job_id: bytes = ID) -> None:
    keys = site.keyring.owner(SHARED)
    await site.write(lambda conn: exports.begin(conn, keys, ORG, job_id, job or asked(), NONCE))


async def kept(site: Site, job_id: bytes = ID) -> exports.Kept | None:
    keys = site.keyring.owner(SHARED)
    return await site.read(lambda conn: exports.find(conn, keys, ORG, job_id))


async def test_a_job_is_kept_sealed_and_found_again(site: Site) -> None:
    await begun(site)
    found = await kept(site)
    assert found is not None
    assert (found.id, found.state, found.stamp, found.job) == (ID, RUNNING, 0, asked())
    assert await kept(site, OTHER) is None
    ((payload,),) = await site.rows("SELECT payload FROM job")
    assert b"export" not in bytes(payload)
    assert b"ward" not in bytes(payload)


async def test_who_was_overtaken_writes_no_more(site: Site) -> None:
    await begun(site)
    keys = site.keyring.owner(SHARED)
    first = await site.write(lambda conn: exports.claim(conn, ORG, ID))
    second = await site.write(lambda conn: exports.claim(conn, ORG, ID))

    async def saved(stamp: int | None, state: str) -> bool:
        assert stamp is not None
        return await site.write(lambda conn: exports.save(conn, keys, ORG, ID, stamp, asked(), state, NONCE))

    assert not await saved(first, DONE)
    assert await saved(second, DONE)
    assert not await saved(second, RUNNING), "what is done stays done"
    assert await site.write(lambda conn: exports.claim(conn, ORG, ID)) is None
    assert await site.read(lambda conn: exports.running(conn, ORG)) == []


async def test_a_segment_opens_with_its_owners_key_in_its_place_only(site: Site) -> None:
    written = await site.commit(put(patient("ana")), put(patient("ben")))
    ana, ben = (change.owner for change in written.results if change)
    segment = Segment(((ana, 0),), {"Patient": (1,)})
    keys = site.keyring.owner(ana)
    await site.write(lambda conn: exports.add_segment(conn, keys, ORG, ID, 0, ana, segment, 1, NONCE))
    ((owner, place, payload),) = await site.read(lambda conn: exports.segments(conn, ORG, ID, File("Patient", 0, 9, 1)))
    assert owner == ana
    assert exports.opened(keys, ORG, place, payload) == segment
    with pytest.raises(IntegrityFault):
        exports.opened(site.keyring.owner(ben), ORG, place, payload)
    with pytest.raises(IntegrityFault):
        exports.opened(keys, ORG, place[:-1] + b"\1", payload)


async def test_segments_are_read_by_their_job_and_range_and_go_with_it(site: Site) -> None:
    written = await site.commit(put(patient("ana")))
    (ana,) = (change.owner for change in written.results if change)
    keys = site.keyring.owner(ana)
    await begun(site)
    await begun(site, job_id=OTHER)

    def add(conn: Connection) -> None:
        for job_id in (ID, OTHER):
            for number in range(4):
                exports.add_segment(conn, keys, ORG, job_id, number, ana, Segment((), {}), 1, NONCE)

    async def numbers(job_id: bytes, first: int, last: int) -> list[int]:
        found = await site.read(lambda conn: exports.segments(conn, ORG, job_id, File("Patient", first, last, 1)))
        return [int.from_bytes(place[16:], "big") for _, place, _ in found]

    await site.write(add)
    assert await numbers(ID, 1, 2) == [1, 2]
    await site.write(lambda conn: exports.drop(conn, ORG, ID))
    assert await numbers(ID, 0, 9) == []
    assert await numbers(OTHER, 0, 9) == [0, 1, 2, 3]
    assert await kept(site) is None
    assert await kept(site, OTHER) is not None


async def test_rows_and_owners_come_in_order_and_by_what_is_asked(site: Site) -> None:
    written = await site.commit(put(patient("ana")), put(patient("ben")), put(observation("o1")))
    ana, ben, _ = (change.owner for change in written.results if change)
    in_order = sorted((ana, ben))

    async def batch(job: Job, limit: int) -> list[int]:
        return await site.read(lambda conn: exports.next_owners(conn, ORG, job, limit))

    assert await batch(asked(), 9) == in_order
    assert await batch(asked(last=in_order[0]), 9) == in_order[1:]
    assert await batch(asked(members=(ana,)), 9) == [ana]
    rows = await site.read(lambda conn: exports.rows_of(conn, asked(), ana))
    assert {kind: len(rids) for kind, rids in rows.items()} == {"Observation": 1, "Patient": 1}
    assert await site.read(lambda conn: exports.rows_of(conn, asked(since=2**50), ana)) == {}


def test_files_are_cut_by_their_size_and_name_their_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "FILE_RESOURCES", 3)
    job = asked()
    for counts in ({"Patient": 1}, {"Patient": 1, "Observation": 7}, {"Patient": 1}, {"Patient": 1}):
        job.add(counts)
    assert job.files == [File("Patient", 0, 2, 3), File("Observation", 1, 1, 7), File("Patient", 3, 3, 1)]
