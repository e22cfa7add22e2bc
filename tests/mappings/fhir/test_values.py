"""The builders of FHIR datatypes: absent stays absent (http://hl7.org/fhir/R4/datatypes.html)."""

from typing import Any

import pytest

from mappings.fhir import values


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (values.present(a=1, b=None, c=[], d={}, e=False, type_="x"), {"a": 1, "e": False, "type": "x"}),
        (values.present(a=None), None),
        (values.coding("s", "c", "d", "v"), {"system": "s", "version": "v", "code": "c", "display": "d"}),
        (values.coding(None, None), None),
        (values.concept([], "t"), {"text": "t"}),
        (values.concept([]), None),
        (values.identifier("1", "s"), {"system": "s", "value": "1"}),
        (values.identifier(None, "s", type_={"text": "x"}), None),
        (values.identifier("1", assigner="A", use="old"), {"use": "old", "value": "1", "assigner": {"display": "A"}}),
        (values.quantity(5, unit="mg", comparator="<"), {"value": 5, "comparator": "<", "unit": "mg"}),
        (values.quantity(None, unit="mg"), None),
        (values.range_({"value": 1}, None), {"low": {"value": 1}}),
        (values.range_(None, None), None),
        (values.ratio({"value": 1}, {"value": 2}), {"numerator": {"value": 1}, "denominator": {"value": 2}}),
        (values.ratio({"value": 1}, None), None),
        (values.period(("2024", []), None), {"start": "2024"}),
        (values.period(None, (None, [{"url": "u"}])), {"_end": {"extension": [{"url": "u"}]}}),
        (values.period(), None),
        (values.reference("Patient/1"), {"reference": "Patient/1"}),
        (values.reference(None, "Doe"), {"display": "Doe"}),
        (values.reference(None), None),
        (values.annotation("n", time="2024", author="A"), {"text": "n", "time": "2024", "authorString": "A"}),
        (values.annotation(None, time="2024"), None),
    ],
)
def test_a_builder_leaves_out_what_is_not_said(built: Any, expected: Any) -> None:
    assert built == expected


def test_a_primitive_and_its_sibling_are_set_together() -> None:
    target: dict[str, Any] = {}
    values.put(target, "start", "2024")
    values.put(target, "end", None, values.lexeme("soon"))
    values.put(target, "end", None, values.extension("urn:x", "String", "y"))
    assert target == {
        "start": "2024",
        "_end": {
            "extension": [{"url": values.SOURCE_LEXEME, "valueString": "soon"}, {"url": "urn:x", "valueString": "y"}]
        },
    }


def test_an_absent_reason_is_a_sibling() -> None:
    assert values.absent("unknown") == {"extension": [{"url": values.DATA_ABSENT_REASON, "valueCode": "unknown"}]}
