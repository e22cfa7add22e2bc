"""Accidents, deaths, reactions, authorized referrals, studies, and the documents that orders come with.

Source: HL7 v2.9 §6.5.9 (ACC), §3.4.14 (PDA), §3.4.8 (IAR), §4.5.5 (TQ2), §7.4.4 (CTI), §7.3.1 (ORDER_DOCUMENT);
design chapter HL7 v2 §4.
"""

import base64

import pytest

from mappings.fhir.validate import validate
from tests.mappings.hl7v2.messages import MR, Json, adt, bodies, convert, header, mapped, obr, one, oru, segment

STAY = "PV1|1|I|||||||||||||||||V1^^^HOSP&2.999.1.6&ISO"
LETTER = "OBX|1|TX|18842-5^Letter^LN||Sent home.||||||F"
TXA = segment("TXA", f1="1", f2="DS", f12="D1^HOSP^2.999.1.47^ISO", f17="AU")


def coded(concept: Json) -> list[str]:
    return [each["code"] for each in concept["coding"]]


def told(observation: Json) -> dict[str, object]:
    """Text of each component's code → its value."""
    return {
        each["code"]["text"]: next(value for name, value in each.items() if name.startswith("value"))
        for each in observation["component"]
    }


def test_an_accident_is_told_of_the_patient_and_her_stay() -> None:
    conversion = adt("A01", STAY, segment("ACC", f1="20250301", f3="Main road", f5="Y", f6="N", f8="Fell", f12="25"))
    accident = one(conversion, "Observation")
    assert accident["subject"]["reference"] == f"Patient/{one(conversion, 'Patient')['id']}"
    assert accident["encounter"]["reference"] == f"Encounter/{one(conversion, 'Encounter')['id']}"
    assert (accident["valueString"], accident["effectiveDateTime"]) == ("Fell", "2025-03-01")
    facts = told(accident)
    assert (facts["related to the job"], facts["somebody died"]) == (True, False)
    (place,) = accident["contained"]
    assert (place["resourceType"], place["name"]) == ("Location", "Main road")
    assert accident["extension"][0]["valueReference"]["reference"] == f"#{place['id']}"
    assert validate(accident) == ()


def test_an_accident_told_again_is_the_same_one() -> None:
    first = one(adt("A01", STAY, segment("ACC", f1="20250301", f8="Fell")), "Observation")
    again = one(adt("A08", STAY, segment("ACC", f1="20250301", f8="Fell from a ladder")), "Observation")
    other = one(adt("A08", STAY, segment("ACC", f1="20250302", f8="Fell")), "Observation")
    assert first["id"] == again["id"] != other["id"]


def test_every_cause_of_a_death_is_kept_and_the_first_is_the_cause() -> None:
    death = one(adt("A03", STAY, segment("PDA", f1="S06.5^Haematoma^I10~I46.9^Arrest^I10", f3="Y")), "Observation")
    assert coded(death["valueCodeableConcept"]) == ["S06.5"]
    causes = [each for each in death["component"] if each["code"]["text"] == "cause of death"]
    assert [coded(each["valueCodeableConcept"]) for each in causes] == [["S06.5"], ["I46.9"]]


@pytest.mark.parametrize(("fields", "made"), [({"f6": "Y"}, 0), ({"f7": "20250301^20250302"}, 1), ({"f8": "7^Roe"}, 1)])
def test_only_an_autopsy_that_is_told_of_is_a_procedure(fields: dict[str, str], made: int) -> None:
    assert len(bodies(adt("A03", STAY, segment("PDA", **fields)), "Procedure")) == made


def test_a_reaction_belongs_to_the_allergy_before_it() -> None:
    conversion = adt("A60", "IAM|1||PN^Peanut|SV", "IAR|URT^Urticaria|MO", "IAM|2||7980^Penicillin|MI", "IAR||SV||Rest")
    peanut, penicillin = bodies(conversion, "AllergyIntolerance")
    assert [each["severity"] for each in peanut["reaction"]] == ["moderate"]
    assert [each["severity"] for each in penicillin["reaction"]] == ["severe"]
    assert penicillin["reaction"][0]["note"] == [{"text": "Rest"}]
    assert validate(penicillin) == ()  # a reaction that names no manifestation says that it is unknown


@pytest.mark.parametrize(
    ("kind", "reaction", "made"), [("FA", "", "allergy"), ("FA", "IN", "intolerance"), ("", "AL", "allergy")]
)
def test_an_allergy_is_one_by_its_sensitivity_else_by_its_kind(kind: str, reaction: str, made: str) -> None:
    found = one(adt("A60", segment("IAM", f2=kind, f3="PN^Peanut", f9=reaction)), "AllergyIntolerance")
    assert found["type"] == made


def test_a_referral_behind_a_plan_is_paid_by_that_plan_alone() -> None:
    conversion = adt(
        "A01", "IN1|1|A|P1^^^HOSP|Payor one", "AUT||PAY|||||", "RF1|A||MED|||R1^HOSP", "IN1|2|B|P2^^^HOSP|Payor two"
    )
    request = one(conversion, "ServiceRequest")
    assert [each["reference"].partition("/")[0] for each in request["insurance"]] == ["Coverage", "ClaimResponse"]
    assert request["subject"]["reference"] == f"Patient/{one(conversion, 'Patient')['id']}"
    assert len(bodies(conversion, "Coverage")) == 2


def test_a_study_and_a_sequence_stand_on_their_own_order() -> None:
    conversion = convert(
        header("ORM^O01"), f"PID|1||4711{MR}",
        "ORC|NW|P1^HOSP", "TQ1|1||QD", "TQ2|1|S|P2^HOSP", "OBR|1|P1^HOSP||A^A^99LAB", "CTI|ST1^OFFICE",
        "ORC|NW|P2^HOSP", "OBR|1|P2^HOSP||B^B^99LAB",
    )  # fmt: skip
    first, second = bodies(conversion, "ServiceRequest")
    urls = [each["url"].rpartition("/")[2] for each in first["extension"]]
    assert {"urn:chartbridge:study", "urn:chartbridge:order-sequence"} <= set(urls)
    assert not {each["url"].rpartition("/")[2] for each in second["extension"]} & {"urn:chartbridge:study"}


def test_the_document_of_an_order_is_no_result_of_it() -> None:
    conversion = oru("ORC|NW||F1^LAB", LETTER, TXA, obr(), "OBX|1|NM|2345-7^Glucose^LN||99||||||F")
    document, order = one(conversion, "DocumentReference"), one(conversion, "ServiceRequest")
    assert base64.b64decode(document["content"][0]["attachment"]["data"]) == b"Sent home."
    assert order["supportingInfo"] == [{"reference": f"DocumentReference/{document['id']}"}]
    assert coded(one(conversion, "Observation")["code"]) == ["2345-7"]
    assert len(one(conversion, "DiagnosticReport")["result"]) == 1


def test_of_two_orders_each_has_its_own_document() -> None:
    other = segment("TXA", f1="1", f2="DS", f12="D2^HOSP^2.999.1.47^ISO")
    conversion = oru("ORC|NW||F1^LAB", LETTER, TXA, obr(), "ORC|NW||F2^LAB", other, obr("F2"))
    told_of = [each["supportingInfo"] for each in bodies(conversion, "ServiceRequest")]
    made = [f"DocumentReference/{each['id']}" for each in bodies(conversion, "DocumentReference")]
    assert told_of == [[{"reference": ref}] for ref in made]
    orders = [f"ServiceRequest/{each['id']}" for each in bodies(conversion, "ServiceRequest")]
    related = [each["context"]["related"] for each in bodies(conversion, "DocumentReference")]
    assert related == [[{"reference": ref}] for ref in orders]


def test_lines_that_stand_behind_a_document_are_results() -> None:
    conversion = oru("ORC|NW||F1^LAB", TXA, obr(), "OBX|1|NM|2345-7^Glucose^LN||99||||||F", "NTE|1||fasting")
    assert coded(one(conversion, "Observation")["code"]) == ["2345-7"]
    assert one(conversion, "Observation")["note"][0]["text"] == "fasting"


def test_the_employer_that_holds_a_plan_is_known_with_whom_to_ask_there() -> None:
    plan = segment("IN1", f1="1", f2="A", f3=f"P1{MR}", f4="Payor", f11="Works", f17="SEL", f44="Lane 1^^Linz")
    more = segment("IN2", f49="Boss^Cara", f50="^WPN^PH^^^^5550323", f64="^WPN^PH^^^^5550324")
    (employer,) = one(adt("A01", plan, more), "Coverage")["contained"]
    assert (employer["name"], employer["address"][0]["city"]) == ("Works", "Linz")
    assert employer["contact"][0]["name"]["family"] == "Boss"
    assert employer["telecom"][0]["value"] == "5550324"


def test_a_plan_without_more_says_no_more_of_its_employer() -> None:
    plan = segment("IN1", f1="1", f2="A", f3=f"P1{MR}", f4="Payor", f11="Works", f17="SEL")
    (employer,) = one(adt("A01", plan), "Coverage")["contained"]
    assert employer.keys() == {"resourceType", "id", "name"}


def test_a_pattern_of_times_wins_over_the_withdrawn_time_of_an_order() -> None:
    timing = segment("TQ1", f1="1", f3="Q6H", f13="15^min", f14="5")
    conversion = convert(header("ORM^O01"), f"PID|1||4711{MR}", "ORC|NW|P1^HOSP", timing, obr(f6="20250304"))
    order = one(conversion, "ServiceRequest")
    assert "occurrenceDateTime" not in order
    repeat = order["occurrenceTiming"]["repeat"]
    assert (repeat["period"], repeat["periodUnit"], repeat["count"], repeat["duration"]) == (6, "h", 5, 15)
    (requested,) = [each for each in order["extension"] if each["url"] == "urn:chartbridge:requested"]
    assert requested["valueDateTime"] == "2025-03-04"


def test_a_charge_in_an_order_keeps_what_it_names_beside_the_order() -> None:
    charge = segment("FT1", f4="20250304", f6="CG", f7="X1", f42="RX1")
    found = one(oru("ORC|NW||F1^LAB", obr(), charge), "ChargeItem")["supportingInformation"]
    assert [each.get("identifier", {}).get("value") or each["reference"].partition("/")[0] for each in found] == [
        "RX1",
        "ServiceRequest",
    ]


def test_who_does_not_state_demographics_makes_a_care_team_where_nobody_knows_one() -> None:
    part = segment("PRT", f1="1", f2="AD", f4="AD", f5="1005^Weiss^Eva^^^^^^HOSP&2.999.1.5&ISO")
    of_result = mapped(convert(header("ORU^R01"), f"PID|1||4711{MR}", part, obr()), "CareTeam")
    of_stay = mapped(adt("A01", part), "CareTeam")
    assert (of_result.mode, of_stay.mode) == ("stub", "update")
    assert of_result.body == of_stay.body


def test_insurance_in_an_order_tells_as_much_as_in_an_admission() -> None:
    plan = [segment("IN1", f1="1", f2="A", f3=f"P1{MR}", f4="Payor"), segment("IN2", f6="MC-1", f61=f"MB-1{MR}")]
    order = one(convert(header("OMG^O19"), f"PID|1||4711{MR}", *plan, "ORC|NW|P1^HOSP", obr()), "Coverage")
    stay = one(adt("A01", *plan), "Coverage")
    assert order["identifier"] == stay["identifier"]
    assert [each["value"] for each in order["identifier"]] == ["MC-1", "MB-1"]


def test_any_part_in_a_charged_order_is_in_its_provenance() -> None:
    part = segment("PRT", f2="AD", f4="AD^Admitting Provider^HL70912", f8="Medical Centre", f9="ORD1^^^HOSP")
    conversion = convert(header("DFT^P03"), f"PID|1||4711{MR}", "ORC|RE||F1^LAB", part, obr(), "FT1|1|||||CG|X1")
    told = [each for each in bodies(conversion, "Provenance") if "location" in each]
    assert [each["target"][0]["reference"].partition("/")[0] for each in told] == ["ServiceRequest"]


def test_a_specimen_that_was_rejected_is_unsatisfactory_and_says_why() -> None:
    lines = [segment("SPM", f1=n, f2=f"^S{n}&LAB&2.999.3.2&ISO", f4="SER") for n in "12"]
    conversion = oru(obr(), lines[0] + "|" * 15 + "|N|QS^Too little^HL70490", lines[1] + "|" * 15 + "|N")
    rejected, gone = bodies(conversion, "Specimen")
    assert (rejected["status"], gone["status"]) == ("unsatisfactory", "unavailable")
    assert rejected["extension"][0]["valueCodeableConcept"]["text"] == "Too little"


@pytest.mark.parametrize(("fields", "left"), [({"f7": "50", "f8": "30", "f9": "20"}, 20), ({"f7": "50"}, 50)])
def test_a_reagent_tells_what_is_left_of_it_else_what_there_was(fields: dict[str, str], left: int) -> None:
    reagent = segment("INV", f1="G^Glucose reagent", f4="CUP1", f11="mL^mL^UCUM", f12="20250630", **fields)
    conversion = convert(header("OUL^R22"), f"PID|1||4711{MR}", "SPM|1|^S1&LAB||SER", "SAC|||C1^LAB", reagent, obr())
    (instance,) = one(conversion, "Substance")["instance"]
    assert (instance["quantity"]["value"], instance["quantity"]["code"]) == (left, "mL")
    assert instance["expiry"] == "2025-06-30"
    assert "container" in one(conversion, "Specimen")


def test_a_place_and_a_device_of_a_procedure_need_no_person() -> None:
    part = segment("PRT", f2="AD", f4="PSH", f8="Centre", f9="OP^2^^HOSP", f10="SCOPE^HOSP^2.999.1.48^ISO")
    conversion = adt("A08", STAY, "PR1|1||X^Scopy^99PRO", part)
    procedure = one(conversion, "Procedure")
    assert procedure["location"]["reference"].startswith("Location/")
    assert procedure["performer"][0]["actor"]["display"] == "Centre"
    device = one(conversion, "Device")
    assert procedure["usedReference"][0]["reference"] == f"Device/{device['id']}"
