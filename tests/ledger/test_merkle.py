"""RFC 6962 §2.1: roots, inclusion and consistency proofs."""

from base64 import b64decode
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import VerificationError
from ledger.merkle import (
    EMPTY_ROOT,
    Digest,
    consistency_nodes,
    fold,
    inclusion_nodes,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from tests.ledger.conftest import vector

VECTOR = vector("rfc6962.json")
LEAVES = [leaf_hash(n.to_bytes(4, "big")) for n in range(300)]
sizes = st.integers(1, len(LEAVES))


def reference_root(leaves: list[Digest]) -> Digest:
    """MTH as the RFC writes it, recursively."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(reference_root(leaves[:split]), reference_root(leaves[split:]))


def hashes(path: list[list[tuple[int, int]]], leaves: list[Digest]) -> list[bytes]:
    """A proof's nodes read from the leaves themselves."""
    return [fold([root_of(leaves[index << level : (index + 1) << level]) for level, index in nodes]) for nodes in path]


def inclusion(index: int, size: int) -> list[bytes]:
    return hashes(inclusion_nodes(index, size), LEAVES[:size])


def consistency(old: int, new: int) -> list[bytes]:
    return hashes(consistency_nodes(old, new), LEAVES[:new])


def test_published_roots_of_every_size() -> None:
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in VECTOR["leaves"]]
    assert [root_of(leaves[:size]).hex() for size in range(len(leaves) + 1)] == VECTOR["roots"]


@pytest.mark.parametrize("case", VECTOR["inclusion"])
def test_published_inclusion_proofs_verify_and_are_what_we_build(case: dict[str, object]) -> None:
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in VECTOR["leaves"]]
    index, size = int(str(case["index"])), int(str(case["size"]))
    proof = [b64decode(text) for text in VECTOR["inclusion"][0]["proof"]]
    assert hashes(inclusion_nodes(index, size), leaves[:size]) == proof
    verify_inclusion(leaves[index], index, size, proof, bytes.fromhex(VECTOR["roots"][size]))


@pytest.mark.parametrize("case", VECTOR["consistency"])
def test_published_consistency_proofs_verify_and_are_what_we_build(case: dict[str, object]) -> None:
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in VECTOR["leaves"]]
    old, new = int(str(case["old"])), int(str(case["new"]))
    proof = [b64decode(text) for text in VECTOR["consistency"][0]["proof"]]
    assert hashes(consistency_nodes(old, new), leaves[:new]) == proof
    roots = [bytes.fromhex(root) for root in VECTOR["roots"]]
    verify_consistency(old, new, roots[old], roots[new], proof)


@given(st.integers(0, len(LEAVES)))
@settings(max_examples=60, deadline=None)
def test_root_is_the_rfcs_recursion(size: int) -> None:
    assert root_of(LEAVES[:size]) == reference_root(LEAVES[:size])


def test_empty_root_is_the_digest_of_nothing() -> None:
    assert fold([]) == sha256(b"").digest()


def test_every_leaf_of_every_small_tree_is_proven() -> None:
    for size in range(1, 40):
        root = root_of(LEAVES[:size])
        for index in range(size):
            verify_inclusion(LEAVES[index], index, size, inclusion(index, size), root)


@given(sizes, st.data())
@settings(max_examples=80, deadline=None)
def test_an_inclusion_proof_fails_after_any_flipped_bit(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    root, proof = root_of(LEAVES[:size]), inclusion(index, size)
    verify_inclusion(LEAVES[index], index, size, proof, root)
    parts: list[bytes] = [LEAVES[index], root, *proof]
    place = data.draw(st.integers(0, len(parts) - 1))
    bit = data.draw(st.integers(0, 255))
    flipped = int.to_bytes(int.from_bytes(parts[place], "big") ^ 1 << bit, 32, "big")
    parts[place] = flipped
    with pytest.raises(VerificationError):
        verify_inclusion(parts[0], index, size, parts[2:], parts[1])


@given(sizes, st.data())
@settings(max_examples=60, deadline=None)
def test_an_inclusion_proof_holds_for_no_other_index(size: int, data: st.DataObject) -> None:
    index, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(-1, size + 1))
    if index != other:
        with pytest.raises(VerificationError):
            verify_inclusion(LEAVES[index], other, size, inclusion(index, size), root_of(LEAVES[:size]))


def test_any_two_small_sizes_are_consistent() -> None:
    roots = [root_of(LEAVES[:size]) for size in range(34)]
    for new in range(34):
        for old in range(new + 1):
            verify_consistency(old, new, roots[old], roots[new], consistency(old, new))


@given(sizes, st.data())
@settings(max_examples=80, deadline=None)
def test_a_consistency_proof_fails_after_any_flipped_bit(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new))
    parts = [root_of(LEAVES[:old]), root_of(LEAVES[:new]), *consistency(old, new)]
    verify_consistency(old, new, parts[0], parts[1], parts[2:])
    place = data.draw(st.integers(0, len(parts) - 1))
    bit = data.draw(st.integers(0, 255))
    parts[place] = Digest(int.to_bytes(int.from_bytes(parts[place], "big") ^ 1 << bit, 32, "big"))
    with pytest.raises(VerificationError):
        verify_consistency(old, new, parts[0], parts[1], parts[2:])


@given(st.integers(2, len(LEAVES)), st.data())
@settings(max_examples=60, deadline=None)
def test_a_forked_log_has_no_consistency(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new - 1))
    changed = data.draw(st.integers(0, old - 1))
    fork = [*LEAVES[:changed], leaf_hash(b"another history"), *LEAVES[changed + 1 : new]]
    proof = hashes(consistency_nodes(old, new), fork)
    with pytest.raises(VerificationError):
        verify_consistency(old, new, root_of(LEAVES[:old]), root_of(fork), proof)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: root_from_inclusion(LEAVES[0], 0, 3, []), "expected 2 hashes, got 0"),
        (lambda: root_from_inclusion(LEAVES[0], 0, 2, [b"short"]), "not 32 bytes"),
        (lambda: root_from_inclusion(LEAVES[0], 3, 3, []), "no leaf 3"),
        (lambda: verify_consistency(2, 1, LEAVES[0], LEAVES[0], []), "no consistency from 2 to 1"),
        (lambda: verify_consistency(1, 3, LEAVES[0], LEAVES[0], []), "expected 2 hashes, got 0"),
        (lambda: verify_consistency(0, 3, LEAVES[0], LEAVES[0], []), "roots of size 0 differ"),
        (lambda: verify_consistency(3, 3, LEAVES[0], LEAVES[1], []), "roots of size 3 differ"),
        (lambda: verify_consistency(0, 3, EMPTY_ROOT, LEAVES[1], [LEAVES[0]]), "expected 0 hashes, got 1"),
    ],
)
def test_malformed_proofs_say_what_is_wrong(call: object, message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        call()  # type: ignore[operator]


def test_asking_for_what_cannot_be_is_a_mistake_of_ours() -> None:
    with pytest.raises(RuntimeError):
        inclusion_nodes(3, 3)
    with pytest.raises(RuntimeError):
        consistency_nodes(3, 2)
