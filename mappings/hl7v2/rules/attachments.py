"""Attachments that are too large for the resource that shows them: a Binary holds the bytes, the attachment its url.

The Binary is named by its content, so that each version of a document keeps its own; access to it is ruled as to the
resource it belongs to. Source: FHIR R4 Attachment, Binary; design chapter HL7 v2 §5.
"""

import base64
import hashlib

from mappings.fhir import values
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.rules import Json


def completed(ctx: Assembly, builder: Builder, attachment: Json) -> None:
    """Data gets a content type (att-1); more of it than a resource should carry becomes a Binary."""
    data = attachment.get("data")
    if data is None:
        return
    attachment.setdefault("contentType", values.ANY_BYTES)
    if attachment["size"] <= values.INLINE_BYTES:
        return
    raw = base64.b64decode(data)
    body: Json = {
        "contentType": attachment["contentType"],
        "securityContext": {"reference": builder.ref},
        "data": data,
    }
    ref = ctx.stub("Binary", (*builder.key, hashlib.sha256(raw).hexdigest()), body)
    made = ctx.by_ref[ref]
    made.mode, made.group = "state", builder.group
    del attachment["data"]
    attachment["url"] = ref
    attachment["hash"] = values.sha1(raw)
