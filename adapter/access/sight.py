"""What one asker sees in one snapshot of the store: steps 2 to 6 of the gate (`disclose.py`), for any resource.

The gate makes one `Sight` for each asking. It decides the candidates of a search by it, and lends it to the search for
what lies beside them: `shown` judges an included resource, or the target of a chain or `_has`, by its own type and
owner, so that nothing hidden can be inferred through what is shown. A key that is not in memory is noted in
`lacking`: the gate loads what is lacking and decides the whole again, so that no answer misses what it would show.

`Ask` is what is asked, `Disclosed` one version that may leave. Source: access chapter §6.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection

from adapter.access.audit import Kind
from adapter.access.identity import Actor
from adapter.access.permits import Permit, Permits
from adapter.access.scopes import Judgement, Letter
from adapter.seal.keyring import SHARED, Keyring, NeedKeys
from adapter.store import owners, subscriptions
from adapter.store.owners import OwnerFacts
from adapter.store.resources import Sealed
from mappings.fhir.codec import decode

Json = dict[str, Any]
Matches = Callable[[Json], bool]

# what she permits and forbids to others is no part of what she permits to one of them: a restriction must not show
PRIVATE = frozenset({"Consent"})
SUBSCRIPTION = "Subscription"


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked, by whom, and when. `thing` names it for the counting of refusals; `received` is monotonic."""

    actor: Actor
    kind: Kind
    interaction: str
    type: str
    letter: Letter
    thing: str
    query: str
    request_id: str
    now: datetime
    received: float


@dataclass(frozen=True, slots=True)
class Disclosed:
    """One resource version that may leave. A delete marker has no body."""

    type: str
    id: str
    version: int
    at: int  # meta.lastUpdated, in milliseconds
    op: str
    rid: int
    owner: int
    body: bytes = field(repr=False)
    resource: Json | None = field(default=None, repr=False)  # decoded, where something had to look into it


# (type, queries of its granular scopes) -> one predicate for each
Scoped = Callable[[str, Iterable[str], datetime], list[Matches]]


class Sight:
    """One asker, one snapshot. `permits` and `facts` are by a resource's owner, of all that was looked at."""

    def __init__(self, conn: Connection, ask: Ask, keyring: Keyring, permits: Permits, scoped: Scoped) -> None:
        self._conn, self._ask, self._keyring, self._decide, self._scoped = conn, ask, keyring, permits, scoped
        self.facts: dict[int, tuple[OwnerFacts, ...]] = {}
        self.permits: dict[int, tuple[Permit, ...]] = {}
        self.lacking: set[int] = set()
        self.hidden: dict[int, None] = {}  # patients whose resource was followed to, and not shown
        self._shown: dict[tuple[int, int], Disclosed | None] = {}
        self._allowed: dict[str, Matches | None] = {}
        self._touched: dict[int, None] = {}

    def know(self, found: Iterable[int]) -> None:
        """Steps 2 and 3 for these owners. Raises NeedKeys, once for all of them."""
        self._meet(found)
        self.settle()
        for owner, behind in self.facts.items():
            if owner not in self.permits:
                self.permits[owner] = self._decide.of_owner(self._conn, self._ask, owner, behind)

    def settle(self) -> None:
        """Raises NeedKeys where keys were lacking: what was shown without them was not all."""
        if self.lacking:
            raise NeedKeys(self.lacking)

    def touched(self) -> tuple[int, ...]:
        """The owners of what `shown` gave since it was last asked: on whose data a match rests."""
        found = tuple(self._touched)
        self._touched.clear()
        return found

    def erased(self, owner: int) -> bool:
        return any(one.erased for one in self.facts[owner])

    def permitted(self, sealed: Sealed) -> bool:
        """Step 5."""
        if not self.permits[sealed.owner] or (sealed.type in PRIVATE and not self._ask.actor.own):
            return False
        if sealed.before is not None and not self.permits[sealed.before.owner]:
            return False
        return sealed.type != SUBSCRIPTION or self._is_askers(sealed)

    def _is_askers(self, sealed: Sealed) -> bool:
        """A Subscription is its client's alone: it holds the keys to the client's own door."""
        return subscriptions.client_of(self._conn, sealed.rid) == self._ask.actor.client_id

    def open(self, sealed: Sealed, matches: Matches | None) -> Disclosed | None:
        """Step 4: the plaintext, or None when it is not what was asked for.

        A deletion is judged by what it deleted; where that is not at hand, it goes by the id that was asked for.
        """
        if sealed.before is not None:
            stood = self.open(sealed.before, matches)
            return None if stood is None else _disclosed(sealed, stood.id, b"", None)
        if sealed.body is None:
            return None if matches else _disclosed(sealed, self._ask.thing.rpartition("/")[2], b"", None)
        body = sealed.open(self._keyring.owner(sealed.owner))
        if matches is None:
            return _disclosed(sealed, _STAMP.decode(body).id, body, None)
        resource = decode(body)
        return _disclosed(sealed, resource["id"], body, resource) if matches(resource) else None

    def shown(self, sealed: Sealed) -> Disclosed | None:
        """Step 7: one that is included, or followed to, by its own type and owner; None is hidden or absent."""
        key = (sealed.rid, sealed.ver)
        if key not in self._shown:
            if not self._ready(sealed.owner):
                return None
            self._shown[key] = self._judged(sealed)
        found = self._shown[key]
        if found is not None:
            self._touched[found.owner] = None
        return found

    def narrowed(self, resource_type: str, judgement: Judgement, matches: Matches | None) -> Matches | None:
        """The predicate on plaintext: the search's own, and one of the granular scopes where there are only such."""
        if not judgement.permitted:
            return _nothing_fits
        if not judgement.queries:
            return matches
        allowed = self._scoped(resource_type, judgement.queries, self._ask.now)
        return lambda resource: (matches is None or matches(resource)) and any(one(resource) for one in allowed)

    def _judged(self, sealed: Sealed) -> Disclosed | None:
        judgement = self._ask.actor.scopes.judge(sealed.type, "s")
        if sealed.deleted or not judgement.permitted or self.erased(sealed.owner):
            return None
        if sealed.type not in self._allowed:
            self._allowed[sealed.type] = self.narrowed(sealed.type, judgement, None)
        opened = self.open(sealed, self._allowed[sealed.type])
        if opened is not None and not self.permitted(sealed):
            self.hidden.update((one.owner, None) for one in self.facts[sealed.owner][:1])
            return None
        return opened

    def _ready(self, owner: int) -> bool:
        """Whether this owner has been decided, as far as the keys in memory go."""
        if owner not in self.facts:
            self._meet((owner,))
        if owner in self.permits:
            return True
        if self._missing((owner,)):
            return False
        self.permits[owner] = self._decide.of_owner(self._conn, self._ask, owner, self.facts[owner])
        return True

    def _meet(self, found: Iterable[int]) -> None:
        """Step 2."""
        new = [owner for owner in found if owner not in self.facts]
        self.facts.update((owner, owners.patients(self._conn, self._keyring.org, owner)) for owner in new)
        self.lacking.update(self._missing((SHARED, *new)))

    def _missing(self, found: Sequence[int]) -> frozenset[int]:
        behind = [one for owner in found for one in self.facts.get(owner, ())]
        wanted = {*found, *(one.owner for one in behind)} - {one.owner for one in behind if one.erased}
        return self._keyring.missing(wanted)


def _nothing_fits(resource: Json) -> bool:
    """The predicate of a type that no scope covers."""
    return False


class _Stamp(msgspec.Struct):
    """The one member of a resource that the gate needs of every body; the rest is skipped unread."""

    id: str


_STAMP = msgspec.json.Decoder(_Stamp)


def _disclosed(sealed: Sealed, logical_id: str, body: bytes, resource: Json | None) -> Disclosed:
    return Disclosed(
        sealed.type, logical_id, sealed.ver, sealed.at, sealed.op, sealed.rid, sealed.owner, body, resource
    )
