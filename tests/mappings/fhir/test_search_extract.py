"""What can be found in a resource. Covers FHIR R4 search.html §3.1.1.4 (what each search type reads of which datatype).

The extractor walks one tree for all parameters of a type; the second opinion here evaluates each expression by itself.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest

from mappings.fhir import fhirpath
from mappings.fhir.codec import Json
from mappings.fhir.fhirpath import Env
from mappings.fhir.fhirpath_syntax import parse
from mappings.fhir.schema import schema
from mappings.fhir.search import (
    CompositeValue,
    DateValue,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
    Value,
    codes,
    extract,
)
from mappings.fhir.search_plan import NoPath, path_of
from mappings.fhir.search_values import BOOLEANS, CURRENCIES, converter
from tests.mappings.fhir.samples import RESOURCES

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
CREATININE = (
    TokenValue(LOINC, "2160-0", "Creatinine"),
    TokenValue("urn:test:local", "Krea"),
    TokenValue(None, None, "Kreatinin i. S."),
)
STATUS = TokenValue("http://hl7.org/fhir/observation-status", "final", None, True)
MILLIGRAMS = QuantityValue(Decimal("1.50"), Decimal("1.50"), "mg/dL", UCUM, "mg/dL")


@pytest.mark.parametrize(
    ("name", "code", "wanted"),
    [
        ("observation", "_id", (TokenValue(None, "crea"),)),
        ("observation", "_tag", (TokenValue("urn:test:tags", "night"),)),
        ("observation", "_security", (TokenValue("http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "R"),)),
        ("observation", "_profile", (UriValue("http://example.org/lab|2"),)),
        ("observation", "_source", (UriValue("urn:test:lab"),)),
        ("observation", "_lastUpdated", (DateValue("2025-03-04T09:15:02.417Z", "2025-03-04T09:15:02.417Z"),)),
        ("observation", "code", CREATININE),
        ("observation", "combo-code", CREATININE),
        ("observation", "status", (STATUS,)),
        ("observation", "identifier", (
            TokenValue("urn:test:orders", "4711a", "Filler number", False,
                       (("http://terminology.hl7.org/CodeSystem/v2-0203", "FILL"),)),)),
        ("observation", "subject", (ReferenceValue("Patient", "anna"),)),
        ("observation", "patient", (ReferenceValue("Patient", "anna"),)),
        ("observation", "encounter", (ReferenceValue("Encounter", "e1"),)),
        ("observation", "performer", (
            ReferenceValue("Organization", None, "http://other.example/fhir/Organization/lab"),
            ReferenceValue(None, identifier=TokenValue("urn:test:staff", "77")))),
        ("observation", "date", (DateValue("2025-03-04T08:00:00+01:00", "2025-03-04T08:00:00+01:00"),)),
        ("observation", "value-quantity", (MILLIGRAMS,)),
        ("observation", "code-value-quantity", (CompositeValue((CREATININE, (MILLIGRAMS,))),)),
        ("panel", "date", (DateValue("2025-03-01", None),)),
        ("panel", "patient", (ReferenceValue(None, None, "#p"),)),
        ("panel", "component-value-quantity", (
            QuantityValue(Decimal(120), Decimal(120), "mmHg", UCUM, "mm[Hg]"),
            QuantityValue(None, Decimal(80), "mmHg", None, None, below=True),
            QuantityValue(Decimal("0.0"), Decimal("3.0"), "mV", None, None))),
        ("panel", "component-value-concept", (TokenValue("urn:test:cuffs", "L"),)),
        ("panel", "component-code-value-concept", (
            CompositeValue(((TokenValue(None, None, "cuff"),), (TokenValue("urn:test:cuffs", "L"),))),)),
        ("patient", "active", (TokenValue(BOOLEANS, "true", None, True),)),
        ("patient", "gender", (TokenValue("http://hl7.org/fhir/administrative-gender", "female", None, True),)),
        ("patient", "deceased", (TokenValue(BOOLEANS, "true", None, True),)),
        ("patient", "death-date", (DateValue("2024-12-24", "2024-12-24"),)),
        ("patient", "birthdate", (DateValue("1970-05", "1970-05"),)),
        ("patient", "phone", (TokenValue(None, "+49 30 1234"),)),
        ("patient", "email", (TokenValue(None, "a@example.org"),)),
        ("patient", "telecom", (TokenValue(None, "+49 30 1234"), TokenValue(None, "a@example.org"))),
        ("patient", "name", (StringValue("Müller-Lüdenscheidt"), StringValue("Anna"), StringValue("Zoë"),
                             StringValue("O'Brien"))),
        ("patient", "given", (StringValue("Anna"), StringValue("Zoë"))),
        ("patient", "address", (StringValue("Hauptstraße 1"), StringValue("2. Stock"), StringValue("Köln"),
                                StringValue("50667"), StringValue("DE"))),
        ("patient", "link", (ReferenceValue("Patient", "old"),)),
        ("questionnaire", "url", (UriValue("http://example.org/q/pain"),)),
        ("document", "composition", (ReferenceValue("Composition", "c"),)),
        ("document", "timestamp", (DateValue("2025-03-04T09:15:02Z", "2025-03-04T09:15:02Z"),)),
        ("medication-request", "code", (TokenValue("http://www.whocc.no/atc", "N02BE01"),)),
        ("medication-request", "subject", (ReferenceValue(None, identifier=TokenValue("urn:test:mrn", "00123")),)),
        ("medication-request", "date", (DateValue("2025-03-06", "2025-03-06"),
                                        DateValue("2025-03-05T08:00:00Z", "2025-03-05T08:00:00Z"))),
        ("service-request", "occurrence", (DateValue("2025-03-05", "2025-03-06"),)),
        ("risk", "probability", (NumberValue(Decimal("0.000168"), Decimal("0.000168")),
                                 NumberValue(Decimal("0.1"), Decimal("0.25")))),
        ("flag", "date", (DateValue(None, "2025-03"),)),
        ("charge", "price-override", (QuantityValue(Decimal("40.00"), Decimal("40.00"), "EUR", CURRENCIES, "EUR"),)),
        ("charge", "occurrence", (DateValue("2025-03-04", None),)),
    ],
)  # fmt: skip
def test_a_parameter_sees_these_values(name: str, code: str, wanted: tuple[Value, ...]) -> None:
    resource = RESOURCES[name]
    assert extract(resource["resourceType"], resource)[code] == wanted


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("observation", "component-code"),
        ("observation", "value-concept"),
        ("observation", "code-value-concept"),
        ("medication-request", "patient"),  # an identifier alone does not say that it is a patient's
        ("medication-request", "medication"),
        ("risk", "patient"),
        ("document", "message"),  # its first entry is no MessageHeader
        ("questionnaire", "effective"),
    ],
)
def test_a_parameter_without_a_value_is_not_there(name: str, code: str) -> None:
    resource = RESOURCES[name]
    assert code in schema().params(resource["resourceType"])
    assert code not in extract(resource["resourceType"], resource)


def plain(values: Iterable[Value]) -> set[Value]:
    """Values as a set, codes without the system that only their element's value set gives them."""
    return {
        TokenValue(None, value.code) if isinstance(value, TokenValue) and value.implied else value for value in values
    }


def naive(resource: Json, code: str) -> set[Value]:
    """One parameter by its whole expression, every item found converted by its own type alone."""
    param = schema().params(resource["resourceType"])[code]
    assert param.expression is not None
    found: list[Value] = []
    for node in fhirpath.compile(param.expression).nodes(resource, Env(resource)):
        convert = converter(param.type, node[0])
        in_bundle = node[0] in schema().resource_types
        if convert is not None and node[1] is not None and (not in_bundle or node[0] in param.targets):
            found += convert(node[1])
    return plain(found)


@pytest.mark.parametrize("name", RESOURCES)
def test_the_tree_finds_what_each_expression_finds_by_itself(name: str) -> None:
    resource = RESOURCES[name]
    type_ = resource["resourceType"]
    found = extract(type_, resource)
    for code, param in schema().params(type_).items():
        if param.expression is not None and param.type not in ("composite", "special"):
            assert plain(found.get(code, ())) == naive(resource, code), code


@pytest.mark.parametrize("name", RESOURCES)
def test_some_parameters_alone_give_what_they_give_among_all(name: str) -> None:
    resource = RESOURCES[name]
    type_ = resource["resourceType"]
    found = extract(type_, resource)
    tokens = codes(type_, frozenset({"token"}))
    assert extract(type_, resource, tokens) == {code: found[code] for code in found if code in tokens}
    for code, values in found.items():
        assert extract(type_, resource, frozenset({code})) == {code: values}


@pytest.mark.parametrize(
    ("kind", "type_", "element", "wanted"),
    [
        ("quantity", "Quantity", {"unit": "mg"}, ()),
        ("quantity", "Quantity", {"value": 5, "comparator": ">="},
         (QuantityValue(Decimal(5), None, None, None, None),)),
        ("quantity", "Quantity", {"value": 5, "comparator": ">"},
         (QuantityValue(Decimal(5), None, None, None, None, above=True),)),
        ("quantity", "Range", {"high": {"value": 5, "unit": "a", "code": "a", "system": UCUM}},
         (QuantityValue(None, Decimal(5), "a", UCUM, "a"),)),
        ("quantity", "Money", {"currency": "EUR"}, ()),
        ("quantity", "SampledData", {"origin": {"value": 1}, "data": "E U"}, ()),
        ("quantity", "SampledData", {"origin": {}, "data": "1"}, ()),
        ("date", "Timing", {"code": {"text": "daily"}}, ()),
        ("date", "Timing", {"event": [None]}, ()),
        ("date", "Period", {"id": "p"}, ()),
        ("reference", "Reference", {"reference": "Patient/a", "identifier": {"value": "1"}},
         (ReferenceValue("Patient", "a", None, None, TokenValue(None, "1")),)),
        ("reference", "canonical", "http://x.example/q|2", (ReferenceValue(None, None, "http://x.example/q", "2"),)),
        ("reference", "canonical", "Questionnaire/q", (ReferenceValue("Questionnaire", "q"),)),
        ("token", "Coding", {"display": "x"}, (TokenValue(None, None, "x"),)),
        ("string", "HumanName", {"use": "official"}, ()),
    ],
)  # fmt: skip
def test_a_datatype_becomes(kind: str, type_: str, element: Any, wanted: tuple[Value, ...]) -> None:
    convert = converter(kind, type_)
    assert convert is not None
    assert convert(element) == wanted


def test_a_datatype_that_a_search_type_does_not_read_has_no_converter() -> None:
    assert converter("quantity", "Ratio") is None
    assert converter("date", "string") is None


@pytest.mark.parametrize("expression", ["a.b[0]", "a.where(b.exists())", "a.first()", "%resource.a", "a.exists()"])
def test_more_than_a_path_is_left_to_fhirpath(expression: str) -> None:
    with pytest.raises(NoPath):
        path_of(parse(expression))


def test_every_type_of_r4_has_a_tree() -> None:
    for type_ in schema().resource_types:
        assert extract(type_, {"resourceType": type_, "id": "a"})["_id"] == (TokenValue(None, "a"),)


def test_a_display_alone_is_a_reference_that_points_to_nothing() -> None:
    resource = {"resourceType": "Observation", "subject": {"display": "somebody"}}
    assert extract("Observation", resource)["subject"] == (ReferenceValue(),)


def test_an_array_with_a_null_loses_only_the_null() -> None:
    resource = {"resourceType": "Patient", "name": [{"given": [None, "Anna"]}]}
    assert extract("Patient", resource)["given"] == (StringValue("Anna"),)
