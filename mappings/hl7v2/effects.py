"""What a message does to resources it does not carry, for the store to execute in the commit of those it does.

Source: design chapter HL7 v2 §6.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Close:
    """End what a snapshot no longer lists: resources of `type` under `scope` (Patient/x, Account/x, Encounter/x) that
    this feed made and that are not in `keep`."""

    type: str
    scope: str
    keep: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Repoint:
    """Move what hangs on one resource (`old`) to another of its kind (`new`).

    `type`: only resources of this type, "" for all. `within`: only this resource and what hangs on it, "" for all that
    hangs on `old`: a visit that moves to another patient takes its results along and leaves the other visits.
    """

    type: str
    old: str
    new: str
    within: str = ""


@dataclass(frozen=True, slots=True)
class Undo:
    """Take back what an earlier event put at an element; said again it changes nothing."""

    id: str
    path: str


@dataclass(frozen=True, slots=True)
class Reach:
    """Say of what is stored under the same number what the message says of `id`, which it names by that number alone.

    An ORC without its OBR speaks of every order that carries its numbers, also where `id` has the key of none of them;
    only where none is stored, `id` is made. `drug`: what it says of a drug order under that number, as JSON, where `id`
    is no drug order itself. `one`: `id` corrects an event, and counts only where exactly one of its drug is stored
    under its order; from then on `id` is a second name of that one.
    """

    id: str
    drug: str = ""
    one: bool = False


Effect = Close | Repoint | Undo | Reach
