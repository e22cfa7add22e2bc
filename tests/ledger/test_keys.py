"""The log key's file: PKCS#8 PEM or signed-note form, mode 0600, never overwritten."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ledger.errors import IntegrityError
from ledger.keys import generate_log_key, load_log_key
from tests.ledger.conftest import ORIGIN, vector

SKEY = vector("c2sp.json")["note"]["skey"]


def written(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_a_generated_key_loads_as_the_same_signer(tmp_path: Path) -> None:
    signer = generate_log_key(tmp_path / "log.pem", ORIGIN, os.urandom)
    assert (tmp_path / "log.pem").stat().st_mode & 0o777 == 0o600
    assert load_log_key(tmp_path / "log.pem", ORIGIN).vkey == signer.vkey


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    generate_log_key(tmp_path / "log.pem", ORIGIN, os.urandom)
    with pytest.raises(FileExistsError):
        generate_log_key(tmp_path / "log.pem", ORIGIN, os.urandom)


def test_the_signed_note_form_loads(tmp_path: Path) -> None:
    path = written(tmp_path / "skey", SKEY.encode() + b"\n")
    assert load_log_key(path, "PeterNeumann").vkey == vector("c2sp.json")["note"]["vkey"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    generate_log_key(tmp_path / "log.pem", ORIGIN, os.urandom)
    (tmp_path / "log.pem").chmod(mode)
    with pytest.raises(IntegrityError, match=f"mode 0{mode:o}"):
        load_log_key(tmp_path / "log.pem", ORIGIN)


def test_a_missing_key_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="No such file"):
        load_log_key(tmp_path / "log.pem", ORIGIN)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"junk",
        SKEY.replace("Peter", "Paul").encode(),
        SKEY[:-4].encode() + b"AAAA",
        SKEY[:-3].encode(),
        SKEY.replace("+AYEK", "+BYEK").encode(),
    ],
)
def test_what_is_no_key_of_that_name_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(IntegrityError):
        load_log_key(written(tmp_path / "key", data), "PeterNeumann")


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    pem = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(IntegrityError, match="not Ed25519"):
        load_log_key(written(tmp_path / "key", pem), ORIGIN)
