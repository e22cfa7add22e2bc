"""Check a stored log against itself, entry by entry: what a start checks at the right edge, here is checked whole.

1. entries: indices without a gap, leaf = hash of body, in their one encoding, ids unique and those of the rows, time
   never back; the head is where they end
2. tiles as recomputed; every checkpoint's root and signature
3. `www/`: its checkpoint is one of this log, each published tile is as recomputed, none is lacking
4. details: entries that must have one do, unless an erasure came after them; details without an entry, older than an
   hour, are what a crash left behind: counted, and swept when asked to

Reads a running node's log too: what is appended meanwhile is left out. Names the first bad leaf; changes nothing but
what `sweep` allows. Source: ledger chapter §6, §15.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from ledger.errors import EntryError, VerificationError
from ledger.event import Need, Types, decode, id_bytes
from ledger.integrate import behind
from ledger.merkle import EMPTY_ROOT, HASH_BYTES, Digest, fold, leaf_hash, node_hash
from ledger.note import Verifier, open_checkpoint
from ledger.publish import CHECKPOINT
from ledger.store.base import Entry, Head, LogStore, StoredCheckpoint
from ledger.tiles import HEIGHT, WIDTH, Edge, Tile, parse_path, tile_path
from ledger.vault import Vault, milliseconds

BLOCK = 4_096  # entries read at a time: a multiple of a tile's width
FAULTS = 20  # of each kind; a lost file would make one for each entry
YOUNG = timedelta(hours=1)  # a detail this young may be one whose entry is on its way
_ERASURE = "erasure.performed"


@dataclass(slots=True)
class Checked:
    """What was looked at and what is wrong with it. `faults` is empty for a whole log."""

    entries: int = 0
    tiles: int = 0
    checkpoints: int = 0
    published: int = 0
    details: int = 0
    erased: int = 0  # entries without a detail, before the last erasure
    orphans: int = 0
    swept: bool = False
    faults: list[str] = field(default_factory=list)


async def check(
    store: LogStore, verifier: Verifier, rules: Types, *, www: Path | None = None, vault: Vault | None = None
) -> Checked:
    """All of it but the orphans (`sweep`). Raises only what the stores raise."""
    work = _Fsck(store, verifier, rules, vault)
    published = None if www is None else await asyncio.to_thread(_read, www / CHECKPOINT)
    await work.log(published)
    if www is not None:
        await asyncio.to_thread(work.files, www, published)
    return work.done


async def sweep(store: LogStore, vault: Vault, now: datetime, done: Checked, *, drop: bool) -> None:
    """Count details without an entry that are older than an hour; with `drop`, delete them."""
    before, after = milliseconds(now - YOUNG), 0
    while page := await vault.detail_page(after, BLOCK):
        after = page[-1].rowid
        old = [row.id for row in page if row.at < before]
        orphans = [event_id for event_id in old if await store.find(event_id) is None]
        done.orphans += len(orphans)
        if drop and orphans:
            await vault.drop_details(orphans)
    done.swept = drop


class _Peaks:
    """The perfect subtrees of a growing tree: its root at any size, a few hashes each."""

    def __init__(self) -> None:
        self._stack: list[tuple[int, Digest]] = []

    def add(self, leaf: Digest) -> None:
        level, digest = 0, leaf
        while self._stack and self._stack[-1][0] == level:
            level, digest = level + 1, node_hash(self._stack.pop()[1], digest)
        self._stack.append((level, digest))

    def root(self) -> Digest:
        return fold([digest for _, digest in self._stack])


class _Fsck:
    def __init__(self, store: LogStore, verifier: Verifier, rules: Types, vault: Vault | None) -> None:
        self._store, self._verifier, self._vault = store, verifier, vault
        self._with_detail = {name for name, rule in rules.items() if rule.detail is Need.MUST}
        self._edge, self._peaks = Edge(), _Peaks()
        self._ids = set[bytes]()
        self._last_t = ""
        self._roots: dict[int, list[tuple[str, Digest]]] = {}  # size → what claims to be the root there
        self._size = 0  # of the newest checkpoint
        self._kinds: dict[str, int] = {}
        self._tiles: dict[tuple[int, int], bytes] = {}  # as recomputed, at the newest checkpoint's size
        self._undetailed: list[int] = []
        self._wanted: dict[bytes, int] = {}  # of this block: entries that must have a detail
        self._erasure = -1
        self.done = Checked()

    def fault(self, kind: str, text: str) -> None:
        self._kinds[kind] = self._kinds.get(kind, 0) + 1
        if self._kinds[kind] <= FAULTS:
            self.done.faults.append(text)

    async def log(self, published: bytes | None) -> None:
        """Steps 1 and 2."""
        checkpoints = await self._store.checkpoints()  # first: what is signed meanwhile is beyond the head
        head = await self._store.head()
        self._sign(checkpoints, published, head.size)
        for start in range(0, head.size, BLOCK):
            await self._block(start, min(start + BLOCK, head.size))
        self._claimed(head.size, head.size)
        await self._ends(head)
        await self._edge_tiles()
        self._lost_details()

    def _sign(self, checkpoints: Sequence[StoredCheckpoint], published: bytes | None, size: int) -> None:
        """Signatures now; roots when the pass comes by."""
        for one in checkpoints:
            self.done.checkpoints += 1
            try:
                signed = open_checkpoint(one.note.encode(), self._verifier.name, self._verifier)
            except VerificationError:
                self.fault("checkpoint", f"checkpoint of size {one.size} is not signed by this log's key")
                continue
            if (signed.size, signed.root) != (one.size, one.root):
                self.fault("checkpoint", f"checkpoint of size {one.size} says otherwise than its row")
            elif one.size > size:
                self.fault("checkpoint", f"log has {size} entries, but signed {one.size}")
            self._roots.setdefault(one.size, []).append((f"checkpoint of size {one.size}", one.root))
        self._size = checkpoints[-1].size if checkpoints else 0
        if published is None:
            return
        try:
            found = open_checkpoint(published, self._verifier.name, self._verifier)
        except VerificationError:
            self.fault("www", "published checkpoint is not signed by this log's key")
            return
        if found.size > self._size:
            self.fault("www", f"log_behind_published: published up to {found.size}, signed here up to {self._size}")
        self._roots.setdefault(found.size, []).append(("published checkpoint", found.root))

    async def _block(self, start: int, end: int) -> None:
        entries = await self._store.entries(start, end)
        expected = start
        for entry in entries:
            self._claimed(expected, expected)
            self._entry(expected, entry)
            expected = entry.index + 1
        if expected != end:
            self.fault("entry", f"entry {expected} is missing")
        part = [entry.leaf for entry in entries if entry.index < self._size]
        if part:
            self._edge, tiles = self._edge.extend(part)
            await self._compare(tiles)
        await self._details()

    def _entry(self, expected: int, entry: Entry) -> None:
        if entry.index != expected:
            self.fault("entry", f"entry {expected} is missing")
        if leaf_hash(entry.body) != entry.leaf:
            self.fault("entry", f"entry {entry.index} is not what was hashed")
        self._peaks.add(entry.leaf)
        self.done.entries += 1
        try:
            value = decode(entry.body)
            event_id, t, kind = id_bytes(str(value.get("id"))), str(value.get("t")), str(value.get("type"))
        except EntryError:
            self.fault("entry", f"entry {entry.index} is not in its one encoding")
            return
        if event_id != entry.id or event_id in self._ids:
            self.fault("entry", f"entry {entry.index} has the id of another")
        if t < self._last_t:
            self.fault("entry", f"entry {entry.index} goes back in time")
        self._ids.add(event_id)
        self._last_t = t
        if kind == _ERASURE:
            self._erasure = entry.index
        if kind in self._with_detail:
            self._wanted[event_id] = entry.index

    def _claimed(self, size: int, upto: int) -> None:
        """Hold the tree so far against whoever signed a root at this size."""
        claims = self._roots.pop(size, ())
        if claims:
            root = self._peaks.root() if upto else EMPTY_ROOT
            for who, claimed in claims:
                if claimed != root:
                    self.fault("root", f"{who} has another root than the entries")

    async def _compare(self, tiles: Sequence[Tile]) -> None:
        """Full tiles as they come; partial ones are settled at the end."""
        for tile in tiles:
            self._tiles[(tile.level, tile.index)] = tile.hashes
            if tile.width == WIDTH:
                await self._one_tile(tile)

    async def _one_tile(self, tile: Tile) -> None:
        self.done.tiles += 1
        stored = await self._store.tile(tile.level, tile.index)
        if stored is None or stored[: len(tile.hashes)] != tile.hashes:
            self.fault("tile", f"tile {tile.level}/{tile.index} is not what the entries give")

    async def _edge_tiles(self) -> None:
        for level, partial in enumerate(self._edge.partials):
            index = self._edge.size >> HEIGHT * (level + 1)
            if partial:
                await self._one_tile(Tile(level, index, partial))

    async def _ends(self, head: Head) -> None:
        if head.last_t != self._last_t:
            self.fault("head", "head bears another time than the last entry")
        now = await self._store.head()
        if await behind(self._store, now.size):
            self.fault("head", f"log has entries behind its head at {now.size}")

    async def _details(self) -> None:
        """Which entries of the block must have a detail, and have none."""
        wanted, self._wanted = self._wanted, {}
        if self._vault is not None:
            found = await self._vault.details(wanted)
            self.done.details += len(found)
            self._undetailed += [index for event_id, index in wanted.items() if event_id not in found]

    def _lost_details(self) -> None:
        """An erasure takes the details of all that it closes; which these are, nobody can tell afterwards."""
        for index in sorted(self._undetailed):
            if index < self._erasure:
                self.done.erased += 1
            else:
                self.fault("detail", f"entry {index} has lost its detail")

    def files(self, www: Path, published: bytes | None) -> None:
        """Step 3."""
        found = set()
        for below, folders, names in os.walk(www):
            folders.sort()
            for name in sorted(names):
                path = os.path.relpath(os.path.join(below, name), www).replace(os.sep, "/")
                if path.startswith("tile/") and not name.startswith("."):  # a dot: what a crash left half written
                    found.add(path)
                    self._file(www, path)
        self.done.published = len(found)
        if published is not None and not any(text.startswith("log_behind") for text in self.done.faults):
            for path in _needed(published, self._verifier):
                if path not in found and path.partition(".p/")[0] not in found:
                    self.fault("www", f"www lacks {path}")

    def _file(self, www: Path, path: str) -> None:
        try:
            level, index, width = parse_path(path)
        except VerificationError:
            self.fault("www", f"www holds a file that is no tile: {path}")
            return
        expected = self._tiles.get((int(level), index), b"") if level != "entries" else b""
        data = _read(www / path)
        if data is not None and (len(data) != width * HASH_BYTES or expected[: len(data)] != data):
            self.fault("www", f"www holds another {path} than the entries give")


def _needed(published: bytes, verifier: Verifier) -> list[str]:
    """Every tile of the published tree."""
    try:
        size = open_checkpoint(published, verifier.name, verifier).size
    except VerificationError:
        return []
    paths, level = [], 0
    while width := size >> HEIGHT * level:
        paths += [tile_path(level, index) for index in range(width // WIDTH)]
        if rest := width % WIDTH:
            paths.append(tile_path(level, width // WIDTH, rest))
        level += 1
    return paths


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
