"""Content negotiation. FHIR R4 §3.1.0.1.11, RFC 9110 §12.5.1; fhir chapter §12."""

import pytest

from adapter.api.content import check_json_body, negotiate
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
    "application/fhir+xml, application/fhir+json;q=0.5",
    "text/html, */*;q=0.1",
    "APPLICATION/FHIR+JSON",
]
OTHER = [
    "application/fhir+xml",
    "text/html",
    "application/fhir+json; fhirVersion=3.0",
    "application/fhir+json; charset=latin-1",
    "application/fhir+json;q=0",
    "*/*;q=0.0",
    "x" * 5000,
    ",",
]


@pytest.mark.parametrize("accept", JSON, ids=repr)
def test_json_is_served_under_all_its_names(accept: str | None) -> None:
    negotiate(accept, None)


@pytest.mark.parametrize("accept", OTHER, ids=lambda text: text[:40])
def test_anything_else_is_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        negotiate(accept, None)


def test_the_format_parameter_beats_the_header() -> None:
    negotiate("application/fhir+xml", "json")
    negotiate("application/fhir+xml", "application/fhir json")  # the + arrives as a blank
    for asked in ("xml", "application/fhir+xml", "html", ""):
        with pytest.raises(NotAcceptable):
            negotiate("application/fhir+json", asked)


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/fhir+xml", "json;charset=latin-1", "*/*"]
)
def test_a_body_that_is_not_json_is_refused(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMedia):
        check_json_body(content_type)


def test_a_body_may_come_under_any_name_of_json() -> None:
    for content_type in ("application/fhir+json; charset=utf-8", "application/json", "text/json"):
        check_json_body(content_type)
