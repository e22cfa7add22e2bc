"""ANY: the value of an observation, whose type it names itself. HL7 v3 datatypes R1; FHIR R4 Observation.value[x]."""

import base64
from typing import Any

import pytest

from mappings.cda.datatypes import any_value
from mappings.fhir.values import UCUM
from tests.mappings.cda.contexts import NULL_FLAVORS, collecting, context, element, on, read
from tests.mappings.cda.datatypes.test_quantities import plain

MG = {"unit": "mg", "system": UCUM, "code": "mg"}
CODE = 'code="1" codeSystem="2.16.840.1.113883.6.1" displayName="One"'
CONCEPT = {"valueCodeableConcept": {"coding": [{"system": "http://loinc.org", "code": "1", "display": "One"}]}}
RANGE = '<low value="1" unit="mg"/><high value="2" unit="mg"/>'
A_RANGE = {"valueRange": {"low": {"value": "1", **MG}, "high": {"value": "2", **MG}}}
RATIO = '<numerator value="1"/><denominator value="128"/>'
A_RATIO = {"valueRatio": {"numerator": {"value": "1"}, "denominator": {"value": "128"}}}
PERIOD = '<low value="20240101"/><high value="20240201"/>'
A_PERIOD = {"valuePeriod": {"start": "2024-01-01", "end": "2024-02-01"}}

CASES = [
    ("CD", CODE, "", CONCEPT), ("CE", CODE, "", CONCEPT), ("CV", CODE, "", CONCEPT), ("CO", CODE, "", CONCEPT),
    ("CS", CODE, "", CONCEPT), ("CR", CODE, "", CONCEPT),
    ("PQ", 'value="1.030" unit="mg"', "", {"valueQuantity": {"value": "1.030", **MG}}),
    ("PQ", 'nullFlavor="OTH"', '<translation value="5" code="mg"/>', {"valueQuantity": {"value": "5", **MG}}),
    ("IVL_PQ", "", RANGE, A_RANGE),
    ("IVL_PQ", "", '<low value="1" unit="mg"/>', {"valueQuantity": {"value": "1", **MG, "comparator": ">="}}),
    ("IVL_PQ", "", '<low nullFlavor="NINF"/><high value="2"/>', {"valueQuantity": {"value": "2", "comparator": "<="}}),
    ("RTO", "", RATIO, A_RATIO), ("RTO_PQ_PQ", "", RATIO, A_RATIO),
    ("INT", 'value="5"', "", {"valueInteger": "5"}),
    ("INT", 'value="99999999999"', "", {"valueQuantity": {"value": "99999999999"}}),
    ("IVL_INT", "", '<low value="1"/><high value="2"/>',
     {"valueRange": {"low": {"value": "1"}, "high": {"value": "2"}}}),
    ("REAL", 'value="1.50"', "", {"valueQuantity": {"value": "1.50"}}),
    ("ST", "", "one\n  two", {"valueString": "one\ntwo"}),
    ("SC", 'code="1"', "words", {"valueString": "words"}),
    ("SC", CODE, "", CONCEPT),
    ("II", 'root="2.999.1" extension="007"', "", {"valueString": "007"}),
    ("BL", 'value="true"', "", {"valueBoolean": True}), ("BL", 'value="false"', "", {"valueBoolean": False}),
    ("TS", 'value="20240101"', "", {"valueDateTime": "2024-01-01"}),
    ("IVL_TS", "", PERIOD, A_PERIOD),
    ("ED", "", "some words", {"valueString": "some words"}),
    ("ED", 'mediaType="text/plain"', "some words", {"valueString": "some words"}),
]  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "v3:", "epsos:", "ns1:"])
@pytest.mark.parametrize(("kind", "attributes", "inside", "expected"), CASES)
def test_every_type_by_its_local_name(kind: str, attributes: str, inside: str, expected: Any, prefix: str) -> None:
    found = read("ANY[value]", f'<value xsi:type="{prefix}{kind}" {attributes}>{inside}</value>')
    assert plain(found.value) == expected
    assert found.codes == []


@pytest.mark.parametrize(
    ("fragment", "expected"),
    [
        (f"<value {CODE}/>", CONCEPT),
        (
            '<value nullFlavor="OTH"><originalText>words</originalText></value>',
            {"valueCodeableConcept": {"text": "words"}},
        ),
        ('<value value="5" unit="mg"/>', {"valueQuantity": {"value": "5", **MG}}),
        ('<value value="5"/>', {"valueQuantity": {"value": "5"}}),
        ('<value value="positive"/>', {"valueString": "positive"}),
        ('<value value="true"/>', {"valueBoolean": True}),
        ('<value value="20240101"/>', {"valueDateTime": "2024-01-01"}),
        (f"<value>{RANGE}</value>", A_RANGE),
        (f"<value>{PERIOD}</value>", A_PERIOD),
        (f"<value>{RATIO}</value>", A_RATIO),
        ('<value root="2.999.1" extension="7"/>', {"valueString": "7"}),
        ("<value>words</value>", {"valueString": "words"}),
    ],
)
def test_without_a_type_the_shape_decides(fragment: str, expected: Any) -> None:
    assert plain(read("ANY[value]", fragment).value) == expected


@pytest.mark.parametrize("inside", ["", " \n "])
def test_an_empty_value_is_none(inside: str) -> None:
    found = read("ANY[value]", f"<value>{inside}</value>")
    assert found.value is None
    assert found.codes == []


@pytest.mark.parametrize("kind", ["", *dict.fromkeys(case[0] for case in CASES)])
@pytest.mark.parametrize("flavor", NULL_FLAVORS)
def test_a_null_value_is_no_value_for_the_row_tells_why(kind: str, flavor: str) -> None:
    typed = f'xsi:type="{kind}"' if kind else ""
    found = read("ANY[value]", f'<value {typed} nullFlavor="{flavor}"/>')
    if found.value is not None:  # a time says itself why it is unknown
        assert kind in ("TS", "IVL_TS")
        assert found.value.keys() == {"_valueDateTime"}


@pytest.mark.parametrize(
    ("kind", "attributes", "words"),
    [
        ("PQ", 'value="positive"', "positive"), ("PQ", 'value="1:128" unit="titre"', "1:128 titre"),
        ("INT", 'value="5.5.5"', "5.5.5"), ("REAL", 'value="n/a"', "n/a"), ("BL", 'value="maybe"', "maybe"),
        ("MO", 'value="5" currency="EUR"', "5 EUR"), ("GLIST_PQ", 'value="1 2 3"', "1 2 3"),
        ("Nonsense", CODE, "One"),
    ],
)  # fmt: skip
def test_what_a_type_cannot_hold_is_text_and_told(kind: str, attributes: str, words: str) -> None:
    found = read("ANY[value]", f'<value xsi:type="{kind}" {attributes}/>')
    assert found.value == {"valueString": words}
    assert found.codes


def test_text_in_a_number_s_place_is_kept() -> None:
    assert read("ANY[value]", '<value xsi:type="PQ">trace</value>').value == {"valueString": "trace"}


def test_data_is_an_attachment_for_the_caller_to_place() -> None:
    data = base64.b64encode(b"%PDF-1.7").decode()
    ctx = context(f'<value xsi:type="ED" mediaType="application/pdf" representation="B64">{data}</value>')
    collecting(ctx)
    found = on("ANY[value]", element(ctx), ctx).value
    assert found == {"valueAttachment": {"contentType": "application/pdf", "data": data, "size": 8}}


def test_a_pointer_elsewhere_is_an_attachment_and_one_to_the_narrative_is_text() -> None:
    found = read("ANY[value]", '<value xsi:type="ED"><reference value="https://example.org/x"/></value>')
    assert found.value == {"valueAttachment": {"url": "https://example.org/x"}}
    fragment = '<value xsi:type="ED"><reference value="#t"/></value>'
    found = read("ANY[value]", fragment, narrative='<content ID="t">words</content>')
    assert found.value == {"valueString": "words"}


@pytest.mark.parametrize(
    ("fragment", "words"),
    [
        ('<value xsi:type="PQ" value="1.50" unit="mg"/>', "1.50 mg"),
        (f'<value xsi:type="IVL_PQ">{RANGE}</value>', "1 mg - 2 mg"),
        ('<value xsi:type="IVL_PQ"><low value="1" unit="mg"/></value>', ">= 1 mg"),
        (f'<value xsi:type="RTO">{RATIO}</value>', "1 / 128"),
        (f'<value xsi:type="CD" {CODE}/>', "One"),
        ('<value xsi:type="BL" value="true"/>', "true"),
        ('<value xsi:type="INT" value="5"/>', "5"),
        ('<value xsi:type="ST">words</value>', "words"),
        ('<value xsi:type="TS" value="2024"/>', "2024"),
        ("<value/>", None),
    ],
)
def test_any_value_can_be_read_by_a_person(fragment: str, words: str | None) -> None:
    assert read("ANY[string]", fragment).value == words


def test_an_attribute_is_text() -> None:
    assert on("ANY[value]", " words ", context()).value == {"valueString": "words"}
    assert on("ANY[value]", " ", context()).value is None
    assert any_value.shown({"valuePeriod": {}}) is None
