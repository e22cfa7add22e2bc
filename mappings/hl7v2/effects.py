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
    """Move what hangs on one resource to another of the same type."""

    type: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Undo:
    """Take back what an earlier event put at a path."""

    id: str
    path: str


Effect = Close | Repoint | Undo
