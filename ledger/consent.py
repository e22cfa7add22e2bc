"""Consents as a fold over the log: which handle stands where, and what each entry grants.

Everything that affects the state of a consent must live in `TRANSITIONS`. What is not in it is refused: it changes
nothing, and is reported. A consent is known by its handle; what it says is in the encrypted store, digest committed.
Source: ledger chapter §10.
"""

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    NONE = "none"
    GRANTED = "granted"
    AMENDED = "amended"
    REVOKED = "revoked"
    EXPIRED = "expired"


# state, event → state. Revoked and expired are terminal: granting again is another consent, under another handle.
TRANSITIONS = {
    (State.NONE, "consent.granted"): State.GRANTED,
    (State.GRANTED, "consent.amended"): State.AMENDED,
    (State.AMENDED, "consent.amended"): State.AMENDED,
    (State.AMENDED, "consent.granted"): State.GRANTED,
    (State.GRANTED, "consent.revoked"): State.REVOKED,
    (State.AMENDED, "consent.revoked"): State.REVOKED,
    (State.GRANTED, "consent.expired"): State.EXPIRED,
    (State.AMENDED, "consent.expired"): State.EXPIRED,
}
EVENTS = frozenset(event for _, event in TRANSITIONS)
GRANTING = frozenset({"consent.granted", "consent.amended"})
ENDING = EVENTS - {"consent.granted"}  # an entry of these types ends the one before it under the same handle


@dataclass(frozen=True, slots=True)
class Standing:
    """One handle: its state, and the entry that made it so."""

    state: State = State.NONE
    index: int = -1


@dataclass(frozen=True, slots=True)
class Moved:
    """What one entry did: from where, to where, and whether that was allowed."""

    before: Standing
    after: Standing

    @property
    def refused(self) -> bool:
        return self.before == self.after


class Consents:
    """The handles of one log. Entries come in its order."""

    def __init__(self) -> None:
        self._standing: dict[str, Standing] = {}

    def take(self, index: int, event: str, handle: str) -> Moved:
        """One consent entry whose handle is known."""
        before = self.of(handle)
        state = TRANSITIONS.get((before.state, event))
        after = before if state is None else Standing(state, index)
        self._standing[handle] = after
        return Moved(before, after)

    def of(self, handle: str) -> Standing:
        return self._standing.get(handle, Standing())
