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
