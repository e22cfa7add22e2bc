"""The entry grammar (RFC 8785 over a narrow grammar), ids (RFC 9562 §5.7), times and references."""

import os
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import EntryError
from ledger.event import (
    CORE,
    CORE_TYPES,
    MAX_DEPTH,
    MAX_ENTRY_BYTES,
    MAX_INTEGER,
    committed_bytes,
    decode,
    encode,
    encode_guarded,
    id_bytes,
    is_timestamp,
    new_id,
    parse_reference,
    rule,
    timestamp,
    types,
)

texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
names = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
facts = st.recursive(
    texts | st.integers(0, MAX_INTEGER),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(names, facts, max_size=6)


@given(objects)
@settings(max_examples=200, deadline=None)
def test_the_encoding_is_rfc_8785_byte_for_byte(value: dict[str, object]) -> None:
    assert encode(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@given(objects)
@settings(max_examples=60, deadline=None)
def test_what_is_encoded_decodes_to_itself(value: dict[str, object]) -> None:
    assert decode(encode(value)) == value


deep: object = "x"
for _ in range(MAX_DEPTH + 1):
    deep = [deep]


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        None,
        True,
        -1,
        2**53,
        "ä",
        "\n",
        "\x7f",
        b"bytes",
        {"A": 1},
        {"_a": 1},
        {"a-b": 1},
        {1: "a"},
        {"": 1},
        deep,
        {"a": [{"b": 1.0}]},
        {"a": {"b": None}},
        {"a"},
    ],
)
def test_nothing_outside_the_grammar_is_encoded(value: object) -> None:
    with pytest.raises(EntryError):
        encode(value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1.0}',
        b'{"a":1}\n',
        b'{"a":"\\u0041"}',
        b'{"a":1,"a":1}',
        b"\xff",
    ],
)
def test_only_the_one_encoding_is_an_entry(body: bytes) -> None:
    with pytest.raises(EntryError):
        decode(body)


def test_an_entry_fits_its_bundle() -> None:
    entry = {"a": "x" * (MAX_ENTRY_BYTES - len('{"a":""}'))}
    assert len(encode_guarded(entry)) == MAX_ENTRY_BYTES
    with pytest.raises(EntryError, match="65536 bytes"):
        encode_guarded({"a": entry["a"] + "x"})


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds are naive
@settings(max_examples=100, deadline=None)
def test_ids_are_uuid_7_and_sort_by_time(at: datetime) -> None:
    first, second = new_id(at, os.urandom), new_id(at + timedelta(milliseconds=1), os.urandom)
    parsed = uuid.UUID(first)
    assert (parsed.version, parsed.variant, str(parsed)) == (7, uuid.RFC_4122, first)
    assert parsed.int >> 80 == int(at.timestamp() * 1000)
    assert id_bytes(first) == parsed.bytes < id_bytes(second)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "019cb821-7813-474c-bcce-b302099a8057",
        "019CB821-7813-774C-BCCE-B302099A8057",
        "019cb8217813774cbcceb302099a8057",
        "019cb821-7813-774c-ccce-b302099a8057",
        "019cb821-7813-774c-bcce-b302099a8057\n",
    ],
)
def test_an_id_is_uuid_7_text_in_lower_case(text: str) -> None:
    with pytest.raises(EntryError):
        id_bytes(text)


def test_times_are_utc_milliseconds_rounded_down() -> None:
    at = datetime(2026, 3, 4, 10, 15, 27, 123_999, timezone(timedelta(hours=1)))
    assert timestamp(at) == "2026-03-04T09:15:27.123Z"
    assert is_timestamp(timestamp(at))
    assert not is_timestamp("2026-03-04T09:15:27Z")


def test_references_are_shard_and_index() -> None:
    assert parse_reference("2026:8123") == ("2026", 8123)


@pytest.mark.parametrize("ref", ["", "2026", "2026:", ":1", "2026:01", "2026:-1", "20 26:1", "2026:1\n", "a:b:1"])
def test_what_is_no_reference_is_refused(ref: str) -> None:
    with pytest.raises(EntryError):
        parse_reference(ref)


def test_committed_values_are_text_bytes_or_the_grammar() -> None:
    assert committed_bytes("Grüße") == "Grüße".encode()
    assert committed_bytes(b"\0\1") == b"\0\1"
    assert committed_bytes({"b": 1, "a": ["x"]}) == b'{"a":["x"],"b":1}'
    assert committed_bytes(7) == b"7"


def test_domain_types_join_the_core_and_none_is_listed_twice() -> None:
    table = types(rule("resource.written", "actor subject content"))
    assert table.keys() == {row.type for row in CORE} | {"resource.written"}
    with pytest.raises(RuntimeError, match="twice"):
        types(rule("access.read"))
    with pytest.raises(RuntimeError, match=r"family\.verb"):
        types(rule("Access"))


@pytest.mark.parametrize("type_", [row.type for row in CORE if row.type.startswith(("access.", "consent."))])
def test_every_access_and_consent_has_a_detail_to_replay_from(type_: str) -> None:
    assert CORE_TYPES[type_].detail.value == "must" or type_ == "access.outcome"


@pytest.mark.parametrize("type_", ["access.read", "access.search", "access.export"])
def test_every_release_commits_to_its_basis(type_: str) -> None:
    assert {"basis", "subject", "actor", "purpose", "content"} == CORE_TYPES[type_].committed
