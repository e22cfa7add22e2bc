"""Roots, inclusion and consistency proofs over a Merkle tree.

Pure arithmetic on SHA-256 digests of 32 bytes. Nodes are named (level, index): the perfect subtree over the leaves
[index << level, (index + 1) << level). Reading nodes is `tree.py`'s, tiles are `tiles.py`'s. Indices count from 0;
the tree of size 0 has the root SHA-256(""). Source: RFC 6962 §2.1; verification as in RFC 9162 §2.1.3.2 and §2.1.4.2.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NewType

from ledger.errors import VerificationError

Digest = NewType("Digest", bytes)
Node = tuple[int, int]

HASH_BYTES = 32
EMPTY_ROOT = Digest(sha256(b"").digest())


def leaf_hash(entry: bytes) -> Digest:
    return Digest(sha256(b"\x00" + entry).digest())


def node_hash(left: bytes, right: bytes) -> Digest:
    return Digest(sha256(b"\x01" + left + right).digest())


def cover(start: int, end: int) -> list[Node]:
    """The perfect subtrees of RFC 6962's D[start:end], left to right; `start` is a multiple of their span's power."""
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append((level, start >> level))
        start += 1 << level
    return nodes


def fold(hashes: Sequence[bytes]) -> Digest:
    """The root over adjacent perfect subtrees of falling size, as `cover` lists them."""
    if not hashes:
        return EMPTY_ROOT
    root = Digest(hashes[-1])
    for left in hashes[-2::-1]:
        root = node_hash(left, root)
    return root


def root_of(leaves: Iterable[bytes]) -> Digest:
    """The root over leaf hashes."""
    stack: list[tuple[int, Digest]] = []
    for leaf in leaves:
        node = (0, Digest(leaf))
        while stack and stack[-1][0] == node[0]:
            node = (node[0] + 1, node_hash(stack.pop()[1], node[1]))
        stack.append(node)
    return fold([digest for _, digest in stack])


def inclusion_nodes(index: int, size: int) -> list[list[Node]]:
    """PATH(index, D[size]) from the leaf up; each step is the cover of one sibling, to be folded."""
    if not 0 <= index < size:
        raise RuntimeError(f"no leaf {index} in a tree of {size}")
    path = []
    start, end = 0, size
    while end - start > 1:
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        if index < middle:
            path.append(cover(middle, end))
            end = middle
        else:
            path.append(cover(start, middle))
            start = middle
    return path[::-1]


def consistency_nodes(old: int, new: int) -> list[list[Node]]:
    """PROOF(old, D[new]); empty where one tree is empty or both are the same."""
    if not 0 <= old <= new:
        raise RuntimeError(f"no consistency from {old} to {new}")
    if old in (0, new):
        return []
    path = []
    start, end, whole = 0, new, True
    while old < end:
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        if old <= middle:
            path.append(cover(middle, end))
            end = middle
        else:
            path.append(cover(start, middle))
            start, whole = middle, False
    if not whole:
        path.append(cover(start, end))
    return path[::-1]


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> Digest:
    """The root that `proof` leads to. Raises VerificationError where no tree of `size` has such a proof."""
    if not 0 <= index < size:
        raise VerificationError(f"no leaf {index} in a tree of {size}")
    inner = (index ^ (size - 1)).bit_length()  # below it the path runs inside the tree, above along its right border
    border = (index >> inner).bit_count()
    _expect_hashes("inclusion", proof, inner + border)
    root = Digest(leaf)
    for level, digest in enumerate(proof[:inner]):
        root = node_hash(digest, root) if index >> level & 1 else node_hash(root, digest)
    for digest in proof[inner:]:
        root = node_hash(digest, root)
    return root


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raises VerificationError unless `leaf` is leaf `index` of the tree of `size` with `root`."""
    if root_from_inclusion(leaf, index, size, proof) != root:
        raise VerificationError(f"inclusion proof of leaf {index} does not lead to the root of size {size}")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Raises VerificationError unless the tree of `new` leaves begins with that of `old`."""
    if not 0 <= old <= new:
        raise VerificationError(f"no consistency from {old} to {new}")
    if old in (0, new):
        _expect_hashes("consistency", proof, 0)
        if old_root != (new_root if old == new else EMPTY_ROOT):
            raise VerificationError(f"roots of size {old} differ")
        return
    level = (old & -old).bit_length() - 1  # the largest perfect subtree that ends at `old`
    inner = (old - 1 ^ new - 1).bit_length() - level
    border = ((old - 1) >> level >> inner).bit_count()
    seeded = old != 1 << level  # else that subtree is the old tree itself, and its root the seed
    _expect_hashes("consistency", proof, inner + border + seeded)
    first = second = proof[0] if seeded else old_root
    steps = proof[1:] if seeded else proof
    index = (old - 1) >> level
    for height, digest in enumerate(steps):
        if height >= inner or index >> height & 1:
            first, second = node_hash(digest, first), node_hash(digest, second)
        else:
            second = node_hash(second, digest)
    if first != old_root:
        raise VerificationError(f"consistency proof does not lead to the root of size {old}")
    if second != new_root:
        raise VerificationError(f"consistency proof does not lead to the root of size {new}")


def _expect_hashes(kind: str, proof: Sequence[bytes], expected: int) -> None:
    if len(proof) != expected:
        raise VerificationError(f"{kind} proof has wrong size: expected {expected} hashes, got {len(proof)}")
    if any(len(digest) != HASH_BYTES for digest in proof):
        raise VerificationError(f"{kind} proof holds a hash that is not {HASH_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Leaf `index` in the tree of `size`."""

    index: int
    size: int
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """The tree of `old` leaves begins that of `new`."""

    old: int
    new: int
    hashes: tuple[bytes, ...]
