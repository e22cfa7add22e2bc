"""Orders and what travels with them (hl7v2.md §4, §6, §9; v2-to-FHIR guide, OML_O21, ORM_O01, ORU_R01)."""

import base64
from typing import Any

import pytest

from mappings.convert import Conversion
from mappings.fhir.leaves import leaves
from mappings.fhir.validate import validate
from mappings.hl7v2.place import Place
from tests.mappings.hl7v2.messages import MR, bodies, convert, header, mapped, obr, obx, one, oru

Json = dict[str, Any]

PLACER = "P1^HOSP^2.999.1.20^ISO"
FILLER = "F1^LAB^2.999.3.1^ISO"
GLUCOSE = "2345-7^Glucose^LN"
DOCTOR = "1001^Kaya^Leyla^^^Dr.^^^HOSP&2.999.1.5&ISO"


def order(*segments: str, event: str = "OML^O21", at: str = "20250304120000+0100") -> Conversion:
    found = convert(header(event, at), f"PID|1||4711{MR}", *segments)
    for resource in found.resources:
        assert validate(resource.body) == ()
    return found


def dangling(found: Conversion) -> set[str]:
    """References to resources of ours that the conversion does not hold."""
    known = {f"{m.body['resourceType']}/{m.body['id']}" for m in found.resources}
    pointed = {str(value) for m in found.resources for path, value in walk(m.body) if path.endswith("reference")}
    return {each for each in pointed if not each.startswith("#")} - known


def walk(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [pair for name, inner in value.items() for pair in walk(inner, f"{path}.{name}")]
    if isinstance(value, list):
        return [pair for inner in value for pair in walk(inner, path)]
    return [(path, value)]


# what becomes of an order ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("control", "status"),
    [("CA", "unknown"), ("DC", "unknown"), ("HD", "unknown"), ("RP", "unknown"),  # requests: the filler has not agreed
     ("OC", "revoked"), ("OD", "revoked"), ("CR", "revoked"), ("UA", "revoked"), ("OH", "on-hold"), ("HR", "on-hold"),
     ("NW", "active"), ("XO", "active"), ("PR", "completed"), ("DE", "entered-in-error"), ("DF", "unknown"),
     ("UC", "unknown")],
)  # fmt: skip
def test_order_control_requests_do_not_cancel(control: str, status: str) -> None:
    """Trap 14, of orders: with their service and by their number alone."""
    for segments in ((f"ORC|{control}|{PLACER}", f"OBR|1|{PLACER}||{GLUCOSE}"), (f"ORC|{control}|{PLACER}",)):
        made = mapped(order(*segments), "ServiceRequest")
        assert made.body["status"] == status
        assert ("status" in made.filled) == (status == "unknown")  # then what is stored stands
        (event,) = [each for each in made.body["extension"] if each["url"].endswith("businessEvent")]
        assert event["extension"][0]["valueCodeableConcept"]["coding"][0]["code"] == control


def test_a_status_of_the_order_says_more_than_its_control() -> None:
    assert one(order(f"ORC|SC|{PLACER}|||CM", f"OBR|1|{PLACER}||{GLUCOSE}"), "ServiceRequest")["status"] == "completed"


def test_an_order_without_a_number_is_known_by_its_place() -> None:
    found = order("ORC|NW", f"OBR|1|||{GLUCOSE}")
    assert one(found, "ServiceRequest")["code"]["coding"][0]["code"] == "2345-7"
    assert "no-identity" in {issue.code for issue in found.issues}


def test_who_asks_does_so_for_an_organization() -> None:
    ward = "Ward 3^L^W3^^^HOSP&2.999.1.30&ISO|Lane 1^^Town|^WPN^PH^^43^1^55|Road 2^^Town"
    orc = f"ORC|NW|{PLACER}||||||||||{DOCTOR}|||||||||{ward}"
    found = order(orc, f"OBR|1|{PLACER}||{GLUCOSE}")
    request, role = one(found, "ServiceRequest"), one(found, "PractitionerRole")
    assert request["requester"]["reference"] == f"PractitionerRole/{role['id']}"
    (organization,) = [each for each in bodies(found, "Organization") if each.get("name") == "Ward 3"]
    assert role["organization"]["reference"] == f"Organization/{organization['id']}"
    assert (organization["address"][0]["line"], organization["telecom"][0]["value"]) == (["Lane 1"], "+43 1 55")
    assert one(found, "Practitioner")["address"][0]["line"] == ["Road 2"]
    assert not dangling(found)
    plain = order(f"ORC|NW|{PLACER}||||||||||{DOCTOR}", f"OBR|1|{PLACER}||{GLUCOSE}")
    assert one(plain, "ServiceRequest")["requester"]["reference"].startswith("Practitioner/")


def test_a_requester_without_a_number_stays_inside_the_order() -> None:
    """A contained person cannot be pointed at from another resource: her role is contained as well."""
    orc = f"ORC|NW|{PLACER}||||||||||^Kaya^Leyla|||||||||Ward 3^L^W3^^^HOSP&2.999.1.30&ISO|||Road 2^^Town"
    request = one(order(orc, f"OBR|1|{PLACER}||{GLUCOSE}"), "ServiceRequest")
    inside = {f"#{each['id']}": each for each in request["contained"]}
    role = inside[request["requester"]["reference"]]
    assert inside[role["practitioner"]["reference"]]["address"][0]["line"] == ["Road 2"]


def test_each_order_tells_who_entered_and_verified_it() -> None:
    """One Provenance a message cannot say which order a clerk entered."""
    found = order(
        f"ORC|NW|{PLACER}|||||||20250304110000+0100|{DOCTOR}|1002^Roth^Olga^^^^^^HOSP&2.999.1.5&ISO",
        f"OBR|1|{PLACER}||{GLUCOSE}",
        "ORC|NW|P2^HOSP^2.999.1.20^ISO",
        "OBR|2|P2^HOSP^2.999.1.20^ISO||2160-0^Creatinine^LN",
    )
    (told,) = [each for each in bodies(found, "Provenance") if "entity" not in each]
    assert [agent["type"]["coding"][0]["code"] for agent in told["agent"]] == ["enterer", "verifier"]
    assert told["target"] == [{"reference": f"ServiceRequest/{bodies(found, 'ServiceRequest')[0]['id']}"}]


def test_diagnoses_specimens_and_questions_of_an_order() -> None:
    found = order(
        f"ORC|NW|{PLACER}", f"OBR|1|{PLACER}||{GLUCOSE}", "NTE|1||fasting", "DG1|1||E11^Diabetes^I10",
        obx("70", code="29463-7^Weight^LN", f6="kg"), "SPM|1|S1&HOSP&2.999.1.23&ISO^||SER^Serum^HL70487",
    )  # fmt: skip
    request, answer = one(found, "ServiceRequest"), one(found, "Observation")
    assert request["reasonReference"] == [{"reference": f"Condition/{one(found, 'Condition')['id']}"}]
    assert request["specimen"] == [{"reference": f"Specimen/{one(found, 'Specimen')['id']}"}]
    assert request["supportingInfo"] == [{"reference": f"Observation/{answer['id']}"}]
    assert request["note"] == [{"text": "fasting"}]
    assert bodies(found, "DiagnosticReport") == []
    assert not {"basedOn", "specimen"} & answer.keys()  # it was not made because of the order, nor of its specimen


def test_answers_to_two_orders_are_two() -> None:
    weight = obx("70", code="29463-7^Weight^LN", f6="kg")
    found = order(
        f"ORC|NW|{PLACER}", f"OBR|1|{PLACER}||{GLUCOSE}", weight,
        "ORC|NW|P2^HOSP^2.999.1.20^ISO", "OBR|2|P2^HOSP^2.999.1.20^ISO||2160-0^Creatinine^LN", weight,
    )  # fmt: skip
    assert len({each["id"] for each in bodies(found, "Observation")}) == 2
    assert "identity-by-position" not in {issue.code for issue in found.issues}


def test_a_blood_pressure_of_an_order_is_pointed_at_as_a_panel() -> None:
    found = order(
        f"ORC|NW|{PLACER}", f"OBR|1|{PLACER}||{GLUCOSE}",
        obx("120", code="8480-6^Systolic^LN", f6="mm[Hg]"), obx("80", code="8462-4^Diastolic^LN", f6="mm[Hg]"),
    )  # fmt: skip
    panel = one(found, "Observation")
    assert one(found, "ServiceRequest")["supportingInfo"] == [{"reference": f"Observation/{panel['id']}"}]
    assert not dangling(found)


# results of earlier orders --------------------------------------------------------------------------------------------

EARLIER = (f"OBR|1|{PLACER}|{FILLER}|{GLUCOSE}" + "|" * 18 + "20250110090000+0100|||F", obx("99"))


def test_earlier_results_are_the_same_as_when_they_came() -> None:
    """Their keys are those of the report; their order is completed though the ORC at hand says something else."""
    travelling = order("ORC|NW|P9", f"OBR|1|P9||{GLUCOSE}", "PV1|1|I", f"ORC|SC|{PLACER}|{FILLER}", *EARLIER)
    result = oru(f"ORC|RE|{PLACER}|{FILLER}", *EARLIER)
    for kind in ("DiagnosticReport", "Observation"):
        assert one(travelling, kind)["id"] == one(result, kind)["id"]
        assert mapped(travelling, kind).mode == "state"
        assert mapped(travelling, kind).at == "2025-01-10T09:00:00+01:00"  # older than what may be stored
    first, earlier = bodies(travelling, "ServiceRequest")
    assert (first["status"], earlier["status"]) == ("active", "completed")
    assert one(result, "ServiceRequest")["id"] == earlier["id"]


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ("", "completed"),
        ('""', "completed"),
        ("ZZ", "completed"),
        ("CM", "completed"),
        ("HD", "on-hold"),
        ("CA", "revoked"),
    ],
)
def test_an_earlier_order_is_completed_unless_its_own_status_says_otherwise(told: str, status: str) -> None:
    travelling = order("ORC|NW|P9", f"OBR|1|P9||{GLUCOSE}", "PV1|1|I", f"ORC|CA|{PLACER}|{FILLER}||{told}", *EARLIER)
    assert bodies(travelling, "ServiceRequest")[1]["status"] == status


def test_an_earlier_result_without_its_time_changes_nothing_that_is_stored() -> None:
    found = order("ORC|NW|P9", f"OBR|1|P9||{GLUCOSE}", "ORC|PR", obr(), obx("99"))
    assert {mapped(found, kind).mode for kind in ("DiagnosticReport", "Observation")} == {"stub"}


def test_an_earlier_result_does_not_belong_to_the_present_stay() -> None:
    stay = "PV1|1|I|W1^1||||||||||||||||V{}^^^HOSP&2.999.1.6&ISO"
    present = (stay.format(1), "ORC|NW|P9", f"OBR|1|P9||{GLUCOSE}")
    for own, expected in ((), []), ((stay.format(7),), ["V7"]), ((stay.format(1),), ["V1"]):
        found = order(*present, *own, "ORC|PR", *EARLIER)
        encounters = {f"Encounter/{each['id']}": each for each in bodies(found, "Encounter")}
        held = one(found, "Observation").get("encounter", {}).get("reference")
        assert [encounters[held]["identifier"][0]["value"]] == expected if expected else held is None
        assert not dangling(found)


def test_earlier_patients_stays_and_allergies_change_nobody() -> None:
    found = order(
        "AL1|1|DA|PEN^Penicillin^L", "ORC|NW|P9", f"OBR|1|P9||{GLUCOSE}",
        f"PID|1||4711{MR}||Other^Name", "PV1|1|I|W1^1||||||||||||||||V7^^^HOSP&2.999.1.6&ISO",
        "AL1|1|DA|PEN^Penicillin^L", "AL1|2|DA|LAT^Latex^L", "ORC|PR", *EARLIER,
    )  # fmt: skip
    assert "name" not in one(found, "Patient")  # the same patient: the copy adds nothing
    modes = {(m.body["resourceType"], m.mode) for m in found.resources}
    assert ("Encounter", "stub") in modes
    assert [m.mode for m in found.resources if m.body["resourceType"] == "AllergyIntolerance"] == ["update", "stub"]


# lines that are no result ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "aside"), [("QST", True), ("SCI", True), ("RSLT", False), ("", False)])
def test_questions_and_surroundings_leave_the_report(kind: str, aside: bool) -> None:
    found = oru(f"ORC|RE|{PLACER}|{FILLER}", obr(), obx("98"), obx("Y", "ST", "49541-6^Fasting^LN", f29=kind))
    fasting = f"Observation/{bodies(found, 'Observation')[1]['id']}"
    assert ({"reference": fasting} in one(found, "DiagnosticReport")["result"]) is not aside
    assert ({"reference": fasting} in one(found, "ServiceRequest").get("supportingInfo", [])) is aside
    assert ("basedOn" not in bodies(found, "Observation")[1]) is aside  # nothing was done because of an answer


def test_what_came_with_an_order_is_no_result_of_it() -> None:
    """ORDER_DOCUMENT: OBX between ORC and OBR."""
    found = oru(f"ORC|RE|{PLACER}|{FILLER}", obx("see there", "ST", "11488-4^Consult note^LN"), obr(), obx("98"))
    document, result = bodies(found, "Observation")
    if "valueString" not in document:
        document, result = result, document
    assert one(found, "DiagnosticReport")["result"] == [{"reference": f"Observation/{result['id']}"}]
    assert one(found, "ServiceRequest")["supportingInfo"] == [{"reference": f"Observation/{document['id']}"}]


def test_repetitions_of_an_instrument_are_numbers_of_one_device() -> None:
    found = oru(
        obr(), obx(f18="AN-7^LAB^2.999.3.7^ISO~MODEL^LAB^2.999.3.8^ISO"), obx(f4="2", f18="AN-7^LAB^2.999.3.7^ISO")
    )
    device = one(found, "Device")
    assert [each["value"] for each in device["identifier"]] == ["AN-7", "MODEL"]
    assert {each["device"]["reference"] for each in bodies(found, "Observation")} == {f"Device/{device['id']}"}


def test_the_laboratory_keeps_its_address() -> None:
    lab = "Lab Demo^L^L1^^^LAB&2.999.3.9&ISO"
    found = oru(obr(), obx(f23=lab, f24="Lane 7^^Town"), obx(f4="2", f23=lab, f24="Lane 8^^Town"))
    (organization,) = [each for each in bodies(found, "Organization") if each.get("name") == "Lab Demo"]
    assert [each["line"] for each in organization["address"]] == [["Lane 7"]]
    unnamed = oru(obr(), obx(f24="Lane 7^^Town"))
    assert ("no-target", "OBX-24") in {
        (i.code, f"{i.place.segment}-{i.place.field}") for i in unnamed.issues if isinstance(i.place, Place)
    }


def test_a_line_says_why_it_has_no_value() -> None:
    without = one(oru(obr(), obx("", f32="QNS^Not enough^99LAB")), "Observation")
    assert without["dataAbsentReason"]["coding"][0]["code"] == "QNS"
    assert "dataAbsentReason" not in one(oru(obr(), obx("98", f32="QNS^Not enough^99LAB")), "Observation")  # obs-6


def test_a_line_names_its_own_specimen() -> None:
    specimens = ("SPM|1|^S1&LAB&2.999.3.2&ISO||SER", "SPM|2|^S2&LAB&2.999.3.2&ISO||UR")
    found = oru(obr(), obx(f33="^S1&LAB&2.999.3.2&ISO"), obx("5", f4="2", f33="^S3&LAB&2.999.3.2&ISO"), *specimens)
    first, second = bodies(found, "Observation")
    serum = next(each for each in bodies(found, "Specimen") if each["type"]["coding"][0]["code"] == "SER")
    assert first["specimen"] == {"reference": f"Specimen/{serum['id']}"}
    assert second["specimen"].get("identifier", {}).get("value") in ("S3", None)


# size -----------------------------------------------------------------------------------------------------------------


def document(size: int) -> tuple[Conversion, bytes]:
    data = bytes(range(256)) * (size // 256)
    value = f"^AP^PDF^Base64^{base64.b64encode(data).decode()}"
    return oru(obr(), obx(value, "ED", "11502-2^Report^LN")), data


def test_a_small_attachment_stays_inside_and_a_large_one_is_a_binary() -> None:
    small, data = document(32 * 1024 - 256)
    assert bodies(small, "Binary") == []
    assert base64.b64decode(one(small, "DiagnosticReport")["presentedForm"][0]["data"]) == data
    large, data = document(32 * 1024 + 256)
    binary, reference = one(large, "Binary"), one(large, "DocumentReference")
    assert base64.b64decode(binary["data"]) == data
    shown = one(large, "DiagnosticReport")["presentedForm"][0]
    assert shown == reference["content"][0]["attachment"]
    assert (shown["url"], shown["size"]) == (f"Binary/{binary['id']}", len(data))
    assert "data" not in shown


def test_a_document_of_16_megabytes_passes() -> None:
    found, data = document(16 * 1024 * 1024)
    assert base64.b64decode(one(found, "Binary")["data"]) == data


def test_ten_thousand_lines_pass_in_one_report_and_in_many() -> None:
    """Each also with a blood pressure, a child of a parent line and a specimen, which were looked up line by line."""
    lines = [obx(str(n), f4=str(n)) for n in range(5000)]
    pressures = [
        obx("120", code=code, f4=str(n), f6="mm[Hg]", f14=f"2025030{n % 9 + 1}{n % 24:02}0000+0100")
        for n in range(2500) for code in ("8480-6^Systolic^LN", "8462-4^Diastolic^LN")
    ]  # fmt: skip
    one_report = oru(obr(), *lines, *pressures)
    assert len(one(one_report, "DiagnosticReport")["result"]) >= 5000 + 2500
    many = oru(*(each for n in range(1000) for each in (obr(f"F{n}", f29="^F0&LAB&2.999.3.1&ISO"), obx(), obx(f4="2"))))
    assert len(bodies(many, "DiagnosticReport")) == 1000
    assert all(len(report["result"]) == 2 for report in bodies(many, "DiagnosticReport"))
    assert list(leaves(bodies(many, "Observation")[0]))


# labels ---------------------------------------------------------------------------------------------------------------


def test_a_label_of_an_order_covers_what_hangs_on_it_alone() -> None:
    """ORC-28; with its ORC behind it, an order labels no neighbour."""
    labelled = f"ORC|NW|{PLACER}" + "|" * 26 + "V"
    found = order(
        labelled, f"OBR|1|{PLACER}||{GLUCOSE}", obx("70", code="29463-7^Weight^LN", f6="kg"),
        "ORC|NW|P2^HOSP^2.999.1.20^ISO", "OBR|2|P2^HOSP^2.999.1.20^ISO||2160-0^Creatinine^LN",
    )  # fmt: skip
    first, second = bodies(found, "ServiceRequest")
    assert first["meta"]["security"][0]["code"] == one(found, "Observation")["meta"]["security"][0]["code"] == "V"
    assert "meta" not in second
    behind = order(
        "SPM|1|S1&HOSP&2.999.1.23&ISO^||SER", f"OBR|1|{PLACER}|{FILLER}|{GLUCOSE}", labelled, obx("98"),
        "OBR|2|P2^HOSP^2.999.1.20^ISO|F2^LAB^2.999.3.1^ISO|2160-0^Creatinine^LN", obx("1"), event="OUL^R22",
    )  # fmt: skip
    assert ["meta" in each for each in bodies(behind, "DiagnosticReport")] == [True, False]
    assert ["meta" in each for each in bodies(behind, "Observation")] == [True, False]


def test_an_order_of_drugs_is_no_service() -> None:
    """ORM^O01 with RXO: RX's maps make the MedicationRequest, and no ServiceRequest stands beside it."""
    found = order(f"ORC|NW|{PLACER}", "RXO|RX1^Aspirin^L|100||mg", event="ORM^O01")
    assert bodies(found, "ServiceRequest") == []
    assert len(bodies(found, "MedicationRequest")) == 1


def test_another_part_in_an_order_is_told_by_its_provenance() -> None:
    part = f"PRT|1|AD||CP^Consulting Provider^HL70912|{DOCTOR}"
    found = order(f"ORC|NW|{PLACER}", part, f"OBR|1|{PLACER}||{GLUCOSE}")
    (told,) = [each for each in bodies(found, "Provenance") if "entity" not in each]
    assert told["agent"][0]["role"][0]["coding"][0]["code"] == "CP"
    assert told["target"] == [{"reference": f"ServiceRequest/{one(found, 'ServiceRequest')['id']}"}]
    deleted = order(f"ORC|NW|{PLACER}", part.replace("|AD|", "|D|"), f"OBR|1|{PLACER}||{GLUCOSE}")
    assert [each for each in bodies(deleted, "Provenance") if "entity" not in each] == []
    known = order(f"ORC|NW|{PLACER}", part.replace("CP^Consulting", "OP^Ordering"), f"OBR|1|{PLACER}||{GLUCOSE}")
    assert one(known, "ServiceRequest")["requester"]["reference"].startswith("Practitioner/")


@pytest.mark.parametrize("authority", ["^LAB^2.999.3.1^ISO", "^LAB", ""])
def test_a_child_order_names_its_parent_as_the_parent_names_itself(authority: str) -> None:
    """Across messages: the store finds it by that identifier, with an authority or without."""
    parent = one(oru(obr("F0", f3=f"F0{authority}")), "ServiceRequest")
    child = oru(obr("F1", f29=f"^F0{authority.replace('^', '&')}"))
    named = one(child, "ServiceRequest")["basedOn"][0]["identifier"]
    assert (named["system"], named["value"]) == (parent["identifier"][0]["system"], "F0")
