"""What a sender of a CDA document hears, and where documents are read at receipt.

There is no acknowledgement message for documents: the answer is an OperationOutcome, over HTTP as in the `.ack` of a
file. Its id is ours of the answer (`CB` and the number of the message), as MSH-10 of an ACK has it. One `information`
says what became of the document so far; what was refused or waits for a person is an `error` with its code and place.
No word of the document enters it.

Documents are read in one thread of their own, one after the other: the tree of a large one takes up to twenty times its
bytes, and the thread that has read a stranger's XML keeps its names.
Source: FHIR R4 OperationOutcome, issue-type; hl7v2 chapter §11.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from adapter.inbound.ack import TAKEN, WAITS
from adapter.inbound.feed import Feed
from mappings.fhir.codec import encode
from mappings.hl7v2.errors import UnreadableMessage
from mappings.issues import CODES

MEDIA_TYPE = "application/fhir+json"
# of CDA: as it is registered, as FHIR names it, and as everybody sends it
TAKEN_TYPES = frozenset({"application/cda+xml", "application/hl7-cda+xml", "application/xml", "text/xml"})
ISSUE_SYSTEM = "urn:chartbridge:issue"
READERS = ThreadPoolExecutor(max_workers=1, thread_name_prefix="documents")

# FHIR's issue-type of what is refused or not kept
_TYPES = {
    "doctype-refused": "security",
    "not-xml": "structure",
    "not-a-document": "not-supported",
    "over-limit": "too-long",
    "journal-unavailable": "transient",
}


@dataclass(frozen=True, slots=True)
class Read:
    """What receipt needs of a document: its number (root, extension), keyed ids of its patients, lanes."""

    id: tuple[str, str] = field(repr=False)
    patients: tuple[bytes, ...] = field(repr=False)
    lanes: tuple[int, ...]


UNKNOWN = Read(("", ""), (), ())
# UnreadableMessage where the bytes are no document; any other MappingError is its conversion's to tell
ReadDocument = Callable[[bytes, Feed], Read]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a document is not accepted: a code of the closed list, and where it was found."""

    code: str
    text: str


OVER_LIMIT = Refusal("over-limit", "over-limit: the document is over the limit of its feed")


def refusal(error: UnreadableMessage) -> Refusal:
    """Its code and place; the text of such an error holds no value."""
    return Refusal(error.code, str(error))


def first(own_id: str, refused: Refusal | None, issues: Sequence[str]) -> bytes:
    """It is durable, and refused or accepted; `issues` are what was noticed at receipt."""
    if refused is not None:
        return _outcome(own_id, [_error(refused.code, f"{CODES[refused.code].meaning}; {refused.text}")])
    return _outcome(own_id, [_said("accepted", "the document is kept and will be mapped"), *map(_noticed, issues)])


def unable(own_id: str) -> bytes:
    """It is not kept: send it again."""
    return _outcome(own_id, [_error("journal-unavailable", "the document could not be kept, send it again")])


def applied(own_id: str, became: str, code: str, place: str) -> bytes:
    """What became of it, for who waits until then."""
    if became in TAKEN:
        return _outcome(own_id, [_said(became, f"the document is {became}")])
    return _outcome(own_id, [_error(code or became, f"{WAITS[became]}; {code} {place}".rstrip("; "))])


def _outcome(own_id: str, issues: list[dict[str, Any]]) -> bytes:
    return encode({"resourceType": "OperationOutcome", "id": own_id, "issue": issues})


def _said(code: str, text: str) -> dict[str, Any]:
    return _issue("information", "informational", code, text)


def _noticed(code: str) -> dict[str, Any]:
    return _issue(CODES[code].severity, "business-rule", code, CODES[code].meaning)


def _error(code: str, text: str) -> dict[str, Any]:
    return _issue("error", _TYPES.get(code, "processing"), code, text)


def _issue(severity: str, kind: str, code: str, text: str) -> dict[str, Any]:
    return {
        "severity": severity,
        "code": kind,
        "details": {"coding": [{"system": ISSUE_SYSTEM, "code": code}]},
        "diagnostics": text,
    }
