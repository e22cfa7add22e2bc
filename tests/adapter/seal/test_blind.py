"""Keyed names: vectors of the fhir chapter §5, and HMAC-SHA-256 against the standard library's."""

import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.seal import blind
from adapter.seal.commitment import INDEX, derive

DEK, OTHER_DEK = bytes(range(32)), bytes(range(1, 33))


def as_hex(token: int) -> str:
    return token.to_bytes(8, "big", signed=True).hex()


def test_the_index_key_is_the_published_one() -> None:
    assert derive(DEK, INDEX).hex() == "80412ea5f79aea43e91d990a8f289bea427811b5fe85763fec56414e085d7f7b"


@pytest.mark.parametrize(
    ("dek", "param", "value", "expected"),
    [
        (DEK, "code", "http://loinc.org|2160-0", "36b39dc83965abf9"),
        (DEK, "date", "2025-03", "49cc23b3f315a787"),
        (OTHER_DEK, "code", "http://loinc.org|2160-0", "e8a4d538827f32b4"),
        (OTHER_DEK, "date", "2025-03", "d57dfe13413b960b"),
    ],
)
def test_tokens_are_the_published_ones_and_two_patients_share_none(
    dek: bytes, param: str, value: str, expected: str
) -> None:
    assert as_hex(blind.token(blind.mac(derive(dek, INDEX)), "Observation", param, value)) == expected


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_mac_is_hmac_sha256(key: bytes, message: bytes) -> None:
    assert blind.mac(key)(message) == hmac.digest(key, message, "sha256")


def test_a_keyed_id_depends_on_organisation_type_and_id() -> None:
    ours, theirs = blind.mac(DEK), blind.mac(OTHER_DEK)
    ids = {
        blind.keyed_id(ours, "Patient", "1"),
        blind.keyed_id(ours, "Patient", "2"),
        blind.keyed_id(ours, "Encounter", "1"),
        blind.keyed_id(theirs, "Patient", "1"),
    }
    assert len(ids) == 4
    assert {len(fid) for fid in ids} == {blind.FID_BYTES}


def test_lanes_spread_over_all_sixty_four() -> None:
    locate = blind.mac(DEK)
    assert {blind.lane(locate, f"Patient/{n}") for n in range(1000)} == set(range(blind.LANES))
