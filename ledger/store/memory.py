"""The log in memory: for tests, and the shortest statement of what a store must do."""

from collections.abc import Callable, Sequence

from ledger.errors import ConflictError, IntegrityError
from ledger.merkle import Digest
from ledger.store.base import ALONE, D, Entry, Facts, Head, Question, Step, StoredCheckpoint, no_step
from ledger.tiles import Tile


class MemoryLogStore:
    """A LogStore that forgets at the end of the process."""

    def __init__(self, step: Step = no_step) -> None:
        self._step = step
        self._head = Head()
        self._entries: list[Entry] = []
        self._by_id: dict[bytes, Entry] = {}
        self._ended: dict[str, int] = {}
        self._epochs: dict[int, int] = {}
        self._tiles: dict[tuple[int, int], bytes] = {}
        self._checkpoints: dict[int, StoredCheckpoint] = {}

    async def head(self) -> Head:
        return self._head

    async def append(self, question: Question, decide: Callable[[Facts], D]) -> D:
        self._step("append.head_locked")
        facts = Facts(
            self._head,
            {event_id: self._by_id[event_id] for event_id in question.ids if event_id in self._by_id},
            {ref: self._ended[ref] for ref in question.refs if ref in self._ended},
            {row: self._epochs[row] for row in question.subjects if row in self._epochs},
        )
        decided = decide(facts)
        self._step("append.entries_written")
        writes = decided.writes
        self._entries.extend(writes.entries)
        self._by_id.update((entry.id, entry) for entry in writes.entries)
        self._ended.update(writes.ended)
        self._epochs.update(writes.epochs)
        self._head = writes.head
        self._step("append.entries_committed")
        return decided

    async def entries(self, start: int, end: int) -> list[Entry]:
        return self._entries[start:end]

    async def leaves(self, start: int, end: int) -> list[Digest]:
        return [entry.leaf for entry in self._entries[start:end]]

    async def find(self, event_id: bytes) -> Entry | None:
        return self._by_id.get(event_id)

    async def ended(self, refs: Sequence[str]) -> dict[str, int]:
        return {ref: self._ended[ref] for ref in refs if ref in self._ended}

    async def tile(self, level: int, index: int) -> bytes | None:
        return self._tiles.get((level, index))

    async def lead(self, holder: str, for_s: float) -> int | None:
        return ALONE

    async def integrate(self, tiles: Sequence[Tile], checkpoint: StoredCheckpoint, token: int) -> None:
        newest = await self.newest_checkpoint()
        if newest is not None and newest.size > checkpoint.size:
            raise ConflictError("log was integrated further meanwhile")
        if newest is not None and newest.size == checkpoint.size and newest.root != checkpoint.root:
            raise IntegrityError(f"a second root for size {checkpoint.size}")
        self._step("integrate.stored")
        self._tiles.update(((tile.level, tile.index), tile.hashes) for tile in tiles)
        self._checkpoints.setdefault(checkpoint.size, checkpoint)
        self._step("integrate.committed")

    async def newest_checkpoint(self) -> StoredCheckpoint | None:
        return self._checkpoints[max(self._checkpoints)] if self._checkpoints else None

    async def checkpoint(self, size: int) -> StoredCheckpoint | None:
        return self._checkpoints.get(size)

    async def checkpoints(self) -> list[StoredCheckpoint]:
        return [self._checkpoints[size] for size in sorted(self._checkpoints)]

    async def close(self) -> None:
        """Nothing to release."""
