"""The resource in a request's body: the one way in for every interaction that takes one.

What the body says it is decides how it is read, JSON or XML; what comes out is a decoded tree that kept the limits of
the bytes layer, and that `validate.py` has not judged yet. Source: FHIR R4 §3.1.0.1.11; fhir chapter §3 (bytes), §12.
"""

import asyncio

from adapter.api.call import Call
from adapter.api.content import Form, body_form
from adapter.api.encoding import BESIDE_BYTES
from mappings.fhir.codec import RESOURCE, Json, Limits, check_bytes
from mappings.fhir.xml import from_xml


async def resource_body(call: Call, limits: Limits = RESOURCE) -> Json:
    """The decoded body. Raises UnsupportedMedia (415), TooLarge (413), BytesError (400)."""
    form = body_form(call.header(b"content-type"))
    data = await call.body(limits.max_bytes)
    read = from_xml if form is Form.XML else check_bytes
    return read(data, limits) if len(data) < BESIDE_BYTES else await asyncio.to_thread(read, data, limits)
