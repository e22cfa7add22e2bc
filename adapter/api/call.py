"""One request and its answer, without a framework's objects between them: the hot path is a few dictionary look-ups.

`FhirEndpoint` is the ASGI application behind every route under `/fhir`: it names the request, finds the actor,
negotiates, calls the interaction, turns every error of ours into an OperationOutcome and sets the headers that each
answer has. It refuses to send what claims to be a disclosure and did not come from the gate.

Source: ASGI 3; fhir chapter §7 (headers), §12, §13; RFC 9530 (Content-Digest), RFC 6750 §3 (WWW-Authenticate).
"""

import asyncio
import base64
import hashlib
import re
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast
from urllib.parse import parse_qsl

from adapter.access.audit import Kind
from adapter.access.disclose import Ask, Released
from adapter.access.identity import Actor
from adapter.access.scopes import Letter
from adapter.api import outcome
from adapter.api.content import MEDIA_TYPE, PATCHES
from adapter.api.encoding import unpacked
from adapter.api.presentation import PLAIN, Presentation, asked, presented
from adapter.errors import BadRequest, ChartbridgeError, Throttled, TooLarge, Unauthorised, Unavailable
from adapter.services import Entropy, Services
from mappings.errors import MappingError
from mappings.fhir.xml import Unwritable

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]
Pairs = tuple[tuple[str, str], ...]

MAX_QUERY_BYTES = 8192
MAX_PAIRS = 200
MAX_FORM_BYTES = 64 * 1024
SPILL_BYTES = 32 << 20  # of a message or document that is too large
BODY_S = 60.0  # for the whole body, however slowly it drips
RETRY_AFTER_S = {429: b"60", 503: b"1", 409: b"1"}

_REQUEST_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_ALWAYS: tuple[Header, ...] = ((b"cache-control", b"no-store"),)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. `released` is the gate's word for the body; without it a body may hold nobody's data."""

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: tuple[Header, ...] = ()
    media_type: str = MEDIA_TYPE
    released: Released | None = field(default=None, repr=False)
    refs: tuple[str, ...] = ()  # of the entries that this answer rests on, where they are others than the release's
    vary: bytes = b"Accept, Authorization"


@dataclass(slots=True)
class Call:
    """One request on its way through an interaction."""

    services: Services
    method: str
    path: str
    params: Mapping[str, str]
    raw_query: str
    headers: Mapping[bytes, bytes]
    request_id: str
    now: datetime
    received: float
    receive: Receive
    _actor: Actor | None = None
    _pairs: Pairs | None = None
    presentation: Presentation = PLAIN

    @property
    def actor(self) -> Actor:
        if self._actor is None:
            raise RuntimeError("this interaction runs without an actor")
        return self._actor

    def header(self, name: bytes) -> str | None:
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def pairs(self) -> Pairs:
        """The parameters of the URL, in order, decoded."""
        if self._pairs is None:
            self._pairs = parse_pairs(self.raw_query)
        return self._pairs

    def ask(self, kind: Kind, interaction: str, resource_type: str, letter: Letter, thing: str) -> Ask:
        """This request as the gate wants it."""
        query = f"{self.path}?{self.raw_query}" if self.raw_query else self.path
        return Ask(
            self.actor,
            kind,
            interaction,
            resource_type,
            letter,
            thing,
            query,
            self.request_id,
            self.now,
            self.received,
        )

    def ask_presentation(self, form: Pairs = ()) -> None:
        """Note how the answer is to look, by the URL, a form and the headers. Raises NotAcceptable."""
        self.presentation = asked(self.headers, (self.pairs if self.raw_query else ()) + form)

    async def body(self, limit: int, spill: int = 0) -> bytes:
        """The request's body, unpacked. Raises TooLarge beyond `limit` bytes, before more is kept; BadRequest if late.

        `spill`: how many bytes more are read and dropped first, for a client that is refused while it still sends sees
        a connection that broke, and no answer.
        """
        try:
            async with asyncio.timeout(BODY_S):
                data = await self._read(limit, spill)
        except TimeoutError as exc:
            raise BadRequest("the body did not arrive in time", code="body-late") from exc
        return await unpacked(data, self.header(b"content-encoding"), limit)

    async def _read(self, limit: int, spill: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise BadRequest("the request ended before its body did")
            chunk = message.get("body", b"")
            size += len(chunk)
            ended = not message.get("more_body", False)
            if size > limit:
                chunks.clear()
                if ended or size > limit + spill:
                    raise TooLarge(f"the body is over {limit} bytes")
                continue
            chunks.append(chunk)
            if ended:
                return b"".join(chunks)


Handler = Callable[[Call], Awaitable[Answer]]


def parse_pairs(text: str) -> Pairs:
    """A query string or form as pairs. Raises BadRequest where it is too long or no UTF-8."""
    if len(text) > MAX_FORM_BYTES:
        raise BadRequest("the query is too long")
    try:
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_PAIRS))
    except ValueError as exc:
        raise BadRequest("the query cannot be read") from exc


class FhirEndpoint:
    """One interaction as an ASGI application. Without `authenticated` it needs no token; what `discloses` must answer
    from the gate. `allow` is the header of that name, for the methods of an address.
    """

    def __init__(
        self,
        services: Services,
        handler: Handler,
        *,
        authenticated: bool,
        discloses: bool,
        fhir: bool,
        allow: Callable[[str], Header],
    ) -> None:
        self._services = services
        self._handler = handler
        self._allow = allow
        self._authenticated = authenticated
        self._discloses = discloses
        self._fhir = fhir

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = self._call(scope, receive)
        try:
            answer = await self._answer(call, scope)
        except ChartbridgeError as error:
            answer = refusal(error)
        except MappingError as error:
            answer = refusal(outcome.from_mapping(error))
        if answer.status == 405:
            answer = replace(answer, headers=(*answer.headers, self._allow(call.path)))
        if self._fhir and answer.body:
            answer = await presented_answer(answer, call.presentation)
        await respond(send, answer, call.request_id, head=call.method == "HEAD")

    async def _answer(self, call: Call, scope: Scope) -> Answer:
        unpresentable = self._ask_presentation(call)
        if self._authenticated:
            client = scope.get("client")
            address = client[0] if client else ""
            call._actor = self._services.identities.actor(call.header(b"authorization"), address)
            self._services.gate.admit(call._actor)
        if unpresentable is not None:
            raise unpresentable
        answer = await self._handler(call)
        if self._discloses and answer.body and answer.released is None:
            raise RuntimeError("a body that did not come from the gate")
        return answer

    def _ask_presentation(self, call: Call) -> ChartbridgeError | None:
        """The form comes first, for a refusal has it too; why there is none is told to those who may ask."""
        if len(call.raw_query) > MAX_QUERY_BYTES:
            return BadRequest("the query is too long")
        try:
            if self._fhir:
                call.ask_presentation()
        except ChartbridgeError as error:
            return error
        return None

    def _call(self, scope: Scope, receive: Receive) -> Call:
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            headers[name] = value if name not in headers else headers[name] + b"," + value
        return Call(
            services=self._services,
            method=scope["method"],
            path=scope["path"],
            params=scope.get("path_params", {}),
            raw_query=cast(bytes, scope["query_string"]).decode("latin-1"),
            headers=headers,
            request_id=request_id(headers.get(b"x-request-id"), self._services.entropy),
            now=self._services.ledger.now(),
            received=get_running_loop().time(),
            receive=receive,
        )


def request_id(given: bytes | None, entropy: Entropy) -> str:
    """What a request goes by: the name that its header gives it, where that is one, else a new one."""
    if given is not None and _REQUEST_ID.fullmatch(text := given.decode("latin-1")):
        return text
    return entropy(16).hex()


def refusal(error: ChartbridgeError) -> Answer:
    """An error as its answer; the same error is the same bytes."""
    headers: list[Header] = []
    if isinstance(error, Unauthorised):
        challenge = b"Bearer" if error.code == "token-missing" else b'Bearer error="invalid_token"'
        headers.append((b"www-authenticate", challenge))
    if error.code == "body-encoding" and error.status_hint == 415:
        headers.append((b"accept-encoding", b"gzip"))
    if error.code == "patch-type":
        headers.append((b"accept-patch", ", ".join(PATCHES).encode()))
    if isinstance(error, Throttled | Unavailable) or error.status_hint in RETRY_AFTER_S:
        headers.append((b"retry-after", RETRY_AFTER_S.get(error.status_hint, b"1")))
    return Answer(error.status_hint, outcome.of_error(error), tuple(headers))


async def presented_answer(answer: Answer, presentation: Presentation) -> Answer:
    """An answer in FHIR JSON as it was asked for. What XML cannot hold is 406, in JSON; 406 and 415 are JSON always."""
    if answer.media_type != MEDIA_TYPE:
        return answer
    if answer.status in (406, 415):
        presentation = replace(presentation, form=PLAIN.form)
    try:
        made = await presented(answer.body, presentation)
    except Unwritable as error:
        answer = refusal(outcome.from_mapping(error))
        made = await presented(answer.body, replace(presentation, form=PLAIN.form))
    headers = (*answer.headers, (b"content-encoding", b"gzip")) if made.gzip else answer.headers
    vary = b"Accept, Accept-Encoding, Authorization" if made.varies else answer.vary
    return replace(answer, body=made.body, media_type=made.media_type, headers=headers, vary=vary)


async def respond(send: Send, answer: Answer, request_id: str, *, head: bool = False) -> None:
    """Send an answer with the headers that every answer has."""
    headers: list[Header] = [
        (b"vary", answer.vary),
        *_ALWAYS,
        (b"x-request-id", request_id.encode()),
        *answer.headers,
    ]
    if answer.body:
        digest = base64.b64encode(hashlib.sha256(answer.body).digest())
        headers.append((b"content-type", answer.media_type.encode()))
        headers.append((b"content-digest", b"sha-256=:" + digest + b":"))
    refs = answer.refs or (answer.released.refs if answer.released is not None else ())
    if refs:
        headers.append((b"x-ledger-index", ", ".join(refs).encode()))
    if answer.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})
