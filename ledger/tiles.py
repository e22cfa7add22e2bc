"""Tiles: the tree cut into runs of 256 hashes, their paths, entry bundles, and the right edge that grows.

A tile of level L holds roots of perfect subtrees of 256**L leaves. Pure: files are `publish.py`'s, rows the store's.
Source: C2SP tlog-tiles.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ledger.errors import VerificationError
from ledger.merkle import HASH_BYTES, Digest, Node, fold, node_hash

WIDTH = 256
HEIGHT = 8  # log2 of the width
_PATH = re.compile(r"tile/(entries|0|[1-9]|[1-5]\d|6[0-3])/((?:x\d{3}/)*\d{3})(?:\.p/([1-9]\d{0,2}))?")


@dataclass(frozen=True, slots=True)
class Tile:
    """`hashes` is their concatenation; fewer than 256 make a partial tile."""

    level: int
    index: int
    hashes: bytes

    @property
    def width(self) -> int:
        return len(self.hashes) // HASH_BYTES

    @property
    def path(self) -> str:
        return tile_path(self.level, self.index, self.width)


def tile_path(level: int | str, index: int, width: int = WIDTH) -> str:
    """`tile/<L>/<N>[.p/<W>]`; level "entries" gives an entry bundle's path."""
    groups: list[str] = []
    rest = index
    while True:
        rest, part = divmod(rest, 1000)
        groups.append(f"x{part:03}" if groups else f"{part:03}")
        if not rest:
            break
    partial = f".p/{width}" if width < WIDTH else ""
    return f"tile/{level}/{'/'.join(reversed(groups))}{partial}"


def parse_path(path: str) -> tuple[str, int, int]:
    """Level (or "entries"), index and width of a tile path, in its one spelling. Raises VerificationError."""
    match = _PATH.fullmatch(path)
    if match:
        level, number, partial = match.groups()
        index = int(number.replace("/", "").replace("x", ""))
        width = int(partial) if partial else WIDTH
        if tile_path(level, index, width) == path and (partial is None or width < WIDTH):
            return level, index, width
    raise VerificationError("not a tile path")


def tile_node(node: Node) -> tuple[Node, Node]:
    """Which tile (level, index) a node lies in, and where: (height above the tile's hashes, position there)."""
    level, index = node
    tile_level, height = divmod(level, HEIGHT)
    tile_index, position = divmod(index, WIDTH >> height)
    return (tile_level, tile_index), (height, position)


class Pyramid:
    """A tile with the nodes between its hashes and its root computed once, so that a proof is look-ups."""

    __slots__ = ("rows", "width")

    def __init__(self, hashes: bytes) -> None:
        self.width = len(hashes) // HASH_BYTES
        self.rows = [_split(hashes)]
        while len(self.rows[-1]) > 1:
            row = self.rows[-1]
            self.rows.append([node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)])

    def node(self, height: int, position: int) -> Digest:
        return self.rows[height][position]

    def holds(self, height: int, position: int) -> bool:
        return (position + 1) << height <= self.width


def _split(hashes: bytes) -> list[Digest]:
    return [Digest(hashes[i : i + HASH_BYTES]) for i in range(0, len(hashes), HASH_BYTES)]


def tile_root(hashes: bytes) -> Digest:
    """The root of a full tile: one hash of the tile above."""
    return Pyramid(hashes).node(HEIGHT, 0)


def partial_width(level: int, size: int) -> int:
    """How many hashes the rightmost tile of a level has in a tree of `size`; 0 where the level ends with a full one."""
    return (size >> HEIGHT * level) % WIDTH


def edge_tiles(size: int) -> list[Node]:
    """The partial tiles (level, index) of a tree of `size`, lowest level first."""
    found = []
    level = 0
    while size >> HEIGHT * level:
        if partial_width(level, size):
            found.append((level, size >> HEIGHT * (level + 1)))
        level += 1
    return found


@dataclass(frozen=True, slots=True)
class Edge:
    """The right edge of a tree: its size, and the hashes of the partial tile of each level. All that growth needs."""

    size: int = 0
    partials: tuple[bytes, ...] = ()

    def root(self) -> Digest:
        """RFC 6962's root: each level's partial tile continues, to the right, in the level below."""
        hashes: list[Digest] = []
        for partial in reversed(self.partials):
            hashes.extend(_peaks(partial))
        return fold(hashes)

    def extend(self, leaves: Sequence[bytes]) -> tuple["Edge", list[Tile]]:
        """The edge after `leaves`, and every tile that is new or longer: full ones first, then the partial ones."""
        size = self.size + len(leaves)
        tiles: list[Tile] = []
        partials: list[bytes] = []
        added = b"".join(leaves)
        level = 0
        while added or level < len(self.partials):
            before = self.partials[level] if level < len(self.partials) else b""
            full, rest = _cut(level, self.size, before + added)
            tiles += full
            if added and rest:
                tiles.append(Tile(level, size >> HEIGHT * (level + 1), rest))
            partials.append(rest)
            added = b"".join(tile_root(tile.hashes) for tile in full)
            level += 1
        tiles.sort(key=lambda tile: (tile.width < WIDTH, tile.level, tile.index))
        return Edge(size, tuple(partials)), tiles


def _cut(level: int, size: int, hashes: bytes) -> tuple[list[Tile], bytes]:
    """The hashes from the level's last partial tile on as full tiles, and what is left over."""
    first = size >> HEIGHT * (level + 1)
    span = WIDTH * HASH_BYTES
    count = len(hashes) // span
    full = [Tile(level, first + n, hashes[n * span : (n + 1) * span]) for n in range(count)]
    return full, hashes[count * span :]


def _peaks(hashes: bytes) -> list[Digest]:
    """The largest perfect subtrees over a partial tile, left to right."""
    if not hashes:
        return []
    pyramid = Pyramid(hashes)
    peaks = []
    position = 0
    for height in reversed(range(HEIGHT)):
        if pyramid.width >> height & 1:
            peaks.append(pyramid.node(height, position >> height))
            position += 1 << height
    return peaks


def bundle(entries: Iterable[bytes]) -> bytes:
    """An entry bundle: each entry behind its length, 16 bits, big end first."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def unbundle(data: bytes) -> Iterator[bytes]:
    """The entries of a bundle. Raises VerificationError where it is cut."""
    position = 0
    while position < len(data):
        end = position + 2 + int.from_bytes(data[position : position + 2], "big")
        if position + 2 > len(data) or end > len(data):
            raise VerificationError("entry bundle is cut")
        yield data[position + 2 : end]
        position = end
