"""What a notice says: a Bundle of type history, its first entry the status of the subscription.

The same event is the same Bundle, whenever it is sent again, but for the status. Its id is the event's.
Source: HL7 Subscriptions R5 Backport 1.1.0, profiles backport-subscription-notification-r4 and
backport-subscription-status-r4; FHIR R4 bdl-3, bdl-4 (request and response of a history).
"""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from adapter.notices.wanted import BACKPORT
from adapter.store.subscriptions import Notice
from mappings.fhir.codec import decode, encode

Json = dict[str, Any]

# As in a history: which of POST, PUT and a feed made a resource is not kept.
METHODS = {"c": ("PUT", "201"), "u": ("PUT", "200"), "d": ("DELETE", "204")}


@dataclass(frozen=True, slots=True)
class Focus:
    """What an event is about, as far as it is told; `body` for the whole of it."""

    type: str
    id: str = field(repr=False)
    op: str = "u"
    body: bytes = field(repr=False, default=b"")


@dataclass(frozen=True, slots=True)
class About:
    """The subscription as a notice tells of it: the id of its Subscription, and the number of this event."""

    id: str = field(repr=False)
    topic: str
    status: str
    number: int


def notification(base: str, about: About, notice: Notice, focus: Focus | None) -> bytes:
    """The canonical bytes."""
    at = datetime.fromtimestamp(notice.at / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    event = str(uuid.UUID(bytes=notice.id))
    here = f"{base}/Subscription/{about.id}"
    entries = [
        {
            "fullUrl": f"urn:uuid:{event}",
            "resource": _status(here, about, notice, focus, at),
            "request": {"method": "GET", "url": f"Subscription/{about.id}/$status"},
            "response": {"status": "200"},
        }
    ]
    if focus is not None:
        entries.append(_entry(base, focus))
    return encode(
        {
            "resourceType": "Bundle",
            "id": event,
            "meta": {"profile": [f"{BACKPORT}/backport-subscription-notification-r4"]},
            "type": "history",
            "timestamp": at,
            "entry": entries,
        }
    )


def _status(here: str, about: About, notice: Notice, focus: Focus | None, at: str) -> Json:
    kind = "handshake" if notice.handshake else "event-notification"
    parameters: list[Json] = [
        {"name": "subscription", "valueReference": {"reference": here}},
        {"name": "topic", "valueCanonical": f"urn:chartbridge:topic:{about.topic}"},
        {"name": "status", "valueCode": about.status},
        {"name": "type", "valueCode": kind},
    ]
    if not notice.handshake:
        number = str(about.number)
        parts: list[Json] = [
            {"name": "event-number", "valueString": number},
            {"name": "timestamp", "valueInstant": at},
        ]
        if focus is not None:
            parts.append({"name": "focus", "valueReference": {"reference": f"{focus.type}/{focus.id}"}})
        parameters.append({"name": "events-since-subscription-start", "valueString": number})
        parameters.append({"name": "notification-event", "part": parts})
    return {
        "resourceType": "Parameters",
        "meta": {"profile": [f"{BACKPORT}/backport-subscription-status-r4"]},
        "parameter": parameters,
    }


def _entry(base: str, focus: Focus) -> Json:
    method, status = METHODS[focus.op]
    place = f"{focus.type}/{focus.id}"
    entry: Json = {
        "fullUrl": f"{base}/{place}",
        "request": {"method": method, "url": place},
        "response": {"status": status},
    }
    return entry | ({"resource": decode(focus.body)} if focus.body else {})
