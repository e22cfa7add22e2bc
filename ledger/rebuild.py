"""Rebuild a log's tree from its entry bundles and tiles, reading each entry once.

What `verify.py` asks of the tree is answered here: are the entries entries, do they give the tiles, do these give the
signed root. Where a bundle and its hash tile differ, both are followed up to the root, so that the one that was changed
is named. A bundle that is not here (an export of a period) is stood in for by its hash tile.

200,000 entries a second on one core is the goal: a usual bundle is read whole, by a typed decoder and loops in C, and
entry by entry only where something in it is wrong or unusual.
Source: ledger chapter §2 (encoding), §14; RFC 6962 §2.1; C2SP tlog-tiles.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

from ledger import kit
from ledger.commitment import opens
from ledger.errors import EntryError, VerificationError
from ledger.event import CORE_TYPES, VERSION, committed_bytes, decode, guard, is_timestamp, parse_reference
from ledger.kit import Disclosure
from ledger.merkle import HASH_BYTES, Digest
from ledger.note import Checkpoint
from ledger.replay import Replay
from ledger.tiles import HEIGHT, WIDTH, Edge, tile_path, unbundle

Read = Callable[[str], bytes | None]
Found = tuple[str, str]  # state, and what was found

TOLERANCE_S = 300  # an entry's time against the times at which witnesses signed (ledger chapter §14)
_LEAF, _NODE = sha256(b"\x00"), b"\x01"
_REPLAYED = ("access.", "consent.", "policy.")


class _Usual(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The entry as our log writes it. Its members stand in the order of their names, as the encoding wants it."""

    id: str
    org: str
    t: str
    type: str
    v: int
    c: dict[str, str] = {}
    d: dict[str, Any] = {}
    outcome: str = ""
    tag: str = ""


_decode_all = msgspec.json.Decoder(list[_Usual]).decode
_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(slots=True)
class Openings:
    """The lines of `disclosures.jsonl`: malformed ones, and what became of the others."""

    lines: int = 0
    fault: str = ""
    wanted: dict[int, list[tuple[int, Disclosure]]] = field(default_factory=dict)


@dataclass(slots=True)
class Rebuilt:
    """The answers. `roots` of the asked sizes (None: leaves are missing), `t` of the asked entries."""

    entries: Found
    tiles: Found
    tree: Found
    roots: Mapping[int, Digest | None]
    t: Mapping[int, str]
    openings: Openings | None
    replay: Replay


@dataclass(slots=True)
class _Level0:
    """Roots of the full tiles of leaves, and the leaves of the last one. None where they are missing."""

    roots: list[Digest | None] = field(default_factory=list)
    rest: bytes | None = b""

    def whole(self) -> bool:
        return self.rest is not None and None not in self.roots


def rebuild(
    read: Read, checkpoint: Checkpoint, span: tuple[int, int], sizes: Sequence[int], edges: Sequence[int], shard: str
) -> Rebuilt:
    """Read the folder once. `span` is what the folder claims to hold of the entries; `sizes` are asked roots."""
    work = _Rebuild(read, checkpoint, span, shard)
    work.keep = {size >> HEIGHT for size in sizes}
    work.asked = {index for size in edges for index in (size - 1, size)}
    for number in range(-(-checkpoint.size // WIDTH)):
        work.tile(number)
    return work.result(sizes)


class _Rebuild:
    def __init__(self, read: Read, checkpoint: Checkpoint, span: tuple[int, int], shard: str) -> None:
        self._read, self._checkpoint, self._span = read, checkpoint, span
        self._size = checkpoint.size
        self.keep: Collection[int] = ()
        self.asked = set[int]()
        self._replay = Replay(shard)
        self._openings = _openings(read(kit.DISCLOSURES), shard)
        self._entries_fault = self._tiles_fault = ""
        self._count = self._unread = 0
        self._absent: list[str] = []  # bundles that the folder claims, and lacks
        self._tiles = self._tiles_absent = 0
        self._ids = set[str]()
        self._names = set[str]()
        self._last_t = ""
        self._t: dict[int, str] = {}
        self._by_bundle, self._by_tile = _Level0(), _Level0()
        self._kept: dict[int, tuple[bytes | None, bytes | None]] = {}
        self._differs: tuple[int, str] | None = None  # the first entry that is not its hash, and the tile

    def tile(self, number: int) -> None:
        """One bundle of entries and the tile of their hashes."""
        first = number * WIDTH
        width = min(WIDTH, self._size - first)
        path = tile_path(0, number, width)
        hashes = self._hashes(path, width)
        leaves = self._bundle(first, width)
        if leaves is None:
            self._replay.gap(first, first + width)
        elif hashes is not None and leaves != hashes and self._differs is None:
            position = next(n for n in range(width) if not _same(leaves, hashes, n))
            self._differs = (first + position, path)
        by_bundle, by_tile = leaves if leaves is not None else hashes, hashes if hashes is not None else leaves
        if number in self.keep:
            self._kept[number] = (by_bundle, by_tile)
        root = None
        if width == WIDTH and by_bundle is not None:
            root = subtree(by_bundle)
        for level0, found in ((self._by_bundle, by_bundle), (self._by_tile, by_tile)):
            if width < WIDTH:
                level0.rest = found
            elif found is None or found == by_bundle:
                level0.roots.append(root)
            else:
                level0.roots.append(subtree(found))

    def _hashes(self, path: str, width: int) -> bytes | None:
        self._tiles += 1
        hashes = self._read(path)
        if hashes is None:
            self._tiles_absent += 1
        elif len(hashes) != width * HASH_BYTES:
            self._tiles_fault = self._tiles_fault or f"{path} has a wrong length"
            return None
        return hashes

    def _bundle(self, first: int, width: int) -> bytes | None:
        """The leaf hashes of one bundle, its entries checked; None where it is not here, or no bundle."""
        path = tile_path("entries", first // WIDTH, width)
        data = self._read(path)
        if data is None:
            if self._span[0] < first + width and first < self._span[1]:
                self._absent.append(path)
            return None
        try:
            bodies = list(unbundle(data))
        except VerificationError:
            self._fault(f"{path} is cut")
            return None
        if len(bodies) != width:
            self._fault(f"{path} has {len(bodies)} entries, expected {width}")
            return None
        self._count += width
        self._read_entries(first, bodies)
        return leaves_of(bodies)

    def _read_entries(self, first: int, bodies: Sequence[bytes]) -> None:
        """Encoding, ids and times of each entry; what replay and openings want of it."""
        entries = self._read_usual(bodies)
        if entries is None:
            entries = self._read_each(first, bodies)
        self._unread += sum(entry is not None and entry.type not in CORE_TYPES for entry in entries)
        for index in self.asked.intersection(range(first, first + len(entries))):
            if (asked := entries[index - first]) is not None:
                self._t[index] = asked.t
        if self._openings is not None:
            for index, entry in enumerate(entries, first):
                if entry is not None:
                    self._open(self._openings, index, entry)

    def _read_usual(self, bodies: Sequence[bytes]) -> Sequence[_Usual | None] | None:
        """A whole bundle at once, if nothing in it is wrong or unusual: each step is one loop in C."""
        joined = b",".join(bodies)
        if not joined.isascii() or b"\\" in joined or b"\x7f" in joined:
            return None
        try:
            entries = _decode_all(b"[%b]" % joined)
            for entry in entries:
                if entry.d:
                    guard(entry.d, 1)
        except (msgspec.DecodeError, EntryError):
            return None
        times = [self._last_t, *(entry.t for entry in entries)]
        ids = {entry.id for entry in entries}
        usual = (
            [_encode(entry) for entry in entries] == bodies
            and all(entry.v == VERSION for entry in entries)
            and all(map(self._names.issuperset, [entry.c for entry in entries]))
            and times == sorted(times)
            and all(map(is_timestamp, times[1:]))
            and len(ids) == len(entries)
            and self._ids.isdisjoint(ids)
        )
        if not usual:
            return None
        self._ids |= ids
        self._last_t = times[-1]
        return entries

    def _read_each(self, first: int, bodies: Sequence[bytes]) -> list[_Usual | None]:
        """The same, entry by entry: names what is wrong, and learns the names of committed fields."""
        entries = [_unusual(body) for body in bodies]
        for index, entry in enumerate(entries, first):
            if entry is None:
                self._fault(f"entry {index} is not in its one encoding")
                continue
            if entry.t < self._last_t:
                self._fault(f"entry {index} goes back in time")
            elif not is_timestamp(entry.t):
                self._fault(f"entry {index} has no time")
            if entry.id in self._ids:
                self._fault(f"entry {index} has the id of another")
            self._last_t = entry.t
            self._ids.add(entry.id)
            self._names.update(entry.c)
        return entries

    def _open(self, openings: Openings, index: int, entry: _Usual) -> None:
        """Openings of this entry, and its part in the replay."""
        opened: dict[str, str] = {}
        for line, disclosure in openings.wanted.pop(index, ()):
            name, value = disclosure.field, committed_bytes(disclosure.value)
            if not opens(entry.c.get(name, ""), disclosure.salt, name, value):
                openings.fault = openings.fault or f"line {line} does not open {name} of {disclosure.ref}"
            elif isinstance(disclosure.value, str):
                opened[name] = disclosure.value
        if entry.type.startswith(_REPLAYED):
            self._replay.take(index, msgspec.to_builtins(entry), opened)

    def _fault(self, found: str) -> None:
        self._entries_fault = self._entries_fault or found

    def result(self, sizes: Sequence[int]) -> Rebuilt:
        tree, level0, levels = self._tree()
        return Rebuilt(
            self._entries_found(),
            self._tiles_found(level0, levels),
            tree,
            {size: self._root(level0, size) for size in sizes if size <= self._size},
            self._t,
            self._openings,
            self._replay,
        )

    def _entries_found(self) -> Found:
        if self._entries_fault:
            return "fail", self._entries_fault
        if self._absent:
            return "unknown", f"{len(self._absent)} bundles are missing, first {self._absent[0]}"
        start, end = self._span
        part = "" if (start, end) == (0, self._size) else f" ({start} to {end} of {self._size})"
        return "pass", f"{self._count} entries{part}, {self._unread} of types not read here"

    def _tree(self) -> tuple[Found, _Level0, list[list[bytes]]]:
        """The verdict on the root, and the leaves that it was reached with."""
        by_bundle, by_tile, size = self._by_bundle, self._by_tile, self._size
        if not by_bundle.whole():
            lost = by_bundle.roots.count(None) + (by_bundle.rest is None)
            return ("unknown", f"the leaves of {lost} tiles are missing"), by_bundle, []
        root, levels = rise(size, by_bundle)
        if root == self._checkpoint.root:
            return ("pass", f"the root of size {size} is the signed one"), by_bundle, levels
        if self._differs is not None:
            other, other_levels = rise(size, by_tile)
            if other == self._checkpoint.root:
                return ("fail", f"entry {self._differs[0]} is not the one that was logged"), by_tile, other_levels
        return ("fail", f"the root of size {size} is not the signed one"), by_bundle, levels

    def _tiles_found(self, level0: _Level0, levels: list[list[bytes]]) -> Found:
        if not self._tiles_fault and level0 is self._by_bundle and self._differs is not None:
            self._tiles_fault = f"{self._differs[1]} is not what the entries give"
        for level, row in enumerate(levels, 1):
            for number in range(-(-len(row) // WIDTH)):
                expected = b"".join(row[number * WIDTH : (number + 1) * WIDTH])
                self._upper(tile_path(level, number, len(expected) // HASH_BYTES), expected)
        if self._tiles_fault:
            return "fail", self._tiles_fault
        if not level0.whole():
            return "unknown", "tiles cannot be recomputed without all leaves"
        if self._tiles_absent:
            return "unknown", f"{self._tiles_absent} of {self._tiles} hash tiles are missing"
        return "pass", f"{self._tiles} hash tiles as recomputed"

    def _upper(self, path: str, expected: bytes) -> None:
        self._tiles += 1
        found = self._read(path)
        if found is None:
            self._tiles_absent += 1
        elif found != expected:
            self._tiles_fault = self._tiles_fault or f"{path} is not what the tiles below give"

    def _root(self, level0: _Level0, size: int) -> Digest | None:
        """The root over the first `size` leaves."""
        full, width = divmod(size, WIDTH)
        part = _Level0(level0.roots[:full], b"")
        if width:
            kept = self._kept.get(full, (None, None))[level0 is self._by_tile]
            part.rest = None if kept is None else kept[: width * HASH_BYTES]
        return rise(size, part)[0] if part.whole() else None


def _unusual(body: bytes) -> _Usual | None:
    """Any entry of the grammar, the slow way; None for what is none."""
    try:
        value = decode(body)
        return msgspec.convert({name: value[name] for name in _Usual.__struct_fields__ if name in value}, _Usual)
    except (EntryError, msgspec.ValidationError):
        return None


def leaves_of(bodies: Sequence[bytes]) -> bytes:
    """The leaf hashes, one after the other."""
    hashes = []
    for body in bodies:
        leaf = _LEAF.copy()  # a third cheaper than prefixing each body
        leaf.update(body)
        hashes.append(leaf.digest())
    return b"".join(hashes)


def subtree(hashes: bytes) -> Digest:
    """The root over a full tile."""
    row = [hashes[n : n + HASH_BYTES] for n in range(0, len(hashes), HASH_BYTES)]
    while len(row) > 1:
        pairs = iter(row)
        row = [sha256(_NODE + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return Digest(row[0])


def rise(size: int, level0: _Level0) -> tuple[Digest, list[list[bytes]]]:
    """The root of a whole tree, and the hashes of each level of tiles from 1 up."""
    row: list[bytes] = [root for root in level0.roots if root is not None]
    partials, levels = [level0.rest or b""], []
    while row:
        levels.append(row)
        full = len(row) - len(row) % WIDTH
        partials.append(b"".join(row[full:]))
        row = [subtree(b"".join(row[n : n + WIDTH])) for n in range(0, full, WIDTH)]
    return Edge(size, tuple(partials)).root(), levels


def _same(one: bytes, other: bytes, position: int) -> bool:
    cut = slice(position * HASH_BYTES, (position + 1) * HASH_BYTES)
    return one[cut] == other[cut]


def _openings(data: bytes | None, shard: str) -> Openings | None:
    if data is None:
        return None
    openings = Openings()
    for number, line in enumerate(data.split(b"\n")[: -1 if data.endswith(b"\n") else None], 1):
        openings.lines += 1
        try:
            disclosure = kit.parse_disclosure(line)
            where, index = parse_reference(disclosure.ref)
        except (VerificationError, EntryError):
            openings.fault = openings.fault or f"line {number} is malformed"
            continue
        if where != shard:
            openings.fault = openings.fault or f"line {number} is about another log"
            continue
        openings.wanted.setdefault(index, []).append((number, disclosure))
    return openings


def check_disclosures(openings: Openings) -> Found:
    absent = sum(map(len, openings.wanted.values()))
    if openings.fault:
        return "fail", openings.fault
    if absent:
        return "unknown", f"{absent} of {openings.lines} openings are about entries that are not here"
    return "pass", f"{openings.lines} openings hold"


def check_times(times: Sequence[tuple[int, int]], rebuilt: Rebuilt) -> Found:
    """Entries before a cosigned size are not later than its time, those behind not earlier, give or take 5 minutes."""
    for size, cosigned_s in times:
        for index, sign in ((size - 1, 1), (size, -1)):
            t = rebuilt.t.get(index)
            if t is not None and not _fits(t, cosigned_s, sign):
                return "fail", f"entry {index} does not fit the cosigned time of size {size}"
    return "pass", f"{len(times)} cosigned times fit"


def _fits(t: str, cosigned_s: int, sign: int) -> bool:
    try:
        return (datetime.fromisoformat(t).timestamp() - cosigned_s) * sign <= TOLERANCE_S
    except ValueError:
        return False
