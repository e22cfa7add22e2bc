"""Candidates: everything that the exact matcher would find, and little else. fhir chapter §6, §10, §14."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.seal.keyring import NeedKeys
from adapter.store.engine import Hot
from adapter.store.planner import Asking, Plan, candidates, patients_by_identifier, plan, resolver
from adapter.store.resources import Sealed
from mappings.fhir.codec import Json, decode
from mappings.fhir.search import SearchError, matcher, parse
from tests.adapter.store.conftest import AT, MRN, Site, gone, observation, patient, put, told

ASKING = Asking(datetime(2026, 3, 4, tzinfo=UTC), UTC)
Pairs = list[tuple[str, str]]
STATUS = "http://hl7.org/fhir/observation-status"


async def planned(site: Site, kind: str, pairs: Pairs, patient_id: str | None = None) -> Plan:
    return await site.read(lambda conn: plan(conn, site.keyring, parse(kind, pairs), ASKING, patient_id))


async def found(site: Site, kind: str, pairs: Pairs, patient_id: str | None = None) -> tuple[set[str], set[str]]:
    """Ids of what matches, and of all candidates."""

    def work(conn: object) -> tuple[set[str], set[str]]:
        chosen = plan(conn, site.keyring, parse(kind, pairs), ASKING, patient_id)  # type: ignore[arg-type]
        opened = [opened_by(site, one) for one in candidates(conn, site.keyring, chosen, ASKING)]  # type: ignore[arg-type]
        meets = matcher(chosen.query, resolver(conn, site.keyring), now=ASKING.now, zone=ASKING.zone)  # type: ignore[arg-type]
        return {one["id"] for one in opened if meets(one)}, {one["id"] for one in opened}

    return await site.read(work)


def opened_by(site: Site, one: Sealed) -> Json:
    return decode(one.open(site.keyring.owner(one.owner)))


@pytest.fixture
async def ward(site: Site) -> Site:
    """Two patients with a stay and results each."""
    for name, number in (("ana", "7"), ("ben", "8")):
        stay = {"resourceType": "Encounter", "id": f"{name}-stay", "status": "in-progress", "class": {"code": "IMP"}}
        results = [
            put(
                observation(
                    f"{name}-{code}-{month}",
                    of=name,
                    code=code,
                    effectiveDateTime=f"2025-{month:02}-15",
                    encounter={"reference": f"Encounter/{name}-stay"},
                )
            )
            for code in ("2160-0", "718-7")
            for month in (1, 2, 12)
        ]
        who = patient(name, number, name=[{"family": "Demo", "given": [name]}], birthDate="1970-01-02")
        await site.commit(told(who), put(stay | {"subject": {"reference": f"Patient/{name}"}}), *results)
    return site


@pytest.mark.parametrize(
    ("search", "anchor", "ids"),
    [
        ("patient=ana&code=http://loinc.org|2160-0", "patient", "ana-2160-0-1 ana-2160-0-2 ana-2160-0-12"),
        ("subject=Patient/ana&code=718-7&date=2025-02", "subject", "ana-718-7-2"),
        ("subject:Patient=ana&date=2025-12-15", "subject", "ana-718-7-12 ana-2160-0-12"),
        (f"patient.identifier={MRN}|8&code=718-7&date=ge2025-02", "patient.identifier", "ben-718-7-2 ben-718-7-12"),
        (f"patient=ana&status={STATUS}|final&date=2025-01", "patient", "ana-718-7-1 ana-2160-0-1"),
        ("patient=ana&combo-code=718-7&date=2025-01", "patient", "ana-718-7-1"),
        ("patient=ana&code:not=718-7&date=2025-01", "patient", "ana-2160-0-1"),
        ("patient=ana&encounter=Encounter/ana-stay&date=2025-01", "patient", "ana-718-7-1 ana-2160-0-1"),
        ("patient=ana&encounter=Encounter/ben-stay", "patient", ""),
        ("_id=ana-718-7-1,ben-718-7-1,none", "_id", "ana-718-7-1 ben-718-7-1"),
        ("patient=nobody", "patient", ""),
    ],
)
async def test_a_search_finds_from_its_anchor(ward: Site, search: str, anchor: str, ids: str) -> None:
    pairs = parse_qsl(search)
    assert (await planned(ward, "Observation", pairs)).anchor == anchor
    assert (await found(ward, "Observation", pairs))[0] == set(ids.split())


@pytest.mark.parametrize(
    ("search", "anchor", "ids"),
    [
        (f"identifier={MRN}|7", "identifier", "ana"),
        ("identifier=7,8", "identifier", "ana ben"),
        ("identifier=9", "identifier", ""),
        ("family=demo&birthdate=1970-01-02&given=ben", "family", "ben"),
        ("_id=ana", "_id", "ana"),
    ],
)
async def test_a_patient_is_found_from_her_anchor(ward: Site, search: str, anchor: str, ids: str) -> None:
    pairs = parse_qsl(search)
    assert (await planned(ward, "Patient", pairs)).anchor == anchor
    assert (await found(ward, "Patient", pairs))[0] == set(ids.split())


async def test_a_compartment_is_an_anchor(ward: Site) -> None:
    matched, _ = await found(ward, "Observation", [("code", "718-7"), ("date", "2025-01")], "ben")
    assert matched == {"ben-718-7-1"}


@pytest.mark.parametrize(
    ("kind", "pairs"),
    [
        ("Observation", [("code", "718-7")]),
        ("Observation", []),
        ("Observation", [("subject", "Group/g")]),
        ("Patient", [("family", "demo")]),
        ("Patient", [("family", "demo"), ("birthdate", "1970")]),
        ("Patient", [("identifier:missing", "true")]),
        ("Patient", [("identifier", f"{MRN}|")]),
    ],
)
async def test_without_an_anchor_a_search_is_too_costly(ward: Site, kind: str, pairs: Pairs) -> None:
    with pytest.raises(SearchError) as caught:
        await planned(ward, kind, pairs)
    assert caught.value.code == "too-costly"


async def test_postings_narrow_what_is_opened(site: Site) -> None:
    many = [put(observation(f"o{n}", code=f"{n % 50}-0")) for n in range(200)]
    await site.commit(told(patient("ana", "7")), *many)
    matched, opened = await found(site, "Observation", [("patient", "ana"), ("code", "3-0")])
    assert matched == opened == {"o3", "o53", "o103", "o153"}


async def test_another_patients_rows_are_no_candidates(ward: Site) -> None:
    _, opened = await found(ward, "Observation", [("patient", "ana")])
    assert {name.partition("-")[0] for name in opened} == {"ana"}


async def test_after_a_merge_either_name_finds_all_of_both(ward: Site) -> None:
    link = [{"other": {"reference": "Patient/ana"}, "type": "replaces"}]
    away = [{"other": {"reference": "Patient/ben"}, "type": "replaced-by"}]
    await ward.commit(told(patient("ben", "8", link=link)), told(patient("ana", active=False, link=away), into="ben"))
    everything = {f"{name}-718-7-{month}" for name in ("ana", "ben") for month in (1, 2, 12)}
    for name in ("ana", "ben"):
        assert (await found(ward, "Observation", [("patient", name), ("code", "718-7")]))[0] == everything


async def test_a_page_is_cut_at_the_transaction_of_page_one(ward: Site) -> None:
    pairs = [("patient", "ana"), ("code", "718-7")]
    chosen = await planned(ward, "Observation", pairs)
    cut = await ward.read(lambda conn: Hot(conn).settled())
    await ward.commit(
        put(observation("ana-718-7-1", of="ana", code="999-9")),
        put(observation("late", of="ana", code="718-7")),
        gone("Observation", "ana-718-7-2"),
        at=AT + timedelta(hours=1),
    )
    then = await ward.read(lambda conn: candidates(conn, ward.keyring, chosen, ASKING, txn=cut))
    assert {opened_by(ward, one)["id"] for one in then} == {f"ana-718-7-{month}" for month in (1, 2, 12)}
    assert {one.ver for one in then} == {1}
    now = await found(ward, "Observation", pairs)
    assert now[0] == {"ana-718-7-12", "late"}


async def test_patients_are_found_by_identifier(ward: Site) -> None:
    org = ward.keyring.organisation()
    got = await ward.read(lambda conn: patients_by_identifier(conn, org, MRN, "7"))
    assert [opened_by(ward, one)["id"] for one in got] == ["ana"]


async def test_keys_that_are_not_loaded_are_asked_for(ward: Site) -> None:
    ana = await ward.sealed("Patient", "ana")
    assert ana is not None
    ward.keyring.forget(ana.owner)
    chosen = await planned(ward, "Observation", [("patient", "ana"), ("code", "718-7")])
    with pytest.raises(NeedKeys):
        await ward.store.read(lambda conn: candidates(conn, ward.keyring, chosen, ASKING))


criteria = st.sampled_from(
    [
        ("code", "718-7"),
        ("code", "http://loinc.org|2160-0,718-7"),
        ("code", "http://wrong.example|718-7"),
        ("code", "|718-7"),
        ("code:not", "718-7"),
        ("code:text", "nothing"),
        ("date", "2025"),
        ("date", "2025-02"),
        ("date", "ap2025-02-01"),
        ("date", "ne2025-02"),
        ("date", "lt2025-02"),
        ("date", "ge2025-02-15"),
        ("status", "final"),
        ("status", "http://hl7.org/fhir/observation-status|final"),
        ("encounter", "ana-stay"),
        ("encounter", "Encounter/ben-stay"),
        ("value-quantity:missing", "true"),
        ("combo-code", "2160-0"),
        ("_lastUpdated", "2026"),
        ("_id", "ana-718-7-1"),
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(criteria, max_size=4))
async def test_what_matches_is_always_a_candidate(ward: Site, pairs: Pairs) -> None:
    """The naive search: open everything, and match."""
    asked: Pairs = [("patient", "ana"), *pairs]
    rows = await ward.rows("SELECT rid FROM resource WHERE type = 'Observation'")
    query = parse("Observation", asked)

    def naive(conn: object) -> set[str]:
        from adapter.store import resources

        every = resources.by_rids(conn, ward.keyring.organisation(), [row[0] for row in rows])  # type: ignore[arg-type]
        meets = matcher(query, lambda reference: None, now=ASKING.now, zone=ASKING.zone)
        return {body["id"] for one in every if meets(body := opened_by(ward, one))}

    assert (await found(ward, "Observation", asked))[0] == await ward.read(naive)
