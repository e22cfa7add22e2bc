"""The one-file verifier: its own Ed25519 against RFC 8032 and the library, its grammar against the log's, and what it
may import. That both verifiers say the same of whole folders is `test_verify.py`'s."""

import ast
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import kit, verify_standalone
from ledger.errors import EntryError, VerificationError
from ledger.event import CORE_TYPES, decode, encode
from ledger.merkle import inclusion_nodes, leaf_hash, root_of
from ledger.note import Ed25519Signer, ed25519_holds
from ledger.policy import parse_policy
from ledger.tiles import tile_path, unbundle
from ledger.verify_standalone import Bad, Entries, Policy, included, signed
from tests.ledger.conftest import SIGNER, vector

KEY = Ed25519Signer("k", b"\3" * 32)


def test_it_is_one_file_of_the_standard_library() -> None:
    source = Path(verify_standalone.__file__).read_text("utf-8")
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(source))
        for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "")])
        if isinstance(node, (ast.Import, ast.ImportFrom)) and name
    }
    assert imported <= set(sys.stdlib_module_names)
    ast.parse(source, feature_version=(3, 9))


def test_it_knows_the_files_and_the_types_of_the_kit() -> None:
    assert kit.NAMES == verify_standalone.KIT
    assert {name.decode() for name in verify_standalone.CORE} == set(CORE_TYPES)


@pytest.mark.parametrize("case", vector("rfc8032.json"))
def test_ed25519_is_that_of_rfc_8032(case: dict[str, str]) -> None:
    public, message, signature = (bytes.fromhex(case[name]) for name in ("public", "message", "signature"))
    assert signed(public, message, signature)
    assert not signed(public, message + b"x", signature)


@given(st.binary(max_size=200), st.integers(0, 511))
@settings(max_examples=15, deadline=None)
def test_ed25519_agrees_with_the_library_after_any_flipped_bit(message: bytes, bit: int) -> None:
    good = KEY.sign(message)
    public = KEY.verifier.public
    assert signed(public, message, good)
    flipped = bytearray(good)
    flipped[bit // 8] ^= 1 << bit % 8
    assert signed(public, message, bytes(flipped)) is ed25519_holds(public, message, bytes(flipped)) is False


def test_ed25519_refuses_what_is_no_point_no_number_and_no_length() -> None:
    good = KEY.sign(b"m")
    order = verify_standalone.ORDER.to_bytes(32, "little")
    for public, signature in (
        (b"\xff" * 32, good), (b"\2" + b"\0" * 31, good), (KEY.verifier.public, good[:32] + order),
        (KEY.verifier.public, good[:63]), (KEY.verifier.public[:31], good),
        (b"\1" + b"\0" * 30 + b"\x80", good),
    ):  # fmt: skip
        assert not signed(public, b"m", signature)
        assert not ed25519_holds(public, b"m", signature)


texts = st.text(st.characters(min_codepoint=0x1F, max_codepoint=0x80), max_size=6)
numbers = st.one_of(st.integers(-2, 3), st.sampled_from([2**53 - 1, 2**53, 0.5, True, None]))


def members(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(["a", "b_1", "count", "A", ""]), inner, max_size=3)


values = st.recursive(texts | numbers, lambda inner: st.lists(inner, max_size=3) | members(inner), max_leaves=6)


@st.composite
def entries(draw: st.DrawFn) -> bytes:
    """An entry, or something near one: other members, other values, other spellings."""
    import json

    value: dict[str, Any] = {"v": 1, "type": "access.read", "id": "i", "org": "o", "t": "2026-03-04T09:15:27.123Z"}
    value |= draw(st.fixed_dictionaries({}, optional={"outcome": texts, "tag": texts, "more": values}))
    if draw(st.booleans()):
        value["c"] = draw(st.dictionaries(st.sampled_from(["actor", "basis", "X"]), texts, max_size=3))
    if draw(st.booleans()):
        value["d"] = draw(members(values))
    value |= draw(st.sampled_from([{}, {"v": 2}, {"v": "1"}, {"id": 5}, {"c": []}, {"d": "x"}]))
    text = json.dumps(value, sort_keys=draw(st.integers(0, 9)) > 0, separators=(",", ":"), ensure_ascii=False)
    return (text if draw(st.integers(0, 9)) else text.replace(":", ": ", 1)).encode()


def is_entry(body: bytes) -> bool:
    """What the log itself would call an entry, by `event.decode`."""
    try:
        value = decode(body)
    except EntryError:
        return False
    strings = [value.get(name) for name in ("id", "org", "t", "type")]
    strings += [value.get("outcome", ""), value.get("tag", "")]
    c, d = value.get("c", {}), value.get("d", {})
    if type(c) is not dict or type(d) is not dict or type(value.get("v")) is not int:
        return False
    return all(type(text) is str for text in [*strings, *c.values()])


READER = Entries()  # one for all examples: what it has learned must not make it lenient


@given(entries())
@settings(max_examples=300, deadline=None)
def test_an_entry_is_read_as_the_log_would_have_written_it(body: bytes) -> None:
    found = READER.read(body)
    assert (found is not None) is is_entry(body)
    if found is not None:
        value = decode(body)
        assert found == (value["t"].encode(), value["id"].encode(), value["type"].encode())


@given(st.lists(entries(), min_size=2, max_size=4))
@settings(max_examples=60, deadline=None)
def test_the_packages_bulk_reader_says_the_same(bodies: list[bytes]) -> None:
    from ledger.note import Checkpoint
    from ledger.rebuild import rebuild
    from ledger.tiles import bundle

    bodies = [body.replace(b'"id":"i"', b'"id":"i%d"' % number) for number, body in enumerate(bodies)]
    data = bundle(bodies)
    checkpoint = Checkpoint("l/1", len(bodies), root_of(leaf_hash(body) for body in bodies))
    path = tile_path("entries", 0, len(bodies))
    rebuilt = rebuild({path: data}.get, checkpoint, (0, len(bodies)), [], [], "1")
    encoded = all(is_entry(body) for body in bodies)
    assert ("one encoding" in rebuilt.entries[1]) is not encoded
    assert rebuilt.tree[0] == "pass"


def test_a_second_entry_of_a_known_shape_is_not_let_through_with_other_keys() -> None:
    reader = Entries()
    good = encode({"v": 1, "type": "a.b", "id": "i", "org": "o", "t": "t", "c": {"actor": "1", "basis": "2"}})
    assert reader.read(good)
    assert reader.read(good.replace(b'"actor":"1"', b'"actor":"9"'))
    assert reader.read(good.replace(b"actor", b"basis", 1).replace(b'"basis":"2"', b'"actor":"2"')) is None
    assert reader.read(good.replace(b"actor", b"ACTOR")) is None
    assert reader.read(good.replace(b'"1"', b'"\\u0041"')) is None
    assert reader.read(good.replace(b'"1"', b'"\x7f"')) is None


@given(st.integers(1, 70), st.data())
@settings(max_examples=60, deadline=None)
def test_inclusion_proofs_lead_to_the_root(size: int, data: st.DataObject) -> None:
    leaves = [os.urandom(32) for _ in range(size)]
    index = data.draw(st.integers(0, size - 1))

    def node(level: int, at: int) -> bytes:
        return root_of(leaves[at << level : (at + 1) << level])

    from ledger.merkle import fold

    proof = [fold([node(*one) for one in step]) for step in inclusion_nodes(index, size)]
    assert included(leaves[index], index, size, [bytes(one) for one in proof]) == root_of(leaves)
    assert included(leaves[index], index, size, [bytes(one) for one in proof][:-1]) != root_of(leaves) or size == 1
    assert included(leaves[index], index, size, [*map(bytes, proof), b"\0" * 32]) is None
    assert included(leaves[index], size, size, [bytes(one) for one in proof]) is None


VKEYS = [Ed25519Signer(f"w{n}", bytes([n]) * 32).vkey for n in range(4)]
words = st.sampled_from(
    ["log", "witness", "group", "quorum", "none", "any", "all", "1", "2", "0", "x", "a", "b", *VKEYS]
)


@given(st.lists(st.lists(words, max_size=5).map(" ".join), max_size=6))
@settings(max_examples=300, deadline=None)
def test_policies_are_read_alike(lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in [f"witness a {VKEYS[0]}", f"witness b {VKEYS[1]}", *lines])
    for data in (text.encode(), f"{text}quorum a\n".encode()):
        try:
            ours = parse_policy(data)
        except VerificationError:
            with pytest.raises(Bad):
                Policy(data)
            continue
        theirs = Policy(data)
        assert [key.vkey for key in theirs.logs] == list(ours.logs)
        assert theirs.quorum == ours.quorum
        for cosigned in ({"a"}, {"b"}, {"a", "b"}, set[str]()):
            assert theirs.reached(cosigned) == ours.reached(cosigned)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"quorum none",
        b"quorum none\r\n",
        b"quorum\n",
        b"quorum none\nquorum none\n",
        b"group g any none\nquorum g\n",
    ],
)
def test_what_is_no_policy_is_refused_by_both(data: bytes) -> None:
    with pytest.raises(VerificationError):
        parse_policy(data)
    with pytest.raises(Bad):
        Policy(data)


def test_a_policy_may_hold_comments_tabs_and_blank_lines() -> None:
    data = f"# ours\n\n\tlog\t{SIGNER.vkey}  https://log.example.org\n  quorum  none \n".encode()
    assert parse_policy(data).logs == (SIGNER.vkey,)
    assert Policy(data).quorum == "none"


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_bundles_are_cut_alike(bodies: list[bytes], cut: int) -> None:
    from ledger.tiles import bundle

    data = bundle(bodies)
    data = data[: len(data) - cut] if cut else data
    try:
        ours: list[bytes] | None = list(unbundle(data))
    except VerificationError:
        ours = None
    try:
        theirs: list[bytes] | None = verify_standalone.unbundle(data)
    except Bad:
        theirs = None
    assert theirs == ours


@pytest.mark.parametrize("number", [0, 7, 255, 999, 1000, 123_456, 1_234_067])
def test_tile_paths_are_those_of_the_standard(number: int) -> None:
    for width in (1, 255, 256):
        assert verify_standalone.tile_path(0, number, width) == tile_path(0, number, width)
