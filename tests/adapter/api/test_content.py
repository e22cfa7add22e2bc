"""Content negotiation. FHIR R4 §3.1.0.1.11, RFC 9110 §12.4.2, §12.5; fhir chapter §12."""

import pytest

from adapter.api.content import Form, body_form, negotiate, takes_gzip
from adapter.errors import NotAcceptable, UnsupportedMedia

JSON = [
    None,
    "",
    "*/*",
    "application/*",
    "application/fhir+json",
    "application/json",
    "text/json",
    "application/json+fhir",
    "application/fhir+json; fhirVersion=4.0",
    "application/fhir+json;charset=UTF-8",
    "application/fhir+json, application/fhir+xml",
    "application/fhir+xml;q=0.5, application/fhir+json",
    "application/fhir+xml;q=0, */*",
    "application/fhir+xml; fhirVersion=3.0, */*;q=0.1",
    "text/html, */*;q=0.1",
    "APPLICATION/FHIR+JSON",
    "application/xml;q=0.3, application/json;q=0.31",
]
XML = [
    "application/fhir+xml",
    "application/xml",
    "text/xml",
    "application/xml+fhir",
    'application/fhir+xml; fhirVersion="4.0"; charset=utf-8',
    "application/fhir+xml, application/fhir+json;q=0.5",
    "application/fhir+xml, application/fhir+json",
    "application/fhir+xml, */*",
    "*/*, application/fhir+xml",
    "application/fhir+json;q=0, */*;q=0.1",
    "application/fhir+json;q=0.2, text/xml;q=0.9, application/json;q=0.8",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
]
OTHER = [
    "text/html",
    "application/fhir+json; fhirVersion=3.0",
    "application/fhir+xml; fhirVersion=5.0",
    "application/fhir+json; charset=latin-1",
    "application/fhir+json;q=0",
    "application/fhir+json;q=0, application/fhir+xml;q=0.000, */*",
    "application/fhir+json;q=nan",
    "*/*;q=0.0",
    "x" * 5000,
    ",",
]


@pytest.mark.parametrize("accept", JSON, ids=repr)
def test_json_is_served_under_all_its_names_and_where_it_is_liked_best(accept: str | None) -> None:
    assert negotiate(accept, None) is Form.JSON


@pytest.mark.parametrize("accept", XML, ids=repr)
def test_xml_is_served_under_all_its_names_and_where_it_is_liked_best(accept: str | None) -> None:
    assert negotiate(accept, None) is Form.XML


@pytest.mark.parametrize("accept", OTHER, ids=lambda text: text[:40])
def test_anything_else_is_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        negotiate(accept, None)


@pytest.mark.parametrize(
    ("asked", "form"),
    [
        ("json", Form.JSON),
        ("application/fhir json", Form.JSON),  # the + arrives as a blank
        ("xml", Form.XML),
        ("text/xml", Form.XML),
        ("application/fhir+xml;fhirVersion=4.0", Form.XML),
    ],
)
def test_the_format_parameter_beats_the_header(asked: str, form: Form) -> None:
    for accept in ("application/fhir+xml", "application/fhir+json", "text/html", None):
        assert negotiate(accept, asked) is form


@pytest.mark.parametrize("asked", ["html", "", "*/*", "application/fhir+json; fhirVersion=3.0"])
def test_a_format_that_is_none_of_ours_is_not_acceptable_whatever_the_header_says(asked: str) -> None:
    with pytest.raises(NotAcceptable):
        negotiate("application/fhir+json", asked)


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "json;charset=latin-1", "*/*", "application/fhir+xml; fhirVersion=3.0", "text/xml" * 999],
)
def test_a_body_that_is_neither_is_refused(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMedia):
        body_form(content_type)


def test_a_body_may_come_under_any_name_of_json_or_xml() -> None:
    for content_type in ("application/fhir+json; charset=utf-8", "application/json", "text/json"):
        assert body_form(content_type) is Form.JSON
    for content_type in ("application/fhir+xml; charset=utf-8", "application/xml", "text/xml"):
        assert body_form(content_type) is Form.XML


@pytest.mark.parametrize("header", ["gzip", "x-gzip", "*", "br, gzip;q=0.5", "GZIP;q=1.0", "identity;q=0.5, gzip"])
def test_gzip_is_given_to_those_who_take_it(header: str) -> None:
    assert takes_gzip(header)


@pytest.mark.parametrize(
    "header", [None, "", "br", "gzip;q=0", "gzip;q=0, *", "*;q=0", "identity", "identity, gzip;q=0.5", "gzip" * 999]
)
def test_and_to_no_others(header: str | None) -> None:
    assert not takes_gzip(header)
