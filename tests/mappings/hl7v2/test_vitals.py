"""Vital signs under other codes than their own, and pressures in one value (hl7v2.md §9; R4 vital-sign profiles)."""

import pytest

from mappings import vitals
from mappings.fhir.validate import validate
from tests.mappings.hl7v2.messages import Json, obr, obx, one, oru

PANEL, SYSTOLIC, DIASTOLIC = "85354-9", "8480-6", "8462-4"


def observation(value: str, kind: str, code: str, unit: str = "") -> Json:
    body = one(oru(obr(), obx(value, kind, f"{code}^Something^LN", f6=unit)), "Observation")
    assert validate(body) == ()
    return body


def codes(body: Json) -> list[str]:
    return [coding["code"] for coding in body["code"]["coding"]]


@pytest.mark.parametrize(
    ("code", "expected", "value", "unit"),
    [("3141-9", "29463-7", "70.5", "kg"), ("8889-8", "8867-4", "72", "/min"), ("8331-1", "8310-5", "37.2", "Cel"),
     ("59408-5", "2708-6", "98", "%"), ("3137-7", "8302-2", "172", "cm")],
)  # fmt: skip
def test_a_vital_sign_carries_the_code_of_its_profile_as_well(code: str, expected: str, value: str, unit: str) -> None:
    body = observation(value, "NM", code, unit)
    assert codes(body) == [expected, code]
    assert body["category"][0]["coding"][0]["code"] == "vital-signs"


def test_what_is_no_vital_sign_keeps_its_code_alone() -> None:
    assert codes(observation("70.5", "NM", "2345-7", "mg/dL")) == ["2345-7"]


@pytest.mark.parametrize(("value", "kind"), [("120/80", "ST"), (" 120 / 80 ", "TX"), ("^120^/^80", "SN")])
@pytest.mark.parametrize("code", [PANEL, "55284-4"])
def test_a_pressure_in_one_value_is_two_components(value: str, kind: str, code: str) -> None:
    body = observation(value, kind, code, "mm[Hg]")
    assert codes(body)[0] == PANEL
    halves = {each["code"]["coding"][0]["code"]: each["valueQuantity"]["value"] for each in body["component"]}
    assert halves == {SYSTOLIC: 120, DIASTOLIC: 80}
    assert not [name for name in body if name.startswith("value")]


@pytest.mark.parametrize(("value", "reason"), [("not measured", "as-text"), ("", "unknown")])
def test_a_pressure_that_is_no_numbers_says_why(value: str, reason: str) -> None:
    body = observation(value, "ST", PANEL)
    assert [each["dataAbsentReason"]["coding"][0]["code"] for each in body["component"]] == [reason, reason]
    assert [note["text"] for note in body.get("note", [])] == ([value] if value else [])


def test_every_code_beside_another_is_a_vital_sign_with_the_same_units() -> None:
    for code, also in vitals.beside().items():
        assert vitals.codes()[code] == vitals.codes()[also]
