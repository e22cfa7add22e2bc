"""What a log store is: asking, deciding and writing as one act; and reading what it wrote.

The head row is the sequencer. `append` lets the pure `decide` turn the `Facts` that a `Question` names into `Writes`,
and writes these in one transaction. What was decided on is so until then: it was read under the lock of the head, or it
was taken to be so, and the writing does nothing where it is not. What `decide` raises leaves nothing behind. So the
rules stand once, in `sequence.py`, for every engine. Entries and checkpoints are never changed or deleted.
Source: ledger chapter §6.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeVar

from ledger.errors import StorageError
from ledger.merkle import Digest
from ledger.tiles import Tile

Step = Callable[[str], None]

ALONE = 1  # the token of a store that one process has to itself


def no_step(name: str) -> None:
    """The hook between two steps, where tests kill the process. Here it does nothing."""


class StoreError(StorageError):
    """The database refused or failed; the cause is chained."""


@dataclass(frozen=True, slots=True)
class Head:
    """How many entries there are, and the time of the last ("" before the first)."""

    size: int = 0
    last_t: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One leaf: `id` is the event's 16 bytes, `body` the bytes that are hashed."""

    index: int
    id: bytes
    leaf: Digest
    body: bytes


@dataclass(frozen=True, slots=True)
class Question:
    """What a group must know before it is decided: taken ids, ended references, epochs of subjects.

    `epochs` says of a subject up to which epoch the group does not care; 0 where it says nothing.
    """

    ids: Sequence[bytes]
    refs: Sequence[str]
    subjects: Sequence[int]
    epochs: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """The answers, which hold until the group is written. What is not listed does not exist."""

    head: Head
    entries: Mapping[bytes, Entry]
    ended: Mapping[str, int]
    epochs: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Writes:
    """What a group appends: `entries` follow the head without a gap; `epochs` are final values."""

    head: Head
    entries: Sequence[Entry] = ()
    ended: Mapping[str, int] = field(default_factory=dict)
    epochs: Mapping[int, int] = field(default_factory=dict)


class Decided(Protocol):
    @property
    def writes(self) -> Writes: ...

    def behind(self, start: int) -> Self:
        """The same, its first entry at this index."""
        ...


D = TypeVar("D", bound=Decided)


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A signed checkpoint: one root a size, for ever."""

    size: int
    root: Digest
    note: str


class LogStore(Protocol):
    """One log (one origin). Every call may raise StoreError; `append` and `integrate` are all or nothing."""

    async def head(self) -> Head: ...

    async def append(self, question: Question, decide: Callable[[Facts], D]) -> D:
        """`decide` may be called again, with what the first try wrote after all among its facts."""
        ...

    async def entries(self, start: int, end: int) -> list[Entry]:
        """Those of [start, end) that exist, in order."""
        ...

    async def leaves(self, start: int, end: int) -> list[Digest]: ...

    async def find(self, event_id: bytes) -> Entry | None: ...

    async def ended(self, refs: Sequence[str]) -> dict[str, int]:
        """Reference → index of the entry that ended it."""
        ...

    async def tile(self, level: int, index: int) -> bytes | None:
        """The hashes of the tile as of the newest checkpoint; a partial tile grows, a full one never changes."""
        ...

    async def lead(self, holder: str, for_s: float) -> int | None:
        """A token for `holder`, who may integrate for so long; None while another may. Asked again in time it is kept,
        asked for no time given back. A store that one process has to itself gives it to whoever asks."""
        ...

    async def integrate(self, tiles: Sequence[Tile], checkpoint: StoredCheckpoint, token: int) -> None:
        """Tiles and checkpoint in one transaction. Raises IntegrityError for a second root of one size, ConflictError
        where another leads or was ahead."""
        ...

    async def newest_checkpoint(self) -> StoredCheckpoint | None: ...

    async def checkpoint(self, size: int) -> StoredCheckpoint | None: ...

    async def checkpoints(self) -> list[StoredCheckpoint]:
        """All of them, smallest first."""
        ...

    async def close(self) -> None: ...
