"""Exports as they are kept: sealed, fenced, in one range, on each database. Fhir chapter §5 (job), §10 (bulk)."""

import pytest
from sqlalchemy import Connection

from adapter.errors import IntegrityFault
from adapter.seal.keyring import SHARED
from adapter.store import ahead, exports, owners
from adapter.store.engine import Hot
from adapter.store.exports import DONE, RUNNING, File, Job, Part, Segment, Who
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


def parts(conn: Connection, job_id: bytes, numbers: range, *, sealed: bool = True) -> list[Part]:
    with ahead.keeping(conn):
        return exports.segments(conn, ORG, job_id, numbers, sealed=sealed)


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
    first = await site.write(lambda conn: exports.claim(conn, ORG, ID, 0))
    assert await site.write(lambda conn: exports.claim(conn, ORG, ID, 0)) is None, "who saw it before is too late"
    second = await site.write(lambda conn: exports.claim(conn, ORG, ID, 1))

    async def saved(stamp: int | None, state: str) -> bool:
        assert stamp is not None
        return await site.write(lambda conn: exports.save(conn, keys, ORG, ID, stamp, asked(), state, NONCE))

    assert not await saved(first, DONE)
    assert await saved(second, DONE)
    assert not await saved(second, RUNNING), "what is done stays done"
    assert await site.write(lambda conn: exports.claim(conn, ORG, ID, 2)) is None
    assert await site.read(lambda conn: exports.running(conn, ORG)) == []


async def test_a_segment_opens_with_its_owners_key_in_its_place_only(site: Site) -> None:
    written = await site.commit(put(patient("ana")), put(patient("ben")))
    ana, ben = (change.owner for change in written.results if change)
    segment = Segment(((ana, 0),), {"Patient": (1,)})
    keys = site.keyring.owner(ana)
    await site.write(lambda conn: exports.add_segment(conn, keys, ORG, ID, 0, ana, segment, 1, NONCE))
    ((owner, place, noted, payload),) = await site.read(lambda conn: parts(conn, ID, range(10)))
    assert (owner, noted) == (ana, segment.epochs)
    assert payload is not None
    assert exports.opened(keys, ORG, place, payload) == segment
    with pytest.raises(IntegrityFault):
        exports.opened(site.keyring.owner(ben), ORG, place, payload)
    with pytest.raises(IntegrityFault):
        exports.opened(keys, ORG, place[:-1] + b"\1", payload)


async def test_what_has_its_epoch_beside_it_stands_or_not_unopened(site: Site) -> None:
    """Of several patients, or of nobody, the epochs are sealed alone; a merge moves what stood beside the segment."""
    written = await site.commit(put(patient("ana")), put(patient("ben")))
    ana, ben = (change.owner for change in written.results if change)
    every = ((ana, ((ana, 0),)), (ana, ((ana, 0), (ben, 0))), (ana, ((ben, 0),)), (SHARED, ()))

    def add(conn: Connection) -> None:
        for number, (owner, epochs) in enumerate(every):
            keys = site.keyring.owner(owner)
            exports.add_segment(conn, keys, ORG, ID, number, owner, Segment(epochs, {}), 1, NONCE)

    def stands(conn: Connection) -> bool:
        return exports.stands(conn, ORG, ana, ((ana, 0),))

    await site.write(add)
    found = await site.read(lambda conn: parts(conn, ID, range(9), sealed=False))
    assert [one.noted for one in found] == [((ana, 0),), None, None, None]
    assert [one.payload is None for one in found] == [True, False, False, False]
    assert await site.read(stands)
    await site.write(lambda conn: owners.merge(Hot(conn), ben, ana))
    assert not await site.read(stands)


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
        found = await site.read(lambda conn: parts(conn, job_id, range(first, last + 1)))
        return [int.from_bytes(one.id[16:], "big") for one in found]

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
