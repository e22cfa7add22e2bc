"""A number that was another patient's: nothing of the one may reach the other (hl7v2 chapter §6, §8).

Laboratories begin their numbers anew each year, and send a result again when they had the wrong patient.
"""

from adapter.store.unit import Unit
from adapter.store.writing import commit_unit
from mappings.convert import Mode, Repoint
from mappings.fhir.codec import Json
from mappings.fhir.values import absent
from tests.adapter.store.conftest import AT, Site, observation, patient, told

EARLY, LATER = "2026-03-04T09:00:00Z", "2026-03-05T09:00:00Z"


def report(of: str, *lines: str) -> Json:
    return {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": "final",
        "code": {"text": "Panel"},
        "subject": {"reference": f"Patient/{of}"},
        "result": [{"reference": f"Observation/{line}"} for line in lines],
    }


def order(of: str, **more: object) -> Json:
    return {
        "resourceType": "MedicationRequest",
        "id": "m1",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"text": "Ibuprofen"},
        "subject": {"reference": f"Patient/{of}"},
        **more,
    }


async def say(site: Site, *bodies: Json, mode: Mode = "state", at: str = EARLY) -> set[str]:
    """One message about what is given; the codes of what was noticed."""
    patients = [told(patient(name, name)) for name in ("ana", "ben")]
    entries = (*patients, *(told(body, mode, at) for body in bodies))
    unit = Unit("transform.hl7v2", "main", AT, entries)
    return {each.code for each in (await site.write(lambda conn: commit_unit(conn, unit, site.keyring))).issues}


async def test_a_report_of_another_patient_has_no_line_of_the_first(site: Site) -> None:
    await say(site, observation("o1"), observation("o2"), report("ana", "o1", "o2"))
    noticed = await say(site, observation("o1", of="ben"), report("ben", "o1"), at=LATER)
    assert noticed == {"other-patient"}
    body = await site.body("DiagnosticReport", "r1")
    assert body["subject"] == {"reference": "Patient/ben"}
    assert body["result"] == [{"reference": "Observation/o1"}]  # o2 is Ana's


async def test_an_order_of_another_patient_has_no_dose_of_the_first(site: Site) -> None:
    await say(site, order("ana", dosageInstruction=[{"text": "1-0-1"}]), mode="update")
    assert await say(site, order("ben"), mode="update", at=LATER) == {"other-patient"}
    assert "dosageInstruction" not in await site.body("MedicationRequest", "m1")


async def test_an_older_statement_takes_nothing_back(site: Site) -> None:
    """The wrong patient's message is replayed after the right one's."""
    await say(site, order("ben"), mode="update", at=LATER)
    assert await say(site, order("ana", note=[{"text": "Ana's"}]), mode="update") == {"late-event"}
    body = await site.body("MedicationRequest", "m1")
    assert body["subject"] == {"reference": "Patient/ben"}
    assert "note" not in body


async def test_the_same_patient_under_a_merged_number_is_no_other(site: Site) -> None:
    await say(site, order("ana", dosageInstruction=[{"text": "1-0-1"}]), mode="update")
    gone = {**patient("ana", "ana"), "active": False}
    await site.commit(told(patient("ben", "ben")), told(gone, into="ben", at=LATER))
    assert "other-patient" not in await say(site, order("ben"), mode="update", at="2026-03-06T09:00:00Z")
    assert (await site.body("MedicationRequest", "m1"))["dosageInstruction"] == [{"text": "1-0-1"}]


async def test_what_is_moved_on_purpose_keeps_what_it_is(site: Site) -> None:
    """A45: the stay is the other patient's from now on, with its period and places."""
    stay = {"resourceType": "Encounter", "id": "e1", "status": "in-progress", "class": {"code": "IMP"}}
    await say(site, {**stay, "subject": {"reference": "Patient/ana"}, "period": {"start": "2026"}}, mode="update")
    entries = (told(patient("ben", "ben")), told({**stay, "subject": {"reference": "Patient/ben"}}, at=LATER))
    effect = Repoint("Encounter", "Patient/ana", "Patient/ben")
    unit = Unit("transform.hl7v2", "main", AT, entries, (effect,))
    await site.write(lambda conn: commit_unit(conn, unit, site.keyring))
    body = await site.body("Encounter", "e1")
    assert (body["subject"], body["period"]) == ({"reference": "Patient/ben"}, {"start": "2026"})


async def test_a_document_that_only_is_named_stays_its_patients(site: Site) -> None:
    """What replaces or notifies of a document knows nothing of it: another patient's stays what it is."""

    def letter(of: str, status: str, **attachment: object) -> Json:
        return {
            "resourceType": "DocumentReference",
            "id": "d1",
            "status": status,
            "subject": {"reference": f"Patient/{of}"},
            "content": [{"attachment": attachment or absent("unknown")}],
        }

    await say(site, letter("ana", "current", title="Hers"))
    assert await say(site, letter("ben", "superseded"), mode="update", at=LATER) == {"other-patient"}
    body = await site.body("DocumentReference", "d1")
    assert (body["subject"], body["status"]) == ({"reference": "Patient/ana"}, "current")
    assert body["content"] == [{"attachment": {"title": "Hers"}}]
