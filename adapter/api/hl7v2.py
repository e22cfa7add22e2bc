"""`POST /hl7v2`: a client with a feed sends one HL7 v2 message and gets its acknowledgement.

The token, the size and the answer are this page's; what happens to the message is `adapter/inbound/http.py`'s.
Source: hl7v2 chapter §11.
"""

from adapter.access.scopes import Scopes
from adapter.api.call import SPILL_BYTES, Answer, Call
from adapter.inbound import http
from adapter.inbound.http import Sender


async def receive(call: Call) -> Answer:
    """Take one message for the client's feed."""
    sender, intakes = sender_of(call), call.services.intakes
    body = await call.body(http.limit_for(sender, intakes), SPILL_BYTES)
    answered = await http.receive(sender, call.header(b"content-type") or "", body, intakes)
    return Answer(answered.status, answered.body, media_type=answered.media_type)


def sender_of(call: Call) -> Sender:
    """Who sends, for which feed."""
    return Sender(call.actor.feed, _may_send(call.actor.scopes))


def _may_send(scopes: Scopes) -> bool:
    """A message creates and updates resources of any type: `system/*.cu`."""
    return any(
        scope.context == "system" and scope.type == "*" and not scope.query and {"c", "u"} <= set(scope.letters)
        for scope in scopes.granted
    )
