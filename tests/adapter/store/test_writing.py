"""The commit of one unit: fhir chapter §5 "Commit of one unit", §8; promises 3 and 4 of the architecture."""

import hashlib
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection

from adapter.errors import IntegrityFault, PreconditionFailed, Unprocessable
from adapter.seal.keyring import SHARED, NeedKeys
from adapter.store import outbox, resources
from adapter.store.engine import Hot
from adapter.store.unit import EventParts, Replace, Unit, Written
from adapter.store.writing import commit_unit, in_order
from mappings.fhir.codec import decode, encode
from tests.adapter.store.conftest import AT, ORG, Site, gone, observation, patient, put, told


async def test_what_was_written_is_stamped_and_comes_back_as_the_same_bytes(site: Site) -> None:
    written = await site.commit(told(patient("ana", "7")), told(observation("o1")))
    change = written.results[1]
    assert change is not None
    found = await site.sealed("Observation", "o1")
    assert found is not None
    body = found.open(site.keyring.owner(found.owner))
    assert body == change.body
    assert decode(body)["meta"] == {"lastUpdated": "2026-03-04T09:15:27.123Z", "versionId": "1"}
    assert change.digest == hashlib.sha256(body).digest()
    assert body == encode(decode(body))


async def test_a_replayed_unit_writes_nothing(site: Site) -> None:
    unit = (
        told(patient("ana", "7")),
        told(observation("o1")),
        told({"resourceType": "Organization", "id": "lab", "name": "L"}, "stub"),
    )
    first = await site.commit(*unit)
    before = await _everything(site)
    again = await site.commit(*unit, at=AT + timedelta(days=1))
    assert first.txn
    assert again == Written(0, again.results)
    assert [change.op for change in again.results if change] == ["", ""]
    assert await _everything(site) == before


async def _everything(site: Site) -> list[object]:
    tables = ("resource", "version", "token", "edge", "alias", "owner", "txn", "outbox")
    return [await site.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in tables]  # noqa: S608


async def test_changed_content_is_the_next_version_and_the_old_one_stays(site: Site) -> None:
    await site.commit(told(patient("ana", "7")), told(observation("o1", status="preliminary"), "state"))
    await site.commit(told(observation("o1"), "state", at="2026-03-04T10:00:00Z"))
    org = site.keyring.organisation()
    history = await site.read(lambda conn: resources.history(conn, org, "Observation", "o1"))
    assert [(one.ver, one.op) for one in history] == [(2, "u"), (1, "c")]
    old = await site.read(lambda conn: resources.version(conn, org, "Observation", "o1", 1))
    assert old is not None
    assert decode(old.open(site.keyring.owner(old.owner)))["status"] == "preliminary"
    assert old.latest == 2


async def test_a_stub_is_made_only_where_nothing_stands(site: Site) -> None:
    lab = {"resourceType": "Organization", "id": "lab", "name": "Laboratory"}
    await site.commit(told(lab, "stub"))
    await site.commit(told(lab | {"name": "Other"}, "stub"))
    assert (await site.body("Organization", "lab"))["name"] == "Laboratory"


async def test_what_belongs_to_no_patient_is_shared(site: Site) -> None:
    await site.commit(told({"resourceType": "Organization", "id": "lab", "name": "L"}), told(patient("ana", "7")))
    lab, ana = await site.sealed("Organization", "lab"), await site.sealed("Patient", "ana")
    assert lab is not None
    assert ana is not None
    assert lab.owner == SHARED
    assert ana.owner != SHARED


async def test_a_patients_resources_are_sealed_under_her_own_key(site: Site) -> None:
    await site.commit(told(observation("o1")), told(patient("ana", "7")), told(observation("o2", of="ben")))
    owners = [found.owner for name in ("o1", "o2") if (found := await site.sealed("Observation", name))]
    ana = await site.sealed("Patient", "ana")
    assert ana is not None
    assert owners[0] == ana.owner != owners[1]
    other = await site.sealed("Observation", "o2")
    assert other is not None
    with pytest.raises(IntegrityFault):
        other.open(site.keyring.owner(ana.owner))


async def test_a_patient_who_was_only_referred_to_is_absent_and_keeps_her_owner_when_she_comes(site: Site) -> None:
    await site.commit(told(observation("o1")))
    assert await site.sealed("Patient", "ana") is None
    await site.commit(told(patient("ana", "7")))
    ana, result = await site.sealed("Patient", "ana"), await site.sealed("Observation", "o1")
    assert ana is not None
    assert result is not None
    assert (ana.ver, ana.owner) == (1, result.owner)


async def test_several_patients_make_a_composite_owner_that_is_found_again(site: Site) -> None:
    group = {"resourceType": "Group", "id": "g1", "type": "person", "actual": True}
    both = {"member": [{"entity": {"reference": f"Patient/{name}"}} for name in ("ana", "ben")]}
    await site.commit(told(patient("ana", "7")), told(patient("ben", "8")), put(group | both))
    await site.commit(put(group | both | {"id": "g2"}))
    first, second = await site.sealed("Group", "g1"), await site.sealed("Group", "g2")
    assert first is not None
    assert second is not None
    assert first.owner == second.owner
    members = await site.rows("SELECT count(*), owner FROM owner_member GROUP BY owner")
    assert members == [(2, first.owner)]


async def test_a_patient_that_no_reference_names_is_refused_never_shared(site: Site) -> None:
    named = {"identifier": {"system": "urn:oid:2.999.1.4", "value": "7"}, "type": "Patient"}
    for subject in (named, {"reference": "https://elsewhere.example/fhir/Patient/1"}):
        with pytest.raises(Unprocessable, match="not named"):
            await site.commit(put(observation("o1") | {"subject": subject}))
    assert await site.rows("SELECT count(*) FROM resource") == [(0,)]


async def test_what_follows_another_resource_has_its_owner(site: Site) -> None:
    provenance = {
        "resourceType": "Provenance",
        "id": "p1",
        "target": [{"reference": "Observation/o1"}],
        "recorded": "2026-03-04T09:15:27Z",
        "agent": [{"who": {"reference": "Organization/lab"}}],
    }
    with pytest.raises(Unprocessable, match="not stored here"):
        await site.commit(put(provenance))
    await site.commit(put(provenance), told(patient("ana", "7")), told(observation("o1")))
    await site.commit(put(provenance | {"id": "p2"}))
    found = [await site.sealed("Provenance", name) for name in ("p1", "p2")] + [await site.sealed("Patient", "ana")]
    assert len({one.owner for one in found if one}) == 1


async def test_invalid_content_is_refused_with_its_place_and_nothing_is_left(site: Site) -> None:
    with pytest.raises(Unprocessable) as caught:
        await site.commit(told(patient("ana", "7")), put(observation("o1", status="secret-status")))
    assert [item.expression for item in caught.value.items] == ["Observation.status"]
    assert "secret-status" not in str(caught.value) + str(caught.value.items)
    assert await site.rows("SELECT (SELECT count(*) FROM resource) + (SELECT count(*) FROM owner)") == [(0,)]


async def test_a_bad_unit_never_blocks_its_neighbours(site: Site) -> None:
    entries = [
        (told(patient("ana", "7")),),
        (told(patient("ben", "8")), told(observation("o1", of="ben", status="bad"))),
        (told(patient("eva", "9")),),
    ]
    works = [
        lambda conn, one=one: commit_unit(conn, Unit("transform.hl7v2", "main", AT, one), site.keyring).txn
        for one in entries
    ]

    def refused(conn: Connection, number: int, error: Exception) -> int:
        Hot(conn).run("INSERT INTO meta VALUES ('refused', ?)", (str(number),))
        return -1

    assert [txn > 0 for txn in await site.write(lambda conn: in_order(conn, works, refused))] == [True, False, True]
    assert await site.rows("SELECT value FROM meta WHERE key = 'refused'") == [("1",)]
    assert [bool(await site.sealed("Patient", name)) for name in ("ana", "ben", "eva")] == [True, False, True]


async def test_keys_are_asked_for_together_and_nothing_waits_for_the_vault(site: Site) -> None:
    for name in ("ana", "ben"):
        await site.commit(told(patient(name, name)))
    owners = [found.owner for name in ("ana", "ben") if (found := await site.sealed("Patient", name))]
    for owner in owners:
        site.keyring.forget(owner)
    works = [
        lambda conn, name=name: commit_unit(
            conn, Unit("transform.hl7v2", "main", AT, (told(patient(name, name, gender="female")),)), site.keyring
        )
        for name in ("ana", "ben")
    ]
    with pytest.raises(NeedKeys) as caught:
        await site.store.write(lambda conn: in_order(conn, works, lambda conn, number, error: Written(0)))
    assert caught.value.owners == set(owners)
    done = await site.write(lambda conn: in_order(conn, works, lambda conn, number, error: Written(0)))
    assert [len(one.changes) for one in done] == [1, 1]


async def test_a_delete_leaves_a_marker_and_no_postings(site: Site) -> None:
    await site.commit(told(patient("ana", "7")), told(observation("o1")))
    before = await site.rows("SELECT count(*) FROM token")
    written = await site.commit(gone("Observation", "o1"))
    assert [change.op for change in written.changes] == ["d"]
    assert await site.rows("SELECT count(*) FROM token") < before
    assert await site.rows("SELECT count(*) FROM token t JOIN resource r USING (rid) WHERE r.type = 'Observation'") == [
        (0,)
    ]
    found = await site.sealed("Observation", "o1")
    assert found is not None
    assert found.deleted
    assert (await site.commit(gone("Observation", "o1"))).changes == ()
    back = await site.commit(put(observation("o1")))
    assert [(change.op, change.ver) for change in back.changes] == [("c", 3)]


@pytest.mark.parametrize(("expected", "fits"), [(1, True), (2, False), (0, False), (None, True)])
async def test_if_match_is_checked_in_the_same_transaction(site: Site, expected: int | None, fits: bool) -> None:
    await site.commit(told(patient("ana", "7")), told(observation("o1")))
    change = put(observation("o1", status="amended"), expected)
    if fits:
        assert (await site.commit(change)).changes
    else:
        with pytest.raises(PreconditionFailed):
            await site.commit(change)


async def test_only_the_difference_of_the_index_is_written(site: Site) -> None:
    await site.commit(told(patient("ana", "7")), told(observation("o1", code="1-1"), "state"))
    first = set(await site.rows("SELECT owner, tok, rid FROM token"))
    await site.commit(told(observation("o1", code="2-2"), "state", at="2026-03-04T10:00:00Z"))
    second = set(await site.rows("SELECT owner, tok, rid FROM token"))
    assert len(first - second) == len(second - first) == 2
    fresh = await site.commit(
        put(observation("o1", code="1-1")), put(observation("o1", code="3-3")), put(observation("o1", code="1-1"))
    )
    assert [change.ver for change in fresh.changes] == [3, 4, 5]
    assert set(await site.rows("SELECT owner, tok, rid FROM token")) == first


async def test_changing_a_resources_patient_is_a_delete_and_a_create(site: Site) -> None:
    await site.commit(told(patient("ana", "7")), told(patient("ben", "8")), told(observation("o1")))
    written = await site.commit(put(observation("o1", of="ben")))
    assert [(change.ver, change.op) for change in written.changes] == [(2, "d"), (3, "c")]
    ana, ben = await site.sealed("Patient", "ana"), await site.sealed("Patient", "ben")
    assert ana is not None
    assert ben is not None
    assert await site.rows(
        "SELECT ver, owner FROM version v JOIN resource r USING (rid) WHERE r.type = 'Observation'".replace(
            "ver, owner", "v.ver, v.owner"
        )
    ) == [
        (1, ana.owner),
        (2, ana.owner),
        (3, ben.owner),
    ]
    tokens = (
        "SELECT DISTINCT t.owner FROM token t JOIN resource r USING (rid) WHERE r.type = 'Observation' AND t.owner > 0"
    )
    assert await site.rows(tokens) == [(ben.owner,)]


async def test_each_patient_of_a_unit_gets_one_event_with_her_own_lines(site: Site) -> None:
    written = await site.commit(
        told(patient("ana", "7")),
        told(patient("ben", "8")),
        told(observation("o1")),
        told({"resourceType": "Organization", "id": "lab", "name": "L"}),
    )
    pending = await site.read(lambda conn: outbox.pending(conn, ORG))
    assert [one.id for one in pending] == list(written.events)
    assert len({one.owner for one in pending}) == 3
    said = [one.open(site.keyring.owner(one.owner)) for one in pending]
    lines = [line for parts in said for line in parts.secret["content"]]  # type: ignore[attr-defined]
    assert sorted(lines) == sorted(
        f"{change.op} {change.type}/{change.id}/_history/{change.ver} {change.digest.hex()}"
        for change in written.changes
        if change.digest
    )
    assert {parts.type for parts in said} == {"transform.hl7v2"}
    assert all(parts.secret["source"] == "0" * 64 for parts in said)
    assert all(one.event_id[14] == "7" for one in pending)


async def test_a_consents_event_commits_to_the_stamped_bytes_and_raises_the_epoch(site: Site) -> None:
    consent = {
        "resourceType": "Consent",
        "id": "c1",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": "Patient/ana"},
        "policyRule": {"text": "opt-in"},
    }

    def granted(canonical: bytes, version: int, epoch: int, at: datetime) -> EventParts:
        return EventParts("consent.granted", {}, {"scope": hashlib.sha256(canonical).hexdigest()}, canonical)

    await site.commit(told(patient("ana", "7")))
    written = await site.commit(Replace(consent, event=granted))
    change = written.changes[0]
    assert change.digest is not None
    first, second = (await site.read(lambda conn: outbox.pending(conn, ORG)))[-2:]
    assert (first.kind, second.kind, second.epoch) == ("transform.hl7v2", "consent.granted", 1)
    parts = second.open(site.keyring.owner(change.owner))
    assert parts.detail == change.body
    assert parts.secret["scope"] == change.digest.hex()
    assert await site.rows("SELECT epoch FROM owner WHERE owner = ?", change.owner) == [(1,)]

    def refer(conn: Connection) -> str | None:
        return outbox.reference(conn, change.rid, change.ver)

    assert await site.read(refer) is None
    await site.write(lambda conn: outbox.mark(conn, ORG, [(second, "2026:5")], 1))
    assert await site.read(refer) == "2026:5"
    assert await site.rows("SELECT epoch FROM owner WHERE owner = ?", change.owner) == [(2,)]
    assert (await site.commit(Replace(consent, event=granted))).events == ()


async def test_an_event_logged_keeps_only_where_it_stands(site: Site) -> None:
    await site.commit(told(patient("ana", "7")))
    pending = await site.read(lambda conn: outbox.pending(conn, ORG))
    await site.write(lambda conn: outbox.mark(conn, ORG, [(pending[0], "2026:1")], 1))
    await site.write(lambda conn: outbox.mark(conn, ORG, [(pending[0], "2026:2")], 1))
    assert await site.rows("SELECT ref, payload FROM outbox") == [("2026:1", None)]
    assert await site.read(lambda conn: (outbox.count(conn, ORG), outbox.age(conn, ORG))) == (0, None)


async def test_a_changed_row_is_refused_and_nothing_is_deleted(site: Site) -> None:
    await site.commit(told(patient("ana", "7")), told(observation("o1", status="preliminary")))
    swap = """
        UPDATE version SET body = (SELECT o.body FROM version o WHERE o.rid <> version.rid)
        WHERE rid = (SELECT rid FROM resource WHERE type = 'Observation')
    """
    assert await site.write(lambda conn: Hot(conn).run(swap)) == 1
    found = await site.sealed("Observation", "o1")
    assert found is not None
    with pytest.raises(IntegrityFault):
        found.open(site.keyring.owner(found.owner))
    with pytest.raises(IntegrityFault) as caught:
        await site.commit(told(observation("o1")))
    assert caught.value.exit_code == 7
    assert await site.rows("SELECT count(*) FROM version") == [(2,)]


async def test_the_same_code_in_two_patients_shares_no_token(site: Site) -> None:
    await site.commit(
        told(patient("ana", "7")), told(patient("ben", "8")), told(observation("o1")), told(observation("o2", of="ben"))
    )
    shared = "SELECT count(*) FROM token a JOIN token b ON a.tok = b.tok AND a.owner <> b.owner"
    assert await site.rows(shared) == [(0,)]


async def test_a_later_statement_of_the_same_content_moves_only_the_clock(site: Site) -> None:
    await site.commit(told(patient("ana", "7")), told(observation("o1"), "state"))
    before = await site.rows("SELECT clock FROM resource WHERE type = 'Observation'")
    again = await site.commit(told(observation("o1"), "state", at="2026-03-05T09:00:00Z"))
    assert again.changes == ()
    assert await site.rows("SELECT clock FROM resource WHERE type = 'Observation'") != before
    assert await site.rows("SELECT count(*) FROM version WHERE ver > 1") == [(0,)]


async def test_numbers_are_never_used_twice(site: Site) -> None:
    for number in range(5):
        await site.commit(told(patient(f"p{number}", str(number))))
        await site.write(lambda conn: Hot(conn).run("DELETE FROM resource"))
    rids = [row[0] for row in await site.rows("SELECT DISTINCT rid FROM version")]
    txns = [row[0] for row in await site.rows("SELECT txn FROM txn")]
    assert len(rids) == 5
    assert len(set(txns)) == len(txns) == 5


async def test_a_unit_rolled_back_by_its_caller_is_as_if_it_never_was(site: Site) -> None:
    await site.commit(told(patient("ana", "7")))
    before = await _everything(site)

    def work(conn: Connection) -> None:
        commit_unit(conn, Unit("transform.hl7v2", "main", AT, (told(observation("o1")),)), site.keyring)
        raise KeyError

    with pytest.raises(KeyError):
        await site.write(work)
    assert await _everything(site) == before


async def test_a_version_row_that_was_removed_is_no_absence(site: Site) -> None:
    await site.commit(told(patient("ana", "7")), told(observation("o1")))
    await site.write(lambda conn: Hot(conn).run("DELETE FROM version"))
    for call in (site.sealed("Observation", "o1"), site.commit(told(observation("o1", status="amended")))):
        with pytest.raises(IntegrityFault, match="removed"):
            await call


async def test_a_parent_named_by_number_becomes_a_reference_when_one_patient_resource_holds_it(site: Site) -> None:
    number = {"system": "urn:chartbridge:observation", "value": "L1 600-7 1"}
    parent = observation("culture", identifier=[number])
    child = observation("sensitivity", derivedFrom=[{"type": "Observation", "identifier": number}])
    await site.commit(told(patient("ana", "7")), told(child, "state"))
    assert (await site.body("Observation", "sensitivity"))["derivedFrom"] == child["derivedFrom"]
    await site.commit(told(observation("other", of="ben", identifier=[number])), told(parent))
    await site.commit(told(child, "state"))
    linked = [{"reference": "Observation/culture", "type": "Observation", "identifier": number}]
    assert (await site.body("Observation", "sensitivity"))["derivedFrom"] == linked
    await site.commit(told(observation("twice", identifier=[number])))
    await site.commit(told(child | {"id": "third"}, "state"))
    assert (await site.body("Observation", "third"))["derivedFrom"] == child["derivedFrom"]
