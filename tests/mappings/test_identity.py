"""Resource ids: keyed, stable, of UUID version 8.

Source: RFC 9562 §5.8; design chapter HL7 v2 §6.
"""

import hashlib
import hmac
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.identity import PUBLIC_KEY, Identities

IDS = Identities(PUBLIC_KEY)
FIELDS = st.lists(st.text(max_size=12), max_size=4).map(tuple)


@given(FIELDS)
@settings(max_examples=100, deadline=None)
def test_an_id_is_a_version_8_uuid_of_the_keyed_digest(fields: tuple[str, ...]) -> None:
    found = uuid.UUID(IDS.make("Patient", fields))
    assert (found.version, found.variant) == (8, uuid.RFC_4122)
    text = "7:Patient" + "".join(f"{len(field)}:{field}" for field in fields)
    digest = hmac.digest(PUBLIC_KEY, text.encode("utf-8", "surrogatepass"), hashlib.sha256)[:16]
    assert bytes(a & b for a, b in zip(found.bytes, MASK, strict=True)) == bytes(
        a & b for a, b in zip(digest, MASK, strict=True)
    )


MASK = bytes.fromhex("ffffffffffff0fff3fffffffffffffff")  # all but version and variant


@given(FIELDS, FIELDS)
@settings(max_examples=100, deadline=None)
def test_no_two_keys_run_together(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert (IDS.make("Patient", one) == IDS.make("Patient", other)) == (one == other)


def test_type_and_key_change_the_id() -> None:
    assert IDS.make("Patient", ("a",)) != IDS.make("Person", ("a",))
    assert IDS.make("Patient", ("a",)) != Identities(b"x" * 32).make("Patient", ("a",))


def test_a_short_key_is_a_mistake_of_ours() -> None:
    with pytest.raises(RuntimeError, match="too short"):
        Identities(b"short")
