"""C2SP tlog-tiles: paths, partial tiles, bundles, and the edge that grows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import VerificationError
from ledger.merkle import leaf_hash, root_of
from ledger.tiles import (
    WIDTH,
    Edge,
    Pyramid,
    Tile,
    bundle,
    edge_tiles,
    parse_path,
    partial_width,
    tile_node,
    tile_path,
    tile_root,
    unbundle,
)
from tests.ledger.conftest import vector

VECTOR = vector("c2sp.json")
LEAVES = [leaf_hash(n.to_bytes(4, "big")) for n in range(1_500)]


@pytest.mark.parametrize(("index", "spelled"), VECTOR["tile_paths"])
def test_published_path(index: int, spelled: str) -> None:
    assert tile_path(0, index) == f"tile/0/{spelled}"
    assert parse_path(f"tile/0/{spelled}") == ("0", index, WIDTH)


@pytest.mark.parametrize("tree", VECTOR["trees"], ids=lambda tree: str(tree["size"]))
def test_published_trees_have_these_tiles(tree: dict[str, object]) -> None:
    size = int(str(tree["size"]))
    _, tiles = Edge().extend([LEAVES[n % len(LEAVES)] for n in range(size)])
    full: dict[str, int] = {}
    for tile in tiles:
        if tile.width == WIDTH:
            full[str(tile.level)] = full.get(str(tile.level), 0) + 1
    assert full == tree["full"]
    assert {str(tile.level): tile.width for tile in tiles if tile.width < WIDTH} == tree["partial"]
    assert {str(level): partial_width(level, size) for level, _ in edge_tiles(size)} == tree["partial"]


@given(st.integers(0, 63), st.integers(0, 10**12), st.integers(1, WIDTH))
@settings(max_examples=100, deadline=None)
def test_paths_round_trip(level: int, index: int, width: int) -> None:
    assert parse_path(tile_path(level, index, width)) == (str(level), index, width)


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/1",
        "tile/0/x001",
        "tile/00/001",
        "tile/64/001",
        "tile/0/001.p/0",
        "tile/0/001.p/256",
        "tile/0/x000/001",
        "tile/0/001.p/01",
        "tile/-1/001",
        "tile/entries/../001",
        "tile/0/001/",
        "checkpoint",
        "tile/0/001.p/999",
    ],
)
def test_a_path_has_one_spelling(path: str) -> None:
    with pytest.raises(VerificationError):
        parse_path(path)


def test_bundles_are_named_like_tiles() -> None:
    assert parse_path(tile_path("entries", 7, 3)) == ("entries", 7, 3)


@given(st.lists(st.integers(0, 400), max_size=6))
@settings(max_examples=40, deadline=None)
def test_growing_in_steps_gives_the_tiles_and_root_of_growing_at_once(steps: list[int]) -> None:
    edge, tiles = Edge(), dict[tuple[int, int], bytes]()
    for step in steps:
        leaves = [LEAVES[n % len(LEAVES)] for n in range(edge.size, edge.size + step)]
        edge, grown = edge.extend(leaves)
        tiles |= {(tile.level, tile.index): tile.hashes for tile in grown}
    everything = [LEAVES[n % len(LEAVES)] for n in range(sum(steps))]
    whole, at_once = Edge().extend(everything)
    assert edge.size == whole.size
    assert edge.root() == whole.root() == root_of(everything)
    assert tiles == {(tile.level, tile.index): tile.hashes for tile in at_once}


def test_the_empty_edge_has_the_empty_root() -> None:
    assert Edge().root() == root_of([])
    assert Edge().extend([])[1] == []


def test_a_tiles_pyramid_gives_every_node_between() -> None:
    hashes = b"".join(LEAVES[:WIDTH])
    pyramid = Pyramid(hashes)
    assert tile_root(hashes) == root_of(LEAVES[:WIDTH])
    assert pyramid.node(3, 5) == root_of(LEAVES[40:48])
    assert pyramid.holds(8, 0)
    assert not Pyramid(hashes[:-32]).holds(8, 0)


def test_nodes_lie_in_the_tile_below_their_height() -> None:
    assert tile_node((0, 300)) == ((0, 1), (0, 44))
    assert tile_node((3, 33)) == ((0, 1), (3, 1))
    assert tile_node((8, 300)) == ((1, 1), (0, 44))


@given(st.lists(st.binary(max_size=70), max_size=20))
@settings(max_examples=50, deadline=None)
def test_bundles_round_trip(entries: list[bytes]) -> None:
    assert list(unbundle(bundle(entries))) == entries


@pytest.mark.parametrize("data", [b"\0", b"\0\2a", b"\0\1ab\0"])
def test_a_cut_bundle_is_refused(data: bytes) -> None:
    with pytest.raises(VerificationError):
        list(unbundle(data))


def test_a_tile_knows_its_path() -> None:
    assert Tile(1, 2, bytes(64)).path == "tile/1/002.p/2"
    assert Tile(0, 0, bytes(32 * WIDTH)).path == "tile/0/000"
