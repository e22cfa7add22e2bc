"""What the log learns of an access or a change: ledger events, built from the words of health care.

This and `consent.py` are the only files that speak both vocabularies. An event commits to who, whom, for what
purpose, to which content and on what basis; the sealed detail in the vault holds the same in words, and AuditEvents
are rendered from it. Nothing here decides or appends.

`content` is the RFC 6962 root over the sorted lines `op Type/id/_history/version sha256-hex` (op r, c, u, d), so that
one resource can be proven without showing the others.

Source: ledger chapter §2, §3, §5; access chapter §10; IHE BALP (which facts an AuditEvent needs).
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

from adapter.access.identity import Actor
from adapter.access.policy import Change
from ledger.commitment import SubjectKey
from ledger.event import Event, Requires, new_id
from ledger.merkle import leaf_hash, root_of

Entropy = Callable[[int], bytes]
Kind = Literal["access.read", "access.search", "access.export"]

NOBODY = "none"  # the committed subject of an event about nobody: hidden and absent must look alike
NO_END = "none"  # the committed bound of a consent without one


class Asked(Protocol):
    """The part of an asking that its event tells of (`disclose.Ask`)."""

    @property
    def actor(self) -> Actor: ...
    @property
    def interaction(self) -> str: ...
    @property
    def now(self) -> datetime: ...
    @property
    def request_id(self) -> str: ...
    @property
    def query(self) -> str: ...


def line(op: str, resource_type: str, logical_id: str, version: int, body: bytes) -> str:
    """One line of a content root."""
    return f"{op} {resource_type}/{logical_id}/_history/{version} {hashlib.sha256(body).hexdigest()}"


def content_root(lines: Iterable[str]) -> str:
    """The root that an event commits to, in hex. No line at all has the root of the empty tree."""
    return root_of(leaf_hash(text.encode()) for text in sorted(lines)).hex()


def subject(owner: int) -> str:
    """An owner as the log commits to it. Owner 0 is nobody."""
    return f"o-{owner}" if owner else NOBODY


@dataclass(frozen=True, slots=True)
class Share:
    """One patient's share of what a request releases: her key, the lines, and what the permit rests on.

    `subject` is whom the basis is about: she herself or, where it was given after a merge, the one she was merged into.
    """

    subject: int
    key: SubjectKey
    lines: Sequence[str]
    basis: str
    requires: Sequence[Requires]


def released(ask: Asked, kind: Kind, share: Share, org: str, entropy: Entropy) -> Event:
    """The permit event of one patient, which is also the record of the decision."""
    secret = {
        "actor": ask.actor.client_id,
        "subject": subject(share.subject),
        "purpose": " ".join(ask.actor.purposes),
        "content": content_root(share.lines),
        "basis": share.basis,
    }
    return Event(
        type=kind,
        id=new_id(ask.now, entropy),
        org=org,
        outcome="permit",
        subject_key=share.key,
        secret=secret,
        detail=_detail(ask, secret, outcome="permit", content=sorted(share.lines)),
        requires=share.requires,
    )


def empty(ask: Asked, key: SubjectKey, org: str, entropy: Entropy) -> Event:
    """A search that releases nobody: the same entry whether there was nothing, or nothing for this asker."""
    secret = {
        "actor": ask.actor.client_id,
        "subject": NOBODY,
        "purpose": " ".join(ask.actor.purposes),
        "content": content_root(()),
        "basis": NOBODY,
    }
    return Event(
        type="access.search",
        id=new_id(ask.now, entropy),
        org=org,
        outcome="deny",
        subject_key=key,
        secret=secret,
        detail=_detail(ask, secret, outcome="deny"),
    )


@dataclass(frozen=True, slots=True)
class Fold:
    """Several equal refusals in one event: how many, within how many seconds."""

    count: int
    window_s: int


def refused(
    ask: Asked, owner: int, key: SubjectKey, org: str, entropy: Entropy, *, at: datetime, fold: Fold | None = None
) -> Event:
    """A refusal: of one patient's data, or about nobody (owner 0), which the entry does not tell apart."""
    secret = {"actor": ask.actor.client_id, "subject": subject(owner), "purpose": " ".join(ask.actor.purposes)}
    return Event(
        type="access.denied",
        id=new_id(at, entropy),
        org=org,
        outcome="deny",
        subject_key=key,
        clear={"count": fold.count, "window_s": fold.window_s} if fold else {},
        secret=secret,
        detail=_detail(ask, secret, outcome="deny"),
    )


def padding(key: SubjectKey, org: str, at: datetime, entropy: Entropy) -> Event:
    """A refusal of nobody by nobody, so that the number of refused patients in a search does not show."""
    secret = {"actor": NOBODY, "subject": NOBODY, "purpose": NOBODY}
    return Event(
        type="access.denied",
        id=new_id(at, entropy),
        org=org,
        outcome="deny",
        subject_key=key,
        secret=secret,
        detail=msgspec.json.encode({"v": 1, "outcome": "deny", "padding": True, "committed": secret}, order="sorted"),
    )


def _detail(ask: Asked, committed: Mapping[str, str], **more: object) -> bytes:
    """Who asked for what, and the committed values as they are: with them and the key an entry is opened."""
    facts = {"v": 1, "query": ask.query, "interaction": ask.interaction, "committed": committed}
    return msgspec.json.encode(who(ask) | facts | more)


def who(ask: Asked) -> dict[str, Any]:
    """Who asked, as the sealed detail tells it."""
    actor = ask.actor
    return {
        "client": actor.client_id,
        "organisation": {"system": actor.organisation.system, "value": actor.organisation.value},
        "own": actor.own,  # as it was when it was decided: a site may change its identifier later
        "roles": sorted(actor.roles),
        "purposes": list(actor.purposes),
        "address": actor.address,
        "jti": actor.jti,
        "request": ask.request_id,
    }


def policy_events(found: Sequence[Change], org: str, at: datetime, entropy: Entropy) -> list[Event]:
    """What brings the log to the settings: each change adopts a policy and ends the one it replaces, in one batch."""
    events = []
    for change in found:
        if change.retires is not None:
            ref = change.retires.ref
            retired = {"of": ref, "name": change.name, "digest": change.retires.digest}
            events.append(Event("policy.retired", new_id(at, entropy), org, clear=retired, ends=(ref,)))
        adopted: Mapping[str, str] = {"name": change.name, "digest": change.digest}
        events.append(Event("policy.adopted", new_id(at, entropy), org, clear=adopted))
    return events


def operator_acted(
    key: SubjectKey, org: str, at: datetime, entropy: Entropy, *, actor: str, action: str, target: str
) -> Event:
    """An operator's act: replay, discard, export, feed apply, key or role change. The sealed detail says why."""
    secret = {"actor": actor, "target": target}
    return Event(
        type="operator.acted",
        id=new_id(at, entropy),
        org=org,
        subject_key=key,
        clear={"action": action},
        secret=secret,
        detail=msgspec.json.encode({"v": 1, "committed": secret}),
    )


def digest(body: bytes) -> str:
    """The plain digest of a resource's bytes, for a field that is committed under the patient's key."""
    return hashlib.sha256(body).hexdigest()


def consent_detail(ask: Asked, committed: Mapping[str, str], logical_id: str, version: int, body: bytes) -> bytes:
    """The sealed detail of a consent event: handle and Consent meet only here (access chapter §9)."""
    return _detail(ask, committed, reference=f"Consent/{logical_id}", version=version, consent=body.decode())
