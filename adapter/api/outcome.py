"""Errors as OperationOutcome: the one place where our error tree becomes FHIR.

Each issue has the FHIR issue type, our stable code (`urn:chartbridge:issue`), one sentence without health data and,
where it has a place, its FHIRPath. The same error gives the same bytes: what is hidden must answer exactly like what
is absent.

Source: FHIR R4 OperationOutcome; fhir chapter §13.
"""

from functools import lru_cache
from typing import Any

from fhir.resources.R4B.operationoutcome import OperationOutcome

from adapter.errors import (
    BadRequest,
    ChartbridgeError,
    IssueItem,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    TooLarge,
    Unavailable,
    Unprocessable,
    UnsupportedMedia,
)
from mappings.errors import MappingError
from mappings.fhir.codec import BytesError, Fault, decode, encode
from mappings.fhir.search import SearchError

ISSUE_SYSTEM = "urn:chartbridge:issue"
MAX_ISSUES = 100

# what the web framework says on its own, as errors of ours
FRAMEWORK: dict[int, type[ChartbridgeError]] = {
    400: BadRequest,
    404: NotFound,
    405: MethodNotAllowed,
    406: NotAcceptable,
    413: TooLarge,
    415: UnsupportedMedia,
    422: Unprocessable,
    503: Unavailable,
}
FRAMEWORK_TEXT = {
    404: "there is nothing at this address",
    405: "this address does not know the method",
}


@lru_cache(maxsize=256)
def outcome(items: tuple[IssueItem, ...], code: str) -> bytes:
    """The canonical bytes of an OperationOutcome."""
    issues = [_issue(item, code) for item in items[:MAX_ISSUES]]
    built = OperationOutcome.model_validate({"resourceType": "OperationOutcome", "issue": issues})
    return encode(decode(built.model_dump_json(exclude_none=True).encode()))


def _issue(item: IssueItem, code: str) -> dict[str, Any]:
    issue: dict[str, Any] = {
        "severity": item.severity,
        "code": item.issue,
        "details": {"coding": [{"system": ISSUE_SYSTEM, "code": code}]},
        "diagnostics": item.text,
    }
    return issue | ({"expression": [item.expression]} if item.expression else {})


def of_error(error: ChartbridgeError) -> bytes:
    """The body that answers this error."""
    items = error.items or (IssueItem(error.issue, error.expression, error.text),)
    return outcome(items, error.code)


def from_faults(faults: tuple[Fault, ...], kind: type[ChartbridgeError], text: str) -> ChartbridgeError:
    """Validation faults as one error that lists them all."""
    return kind(text, items=tuple(IssueItem(f.code, f.expression, f.text, f.severity) for f in faults))


def from_mapping(error: MappingError) -> ChartbridgeError:
    """An error of the pure core as an error of ours; its text names places, never values."""
    if isinstance(error, BytesError):
        return from_faults(error.faults, BadRequest, "the body cannot be read")
    if isinstance(error, SearchError):
        return BadRequest(str(error), issue=error.code, code="search")
    return FRAMEWORK.get(error.status_hint, BadRequest)(str(error))


def from_status(status: int) -> ChartbridgeError:
    """What the framework refuses by itself (no route, wrong method, unreadable request)."""
    kind = FRAMEWORK.get(status, BadRequest if status < 500 else ChartbridgeError)
    return kind(FRAMEWORK_TEXT.get(status, "the request cannot be served" if status < 500 else "internal error"))
