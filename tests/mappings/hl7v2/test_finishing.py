"""What no single row can see is put right once all is made: each was found by fuzzing, and would have been refused.

Source: FHIR R4 constraints per-1, sqty-1, prr-1, dom-3.
"""

from types import SimpleNamespace
from typing import Any

import pytest

from mappings.convert import Conversion, patient_keys, to_fhir
from mappings.fhir.invariants import broken
from mappings.fhir.validate import validate
from mappings.fhir.values import SOURCE_LEXEME
from mappings.finishing import finish
from mappings.hl7v2.datatypes.attachments import media_type
from mappings.hl7v2.periods import reversed_
from mappings.hl7v2.place import Place
from mappings.issues import Issue
from tests.mappings.hl7v2.messages import adt, convert, default, header, message, obr, obx, one, oru, segment


def said(text: str) -> dict[str, object]:
    return {"extension": [{"url": SOURCE_LEXEME, "valueString": text}]}


def places(done: Conversion, code: str) -> list[str]:
    return [str(issue.place) for issue in done.issues if issue.code == code]


def fits(done: Conversion) -> bool:
    return all(validate(mapped.body) == () == broken(mapped.body) for mapped in done.resources)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2025-03-04", "2025-03-03", True),
        ("2025-03-04", "2025-03-04", False),
        ("2025-03-04T08:00:00+01:00", "2025-03-04T07:59:59+01:00", True),
        ("2025-03-04T08:00:00+01:00", "2025-03-04T07:30:00Z", False),
        ("2025-03-04T08:00:00+01:00", "2025-03-04", False),
        ("2025-03-04T08:00:00+01:00", "2025-03-02", True),
        ("2025-03-04", "2025", False),
        ("2025-03-04T08:00:00.5Z", "2025-03-04T08:00:00Z", True),
    ],
)
def test_one_time_lies_before_another_beyond_doubt(start: str, end: str, expected: bool) -> None:
    assert reversed_(start, end) is expected


def test_a_stay_that_ends_before_it_begins_keeps_its_start_and_the_text_of_its_end() -> None:
    visit = "V1^^^HOSP&2.999.1.6&ISO^VN"
    done = adt("A03", segment("PV1", f2="I", f19=visit, f44="20250304100000+0100", f45="20250304095900+0100"))
    period = one(done, "Encounter")["period"]
    assert period == {"start": "2025-03-04T10:00:00+01:00", "_end": said("2025-03-04T09:59:00+01:00")}
    assert places(done, "contradiction") == ["PV1"]
    assert fits(done)


def test_an_identifier_that_ends_before_it_begins_says_so_at_its_field() -> None:
    visit = segment("PV1", f2="I", f19="V1^^^HOSP&2.999.1.6&ISO^VN^^20250304^20250303")
    done = oru(visit, obr(), obx())
    assert one(done, "Encounter")["identifier"][0]["period"] == {"start": "2025-03-04", "_end": said("20250303")}
    assert places(done, "contradiction") == ["PV1-19"]


def test_a_contact_who_ended_before_she_began_is_a_contact() -> None:
    done = adt("A08", segment("NK1", f1="1", f2="Demo^Luis", f3="SPO", f8="20250304", f9="20250301"))
    assert places(done, "contradiction")
    assert fits(done)


def test_an_amount_that_is_less_than_five_is_not_five() -> None:
    specimen = segment("SPM", f1="1", f2="S1&LAB", f4="BLD^Blood^HL70487", f12="<5^mL")
    done = oru(obr(), obx(), specimen)
    assert one(done, "Specimen")["collection"]["quantity"] == said("< 5 mL")
    assert "SPM" in places(done, "bad-value")
    assert fits(done)


def test_details_of_an_order_that_does_not_say_what_it_orders_stand_beside_an_absent_code() -> None:
    order = segment("OBR", f1="1", f2="P1^HOSP", f46="A^Bedside^L")
    done = convert(header("ORM^O01"), "PID|1||4711^^^HOSP&2.999.1.4&ISO^MR", "ORC|NW|P1^HOSP", order)
    found = one(done, "ServiceRequest")
    assert found["orderDetail"]
    assert "extension" in found["code"]
    assert fits(done)


def test_whom_a_later_field_took_the_place_of_is_not_contained() -> None:
    """And is told of: `contradiction`, at the segment that states the resource."""
    inner = [{"resourceType": "Organization", "id": name, "name": name} for name in ("a", "b")]
    patient: dict[str, Any] = {
        "resourceType": "Patient",
        "id": "p",
        "managingOrganization": {"reference": "#b"},
        "contained": inner,
    }
    done = finished(patient)
    assert [each["id"] for each in patient["contained"]] == ["b"]
    assert [each.code for each in done] == ["contradiction"]
    patient["managingOrganization"] = {"display": "b"}
    finished(patient)
    assert "contained" not in patient


def test_an_organization_is_at_home_nowhere() -> None:
    numbers = [{"system": "phone", "value": "1", "use": "home"}, {"system": "phone", "value": "2", "use": "work"}]
    practice = {"resourceType": "Organization", "id": "o", "name": "Praxis", "telecom": numbers}
    assert [each.code for each in finished(practice)] == ["contradiction"]
    assert [each.get("use") for each in numbers] == [None, "work"]
    assert broken(practice) == ()


def test_what_r4_requires_and_nothing_told_of_is_absent_for_a_reason() -> None:
    request: dict[str, Any] = {"resourceType": "MedicationRequest", "id": "m", "intent": "order"}
    assert finished(request) == []
    assert request["status"] == "unknown"
    assert set(request) >= {"medicationCodeableConcept", "subject"}
    assert validate(request) == ()
    person: dict[str, Any] = {"resourceType": "Provenance", "id": "p", "target": [{"reference": "Patient/1"}]}
    finished(person)
    assert validate(person) == ()
    goal: dict[str, Any] = {"resourceType": "Goal", "id": "g", "note": [{"time": "2025"}, {"text": "said"}]}
    finished(goal)
    assert validate(goal) == ()
    assert goal["note"][1] == {"text": "said"}


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Organization", "active": True},
        {"resourceType": "Patient", "contact": [{"relationship": [{"text": "mother"}]}]},
        {"resourceType": "Immunization", "education": [{"presentationDate": "2025"}, {"documentType": "sheet"}]},
        {"resourceType": "Appointment", "status": "proposed", "participant": [{"status": "accepted"}]},
        {"resourceType": "MedicationAdministration", "dosage": {"text": "one"}},
        {"resourceType": "Observation", "status": "final", "referenceRange": [{"type": {"text": "normal"}}]},
        {"resourceType": "Consent", "status": "active", "category": [{"text": "care"}]},
    ],
    ids=lambda resource: resource["resourceType"],
)
def test_where_one_of_several_has_to_be_there_one_is_said_to_be_absent(resource: dict[str, Any]) -> None:
    finished(resource)
    assert validate(resource) == ()
    assert broken(resource) == ()


def test_of_a_choice_in_two_types_the_later_one_stands() -> None:
    request: dict[str, Any] = {
        "resourceType": "ServiceRequest", "status": "active", "intent": "order", "subject": {"display": "a"},
        "asNeededCodeableConcept": {"text": "fever"}, "asNeededBoolean": True,
    }  # fmt: skip
    assert [each.code for each in finished(request)] == ["contradiction"]
    assert request["asNeededBoolean"] is True
    assert validate(request) == ()


def test_null_is_not_there() -> None:
    stay: dict[str, Any] = {"resourceType": "Encounter", "id": "e", "diagnosis": [{"condition": None, "rank": 1}]}
    finished(stay)
    assert validate(stay) == ()
    assert stay["diagnosis"][0]["rank"] == 1


def finished(body: dict[str, Any]) -> list[Issue]:
    """The issues of finishing one resource that no segment states."""
    builder = SimpleNamespace(type=body["resourceType"], body=body, segment=None, ref="", filled=[])
    assembly = SimpleNamespace(made=[builder], issues=[], trace=None, place_of=lambda made: Place("MSH"))
    finish(assembly)
    issues: list[Issue] = assembly.issues
    return issues


def test_a_lines_number_holds_no_control_character() -> None:
    """Found by fuzzing; the number is made of raw texts."""
    done = oru(obr(), obx(f4="I\x0e"))
    assert fits(done)
    assert one(done, "Observation")["identifier"][0]["value"].endswith("␟I")


def test_what_is_contained_may_be_referred_to_from_what_is_contained() -> None:
    """Found by fuzzing: a requester in a role for an organization, both without a number."""
    done = convert(header("BAR^P06"), "ORC||||||||||||286^Kaya^Leyla|||||||||Praxis am Tor")
    found = one(done, "ServiceRequest")
    assert {each["resourceType"] for each in found["contained"]} >= {"PractitionerRole", "Organization"}
    assert fits(done)


def test_the_scan_at_receipt_reads_an_escape_in_a_number_as_the_conversion_does() -> None:
    """Found by fuzzing: an escape in PID-3 ended the scan with an error that was none of ours."""
    for number in ("47\\F\\11^^^HOSP", "4711^^^HO\\T\\SP&2.999.1&ISO", "4711^^^\\X41\\"):
        data = message(header("ADT^A08"), f"PID|1|\\E\\|{number}", f"MRG|{number}")
        patients = [each.body for each in to_fhir(data, default()).resources if each.body["resourceType"] == "Patient"]
        assert {each["id"] for each in patients} <= {key.id for key in patient_keys(data, default())}


def test_an_appointment_with_one_end_has_two() -> None:
    appointment: dict[str, Any] = {"resourceType": "Appointment", "status": "proposed", "start": "2025-03-04T08:00:00Z"}
    appointment["participant"] = [{"actor": {"display": "a"}, "status": "accepted"}]
    assert broken(appointment) != ()
    finished(appointment)
    assert broken(appointment) == ()


def test_a_role_held_at_a_place_without_a_number_names_it_in_words() -> None:
    """Found by fuzzing: a reference to what is contained elsewhere."""
    doctor = "1001^Kaya^Leyla^^^Dr.^^^HOSP&2.999.1.5&ISO"
    done = adt("A08", "PV1|1|I", segment("ROL", f2="AD", f3="AT^Attending^HL70443", f4=doctor, f13="Praxis am Tor"))
    assert fits(done)


def test_a_currency_is_one_of_iso_4217() -> None:
    """Found by fuzzing: three letters are not enough."""
    for currency, kept in (("EUR", True), ("eur", True), ("MIN", False)):
        done = adt("A08", segment("IN1", f1="1", f12="20250101", f37=f"1.50&{currency}"))
        assert fits(done)
        found = one(done, "Coverage")["costToBeneficiary"][0]["valueMoney"]
        assert ("currency" in found) is kept


def test_a_media_type_is_one() -> None:
    """Found by fuzzing: a stroke in RP-4 made anything a media type."""
    for written, kept in (("image/jpeg", True), ("JPEG~images/1002/2", False), ("a/b c", False)):
        assert (media_type("Image", written) is not None) is kept
