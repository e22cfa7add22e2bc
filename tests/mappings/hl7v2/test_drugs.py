"""Doses, times and places of drugs, field by field; and that no message about drugs loses or breaks anything.

Source: HL7 v2.9 chapters 4 and 4A; FHIR R4 Dosage, Timing; design chapter HL7 v2 §5, §9.
"""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.convert import Conversion
from mappings.fhir.invariants import broken
from mappings.fhir.validate import validate
from mappings.moments import shifted
from tests.mappings.hl7v2.messages import MR, bodies, codes, convert, default, header, one, segment
from tests.mappings.hl7v2.messages import message as built
from tests.mappings.hl7v2.test_samples import assert_nothing_dropped

PID = f"PID|1||4711{MR}"
ORC = "ORC|NW|RX1^HOSP^2.999.1.20^ISO"
DAILY = {"frequency": 1, "period": 1, "periodUnit": "d"}
HOUR = {"value": Decimal(1), "unit": "h", "system": "http://unitsofmeasure.org", "code": "h"}


def rde(*segments: str) -> Conversion:
    return convert(header("RDE^O11"), PID, ORC, *segments)


def rxe(**fields: str) -> str:
    return segment("RXE", **({"f2": "161^Paracetamol^99DRUG"} | fields))


def dosage(conversion: Conversion) -> dict[str, Any]:
    (found,) = one(conversion, "MedicationRequest")["dosageInstruction"]
    return dict(found)


def repeat(**fields: str) -> dict[str, Any]:
    found: dict[str, Any] = dosage(rde(rxe(), segment("TQ1", **({"f1": "1"} | fields)))).get("timing", {})
    return dict(found.get("repeat", {}))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"f3": "BID"}, DAILY | {"frequency": 2}),
        ({"f3": "^^^^12^h"}, {"frequency": 1, "period": 12, "periodUnit": "h"}),
        ({"f3": "QD^^^^^^^PCM^30^min"}, DAILY | {"when": ["PCM"], "offset": 30}),
        ({"f3": "^^^^^^^ACM", "f5": "1^h"}, {"when": ["ACM"], "offset": 60}),
        ({"f4": "0800~20:00"}, DAILY | {"frequency": 2, "timeOfDay": ["08:00:00", "20:00:00"]}),
        ({"f7": "20250305", "f8": "20250312"}, {"boundsPeriod": {"start": "2025-03-05", "end": "2025-03-12"}}),
        ({"f7": "20250305", "f6": "7^d"}, {"boundsPeriod": {"start": "2025-03-05", "end": "2025-03-11"}}),
        ({"f8": "20250312", "f6": "1^WK&week"}, {"boundsPeriod": {"start": "2025-03-06", "end": "2025-03-12"}}),
        ({"f7": "20250305", "f6": "2^mo"}, {"boundsPeriod": {"start": "2025-03-05", "end": "2025-05-04"}}),
        ({"f3": "TID", "f13": "30^min"}, DAILY | {"frequency": 3, "duration": 30, "durationUnit": "min"}),
        ({"f3": "TID", "f14": "9"}, DAILY | {"frequency": 3, "count": 9}),
    ],
)  # fmt: skip
def test_a_timing_says_when_how_long_and_how_often(fields: dict[str, str], expected: dict[str, Any]) -> None:
    assert repeat(**fields) == expected


def test_a_length_of_time_alone_bounds_by_itself() -> None:
    assert repeat(f3="BID", f6="3^D&day&ISO+")["boundsDuration"]["code"] == "d"


@pytest.mark.parametrize(
    ("fields", "place"),
    [({"f6": "3^sheep"}, "TQ1-6"), ({"f3": "BID", "f13": "x^min"}, "TQ1-13"), ({"f3": "BID", "f5": "1^h"}, "TQ1-5"),
     ({"f3": "BID~QHS", "f14": "9"}, "TQ1-14"), ({"f3": "BID^^^^^^^XYZ"}, "TQ1-3.8")],
)  # fmt: skip
def test_what_a_timing_cannot_say_is_named_at_its_place(fields: dict[str, str], place: str) -> None:
    conversion = rde(rxe(), segment("TQ1", **({"f1": "1"} | fields)))
    assert place in {str(issue.place) for issue in conversion.issues if issue.code in ("bad-timing", "not-a-number")}
    assert [broken(body) for body in bodies(conversion, "MedicationRequest")] == [()]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"f3": "500", "f5": "mg^mg^UCUM"}, {"doseQuantity": 500}),
        ({"f3": "500", "f4": "500", "f5": "mg"}, {"doseQuantity": 500}),
        ({"f3": "500", "f4": "1000", "f5": "mg"}, {"doseRange": (500, 1000)}),
        ({"f3": "500", "f4": "5", "f5": "mg"}, {"doseQuantity": 500}),
        ({"f3": "100", "f5": "mL", "f22": "H1"}, {"rateRatio": (100, HOUR)}),
        ({"f3": "100", "f5": "mL", "f22": "H"}, {"rateRatio": (100, HOUR)}),
        ({"f3": "1000", "f5": "mL", "f23": "125", "f24": "mL/h"}, {"doseQuantity": 1000, "rateQuantity": 125}),
        ({"f23": "125", "f24": "mL/h"}, {"rateQuantity": 125}),
    ],
)
def test_a_dose_is_an_amount_a_range_or_a_rate(fields: dict[str, str], expected: dict[str, Any]) -> None:
    (dose,) = dosage(rde(rxe(**fields)))["doseAndRate"]
    found: dict[str, Any] = {name: dose[name].get("value") for name in dose if name.endswith("Quantity")}
    if "doseRange" in dose:
        found["doseRange"] = (dose["doseRange"]["low"]["value"], dose["doseRange"]["high"]["value"])
    if "rateRatio" in dose:
        found["rateRatio"] = (dose["rateRatio"]["numerator"]["value"], dose["rateRatio"]["denominator"])
    assert found == expected


@pytest.mark.parametrize("amount", ["<5", "some", "5-10", '""'])
def test_what_is_no_amount_is_no_dose_but_words(amount: str) -> None:
    conversion = rde(rxe(f3=amount, f5="mg"))
    said = one(conversion, "MedicationRequest").get("dosageInstruction")
    assert said == (None if amount == '""' else [{"text": f"{amount} mg"}])
    assert ("not-a-number" in codes(conversion)) == (amount != '""')


def test_a_unit_that_is_no_ucum_keeps_its_own_system() -> None:
    request = one(rde(rxe(f10="20", f11="TAB^Tablet^99FORM")), "MedicationRequest")["dispenseRequest"]
    assert (request["quantity"]["unit"], request["quantity"]["code"]) == ("Tablet", "TAB")
    assert request["quantity"]["system"].endswith("/99FORM")


def test_a_site_says_which_side() -> None:
    conversion = rde(rxe(), "RXR|IM^^HL70162|D^Deltoid^99SITE||||L^Left^HL70495")
    assert dosage(conversion)["site"]["text"] == "Deltoid, Left"


def test_a_further_route_is_an_alternative_and_no_second_dose() -> None:
    found = dosage(rde(rxe(f3="1", f5="TAB"), "RXR|PO^Oral^HL70162", "RXR|PR^Rectal^HL70162"))
    assert found["route"]["text"] == "Oral"
    assert [each["text"] for each in found["additionalInstruction"]] == ["Rectal"]


@pytest.mark.parametrize(
    ("conjunctions", "sequences"), [(("", ""), [None, None]), (("S", ""), [1, 2]), (("A", ""), [1, 1])]
)
def test_timings_follow_each_other_or_run_together(conjunctions: tuple[str, str], sequences: list[int | None]) -> None:
    timings = [segment("TQ1", f1=str(n), f3="BID", f12=each) for n, each in enumerate(conjunctions, 1)]
    found = one(rde(rxe(), *timings), "MedicationRequest")["dosageInstruction"]
    assert [each.get("sequence") for each in found] == sequences


def test_sentences_are_text_and_codes_are_instructions() -> None:
    found = dosage(rde(rxe(f7="Take with food~NOALC^No alcohol^99INST~^Swallow whole")))
    assert found["text"] == "Take with food\nSwallow whole"
    assert [each["coding"][0]["code"] for each in found["additionalInstruction"]] == ["NOALC"]


def test_a_limit_for_life_and_one_a_day() -> None:
    found = dosage(rde(rxe(), "CDO|1|A|30^g|^PL", "CDO|2|A|4^g|1^D", "CDO|3|D|9^g|^PL"))
    assert found["maxDosePerLifetime"]["value"] == 30
    assert found["maxDosePerPeriod"]["denominator"]["code"] == "d"


def test_a_pharmacy_is_known_by_code_address_and_telephone() -> None:
    known = one(
        rde(rxe(f40="PH1^Ward pharmacy^99P", f41="1 Clinic Road^^Vienna", f45="555^PRN^PH")), "MedicationRequest"
    )
    (inside,) = known["contained"]
    assert known["dispenseRequest"]["performer"]["reference"] == f"#{inside['id']}"
    assert (inside["name"], inside["address"][0]["city"], "use" in inside["telecom"][0]) == (
        "Ward pharmacy",
        "Vienna",
        False,
    )
    unknown = one(rde(rxe(f41="1 Clinic Road^^Vienna")), "MedicationRequest")
    assert broken(unknown) == ()


def test_one_number_of_a_prescription_in_order_and_dispense() -> None:
    order = one(rde(rxe(f15="N1")), "MedicationRequest")["identifier"][0]
    dispensed = convert(header("RDS^O13"), PID, ORC, segment("RXD", f1="1", f2="161^^L", f3="20250305", f7="N1"))
    numbers = [each.get("identifier") for each in one(dispensed, "MedicationDispense")["authorizingPrescription"]]
    assert order in numbers


@given(
    st.dates(min_value=date(1900, 1, 1), max_value=date(2100, 1, 1)),
    st.integers(0, 400),
)
def test_a_day_moved_forth_and_back_is_itself(day: date, days: int) -> None:
    there = shifted(day.isoformat(), Decimal(days), "d")
    assert there is not None
    assert shifted(there, Decimal(-days), "d") == day.isoformat()


VALUES = (
    "",
    "A",
    '""',
    "1^B^L",
    "20250305",
    "x~y",
    "1&2^3",
    "999",
    "500",
    "BID~PRN",
    "^BID^D5^20250305",
    "H1",
    "D",
    "PL",
    "-1",
    "0",
)
NAMES = ("ORC", "RXO", "RXE", "RXR", "RXC", "RXD", "RXG", "RXA", "RXV", "CDO", "TQ1", "TQ2", "OBX", "NTE", "PRT", "ZZ1")
EVENTS = ("OMP^O09", "RDE^O11", "RDE^O01", "RDS^O13", "RGV^O15", "RAS^O17", "VXU^V04", "ORM^O01")


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.lists(st.sampled_from(VALUES), max_size=30)), max_size=8),
    st.sampled_from(EVENTS),
)
@settings(max_examples=80, deadline=None)
def test_no_message_about_drugs_is_lost_or_invalid(lines: list[tuple[str, list[str]]], event: str) -> None:
    data = built(header(event), PID, *("|".join([name, *fields]) for name, fields in lines))
    assert_nothing_dropped(data)
    for mapped in convert(header(event), PID, *("|".join([n, *f]) for n, f in lines), profile=default()).resources:
        assert validate(mapped.body) == ()
        assert broken(mapped.body) == ()


def test_a_dose_that_is_nulled_is_taken_back_or_named() -> None:
    """RXE-3 may be said by RXE-4 or RXE-23, too: a null of the first is no silence of all."""
    found = convert(header("RDE^O11"), f"PID|1||4711{MR}", "ORC|XO|P1", 'RXE|^BID|5640^Ibuprofen^RXNORM|""||mg')
    (order,) = [each for each in found.resources if each.body["resourceType"] == "MedicationRequest"]
    named = {str(issue.place) for issue in found.issues if issue.code == "null-not-applied"}
    assert any(path.startswith("dosageInstruction") for path in order.clear) or "RXE-3" in named
