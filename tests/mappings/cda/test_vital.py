"""Vital signs: what belongs together is told by time; units and codes are those of R4's profiles.

Source: C-CDA R2.1, vital signs organizer and observation; C-CDA on FHIR, vital signs; FHIR R4 vital-signs profiles.
"""

from decimal import Decimal
from typing import Any

import pytest

from mappings.convert import Conversion
from mappings.fhir.validate import validate
from tests.mappings.cda.converted import Json, codes, every, of_sections, one, outcomes
from tests.mappings.cda.observations import VITALS, code, entry, measured, observation, organizer

MORNING, NOON = "20260228093000+0100", "20260228120000+0100"
ORGANIZER = code("46680005", 'codeSystem="2.16.840.1.113883.6.96"')


def of(*statements: str, section: str = VITALS) -> Conversion:
    return of_sections((section, "".join(entry(each) for each in statements)))


def group(*parts: str, **more: str) -> str:
    return organizer(*parts, coded=ORGANIZER, **more)


def systolic(value: str, **more: str) -> str:
    return measured("8480-6", value, "mm[Hg]", **more)


def diastolic(value: str, **more: str) -> str:
    return measured("8462-4", value, "mm[Hg]", **more)


def coded(body: Json) -> list[str]:
    return [coding["code"] for coding in body["code"]["coding"]]


def by_code(done: Conversion, wanted: str) -> list[Json]:
    return [each for each in every(done, "Observation") if wanted in coded(each)]


def pressures(done: Conversion) -> set[tuple[str, Any, Any]]:
    """(time, systolic, diastolic) of each blood pressure; the reason where a half is missing."""
    found = set()
    for each in by_code(done, "85354-9"):
        halves = [
            half["valueQuantity"]["value"] if "valueQuantity" in half else half["dataAbsentReason"]["coding"][0]["code"]
            for half in each["component"]
        ]
        assert [coding["code"] for half in each["component"] for coding in half["code"]["coding"][-1:]] == [
            "8480-6",
            "8462-4",
        ]
        found.add((each.get("effectiveDateTime", "")[:16], *halves))
    return found


def test_vital_panels_pair_by_time() -> None:
    """Organizers mix times; a code comes twice; a half stands alone; units are written as people write them."""
    done = of(
        group(
            systolic("132", time=MORNING), systolic("128", time=NOON), diastolic("88", time=NOON),
            diastolic("84", time=MORNING), measured("8867-4", "80", "bpm", time=NOON, id_="a"),
            measured("8867-4", "84", "/min", time=NOON, id_="b"), measured("29463-7", "150", "lbs", time=NOON),
            measured("8302-2", "67", "in", time=NOON), systolic("120", time="20260101"),
        )
    )  # fmt: skip
    assert pressures(done) == {
        ("2026-02-28T09:30", Decimal(132), Decimal(84)),
        ("2026-02-28T12:00", Decimal(128), Decimal(88)),
        ("2026-01-01", Decimal(120), "unknown"),
    }
    pulses = by_code(done, "8867-4")
    assert [(each["valueQuantity"]["value"], each["valueQuantity"]["code"]) for each in pulses] == [
        (Decimal(80), "/min"),
        (Decimal(84), "/min"),
    ]
    assert by_code(done, "29463-7")[0]["valueQuantity"]["code"] == "[lb_av]"
    assert by_code(done, "8302-2")[0]["valueQuantity"]["code"] == "[in_i]"
    (panel,) = by_code(done, "85353-1")
    assert len(panel["hasMember"]) == 7
    assert {said for _, said in outcomes(done)} == {"mapped"}


def test_halves_of_one_time_are_one_pressure_whatever_organizers_they_stand_in() -> None:
    done = of(group(systolic("132")), group(diastolic("84")), group(systolic("120", time=NOON)))
    assert pressures(done) == {
        ("2026-02-28T09:30", Decimal(132), Decimal(84)),
        ("2026-02-28T12:00", Decimal(120), "unknown"),
    }
    assert len(by_code(done, "85353-1")) == 2  # the first two hold the same and are one


def test_of_two_pressures_at_one_time_those_of_one_organizer_go_together() -> None:
    done = of(group(systolic("132")), group(diastolic("70"), systolic("110")), group(diastolic("84")))
    assert pressures(done) == {
        ("2026-02-28T09:30", Decimal(132), Decimal(84)),
        ("2026-02-28T09:30", Decimal(110), Decimal(70)),
    }


def test_without_any_time_only_the_organizer_tells_what_belongs_together() -> None:
    done = of(group(systolic("132", time=""), diastolic("84", time="")), group(systolic("110", time="")))
    assert pressures(done) == {("", Decimal(132), Decimal(84)), ("", Decimal(110), "unknown")}


def test_halves_of_different_status_are_no_pressure() -> None:
    done = of(group(systolic("132"), diastolic("84", status="cancelled")))
    assert pressures(done) == {
        ("2026-02-28T09:30", Decimal(132), "unknown"),
        ("2026-02-28T09:30", "unknown", Decimal(84)),
    }


def test_a_denied_half_is_no_half() -> None:
    done = of(group(systolic("132"), diastolic("84", own='negationInd="true"')))
    assert pressures(done) == {("2026-02-28T09:30", Decimal(132), "unknown")}
    assert "unsupported-statement" in codes(done)


def test_a_half_without_a_value_says_why() -> None:
    absent = observation(code("8462-4"), '<value xsi:type="PQ" nullFlavor="NASK"/>')
    assert pressures(of(group(systolic("132"), absent))) == {("2026-02-28T09:30", Decimal(132), "not-asked")}


def test_the_order_of_the_halves_changes_nothing() -> None:
    parts = (systolic("132", id_="s"), diastolic("84", id_="d"))
    one_way, other = of(group(*parts)), of(group(*parts[::-1]))
    assert [each["id"] for each in by_code(one_way, "85354-9")] == [each["id"] for each in by_code(other, "85354-9")]
    assert pressures(one_way) == pressures(other)


# oxygen ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", ["59408-5", "2708-6"])  # the profile asks for the second
def test_a_saturation_has_both_codes_and_what_oxygen_was_breathed(sent: str) -> None:
    done = of(group(measured(sent, "95", "%"), measured("3150-6", "40", "%"), measured("3151-8", "2", "L/min")))
    (found,) = by_code(done, sent)
    assert {"2708-6", "59408-5"} <= set(coded(found))
    assert found["valueQuantity"]["value"] == Decimal(95)
    assert {half["code"]["coding"][0]["code"]: half["valueQuantity"]["value"] for half in found["component"]} == {
        "3150-6": Decimal(40),
        "3151-8": Decimal(2),
    }
    (panel,) = by_code(done, "85353-1")
    assert panel["hasMember"] == [{"reference": f"Observation/{found['id']}"}]


def test_a_saturation_of_capillary_blood_is_held_to_the_profile_too() -> None:
    """Older documents write 2710-2; R4's profile asks for 2708-6 beside it. Pulse oximetry is not said."""
    found = by_code(of(group(measured("2710-2", "98", "%"))), "2710-2")[0]
    assert coded(found) == ["2708-6", "2710-2"]


def test_oxygen_of_another_time_stays_by_itself() -> None:
    done = of(group(measured("59408-5", "95", "%"), measured("3150-6", "40", "%", time=NOON)))
    assert "component" not in by_code(done, "59408-5")[0]
    assert by_code(done, "3150-6")[0]["valueQuantity"]["value"] == Decimal(40)


# profiles -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loinc", "value", "unit", "expected"),
    [
        ("29463-7", "68", "kg", "kg"), ("8310-5", "98.6", "F", "[degF]"), ("8310-5", "37.2", "Cel", "Cel"),
        ("8302-2", "67", "[in_us]", "[in_i]"), ("39156-5", "22.1", "kg/m²", "kg/m2"), ("9279-1", "18", "/min", "/min"),
    ],
)  # fmt: skip
def test_units_are_those_of_the_profile_and_what_was_written_stays(
    loinc: str, value: str, unit: str, expected: str
) -> None:
    quantity = by_code(of(group(measured(loinc, value, unit))), loinc)[0]["valueQuantity"]
    assert (quantity["code"], quantity["unit"]) == (expected, unit)


def test_a_value_that_no_profile_holds_is_a_note_with_a_reason() -> None:
    (found,) = by_code(of(group(measured("29463-7", "10", "stone"))), "29463-7")
    assert found["note"] == [{"text": "10 stone"}]
    assert found["dataAbsentReason"]["coding"][0]["code"] == "as-text"


@pytest.mark.parametrize(("time", "expected"), [("202602", {"start": "2026-02", "end": "2026-02"}), ("", None)])
def test_a_sign_has_a_time_of_a_day_or_says_that_it_has_none(time: str, expected: Json | None) -> None:
    (found,) = by_code(of(group(measured("8867-4", "80", "/min", time=time))), "8867-4")
    assert "effectiveDateTime" not in found
    if expected is not None:
        assert found["effectivePeriod"] == expected
    else:
        assert found["effectivePeriod"]["extension"][0]["valueCode"] == "unknown"


@pytest.mark.parametrize("section", [VITALS, "29545-1", "30954-2", "99999-9"])
def test_a_vital_sign_fits_its_profile_wherever_it_stands(section: str) -> None:
    found = one(of(measured("8867-4", "80", "bpm"), section=section), "Observation")
    assert "vital-signs" in [coding["code"] for each in found["category"] for coding in each["coding"]]
    assert found["valueQuantity"]["code"] == "/min"
    assert validate(found) == ()


def test_an_average_is_one_observation_of_its_organizer() -> None:
    mean = organizer(measured("96608-5", "126", "mm[Hg]", time=""), measured("96609-3", "82", "mm[Hg]", time=""),
                     coded=code("96607-7"), time="20260228")  # fmt: skip
    found = one(of(mean), "Observation")
    assert coded(found) == ["96607-7"]
    assert [half["valueQuantity"]["value"] for half in found["component"]] == [Decimal(126), Decimal(82)]


def test_a_panel_of_nothing_is_none() -> None:
    done = of(group())
    assert every(done, "Observation") == []
    assert outcomes(done) == [("organizer", "narrative")]


def test_an_average_of_nothing_is_none() -> None:
    done = of(organizer(coded=code("96607-7"), time="20260228"))
    assert every(done, "Observation") == []
    assert outcomes(done) == [("organizer", "narrative")]
