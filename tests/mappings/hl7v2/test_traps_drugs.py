"""Where converters are known to go wrong with drugs and vaccines: traps 13 and 14.

Source: design chapter HL7 v2 §9 (drugs, immunization), §14.
"""

from decimal import Decimal
from typing import Any

import pytest

from mappings.convert import Conversion
from mappings.fhir.invariants import broken
from mappings.fhir.validate import validate
from tests.mappings.hl7v2.messages import MR, Store, bodies, codes, convert, header, one, segment

PID = f"PID|1||4711{MR}"
PLACER = "RX1^HOSP^2.999.1.20^ISO"
FILLER = "PH1^PHARM^2.999.1.30^ISO"
CVX_TD = "113^Td (adult)^CVX"


def vxu(*segments: str, orc: str = f"ORC|RE||{FILLER}") -> Conversion:
    return convert(header("VXU^V04^VXU_V04"), PID, orc, *segments)


def rxa(**fields: str) -> str:
    return segment("RXA", **({"f1": "0", "f2": "1", "f3": "20250312", "f5": CVX_TD} | fields))


def fact(code: str, value: str, kind: str = "CE", sub: str = "1") -> str:
    return f"OBX|1|{kind}|{code}^^LN|{sub}|{value}||||||F"


def rde(*segments: str, order: str = "NW", version: str = "2.5.1") -> Conversion:
    return convert(header("RDE^O11^RDE_O11", version=version), PID, f"ORC|{order}|{PLACER}", *segments)


def rxe(**fields: str) -> str:
    return segment("RXE", **({"f2": "161^Paracetamol^99DRUG"} | fields))


def dosages(conversion: Conversion) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = one(conversion, "MedicationRequest").get("dosageInstruction", [])
    return found


def sound(conversion: Conversion) -> None:
    for mapped in conversion.resources:
        assert validate(mapped.body) == ()
        assert broken(mapped.body) == ()


# 13
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"f20": "RE", "f18": "00^Parental decision^NIP002"}, "not-done"),
        ({"f20": "NA"}, "not-done"),
        ({"f20": "CP"}, "completed"),
        ({"f20": "PA"}, "completed"),
        ({}, "completed"),
        ({"f20": "CP", "f21": "D"}, "entered-in-error"),
        ({"f20": "RE", "f21": "D"}, "entered-in-error"),
        ({"f20": "CP", "f5": "998^No vaccine administered^CVX"}, "not-done"),
        ({"f5": "998^No vaccine administered^CVX"}, "not-done"),
        ({"f5": "998^No vaccine administered^CVX", "f21": "D"}, "entered-in-error"),
    ],
)
def test_vaccination_refusals_are_not_done(fields: dict[str, str], status: str) -> None:
    conversion = vxu(rxa(**fields))
    body = one(conversion, "Immunization")
    assert body["status"] == status
    assert ("statusReason" in body) == ("f18" in fields)
    assert body.get("isSubpotent", False) == (fields.get("f20") == "PA")
    sound(conversion)


def test_an_amount_of_999_is_no_amount() -> None:
    assert "doseQuantity" not in one(vxu(rxa(f6="999")), "Immunization")
    known = one(vxu(rxa(f6="0.50", f7="mL^mL^UCUM")), "Immunization")["doseQuantity"]
    assert (known["value"], known["code"]) == (Decimal("0.50"), "mL")


@pytest.mark.parametrize(
    ("note", "primary", "origin"),
    [
        ("00^New^NIP001", True, None),
        ("01^Historical^NIP001", False, "01"),
        ("08^Public agency^NIP001", False, "08"),
        ("^Given while seated", None, None),
    ],
)
def test_who_saw_the_vaccination_is_told_apart_from_who_told_of_it(
    note: str, primary: bool | None, origin: str | None
) -> None:
    body = one(vxu(rxa(f9=note)), "Immunization")
    assert body.get("primarySource") == primary
    assert body.get("reportOrigin", {"coding": [{}]})["coding"][0].get("code") == origin
    assert ("note" in body) == (primary is None)


def test_lines_about_the_vaccination_are_its_own_facts() -> None:
    conversion = vxu(
        rxa(),
        fact("64994-7", "V01^Not VFC eligible^HL70064"),
        fact("30963-3", "PHC70^Private^CDCPHINVS"),
        fact("30956-7", "113^Td (adult)^CVX", sub="2"),
        fact("29768-9", "20240601", "DT", "2"),
        fact("29769-7", "20250312", "DT", "2"),
        fact("30956-7", "20^DTaP^CVX", sub="3"),
        fact("29768-9", "20230101", "DT", "3"),
        fact("30973-2", "2", "NM"),
        fact("59784-9", "38907003^Varicella^SCT"),
    )
    body = one(conversion, "Immunization")
    assert body["programEligibility"][0]["coding"][0]["code"] == "V01"
    assert body["fundingSource"]["coding"][0]["code"] == "PHC70"
    sheets = [(each["documentType"], each["publicationDate"]) for each in body["education"]]
    assert sheets == [("Td (adult)", "2024-06-01"), ("DTaP", "2023-01-01")]
    assert body["education"][0]["presentationDate"] == "2025-03-12"
    assert body["protocolApplied"] == [{"doseNumberPositiveInt": 2}]
    assert one(conversion, "Observation")["partOf"][0]["reference"] == f"Immunization/{body['id']}"
    sound(conversion)


def test_lines_without_a_vaccine_are_about_the_patient() -> None:
    conversion = vxu(rxa(f5="998^No vaccine administered^CVX"), fact("30956-7", "21^Varicella^CVX"))
    assert "education" not in one(conversion, "Immunization")
    assert one(conversion, "Observation")["code"]["coding"][0]["code"] == "30956-7"


def test_a_line_taken_back_says_nothing_and_a_reaction_is_named() -> None:
    taken_back = fact("64994-7", "V01^Not VFC eligible^HL70064").replace("||||||F", "||||||W")
    conversion = vxu(rxa(), taken_back, fact("31044-1", "VXC12^Fever^CDCPHINVS"))
    body = one(conversion, "Immunization")
    assert "programEligibility" not in body
    detail = body["reaction"][0]["detail"]["reference"]
    assert detail in {f"Observation/{each['id']}" for each in bodies(conversion, "Observation")}


def test_a_deletion_finds_the_vaccination_it_takes_back() -> None:
    store = Store().take(vxu(rxa(f20="CP"))).take(vxu(rxa(f20="CP", f21="D")))
    assert store.one("Immunization")["status"] == "entered-in-error"


def test_refusals_without_a_number_of_their_own_stay_apart() -> None:
    none = "ORC|RE||9999^PRAX"
    conversion = convert(header("VXU^V04"), PID, none, rxa(f20="RE"), none, rxa(f20="RE", f5="03^MMR^CVX"))
    assert len(bodies(conversion, "Immunization")) == 2
    assert all("identifier" not in body for body in bodies(conversion, "Immunization"))


# 14
@pytest.mark.parametrize(
    ("control", "status"),
    [
        *((code, None) for code in ("CA", "DC", "HD", "RP", "UC", "UD", "UF", "DF")),
        *((code, "cancelled") for code in ("OC", "CR", "UA", "RU", "RQ")),
        *((code, "stopped") for code in ("OD", "DR")),
        *((code, "on-hold") for code in ("HR", "OH")),
        ("DE", "entered-in-error"),
        ("PR", "completed"),
        *((code, "active") for code in ("NW", "OK", "SN", "RE", "XO", "XX", "RL")),
    ],
)
def test_order_control_requests_do_not_cancel(control: str, status: str | None) -> None:
    """A request leaves the status as it is stored; at first sight it is unknown."""
    store = Store().take(rde(rxe())).take(rde(rxe(), order=control))
    assert store.one("MedicationRequest")["status"] == (status or "active")
    first = rde(rxe(), order=control)
    assert one(first, "MedicationRequest")["status"] == (status or "unknown")
    assert one(first, "MedicationRequest")["extension"][0]["extension"][0]["valueCodeableConcept"]
    sound(first)


def test_an_order_control_alone_does_not_lose_the_drug() -> None:
    store = Store().take(rde(rxe())).take(rde(order="OD"))
    body = store.one("MedicationRequest")
    assert (body["status"], body["medicationCodeableConcept"]["coding"][0]["code"]) == ("stopped", "161")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("CA", "cancelled"),
        ("DC", "stopped"),
        ("CM", "completed"),
        ("HD", "on-hold"),
        ("IP", "active"),
        ("ER", "unknown"),
    ],
)
def test_the_order_status_wins_over_the_order_control(status: str, expected: str) -> None:
    conversion = convert(header("RDE^O11"), PID, f"ORC|NW|{PLACER}|||{status}", rxe())
    assert one(conversion, "MedicationRequest")["status"] == expected


def test_the_pharmacy_s_words_win_field_by_field() -> None:
    conversion = rde(
        segment("RXO", f1="KCL^Potassium^99DRUG", f2="500", f4="mL^mL^UCUM", f7="^Watch the drip", f9="N", f13="9"),
        "RXR|IM^^HL70162",
        rxe(f3="900", f4="1000", f5="mL^mL^UCUM", f12="2"),
        "RXR|IV^^HL70162",
    )
    body = one(conversion, "MedicationRequest")
    assert body["medicationCodeableConcept"]["coding"][0]["code"] == "161"
    assert body["dispenseRequest"]["numberOfRepeatsAllowed"] == 2
    assert body["substitution"]["allowedCodeableConcept"]["coding"][0]["code"] == "N", "RXE-9 is silent"
    (dosage,) = dosages(conversion)
    assert dosage["text"] == "Watch the drip", "RXE-7 is silent"
    (dose,) = dosage["doseAndRate"]
    assert (dose["doseRange"]["low"]["value"], dose["doseRange"]["high"]["value"]) == (900, 1000)
    assert dosage["route"]["coding"][0]["code"] == "IVINJ"
    sound(conversion)


def test_what_only_the_prescriber_said_stays() -> None:
    conversion = rde(segment("RXO", f1="KCL^Potassium^99DRUG", f5="BAG^Bag^99FORM"), "RXR|IV^^HL70162", "RXE||")
    body = one(conversion, "MedicationRequest")
    inside = next(each for each in body["contained"] if each["resourceType"] == "Medication")
    assert inside["code"]["coding"][0]["code"] == "KCL"
    assert body["dosageInstruction"][0]["route"]["coding"][0]["code"] == "IVINJ"


def test_a_mixture_is_a_medication_inside_its_order() -> None:
    conversion = rde(rxe(), "RXR|IV", "RXC|B|NACL^Saline^L|500|mL^mL^UCUM", "RXC|A|KCL^Potassium^L|10|mL^mL^UCUM")
    body = one(conversion, "MedicationRequest")
    (inside,) = body["contained"]
    assert body["medicationReference"]["reference"] == f"#{inside['id']}"
    found = [(each["itemCodeableConcept"]["coding"][0]["code"], each["strength"]["numerator"]["value"])
             for each in inside["ingredient"]]  # fmt: skip
    assert found == [("NACL", 500), ("KCL", 10)]
    assert "medicationCodeableConcept" not in body
    assert bodies(conversion, "Medication") == []
    sound(conversion)


@pytest.mark.parametrize(
    ("pattern", "condition", "expected"),
    [
        ("PRN", "", [{"asNeededBoolean": True}]),
        ("PRN", "Pain", [{"asNeededCodeableConcept": {"text": "Pain"}}]),
        ("PRNQ6H", "", [{"asNeededBoolean": True, "period": 6}]),
        ("Q6H PRN", "", [{"asNeededBoolean": True, "period": 6}]),
        ("Q6H~PRN", "", [{"asNeededBoolean": True, "period": 6}]),
        ("BID~QHS", "", [{"frequency": 2}, {"when": ["HS"]}]),
        ("C", "", [{}]),
    ],
)
def test_each_pattern_is_a_timing_and_prn_is_as_needed(
    pattern: str, condition: str, expected: list[dict[str, Any]]
) -> None:
    conversion = rde(rxe(f3="500", f5="mg^mg^UCUM"), f"TQ1|1||{pattern}|||||||{condition}", "RXR|PO")
    found = dosages(conversion)
    assert len(found) == len(expected)
    for dosage, wanted in zip(found, expected, strict=True):
        repeat = dosage.get("timing", {}).get("repeat", {})
        assert {name: dosage.get(name, repeat.get(name)) for name in wanted} == wanted
        assert [name for name in dosage if name.startswith("asNeeded")] == [
            n for n in wanted if n.startswith("asNeeded")
        ]
        assert dosage["doseAndRate"][0]["doseQuantity"]["value"] == 500, "said once, it holds for every timing"
    sound(conversion)


@pytest.mark.parametrize("place", ["RXE-1", "ORC-7"])
def test_the_timing_of_old_versions_says_the_same(place: str) -> None:
    timing = "2&TAB^BID^D5^20250305~1^QHS"
    orc = segment("ORC", f1="NW", f2=PLACER, **({"f7": timing} if place == "ORC-7" else {}))
    conversion = convert(
        header("RDE^O01", version="2.3"), PID, orc, rxe(**({"f1": timing} if place == "RXE-1" else {}))
    )
    first, second = dosages(conversion)
    assert first["timing"]["repeat"]["boundsPeriod"] == {"start": "2025-03-05", "end": "2025-03-09"}
    assert first["doseAndRate"][0]["doseQuantity"]["value"] == 2
    assert second["timing"]["repeat"] == {"when": ["HS"]}
    sound(conversion)


def test_refills_and_amounts_of_a_prescription() -> None:
    conversion = rde(rxe(f10="30", f11="TAB^Tablet^99FORM", f12="0"), "RXR|PO")
    request = one(conversion, "MedicationRequest")["dispenseRequest"]
    assert (request["quantity"]["value"], request["numberOfRepeatsAllowed"]) == (30, 0)


def test_a_dispense_and_an_administration_name_their_prescription() -> None:
    orc = f"ORC|RE|{PLACER}|{FILLER}"
    dispensed = convert(header("RDS^O13"), PID, orc, "RXD|1|161^Paracetamol^L|20250305|20|TAB", "RXR|PO")
    named = one(dispensed, "MedicationDispense")["authorizingPrescription"]
    given = convert(header("RAS^O17"), PID, orc, "RXA|0|1|20250305||161^Paracetamol^L|500|mg", "RXR|PO")
    expected = {"type": "MedicationRequest", "identifier": {"system": "urn:oid:2.999.1.20", "value": "RX1"}}
    assert named == [expected]
    assert one(given, "MedicationAdministration")["request"] == expected
    sound(dispensed)
    sound(given)


def test_an_rxa_is_a_dose_in_ras_and_a_vaccination_in_vxu() -> None:
    ras = convert(header("RAS^O17"), PID, f"ORC|RE|{PLACER}", rxa())
    assert bodies(ras, "Immunization") == []
    assert one(ras, "MedicationAdministration")["status"] == "completed"
    assert bodies(vxu(rxa()), "MedicationAdministration") == []


@pytest.mark.parametrize(("code", "status"), [("CP", "completed"), ("", "completed"), ("GIVEN", "unknown")])
def test_a_status_of_no_table_does_not_say_that_a_dose_was_given(code: str, status: str) -> None:
    ras = convert(header("RAS^O17"), PID, f"ORC|RE|{PLACER}", rxa(f20=code))
    assert one(ras, "MedicationAdministration")["status"] == status


def test_a_route_is_shared_only_by_doses_of_one_drug() -> None:
    first, second, other = "RXA|0|1|20250305||A^^L|1", "RXA|0|2|20250306||A^^L|1", "RXA|0|3|20250306||B^^L|1"
    shared = convert(header("RAS^O17"), PID, f"ORC|RE|{PLACER}", first, second, "RXR|IV^^HL70162")
    assert all("route" in body["dosage"] for body in bodies(shared, "MedicationAdministration"))
    apart = convert(header("RAS^O17"), PID, f"ORC|RE|{PLACER}", first, other, "RXR|IV^^HL70162")
    assert [("route" in body["dosage"]) for body in bodies(apart, "MedicationAdministration")] == [False, True]


def test_an_order_for_a_drug_in_an_orm_is_a_medication_request() -> None:
    conversion = convert(header("ORM^O01", version="2.3"), PID, f"ORC|NW|{PLACER}", "RXO|161^Paracetamol^L|500||mg")
    assert one(conversion, "MedicationRequest")["status"] == "active"
    assert bodies(conversion, "ServiceRequest") == []
    assert "no-target" not in codes(conversion)
