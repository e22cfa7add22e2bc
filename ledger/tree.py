"""Proofs out of tiles: reads the few nodes a proof needs, through a bounded cache of tiles.

A cached tile keeps the nodes above its hashes, so that a hot proof is look-ups and at most one short fold. Sizes up to
the newest checkpoint can be asked for; what is younger has no tiles yet. Source: RFC 6962 §2.1; C2SP tlog-tiles.
"""

from collections import OrderedDict
from collections.abc import Sequence

from ledger.errors import IntegrityError
from ledger.merkle import (
    ConsistencyProof,
    Digest,
    InclusionProof,
    Node,
    consistency_nodes,
    cover,
    fold,
    inclusion_nodes,
)
from ledger.store.base import LogStore
from ledger.tiles import Pyramid, tile_node

CACHED_TILES = 512  # about 30 kB each


class Tree:
    """The integrated tree of one log."""

    def __init__(self, store: LogStore, capacity: int = CACHED_TILES) -> None:
        self._store = store
        self._capacity = capacity
        self._tiles: OrderedDict[Node, Pyramid] = OrderedDict()

    async def root(self, size: int) -> Digest:
        """The root over the first `size` leaves."""
        return fold(await self._hashes([[node] for node in cover(0, size)]))

    async def inclusion(self, index: int, size: int) -> InclusionProof:
        return InclusionProof(index, size, tuple(await self._hashes(inclusion_nodes(index, size))))

    async def consistency(self, old: int, new: int) -> ConsistencyProof:
        return ConsistencyProof(old, new, tuple(await self._hashes(consistency_nodes(old, new))))

    async def _hashes(self, path: Sequence[Sequence[Node]]) -> list[Digest]:
        hashes = []
        for nodes in path:
            found = []
            for node in nodes:
                tile, (height, position) = tile_node(node)
                pyramid = self._tiles.get(tile)
                if pyramid is None or not pyramid.holds(height, position):
                    pyramid = await self._load(tile, node)
                found.append(pyramid.node(height, position))
            hashes.append(found[0] if len(found) == 1 else fold(found))
        return hashes

    async def _load(self, tile: Node, node: Node) -> Pyramid:
        hashes = await self._store.tile(*tile)
        pyramid = Pyramid(hashes or b"")
        if not pyramid.holds(*tile_node(node)[1]):
            raise IntegrityError(f"tile {tile[0]}/{tile[1]} is missing or cut")
        self._tiles[tile] = pyramid
        self._tiles.move_to_end(tile)
        if len(self._tiles) > self._capacity:
            self._tiles.popitem(last=False)
        return pyramid
