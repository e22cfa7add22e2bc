"""Refusals: counted, folded and bounded, so that probing neither fills the log nor tells hidden from absent.

- The first refusal of one (client, thing asked for) is an event at once; repeats within a minute are folded into one
  more event with their count when the minute is over. The patient behind it has no part in this: one name may lead to
  her and, in another version, to nobody, and the number of entries must not tell so.
- A client with over 60 distinct refusals in a minute is told to wait (429) before anything is looked up.
- Patients whom a search found and did not release get their event from the minute's timer, padded with refusals of
  nobody to 8, 16, 32 …, in every minute that saw a search, whatever it released: neither the time nor the number of
  entries tells what a search found.

A book is one process's; what it has not yet folded when the process dies is lost, the first of each kind is not.
Source: access chapter §6, §10.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from adapter.access import audit
from adapter.access.audit import Asked, Fold
from adapter.errors import Throttled
from ledger.commitment import SubjectKey
from ledger.event import Event

WINDOW_S = 60
MAX_DISTINCT = 60  # of one client in a window
MAX_FOLDS = 8192  # kept at once, of all clients: beyond it a refusal would go uncounted
SMALLEST_PAD = 8

Key = tuple[str, str]


@dataclass(slots=True)
class _Folded:
    """`owner` is whom the repeats are told of: nobody, until one of them is about a patient."""

    ask: Asked
    since: float
    owner: int
    repeats: int = 0


@dataclass(slots=True)
class Book:
    """The refusals of the last minute. `now` is a monotonic number of seconds."""

    _folds: dict[Key, _Folded] = field(default_factory=dict)
    _distinct: dict[str, dict[str, float]] = field(default_factory=dict)
    _searched: dict[tuple[str, int], Asked] = field(default_factory=dict)
    _searches: bool = False

    def admit(self, client_id: str, now: float) -> None:
        """Raises Throttled for a client that has been refused too often, or when the book is full."""
        seen = self._distinct.get(client_id)
        if seen is not None and len(seen) >= MAX_DISTINCT:
            for key in [key for key, at in seen.items() if at <= now - WINDOW_S]:
                del seen[key]
            if len(seen) >= MAX_DISTINCT:
                raise Throttled("too many refused requests within a minute", hint=str(WINDOW_S))
        if len(self._folds) >= MAX_FOLDS:
            raise Throttled("too many refused requests within a minute", hint=str(WINDOW_S))

    def is_first(self, ask: Asked, thing: str, owner: int, now: float) -> bool:
        """Note a refusal: True when it needs an event of its own, False when it was folded into an earlier one."""
        client_id = ask.actor.client_id
        self._distinct.setdefault(client_id, {})[thing] = now
        folded = self._folds.get((client_id, thing))
        if folded is None:
            self._folds[client_id, thing] = _Folded(ask, now, owner)
            return True
        folded.repeats += 1
        folded.owner = owner or folded.owner
        return False

    def forget(self, ask: Asked, thing: str) -> None:
        """Take a first refusal back: its event could not be appended, so the next one is the first."""
        self._folds.pop((ask.actor.client_id, thing), None)

    def note_search(self, ask: Asked, owners: Iterable[int]) -> None:
        """Note that there was a search, and whom it withheld."""
        self._searches = True
        for owner in owners:
            self._searched.setdefault((ask.actor.client_id, owner), ask)

    def take(self, now: float) -> "Taken":
        """Take out what is over a window old, and all that searches withheld since the last call."""
        over = {key: folded for key, folded in self._folds.items() if folded.since <= now - WINDOW_S}
        for key in over:
            del self._folds[key]
        taken = Taken(over, self._searched, self._searches)
        self._searched, self._searches = {}, False
        for client_id in [name for name, seen in self._distinct.items() if max(seen.values()) <= now - WINDOW_S]:
            del self._distinct[client_id]
        return taken

    def put_back(self, taken: "Taken") -> None:
        """What could not be told now is told the next time."""
        for key, folded in taken.folded.items():
            if (newer := self._folds.setdefault(key, folded)) is not folded:
                newer.repeats += folded.repeats
                newer.owner = newer.owner or folded.owner
        self._searched = {**taken.withheld, **self._searched}
        self._searches = self._searches or taken.searches


@dataclass(frozen=True, slots=True)
class Taken:
    """What a minute left to tell. The owners' keys are loaded before `events`."""

    folded: Mapping[Key, _Folded]
    withheld: Mapping[tuple[str, int], Asked]
    searches: bool

    def owners(self) -> frozenset[int]:
        return frozenset({0, *(one.owner for one in self.folded.values()), *(owner for _, owner in self.withheld)})

    def events(self, at: datetime, org: str, key: Callable[[int], SubjectKey], entropy: audit.Entropy) -> list[Event]:
        folded = [
            audit.refused(one.ask, one.owner, key(one.owner), org, entropy, at=at, fold=Fold(one.repeats, WINDOW_S))
            for one in self.folded.values()
            if one.repeats
        ]
        # no count here: it would tell a withheld patient from the padding
        withheld = [
            audit.refused(ask, owner, key(owner), org, entropy, at=at) for (_, owner), ask in self.withheld.items()
        ]
        if self.searches:
            size = SMALLEST_PAD
            while size < len(withheld):
                size *= 2
            withheld += [audit.padding(key(0), org, at, entropy) for _ in range(size - len(withheld))]
        return folded + withheld
