"""What a message does to resources it does not carry: hl7v2 chapter §6, §8."""

from adapter.store.unit import Unit
from adapter.store.writing import commit_unit
from mappings.convert import Close, Repoint, Undo
from mappings.fhir.codec import Json
from tests.adapter.store.conftest import AT, Site, observation, patient, put, told

AFTER = "2026-03-05T09:00:00Z"


def relative(name: str, of: str = "ana") -> Json:
    return {"resourceType": "RelatedPerson", "id": name, "active": True, "patient": {"reference": f"Patient/{of}"}}


async def snapshot(site: Site, *names: str, feed: str = "main", of: str = "ana", at: str = AFTER) -> int:
    """What one feed lists of a patient's relatives; the number of versions it made."""
    entries = (told(patient(of, of)), *(told(relative(name, of), at=at) for name in names))
    effect = Close("RelatedPerson", f"Patient/{of}", names)
    unit = Unit("transform.hl7v2", feed, AT, entries, (effect,))
    return len((await site.write(lambda conn: commit_unit(conn, unit, site.keyring))).changes)


async def active(site: Site, *names: str) -> list[bool]:
    return [(await site.body("RelatedPerson", name))["active"] for name in names]


async def test_what_a_snapshot_no_longer_lists_is_ended_not_deleted(site: Site) -> None:
    await snapshot(site, "mother", "brother")
    assert await snapshot(site, "brother") == 1
    assert await active(site, "mother", "brother") == [False, True]
    assert (await site.body("RelatedPerson", "mother"))["period"] == {"end": "2026-03-04T09:00:00Z"}


async def test_a_snapshot_ends_nothing_of_other_feeds_or_patients(site: Site) -> None:
    await snapshot(site, "mother")
    await snapshot(site, "friend", feed="other")
    await snapshot(site, "aunt", of="ben")
    await snapshot(site, "brother")
    assert await active(site, "mother", "friend", "aunt", "brother") == [False, True, True, True]


async def test_a_snapshot_said_again_writes_nothing(site: Site) -> None:
    await snapshot(site, "mother", "brother")
    before = await site.rows("SELECT rid, ver, clock FROM resource ORDER BY rid")
    assert await snapshot(site, "mother", "brother") == 0
    assert await site.rows("SELECT rid, ver, clock FROM resource ORDER BY rid") == before


async def test_an_empty_list_ends_all_of_it_and_who_is_listed_again_is_back(site: Site) -> None:
    await snapshot(site, "mother")
    await snapshot(site)
    assert await active(site, "mother") == [False]
    await snapshot(site, "mother")
    assert await active(site, "mother") == [True]


async def test_what_hangs_on_one_resource_is_moved_to_another(site: Site) -> None:
    stays = [
        {"resourceType": "Encounter", "id": name, "status": "in-progress", "class": {"code": "IMP"}}
        | {"subject": {"reference": "Patient/ana"}}
        for name in ("e1", "e2")
    ]
    results = [put(observation(f"o{n}", encounter={"reference": f"Encounter/e{n}"})) for n in (1, 2)]
    await site.commit(told(patient("ana", "7")), *map(put, stays), *results)
    written = await site.commit(effects=(Repoint("", "Encounter/e1", "Encounter/e2"),))
    assert [(change.id, change.ver) for change in written.changes] == [("o1", 2)]
    assert (await site.body("Observation", "o1"))["encounter"] == {"reference": "Encounter/e2"}
    edges = "SELECT count(*) FROM edge e JOIN resource r ON r.rid = e.dst WHERE e.param = 'encounter' GROUP BY r.rid"
    assert await site.rows(edges) == [(2,)]
    assert (await site.commit(effects=(Repoint("", "Encounter/e1", "Encounter/e2"),))).changes == ()


async def test_an_element_goes_back_to_what_it_was(site: Site) -> None:
    await site.commit(told(patient("ana", "7")))
    for status in ("preliminary", "final"):
        await site.commit(put(observation("o1", status=status)))
    await site.commit(put(observation("o1", note=[{"text": "checked"}])))
    written = await site.commit(effects=(Undo("Observation/o1", "status"),))
    body = await site.body("Observation", "o1")
    assert (written.changes[0].ver, body["status"], body["note"]) == (4, "preliminary", [{"text": "checked"}])
    await site.commit(effects=(Undo("Observation/o1", "note"),))
    assert "note" not in await site.body("Observation", "o1")
    assert (await site.commit(effects=(Undo("Observation/none", "status"),))).changes == ()


async def test_an_element_taken_back_stays_so_when_the_message_is_said_again(site: Site) -> None:
    await site.commit(told(patient("ana", "7")))
    await site.commit(told(observation("o1", status="preliminary"), at="2026-03-01T09:00:00Z"))
    await site.commit(told(observation("o1", status="final"), at="2026-03-02T09:00:00Z"))
    undo = (told(patient("ana", "7"), at="2026-03-03T09:00:00Z"),)
    for changes in (1, 0):
        written = await site.commit(*undo, effects=(Undo("Observation/o1", "status"),))
        assert len(written.changes) == changes
    assert (await site.body("Observation", "o1"))["status"] == "preliminary"


async def test_a_visit_that_moves_takes_its_results_along_and_leaves_the_others(site: Site) -> None:
    stays = [stay(name, "ana") for name in ("e1", "e2")]
    results = [put(observation(f"o{n}", encounter={"reference": f"Encounter/e{n}"})) for n in (1, 2)]
    await site.commit(told(patient("ana", "7")), told(patient("ben", "8")), *map(put, stays), *results)
    moved = Repoint("", "Patient/ana", "Patient/ben", within="Encounter/e1")
    for count in (2, 0):
        assert len((await site.commit(effects=(moved,))).changes) in (count, count * 2)  # a new owner: deleted and made
    whose = [(await site.body("Observation", f"o{n}"))["subject"]["reference"] for n in (1, 2)]
    assert whose == ["Patient/ben", "Patient/ana"]
    assert (await site.body("Encounter", "e1"))["subject"] == {"reference": "Patient/ben"}
    assert (await site.body("Encounter", "e2"))["subject"] == {"reference": "Patient/ana"}


def stay(name: str, of: str, **more: Json) -> Json:
    return {"resourceType": "Encounter", "id": name, "status": "in-progress", "class": {"code": "IMP"}} | {
        "subject": {"reference": f"Patient/{of}"},
        **more,
    }


async def test_a_renamed_stay_stays_one_and_late_data_follows(site: Site) -> None:
    await site.commit(told(patient("ana", "7")), told(stay("old", "ana")))
    for _ in range(2):
        await site.commit(told(stay("new", "ana", length={"value": 3}), was="old"))
    assert (await site.body("Encounter", "old"))["length"] == {"value": 3}
    await site.commit(told(stay("new", "ana", length={"value": 4}), at="2026-03-06T09:00:00Z"))
    assert (await site.body("Encounter", "old"))["length"] == {"value": 4}
    assert await site.rows("SELECT count(*) FROM resource WHERE type = 'Encounter' AND ver > 0") == [(1,)]


async def test_a_name_given_before_the_thing_is_known_still_leads_there(site: Site) -> None:
    await site.commit(told(patient("ana", "7")), told(stay("new", "ana"), was="old"))
    await site.commit(told(stay("old", "ana", length={"value": 5}), at="2026-03-06T09:00:00Z"))
    assert (await site.body("Encounter", "new"))["length"] == {"value": 5}
    assert await site.rows("SELECT count(*) FROM resource WHERE type = 'Encounter' AND ver > 0") == [(1,)]


async def test_two_known_records_under_one_new_number_are_read_as_one(site: Site) -> None:
    await site.commit(told(patient("ana", "7")), told(patient("eva", "9")))
    written = await site.commit(told(patient("eva", "9"), at="2026-03-06T09:00:00Z", was="ana"))
    assert len(written.events) >= 2  # both subjects hear of it
    assert (await site.commit(told(patient("eva", "9"), at="2026-03-06T09:00:00Z", was="ana"))).changes == ()
    joined = await site.rows('SELECT count(*) FROM owner WHERE "into" IS NOT NULL')
    assert joined == [(1,)]


async def test_a_patient_renamed_before_she_is_known_keeps_to_herself(site: Site) -> None:
    await site.commit(told(patient("eva", "9"), was="ana"))
    assert await site.rows('SELECT count(*) FROM owner WHERE "into" IS NOT NULL') == [(0,)]
    await site.commit(told(patient("ana", "9"), at="2026-03-06T09:00:00Z"))
    assert await site.rows("SELECT count(*) FROM resource WHERE type = 'Patient' AND ver > 0") == [(1,)]
