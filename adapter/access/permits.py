"""Who permits an asking: every patient behind a resource, each by her consents or the house's policy.

Step 3 and 5 of the gate (`disclose.py`). A patient's consents are opened once and kept until her epoch moves.
Source: access chapter §6, §7.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Protocol

from sqlalchemy import Connection

from adapter.access import consent, policy
from adapter.access.identity import Actor
from adapter.seal.keyring import SHARED, Keyring
from adapter.store import families, outbox, resources
from adapter.store.owners import OwnerFacts
from ledger.event import Requires, RequiresEpoch, RequiresRef, timestamp
from mappings.fhir.codec import decode

RESIDUALS = 16_384  # patients whose compiled consents are kept, as many as the keyring keeps keys


class Asking(Protocol):
    """The part of an asking that is decided on (`sight.Ask`)."""

    @property
    def actor(self) -> Actor: ...
    @property
    def now(self) -> datetime: ...


class Adopted(Protocol):
    """The policies that the log adopted last (`disclose.House`)."""

    @property
    def policies(self) -> policy.Policies: ...


@dataclass(frozen=True, slots=True)
class Permit:
    """A patient's permit of this asking, or the house's for what belongs to nobody (owner 0)."""

    owner: int
    subject: int  # whom the basis is about: the survivor, where a consent was given after a merge
    basis: str
    requires: tuple[Requires, ...]


class Permits:
    """Decides for one organisation. The keys of everybody asked about have to be in memory (NeedKeys else)."""

    def __init__(self, zone: tzinfo, keyring: Keyring, house: Adopted) -> None:
        self._zone, self._keyring, self._house = zone, keyring, house
        self._residuals: dict[int, tuple[int, tuple[consent.Held, ...]]] = {}

    def forget(self, owner: int) -> None:
        """Read her consents again when she is next asked about."""
        self._residuals.pop(owner, None)

    def of_owner(self, conn: Connection, ask: Asking, owner: int, behind: Sequence[OwnerFacts]) -> tuple[Permit, ...]:
        """A permit of every patient behind a resource, or nothing at all: one who denies is enough."""
        actor = ask.actor
        asker = policy.Asker(actor.own, actor.roles, actor.purposes)
        if not behind:
            verdict = policy.default(self._house.policies, asker, shared=True)
            requires: tuple[Requires, ...] = (RequiresRef(verdict.basis),)
            return (Permit(SHARED, SHARED, verdict.basis, requires),) if verdict.permit else ()
        if any(facts.erased for facts in behind):
            return ()
        asking = consent.Asking(actor.organisation, actor.purposes, ask.now)
        default = policy.default(self._house.policies, asker, shared=False)
        held = self._held(conn, owner, behind)
        permits = []
        for facts in behind:
            decision = consent.decide(held[facts.owner], asking, default)
            if not decision.permit:
                return ()
            until = timestamp(decision.until) if decision.until else None
            requires = (RequiresRef(decision.basis, until), RequiresEpoch(facts.owner, facts.epoch))
            subject = facts.owner if decision.owner is None else decision.owner
            permits.append(Permit(facts.owner, subject, decision.basis, requires))
        return tuple(permits)

    def _held(
        self, conn: Connection, owner: int, behind: Sequence[OwnerFacts]
    ) -> Mapping[int, tuple[consent.Held, ...]]:
        """What speaks for each patient: her own consents and, of those she was merged with, what came after."""
        own = {facts.owner: self._residual(conn, facts) for facts in behind}
        if len(own) < 2 or owner not in own:  # several patients who share a resource stay several
            return own
        since = families.merged_since(conn, own)
        if since is None:
            return own
        every = tuple(one for held in own.values() for one in held)
        return {patient: tuple(one for one in every if one.owner == patient or one.txn > since) for patient in own}

    def _residual(self, conn: Connection, facts: OwnerFacts) -> tuple[consent.Held, ...]:
        known = self._residuals.get(facts.owner)
        if known is not None and known[0] == facts.epoch:
            return known[1]
        keys = self._keyring.owner(facts.owner)
        held = tuple(
            consent.Held(rule, outbox.reference(conn, sealed.rid, sealed.ver), facts.owner, sealed.txn)
            for sealed in resources.of_type(conn, self._keyring.organisation(), (facts.owner,), "Consent")
            if (rule := consent.stored(decode(sealed.open(keys)), self._zone)) is not None
        )
        if len(self._residuals) >= RESIDUALS:
            self._residuals.clear()  # rare, and cheaper than keeping an order on every read
        self._residuals[facts.owner] = (facts.epoch, held)
        return held
