"""C2SP signed-note, tlog-checkpoint and tlog-cosignature; Ed25519 is RFC 8032."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.cosignature import CosignatureVerifier, Cosigner, cosigned_message, cosigned_time
from ledger.errors import VerificationError
from ledger.keys import parse_skey
from ledger.merkle import Digest
from ledger.note import (
    MAX_SIGNATURES,
    Checkpoint,
    Ed25519Signer,
    Ed25519Verifier,
    decode_vkey,
    ed25519_holds,
    open_checkpoint,
    open_note,
    parse_note,
    sign_note,
)
from tests.ledger.conftest import ORIGIN, SIGNER, vector

VECTOR = vector("c2sp.json")
NOTE = VECTOR["note"]
COSIGNED = VECTOR["cosigned_checkpoint"]
PETER = Ed25519Verifier.of(NOTE["vkey"])
ENOCH = Ed25519Verifier.of(NOTE["other_vkey"])
BOTH = f"{NOTE['text']}\n{NOTE['signature']}{NOTE['other_signature']}"


@pytest.mark.parametrize("case", vector("rfc8032.json"), ids=lambda case: case["message"] or "empty")
def test_published_ed25519_signatures(case: dict[str, str]) -> None:
    public, message, signature = (bytes.fromhex(case[name]) for name in ("public", "message", "signature"))
    signer = Ed25519Signer("test", bytes.fromhex(case["secret"]))
    assert signer.verifier.public == public
    assert signer.sign(message) == signature
    assert ed25519_holds(public, message, signature)
    assert not ed25519_holds(public, message + b"x", signature)
    assert not ed25519_holds(public[:-1], message, signature)


def test_the_published_note_is_what_the_published_key_signs() -> None:
    signer = Ed25519Signer("PeterNeumann", parse_skey(NOTE["skey"], "PeterNeumann"))
    assert signer.vkey == NOTE["vkey"] == PETER.vkey
    assert str(sign_note(NOTE["text"], [signer])) == f"{NOTE['text']}\n{NOTE['signature']}"


def test_opening_keeps_known_signatures_and_passes_over_unknown_ones() -> None:
    assert [signature.name for signature in open_note(BOTH.encode(), [PETER]).signatures] == ["PeterNeumann"]
    assert [signature.name for signature in open_note(BOTH.encode(), [PETER, ENOCH]).signatures] == [
        "PeterNeumann",
        "EnochRoot",
    ]
    assert open_note(BOTH.encode(), [PETER]).text == NOTE["text"]


def test_a_note_without_a_known_key_is_refused() -> None:
    with pytest.raises(VerificationError, match="no signature by a known key"):
        open_note(BOTH.encode(), [])


def test_a_known_keys_bad_signature_refuses_the_whole_note() -> None:
    changed = BOTH.replace("problem is", "problem was")
    with pytest.raises(VerificationError, match="PeterNeumann"):
        open_note(changed.encode(), [PETER, ENOCH])


def test_a_signature_given_twice_counts_once() -> None:
    twice = f"{NOTE['text']}\n{NOTE['signature']}{NOTE['signature']}"
    assert len(open_note(twice.encode(), [PETER]).signatures) == 1


@pytest.mark.parametrize(
    "data",
    [
        NOTE["text"],
        NOTE["text"] + "\n",
        f"{NOTE['text']}\n{NOTE['signature']}"[:-1],
        f"\x01{NOTE['text']}\n{NOTE['signature']}",
        f"{NOTE['text']}\n{NOTE['signature']}Unexpected line.\n",
        f"{NOTE['text']}\n" + NOTE["signature"].replace("PeterNeumann", "Bad Name"),
        f"{NOTE['text']}\n" + NOTE["signature"].replace("PeterNeumann", "a+b"),
        f"{NOTE['text']}\n— PeterNeumann x08g\n",
        f"{NOTE['text']}\n— PeterNeumann !!!!\n",
        f"{NOTE['text']}\n" + NOTE["signature"] * (MAX_SIGNATURES + 1),
        "x" * 1_000_001,
    ],
)
def test_what_is_not_a_note_is_refused(data: str) -> None:
    with pytest.raises(VerificationError):
        open_note(data.encode(), [PETER])


def test_a_note_is_utf_8() -> None:
    with pytest.raises(VerificationError, match="UTF-8"):
        parse_note(b"\xff" + BOTH.encode())


def test_a_foreign_note_with_empty_lines_parses_and_prints_as_it_came() -> None:
    note = parse_note(VECTOR["foreign_note"].encode())
    assert note.signatures[0].name == "quasimodo.example/salvatore"
    assert note.text.endswith("sera.\n")
    assert str(note) == VECTOR["foreign_note"]


@pytest.mark.parametrize("vkey", NOTE["bad_vkeys"])
def test_published_bad_keys_are_refused(vkey: str) -> None:
    with pytest.raises(VerificationError):
        Ed25519Verifier.of(vkey)


def test_no_part_and_no_change_of_a_verifier_key_is_one() -> None:
    vkey = NOTE["vkey"]
    for start in range(len(vkey)):
        with pytest.raises(VerificationError):
            decode_vkey(vkey[start + 1 :])
        with pytest.raises(VerificationError):
            decode_vkey(vkey[:start])
        with pytest.raises(VerificationError):
            decode_vkey(vkey[:start] + chr(ord(vkey[start]) + 1) + vkey[start + 1 :])


def test_a_signer_has_a_seed_and_a_name() -> None:
    with pytest.raises(RuntimeError):
        Ed25519Signer("two words", bytes(32))
    with pytest.raises(RuntimeError):
        Ed25519Signer("name", bytes(31))


@pytest.mark.parametrize("text", ["no newline", "tab\tinside\n"])
def test_only_printable_lines_are_signed(text: str) -> None:
    with pytest.raises(RuntimeError):
        sign_note(text, [SIGNER])


@given(st.integers(0, 2**60), st.binary(min_size=32, max_size=32))
@settings(max_examples=40, deadline=None)
def test_a_checkpoint_reads_back_from_its_note(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(ORIGIN, size, Digest(root))
    note = str(sign_note(checkpoint.text(), [SIGNER]))
    assert open_checkpoint(note.encode(), ORIGIN, SIGNER.verifier) == checkpoint


def test_a_checkpoint_of_another_log_is_refused() -> None:
    note = str(sign_note(Checkpoint("another/log", 1, Digest(bytes(32))).text(), [SIGNER]))
    with pytest.raises(VerificationError, match="another log"):
        open_checkpoint(note.encode(), ORIGIN, SIGNER.verifier)


@pytest.mark.parametrize(
    "text", ["o\n1\n", "o\n01\nAAAA\n", "o\n1\nAAAA\n", "o\n-1\nAAAA\n", "o\n\n1\nAAAA\n", "o\n1\nA A\n"]
)
def test_a_malformed_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        Checkpoint.parse(text)


def test_extension_lines_change_nothing() -> None:
    checkpoint = Checkpoint("o", 1, Digest(bytes(32)))
    assert Checkpoint.parse(checkpoint.text() + "extension\n") == checkpoint


def test_the_published_cosigned_checkpoint_reads_as_published() -> None:
    note = parse_note(COSIGNED["note"].encode())
    checkpoint = Checkpoint.parse(note.text)
    assert (checkpoint.origin, checkpoint.size) == (COSIGNED["origin"], COSIGNED["size"])
    witness = note.signatures[1]
    assert cosigned_time(witness.signature) == COSIGNED["time_s"]
    assert cosigned_message(note.text.encode(), COSIGNED["time_s"]).decode() == COSIGNED["message"]


def test_a_cosignature_is_bound_to_its_time_and_checkpoint() -> None:
    witness = Cosigner("witness.example.net/w1", b"\2" * 32, lambda: 1_772_615_728)
    text = Checkpoint(ORIGIN, 3, Digest(bytes(32))).text().encode()
    signature = witness.sign(text)
    verifier = CosignatureVerifier.of(witness.vkey)
    assert verifier.verify(text, signature)
    assert not verifier.verify(text + b"x", signature)
    later = (1_772_615_729).to_bytes(8, "big") + signature[8:]
    assert not verifier.verify(text, later)
    assert not SIGNER.verifier.verify(text, signature[8:])


def test_malformed_cosignatures_are_refused() -> None:
    with pytest.raises(VerificationError, match="71 bytes"):
        cosigned_time(bytes(71))
    with pytest.raises(VerificationError, match="out of range"):
        cosigned_time(b"\xff" * 72)
    with pytest.raises(VerificationError, match="cosigner"):
        CosignatureVerifier.of(SIGNER.vkey)
