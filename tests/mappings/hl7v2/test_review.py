"""What a reader of the mapped facts must never be told: one thing stated twice, doses, lengths (hl7v2.md §6, §8, §9).

Each case is a message that real senders send and no grammar foresees.
"""

from typing import Any

import pytest

from mappings.convert import Conversion
from mappings.fhir.validate import validate
from tests.mappings.hl7v2.messages import MR, Store, bodies, convert, header, mapped, one, segment

Json = dict[str, Any]

PLACER = "RX1^HOSP^2.999.1.20^ISO"
MG = "mg^mg^UCUM"


def said(event: str, *segments: str, version: str = "2.5.1") -> Conversion:
    found = convert(header(event, "20250305120000+0100", version=version), f"PID|1||4711{MR}", *segments)
    for resource in found.resources:
        assert validate(resource.body) == ()
    return found


def dosages(*segments: str, event: str = "RDE^O11", version: str = "2.5.1") -> list[Json]:
    (order,) = bodies(said(event, *segments, version=version), "MedicationRequest")
    return list(order["dosageInstruction"])


# one thing twice ------------------------------------------------------------------------------------------------------


def test_a_dose_never_meets_the_time_of_an_earlier_statement() -> None:
    """A taper under one order number: 20 mg must not stand with the days of the 40 mg."""
    found = said(
        "RDE^O11",
        f"ORC|NW|{PLACER}", f"RXE||PRED^Prednisone^99D|40||{MG}", "TQ1|1||QD||||20250301|20250305",
        f"ORC|NW|{PLACER}", f"RXE||PRED^Prednisone^99D|20||{MG}", "TQ1|1||QD||||20250306|20250310",
    )  # fmt: skip
    (dosage,) = one(found, "MedicationRequest")["dosageInstruction"]
    assert dosage["doseAndRate"][0]["doseQuantity"]["value"] == 20
    assert dosage["timing"]["repeat"]["boundsPeriod"] == {"start": "2025-03-06", "end": "2025-03-10"}


def test_what_a_later_statement_drops_is_an_issue() -> None:
    two = said("RDE^O11", f"ORC|NW|{PLACER}", f"RXE||A^A^99D|40||{MG}", f"RXE||B^B^99D|20||{MG}")
    assert [str(each.place) for each in two.issues if each.code == "stated-twice"] == ["RXE[2]"]
    same = said("RDE^O11", *[f"ORC|NW|{PLACER}", f"RXE||A^A^99D|40||{MG}"] * 2)
    assert "stated-twice" not in {each.code for each in same.issues}


def test_a_report_that_goes_on_under_a_second_obr_keeps_every_result() -> None:
    obr = "OBR|1|P1^HOSP|F1^LAB|CBC^Blood count^99L|||20250305080000+0100||||||||||||||||||F"
    found = said("ORU^R01", obr, "OBX|1|NM|WBC^WBC^99L||5|||||F", obr, "OBX|1|NM|RBC^RBC^99L||4|||||F")
    held = {each["reference"] for each in one(found, "DiagnosticReport")["result"]}
    assert held == {f"Observation/{each['id']}" for each in bodies(found, "Observation")}
    assert len(held) == 2


def test_one_order_on_two_specimens_belongs_to_both() -> None:
    order = ("OBR|1|P1^HOSP|F1^LAB|WBC^White cells^99L|||20250305080000+0100", "ORC|RE|P1^HOSP|F1^LAB")
    blood = ("SPM|1|^S1&LAB||BLD", *order, "OBX|1|NM|WBC^WBC^99L||5|10*9/L|||||F")
    urine = ("SPM|2|^S2&LAB||UR", *order, "OBX|1|NM|WBC^WBC^99L||7|10*9/L|||||F")
    found = said("OUL^R22^OUL_R22", *blood, *urine)
    request = {"reference": f"ServiceRequest/{one(found, 'ServiceRequest')['id']}"}
    specimens = bodies(found, "Specimen")
    assert [each["request"] for each in specimens] == [[request], [request]]
    lines = {str(each["valueQuantity"]["value"]): each for each in bodies(found, "Observation")}
    for value, specimen in zip(("5", "7"), specimens, strict=True):
        assert lines[value]["specimen"]["reference"] == f"Specimen/{specimen['id']}"
    assert len(one(found, "DiagnosticReport")["result"]) == 2


def test_a_request_leaves_no_code_behind_on_what_goes_on() -> None:
    """DC is a request; once refused (UD) or changed (XO) the order must not carry it beside its status."""
    for event, order in (("RDE^O11", "RXE||A^A^99D|40||mg"), ("ORM^O01", "OBR|1|RX1^HOSP^2.999.1.20^ISO||C^C^99L")):
        store = Store()
        for control in ("NW", "DC", "UD", "XO"):
            found = said(event, f"ORC|{control}|{PLACER}", order)
            assert "vocab-miss" not in {each.code for each in found.issues}
            store.take(found)
        (body,) = store.of("MedicationRequest") + store.of("ServiceRequest")
        assert body["status"] == "active"
        assert not [each for each in body["extension"] if each["url"].endswith("source-code")]


def test_one_number_of_two_patients_in_a_message_mixes_nothing() -> None:
    obr = "OBR|1|P1^HOSP|F1^LAB|CBC^Blood count^99L|||20250305080000+0100||||||||||||||||||F"
    found = convert(
        header("ORU^R01"),
        f"PID|1||4711{MR}", obr, "OBX|1|NM|WBC^WBC^99L||5|||||F",
        f"PID|2||4712{MR}", obr, "OBX|1|NM|RBC^RBC^99L||4|||||F",
    )  # fmt: skip
    report = one(found, "DiagnosticReport")
    mine = [each for each in bodies(found, "Observation") if each["subject"] == report["subject"]]
    assert [each["reference"] for each in report["result"]] == [f"Observation/{each['id']}" for each in mine]
    assert len(mine) == 1
    assert "other-patient" in {each.code for each in found.issues}


# given or not ---------------------------------------------------------------------------------------------------------


def rxa(reason: str = "", status: str = "", dose: str = "999", lot: str = "") -> str:
    return segment("RXA", f1="0", f2="1", f3="20250101", f5="03^MMR^CVX", f6=dose, f15=lot, f18=reason, f20=status)


@pytest.mark.parametrize(
    ("line", "vaccination", "drug"),
    [
        (rxa(reason="00^Parental decision^NIP002"), "not-done", "not-done"),  # refused, RXA-20 left empty
        (rxa(reason="00^Parental decision^NIP002", status="RE"), "not-done", "not-done"),
        (rxa(status="re"), "not-done", "not-done"),
        (rxa(status="cp"), "completed", "completed"),
        (rxa(status="ZZ"), "not-done", "unknown"),  # nobody knows what ZZ is, and nothing says that it was given
        (rxa(status="ZZ", dose="0.5"), "completed", "unknown"),
        (rxa(status="ZZ", lot="L1"), "completed", "unknown"),
        (rxa(), "completed", "completed"),
    ],
)
def test_what_was_refused_is_never_recorded_as_given(line: str, vaccination: str, drug: str) -> None:
    assert one(said("VXU^V04", "ORC|RE||F1^P", line), "Immunization")["status"] == vaccination
    given = said("RAS^O17", "ORC|RE|1^EPC|2^PH", line)
    assert one(given, "MedicationAdministration")["status"] == drug
    assert ("vocab-miss" in {each.code for each in given.issues}) == ("ZZ" in line)


# doses and lengths ----------------------------------------------------------------------------------------------------


def test_each_time_has_its_own_dose_and_no_other() -> None:
    """Warfarin, 5 mg in the morning and 2.5 mg at night: the order's 5 mg is not given at night as well."""
    found = dosages(
        f"ORC|NW|{PLACER}", f"RXE||WAR^Warfarin^99D|5||{MG}", "TQ1|1|5^mg&mg&UCUM|QAM", "TQ1|2|2.5^mg&mg&UCUM|QPM"
    )
    doses = [[str(each["doseQuantity"]["value"]) for each in dosage["doseAndRate"]] for dosage in found]
    assert doses == [["5"], ["2.5"]]


@pytest.mark.parametrize(
    ("length", "start", "end"),
    [
        ("D5", "20250305", "2025-03-09"),  # the first and the last day count: a sixth day is one dose too many
        ("W1", "20250305", "2025-03-11"),
        ("D5", "20250305100000+0100", "2025-03-10T10:00:00+01:00"),
        ("L1", "20250131", "2025-02-27"),  # a month by the calendar
    ],
)
def test_a_course_ends_when_its_days_are_over(length: str, start: str, end: str) -> None:
    (dosage,) = dosages(f"ORC|NW|{PLACER}|||||1^BID^{length}^{start}", "RXE||A^A^99D", event="RDE^O01", version="2.3")
    assert dosage["timing"]["repeat"]["boundsPeriod"]["end"] == end


def test_a_length_beside_both_ends_is_not_how_long_a_dose_takes() -> None:
    agreed, other = (
        dosages(f"ORC|NW|{PLACER}", "RXE||A^A^99D", f"TQ1|1||BID|||{days}^d|20250305|20250309")[0]["timing"]
        for days in (5, 7)
    )
    assert "duration" not in agreed["repeat"] | other["repeat"]
    assert [each["code"]["text"] for each in (agreed, other)] == ["BID", "BID, 7 d"]


def test_weekdays_are_each_a_time() -> None:
    """Once on each of three days is three times a week: methotrexate on one day stays once."""
    for pattern, times in (("Q1J135", 3), ("Q1J1", 1)):
        (dosage,) = dosages(f"ORC|NW|{PLACER}", "RXE||A^A^99D", f"TQ1|1||{pattern}")
        assert dosage["timing"]["repeat"]["frequency"] == times


@pytest.mark.parametrize("pattern", ["^once weekly", "&once weekly", "^^^^^^^^^^once weekly"])
def test_a_pattern_in_words_is_never_lost(pattern: str) -> None:
    """Methotrexate once weekly: a dose without its time is read as daily."""
    (dosage,) = dosages(f"ORC|NW|{PLACER}", f"RXE||MTX^Methotrexate^99D|10||{MG}", f"TQ1|1||{pattern}")
    assert dosage["timing"]["code"]["text"] == "once weekly"


@pytest.mark.parametrize("amount", ["1/2", "1-2", "0,5"])
def test_a_dose_that_is_no_number_is_said_in_words(amount: str) -> None:
    (dosage,) = dosages(f"ORC|NW|{PLACER}", f"RXE||A^A^99D|{amount}||TAB^Tablet^99F", "TQ1|1||BID")
    assert dosage["text"] == f"{amount} Tablet"
    (asked,) = dosages(f"ORC|NW|{PLACER}", f"RXO|A^A^99D|{amount}||TAB^Tablet^99F", event="OMP^O09")
    assert asked["text"] == f"{amount} Tablet"
    found = said("RAS^O17", f"ORC|RE|{PLACER}", f"RXA|0|1|20250305||A^A^99D|{amount}|TAB^Tablet^99F{'|' * 13}CP")
    assert one(found, "MedicationAdministration")["dosage"]["text"] == f"{amount} Tablet"


def test_an_amount_per_what_is_no_time_is_said_in_words() -> None:
    line = f"RXA|0|1|20250305||A^A^99D|500|mL^mL^UCUM|||||125 mL/h{'|' * 8}CP"
    dosage = one(said("RAS^O17", f"ORC|RE|{PLACER}", line), "MedicationAdministration")["dosage"]
    assert dosage["text"] == "500 mL / 125 mL/h"


def test_a_second_limit_stays_readable() -> None:
    """A most per day and a most per month: R4 holds one period."""
    (dosage,) = dosages(
        f"ORC|NW|{PLACER}", f"RXO|A^A^99D|200||{MG}|||||||||||||||||||1200^mg&mg&UCUM", "CDO|1|A|24000^mg&mg&UCUM|1^M",
        event="OMP^O09", version="2.8.2",
    )  # fmt: skip
    assert dosage["maxDosePerPeriod"]["numerator"]["value"] == 1200
    assert "24000 mg" in dosage["text"]


# appointments and documents -------------------------------------------------------------------------------------------


def appointment(event: str, sch: str, *segments: str) -> tuple[Json, Conversion]:
    found = convert(header(f"SIU^{event}"), sch, f"PID|1||4711{MR}", *segments)
    return one(found, "Appointment"), found


@pytest.mark.parametrize(
    ("event", "said", "status", "contradicts"),
    [
        ("S15", "Booked", "cancelled", True),  # senders leave the old status in a cancellation
        ("S17", "Booked", "entered-in-error", True),
        ("S26", "Started", "noshow", True),
        ("S15", "Deleted", "entered-in-error", False),
        ("S15", "Cancelled", "cancelled", False),
        ("S14", "Noshow", "noshow", False),
    ],
)
def test_an_old_status_never_undoes_a_cancellation(event: str, said: str, status: str, contradicts: bool) -> None:
    body, found = appointment(event, f"SCH||F1^SCHED|||||||45|min|^^^20250320100000+0100{'|' * 14}{said}")
    assert body["status"] == status
    assert ("contradiction" in {each.code for each in found.issues}) == contradicts


def test_an_appointment_begins_and_ends_on_one_statement() -> None:
    """SCH-11 with the old day and AIS-4 with the new one are no appointment of a day and a night."""
    sch = "SCH||F1^SCHED|||||||45|min|^^^20250320100000+0100"
    body, found = appointment("S13", sch, "AIS|1|U|COLO|20250321100000+0100|||45|min")
    assert (body["start"], body["end"]) == ("2025-03-20T10:00:00+01:00", "2025-03-20T10:45:00+01:00")
    assert [str(each.place) for each in found.issues if each.code == "contradiction"] == ["AIS-4"]
    later, quiet = appointment("S13", sch, "AIS|1|U|COLO|20250320101500+0100|||30|min")
    assert later["end"] == "2025-03-20T10:45:00+01:00"
    assert "contradiction" not in {each.code for each in quiet.issues}


def test_the_text_of_a_document_is_never_lost_in_silence() -> None:
    """An OBX that stands before its TXA."""
    found = said("MDM^T02", "OBX|1|TX|A||Text||||||F", "TXA|1|DS|TX|||||||||D1^TX|||||AU||AV")
    assert [str(each.place) for each in found.issues if each.code == "no-target"] == ["OBX"]


def test_a_document_whose_lines_are_taken_back_has_no_content() -> None:
    txa = "TXA|1|DS|TX|||||||||D1^TX|||||AU||AV"
    before, after = (said("MDM^T02", txa, f"OBX|1|TX|A||Of someone else||||||{status}") for status in ("F", "D"))
    old, new = mapped(before, "DocumentReference"), mapped(after, "DocumentReference")
    assert "data" in old.body["content"][0]["attachment"]
    assert (new.mode, new.filled) == ("state", ())  # it replaces what is stored
    assert "data" not in new.body["content"][0]["attachment"]


def test_what_was_cancelled_can_be_booked_again() -> None:
    """With the reason of the cancellation still there it would be no appointment at all (app-4): nobody would know."""
    sch = "SCH||F1^SCHED"
    store = Store()
    for event, booking in (
        ("S12", f"{sch}|||||||45|min|^^^20250320100000+0100"),
        ("S15", f"{sch}||||ILL^Ill^99X"),
        ("S12", f"{sch}|||||||45|min|^^^20250325100000+0100"),
    ):
        store.take(convert(header(f"SIU^{event}"), booking, f"PID|1||4711{MR}"))
    body = store.one("Appointment")
    assert (body["status"], body["start"]) == ("booked", "2025-03-25T10:00:00+01:00")
    assert "cancelationReason" not in body
    store.take(convert(header("SIU^S15"), f"{sch}||||ILL^Ill^99X", f"PID|1||4711{MR}"))
    assert store.one("Appointment")["cancelationReason"]["coding"][0]["code"] == "ILL"


# results --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "status", "note"),
    [
        ("ST", "5 & 6", "F", None),  # no unit is missing where none was sent
        ("ST", "<5", "F", "<5 ng/L"),
        ("NM", "12,5", "F", "12,5 ng/L"),
        ("ST", "<5", "X", "<5 ng/L"),
        ("ST", "5 ng/L", "F", None),
        ("ST", "negative", "F", None),
        ("NM", "12.5", "F", None),
    ],
)
def test_a_number_sent_as_text_keeps_its_unit(kind: str, value: str, status: str, note: str | None) -> None:
    """12,5 of what? A valueString has no place for OBX-6."""
    unit = "" if "&" in value else "ng/L"
    found = said("ORU^R01", "OBR|1||F1^LAB|P^Panel^99L", f"OBX|1|{kind}|T^Troponin^99L||{value}|{unit}|||||{status}")
    line = one(found, "Observation")
    assert [each["text"] for each in line.get("note", ())] == ([note] if note else [])
    if status == "F" and "valueString" in line:
        assert line["valueString"] == value  # as the laboratory wrote it


# diagnoses, problems, allergies, accounts -----------------------------------------------------------------------------


def test_a_diagnosis_of_old_versions_keeps_its_code_system() -> None:
    found = said("ADT^A08", "PV1|1|I|||||||||||||||||V1", "DG1|1|I9|428.0|Heart failure|20250310|W", version="2.3")
    assert one(found, "Condition")["code"]["coding"] == [
        {"system": "http://terminology.hl7.org/CodeSystem/icd9", "code": "428.0"}
    ]
    own = said("ADT^A08", "PV1|1|I|||||||||||||||||V1", "DG1|1|I9|I50.1^HF^I10", version="2.3")
    assert one(own, "Condition")["code"]["coding"][0]["system"] == "http://hl7.org/fhir/sid/icd-10"


def test_a_problem_ruled_out_in_the_site_s_words_shows_them() -> None:
    """`RO` is in no table: the problem stays listed as active, which nobody may read without the word."""
    found = said("PPR^PC1", "PRB|AD|20250304|C50^Breast cancer^I10|P2^HOSP|||||||||RO^Ruled out^99X")
    assert [each["text"] for each in one(found, "Condition")["note"]] == ["Ruled out"]


def test_one_allergy_in_two_segments_is_one() -> None:
    aspirin = "1191^Aspirin^RXNORM"
    found = said("ADT^A08", f"AL1|1|DA|{aspirin}|SV|Hives", f"IAM|1|DA|{aspirin}|MI|Rash|A|A5^HOSP{'|' * 10}C")
    assert one(found, "AllergyIntolerance")["criticality"] == "low"  # IAM wins for one code
    apart = said("ADT^A08", "AL1|1|DA|7980^Penicillin^RXNORM", f"IAM|1|DA|{aspirin}|MI|Rash|A|A5^HOSP")
    assert len(bodies(apart, "AllergyIntolerance")) == 2


def stay(event: str, at: str, *segments: str, start: str = "", end: str = "") -> Conversion:
    pv1 = f"PV1|1|I|MED^201^A^HOSP{'|' * 16}V1^^^HOSP{'|' * 25}{start}|{end}"
    return convert(header(f"ADT^{event}", at), f"EVN|{event}|{at}", f"PID|1||4711{MR}", pv1, *segments)


def test_who_was_discharged_lies_in_no_bed_though_the_bed_is_named_again() -> None:
    """Billing sends A08 for days after the discharge, with the bed still in PV1-3."""
    store = Store()
    store.take(stay("A01", "20250305100000+0100"))
    store.take(stay("A03", "20250308100000+0100", end="20250308095500+0100"))
    store.take(stay("A08", "20250312100000+0100"))
    body = store.one("Encounter")
    assert body["status"] == "finished"
    assert [each["status"] for each in body["location"]] == ["completed"]
    store.take(stay("A13", "20250312110000+0100"))
    assert [each["status"] for each in store.one("Encounter")["location"]] == ["active"]


def test_an_admission_that_comes_late_still_says_when_it_was() -> None:
    store = Store()
    store.take(stay("A03", "20250308100000+0100", end="20250308095500+0100"))
    store.take(stay("A01", "20250305100000+0100", start="20250305095500+0100", end="20250307095500+0100"))
    period = {"start": "2025-03-05T09:55:00+01:00", "end": "2025-03-08T09:55:00+01:00"}
    assert store.one("Encounter")["period"] == period
    assert store.one("Encounter")["status"] == "finished"


@pytest.mark.parametrize("line", ['DG1|""', "DG1|1", 'DG1|1||""'])
def test_a_diagnosis_of_nothing_is_none(line: str) -> None:
    found = stay("A08", "20250305100000+0100", line)
    assert bodies(found, "Condition") == []
    assert "diagnosis" not in one(found, "Encounter")


@pytest.mark.parametrize("line", ['AL1|""', "AL1|1|DA", 'AL1|1|DA|^""'])
def test_nobody_is_allergic_to_nothing(line: str) -> None:
    assert bodies(said("ADT^A08", line), "AllergyIntolerance") == []


@pytest.mark.parametrize("event", ["ADT^A08", "BAR^P01", "DFT^P03"])
def test_a_guarantor_needs_no_dates(event: str) -> None:
    found = convert(header(event), f"PID|1||4711{MR}{'|' * 15}A1^^^HOSP", "PV1|1|I", "GT1|1||Winter^Rosa~Winter^R")
    (party,) = [each["party"]["reference"] for each in one(found, "Account")["guarantor"]]
    assert party == f"RelatedPerson/{one(found, 'RelatedPerson')['id']}"
