"""Proofs out of tiles, through a bounded cache (C2SP tlog-tiles)."""

import pytest

from ledger.errors import IntegrityError
from ledger.merkle import Digest, leaf_hash, root_of, verify_inclusion
from ledger.store.base import ALONE, StoredCheckpoint
from ledger.store.memory import MemoryLogStore
from ledger.tiles import Edge
from ledger.tree import Tree

LEAVES = [leaf_hash(n.to_bytes(4, "big")) for n in range(1_000)]


async def stored(
    size: int, start: Edge | None = None, store: MemoryLogStore | None = None
) -> tuple[Edge, MemoryLogStore]:
    edge, tiles = (start or Edge()).extend(LEAVES[(start or Edge()).size : size])
    made = store or MemoryLogStore()
    await made.integrate(tiles, StoredCheckpoint(size, edge.root(), ""), ALONE)
    return edge, made


async def test_a_small_cache_gives_the_same_proofs() -> None:
    _, store = await stored(1_000)
    tree = Tree(store, capacity=1)
    for index in range(0, 1_000, 97):
        proof = await tree.inclusion(index, 1_000)
        verify_inclusion(LEAVES[index], index, 1_000, proof.hashes, root_of(LEAVES))


async def test_a_tile_that_grew_is_read_again() -> None:
    edge, store = await stored(300)
    tree = Tree(store)
    assert await tree.root(300) == root_of(LEAVES[:300])
    await stored(500, edge, store)
    assert await tree.root(500) == root_of(LEAVES[:500])
    assert await tree.root(300) == root_of(LEAVES[:300])


async def test_hot_proofs_read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _, store = await stored(700)
    tree = Tree(store)
    first = await tree.inclusion(5, 700)

    async def refuse(level: int, index: int) -> bytes:
        raise AssertionError

    monkeypatch.setattr(store, "tile", refuse)
    assert await tree.inclusion(5, 700) == first


async def test_a_missing_tile_is_no_empty_one() -> None:
    with pytest.raises(IntegrityError, match="missing or cut"):
        await Tree(MemoryLogStore()).root(1)


async def test_the_root_of_nothing() -> None:
    assert await Tree(MemoryLogStore()).root(0) == root_of(list[Digest]())
