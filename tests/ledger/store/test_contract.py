"""What every log store must do: one suite, run on each (ledger format §6)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from ledger.errors import ConflictError, IntegrityError
from ledger.merkle import Digest, leaf_hash
from ledger.store.base import Entry, Facts, Head, LogStore, Question, StoredCheckpoint, Writes
from ledger.tiles import Tile

NOTHING = Question((), (), ())


@dataclass(frozen=True)
class Decision:
    writes: Writes
    facts: Facts = field(repr=False)

    def behind(self, start: int) -> "Decision":
        assert start == self.writes.entries[0].index
        return self


def entry(index: int) -> Entry:
    body = f"entry {index}".encode()
    return Entry(index, index.to_bytes(16, "big"), leaf_hash(body), body)


async def grow(
    store: LogStore, count: int, ended: dict[str, int] | None = None, epochs: dict[int, int] | None = None
) -> Facts:
    def added(size: int) -> list[Entry]:
        return [entry(index) for index in range(size, size + count)]

    def decide(facts: Facts) -> Decision:
        size = facts.head.size
        return Decision(Writes(Head(size + count, time(size + count)), added(size), ended or {}, epochs or {}), facts)

    ids = [one.id for one in added((await store.head()).size)]
    return (await store.append(Question(ids, (), ()), decide)).facts


def time(size: int) -> str:
    """Of the last entry of a log of this size."""
    return f"t{size:09}"


async def ask(store: LogStore, ids: Sequence[bytes] = (), refs: Sequence[str] = (), rows: Sequence[int] = ()) -> Facts:
    def decide(facts: Facts) -> Decision:
        return Decision(Writes(facts.head), facts)

    return (await store.append(Question(ids, refs, rows), decide)).facts


async def integrate(store: LogStore, tiles: Sequence[Tile], checkpoint: StoredCheckpoint) -> None:
    token = await store.lead("a process", 60)
    assert token is not None
    await store.integrate(tiles, checkpoint, token)


async def test_a_new_log_is_empty(store: LogStore) -> None:
    assert await store.head() == Head(0, "")
    assert await store.entries(0, 10) == []
    assert await store.newest_checkpoint() is None
    assert await store.tile(0, 0) is None


async def test_what_was_appended_is_read_back_in_order(store: LogStore) -> None:
    await grow(store, 3)
    await grow(store, 40)
    assert await store.head() == Head(43, time(43))
    assert await store.entries(2, 5) == [entry(2), entry(3), entry(4)]
    assert await store.leaves(41, 99) == [entry(41).leaf, entry(42).leaf]
    assert await store.find(entry(7).id) == entry(7)
    assert await store.find(b"x" * 16) is None


async def test_facts_are_what_earlier_groups_wrote(store: LogStore) -> None:
    await grow(store, 2, {"2026:0": 1}, {7: 3})
    await grow(store, 1, {"2026:1": 2}, {7: 5, 8: 1})
    facts = await ask(store, [entry(1).id, b"x" * 16], ["2026:0", "2026:1", "2026:2"], [7, 8, 9])
    assert facts.head == Head(3, time(3))
    assert dict(facts.entries) == {entry(1).id: entry(1)}
    assert dict(facts.ended) == {"2026:0": 1, "2026:1": 2}
    assert dict(facts.epochs) == {7: 5, 8: 1}
    assert await store.ended(["2026:1", "2026:7"]) == {"2026:1": 2}


async def test_a_large_question_is_answered_whole(store: LogStore) -> None:
    await grow(store, 1_200)
    facts = await ask(store, [entry(index).id for index in range(1_200)])
    assert len(facts.entries) == 1_200


async def test_a_decision_that_raises_changes_nothing(store: LogStore) -> None:
    await grow(store, 2)

    def decide(facts: Facts) -> Decision:
        raise ConflictError("no")

    with pytest.raises(ConflictError):
        await store.append(NOTHING, decide)
    assert await store.head() == Head(2, time(2))
    await grow(store, 1)
    assert (await store.head()).size == 3


async def test_tiles_grow_and_checkpoints_stay(store: LogStore) -> None:
    await grow(store, 3)
    first, second = StoredCheckpoint(2, Digest(b"a" * 32), "note a"), StoredCheckpoint(3, Digest(b"b" * 32), "note b")
    await integrate(store, [Tile(0, 0, b"x" * 64)], first)
    await integrate(store, [Tile(0, 0, b"x" * 96)], second)
    assert await store.tile(0, 0) == b"x" * 96
    assert await store.newest_checkpoint() == second
    assert await store.checkpoint(2) == first
    assert await store.checkpoint(1) is None
    assert await store.checkpoints() == [first, second]


async def test_one_root_per_size_ever(store: LogStore) -> None:
    await grow(store, 2)
    signed = StoredCheckpoint(2, Digest(b"a" * 32), "note a")
    await integrate(store, [], signed)
    await integrate(store, [], StoredCheckpoint(2, signed.root, "signed again"))
    with pytest.raises(IntegrityError, match="second root"):
        await integrate(store, [Tile(0, 0, b"x" * 64)], StoredCheckpoint(2, Digest(b"b" * 32), "note b"))
    assert await store.checkpoints() == [signed]
    assert await store.tile(0, 0) is None


async def test_a_slower_integrator_does_not_shrink_the_tree(store: LogStore) -> None:
    await grow(store, 3)
    await integrate(store, [Tile(0, 0, b"x" * 96)], StoredCheckpoint(3, Digest(b"b" * 32), "note b"))
    with pytest.raises(ConflictError):
        await integrate(store, [Tile(0, 0, b"x" * 64)], StoredCheckpoint(2, Digest(b"a" * 32), "note a"))
    assert await store.tile(0, 0) == b"x" * 96
