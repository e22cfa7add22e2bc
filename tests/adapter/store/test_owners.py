"""Who is this patient, and which patients are one: fhir chapter §5, hl7v2 chapter §10, access chapter §6 step 2."""

import pytest

from adapter.store import outbox, owners
from adapter.store.resources import Sealed
from adapter.store.unit import StoreIssue
from mappings.fhir.codec import Json
from tests.adapter.store.conftest import ORG, Site, identifier, observation, patient, put, told

AFTER = "2026-03-05T09:00:00Z"
LATER = "2026-03-06T09:00:00Z"


async def found(site: Site, kind: str, name: str) -> Sealed:
    sealed = await site.sealed(kind, name)
    assert sealed is not None
    return sealed


def retired(name: str, into: str) -> Json:
    return patient(name, active=False, link=[{"other": {"reference": f"Patient/{into}"}, "type": "replaced-by"}])


async def merge(site: Site, old: str, new: str, at: str = AFTER) -> None:
    link = [{"other": {"reference": f"Patient/{old}"}, "type": "replaces"}]
    await site.commit(told(patient(new, new, link=link), at=at), told(retired(old, new), at=at, into=new))


# --- recognised ------------------------------------------------------------------------------------------------------


async def test_another_feeds_id_of_a_known_patient_becomes_an_alias(site: Site) -> None:
    await site.commit(told(patient("ana", "7")))
    written = await site.commit(told(patient("lab-ana", "7"), "stub"), told(observation("o1", of="lab-ana")))
    assert written.issues == ()
    assert (await site.body("Observation", "o1"))["subject"] == {"reference": "Patient/ana"}
    assert (await found(site, "Patient", "lab-ana")).rid == (await found(site, "Patient", "ana")).rid
    assert await site.rows("SELECT count(*) FROM resource WHERE type = 'Patient' AND ver > 0") == [(1,)]
    await site.commit(told(observation("o2", of="lab-ana")))
    assert (await site.body("Observation", "o2"))["subject"] == {"reference": "Patient/ana"}


async def test_two_candidates_decide_nothing(site: Site) -> None:
    await site.commit(told(patient("ana", "7")))
    await site.commit(told(patient("ben", "8")))
    both = patient("new", "7", "8")
    written = await site.commit(told(both))
    assert written.issues == (StoreIssue("identity-ambiguous", "Patient"),)
    assert await site.rows("SELECT count(*) FROM alias") == [(0,)]
    assert len({(await found(site, "Patient", name)).owner for name in ("ana", "ben", "new")}) == 3


@pytest.mark.parametrize(
    ("held", "asked", "known"),
    [
        (identifier("7"), identifier("7"), True),
        (identifier("7"), identifier("7", system="urn:oid:2.999.9"), False),
        (identifier("7"), identifier("8"), False),
        (identifier("7", "AN"), identifier("7", "AN"), False),
        (identifier("7", "NNAUT"), identifier("7", "NNAUT"), True),
        (identifier("7", "NN"), identifier("7", "NN"), False),
        ({"value": "7"}, {"value": "7"}, False),
        (identifier("7") | {"use": "old"}, identifier("7"), True),
        (identifier("7"), identifier("7") | {"use": "old"}, False),
    ],
)
async def test_only_an_identifier_that_identifies_is_a_match(site: Site, held: Json, asked: Json, known: bool) -> None:
    await site.commit(told(patient("ana") | {"identifier": [held]}))
    await site.commit(told(patient("other") | {"identifier": [asked]}))
    assert ((await found(site, "Patient", "other")).rid == (await found(site, "Patient", "ana")).rid) is known


async def test_likeness_never_decides(site: Site) -> None:
    alike = {"name": [{"family": "Demo", "given": ["Ana"]}], "birthDate": "1970-01-02", "gender": "female"}
    await site.commit(told(patient("ana", "7", **alike)))
    await site.commit(told(patient("twin", "8", **alike)))
    assert (await found(site, "Patient", "ana")).owner != (await found(site, "Patient", "twin")).owner


# --- merged ----------------------------------------------------------------------------------------------------------


async def test_a_merge_is_an_alias_and_both_are_read_as_one(site: Site) -> None:
    await site.commit(told(patient("old", "1")), told(observation("o1", of="old")))
    await site.commit(told(patient("new", "2")), told(observation("o2", of="new")))
    old, new = await found(site, "Patient", "old"), await found(site, "Patient", "new")
    await merge(site, "old", "new")
    facts = await site.read(lambda conn: owners.patients(conn, ORG, old.owner))
    assert [(one.owner, one.epoch, one.erased) for one in facts] == [(new.owner, 1, False), (old.owner, 1, False)]
    assert await site.read(lambda conn: owners.patients(conn, ORG, new.owner)) == facts
    assert (await site.body("Patient", "old"))["active"] is False
    assert (await site.body("Patient", "old"))["link"][0]["other"] == {"reference": "Patient/new"}
    assert (await site.body("Patient", "new"))["link"][0]["other"] == {"reference": "Patient/old"}
    assert (await found(site, "Observation", "o1")).owner == old.owner


async def test_late_data_of_a_merged_patient_goes_to_the_survivor(site: Site) -> None:
    await site.commit(told(patient("old", "1")), told(observation("o1", of="old", status="preliminary"), "state"))
    await merge(site, "old", "new")
    survivor = (await found(site, "Patient", "new")).owner
    await site.commit(told(patient("old", "1"), "stub"), told(observation("o9", of="old")))
    assert (await site.body("Observation", "o9"))["subject"] == {"reference": "Patient/new"}
    assert (await found(site, "Observation", "o9")).owner == survivor
    written = await site.commit(told(observation("o1", of="old"), "state", at=LATER))
    assert [(change.op, change.owner) for change in written.changes] == [("u", survivor)]
    tokens = "SELECT DISTINCT t.owner FROM token t JOIN resource r USING (rid) WHERE r.type = 'Observation'"
    assert await site.rows(tokens) == [(survivor,)]


async def test_a_merge_of_someone_unknown_still_makes_an_alias(site: Site) -> None:
    await site.commit(told(patient("new", "2")))
    await merge(site, "never-seen", "new")
    await site.commit(told(observation("o1", of="never-seen")))
    assert (await site.body("Observation", "o1"))["subject"] == {"reference": "Patient/new"}


async def test_a_merge_replayed_changes_nothing(site: Site) -> None:
    await site.commit(told(patient("old", "1")), told(patient("new", "2")))
    await merge(site, "old", "new")
    state = "SELECT count(*), sum(epoch), (SELECT count(*) FROM alias), (SELECT count(*) FROM version) FROM owner"
    before = await site.rows(state)
    await merge(site, "old", "new")
    assert await site.rows(state) == before
    assert await site.read(lambda conn: outbox.count(conn, ORG)) == 6


async def test_chains_of_merges_flatten(site: Site) -> None:
    for name in ("a", "b", "c"):
        await site.commit(told(patient(name, name)))
    await merge(site, "a", "b")
    await merge(site, "b", "c", LATER)
    c = await found(site, "Patient", "c")
    assert await site.rows("SELECT DISTINCT rid FROM alias") == [(c.rid,)]
    assert await site.rows('SELECT DISTINCT "into" FROM owner WHERE "into" IS NOT NULL') == [(c.owner,)]
    await site.commit(told(observation("o1", of="a")))
    assert (await site.body("Observation", "o1"))["subject"] == {"reference": "Patient/c"}


@pytest.mark.parametrize(("second", "survivor"), [(LATER, "old"), ("2026-03-01T09:00:00Z", "new")])
async def test_a_reversed_merge_is_decided_by_event_time(site: Site, second: str, survivor: str) -> None:
    await site.commit(told(patient("old", "1")), told(patient("new", "2")))
    await merge(site, "old", "new", AFTER)
    await merge(site, "new", "old", second)
    await site.commit(told(observation("o1", of="old")), told(observation("o2", of="new")))
    for name in ("o1", "o2"):
        assert (await site.body("Observation", name))["subject"] == {"reference": f"Patient/{survivor}"}
    owner = (await found(site, "Patient", survivor)).owner
    assert await site.rows('SELECT "into" FROM owner WHERE owner = ?', owner) == [(None,)]


async def test_a_patient_merged_with_herself_is_an_issue(site: Site) -> None:
    await site.commit(told(patient("ana", "7")))
    written = await site.commit(told(patient("ana", "7"), into="ana"))
    assert StoreIssue("merge-with-self", "Patient") in written.issues
    assert await site.rows("SELECT count(*) FROM alias") == [(0,)]


async def test_a_merge_is_told_once_under_each_tag_with_its_epoch(site: Site) -> None:
    await site.commit(told(patient("old", "1")), told(patient("new", "2")))
    await merge(site, "old", "new")
    old, new = await found(site, "Patient", "old"), await found(site, "Patient", "new")
    events = [one for one in await site.read(lambda conn: outbox.pending(conn, ORG)) if one.kind == "subject.merged"]
    assert {(one.owner, one.epoch) for one in events} == {(old.owner, 1), (new.owner, 1)}
    parts = events[0].open(site.keyring.owner(events[0].owner))
    assert parts.secret == {"subject": f"o-{old.owner}", "into": f"o-{new.owner}"}


async def test_the_identifier_of_a_merged_patient_recognises_the_survivor(site: Site) -> None:
    await site.commit(told(patient("old", "1")), told(patient("new", "2")))
    await merge(site, "old", "new")
    await site.commit(told(patient("lab-old", "1"), "stub"), told(observation("o1", of="lab-old")))
    assert (await site.body("Observation", "o1"))["subject"] == {"reference": "Patient/new"}


async def test_a_shared_resource_needs_every_patient_and_all_they_were_merged_with(site: Site) -> None:
    for name in ("ana", "ben", "bea"):
        await site.commit(told(patient(name, name)))
    members = [{"entity": {"reference": f"Patient/{name}"}} for name in ("ana", "ben")]
    await site.commit(put({"resourceType": "Group", "id": "g", "type": "person", "actual": True, "member": members}))
    await merge(site, "bea", "ben")
    group = await found(site, "Group", "g")
    facts = await site.read(lambda conn: owners.patients(conn, ORG, group.owner))
    assert {one.owner for one in facts} == {
        (await found(site, "Patient", name)).owner for name in ("ana", "ben", "bea")
    }
    ben = await found(site, "Patient", "ben")
    assert group.owner in await site.read(lambda conn: owners.read_as_one(conn, ORG, ben.owner))


async def test_what_is_shared_by_the_organisation_is_nobodys(site: Site) -> None:
    assert await site.read(lambda conn: owners.patients(conn, ORG, 0)) == ()
