"""PQ, INT, REAL, MO, IVL_PQ, RTO: HL7 v3 datatypes R1; FHIR R4 Quantity, Range, Ratio, Money; UCUM."""

import csv
from pathlib import Path
from typing import Any

import pytest

from mappings.cda.datatypes import quantities
from mappings.fhir.codec import encode, lexeme
from mappings.fhir.values import UCUM
from mappings.terminology import ucum
from tests.mappings.cda.contexts import NULL_FLAVORS, SAY_MORE, context, on, read, why


def ucum_unit(code: str, shown: str | None = None) -> dict[str, Any]:
    return {"unit": shown or code, "system": UCUM, "code": code}


def plain(value: Any) -> Any:
    """A result with its numbers as they are written."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value if value is None or isinstance(value, str | bool) else lexeme(value)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("1.030", "1.030"), ("120", "120"), ("0", "0"), ("-5", "-5"), ("+5", "5"), (".5", "0.5"), ("5.", "5"),
        ("007", "7"), (" 3 ", "3"), ("0.0000001", "0.0000001"), ("12345678901234567890", "12345678901234567890"),
        ("1e3", "1e3"), ("1.50E-2", "1.50e-2"), ("-01e+3", "-1e+3"),
    ],
)  # fmt: skip
def test_a_number_keeps_its_lexeme(written: str, kept: str) -> None:
    found = read("PQ[Quantity]", f'<value value="{written}" unit="mg"/>')
    assert plain(found.value) == {"value": kept, **ucum_unit("mg")}
    assert f'"value":{kept}' in encode(found.value).decode()
    assert found.codes == []


@pytest.mark.parametrize(
    "written", ["abc", "1,5", "1.2.3", "--1", "NaN", "INF", "1e9999", "9" * 70, "1 2", "٣", "½", "{}", "&quot;", "5mg"]
)
@pytest.mark.parametrize("name", ["PQ[Quantity]", "REAL[decimal]", "INT[integer]", "MO[Money]", "PQ[value]"])
def test_what_is_no_number_is_told_and_not_guessed(name: str, written: str) -> None:
    found = read(name, f'<value value="{written}" unit="mg"/>')
    assert found.value is None
    assert found.codes == ["not-a-number"]


def test_a_comma_is_a_decimal_sign_by_policy_only() -> None:
    found = read("PQ[Quantity]", '<value value="1,50"/>', policy={"decimal_comma": True})
    assert plain(found.value) == {"value": "1.50"}


@pytest.mark.parametrize(("written", "comparator"), [("<5", "<"), (">= 5", ">="), ("&lt;=5", "<=")])
def test_a_comparator_in_the_value_is_one(written: str, comparator: str) -> None:
    written = written.replace("<5", "&lt;5")
    assert plain(read("PQ[Quantity]", f'<value value="{written}"/>').value) == {"value": "5", "comparator": comparator}
    assert read("PQ[SimpleQuantity]", f'<value value="{written}"/>').value is None
    assert read("REAL[decimal]", f'<value value="{written}"/>').codes == ["not-a-number"]


@pytest.mark.parametrize(
    ("unit", "code"),
    [
        ("mg", "mg"), ("mm[Hg]", "mm[Hg]"), ("10*3/uL", "10*3/uL"), ("{score}", "{score}"), ("1", "1"), ("a", "a"),
        ("lbs", "[lb_av]"), ("in", "[in_i]"), ("mcg", "ug"), ("10+3/ul", "10*3/uL"), ("g/dl", "g/dL"), ("µg", "ug"),
        ("kg/m²", "kg/m2"), ("mmHg", "mm[Hg]"), ("Kg", "kg"), ("years", "a"), (" mg ", "mg"),
    ],
)  # fmt: skip
def test_a_unit_is_ucum_or_repaired_to_it_and_stays_as_written(unit: str, code: str) -> None:
    found = read("PQ[Quantity]", f'<value value="1" unit="{unit}"/>').value
    assert found == {"value": found["value"], **ucum_unit(code, unit.strip())}


@pytest.mark.parametrize("unit", ["tablet", "md/dL", "UCUM_UNIT", "C", "F", "ML", "G/L", "&quot;{", "a b", "mg{", "中"])
def test_an_unknown_or_doubtful_unit_stays_text(unit: str) -> None:
    found = read("PQ[Quantity]", f'<value value="1" unit="{unit}"/>').value
    assert found.keys() == {"value", "unit"}


def test_every_repair_is_a_ucum_code_that_nothing_else_gives() -> None:
    with Path(quantities.__file__).with_name("units.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["unit"] for row in rows}) == len(rows)
    for row in rows:
        assert row["source"]
        assert not row["code"] or ucum.is_code(row["code"]), row
        assert ucum.code_for(row["unit"]) is None, row


def test_an_over_long_unit_is_left_out_and_told() -> None:
    found = read("PQ[Quantity]", f'<value value="1" unit="{"m" * 1000}"/>')
    assert plain(found.value) == {"value": "1"}
    assert found.codes == ["over-long"]


def test_without_a_unit_a_number_stays_so() -> None:
    assert plain(read("REAL[Quantity]", '<value value="1.0"/>').value) == {"value": "1.0"}


@pytest.mark.parametrize("flavor", NULL_FLAVORS)
@pytest.mark.parametrize("name", ["PQ[Quantity]", "IVL_PQ[Range]", "RTO[Ratio]", "MO[Money]", "INT[integer]"])
def test_a_null_flavor_is_nothing_unless_it_says_more(name: str, flavor: str) -> None:
    expected: Any = why(SAY_MORE[flavor]) if flavor in SAY_MORE else None
    if name == "INT[integer]" and expected:
        expected = (None, expected)
    found = read(name, f'<value nullFlavor="{flavor}" unit="mg"/>')
    assert found.value == expected
    assert found.codes == []


# Translations --------------------------------------------------------------------------------------------------------


def test_a_null_quantity_gives_way_to_its_translation() -> None:
    fragment = '<value nullFlavor="OTH"><translation value="5" code="mg" codeSystem="2.16.840.1.113883.6.8"/></value>'
    assert plain(read("PQ[Quantity]", fragment).value) == {"value": "5", **ucum_unit("mg")}
    assert plain(read("PQ[value]", fragment).value) == {"valueQuantity": {"value": "5", **ucum_unit("mg")}}


@pytest.mark.parametrize(
    ("attributes", "unit"),
    [
        ('code="[lb_av]" displayName="pounds"', ucum_unit("[lb_av]", "pounds")),
        ('code="TBL" codeSystem="2.999.1"', {"unit": "TBL", "system": "urn:oid:2.999.1", "code": "TBL"}),
        ('unit="lbs"', ucum_unit("[lb_av]", "lbs")),
        ("", {}),
    ],
)
def test_a_translation_has_a_coded_unit(attributes: str, unit: dict[str, Any]) -> None:
    fragment = f'<value nullFlavor="UNK"><translation value="2" {attributes}/></value>'
    assert plain(read("PQ[Quantity]", fragment).value) == {"value": "2", **unit}


def test_the_value_in_another_unit_is_kept_beside() -> None:
    found = read("PQ[Quantity]", '<value value="1" unit="kg"><translation value="2.2" code="[lb_av]"/></value>').value
    assert plain(found["extension"][0]["valueQuantity"]) == {"value": "2.2", **ucum_unit("[lb_av]")}


def test_words_for_a_unit_of_one_are_the_unit() -> None:
    fragment = '<q unit="1" value="350"><translation><originalText>stk.</originalText></translation></q>'
    assert plain(read("PQ[Quantity]", fragment).value) == {"value": "350", **ucum_unit("1", "stk.")}


# Intervals, ratios ---------------------------------------------------------------------------------------------------

LOW, HIGH = '<low value="1" unit="mg"/>', '<high value="2" unit="mg"/>'
ONE, TWO = {"value": "1", **ucum_unit("mg")}, {"value": "2", **ucum_unit("mg")}


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        (LOW + HIGH, {"valueRange": {"low": ONE, "high": TWO}}),
        (HIGH + LOW, {"valueRange": {"low": ONE, "high": TWO}}),
        (LOW, {"valueQuantity": {**ONE, "comparator": ">="}}),
        (HIGH, {"valueQuantity": {**TWO, "comparator": "<="}}),
        ('<low value="1" unit="mg" inclusive="false"/>', {"valueQuantity": {**ONE, "comparator": ">"}}),
        ('<high value="2" unit="mg" inclusive="false"/>', {"valueQuantity": {**TWO, "comparator": "<"}}),
        (LOW + '<high nullFlavor="PINF"/>', {"valueQuantity": {**ONE, "comparator": ">="}}),
        ('<low nullFlavor="NINF"/>' + HIGH, {"valueQuantity": {**TWO, "comparator": "<="}}),
        ('<low nullFlavor="NINF" value="1"/>' + HIGH, {"valueQuantity": {**TWO, "comparator": "<="}}),
        (LOW + '<high nullFlavor="NA"/>', {"valueQuantity": {**ONE, "comparator": ">="}}),
        (LOW + '<high value="1" unit="mg"/>', {"valueQuantity": ONE}),
        ('<center value="1" unit="mg"/>', {"valueQuantity": ONE}),
        (LOW + '<width value="1" unit="mg"/>', {"valueRange": {"low": ONE, "high": TWO}}),
        (HIGH + '<width value="1" unit="mg"/>', {"valueRange": {"low": ONE, "high": TWO}}),
        (
            '<center value="1.5" unit="mg"/><width value="1" unit="mg"/>',
            {"valueRange": {"low": {**ONE, "value": "1.0"}, "high": {**TWO, "value": "2.0"}}},
        ),
        ('<low nullFlavor="NINF"/><high nullFlavor="PINF"/>', None),
        ("<low/><high/>", None),
    ],
)
def test_both_ends_are_a_range_and_one_is_a_comparator(inside: str, expected: Any) -> None:
    found = read("IVL_PQ[value]", f'<value xsi:type="IVL_PQ">{inside}</value>')
    assert plain(found.value) == expected
    assert found.codes == []


def test_ends_win_over_a_value_beside_them() -> None:
    found = read("IVL_PQ[value]", f'<value value="9" unit="mg">{LOW}{HIGH}</value>')
    assert plain(found.value) == {"valueRange": {"low": ONE, "high": TWO}}


def test_an_excluded_end_of_a_range_is_told() -> None:
    found = read("IVL_PQ[value]", f'<value>{LOW}<high value="2" unit="mg" inclusive="false"/></value>')
    assert found.codes == ["extra-value"]


@pytest.mark.parametrize("width", ['<width value="1" unit="g"/>', '<width value="1"/>'])
def test_a_width_that_computes_no_end_is_told(width: str) -> None:
    found = read("IVL_PQ[value]", f"<value>{LOW}{width}</value>")
    assert plain(found.value) == {"valueQuantity": {**ONE, "comparator": ">="}}
    assert found.codes == ["extra-value"]


def test_a_low_above_the_high_is_no_range() -> None:
    found = read("IVL_PQ[value]", '<value><low value="3"/><high value="2"/></value>')
    assert found.value is None
    assert found.codes == ["contradiction"]


@pytest.mark.parametrize(
    ("name", "fragment", "expected"),
    [
        ("IVL_PQ[dose]", '<d value="1" unit="mg"/>', {"doseQuantity": ONE}),
        ("PQ[dose]", f"<d>{LOW}{HIGH}</d>", {"doseRange": {"low": ONE, "high": TWO}}),
        ("IVL_PQ[dose]", f"<d>{LOW}</d>", {"doseRange": {"low": ONE}}),
        ("IVL_PQ[dose]", f"<d>{HIGH}</d>", {"doseRange": {"high": TWO}}),
        ("IVL_PQ[rate]", f"<d>{HIGH}</d>", {"rateRange": {"high": TWO}}),
        ("IVL_PQ[dose]", "<d/>", None),
        ("IVL_PQ[Range]", f"<d>{LOW}</d>", {"low": ONE}),
        ("IVL_PQ[Range]", '<d value="1"/>', None),
    ],
)
def test_a_dose_has_no_comparator(name: str, fragment: str, expected: Any) -> None:
    found = read(name, fragment)
    assert plain(found.value) == expected
    assert found.codes == []


RATIO = '<numerator value="1" unit="mg"/><denominator value="2" unit="mg"/>'


def test_a_ratio_has_two_ends() -> None:
    both = {"numerator": ONE, "denominator": TWO}
    assert plain(read("RTO[Ratio]", f"<v>{RATIO}</v>").value) == both
    assert plain(read("RTO[value]", f"<v>{RATIO}</v>").value) == {"valueRatio": both}
    assert plain(read("RTO[rate]", f"<v>{RATIO}</v>").value) == {"rateRatio": both}
    assert read("PQ[dose]", f"<v>{RATIO}</v>").codes == ["bad-value"]
    titre = '<v><numerator xsi:type="INT" value="1"/><denominator xsi:type="INT" value="128"/></v>'
    assert plain(read("RTO[Ratio]", titre).value) == {"numerator": {"value": "1"}, "denominator": {"value": "128"}}


@pytest.mark.parametrize("inside", ['<numerator value="1"/>', '<denominator value="1"/><numerator nullFlavor="UNK"/>'])
def test_half_a_ratio_is_none_and_told(inside: str) -> None:
    found = read("RTO[Ratio]", f"<v>{inside}</v>")
    assert found.value is None
    assert found.codes == ["bad-value"]


def test_a_quantity_cannot_hold_a_range_and_says_so() -> None:
    found = read("IVL_PQ[Quantity]", f"<v>{LOW}{HIGH}</v>")
    assert found.value is None
    assert found.codes == ["bad-value"]


# Whole numbers, ages, money ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "written", "expected"),
    [
        ("INT[integer]", "-5", -5), ("INT[integer]", "5.0", 5), ("INT[integer]", "2147483647", 2_147_483_647),
        ("INT[integer]", "2147483648", None), ("INT[integer]", "5.5", None), ("INT[unsignedInt]", "0", 0),
        ("INT[unsignedInt]", "-1", None), ("INT[positiveInt]", "1", 1), ("INT[positiveInt]", "0", None),
        ("INT[minus-one]", "1", 0), ("INT[minus-one]", "3", 2), ("INT[minus-one]", "0", 0),
        ("INT[minus-one]", "-1", None), ("INT[string]", "3", "3"),
    ],
)  # fmt: skip
def test_whole_numbers_stay_within_their_type(name: str, written: str, expected: Any) -> None:
    found = read(name, f'<value value="{written}"/>')
    assert found.value == expected
    assert found.codes == ([] if expected is not None else ["not-a-number"])
    assert on(name, written, context()).value == expected


def test_an_interval_of_whole_numbers_counts_its_high_end() -> None:
    assert read("IVL_INT[minus-one]", '<r><low value="1"/><high value="4"/></r>').value == 3
    assert read("IVL_INT[positiveInt]", '<r><low value="2"/><high nullFlavor="NI"/></r>').value == 2
    assert read("IVL_INT[positiveInt]", "<r><low/></r>").value is None


@pytest.mark.parametrize(
    ("fragment", "expected", "issues"),
    [
        ('<v value="57" unit="a"/>', {"value": "57", **ucum_unit("a")}, []),
        ('<v value="57" unit="years"/>', {"value": "57", **ucum_unit("a", "years")}, []),
        ('<v value="57"/>', None, ["bad-value"]),
        ('<v value="57" unit="kg"/>', None, ["bad-value"]),
        ('<v value="-1" unit="a"/>', None, ["bad-value"]),
        ("<v/>", None, []),
    ],
)
def test_an_age_is_a_length_of_time(fragment: str, expected: Any, issues: list[str]) -> None:
    found = read("PQ[Age]", fragment)
    assert plain(found.value) == expected
    assert found.codes == issues


@pytest.mark.parametrize(
    ("attributes", "expected", "issues"),
    [
        ('value="12.50" currency="EUR"', {"value": "12.50", "currency": "EUR"}, []),
        ('value="12.50" currency="eur"', {"value": "12.50", "currency": "EUR"}, []),
        ('value="12.50" currency="shells"', {"value": "12.50"}, ["bad-value"]),
        ('value="12.50"', {"value": "12.50"}, []),
        ('currency="EUR"', None, []),
    ],
)
def test_money_has_a_known_currency(attributes: str, expected: Any, issues: list[str]) -> None:
    found = read("MO[Money]", f"<v {attributes}/>")
    assert plain(found.value) == expected
    assert found.codes == issues


@pytest.mark.parametrize("name", ["PQ[Quantity]", "INT[integer]", "REAL[decimal]", "MO[Money]", "PQ[Age]"])
def test_attributes_alone_are_numbers_without_a_unit(name: str) -> None:
    assert on(name, " ", context()).value is None
    assert on(name, "", context()).value is None
    assert on(name, "x", context()).codes == ["not-a-number"]
