"""Encapsulated data and pointers of a result (OBX-2 ED, RP): R4's Observation holds no attachment.

The line derives from a DocumentReference, the report presents the same attachment (`presentedForm`); what is too large
for both is a Binary that both point at (`attachments.py`). A line without a report has the document alone.

Source: design chapter HL7 v2 §5 (ED, RP); v2-to-FHIR guide, OBX[Observation].
"""

from mappings.fhir.values import REASONS
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.message import Segment
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import Json
from mappings.hl7v2.rules.attachments import completed


def attach(ctx: Assembly, builder: Builder) -> None:
    """Moves the attachment of a line to where R4 keeps attachments."""
    body = builder.body
    attachment: Json = body.pop("valueAttachment")
    document = _document(ctx, builder, attachment)
    completed(ctx, document, attachment)
    body.setdefault("derivedFrom", []).append({"reference": document.ref})
    report = ctx.made_near("DiagnosticReport")
    if report is not None and report.make is not None:
        report.body.setdefault("presentedForm", []).append(dict(attachment))
        _remember(ctx, report, "presentedForm", builder.segment)
    if not any(name.startswith("value") for name in body):
        body["dataAbsentReason"] = {"coding": [{"system": REASONS, "code": "as-text"}], "text": "see the document"}


def _document(ctx: Assembly, builder: Builder, attachment: Json) -> Builder:
    """The document of a line; labels of the patient, the stay and the order cover it as they cover the line."""
    key = (*builder.key, "attachment")
    body: Json = {"status": "current", "content": [{"attachment": attachment}]}
    if "subject" in builder.body:
        body["subject"] = builder.body["subject"]
    if "encounter" in builder.body:
        body["context"] = {"encounter": [builder.body["encounter"]]}
    document = ctx.by_ref[ctx.stub("DocumentReference", key, body)]
    document.mode, document.group, document.key = "state", builder.group, key
    return document


def _remember(ctx: Assembly, builder: Builder, path: str, segment: Segment | None) -> None:
    if ctx.trace is not None and segment is not None:
        place = Place(segment.name, segment.nth, 5, 1)
        ctx.trace.rule("attachment", builder.ref, f"{path}[{len(builder.body[path]) - 1}]", place)
