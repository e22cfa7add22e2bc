"""Requests inside a request: the entries of a batch, the reads of a transaction, each on its way through a route.

An entry is a call of its own: its own scopes, its own pass of the gate, its own event, its own status. What it answers
becomes an entry of the answer. http://hl7.org/fhir/R4/http.html#trules
"""

import base64
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from adapter.access.disclose import Released
from adapter.api import outcome
from adapter.api.call import Answer, Call, Message, refusal
from adapter.api.content import MEDIA_TYPE
from adapter.api.presentation import PLAIN
from adapter.errors import BadRequest, ChartbridgeError
from ledger.event import timestamp
from mappings.errors import MappingError
from mappings.fhir.codec import Json, encode

Dispatch = Callable[[Call], Awaitable[Answer]]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
CONDITIONS = {
    "ifMatch": b"if-match",
    "ifNoneMatch": b"if-none-match",
    "ifModifiedSince": b"if-modified-since",
    "ifNoneExist": b"if-none-exist",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One entry's request: `path` from the base on, without the question mark and what follows."""

    number: int
    method: str
    path: str
    query: str
    full_url: str
    conditions: dict[bytes, bytes]
    resource: Json | None = field(default=None, repr=False)


def request_of(number: int, entry: Json, base: str) -> Request:
    """An entry of a Bundle that fits R4, read. Raises BadRequest where it says not what to do."""
    asked = entry.get("request")
    place = f"Bundle.entry[{number}].request"
    if not isinstance(asked, dict):
        raise BadRequest("an entry has no request", issue="required", expression=place)
    method, url = asked.get("method"), asked.get("url")
    if method not in METHODS or not isinstance(url, str):
        raise BadRequest("an entry's request has no method or no url", issue="required", expression=place)
    path, _, query = url.removeprefix(base).strip("/").partition("?")
    if not path.isascii() or ":" in path or "//" in path:
        raise BadRequest("an entry's url is no address here", issue="value", expression=f"{place}.url")
    given = ((header, asked.get(name)) for name, header in CONDITIONS.items())
    conditions = {header: value.encode() for header, value in given if isinstance(value, str)}
    full_url = entry.get("fullUrl")
    return Request(
        number,
        method,
        path.rstrip("/"),
        query,
        full_url if isinstance(full_url, str) else "",
        conditions,
        entry.get("resource"),
    )


def inner_call(call: Call, asked: Request) -> Call:
    """The call that an entry makes: who asks and when is the outer's, the rest its own."""
    media_type, body = _body(asked)
    headers = {b"content-type": media_type, **asked.conditions}
    if (prefer := call.headers.get(b"prefer")) is not None:
        headers[b"prefer"] = prefer

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return replace(
        call,
        method=asked.method,
        path=f"/fhir/{asked.path}",
        params={},
        raw_query=asked.query,
        headers=headers,
        received=get_running_loop().time(),
        receive=receive,
        _pairs=None,
        presentation=PLAIN,
    )


def _body(asked: Request) -> tuple[bytes, bytes]:
    """The media type and bytes of an entry's body; those of a patch stand inside a Binary, or it is a merge object."""
    resource = asked.resource
    if resource is None:
        return MEDIA_TYPE.encode(), b""
    if asked.method == "PATCH" and isinstance(resource, dict) and resource.get("resourceType") == "Binary":
        kind, data = resource.get("contentType"), resource.get("data")
        try:
            return str(kind).encode("ascii", "replace"), base64.b64decode(str(data), validate=True)
        except ValueError:
            return str(kind).encode("ascii", "replace"), b""  # which is no patch, and refused as none
    return MEDIA_TYPE.encode(), encode(resource)


async def answered(call: Call, dispatch: Dispatch) -> Answer:
    """An entry's answer, whatever it is."""
    try:
        call.services.gate.admit(call.actor)
        call.ask_presentation()
        return await dispatch(call)
    except ChartbridgeError as error:
        return refusal(error)
    except MappingError as error:
        return refusal(outcome.from_mapping(error))


def entry_of(answer: Answer) -> bytes:
    """An answer as the entry of a response Bundle, put together from its bytes."""
    said = {name.decode(): value.decode() for name, value in answer.headers}
    response = {"etag": said.get("etag"), "lastModified": None, "location": said.get("location")}
    if "last-modified" in said:
        response["lastModified"] = timestamp(_when(answer, said["last-modified"]))
    shown = b'"resource":%s,' % answer.body if answer.body and answer.status < 300 else b""
    told = answer.body if answer.status >= 300 else b""
    return response_entry(response, str(answer.status), told, shown)


def _when(answer: Answer, header: str) -> datetime:
    """When the version was written, as its `meta.lastUpdated` says; of one that is not shown, to the second."""
    if answer.released is not None and len(answer.released.items) == 1:
        return datetime.fromtimestamp(answer.released.items[0].at / 1000, UTC)
    return parsedate_to_datetime(header).astimezone(UTC)


def response_entry(response: dict[str, str | None], status: str, told: bytes = b"", shown: bytes = b"") -> bytes:
    """`told` is an OperationOutcome about it, `shown` the member `resource`, where there is one."""
    members = [b'"%s":%s' % (name.encode(), encode(value)) for name, value in response.items() if value is not None]
    if told:
        members.append(b'"outcome":%s' % told)
    members.append(b'"status":%s' % encode(status))
    return b'{%s"response":{%s}}' % (shown, b",".join(members))


def response_bundle(kind: str, entries: list[bytes], released: Released) -> Answer:
    """The answer to a Bundle, with all that its entries released."""
    listed = b'"entry":[%s],' % b",".join(entries) if entries else b""
    body = b'{%s"resourceType":"Bundle","type":"%s-response"}' % (listed, kind.encode())
    return Answer(200, body, released=released)
