"""One patient's rows in one order, and who may be the one described: on each database. Fhir chapter §5, §10."""

from adapter.store import matching, record, resources
from adapter.store.engine import Hot, Server
from adapter.store.record import HERS, NAMED, NOBODYS, PATIENT, Line
from mappings.fhir.codec import Json
from tests.adapter.store.conftest import MRN, Site, gone, observation, patient, put

MANY_VISITS = (
    "INSERT INTO resource(rid, org, type, fid, owner, ver, txn, updated, deleted)"
    " SELECT 1000000 + n, r.org, 'Encounter', decode(md5(n::text), 'hex'), 1000000 + n, 1, 1, 1, false"
    " FROM generate_series(1, 20000) n, resource r WHERE r.type = 'Practitioner'",
    "INSERT INTO edge(src, param, dst, org) SELECT 1000000 + n, 'participant', r.rid, r.org"
    " FROM generate_series(1, 20000) n, resource r WHERE r.type = 'Practitioner'",
    "ANALYZE resource",
    "ANALYZE edge",
)


async def lines(site: Site, name: str = "ana") -> list[Line]:
    org = site.keyring.organisation()

    def read(conn):  # type: ignore[no-untyped-def]
        found = resources.current(conn, org, "Patient", name)
        assert found is not None
        return record.lines(conn, org, found)

    found: list[Line] = await site.read(read)
    return found


async def fill(site: Site) -> None:
    await site.commit(
        put({"resourceType": "Practitioner", "id": "kaya"}),
        put(
            {
                "resourceType": "PractitionerRole",
                "id": "ward",
                "practitioner": {"reference": "Practitioner/kaya"},
            }
        ),
        put(patient("ana", "1")),
        put(patient("ben", "2")),
        put(observation("a1", performer=[{"reference": "PractitionerRole/ward"}])),
        put(observation("b1", of="ben")),
        put(observation("b2", of="ben", performer=[{"reference": "Patient/ana"}])),
    )


async def test_a_record_is_in_the_order_of_whose_it_is(site: Site) -> None:
    await fill(site)
    found = [(one.rank, one.type) for one in await lines(site)]
    assert found[:3] == [(PATIENT, "Patient"), (HERS, "Observation"), (NAMED, "Observation")]
    assert sorted(found[3:]) == [(NOBODYS, "Practitioner"), (NOBODYS, "PractitionerRole")]


async def test_what_is_deleted_is_a_row_and_is_not_opened(site: Site) -> None:
    await fill(site)
    before = await site.read(lambda conn: Hot(conn).settled())
    await site.commit(gone("Observation", "a1"))
    org, rows = site.keyring.organisation(), await lines(site)
    now = await site.read(lambda conn: record.sealed(conn, org, rows, None))
    then = await site.read(lambda conn: record.sealed(conn, org, rows, before))
    (deleted,) = [one.rid for one in rows if one.deleted]
    assert deleted not in [one.rid for one in now]
    assert [one.rid for one in then] == [one.rid for one in rows]
    assert all(one.body is not None for one in then)


async def test_candidates_of_a_match_come_by_identifier_and_by_name_with_birth(site: Site) -> None:
    named = {"name": [{"family": "Muster"}], "birthDate": "1970-05-17"}
    await site.commit(put(patient("ana", "1", **named)), put(patient("ben", "2")))
    org = site.keyring.organisation()

    async def found(asked: Json) -> int:
        return len(await site.read(lambda conn: matching.candidates(conn, org, asked)))

    assert await found({"identifier": [{"system": MRN, "value": "1"}]}) == 1
    assert await found({"identifier": [{"system": MRN, "value": "1"}, {"system": MRN, "value": "2"}]}) == 2
    assert await found(named) == 1
    assert await found({"identifier": [{"system": MRN, "value": "9"}]}) == 0
    assert await found({}) == 0


async def test_what_belongs_to_nobody_is_found_from_what_refers_to_it(site: Site) -> None:
    """Not from the practitioner, to whom everybody's visits refer: a record would grow slower with the site."""
    await fill(site)
    if isinstance(site.place, Server):
        await site.write(lambda conn: [Hot(conn).run(statement) for statement in MANY_VISITS])  # it plans by numbers
        asked = "EXPLAIN " + record.REFERRED.replace("IN (…)", "= ANY('{7, 8}'::bigint[])").replace("?", "0")
    else:
        asked = "EXPLAIN QUERY PLAN " + record.REFERRED.replace("(…)", "(7, 8)").replace("?", "0")
    steps = "\n".join(row[-1] for row in await site.rows(asked))
    assert "edge_pkey" in steps or "SEARCH e USING PRIMARY KEY (src=?)" in steps
    assert "edge_dst" not in steps
