"""Master files: people, roles and places without any patient, under the numbers by which other messages name them.

Source: HL7 v2.9 chapters 8 and 15; design chapter HL7 v2 §4, §6; FHIR R4 Practitioner, PractitionerRole, Location.
"""

import pytest

from mappings.convert import Conversion, patient_keys, to_fhir
from mappings.fhir.compartments import owner_references
from mappings.fhir.validate import validate
from tests.mappings.hl7v2.messages import (
    Json,
    Store,
    adt,
    bodies,
    codes,
    convert,
    default,
    header,
    mapped,
    message,
    one,
    segment,
)

HOSP = "^^^HOSP&2.999.1.5&ISO"
AT = "20250501080000+0200"
RECORD = "MFE|{}|C1|20250501|1010|CWE"


def stf(**fields: str) -> str:
    return segment("STF", **({"f1": "1010", "f2": f"1010{HOSP}^EI", "f3": "Falk^Nora"} | fields))


def mfn(*segments: str, at: str = AT) -> Conversion:
    return convert(header("MFN^M02", at), "MFI|PRA||UPD|||AL", *segments)


def pmu(event: str, *segments: str, at: str = AT) -> Conversion:
    return convert(header(f"PMU^{event}", at), f"EVN|{event}|{at}||||20250430", *segments)


def places(*segments: str, at: str = AT) -> Conversion:
    return convert(header("MFN^M05", at), "MFI|LOC||UPD|||AL", *segments)


def active(conversion: Conversion) -> object:
    return one(conversion, "Practitioner").get("active")


def test_a_master_file_names_no_patient_and_all_of_it_is_shared() -> None:
    data = message(header("MFN^M02", AT), "MFI|PRA||UPD|||AL", RECORD.format("MAD"), stf(f18="Nurse"))
    assert patient_keys(data, default()) == ()
    conversion = to_fhir(data, default())
    stored = [
        each for each in conversion.resources if each.mode != "event" and each.body["resourceType"] != "Provenance"
    ]
    assert {each.body["resourceType"] for each in stored} == {"Organization", "Practitioner", "PractitionerRole"}
    assert [owner_references(each.body) for each in stored] == [()] * len(stored)
    assert all(validate(each.body) == () for each in conversion.resources)


def test_staff_is_whom_other_messages_name_by_that_number() -> None:
    person = one(mfn(RECORD.format("MAD"), stf()), "Practitioner")
    visit = f"PV1|1|I|||||1010^Falk^Nora^^^^^^HOSP&2.999.1.5&ISO||||||||||||V1{HOSP}"
    assert person["id"] in {each["id"] for each in bodies(adt("A01", visit), "Practitioner")}
    bare = one(mfn(RECORD.format("MAD"), stf(f2="")), "Practitioner")
    visit = f"PV1|1|I|||||1010^Falk^Nora||||||||||||V1{HOSP}"
    assert bare["id"] in {each["id"] for each in bodies(adt("A01", visit), "Practitioner")}


def test_the_file_says_more_than_a_stub_and_leads() -> None:
    visit = f"PV1|1|I|||||1010^F^N^^^^^^HOSP&2.999.1.5&ISO||||||||||||V1{HOSP}"
    store = Store().take(adt("A01", visit)).take(mfn(RECORD.format("MAD"), stf(f5="F")))
    assert store.one("Practitioner")["name"] == [{"family": "Falk", "given": ["Nora"]}]
    assert store.one("Practitioner")["gender"] == "female"
    assert store.take(adt("A01", visit, at="20260101080000+0100")).one("Practitioner")["gender"] == "female"


@pytest.mark.parametrize(
    ("flag", "record", "state"),
    [
        ("A", "MAD", True),
        ("I", "MUP", False),
        ("", "MUP", None),
        ("A", "MDC", False),
        ("", "MDL", False),
        ("I", "MAC", True),
        ("X", "MUP", None),
    ],
)
def test_what_became_of_the_record_wins_over_the_flag(flag: str, record: str, state: bool | None) -> None:
    assert active(mfn(RECORD.format(record), stf(f7=flag))) is state


@pytest.mark.parametrize(
    ("event", "state"), [("B01", None), ("B02", None), ("B03", False), ("B04", True), ("B05", False), ("B06", False)]
)
def test_the_event_of_a_personnel_message_says_who_works_here(event: str, state: bool | None) -> None:
    conversion = pmu(event, stf(), "ORG|1|MED2^Ward 2^99HOSP")
    assert active(conversion) is state
    assert one(conversion, "PractitionerRole").get("active") is state


def test_each_record_of_a_file_is_a_person_of_her_own() -> None:
    other = stf(f1="1011", f2=f"1011{HOSP}^EI", f3="Prem^Sven")
    conversion = mfn(RECORD.format("MAD"), stf(), "PRA|1010||MD", RECORD.format("MDC"), other, "PRA|1011||RN")
    first, second = bodies(conversion, "Practitioner")
    assert [each.get("active") for each in (first, second)] == [None, False]
    roles = [each["practitioner"]["reference"] for each in bodies(conversion, "PractitionerRole")]
    assert roles == [f"Practitioner/{first['id']}", f"Practitioner/{second['id']}"]


def test_roles_are_known_by_where_they_are_held() -> None:
    here, there = "PRA|1010||MD||||||INST1^One^99", "PRA|1010||MD||||||INST2^Two^99"
    first = {each["id"] for each in bodies(mfn(RECORD.format("MAD"), stf(), here, there), "PractitionerRole")}
    again = {each["id"] for each in bodies(mfn(RECORD.format("MUP"), stf(), there), "PractitionerRole")}
    assert len(first) == 2
    assert again < first


def cer(number: str = "Z1", **fields: str) -> str:
    return segment("CER", **({"f1": "1", "f2": number, "f10": "ECHO^Echo^99CERT", "f27": "20290201"} | fields))


def end(conversion: Conversion) -> object:
    (found,) = one(conversion, "Practitioner")["qualification"]
    return found["period"].get("end")


@pytest.mark.parametrize(
    ("event", "fields", "expected"),
    [
        ("B07", {}, "2029-02-01"),
        ("B08", {}, "2025-04-30"),
        ("B08", {"f29": "20250401"}, "2025-04-01"),
        ("B07", {"f31": "R"}, "2025-04-30"),
        ("B07", {"f31": "V"}, "2029-02-01"),
    ],
)
def test_a_certificate_that_is_revoked_holds_no_longer(event: str, fields: dict[str, str], expected: str) -> None:
    assert end(pmu(event, stf(), cer(**fields))) == expected


def test_a_certificate_that_is_granted_leaves_the_degrees() -> None:
    degree = "EDU|1|MD^Doctor^99||||University"
    store = Store().take(pmu("B01", stf(), degree, cer())).take(pmu("B07", stf(), cer("Z2"), at="20250601080000+0200"))
    kinds = [each["code"]["coding"][0]["code"] for each in store.one("Practitioner")["qualification"]]
    assert kinds == ["MD", "ECHO", "ECHO"]
    store.take(pmu("B08", stf(), cer("Z2"), at="20250701080000+0200"))
    assert len(store.one("Practitioner")["qualification"]) == 3


def test_a_certificate_without_a_name_has_an_absent_code() -> None:
    person = one(pmu("B07", stf(), "CER|1|Z1"), "Practitioner")
    assert "extension" in person["qualification"][0]["code"]
    assert validate(person) == ()


def test_a_place_is_the_one_that_a_stay_names() -> None:
    known = {each["id"]: each for each in bodies(places("MFE|MAD||||PL", "LOC|MED^201^A^HOSP|Bed"), "Location")}
    visit = f"PV1|1|I|MED^201^A^HOSP||||||||||||||||V1{HOSP}"
    named = {each["id"] for each in bodies(adt("A01", visit), "Location")}
    assert set(known) == named
    (bed,) = [each for each in known.values() if "description" in each]
    assert known[bed["partOf"]["reference"].partition("/")[2]]["name"] == "201"


@pytest.mark.parametrize(
    ("record", "status"), [("MAD", None), ("MDC", "inactive"), ("MDL", "inactive"), ("MAC", "active")]
)
def test_what_became_of_a_place_is_its_status(record: str, status: str | None) -> None:
    assert one(places(f"MFE|{record}||||PL", "LOC|HAUS"), "Location").get("status") == status


def test_a_department_is_a_place_in_its_place_with_a_state_of_its_own() -> None:
    conversion = places(
        "MFE|MAD||||PL", "LOC|HAUS|House", "LDP|HAUS|CAR^Cardiology^99||||I", "LDP|HAUS|SUR^Surgery^99||||A"
    )
    house, cardiology, surgery = bodies(conversion, "Location")
    assert [each.get("status") for each in (house, cardiology, surgery)] == [None, "inactive", "active"]
    assert {each["partOf"]["reference"] for each in (cardiology, surgery)} == {f"Location/{house['id']}"}


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (
            "SAT^MON^1400^1800",
            [{"daysOfWeek": ["sat", "sun", "mon"], "openingTime": "14:00:00", "closingTime": "18:00:00"}],
        ),
        ("WED", [{"daysOfWeek": ["wed"]}]),
        ("^^1000", [{"openingTime": "10:00:00"}]),
        ("MON^FRI~SUN", [{"daysOfWeek": ["mon", "tue", "wed", "thu", "fri"]}, {"daysOfWeek": ["sun"]}]),
        ("XYZ", None),
    ],
)
def test_visiting_hours_are_days_and_times(hours: str, expected: list[Json] | None) -> None:
    conversion = places("MFE|MAD||||PL", "LOC|HAUS", f"LDP|HAUS|CAR^Cardiology^99||||||||{hours}")
    (department,) = [each for each in bodies(conversion, "Location") if each["name"] == "Cardiology"]
    assert department.get("hoursOfOperation") == expected
    assert validate(department) == ()


def test_a_record_that_names_nobody_is_known_by_its_place() -> None:
    conversion = mfn(RECORD.format("MAD"), "STF|||Falk^Nora")
    assert "no-identity" in codes(conversion)
    assert mapped(conversion, "Practitioner").mode == "update"
