"""FHIR files to HL7 v2 messages and CDA documents, with no store: what `chartbridge convert --to` does.

A file is a Bundle or one resource; it becomes one message, `DIR/<path>.hl7`, and costs only itself where it cannot. A
document Bundle becomes a document, `DIR/<path>.xml`. Resources are validated first: the writer counts on their shape.
The control id is made of the content, so that a file written twice is one message to a receiver that looks for
repetitions. Source: design chapters HL7 v2 §16, CDA §16.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from adapter.errors import OURS, whereabouts
from adapter.files import put_whole
from mappings.cda.write import Kind, compose
from mappings.errors import MappingError
from mappings.fhir.codec import TRANSACTION, check_bytes
from mappings.fhir.validate import validate
from mappings.hl7v2.out import OutboundError, Receiver, Written, to_v2
from mappings.issues import Issue
from mappings.profile import Profile

Json = dict[str, Any]
_CONTROL_ID = 20  # characters: HL7 v2 before 2.7 has no more


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """One message or document: where it went and what was said about it, or why there is none."""

    source: Path
    target: Path
    segments: int = 0  # of a document: entries
    issues: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    failure: str = ""


def write_file(source: Path, target: Path, message: str, receiver: Receiver, at: datetime) -> WrittenFile:
    """Write one file's message; a failure is a result, not an exception."""

    def write() -> WrittenFile:
        data = source.read_bytes()
        made = to_v2(_resources(data), message, receiver, control_id=control_id(data, message), at=at)
        put_whole(target, made.data)
        return _told(WrittenFile(source, target), made)

    return _tried(source, target, write)


def write_document(source: Path, target: Path, kind: Kind, profile: Profile) -> WrittenFile:
    """Write one document Bundle as CDA; a failure is a result, not an exception."""

    def write() -> WrittenFile:
        found = check_bytes(source.read_bytes(), TRANSACTION)
        if found.get("resourceType") != "Bundle" or found.get("type") != "document":
            raise OutboundError("no document: expected a Bundle of type document")
        for fault in _faults(_entries(found)):
            raise OutboundError(fault)
        made = compose(found, kind, profile)
        put_whole(target, made.data)
        return WrittenFile(source, target, made.data.count(b"<entry "), _lines(made.issues), made.left)

    return _tried(source, target, write)


def _tried(source: Path, target: Path, write: Callable[[], WrittenFile]) -> WrittenFile:
    try:
        return write()
    except MappingError as exc:
        return WrittenFile(source, target, failure=str(exc))
    except OSError as exc:
        return WrittenFile(source, target, failure=exc.strerror or type(exc).__name__)
    except OURS as exc:
        return WrittenFile(source, target, failure=f"a fault of the program: {whereabouts(exc)}")


def _lines(issues: tuple[Issue, ...]) -> tuple[str, ...]:
    return tuple(f"{each.severity} {each.code} {each.place} {each.detail}".rstrip() for each in issues)


def _told(one: WrittenFile, made: Written) -> WrittenFile:
    findings = [f"hl7apy: {each.text}" for each in made.findings if each.severity == "error"]
    segments = made.data.count(b"\r")
    return WrittenFile(one.source, one.target, segments, _lines(made.issues), made.left, tuple(findings))


def control_id(data: bytes, message: str) -> str:
    """Twenty characters of the content's digest."""
    return hashlib.sha256(message.encode() + b"\x1f" + data).hexdigest()[:_CONTROL_ID].upper()


def _resources(data: bytes) -> Sequence[Json]:
    """The entries of a Bundle, or the one resource. Raises OutboundError, BytesError."""
    found = check_bytes(data, TRANSACTION)
    bundle = found.get("resourceType") == "Bundle"
    resources = _entries(found) if bundle else [{"resource": found}]
    for fault in _faults(resources):
        raise OutboundError(fault)
    return resources


def _entries(bundle: Json) -> list[Json]:
    found: list[Json] = bundle.get("entry", [])
    return [each for each in found if isinstance(each, dict) and isinstance(each.get("resource"), dict)]


def _faults(entries: list[Json]) -> Iterator[str]:
    for entry in entries:
        for fault in validate(entry["resource"]):
            if fault.severity == "error":
                yield f"{fault.expression}: {fault.text}"
