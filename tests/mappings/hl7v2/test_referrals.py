"""Referrals: both sides are named, what stands before the patient belongs to her, a cancelled one stands no more.

Source: HL7 v2.9 chapter 11; design chapter HL7 v2 §4; FHIR R4 ServiceRequest, prr-1.
"""

import pytest

from mappings.convert import Conversion
from mappings.fhir.validate import validate
from tests.mappings.hl7v2.messages import MR, Json, Store, bodies, codes, convert, header, mapped, one, segment

PID = f"PID|1||4711{MR}"


def rf1(**fields: str) -> str:
    return segment("RF1", **({"f1": "A", "f3": "MED", "f6": "R1^PRAX^2.999.4.1^ISO"} | fields))


def prd(role: str, name: str = "Gruen^Paul", **fields: str) -> str:
    return segment("PRD", **({"f1": role, "f2": name} | fields))


def ref(*segments: str, event: str = "I12", at: str = "20250401091500+0200") -> Conversion:
    return convert(header(f"REF^{event}", at), *segments)


def referral(conversion: Conversion) -> Json:
    (found,) = [each for each in bodies(conversion, "ServiceRequest") if "requester" in each or "code" in each]
    return found


def test_what_stands_before_the_patient_is_about_her() -> None:
    conversion = ref(rf1(), "AUT||PAY^Payor^99PAY|||||||", prd("RP"), PID, "PV1|1|O|||||||||||||||||V1")
    request, patient = one(conversion, "ServiceRequest"), f"Patient/{one(conversion, 'Patient')['id']}"
    assert request["subject"] == {"reference": patient}
    assert one(conversion, "ClaimResponse")["patient"] == {"reference": patient}
    assert request["encounter"] == {"reference": f"Encounter/{one(conversion, 'Encounter')['id']}"}
    assert validate(request) == validate(one(conversion, "ClaimResponse")) == ()


@pytest.mark.parametrize(
    ("role", "element"),
    [("RP", "requester"), ("RT", "performer"), ("CP", "performer"), ("XX^Other^99HOSP", "supportingInfo")],
)
def test_the_part_of_a_provider_says_where_she_stands(role: str, element: str) -> None:
    conversion = ref(rf1(), prd(role), PID)
    expected = {"reference": f"PractitionerRole/{one(conversion, 'PractitionerRole')['id']}"}
    found = referral(conversion)[element]
    assert expected in (found if isinstance(found, list) else [found])


def test_the_family_doctor_is_the_patients() -> None:
    conversion = ref(rf1(), prd("PP"), PID)
    role = one(conversion, "PractitionerRole")
    assert one(conversion, "Patient")["generalPractitioner"] == [{"reference": f"PractitionerRole/{role['id']}"}]
    assert mapped(conversion, "Patient").mode == "stub"


def test_two_of_one_name_stay_two_and_a_license_joins_them() -> None:
    assert len(bodies(ref(rf1(), prd("RP"), prd("RT"), PID), "Practitioner")) == 2
    license_ = {"f7": "4711^SL^Wien"}
    assert len(bodies(ref(rf1(), prd("RP", **license_), prd("RT", **license_), PID), "Practitioner")) == 1


def test_a_provider_that_is_only_an_organization_is_no_person() -> None:
    conversion = ref(rf1(), prd("RP", name="", f10="Praxis Neubau"), PID)
    assert not bodies(conversion, "Practitioner")
    role = one(conversion, "PractitionerRole")
    expected = [each for each in bodies(conversion, "Organization") if each.get("name") == "Praxis Neubau"]
    assert role["organization"] == {"reference": f"Organization/{expected[0]['id']}"}
    assert "practitioner" not in role


def test_an_organization_with_a_number_is_the_one_that_others_refer_to() -> None:
    number = "Praxis Neubau^L^901^^^HOSP&2.999.1.7&ISO"
    conversion = ref(rf1(f19=number), prd("RP", f10=number), PID)
    (performer,) = referral(conversion)["performer"]
    assert performer["reference"] == one(conversion, "PractitionerRole")["organization"]["reference"]


@pytest.mark.parametrize(
    ("event", "fields", "status"),
    [
        ("I12", {}, "active"),
        ("I12", {"f1": "P"}, "active"),
        ("I13", {"f1": "R"}, "revoked"),
        ("I13", {"f1": "E^Expired^HL70283"}, "revoked"),
        ("I12", {"f1": ""}, "unknown"),
        ("I12", {"f1": "Z9"}, "unknown"),
        ("I14", {"f1": "A"}, "revoked"),
        ("I12", {"f25": "D"}, "entered-in-error"),
        ("I14", {"f25": "D"}, "entered-in-error"),
    ],
)
def test_every_status_and_event_has_a_status(event: str, fields: dict[str, str], status: str) -> None:
    assert referral(ref(rf1(**fields), PID, event=event))["status"] == status


def test_a_cancelled_referral_stays_so_though_the_first_arrives_late() -> None:
    cancelled = ref(rf1(), PID, event="I14", at="20250402091500+0200")
    store = Store().take(cancelled).take(ref(rf1(), PID))
    assert store.one("ServiceRequest")["status"] == "revoked"
    assert one(cancelled, "ServiceRequest")["id"] == one(ref(rf1(), PID), "ServiceRequest")["id"]


def test_a_modification_without_a_status_leaves_the_one_that_stands() -> None:
    store = Store().take(ref(rf1(), PID)).take(ref(rf1(f1=""), PID, event="I13", at="20250402091500+0200"))
    assert store.one("ServiceRequest")["status"] == "active"


@pytest.mark.parametrize(
    ("kind", "wishes", "code", "details"),
    [("MED", "SO~WR", "MED", ["SO", "WR"]), ("", "SO", "SO", []), ("MED", "", "MED", [])],
)
def test_no_detail_stands_without_a_code(kind: str, wishes: str, code: str, details: list[str]) -> None:
    request = one(ref(rf1(f3=kind, f4=wishes), PID), "ServiceRequest")
    assert request["code"]["coding"][0]["code"] == code
    assert [each["coding"][0]["code"] for each in request.get("orderDetail", [])] == details
    assert validate(request) == ()


def test_results_that_come_along_are_grounds_and_not_its_outcome() -> None:
    lines = [
        "OBR|1||F1^LAB^2.999.3.1^ISO|24323-8^Panel^LN|||||||||||||||||||||F",
        "OBX|1|NM|2345-7^Glucose^LN||98||||||F",
    ]
    conversion = ref(rf1(), prd("RP"), PID, "DG1|1||R06.0^^I10", *lines)
    referred = next(each for each in bodies(conversion, "ServiceRequest") if "requester" in each)
    report = one(conversion, "DiagnosticReport")
    kinds = [each["reference"].partition("/")[0] for each in referred["supportingInfo"]]
    assert kinds == ["Condition", "DiagnosticReport"]
    assert {"reference": f"ServiceRequest/{referred['id']}"} not in report["basedOn"]


def test_notes_at_the_end_are_the_referrals() -> None:
    conversion = ref(rf1(), PID, "PV1|1|O|||||||||||||||||V1", "NTE|1||Call the daughter.")
    assert one(conversion, "ServiceRequest")["note"] == [{"text": "Call the daughter."}]


def test_providers_without_a_referral_are_kept() -> None:
    conversion = ref(prd("RP"), PID)
    assert not bodies(conversion, "ServiceRequest")
    assert one(conversion, "Practitioner")["name"] == [{"family": "Gruen", "given": ["Paul"]}]
    assert "unexpected-segment" not in codes(conversion)


def test_a_contact_belongs_to_the_organization_before_it() -> None:
    conversion = ref(rf1(), prd("RP", f10="Praxis Neubau"), "CTD|AP^Appointments^99HOSP|Hofer^Nina", PID)
    (contact,) = next(each["contact"] for each in bodies(conversion, "Organization") if "contact" in each)
    assert contact["name"]["family"] == "Hofer"
    assert "no-target" in codes(ref(rf1(), "CTD|AP^Appointments^99HOSP|Hofer^Nina", PID))
