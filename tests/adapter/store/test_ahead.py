"""What is looked ahead for is what would be told one by one, whoever stands behind it; it ends with its snapshot."""

from functools import partial

import pytest
from sqlalchemy import Connection

from adapter.seal.blind import keyed_id
from adapter.store import ahead, owners, resources
from adapter.store.engine import Hot
from adapter.store.owners import OwnerFacts
from adapter.store.resources import Sealed
from mappings.fhir.codec import Json
from tests.adapter.store.conftest import ORG, Site, gone, observation, patient, put, told

NAMES = [
    ("Patient", "ana"),  # merged into ben
    ("Patient", "ben"),
    ("Patient", "eva"),  # alone
    ("Patient", "fritz"),  # erased
    ("Observation", "of-ana"),
    ("Observation", "of-eva"),
    ("Observation", "gone"),
    ("Group", "both"),  # a composite owner's
    ("Practitioner", "doc"),  # nobody's
    ("Patient", "referred"),  # never seen
    ("Patient", "unheard"),
    ("Observation", "eva"),  # another type's name
]


@pytest.fixture
async def ward(site: Site) -> Site:
    members = [{"entity": {"reference": f"Patient/{name}"}} for name in ("ben", "eva")]
    group: Json = {"resourceType": "Group", "id": "both", "type": "person", "actual": True, "member": members}
    await site.commit(*(put(patient(name)) for name in ("ana", "ben", "eva", "fritz")))
    await site.commit(
        put(observation("of-ana")), put(observation("of-eva", of="eva")), put(observation("gone", of="eva"))
    )
    await site.commit(put(group), put({"resourceType": "Practitioner", "id": "doc"}), gone("Observation", "gone"))
    await site.commit(put(observation("of-nobody", of="referred")))
    link = [{"other": {"reference": "Patient/ana"}, "type": "replaces"}]
    away = [{"other": {"reference": "Patient/ben"}, "type": "replaced-by"}]
    await site.commit(told(patient("ben", link=link)), told(patient("ana", active=False, link=away), into="ben"))
    fritz = await site.sealed("Patient", "fritz")
    assert fritz is not None
    await site.write(lambda conn: Hot(conn).run("UPDATE owner SET erased_at = 1 WHERE owner = ?", (fritz.owner,)))
    return site


Told = tuple[list[Sealed | None], list[tuple[OwnerFacts, ...]], list[frozenset[int]]]


def tell(site: Site, conn: Connection) -> Told:
    """Everything that a read asks of each name: the version, who stands behind it, and whose record it is."""
    org = site.keyring.organisation()
    found = [resources.current(conn, org, *name) for name in NAMES]
    behind = [owners.patients(conn, ORG, one.owner) for one in found if one is not None]
    fids = [keyed_id(org.locate, *name) for name in NAMES if name[0] == "Patient"]
    return found, behind, [frozenset(owners.of_patient(conn, ORG, fid)) for fid in fids]


async def test_what_is_looked_ahead_for_is_what_would_be_told(ward: Site) -> None:
    org = ward.keyring.organisation()

    def at_once(conn: Connection) -> Told:
        with ahead.keeping(conn):
            resources.look_ahead(conn, org, [keyed_id(org.locate, *name) for name in NAMES])
            return tell(ward, conn)

    def one_by_one(conn: Connection) -> Told:
        return tell(ward, conn)

    assert await ward.read(at_once) == await ward.read(one_by_one)
    found, behind, _ = await ward.read(one_by_one)
    assert [one is not None for one in found] == [True] * 9 + [False] * 3
    assert sorted({len(one) for one in behind}) == [0, 1, 2, 3]


async def test_whose_record_it_is_holds_all_that_were_merged_and_what_is_shared(ward: Site) -> None:
    org = ward.keyring.organisation()

    def work(conn: Connection, name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        (row,) = Hot(conn).all("SELECT owner FROM resource WHERE fid = ?", (keyed_id(org.locate, "Patient", name),))
        with ahead.keeping(conn):
            mine = owners.of_patient(conn, ORG, keyed_id(org.locate, "Patient", name))
        return mine, owners.read_as_one(conn, ORG, row[0])

    for name, count in (("ana", 3), ("ben", 3), ("eva", 2), ("fritz", 1), ("referred", 1)):
        mine, whole = await ward.read(partial(work, name=name))
        assert (set(mine), len(mine)) == (set(whole), count)


async def test_what_was_kept_ends_with_its_snapshot(ward: Site) -> None:
    def kept(conn: Connection) -> bool:
        with ahead.keeping(conn) as outer, ahead.keeping(conn) as inner:
            assert inner is outer
            owners.of_patient(conn, ORG, keyed_id(ward.keyring.organisation().locate, "Patient", "eva"))
        return ahead.of(conn) is None

    assert await ward.read(kept)
    assert await ward.read(lambda conn: ahead.of(conn) is None)


async def test_nothing_is_looked_ahead_for_where_nothing_keeps_it(ward: Site) -> None:
    with pytest.raises(RuntimeError):
        await ward.read(lambda conn: resources.look_ahead(conn, ward.keyring.organisation(), [b"x" * 16]))
