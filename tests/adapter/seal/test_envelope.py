"""The body envelope: fhir chapter §5 "Body"; AES-GCM after NIST SP 800-38D."""

import zlib
from dataclasses import dataclass, replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.errors import IntegrityFault
from adapter.seal import envelope
from adapter.seal.envelope import Row


@dataclass
class Keys:
    """Generations of one owner."""

    keys: tuple[bytes, ...] = (b"\1" * 32, b"\2" * 32)

    @property
    def gen(self) -> int:
        return len(self.keys)

    def body_cipher(self, gen: int) -> AESGCM:
        if not 1 <= gen <= len(self.keys):
            raise IntegrityFault(f"no key of generation {gen}")
        return AESGCM(self.keys[gen - 1])


KEYS, ROW, NONCE = Keys(), Row("stadtklinik", "Observation", b"\7" * 16, 3), b"\0" * 12
BODY = b'{"id":"c81e","resourceType":"Observation","status":"final"}'

rows = st.builds(
    Row,
    st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True),
    st.sampled_from(["Patient", "Observation"]),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**40),
)


@settings(deadline=None)
@given(st.binary(max_size=5000), rows, st.binary(min_size=12, max_size=12))
def test_unseal_gives_back_what_seal_closed(body: bytes, row: Row, nonce: bytes) -> None:
    assert envelope.unseal(KEYS, row, envelope.seal(KEYS, row, body, nonce)) == body


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_changed_byte_raises(data: st.DataObject) -> None:
    sealed = bytearray(envelope.seal(KEYS, ROW, BODY, NONCE))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(IntegrityFault):
        envelope.unseal(KEYS, ROW, bytes(sealed))


def test_every_single_byte_counts() -> None:
    sealed = envelope.seal(KEYS, ROW, BODY, NONCE)
    for place in range(len(sealed)):
        with pytest.raises(IntegrityFault):
            envelope.unseal(KEYS, ROW, sealed[:place] + bytes((sealed[place] ^ 1,)) + sealed[place + 1 :])
        with pytest.raises(IntegrityFault):
            envelope.unseal(KEYS, ROW, sealed[:place])


@pytest.mark.parametrize(
    "other",
    [
        replace(ROW, org="southclinic"),
        replace(ROW, type="Patient"),
        replace(ROW, fid=b"\x08" * 16),
        replace(ROW, version=4),
    ],
)
def test_rows_cannot_be_swapped(other: Row) -> None:
    with pytest.raises(IntegrityFault, match="does not open"):
        envelope.unseal(KEYS, other, envelope.seal(KEYS, ROW, BODY, NONCE))


def test_another_owner_cannot_open() -> None:
    with pytest.raises(IntegrityFault):
        envelope.unseal(Keys((b"\3" * 32, b"\4" * 32)), ROW, envelope.seal(KEYS, ROW, BODY, NONCE))


def test_the_header_names_form_dictionary_and_generation() -> None:
    assert envelope.seal(KEYS, ROW, BODY, NONCE)[:16] == b"\1\1\0\2" + NONCE


def test_an_older_generation_still_opens() -> None:
    old = envelope.seal(Keys(KEYS.keys[:1]), ROW, BODY, NONCE)
    assert envelope.unseal(KEYS, ROW, old) == BODY


def test_a_body_is_no_record_and_a_record_no_body() -> None:
    record = envelope.seal_record(KEYS, "stadtklinik", "outbox", b"\7" * 16, BODY, NONCE)
    assert envelope.unseal_record(KEYS, "stadtklinik", "outbox", b"\7" * 16, record) == BODY
    for kind, number in (("clock", b"\7" * 16), ("outbox", b"\x08" * 16)):
        with pytest.raises(IntegrityFault):
            envelope.unseal_record(KEYS, "stadtklinik", kind, number, record)
    with pytest.raises(IntegrityFault):
        envelope.unseal(KEYS, ROW, record)


def test_the_dictionary_makes_small_bodies_small() -> None:
    plain = zlib.compress(BODY, 1)
    assert len(envelope.deflate(BODY)) < len(plain) * 0.75


def test_the_published_dictionary_never_changes() -> None:
    with pytest.raises(IntegrityFault, match="dictionary 9"):
        envelope.inflate(envelope.deflate(BODY), 9)


def test_a_body_inflates_to_one_resource_within_bounds() -> None:
    with pytest.raises(IntegrityFault):
        envelope.inflate(envelope.deflate(b"\0" * (envelope.MAX_BODY_BYTES + 1)))
    with pytest.raises(IntegrityFault):
        envelope.inflate(envelope.deflate(BODY) + b"rest")
    with pytest.raises(IntegrityFault):
        envelope.inflate(b"\xff\xff")
