"""C2SP tlog-proof: the receipt a reader keeps."""

import pytest

from ledger.errors import VerificationError
from ledger.proof import Proof, parse_proof
from tests.ledger.conftest import ORIGIN, SIGNER, vector

TEXT: str = vector("chartbridge-v1.json")["proof"]
ENTRY: bytes = vector("chartbridge-v1.json")["entries"]["2"].encode()


def test_a_receipt_reads_back_as_it_was_written() -> None:
    assert str(parse_proof(TEXT)) == TEXT


def test_extra_data_is_read_over() -> None:
    assert parse_proof(TEXT.replace("index 2", "extra AAAA\nindex 2")) == parse_proof(TEXT)


def test_a_receipt_fails_for_another_entry_index_log_or_hash() -> None:
    proof = parse_proof(TEXT)
    with pytest.raises(VerificationError):
        proof.verify(ENTRY + b" ", ORIGIN, SIGNER.verifier)
    with pytest.raises(VerificationError):
        Proof(1, proof.hashes, proof.note).verify(ENTRY, ORIGIN, SIGNER.verifier)
    with pytest.raises(VerificationError):
        proof.verify(ENTRY, "another/log", SIGNER.verifier)
    with pytest.raises(VerificationError):
        Proof(2, (bytes(32),), proof.note).verify(ENTRY, ORIGIN, SIGNER.verifier)


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT.replace("proof@v1", "proof@v2"),
        TEXT.replace("index 2", "index 02"),
        TEXT.replace("index 2\n", ""),
        TEXT.replace("index 2", "extra !!\nindex 2"),
        TEXT.replace("LECIRv1F", "LECIRv1F\nAAAA\n"),
        TEXT.replace("index 2\n", "index 2\n" + "AAAA\n" * 64),
        TEXT.replace("\n\n", "\n"),
        TEXT[: TEXT.index("— log")],
        "c2sp.org/tlog-proof@v1\n\n" + TEXT.partition("\n\n")[2],
    ],
)
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        parse_proof(text)
