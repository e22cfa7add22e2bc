"""`POST /cda`: a client with a feed sends one CDA document; the answer says whether it is kept.

As `hl7v2.py`: token, size and answer are this page's, what happens to the document is `adapter/inbound/http.py`'s.
Source: hl7v2 chapter §11.
"""

from adapter.api.call import SPILL_BYTES, Answer, Call
from adapter.api.hl7v2 import sender_of
from adapter.inbound import http


async def receive_document(call: Call) -> Answer:
    """Take one document for the client's feed."""
    sender, intakes = sender_of(call), call.services.intakes
    body = await call.body(http.document_limit_for(sender, intakes), SPILL_BYTES)
    answered = await http.receive_document(sender, call.header(b"content-type") or "", body, intakes)
    return Answer(answered.status, answered.body, media_type=answered.media_type)
