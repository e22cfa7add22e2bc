"""Numbers and units: NM, SI, SN, NR, CQ, MO, CP, reference ranges (HL7 v2.9 §2A; FHIR R4 Quantity; UCUM)."""

from typing import Any

import pytest

from mappings.fhir import codec
from mappings.hl7v2.datatypes import FUNCTIONS
from tests.mappings.hl7v2.contexts import codes, context

UCUM = "http://unitsofmeasure.org"
MG = {"unit": "mg", "system": UCUM, "code": "mg"}


def written(value: Any) -> str | None:
    """A result as the JSON that would be stored."""
    return None if value is None else codec.encode(value).decode()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("5", "5"),
        ("1.20", "1.20"),
        ("12345678901234567890", "12345678901234567890"),
        ("0.10000000000000000005", "0.10000000000000000005"),
        ("0.0000001", "0.0000001"),
        ("+5", "5"),
        ("-5.0", "-5.0"),
        (".5", "0.5"),
        ("-.5", "-0.5"),
        ("5.", "5"),
        ("007", "7"),
        ("0", "0"),
        ("-0", "-0"),
        ("00.5", "0.5"),
        (" 5 ", "5"),
        ("5^extra", "5"),
    ],
)
def test_a_number_keeps_its_lexeme(raw: str, expected: str) -> None:
    ctx = context()
    assert written(FUNCTIONS["NM[decimal]"].call(raw, ctx, None)) == expected
    assert codes(ctx) == []


@pytest.mark.parametrize(
    "raw", ["1,5", "1e5", "five", "1.2.3", "--5", "5 mg", ".", "-", "<5", "٣", "1" * 65, "0x1F", "NaN"]
)
def test_what_is_no_number_is_none(raw: str) -> None:
    ctx = context()
    assert FUNCTIONS["NM[decimal]"].call(raw, ctx, None) is None
    assert codes(ctx) == ["not-a-number"]


@pytest.mark.parametrize(
    ("raw", "expected"), [("1,5", "1.5"), ("-1,25", "-1.25"), ("1,234,567", None), ("1,", None), ("1,5.0", None)]
)
def test_a_decimal_comma_is_a_policy(raw: str, expected: str | None) -> None:
    ctx = context(policy={"decimal_comma": True})
    assert written(FUNCTIONS["NM[decimal]"].call(raw, ctx, None)) == expected


@pytest.mark.parametrize(
    ("name", "raw", "expected", "issues"),
    [
        ("NM[integer]", "-5", -5, []),
        ("NM[integer]", "5.0", 5, []),
        ("NM[integer]", "5.5", None, ["not-a-number"]),
        ("NM[integer]", "2147483648", None, ["not-a-number"]),
        ("NM[integer]", "<5", None, ["not-a-number"]),
        ("NM[integer]", "", None, []),
        ("NM[unsignedInt]", "0", 0, []),
        ("NM[unsignedInt]", "-1", None, ["not-a-number"]),
        ("NM[positiveInt]", "1", 1, []),
        ("NM[positiveInt]", "0", None, ["not-a-number"]),
        ("SI[positiveInt]", "2", 2, []),
        ("CQ[unsignedInt]", "3^d", 3, []),
        ("CQ[unsignedInt]", "^d", None, []),
    ],
)
def test_whole_numbers(name: str, raw: str, expected: int | None, issues: list[str]) -> None:
    ctx = context()
    assert FUNCTIONS[name].call(raw, ctx, None) == expected
    assert codes(ctx) == issues


@pytest.mark.parametrize(
    ("obx6", "expected"),
    [
        ("mg/dL", {"unit": "mg/dL", "system": UCUM, "code": "mg/dL"}),
        ("mg/dl", {"unit": "mg/dl", "system": UCUM, "code": "mg/dL"}),
        ("mg/dL^^UCUM", {"unit": "mg/dL", "system": UCUM, "code": "mg/dL"}),
        ("10*9/L^10^9/L", {"unit": "10^9/L", "system": UCUM, "code": "10*9/L"}),
        ("mmHg", {"unit": "mmHg", "system": UCUM, "code": "mm[Hg]"}),
        ("µmol/L", {"unit": "µmol/L", "system": UCUM, "code": "umol/L"}),
        ("10^9/L", {"unit": "10^9/L", "system": UCUM, "code": "10*9/L"}),
        ("{Zellen}/uL^Zellen pro µL^UCUM", {"unit": "Zellen pro µL", "system": UCUM, "code": "{Zellen}/uL"}),
        ("mg/dL^milligram^ISO+", {"unit": "milligram", "system": UCUM, "code": "mg/dL"}),
        ("mg/dL^milligram^99LAB", {"unit": "milligram"}),
        ("Stk^Stück^99LAB^{count}^count^UCUM", {"unit": "Stück", "system": UCUM, "code": "{count}"}),
        ("K", {"unit": "K"}),  # thousands on a screen, kelvin in UCUM
        ("K/uL", {"unit": "K/uL"}),
        ("F", {"unit": "F"}),
        ("µg per drop", {"unit": "µg per drop"}),
        ("not ucum^^UCUM", {"unit": "not ucum"}),
        ("x10^12/L", {"unit": "x10^12/L", "system": UCUM, "code": "10*12/L"}),
        ("^milligram", {"unit": "milligram"}),
        ("", {}),
        ('""', {}),
    ],
)
def test_a_unit_is_ucum_only_where_that_is_safe(obx6: str, expected: dict[str, str]) -> None:
    ctx = context(f"OBX|1|NM|||5|{obx6}")
    for _ in range(2):
        found = FUNCTIONS["NM[Quantity]"].call("5", ctx, None)
        assert {name: value for name, value in found.items() if name != "value"} == expected
    assert codes(ctx) == []


@pytest.mark.parametrize(
    ("name", "raw", "expected", "issues"),
    [
        ("NM[Quantity]", "<5", '{"comparator":"<","value":5}', []),
        ("NM[Quantity]", ">=1.50", '{"comparator":">=","value":1.50}', []),
        ("NM[Quantity]", "< 5", '{"comparator":"<","value":5}', []),
        ("NM[Quantity]", "=5", None, ["not-a-number"]),
        ("NM[Quantity]", "trace", None, ["not-a-number"]),
        ("NM[Quantity]", "", None, []),
        ("CQ[Quantity]", "1.50^mg", '{"code":"mg","system":"http://unitsofmeasure.org","unit":"mg","value":1.50}', []),
        (
            "CQ[Quantity]",
            "2^mg&milligram&UCUM",
            '{"code":"mg","system":"http://unitsofmeasure.org","unit":"milligram","value":2}',
            [],
        ),
        ("CQ[Quantity]", "2", '{"value":2}', []),
        ("CQ[Quantity]", "two^mg", None, ["not-a-number"]),
        ("CQ[Quantity]", "^mg", None, []),
        ("CQ[decimal]", "1.50^mg", "1.50", []),
        ("CWE[Quantity]", "mg^^UCUM", '{"code":"mg","system":"http://unitsofmeasure.org","unit":"mg"}', []),
        ("NM[Duration.d]", "3", '{"code":"d","system":"http://unitsofmeasure.org","unit":"d","value":3}', []),
        ("MO[Money]", "99.50^EUR", '{"currency":"EUR","value":99.50}', []),
        ("MO[Money]", "99.50", '{"value":99.50}', []),
        ("MO[Money]", "99.50^euros", '{"value":99.50}', ["bad-value"]),
        ("MO[Money]", "lots^EUR", None, ["not-a-number"]),
        ("MO[Money]", "^EUR", None, []),
        ("CP[Money]", "99.50&EUR^UP", '{"currency":"EUR","value":99.50}', []),
        ("NR[Range]", "1^5", '{"high":{"value":5},"low":{"value":1}}', []),
        ("NR[Range]", "^5", '{"high":{"value":5}}', []),
        ("NR[Range]", "1", '{"low":{"value":1}}', []),
        ("NR[Range]", "<1^5", None, ["not-a-number"]),
        ("NR[Range]", "a^5", None, ["not-a-number"]),
        ("NR[Range]", "^", None, []),
        ("SN[Quantity]", ">^100", '{"comparator":">","value":100}', []),
        ("SN[Quantity]", "^100^-^200", None, []),
        ("SN[Range]", "^100^-^200", '{"high":{"value":200},"low":{"value":100}}', []),
        ("SN[Ratio]", "^1^:^128", '{"denominator":{"value":128},"numerator":{"value":1}}', []),
    ],
)
def test_numbers_with_something_beside(name: str, raw: str, expected: str | None, issues: list[str]) -> None:
    ctx = context()
    assert written(FUNCTIONS[name].call(raw, ctx, None)) == expected
    assert codes(ctx) == issues


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("^100", '{"valueQuantity":{"value":100}}'),
        (">^100", '{"valueQuantity":{"comparator":">","value":100}}'),
        ("=^100", '{"valueQuantity":{"value":100}}'),
        ("<=^1.50", '{"valueQuantity":{"comparator":"<=","value":1.50}}'),
        ("^100^-^200", '{"valueRange":{"high":{"value":200},"low":{"value":100}}}'),
        ("=^100^-^200", '{"valueRange":{"high":{"value":200},"low":{"value":100}}}'),
        ("^^-^200", '{"valueRange":{"high":{"value":200}}}'),
        ("^1^:^128", '{"valueRatio":{"denominator":{"value":128},"numerator":{"value":1}}}'),
        (">^1^:^128", '{"valueRatio":{"denominator":{"value":128},"numerator":{"comparator":">","value":1}}}'),
        ("^1^/^2", '{"valueRatio":{"denominator":{"value":2},"numerator":{"value":1}}}'),
        ("^^^", None),
    ],
)
def test_a_structured_number_takes_its_shape(raw: str, expected: str | None) -> None:
    ctx = context()
    assert written(FUNCTIONS["SN[value]"].call(raw, ctx, None)) == expected
    assert codes(ctx) == []


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("^2^+", "2+"),
        ("<>^5", "<>5"),
        (">^1^-^2", ">1-2"),
        ("^abc", "abc"),
        ("^1^:^x", "1:x"),
        ("^1^:", "1:"),
        (">", ">"),
        ("^<1^-^2", "<1-2"),
        ("^1^^2", "12"),
    ],
)
def test_what_no_shape_holds_is_text(raw: str, text: str) -> None:
    ctx = context()
    assert FUNCTIONS["SN[value]"].call(raw, ctx, None) == {"valueString": text}
    assert codes(ctx) == ["not-a-number"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("3.5-5.0", {"low": "3.5", "high": "5.0", "text": "3.5-5.0"}),
        ("3.5 - 5.0", {"low": "3.5", "high": "5.0", "text": "3.5 - 5.0"}),
        ("-2-2", {"low": "-2", "high": "2", "text": "-2-2"}),
        ("<=5", {"high": "5", "text": "<=5"}),
        (">=10", {"low": "10", "text": ">=10"}),
        ("<5", {"text": "<5"}),  # 5 itself is out of range, and FHIR's bounds are inclusive
        (">10", {"text": ">10"}),
        ("negative", {"text": "negative"}),
        ("3-5 weeks", {"text": "3-5 weeks"}),
    ],
)
def test_a_reference_range_is_always_text_and_a_range_where_it_is_one(raw: str, expected: dict[str, str]) -> None:
    ctx = context("OBX|1|NM|||5|mg")
    for _ in range(2):
        found = FUNCTIONS["ST[Observation.referenceRange]"].call(raw, ctx, None)
        assert {name: str(end["value"]) if isinstance(end, dict) else end for name, end in found.items()} == expected
        assert all(end.items() >= MG.items() for end in found.values() if isinstance(end, dict))
    assert codes(ctx) == []


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("3,9-6,1", {"low": "3.9", "high": "6.1", "text": "3,9-6,1"}),
        ("3-6,1", {"low": "3", "high": "6.1", "text": "3-6,1"}),
        ("<=5,5", {"high": "5.5", "text": "<=5,5"}),
    ],
)
def test_a_reference_range_with_decimal_commas_is_one_by_policy_only(raw: str, expected: dict[str, str]) -> None:
    read = FUNCTIONS["ST[Observation.referenceRange]"].call
    found = read(raw, context("OBX|1|NM|||5|mg", policy={"decimal_comma": True}), None)
    assert {name: str(end["value"]) if isinstance(end, dict) else end for name, end in found.items()} == expected
    assert read(raw, context("OBX|1|NM|||5|mg"), None) == {"text": raw}, "half a range would be a lie"
