"""Where converters are known to go wrong: one named test each.

Source: design chapter HL7 v2 §14; those about vaccination, order control and transport stand with their own parts.
"""

import itertools
from decimal import Decimal
from typing import Any

import pytest

from mappings.convert import Close
from mappings.fhir.validate import validate
from tests.mappings.hl7v2.messages import (
    MR,
    Store,
    adt,
    bodies,
    codes,
    convert,
    header,
    mapped,
    obr,
    obx,
    one,
    oru,
    segment,
)  # fmt: skip

LABEL = "http://terminology.hl7.org/CodeSystem/"
REASONS = LABEL + "data-absent-reason"


def value_of(body: dict[str, Any]) -> tuple[str, Any]:
    (name,) = [name for name in body if name.startswith("value")]
    return name, body[name]


# 1
@pytest.mark.parametrize(
    ("kind", "value", "name", "expected"),
    [
        ("NM", "1.20", "valueQuantity", {"value": Decimal("1.20")}),
        ("NM", "<5", "valueQuantity", {"comparator": "<", "value": Decimal("5")}),
        ("NM", "positive", "valueString", "positive"),
        ("SN", ">^100", "valueQuantity", {"comparator": ">", "value": Decimal("100")}),
        ("SN", "^1^:^128", "valueRatio", {"numerator": {"value": Decimal(1)}, "denominator": {"value": Decimal(128)}}),
        ("SN", "^10^-^20", "valueRange", {"low": {"value": Decimal(10)}, "high": {"value": Decimal(20)}}),
        ("SN", "^2^+", "valueString", "2+"),
        ("CWE", "^No growth", "valueCodeableConcept", {"text": "No growth"}),
        ("ST", "1.20", "valueString", "1.20"),
        ("DT", "20250102", "valueDateTime", "2025-01-02"),
        ("TM", "091500", "valueTime", "09:15:00"),
        ("", "7.2", "valueQuantity", {"value": Decimal("7.2")}),
        ("", "pending", "valueString", "pending"),
        ("NA", "1^2~3^4", "valueString", "1 2\n3 4"),
        ("XCN", "7^Kaya^Leyla", "valueString", "Leyla Kaya"),
    ],
)
def test_obx2_decides_the_type_of_obx5(kind: str, value: str, name: str, expected: Any) -> None:
    body = one(oru(obr(), obx(value, kind)), "Observation")
    assert value_of(body) == (name, expected)
    assert validate(body) == ()


# 2
def test_repeated_obx5_becomes_components() -> None:
    body = one(oru(obr(), obx("60~120", f6="mm[Hg]^mm[Hg]^UCUM")), "Observation")
    assert [component["valueQuantity"]["value"] for component in body["component"]] == [60, 120]
    assert all(component["code"] == body["code"] for component in body["component"])
    assert not [name for name in body if name.startswith("value")]


@pytest.mark.parametrize(("kind", "expected"), [("TX", "one\ntwo"), ("FT", "one\ntwo"), ("NA", "one\ntwo")])
def test_repetitions_of_text_and_arrays_are_lines(kind: str, expected: str) -> None:
    body = one(oru(obr(), obx("one~two", kind)), "Observation")
    assert body["valueString"] == expected
    assert "component" not in body


# 3
@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("F", "final", None), ("V", "final", None), ("P", "preliminary", None), ("R", "preliminary", None),
        ("S", "preliminary", None), ("C", "corrected", None), ("A", "amended", None), ("B", "amended", None),
        ("I", "registered", "temp-unknown"), ("O", "registered", "temp-unknown"), ("X", "cancelled", "not-performed"),
        ("N", "cancelled", "not-asked"), ("D", "entered-in-error", None), ("W", "entered-in-error", None),
        ("U", "final", None),
    ],
)  # fmt: skip
def test_every_obx11_code_has_a_status(code: str, status: str, reason: str | None) -> None:
    found = mapped(oru(obr(), obx("", status=code)), "Observation")
    assert found.body["status"] == status
    assert found.body.get("dataAbsentReason", {}).get("coding", [{}])[0].get("code") == reason
    assert found.mode == ("update" if code == "U" else "state")


@pytest.mark.parametrize("code", ["X", "N"])
def test_a_value_that_was_not_measured_goes_to_a_note(code: str) -> None:
    body = one(oru(obr(), obx("sample clotted", "ST", status=code)), "Observation")
    assert body["note"] == [{"text": "sample clotted"}]
    assert "valueString" not in body
    assert validate(body) == ()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("F", "final"), ("C", "corrected"), ("P", "preliminary"), ("R", "partial"), ("A", "partial"), ("M", "partial"),
        ("O", "registered"), ("I", "registered"), ("S", "registered"), ("N", "registered"), ("X", "cancelled"),
        ("Y", "unknown"), ("Z", "unknown"),
    ],
)  # fmt: skip
def test_every_obr25_code_has_a_status(code: str, status: str) -> None:
    conversion = oru(obr(status=code), obx())
    assert one(conversion, "DiagnosticReport")["status"] == status
    assert ("report-without-order" in codes(conversion)) == (code in "YZ")


@pytest.mark.parametrize(
    ("lines", "status"), [(["F", "F"], "final"), (["F", "P"], "partial"), (["P"], "unknown"), ([], "unknown")]
)
def test_without_obr25_the_lines_tell_the_status(lines: list[str], status: str) -> None:
    found = oru(obr(status=""), *(obx(status=code, f4=str(n)) for n, code in enumerate(lines)))
    assert one(found, "DiagnosticReport")["status"] == status


@pytest.mark.parametrize(("report", "status"), [("F", "final"), ("R", "preliminary"), ("", "unknown")])
def test_without_obx11_the_report_tells_the_status(report: str, status: str) -> None:
    assert one(oru(obr(status=report), obx(status="")), "Observation")["status"] == status


@pytest.mark.parametrize("code", ["Q", "FF", "1", "f"])
def test_a_status_of_no_table_is_unknown_and_kept(code: str) -> None:
    line = oru(obr(), obx(status=code))
    report = oru(obr(status=code), obx())
    for found, kind, place in ((line, "Observation", "OBX-11"), (report, "DiagnosticReport", "OBR-25")):
        body = mapped(found, kind).body
        assert body["status"] == "unknown"
        assert body["_status"]["extension"][0]["valueCodeableConcept"]["coding"][0]["code"] == code
        assert ("vocab-miss", place) in {(each.code, str(each.place)) for each in found.issues}
        assert "status" not in mapped(found, kind).filled  # said, though nobody knows what
        assert validate(body) == ()
    assert one(line, "DiagnosticReport")["status"] == "final"


def test_a_status_of_no_table_takes_nothing_from_a_final_result() -> None:
    store = Store().take(oru(obr(), obx())).take(oru(obr(), obx(status="Q")))
    assert store.one("Observation")["status"] == "final"
    assert "result-downgrade" in store.noticed


def test_a_final_report_with_a_corrected_line_is_corrected() -> None:
    assert one(oru(obr(), obx(), obx(status="C", f4="2")), "DiagnosticReport")["status"] == "corrected"


# 4
def test_a_correction_updates_the_same_observation() -> None:
    store = Store()
    for at, value, status in (("20250304100000+0100", "1.50", "F"), ("20250304110000+0100", "1.05", "C")):
        store.take(oru(obr(f22=at), obx(value, status=status), at=at))
    assert store.one("Observation")["status"] == "corrected"
    assert store.one("Observation")["valueQuantity"]["value"] == Decimal("1.05")
    store.take(oru(obr(f22="20250304120000+0100"), obx("", status="D"), at="20250304120000+0100"))
    assert store.one("Observation")["status"] == "entered-in-error"
    assert "result" not in store.one("DiagnosticReport")
    store.take(oru(obr(f22="20250304130000+0100"), obx("1.06"), at="20250304130000+0100"))
    assert store.one("Observation")["status"] == "final"
    assert store.noticed == ["reinstated"]


def test_a_preliminary_behind_a_final_is_held() -> None:
    store = Store().take(oru(obr(), obx("98"), at="20250304100000+0100"))
    store.take(oru(obr(status="P"), obx("97", status="P"), at="20250304110000+0100"))
    assert store.one("Observation")["valueQuantity"]["value"] == 98
    assert store.noticed == ["result-downgrade", "result-downgrade"]


def test_an_unmarked_correction_is_marked() -> None:
    store = Store().take(oru(obr(), obx("98"), at="20250304100000+0100"))
    store.take(oru(obr(), obx("99"), at="20250304110000+0100"))
    assert store.one("Observation")["status"] == "corrected"
    store.take(oru(obr(), obx("99"), at="20250304120000+0100"))
    assert store.one("Observation")["status"] == "corrected"
    assert store.noticed == ["unmarked-correction"]


def test_a_value_sent_as_unchanged_comes_from_the_store() -> None:
    store = Store().take(oru(obr(status="P"), obx("98", status="P"), at="20250304100000+0100"))
    store.take(oru(obr(), obx("", status="U"), at="20250304110000+0100"))
    assert store.one("Observation")["status"] == "final"
    assert store.one("Observation")["valueQuantity"]["value"] == 98


def test_sub_ids_and_repeated_lines_stay_distinct() -> None:
    conversion = oru(obr(), obx(f4="1"), obx(f4="2"), obx(), obx())
    assert len({body["id"] for body in bodies(conversion, "Observation")}) == 4
    assert codes(conversion) == {"identity-by-position"}


def test_two_reports_with_one_accession_stay_two() -> None:
    conversion = oru(obr("A1"), obx(), obr("A1", code="57021-8^CBC^LN"), obx())
    assert len(bodies(conversion, "DiagnosticReport")) == 2
    assert len({body["id"] for body in bodies(conversion, "Observation")}) == 2


# 5
def test_one_report_per_obr_with_its_own_order() -> None:
    orc = "ORC|RE|P1^HOSP|F1^LAB"
    conversion = oru(orc, obr("F1"), obx(), obr("F2", code="57021-8^CBC^LN"), obx(), "ORC|RE|P3^HOSP", obr("F3"), obx())
    reports = bodies(conversion, "DiagnosticReport")
    assert [len(report["result"]) for report in reports] == [1, 1, 1]
    assert len({report["basedOn"][0]["reference"] for report in reports}) == 3
    orders = bodies(conversion, "ServiceRequest")
    assert [order["status"] for order in orders] == ["active", "active", "active"]  # ORC-1 RE of the shared ORC, too


def test_specimens_before_and_after_the_lines() -> None:
    before = oru(obr(), "SPM|1|^S1&LAB&2.999.3.2&ISO||SER", obx())
    after = oru(obr(), obx(), "SPM|1|^S1&LAB&2.999.3.2&ISO||SER")
    for conversion in (before, after):
        assert (
            one(conversion, "DiagnosticReport")["specimen"][0]["reference"]
            == one(conversion, "Observation")["specimen"]["reference"]
        )
        assert one(conversion, "Specimen")["type"]["coding"][0]["code"] == "SER"
    assert "results-after-specimen" in codes(before)


def test_a_line_behind_the_specimen_describes_it() -> None:
    conversion = oru(obr(), obx(), "SPM|1|^S1&LAB&2.999.3.2&ISO||SER", obx("5", code="3151-8^Flow^LN"))
    assert len(bodies(conversion, "Observation")) == 2
    assert len(one(conversion, "DiagnosticReport")["result"]) == 1


def test_obr15_makes_the_specimen_of_old_messages() -> None:
    conversion = convert(header("ORU^R01", version="2.3"), f"PID|1||4711{MR}", obr(f15="BLD&Blood&HL70070"), obx())
    assert one(conversion, "Specimen")["type"]["coding"][0]["code"] == "BLD"
    assert one(conversion, "DiagnosticReport")["specimen"]


def test_children_find_their_parent_in_and_across_messages() -> None:
    parent = (obr("F1", code="600-7^Culture^LN"), obx("^E. coli", "CWE", "600-7^Bacteria^LN", f4="1"))
    child = (
        obr("F2", code="29576-6^Susceptibility^LN", f26="600-7&Bacteria&LN^1", f29="^F1&LAB&2.999.3.1&ISO"),
        obx("S", "ST", "18906-8^Cipro^LN"),
    )
    both = oru(*parent, *child)
    culture, susceptibility = bodies(both, "Observation")
    assert susceptibility["derivedFrom"] == [{"reference": f"Observation/{culture['id']}"}]
    alone = one(oru(*child), "Observation")["derivedFrom"][0]["identifier"]
    assert alone in culture["identifier"]
    named = one(oru(child[0] + "|" * 21 + "600-7^Culture^LN", child[1]), "Observation")
    assert named["derivedFrom"] == [{"reference": f"Observation/{culture['id']}"}]


# 6
def test_notes_stay_with_the_segment_before() -> None:
    conversion = convert(
        header("ORU^R01"), f"PID|1||4711{MR}", "NTE|1|L|of the patient", obr(), "NTE|1|L|of the report", obx(),
        "NTE|1|L|first", "NTE|2|L|", "NTE|3|L|third", obx(f4="2"),
    )  # fmt: skip
    first, second = bodies(conversion, "Observation")
    assert first["note"] == [{"text": "first\n\nthird"}]
    assert "note" not in second
    assert one(conversion, "DiagnosticReport")["extension"][0]["valueAnnotation"] == {"text": "of the report"}
    assert one(conversion, "Patient")["extension"][0]["valueAnnotation"] == {"text": "of the patient"}


def test_text_behind_a_number_is_its_comment() -> None:
    body = one(oru(obr(), obx("98"), obx("hemolyzed", "TX"), obx("slightly", "TX")), "Observation")
    assert body["valueQuantity"]["value"] == 98
    assert body["note"] == [{"text": "hemolyzed\nslightly"}]


def test_text_over_several_lines_is_one_value() -> None:
    body = one(oru(obr(), obx("one", "TX", f4="1"), obx("", "TX", f4="2"), obx("three", "TX", f4="3")), "Observation")
    assert body["valueString"] == "one\n\nthree"


# 7
def test_identifiers_keep_their_authority() -> None:
    pid = "PID|1||007^3^M11^NAME&2.999.7&ISO^MR~12^^^WEST^MR~12^^^EAST^MR^^20200101^20301231"
    numbers = one(convert(header(), pid), "Patient")["identifier"]
    assert numbers[0]["value"] == "007"
    assert numbers[0]["system"] == "urn:oid:2.999.7"  # the OID before the name
    assert numbers[0]["extension"][0]["valueString"] == "3 M11"
    assert numbers[1]["system"] != numbers[2]["system"]
    assert numbers[2]["period"] == {"start": "2020-01-01", "end": "2030-12-31"}


def test_equal_numbers_of_two_hospitals_are_two_patients() -> None:
    west, east = (one(convert(header(), f"PID|1||12^^^{place}^MR"), "Patient") for place in ("WEST", "EAST"))
    assert west["id"] != east["id"]


# 8
def test_snapshot_update_neither_wipes_nor_resurrects() -> None:
    store = Store()
    store.take(
        adt(
            "A01",
            "NK1|1|Muster^Max|SPO",
            "AL1|1||^Peanut",
            "PV1|1|I|||||||||||||||||V1^^^HOSP",
            at="20250301080000+0100",
        )
    )
    first = adt("A08", f"PID|1||4711{MR}||Demo^Ana|||F|||Ring 1^^Wien||5550101", at="20250302080000+0100")
    store.take(first)
    store.take(adt("A08", at="20250303080000+0100"))  # absent is no statement
    patient = store.one("Patient")
    assert patient["name"][0]["family"] == "Demo"
    assert patient["address"][0]["city"] == "Wien"
    store.take(adt("A08", f'PID|1||4711{MR}||Demo^Ana||||||""||""', at="20250304080000+0100"))
    patient = store.one("Patient")
    assert "address" not in patient
    assert "telecom" not in patient
    store.take(first)  # late: nothing comes back
    assert store.one("Patient")["name"][0]["family"] == "Demo"
    assert "late-event" in store.noticed
    assert len(store.of("AllergyIntolerance")) == 1


def test_a_late_message_fills_only_what_no_one_has_stated() -> None:
    store = Store().take(adt("A08", f"PID|1||4711{MR}||Neu^Ana", at="20250304080000+0100"))
    store.take(adt("A08", f"PID|1||4711{MR}||Alt^Ana||19800101", at="20250301080000+0100"))
    assert store.one("Patient")["name"][0]["family"] == "Neu"
    assert store.one("Patient")["birthDate"] == "1980-01-01"


def test_a_laboratory_does_not_overwrite_the_registry() -> None:
    store = Store().take(adt("A08", f"PID|1||4711{MR}||Demo^Ana||19800101", at="20250301080000+0100"))
    store.take(convert(header("ORU^R01", "20250305080000+0100"), f"PID|1||4711{MR}||DEMO^A||19800102", obr(), obx()))
    assert store.one("Patient")["birthDate"] == "1980-01-01"


def test_a_snapshot_closes_what_it_no_longer_lists() -> None:
    shorter = adt("A08", "NK1|1|Muster^Max|SPO")
    (kept,) = bodies(shorter, "RelatedPerson")
    patient = next(body for body in bodies(shorter, "Patient"))
    assert shorter.effects == (Close("RelatedPerson", f"Patient/{patient['id']}", (kept["id"],)),)
    assert adt("A08").effects == ()  # no segment of a kind changes nothing
    emptied = adt("A08", 'NK1|1|""')
    assert emptied.effects == (Close("RelatedPerson", f"Patient/{patient['id']}", ()),)


def test_an_allergy_is_withdrawn_aloud() -> None:
    store = Store().take(adt("A08", "IAM|1||7980^Penicillin^RXNORM|||A", at="20250301080000+0100"))
    assert store.one("AllergyIntolerance")["clinicalStatus"]["coding"][0]["code"] == "active"
    store.take(adt("A08", "IAM|1||7980^Penicillin^RXNORM|||D", at="20250302080000+0100"))
    body = store.one("AllergyIntolerance")
    assert body["verificationStatus"]["coding"][0]["code"] == "entered-in-error"
    assert "clinicalStatus" not in body


# 9
@pytest.mark.parametrize("position", range(2, 41))
def test_hl7_null_never_becomes_text(position: int) -> None:
    """Field, repetition and component of every PID field."""
    for raw in ('""', 'x~""', '""^x', 'x^""^y'):
        if position == 3:
            raw = f"4711{MR}~{raw}"
        fields = {"f3": f"4711{MR}", f"f{position}": raw}
        for mapping in convert(header(), segment("PID", **fields)).resources:
            assert '""' not in str(mapping.body)


def test_null_clears_only_its_own_phones() -> None:
    found = mapped(adt("A08"), "Patient")
    assert found.clear == ()
    nulled = [
        m for m in convert(header(), f'PID|1||4711{MR}||||||||||""|').resources if m.body["resourceType"] == "Patient"
    ]
    assert nulled[0].clear == ("telecom[use=home]",)


# 10
def test_merges_survive_replay_chains_and_reversal() -> None:
    merge = convert(header("ADT^A40", "20250305080000+0100"), f"PID|1||1{MR}||Demo^Ana", f"MRG|2{MR}")
    survivor, retired = (m for m in merge.resources if m.body["resourceType"] == "Patient")
    assert retired.into == survivor.body["id"]
    assert retired.body["active"] is False
    assert retired.body["link"] == [{"other": {"reference": f"Patient/{survivor.body['id']}"}, "type": "replaced-by"}]
    assert survivor.body["identifier"][1] | {"use": "old"} == survivor.body["identifier"][1]
    store = Store().take(merge).take(merge)
    patients = {body["id"]: body for body in store.of("Patient")}
    assert len(patients[survivor.body["id"]]["link"]) == 1
    assert len(patients[survivor.body["id"]]["identifier"]) == 2
    chained = convert(header("ADT^A40", "20250306080000+0100"), f"PID|1||3{MR}", f"MRG|1{MR}")
    store.take(chained)
    patients = {body["id"]: body for body in store.of("Patient")}
    assert {link["type"] for link in patients[survivor.body["id"]]["link"]} == {"replaces", "replaced-by"}


def test_several_pairs_and_a_merge_with_itself() -> None:
    conversion = convert(
        header("ADT^A40"), f"PID|1||1{MR}", f"MRG|2{MR}", f"PID|2||3{MR}", f"MRG|4{MR}", f"PID|3||5{MR}", f"MRG|5{MR}"
    )
    assert sum(m.into is not None for m in conversion.resources) == 2
    assert "merge-with-self" in codes(conversion)


def test_a_merge_in_an_event_that_merges_nothing_is_named_not_guessed() -> None:
    conversion = convert(header("ADT^A08"), f"PID|1||1{MR}", "MRG|2^^^HOSP||ACC9^^^HOSP")
    assert "unsupported-structure" in codes(conversion)
    assert all(m.into is None and m.was is None for m in conversion.resources)


@pytest.mark.parametrize("event", ["A35", "A41", "A42", "A49", "A50", "A51"])
def test_accounts_and_visits_that_are_not_named_are_an_issue(event: str) -> None:
    conversion = convert(header(f"ADT^{event}"), f"PID|1||1{MR}", "MRG|1^^^HOSP||ACC9^^^HOSP||V9^^^HOSP|V8^^^HOSP")
    assert "no-target" in codes(conversion)
    assert all(m.into is None and m.was is None for m in conversion.resources)


def test_a_merge_of_one_who_is_not_named_still_moves_what_is() -> None:
    moved = convert(header("ADT^A45"), f"PID|1||1{MR}", "MRG|||||V1^^^HOSP", "PV1||I||||||||||||||||V1^^^HOSP")
    assert "open-merge" not in codes(moved)


NEED_MRG = ["A18", "A30", "A34", "A35", "A36", *(f"A{n}" for n in (*range(39, 52),))]


@pytest.mark.parametrize("event", NEED_MRG)
@pytest.mark.parametrize("mrg", [[], ["MRG|"], ['MRG|""']])
def test_a_merge_that_does_not_say_of_whom_is_an_error(event: str, mrg: list[str]) -> None:
    conversion = convert(header(f"ADT^{event}"), f"EVN|{event}|20250304081500+0100", f"PID|1||1{MR}", *mrg)
    (found,) = [each for each in conversion.issues if each.code == "open-merge"]
    assert found.severity == "error"
    assert str(found.place).startswith("MRG-" if mrg else "PID")
    assert len(bodies(conversion, "Patient")) == 1, "nobody is made up for it"
    assert all(m.into is None and m.was is None for m in conversion.resources)


def test_one_survivor_may_stand_before_each_of_her_records() -> None:
    merged = convert(header("ADT^A40"), f"PID|1||1{MR}", f"MRG|2{MR}", f"PID|2||1{MR}", f"MRG|4{MR}")
    assert len([m for m in merged.resources if m.into is not None]) == 2
    assert "other-patient" not in codes(merged)


# 11
STAY = "PV1|1|{kind}|{place}^^^HOSP|||{prior}|||||||||||||V1^^^HOSP&2.999.6&ISO"


def stay(event: str, hour: int, kind: str = "I", place: str = "MED", prior: str = "", tail: str = "") -> Any:
    pv1 = STAY.format(kind=kind, place=place, prior=f"{prior}^^^HOSP" if prior else "") + tail
    return adt(event, pv1, at=f"2025030{hour}080000+0100")


def places(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["location"]["display"], each["status"]) for each in body["location"]]


def test_encounter_lifecycle_follows_events() -> None:
    store = Store()
    told = []
    for step in (
        stay("A05", 1, kind="P"), stay("A01", 2), stay("A02", 3, place="ICU", prior="MED"),
        stay("A12", 4, place="MED", prior="ICU"), stay("A03", 5), stay("A13", 6), stay("A03", 7),
    ):  # fmt: skip
        store.take(step)
        body = store.one("Encounter")
        told.append((body["status"], places(body), "end" in body.get("period", {})))
        assert validate(body) == ()
    assert told == [
        ("planned", [("MED", "planned")], False),
        ("in-progress", [("MED", "active")], False),
        ("in-progress", [("MED", "completed"), ("ICU", "active")], False),
        ("in-progress", [("MED", "active")], False),
        ("finished", [("MED", "completed")], True),
        ("in-progress", [("MED", "active")], False),
        ("finished", [("MED", "completed")], True),
    ]


def test_the_order_of_arrival_does_not_change_the_end_of_a_stay() -> None:
    events = [stay("A01", 2), stay("A02", 3, place="ICU", prior="MED"), stay("A03", 5, place="ICU")]
    for order in itertools.permutations(events):
        store = Store()
        for event in order:
            store.take(event)
        body = store.one("Encounter")
        assert body["status"] == "finished"
        assert "active" not in {status for _, status in places(body)}


def test_cancelled_and_mistaken_stays() -> None:
    assert Store().take(stay("A01", 2)).take(stay("A11", 3)).one("Encounter")["status"] == "cancelled"
    assert Store().take(stay("A01", 2)).take(stay("A23", 3)).one("Encounter")["status"] == "entered-in-error"


def test_a_late_admission_does_not_reopen_a_stay() -> None:
    store = Store().take(stay("A03", 5)).take(stay("A01", 2))
    assert store.one("Encounter")["status"] == "finished"
    assert store.noticed == ["late-event", "late-event"]  # the stay and the patient


def test_a_late_discharge_counts_unless_a_later_one_of_its_kind_is_stored() -> None:
    store = Store().take(stay("A01", 2)).take(stay("A08", 6)).take(stay("A03", 5))
    assert store.one("Encounter")["status"] == "finished"


def test_an_update_keeps_the_status_of_the_stay() -> None:
    assert Store().take(stay("A03", 5)).take(stay("A08", 6)).one("Encounter")["status"] == "finished"
    assert Store().take(stay("A08", 6)).one("Encounter")["status"] == "in-progress"
    assert Store().take(stay("A08", 6, kind="P")).one("Encounter")["status"] == "planned"


def test_a_class_change_keeps_the_former_class() -> None:
    body = Store().take(stay("A01", 2, kind="O")).take(stay("A06", 3)).one("Encounter")
    assert body["class"]["code"] == "IMP"
    assert body["classHistory"][0]["class"]["code"] == "AMB"


def test_a_registration_update_without_a_stay_makes_none() -> None:
    assert bodies(adt("A31", "PV1|1|N"), "Encounter") == []
    assert bodies(adt("A08", "PV1|1|I"), "Encounter") == []


def test_a_stay_without_a_number_is_known_by_its_start() -> None:
    first, second = (
        one(adt(event, "PV1|1|I|MED" + "|" * 41 + "20250301080000+0100"), "Encounter") for event in ("A01", "A08")
    )
    assert first["id"] == second["id"]


def test_discharge_without_pv1_45_ends_when_the_event_did() -> None:
    conversion = convert(
        header("ADT^A03"), "EVN|A03|20250304090000+0100||||20250304083000+0100", f"PID|1||4711{MR}",
        STAY.format(kind="I", place="MED", prior=""),
    )  # fmt: skip
    assert one(conversion, "Encounter")["period"]["end"] == "2025-03-04T08:30:00+01:00"


# 12
@pytest.mark.parametrize(
    ("lexeme", "date", "time"),
    [
        ("1980", "1980", None), ("198001", "1980-01", None), ("19800102", "1980-01-02", None),
        ("198001020304+0100", "1980-01-02", "1980-01-02T03:04:00+01:00"), ("00000101", None, None),
        ("99991231", None, None), ("19801345", None, None),
    ],
)  # fmt: skip
def test_partial_dates_and_birth_times(lexeme: str, date: str | None, time: str | None) -> None:
    body = one(convert(header(), f"PID|1||4711{MR}||||{lexeme}"), "Patient")
    assert body.get("birthDate") == date
    times = [
        e.get("valueDateTime")
        for e in body.get("_birthDate", {}).get("extension", ())
        if e["url"].endswith("birthTime")
    ]
    assert times == ([time] if time else [])
    assert validate(body) == ()


def test_a_bad_birth_date_does_not_cost_the_allergies() -> None:
    conversion = adt("A01", "AL1|1||^Peanut")
    assert bodies(conversion, "AllergyIntolerance")
    broken = convert(header(), f"PID|1||4711{MR}||Demo^Ana||19801345", "AL1|1||^Peanut")
    assert "not-a-date" in codes(broken)
    assert bodies(broken, "AllergyIntolerance")


def test_a_bad_death_date_does_not_lose_the_death() -> None:
    dead = one(convert(header(), segment("PID", f3=f"4711{MR}", f29="20250230", f30="N")), "Patient")
    assert dead["deceasedBoolean"] is True
    assert one(convert(header(), segment("PID", f3=f"4711{MR}", f30="Y")), "Patient")["deceasedBoolean"] is True
    assert one(convert(header(), segment("PID", f3=f"4711{MR}", f29="2025")), "Patient")["deceasedDateTime"] == "2025"


# 16
@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("V", ["v3-Confidentiality#V"]), ("R", ["v3-Confidentiality#R"]), ("U", ["v3-Confidentiality#N"]),
        ("PSY", ["v3-ActCode#PSY"]), ("HIV", ["v3-ActCode#HIV"]), ("AID", ["v3-ActCode#HIV"]),
        ("ETH", ["v3-ActCode#ETH"]),
        ("EMP", ["v3-ActCode#EMP"]), ("VIP", ["v3-ActCode#CEL"]), ("R~PSY", ["v3-Confidentiality#R", "v3-ActCode#PSY"]),
        ("U~V", ["v3-Confidentiality#V"]),
    ],
)  # fmt: skip
def test_orders_label_their_reports_and_results(field: str, expected: list[str]) -> None:
    conversion = oru(segment("ORC", f1="RE", f28=field), obr(), obx(), "ORC|RE", obr("F9"), obx())
    labelled, free = bodies(conversion, "Observation")
    assert [f"{each['system'].removeprefix(LABEL)}#{each['code']}" for each in labelled["meta"]["security"]] == expected
    assert bodies(conversion, "DiagnosticReport")[0]["meta"] == labelled["meta"]
    assert "meta" not in free


@pytest.mark.parametrize("code", ["UWM", "XX", "SECRET^^99HOSP"])
def test_labels_fail_closed(code: str) -> None:
    conversion = oru(segment("ORC", f1="RE", f28=code), obr(), obx())
    security = one(conversion, "Observation")["meta"]["security"]
    assert security[0] == {"system": LABEL + "v3-Confidentiality", "code": "R"}
    assert security[1]["code"] == code.partition("^")[0]
    assert "label-unknown" in codes(conversion)


def test_a_protected_patient_labels_all_that_the_message_says_of_her() -> None:
    conversion = adt("A01", segment("PD1", f12="Y"), "AL1|1||^Peanut", STAY.format(kind="I", place="MED", prior=""))
    for kind in ("Patient", "AllergyIntolerance", "Encounter"):
        assert one(conversion, kind)["meta"]["security"] == [{"system": LABEL + "v3-Confidentiality", "code": "R"}]
    assert all("meta" not in body for body in bodies(conversion, "Location"))


def test_a_label_is_never_lowered_by_absence() -> None:
    store = Store().take(adt("A08", segment("PD1", f12="Y"), at="20250301080000+0100"))
    store.take(adt("A08", segment("PD1", f4="7^Gruen"), at="20250302080000+0100"))
    assert store.one("Patient")["meta"]["security"][0]["code"] == "R"
    store.take(adt("A08", segment("PD1", f12="N"), at="20250303080000+0100"))
    assert "meta" not in store.one("Patient")


def test_a_protected_visit_labels_the_stay() -> None:
    conversion = adt("A01", STAY.format(kind="I", place="MED", prior=""), segment("PV2", f22="Y"))
    assert one(conversion, "Encounter")["meta"]["security"][0]["code"] == "R"
    assert "meta" not in one(conversion, "Patient")


def test_access_restrictions_label_where_they_stand() -> None:
    pv1 = STAY.format(kind="I", place="MED", prior="")
    conversion = adt("A01", "ARV|1|A|HIV", pv1, "ARV|2|A|STD")
    assert [s["code"] for s in one(conversion, "Patient")["meta"]["security"]] == ["HIV"]
    assert {s["code"] for s in one(conversion, "Encounter")["meta"]["security"]} == {"HIV", "STD"}


# vital signs
@pytest.mark.parametrize(
    ("code", "value", "unit", "expected"),
    [
        ("8867-4", "72", "bpm", "/min"), ("9279-1", "16", "{breaths}/min", "/min"), ("8310-5", "36.6", "C", "Cel"),
        ("29463-7", "70.5", "kg", "kg"), ("8302-2", "172", "cm^cm^UCUM", "cm"), ("39156-5", "23.1", "kg/m2", "kg/m2"),
    ],
)  # fmt: skip
def test_vital_signs_fit_their_profile(code: str, value: str, unit: str, expected: str) -> None:
    body = one(oru(obr(), obx(value, code=f"{code}^Vital^LN", f6=unit)), "Observation")
    assert body["category"][0]["coding"][0]["code"] == "vital-signs"
    assert body["valueQuantity"]["code"] == expected
    assert str(body["valueQuantity"]["value"]) == value
    assert len(body["effectiveDateTime"]) >= 10


def test_a_vital_sign_that_is_no_quantity_keeps_its_words() -> None:
    body = one(oru(obr(), obx("normal", "ST", "8867-4^Heart rate^LN")), "Observation")
    assert body["note"] == [{"text": "normal"}]
    assert body["dataAbsentReason"]["coding"][0] == {"system": REASONS, "code": "as-text"}


def test_two_halves_of_a_blood_pressure_are_one_observation() -> None:
    conversion = oru(
        obr(), obx("120", code="8480-6^Systolic^LN", f6="mmHg"), obx("80", code="8462-4^Diastolic^LN", f6="mmHg")
    )
    body = one(conversion, "Observation")
    assert body["code"]["coding"][0]["code"] == "85354-9"
    assert [component["valueQuantity"]["value"] for component in body["component"]] == [120, 80]
    assert one(conversion, "DiagnosticReport")["result"] == [{"reference": f"Observation/{body['id']}"}]


def test_a_panel_holds_whom_its_halves_contain() -> None:
    halves = [
        obx(value, code=f"{code}^Half^LN", f6="mmHg", f16="^Kaya^Leyla")
        for value, code in (("120", "8480-6"), ("80", "8462-4"))
    ]
    body = one(oru(obr(), *halves), "Observation")
    assert [f"#{each['id']}" for each in body["contained"]] == [body["performer"][0]["reference"]]


def test_pulse_oximetry_carries_the_code_its_profile_asks_for() -> None:
    body = one(oru(obr(), obx("97", code="59408-5^SpO2^LN", f6="%")), "Observation")
    assert [coding["code"] for coding in body["code"]["coding"]] == ["2708-6", "59408-5"]


# attachments
def test_a_document_is_presented_by_the_report() -> None:
    conversion = oru(obr(), obx("LAB^TEXT^PLAIN^Base64^SW52ZW50ZWQu", "ED"))
    document = one(conversion, "DocumentReference")
    assert one(conversion, "DiagnosticReport")["presentedForm"] == [document["content"][0]["attachment"]]
    assert one(conversion, "Observation")["derivedFrom"] == [{"reference": f"DocumentReference/{document['id']}"}]


# what nobody is named in
def test_results_without_a_patient_say_so() -> None:
    conversion = convert(header("ORU^R01"), obr(), obx())
    assert "no-patient" in codes(conversion)
    for each in conversion.resources:
        assert validate(each.body) == ()


def test_an_unknown_structure_keeps_every_segment() -> None:
    conversion = convert(header("ZZZ^Z99"), f"PID|1||4711{MR}||Demo^Ana", "PV1|1|I|MED", "XYZ|1|2", "ZPI|1")
    assert one(conversion, "Patient")
    named = {str(issue.place) for issue in conversion.issues if issue.code == "unsupported-structure"}
    assert named == {"XYZ", "ZPI"}
    assert "unknown-event" in codes(conversion)
