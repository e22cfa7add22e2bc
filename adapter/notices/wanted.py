"""A Subscription as it is understood here: topic and patient, endpoint, headers, how much a notice says.

- `criteria`: `TOPIC?patient=ID`, the id alone, as `Patient/ID`, or under this server's own base.
- `channel`: `rest-hook`; no `payload` is an empty POST, `application/fhir+json` a notification Bundle, whose
  content the extension `backport-payload-content` names: `empty`, `id-only` (without the extension) or `full-resource`.
- `header`: at most 8, none that steers the connection or the message.
- Whatever else a Subscription may hold and we would not keep to is refused at its place: no other extension or channel.

Pure: no look-up, no clock. http://hl7.org/fhir/R4/subscription.html; HL7 Subscriptions R5 Backport 1.1.0, R4 profiles;
fhir chapter §10.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from adapter.errors import IssueItem, Unprocessable
from adapter.notices.endpoint import Endpoint, parse
from adapter.store.subscriptions import TOPICS

Json = dict[str, Any]

BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
CONTENT = f"{BACKPORT}/backport-payload-content"
EMPTY, ID_ONLY, FULL = "empty", "id-only", "full-resource"
NOTHING = "nothing"  # no payload at all
MIME = "application/fhir+json"
MAX_HEADERS, MAX_HEADER_CHARS = 8, 2048

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_HEADER = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}): ?([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)")
# what steers the connection, the message or its reading, is ours to say (RFC 9110 §7.6, §8)
OURS = frozenset(
    "host connection content-length content-type content-encoding content-digest transfer-encoding te trailer upgrade "
    "expect keep-alive proxy-connection proxy-authorization idempotency-key user-agent accept forwarded via".split()
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asked for."""

    topic: str
    patient: str = field(repr=False)
    endpoint: Endpoint = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    content: str
    end: datetime | None


def read(resource: Json, base: str) -> Wanted:
    """What a valid Subscription of R4 asks for. Raises Unprocessable with every place that cannot be served."""
    faults: list[IssueItem] = []
    channel = resource["channel"]
    _refuse_unknown(resource, channel, faults)
    topic, patient = _criteria(resource["criteria"], base, faults)
    endpoint = _endpoint(channel, faults)
    headers = _headers(channel.get("header", ()), faults)
    content = _content(channel, faults)
    if faults:
        raise Unprocessable("the subscription cannot be served as it stands", code="subscription", items=tuple(faults))
    end = resource.get("end")
    moment = datetime.fromisoformat(end) if end else None
    return Wanted(topic, patient, endpoint, headers, content, moment)


def _fault(faults: list[IssueItem], place: str, text: str, issue: str = "value") -> None:
    faults.append(IssueItem(issue, f"Subscription.{place}", text))


def _refuse_unknown(resource: Json, channel: Json, faults: list[IssueItem]) -> None:
    for place, holder in (("", resource), ("channel.", channel)):
        for name in ("extension", "modifierExtension", "implicitRules", "contained"):
            if name in holder:
                _fault(faults, f"{place}{name}", "what this says would not be kept to", "not-supported")
    for holder, place in ((resource, ""), (channel, "channel.")):
        for name in holder:
            if name.startswith("_") and name != "_payload":
                _fault(faults, f"{place}{name[1:]}", "what this says would not be kept to", "not-supported")
    if channel["type"] != "rest-hook":
        _fault(faults, "channel.type", "the one channel served here is rest-hook", "not-supported")


def _criteria(text: str, base: str, faults: list[IssueItem]) -> tuple[str, str]:
    topic, _, query = text.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    if topic not in TOPICS:
        _fault(faults, "criteria", f"the topics are {', '.join(sorted(TOPICS))}", "not-supported")
    if [name for name, _ in pairs] != ["patient"]:
        _fault(faults, "criteria", "a topic is asked for as TOPIC?patient=ID, of one patient", "not-supported")
        return topic, ""
    patient = pairs[0][1].removeprefix(f"{base}/").removeprefix("Patient/")
    if not _ID.fullmatch(patient):
        _fault(faults, "criteria", "the patient is not named by an id of this server")
    return topic, patient


def _endpoint(channel: Json, faults: list[IssueItem]) -> Endpoint:
    try:
        return parse(channel.get("endpoint", ""))
    except Unprocessable as exc:
        _fault(faults, "channel.endpoint", exc.text)
        return Endpoint("", 0, "")


def _headers(lines: list[str], faults: list[IssueItem]) -> tuple[tuple[str, str], ...]:
    if len(lines) > MAX_HEADERS:
        _fault(faults, "channel.header", f"at most {MAX_HEADERS} headers are sent", "too-long")
        return ()
    found = []
    for number, line in enumerate(lines):
        match = _HEADER.fullmatch(line) if len(line) <= MAX_HEADER_CHARS else None
        if match is None:
            _fault(faults, f"channel.header[{number}]", "this is no header: a name, a colon, printable ASCII")
        elif match[1].lower() in OURS:
            _fault(faults, f"channel.header[{number}]", "this header is the server's own to send", "not-supported")
        else:
            found.append((match[1], match[2]))
    return tuple(found)


def _content(channel: Json, faults: list[IssueItem]) -> str:
    payload, more = channel.get("payload"), channel.get("_payload")
    if payload is None and more is None:
        return NOTHING
    if payload != MIME:
        _fault(faults, "channel.payload", f"a payload is {MIME}, or there is none", "not-supported")
        return NOTHING
    extensions = more.get("extension", []) if more else []
    if any(one["url"] != CONTENT for one in extensions) or len(extensions) > 1 or set(more or ()) - {"extension"}:
        _fault(faults, "channel.payload", "the one extension served here is backport-payload-content", "not-supported")
        return NOTHING
    content = str(extensions[0].get("valueCode")) if extensions else ID_ONLY
    if content not in (EMPTY, ID_ONLY, FULL):
        _fault(faults, "channel.payload", f"the content is {EMPTY}, {ID_ONLY} or {FULL}", "code-invalid")
    return content
