"""The resource in a request's body: the one way in for every interaction that takes one.

What the body says it is decides how it is read; what comes out is a decoded tree that kept the limits of the bytes
layer, and that `validate.py` has not judged yet. Source: FHIR R4 §3.1.0.1.11; fhir chapter §3 (bytes), §12.
"""

from adapter.api.call import Call
from adapter.api.content import check_json_body
from mappings.fhir.codec import RESOURCE, Json, Limits, check_bytes


async def resource_body(call: Call, limits: Limits = RESOURCE) -> Json:
    """The decoded body. Raises UnsupportedMedia (415), TooLarge (413), BytesError (400)."""
    check_json_body(call.header(b"content-type"))
    return check_bytes(await call.body(limits.max_bytes), limits)
