"""CDA documents inside of a message (OBX-2 = ED): converted as documents of their own, beside the attachment they are.

1. what an ED holds is decoded as for its attachment; a MIME package gives its first document
2. a document is converted as one that came alone: same ids, its own time
3. its patient must be the message's: the same resource, or one identifier of both. Else it stays an attachment, and
   an issue says so: a document filed under the wrong patient is worse than one that must be opened
4. what both state is the message's to say; references to the patient are to the message's
5. the Provenance of the message names what the document states, that of the document names the message

A document that cannot be converted never costs its message.

Source: HL7 v2.9 §9 (MDM), §2A (ED); CDA R2 §3 (CDA document exchange in HL7 messages: the MIME package).
"""

import email
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from mappings.bundle import pointed
from mappings.convert import Conversion, Mapped, is_document, to_fhir
from mappings.errors import MappingError
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes.attachments import ed_content
from mappings.hl7v2.message import Segment
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules.documents import WITHDRAWN
from mappings.hl7v2.rules.messages import MESSAGE_DIGEST
from mappings.issues import Issue, issue
from mappings.profile import Profile

Json = dict[str, Any]

ROW = "embedded"
_ROOT = (b"ClinicalDocument", "ClinicalDocument".encode("utf-16-le"), "ClinicalDocument".encode("utf-16-be"))
_PACKAGE = (b"mime-version", b"content-type")
_MOST_BYTES = 30_000_000  # of a MIME package: a document of 20 MB in base64
_ENCODING = re.compile(
    rb"(\A(?:\xef\xbb\xbf)?\s*<\?xml\s[^>?]{0,200}?)\s+encoding\s*=\s*(?:\"[^\"]{0,64}\"|'[^']{0,64}')"
)


class Inside(NamedTuple):
    """A document in a message: where, its bytes, and the patient of the message there."""

    place: Place
    ordinal: int
    data: bytes
    patient: Builder | None


def with_documents(
    conversion: Conversion, assembly: Assembly, profile: Profile, at: datetime | None, *, events: bool = True
) -> Conversion:
    """The conversion of a message, with those of the documents inside of it. `at`: as of `to_fhir`."""
    for inside in list(_documents(assembly)):
        try:
            document = to_fhir(inside.data, profile, at=at, events=events)
        except MappingError as exc:
            failed = issue("document-failed", inside.place, row=ROW, detail=getattr(exc, "code", ""))
            conversion = _with_issue(conversion, failed)
        except Exception:  # a fault of ours in the document: what the message itself says does not wait for its mending
            conversion = _with_issue(conversion, issue("document-failed", inside.place, row=ROW))
        else:
            conversion = _joined(conversion, document, assembly, inside)
    return conversion


# 1. what is inside ---------------------------------------------------------------------------------------------------


def _documents(assembly: Assembly) -> Iterator[Inside]:
    for segment, group in assembly.placed:
        encapsulated = segment.name == "OBX" and segment.field(2).strip().upper() == "ED"
        if not encapsulated or segment.field(11).strip() in WITHDRAWN:
            continue
        for number, raw in enumerate(segment.reps(5), 1):
            place = Place("OBX", segment.nth, 5, number)
            for data in _decoded(raw, segment, assembly):
                yield Inside(place, segment.ordinal, data, assembly.made_near("Patient", group))


def _decoded(raw: str, segment: Segment, assembly: Assembly) -> Iterator[bytes]:
    """The document of an ED, if it holds one. Its attachment has told what is wrong with it already."""
    told = len(assembly.issues)
    assembly.seg = segment
    found = ed_content(raw, assembly)
    del assembly.issues[told:]
    data = b"" if found is None else found.data
    if data.lstrip()[:12].lower() in _PACKAGE:
        data = _unpacked(data.lstrip())
    elif _is_text(raw, assembly):
        data = _ENCODING.sub(rb"\1", data)  # the message's character set was the last; now it is UTF-8
    if is_document(data) and any(name in data for name in _ROOT):
        yield data


def _unpacked(package: bytes) -> bytes:
    """The first document of a MIME package."""
    if len(package) > _MOST_BYTES:
        return b""
    try:
        parts = [part.get_payload(decode=True) for part in email.message_from_bytes(package).walk()]
    except (LookupError, RecursionError, ValueError):  # of an invented character set, parts in parts, lengths
        return b""
    return next((part for part in parts if isinstance(part, bytes) and is_document(part)), b"")


def _is_text(raw: str, assembly: Assembly) -> bool:
    """ED.4: A is text as the message writes it."""
    parts = raw.split(assembly.comp, 4)
    return len(parts) < 5 or parts[3].strip().upper() in ("A", "")


# 2 to 5 --------------------------------------------------------------------------------------------------------------


def _joined(conversion: Conversion, document: Conversion, assembly: Assembly, inside: Inside) -> Conversion:
    patient = inside.patient
    theirs = next((each.body for each in document.resources if each.body["resourceType"] == "Patient"), None)
    if patient is None or theirs is None or not _same(patient.body, theirs):
        return _with_issue(conversion, issue("document-of-another", inside.place, row=ROW))
    moved = {f"Patient/{theirs['id']}": patient.ref}
    message = {"role": "source", "what": {"identifier": _digest(assembly)}}
    added = [_placed(each, moved, patient, message, inside.ordinal) for each in document.resources]
    if assembly.trace is not None:
        for each in added:
            assembly.trace.rule(ROW, _ref(each), "", inside.place)
    return replace(
        conversion,
        resources=_together(conversion.resources, added, _digest(assembly)),
        issues=conversion.issues + document.issues,
        tally=conversion.tally + document.tally,
    )


def _with_issue(conversion: Conversion, found: Issue) -> Conversion:
    return replace(conversion, issues=(*conversion.issues, found))


def _same(ours: Json, theirs: Json) -> bool:
    """Whether two Patients are one: by id, or by one identifier of one system."""
    return ours["id"] == theirs["id"] or bool(_numbers(ours) & _numbers(theirs))


def _numbers(patient: Json) -> set[tuple[str, str]]:
    found = patient.get("identifier", ())
    return {(each["system"], each["value"]) for each in found if "system" in each and "value" in each}


def _digest(assembly: Assembly) -> Json:
    return {"system": MESSAGE_DIGEST, "value": assembly.shared["digest"]}


def _placed(each: Mapped, moved: dict[str, str], patient: Builder, message: Json, ordinal: int) -> Mapped:
    """A resource of the document as the message brings it: about the message's patient, from its segment."""
    body: Json = pointed(each.body, moved)
    if moved.get(_ref(each)):
        body = {**body, "id": patient.id}
    if body["resourceType"] == "Provenance":
        body = {**body, "entity": [*body.get("entity", ()), message]}
    return msgspec.structs.replace(each, body=body, source=(ordinal,))


def _together(ours: tuple[Mapped, ...], theirs: list[Mapped], digest: Json) -> tuple[Mapped, ...]:
    """Each resource once: the message's word counts, unless it only refers to what the document states."""
    found = {_ref(each): each for each in ours}
    stated = []
    for each in theirs:
        known = found.get(_ref(each))
        if known is None or (known.mode == "stub" and each.mode != "stub"):
            found[_ref(each)] = each
            stated += [_ref(each)] if each.mode != "stub" and each.body["resourceType"] != "Provenance" else []
    return tuple(_aware(each, stated, digest) for each in found.values())


def _aware(each: Mapped, stated: list[str], digest: Json) -> Mapped:
    """The message's Provenance names what its document states, too."""
    body = each.body
    of_message = any(entity["what"].get("identifier") == digest for entity in body.get("entity", ()))
    if body["resourceType"] != "Provenance" or not of_message or len(body["entity"]) > 1:
        return each
    known = {target.get("reference") for target in body["target"]}
    more = [{"reference": ref} for ref in stated if ref not in known]
    return msgspec.structs.replace(each, body={**body, "target": [*body["target"], *more]}) if more else each


def _ref(each: Mapped) -> str:
    return f"{each.body['resourceType']}/{each.body['id']}"
