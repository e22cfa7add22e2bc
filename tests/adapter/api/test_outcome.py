"""Errors as OperationOutcome. FHIR R4 OperationOutcome; fhir chapter §13."""

import inspect

import pytest
from fhir.resources.R4B.operationoutcome import OperationOutcome

from adapter import errors
from adapter.api import outcome
from adapter.api.call import refusal
from adapter.errors import BadRequest, ChartbridgeError, IssueItem, NotFound, Throttled, Unauthorised, Unprocessable
from mappings.fhir.codec import BytesError, Fault, check_bytes, decode, encode
from mappings.fhir.search import SearchError, parse
from mappings.fhir.validate import validate

FAMILIES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ChartbridgeError) and kind.status_hint != 500
]


@pytest.mark.parametrize("kind", FAMILIES, ids=lambda kind: kind.__name__)
def test_every_error_of_ours_is_a_valid_outcome(kind: type[ChartbridgeError]) -> None:
    body = outcome.of_error(kind("something is wrong"))
    assert validate(decode(body)) == ()
    assert encode(decode(body)) == body
    OperationOutcome.model_validate_json(body)


def test_the_same_error_is_the_same_bytes() -> None:
    assert outcome.of_error(NotFound("gone")) == outcome.of_error(NotFound("gone"))


def test_all_faults_stand_in_one_answer_each_at_its_place() -> None:
    items = (IssueItem("required", "Consent.status", "missing"), IssueItem("value", "Consent.id", "no id"))
    resource = decode(outcome.of_error(Unprocessable("two faults", items=items)))
    assert [issue["expression"] for issue in resource["issue"]] == [["Consent.status"], ["Consent.id"]]


def test_a_fault_of_the_bytes_is_a_400_with_its_place() -> None:
    with pytest.raises(BytesError) as raised:
        check_bytes(b'{"resourceType":"Patient","id":"a","id":"b"}')
    error = outcome.from_mapping(raised.value)
    assert error.status_hint == 400
    assert error.items


def test_an_unsupported_search_keeps_its_issue_type() -> None:
    with pytest.raises(SearchError) as raised:
        parse("Patient", [("shoe-size", "43")])
    error = outcome.from_mapping(raised.value)
    assert (error.status_hint, error.issue, error.code) == (400, "not-supported", "search")
    assert "43" not in error.text


def test_faults_become_issues_with_severity_and_code() -> None:
    error = outcome.from_faults((Fault("error", "required", "Patient.id", "missing"),), BadRequest, "bad")
    assert error.items == (IssueItem("required", "Patient.id", "missing", "error"),)


@pytest.mark.parametrize(
    ("error", "header"),
    [
        (Unauthorised("no token", code="token-missing"), (b"www-authenticate", b"Bearer")),
        (Unauthorised("bad", code="token-invalid"), (b"www-authenticate", b'Bearer error="invalid_token"')),
        (Throttled("slow down"), (b"retry-after", b"60")),
        (errors.Unavailable("no log"), (b"retry-after", b"1")),
    ],
    ids=["missing", "invalid", "throttled", "unavailable"],
)
def test_a_refusal_says_what_to_do_next(error: ChartbridgeError, header: tuple[bytes, bytes]) -> None:
    assert header in refusal(error).headers


def test_an_unknown_status_of_the_framework_tells_nothing() -> None:
    assert outcome.from_status(500).text == "internal error"
    assert outcome.from_status(418).status_hint == 400
