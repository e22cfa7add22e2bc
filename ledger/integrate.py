"""Integrate and publish: leaves become tiles, a root and a signed checkpoint; then files.

1. read the leaves behind the newest checkpoint
2. extend the right edge, and sign the new root
3. store tiles and checkpoint in one transaction: one root a size, for ever
4. only then write the public files

Where several processes share a log, one of them integrates, under a lease (`LogStore.lead`); the others follow. Whoever
takes the lease over begins from what is stored and published; one that was paused beyond its lease changes nothing.

`load_edge` is the cheap check of each start: the right edge is recomputed from entries up and held against the last
signed checkpoint, and what was published must be a state of this very log. Anything else is IntegrityError, before
anything is appended or signed. Source: ledger chapter §6, §15.
"""

import asyncio
import os
from collections.abc import Sequence
from itertools import pairwise

from ledger.errors import ConflictError, IntegrityError, VerificationError
from ledger.merkle import HASH_BYTES, leaf_hash
from ledger.note import Checkpoint, Signer, Verifier, open_checkpoint, sign_note
from ledger.publish import Publisher
from ledger.store.base import Head, LogStore, Step, StoredCheckpoint, no_step
from ledger.tiles import HEIGHT, WIDTH, Edge, Tile, edge_tiles, partial_width, tile_root
from ledger.tree import Tree

BLOCK = 65_536  # leaves read and integrated in one go
LEASE_S = 10.0  # of whoever integrates, each second anew


class Integrator:
    """The one of a process that grows the tree. `start` before anything else."""

    def __init__(
        self, store: LogStore, signer: Signer, verifier: Verifier, publisher: Publisher | None, step: Step = no_step
    ) -> None:
        self._store = store
        self._signer = signer
        self._verifier = verifier
        self._publisher = publisher
        self._step = step
        self._lock = asyncio.Lock()
        self._edge = Edge()
        self._unpublished: dict[tuple[int, int], Tile] = {}
        self._holder = os.urandom(16).hex()
        self._token: int | None = None
        self.newest: StoredCheckpoint | None = None

    @property
    def size(self) -> int:
        return self._edge.size

    async def start(self) -> None:
        """Check the log's right edge and what was published; publish what a crash kept back."""
        await self._begin()
        await check_tail(self._store, self._edge)

    async def integrate(self) -> StoredCheckpoint | None:
        """Sign what was appended since the last checkpoint; the newest checkpoint, None while the log is empty.

        Where another process leads, it signs and this one follows.
        """
        async with self._lock:
            token = await self._store.lead(self._holder, LEASE_S)
            if token is None:
                return await self._follow()
            if self._token != token:
                await self._begin()
            self._token = token
            try:
                await self._grow(token)
            except ConflictError:  # another took the lease over, or was ahead: its files are its own to write
                self._token = None
                return await self._follow()
            await self._publish()
            return self.newest

    async def follow(self) -> StoredCheckpoint | None:
        """Take over what another process has signed; the newest checkpoint."""
        async with self._lock:
            return await self._follow()

    async def resign(self) -> None:
        """Let another integrate at once."""
        async with self._lock:
            if self._token is not None:
                await self._store.lead(self._holder, 0)
                self._token = None

    async def _begin(self) -> None:
        """From what is stored; and what is published must be a state of it. That is read first: the other process may
        go on."""
        published = None if self._publisher is None else await asyncio.to_thread(self._publisher.checkpoint)
        self.newest, self._edge = await load_edge(self._store, self._signer.name, self._verifier)
        self._unpublished.clear()
        if self._publisher is not None:
            await self._catch_up(published)

    async def _follow(self) -> StoredCheckpoint | None:
        known = self.newest
        newest = await self._store.newest_checkpoint()
        if newest is not None and (known is None or newest.size > known.size):
            self.newest, self._edge = await load_edge(self._store, self._signer.name, self._verifier)
            self._unpublished.clear()
            if known is not None and await Tree(self._store).root(known.size) != known.root:
                raise IntegrityError(f"a second root for size {known.size}")
        return self.newest

    async def _grow(self, token: int) -> None:
        head = await self._store.head()
        while self._edge.size < head.size:
            await self._extend(min(self._edge.size + BLOCK, head.size), token)

    async def _publish(self) -> None:
        if self._publisher is not None and self._unpublished and self.newest is not None:
            tiles = list(self._unpublished.values())
            if await asyncio.to_thread(self._publisher.publish, tiles, self.newest):
                self._unpublished.clear()

    async def _extend(self, size: int, token: int) -> None:
        leaves = await self._store.leaves(self._edge.size, size)
        if len(leaves) != size - self._edge.size:
            raise IntegrityError(f"log has a gap between {self._edge.size} and {size}")
        edge, tiles = await asyncio.to_thread(self._edge.extend, leaves)
        checkpoint = Checkpoint(self._signer.name, size, edge.root())
        note = await asyncio.to_thread(sign_note, checkpoint.text(), [self._signer])
        self._step("integrate.signed")
        signed = StoredCheckpoint(size, checkpoint.root, str(note))
        await self._store.integrate(tiles, signed, token)
        self._edge, self.newest = edge, signed
        if self._publisher is not None:
            self._unpublished |= {(tile.level, tile.index): tile for tile in tiles}

    async def _catch_up(self, published: bytes | None) -> None:
        """Hold the published checkpoint against the log; write the files that it lacks."""
        size = await self._published_size(published)
        if self.newest is None or size == self.newest.size:
            return
        tiles = await _tiles_between(self._store, size, self.newest.size)
        self._unpublished = {(tile.level, tile.index): tile for tile in tiles}
        await self._publish()

    async def _published_size(self, published: bytes | None) -> int:
        """Raises IntegrityError where what is public is ahead of this log, or another log's: an old backup."""
        if published is None:
            return 0
        try:
            checkpoint = open_checkpoint(published, self._signer.name, self._verifier)
        except VerificationError as exc:
            raise IntegrityError("published checkpoint is not signed by this log's key") from exc
        if checkpoint.size > self._edge.size:
            raise IntegrityError(
                f"log_behind_published: the log was signed up to {self._edge.size}, published up to {checkpoint.size}"
            )
        if await Tree(self._store).root(checkpoint.size) != checkpoint.root:
            raise IntegrityError(f"published checkpoint has another root at size {checkpoint.size}")
        return checkpoint.size


async def load_edge(store: LogStore, origin: str, verifier: Verifier) -> tuple[StoredCheckpoint | None, Edge]:
    """The newest checkpoint and the edge it was signed over. Raises IntegrityError where they differ."""
    newest = await store.newest_checkpoint()
    if newest is None:
        return None, Edge()
    try:
        checkpoint = open_checkpoint(newest.note.encode(), origin, verifier)
    except VerificationError as exc:
        raise IntegrityError(f"checkpoint of size {newest.size} is not signed by this log's key") from exc
    if (checkpoint.size, checkpoint.root) != (newest.size, newest.root):
        raise IntegrityError(f"checkpoint of size {newest.size} says otherwise than its row")
    edge = await _read_edge(store, newest.size)
    if edge.root() != checkpoint.root:
        raise IntegrityError(f"right edge does not give the signed root of size {newest.size}")
    return newest, edge


async def _read_edge(store: LogStore, size: int) -> Edge:
    partials = []
    level = 0
    while size >> HEIGHT * level:
        width = partial_width(level, size)
        hashes = await store.tile(level, size >> HEIGHT * (level + 1)) if width else b""
        if hashes is None or len(hashes) < width * HASH_BYTES:
            raise IntegrityError(f"tile of level {level} at the right edge is missing or cut")
        partials.append(hashes[: width * HASH_BYTES])  # another process may have grown it since
        level += 1
    return Edge(size, tuple(partials))


async def check_tail(store: LogStore, edge: Edge) -> None:
    """The entries from the last level-0 tile on are those that were hashed, and the head is where they end."""
    head = await store.head()
    if head.size < edge.size:
        raise IntegrityError(f"log has {head.size} entries, but signed {edge.size}")
    start = edge.size - partial_width(0, edge.size)
    tiled = edge.partials[0] if edge.partials else b""
    for first, end in pairwise([*range(start, head.size, BLOCK), head.size]):
        await _check_entries(store, head, first, end, tiled if first == start else b"")
    if await behind(store, head.size):
        raise IntegrityError(f"log has entries behind its head at {head.size}")
    await _check_full_tiles(store, edge)


async def behind(store: LogStore, size: int) -> bool:
    """Whether there are entries behind the head at `size`: none whose append has moved it since."""
    return bool(await store.entries(size, size + 1)) and (await store.head()).size <= size


async def _check_entries(store: LogStore, head: Head, first: int, end: int, tiled: bytes) -> None:
    entries = await store.entries(first, end)
    for expected, entry in enumerate(entries, first):
        if entry.index != expected or leaf_hash(entry.body) != entry.leaf:
            raise IntegrityError(f"entry {expected} is missing, or not what was hashed")
    if len(entries) != end - first:
        raise IntegrityError(f"log has {first + len(entries)} entries, its head says {head.size}")
    hashed = b"".join(entry.leaf for entry in entries[: len(tiled) // HASH_BYTES])
    if hashed != tiled:
        raise IntegrityError(f"entries from {first} on are not those of the signed tree")


async def _check_full_tiles(store: LogStore, edge: Edge) -> None:
    """The last hash of each level above is the root of the last full tile below."""
    for level, partial in enumerate(edge.partials[1:]):
        if not partial:
            continue
        index = (edge.size >> HEIGHT * (level + 1)) - 1
        hashes = await store.tile(level, index)
        if hashes is None or len(hashes) != WIDTH * HASH_BYTES or tile_root(hashes) != partial[-HASH_BYTES:]:
            raise IntegrityError(f"tile {level}/{index} is not what the tree above it says")


async def _tiles_between(store: LogStore, old: int, new: int) -> Sequence[Tile]:
    """Every tile that is new or longer in a tree of `new`, full ones first."""
    wanted = []
    level = 0
    while new >> HEIGHT * level:
        first, last = old >> HEIGHT * (level + 1), new >> HEIGHT * (level + 1)
        wanted += [(level, index, WIDTH) for index in range(first, last)]
        level += 1
    wanted += [(level, index, partial_width(level, new)) for level, index in edge_tiles(new)]
    tiles = []
    for level, index, width in wanted:
        hashes = await store.tile(level, index)
        if hashes is None:
            raise IntegrityError(f"tile {level}/{index} is missing")
        tiles.append(Tile(level, index, hashes[: width * HASH_BYTES]))
    return tiles
