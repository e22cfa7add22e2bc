"""`POST /hl7v2`, one message or one batch a request, for clients that have HTTP and no MLLP; `POST /cda`, one document.

The API mounts `receive` and has checked the bearer token and its scope; this module finds the client's feed and answers
with the ACK: 200 for AA and CA, 400 for AR and CR, 503 for AE and CE, of a batch the worst of them. There is always an
answer, whatever MSH-15 says: HTTP must have one; 202 without a body where the only ACK goes to `ack.reply_to`. What
follows the first answer in the enhanced mode needs a `reply_to`: a request has one answer.

A document is answered by an OperationOutcome: 200 where it is durable, 400 refused, 503 not kept; under `ack.after =
"mapped"` 422 where it waits for a person. Source: hl7v2 chapter §11.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from adapter.errors import Forbidden, TooLarge, UnsupportedMedia
from adapter.inbound import documents
from adapter.inbound.intake import Arrival, Intake, Reply, is_much

MEDIA_TYPE = "application/hl7-v2"
ACCEPTED = 202
_STATUS = {"A": 200, "R": 400, "E": 503}
WAITS = 422  # a document that is kept, and cannot be mapped as it is


@dataclass(frozen=True, slots=True)
class Sender:
    """The client: the feed of its registration ("" for none), and whether its token holds `system/*.cu`."""

    feed: str
    may_send: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """The response: status, media type and the ACK."""

    status: int
    body: bytes = field(repr=False)
    media_type: str = MEDIA_TYPE


def limit_for(sender: Sender, intakes: Mapping[str, Intake]) -> int:
    """How many bytes this client may send: what a server stops reading at. Raises Forbidden."""
    return _intake(sender, intakes).feed.listen.limits.frame_bytes


async def receive(sender: Sender, content_type: str, body: bytes, intakes: Mapping[str, Intake]) -> Answered:
    """Take what came. Raises Forbidden, UnsupportedMedia, TooLarge; all else is an ACK."""
    intake = _intake(sender, intakes)
    if content_type.split(";")[0].strip().lower() != MEDIA_TYPE:
        raise UnsupportedMedia(f"the body must be {MEDIA_TYPE}")
    if len(body) > intake.feed.listen.limits.frame_bytes:
        raise TooLarge("the message is over the limit of its feed", code="over-limit")
    if is_much(body):
        arrival = await asyncio.get_running_loop().run_in_executor(None, intake.prepare, body)
    else:
        arrival = intake.prepare(body)
    reply = await _submitted(intake, arrival)
    if not reply.message:
        return Answered(ACCEPTED, b"")
    return Answered(_STATUS[reply.code[1]], reply.message)


def document_limit_for(sender: Sender, intakes: Mapping[str, Intake]) -> int:
    """How many bytes a document of this client may have. Raises Forbidden."""
    return _intake(sender, intakes).document_bytes


async def receive_document(sender: Sender, content_type: str, body: bytes, intakes: Mapping[str, Intake]) -> Answered:
    """Take one document. Raises Forbidden, UnsupportedMedia, TooLarge; all else is an answer to it."""
    intake = _intake(sender, intakes)
    if content_type.split(";")[0].strip().lower() not in documents.TAKEN_TYPES:
        raise UnsupportedMedia(f"the body must be {', '.join(sorted(documents.TAKEN_TYPES))}")
    if len(body) > intake.document_bytes:
        raise TooLarge("the document is over the limit of its feed", code="over-limit")
    prepared = await asyncio.get_running_loop().run_in_executor(documents.READERS, intake.prepare_document, body)
    reply = await _submitted(intake, prepared)
    waits = reply.code[1] == "E" and reply.kept
    return Answered(WAITS if waits else _STATUS[reply.code[1]], reply.message, documents.MEDIA_TYPE)


async def _submitted(intake: Intake, arrival: Arrival) -> Reply:
    done: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    intake.submit(arrival, lambda reply: None if done.done() else done.set_result(reply))
    return await done


def _intake(sender: Sender, intakes: Mapping[str, Intake]) -> Intake:
    if not sender.may_send:
        raise Forbidden("the token has no scope to send messages", hint="register the scope system/*.cu")
    intake = intakes.get(sender.feed)
    if intake is None or not intake.feed.receives:
        raise Forbidden("the client has no feed that takes messages", hint="set access.client.ID.feed")
    return intake
