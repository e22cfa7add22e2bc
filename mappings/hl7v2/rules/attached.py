"""Encapsulated data and pointers (OBX-2 ED, RP): R4's Observation holds no attachment.

The report presents it (`presentedForm`), the line derives from a DocumentReference, and data over 32 KiB is a Binary
that both point at, so that a message's largest part is stored and read once. A line without a report has the document
alone.

Source: design chapter HL7 v2 §5 (ED, RP); v2-to-FHIR guide, OBX[Observation], OBX[DocumentReference].
"""

from mappings.fhir.values import REASONS
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes.attachments import INLINE_BYTES
from mappings.hl7v2.message import Segment
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import Json

_UNKNOWN_MEDIA = "application/octet-stream"


def attach(ctx: Assembly, builder: Builder) -> None:
    """Moves the attachment of a line to where R4 keeps attachments."""
    body = builder.body
    attachment: Json = body.pop("valueAttachment")
    if attachment.get("size", 0) > INLINE_BYTES:
        attachment = _apart(ctx, builder, attachment)
    report = ctx.made_near("DiagnosticReport")
    if report is not None and report.make is not None:
        report.body.setdefault("presentedForm", []).append(attachment)
        _remember(ctx, report, "presentedForm", builder.segment)
    document: Json = {
        "status": "current",
        "content": [{"attachment": attachment}],
        **{name: body[name] for name in ("subject",) if name in body},
    }
    ref = ctx.stub("DocumentReference", (*builder.key, "attachment"), document)
    ctx.by_ref[ref].mode = "state"
    body.setdefault("derivedFrom", []).append({"reference": ref})
    if not any(name.startswith("value") for name in body):
        body["dataAbsentReason"] = {"coding": [{"system": REASONS, "code": "as-text"}], "text": "see the document"}


def _apart(ctx: Assembly, builder: Builder, attachment: Json) -> Json:
    """The data as a Binary of the same patient, and an attachment that points at it."""
    media = attachment.get("contentType", _UNKNOWN_MEDIA)
    body: Json = {"contentType": media, "data": attachment["data"]}
    if "subject" in builder.body:
        body["securityContext"] = builder.body["subject"]
    ref = ctx.stub("Binary", (*builder.key, "binary"), body)
    ctx.by_ref[ref].mode = "state"
    return {"contentType": media, "url": ref, "size": attachment["size"]}


def _remember(ctx: Assembly, builder: Builder, path: str, segment: Segment | None) -> None:
    if ctx.trace is not None and segment is not None:
        place = Place(segment.name, segment.nth, 5, 1)
        ctx.trace.rule("attachment", builder.ref, f"{path}[{len(builder.body[path]) - 1}]", place)
