"""Commitments, tags and sealed details; HMAC is RFC 2104, HKDF RFC 5869."""

import hmac
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.commitment import (
    SubjectKey,
    commit,
    commit_fields,
    field_salt,
    lone_tag,
    mac,
    open_detail,
    opens,
    seal_detail,
    subject_tag,
)
from ledger.errors import VerificationError

ID = bytes(range(16))
KEY = SubjectKey.of(9, bytes(range(32)))
OTHER = SubjectKey.of(9, bytes(range(1, 33)))
keys = st.binary(min_size=32, max_size=32)


@given(keys, st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_mac_is_hmac_sha_256(key: bytes, message: bytes) -> None:
    assert mac(key, message) == hmac.digest(key, message, "sha256")


@given(st.text(max_size=30))
@settings(max_examples=60, deadline=None)
def test_a_commitment_opens_with_its_salt_and_value_only(value: str) -> None:
    salt = field_salt(KEY, ID, "purpose")
    commitment = commit(salt, "purpose", value.encode())
    assert opens(commitment, salt, "purpose", value.encode())
    assert not opens(commitment, salt, "purpose", value.encode() + b"x")
    assert not opens(commitment, salt, "actor", value.encode())
    assert not opens(commitment, field_salt(KEY, ID, "actor"), "purpose", value.encode())
    assert not opens(commitment, field_salt(OTHER, ID, "purpose"), "purpose", value.encode())


def test_only_salts_of_32_bytes_open() -> None:
    """HMAC pads short keys with zeros: without the check, two salts would open one commitment."""
    salt = bytes(31)
    commitment = commit(salt, "purpose", b"TREAT")
    assert commit(salt + b"\0", "purpose", b"TREAT") == commitment
    assert not opens(commitment, salt, "purpose", b"TREAT")


def test_every_field_has_a_salt_of_its_own() -> None:
    fields = commit_fields(KEY, ID, {"actor": b"same", "target": b"same"})
    assert fields["actor"] != fields["target"]
    assert fields["actor"] == commit(field_salt(KEY, ID, "actor"), "actor", b"same")


def test_tags_join_one_subject_log_and_month_only() -> None:
    tag = subject_tag(KEY, "log/2026", "2026-03")
    assert tag == subject_tag(KEY, "log/2026", "2026-03")
    others = [(OTHER, "log/2026", "2026-03"), (KEY, "log/2027", "2026-03"), (KEY, "log/2026", "2026-04")]
    assert tag not in {subject_tag(*other) for other in others}
    assert len(lone_tag(KEY, ID)) == len(tag) == 32
    assert lone_tag(KEY, ID) != lone_tag(KEY, ID[::-1])


@given(st.binary(max_size=200))
@settings(max_examples=40, deadline=None)
def test_a_sealed_detail_opens_and_any_changed_byte_raises(detail: bytes) -> None:
    sealed = seal_detail(KEY, "log/2026", ID, detail, os.urandom)
    assert open_detail(KEY, "log/2026", ID, sealed) == detail
    for place in range(len(sealed)):
        changed = bytes([*sealed[:place], sealed[place] ^ 1, *sealed[place + 1 :]])
        with pytest.raises(VerificationError):
            open_detail(KEY, "log/2026", ID, changed)


def test_a_sealed_detail_belongs_to_one_key_log_and_event() -> None:
    sealed = seal_detail(KEY, "log/2026", ID, b"who", os.urandom)
    for key, origin, event_id in [(OTHER, "log/2026", ID), (KEY, "log/2027", ID), (KEY, "log/2026", ID[::-1])]:
        with pytest.raises(VerificationError):
            open_detail(key, origin, event_id, sealed)
    with pytest.raises(VerificationError):
        open_detail(KEY, "log/2026", ID, b"")


def test_no_key_shows_in_a_repr() -> None:
    assert KEY.key.hex() not in repr(KEY)
    assert repr(KEY) == "SubjectKey(row=9)"


def test_a_commitment_key_has_32_bytes() -> None:
    with pytest.raises(RuntimeError):
        SubjectKey(9, b"short")
