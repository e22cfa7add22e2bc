"""The codec: canonical bytes, kept number lexemes, and the bytes layer of validation.

Source: RFC 8259; FHIR R4 §2.6.2. Vectors: `tests/vectors/canonical` (the stored form, its SHA-256, and number lexemes).
"""

import csv
import hashlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mappings.fhir.codec import (
    BOM,
    BytesError,
    Json,
    Limits,
    check_bytes,
    decimal,
    decode,
    encode,
    lexeme,
    number,
)

CANONICAL = Path(__file__).parents[2] / "vectors" / "canonical"
STORED = (CANONICAL / "observation.json").read_bytes()


def rows(name: str) -> list[dict[str, str]]:
    with (CANONICAL / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


# -- canonical form --


def test_what_was_received_is_stored_as_the_vector() -> None:
    assert encode(check_bytes((CANONICAL / "received.json").read_bytes())) == STORED


@pytest.mark.parametrize("row", rows("digests.csv"), ids=lambda row: row["change"] or "as stored")
def test_digests_of_the_vector(row: dict[str, str]) -> None:
    data = STORED.replace(b"1.50", b"1.5") if row["change"] else STORED
    assert encode(decode(data)) == data
    assert (len(data), hashlib.sha256(data).hexdigest()) == (int(row["bytes"]), row["sha256"])


@pytest.mark.parametrize("row", rows("numbers.csv"), ids=lambda row: row["lexeme"])
def test_a_number_leaves_as_it_came(row: dict[str, str]) -> None:
    decoded = decode(f'{{"a":{row["lexeme"]}}}')
    assert encode(decoded) == f'{{"a":{row["kept"]}}}'.encode()
    assert decimal(decoded["a"]) == Decimal(row["lexeme"])
    assert lexeme(decoded["a"]) == row["kept"]


def test_a_lexeme_that_decimal_would_rewrite_travels_raw() -> None:
    assert isinstance(number("1.50"), Decimal)
    assert isinstance(number("1e2"), msgspec.Raw)


lexemes = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", fullmatch=True).filter(
    lambda text: text != "-0"
)
# Strings that look like names of members, to mislead whoever counts them.
texts = st.one_of(
    st.text(max_size=6), st.sampled_from(['":', '" :', '\\":', '\\\\" :', "a\n:", '{"a":1,"a":2}', "ü\u2028"])
)


class Lexeme(str):
    """A number as it is written; told apart from a string by its type."""


trees = st.recursive(
    st.one_of(st.none(), st.booleans(), lexemes.map(Lexeme), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=16,
)
objects = st.dictionaries(texts, trees, max_size=4)
spaces = st.sampled_from(["", " ", "\n", "\t ", "\r\n"])


def write(tree: Any, draw: Any) -> str:
    """JSON of a tree with the members of each object in any order, any white space and any escapes."""
    gap = draw(spaces)
    if isinstance(tree, Lexeme):
        return str(tree)
    if isinstance(tree, dict):
        members = draw(st.permutations(list(tree.items())))
        inside = f"{gap},{gap}".join(f"{quote(name, draw)}{gap}:{gap}{write(value, draw)}" for name, value in members)
        return f"{{{gap}{inside}{gap}}}"
    if isinstance(tree, list):
        return f"[{gap}{f'{gap},'.join(write(item, draw) for item in tree)}{gap}]"
    return quote(tree, draw) if isinstance(tree, str) else json.dumps(tree)


def quote(text: str, draw: Any) -> str:
    return json.dumps(text, ensure_ascii=draw(st.booleans()))


def plain(tree: Any) -> str:
    """A tree in canonical form, by another encoder."""
    if isinstance(tree, Lexeme):
        return str(tree)
    if isinstance(tree, dict):
        members = sorted(tree.items(), key=lambda member: member[0].encode())
        return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{plain(value)}" for name, value in members) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(map(plain, tree)) + "]"
    return json.dumps(tree, ensure_ascii=False)


@settings(max_examples=150, deadline=None)
@given(objects, st.data())
def test_canonical_form_is_blind_to_order_space_and_escapes(tree: dict[str, Any], data: st.DataObject) -> None:
    received = write(tree, data.draw).encode()
    canonical = encode(check_bytes(received))
    assert json.loads(canonical, parse_float=Lexeme, parse_int=Lexeme) == tree
    assert canonical == plain(tree).encode()


@settings(max_examples=100, deadline=None)
@given(objects)
def test_canonical_form_is_idempotent(tree: dict[str, Any]) -> None:
    canonical = encode(decode(plain(tree)))
    assert encode(decode(canonical)) == canonical


@settings(max_examples=100, deadline=None)
@given(lexemes, lexemes)
def test_two_lexemes_are_two_texts(one: str, other: str) -> None:
    assert (encode(decode(f'{{"a":{one}}}')) == encode(decode(f'{{"a":{other}}}'))) == (one == other)


# -- the bytes layer --


def refusal(data: bytes, limits: Limits | None = None) -> tuple[str, str]:
    """The code and expression of the first fault."""
    with pytest.raises(BytesError) as caught:
        check_bytes(data, limits or Limits())
    return caught.value.faults[0].code, caught.value.faults[0].expression


@pytest.mark.parametrize(
    "value",
    [
        {"resourceType": "Basic", "id": "x" * ((1 << 20) + 1) + "é"},
        {"resourceType": "Basic", "deep": [[[[[[[[[[[]]]]]]]]]]]},
        {"resourceType": "Basic", "number": Decimal("1." + "0" * 80)},
        {"resourceType": "Basic", "number": 10**70},
    ],
    ids=["a long string", "too deep", "a long number", "a large integer"],
)
def test_what_we_encode_ourselves_keeps_the_same_limits(value: Json) -> None:
    limits = Limits(max_depth=8)
    check_bytes(encode({"resourceType": "Basic", "number": Decimal("1.50")}), limits)
    with pytest.raises(BytesError):
        check_bytes(encode(value), limits)


@given(st.integers(0, 20), st.integers(1, 90), st.integers(0, 90), st.sampled_from(["", "-"]))
@example(0, 64, 0, "-")
@settings(max_examples=150, deadline=None)
def test_a_number_that_we_encode_is_refused_where_it_is_too_long(ahead: int, whole: int, part: int, sign: str) -> None:
    """Wherever it stands in the bytes."""
    lexeme = sign + "7" * whole + ("." + "0" * part if part else "")
    data = encode({"a": "x" * ahead, "number": Decimal(lexeme), "z": "1"})
    if len(lexeme) <= Limits().max_lexeme:
        check_bytes(data)
    else:
        with pytest.raises(BytesError):
            check_bytes(data)


def test_what_is_too_deep_to_be_written_is_refused() -> None:
    deep: Json = {}
    for _ in range(5_000):
        deep = {"x": deep}
    with pytest.raises(BytesError):
        encode(deep)


def test_a_long_list_of_references_hides_no_depth() -> None:
    references: Json = {"result": [{"reference": f"Observation/{number}"} for number in range(200)]}
    deep: Json = {"lines": references}
    for _ in range(60):
        deep = {"a": deep}
    check_bytes(encode(deep))
    for _ in range(3):
        deep = {"a": deep, "b": references}
    with pytest.raises(BytesError):
        check_bytes(encode(deep))


def test_a_string_that_looks_like_a_list_of_references_hides_no_depth() -> None:
    deep: Json = {"text": '},{"reference":' * 100}
    for _ in range(70):
        deep = {"a": deep}
    with pytest.raises(BytesError):
        check_bytes(encode(deep))


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "structure"),
        (b"{", "structure"),
        (b"[]", "structure"),
        (b'"Patient"', "structure"),
        (b"{} {}", "structure"),
        (b"{'a':1}", "structure"),
        (b'{"a":NaN}', "structure"),
        (b'{"a":01}', "structure"),
        (b'{"a":1.}', "structure"),
        (b'{"a":"\x01"}', "structure"),
        (b'{"a":"\\ud800"}', "structure"),
        (b'{"a":"\xff"}', "structure"),
        (b'{"a":"\xed\xa0\x80"}', "structure"),  # a surrogate, encoded
        (BOM + BOM + b"{}", "structure"),
        ('{"a":"ü"}'.encode("utf-16"), "structure"),
        (nested(65), "structure"),
        (nested(100_000), "structure"),
        (b"[" * 100_000, "structure"),
        (b'{"a":' + b"9" * 65 + b"}", "value"),
        (b'{"a":' + b"9" * 5000 + b"}", "value"),
        (b'{"a":0.' + b"9" * 63 + b"}", "value"),
        (b'{"a":1e1000}', "value"),
        (b'{"a":1e99999999999999999999}', "value"),
        (b'{"a":"' + b"-" * 1_048_577 + b'"}', "too-long"),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else value,
)
def test_bytes_that_are_no_resource_are_refused(data: bytes, code: str) -> None:
    assert refusal(data) == (code, "Resource")


@pytest.mark.parametrize(
    "data",
    [
        BOM + b"{}",
        nested(64),
        b'{"a":' + b"9" * 64 + b"}",
        b'{"a":0e99}',
        b'{"a":"' + b"-" * 1_048_576 + b'"}',
        b'{"a":"' + b"A" * 2_000_000 + b'"}',  # base64: an attachment
    ],
    ids=lambda data: repr(data[:20]),
)
def test_bytes_at_the_limit_are_read(data: bytes) -> None:
    assert check_bytes(data) == decode(data.removeprefix(BOM))


def judged(data: bytes, limits: Limits) -> object:
    """What the bytes layer makes of these bytes: the value, or the faults."""
    try:
        return check_bytes(data, limits)
    except BytesError as error:
        return error.faults


@given(
    st.dictionaries(texts, st.recursive(texts | st.integers(-(10**25), 10**25), st.lists, max_leaves=8), max_size=4),
    st.builds(Limits, max_depth=st.integers(1, 5), max_string=st.integers(1, 40), max_lexeme=st.integers(1, 22)),
)
@settings(max_examples=300, deadline=None)
def test_small_canonical_bytes_are_judged_as_any_others(value: dict[str, Any], limits: Limits) -> None:
    """They are not walked through; a blank in front makes bytes that are."""
    data = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    assert judged(data, limits) == judged(b" " + data, limits)


def test_a_resource_has_a_size_limit_of_its_own() -> None:
    assert refusal(b'{"a":1}', Limits(max_bytes=6)) == ("too-long", "Resource")


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b'{"resourceType":"Patient","gender":"male","gender":"female"}', "Patient.gender"),
        (b'{"resourceType":"Patient","gender":"male","g\\u0065nder":"female"}', "Patient.gender"),
        (b'{"resourceType":"Patient","name":[{},{"family":"A","family" :"B"}]}', "Patient.name[1].family"),
        (b'{"a":{"b":1,"b":1}}', "Resource.a.b"),
        (b'{"a" :1,"a" : 2, "b":"\\":"}', "Resource.a"),
        (b'{"a b":1,"a b":2}', "Resource"),
        (b'{"resourceType":"no type","a":1,"a":2}', "Resource.a"),
    ],
)
def test_a_member_named_twice_is_refused_at_its_place(data: bytes, place: str) -> None:
    assert refusal(data) == ("structure", place)


@settings(max_examples=150, deadline=None)
@given(objects, texts, st.data())
def test_members_named_twice_are_found_among_any_strings(tree: dict[str, Any], name: str, data: st.DataObject) -> None:
    once = write(tree | {name: "first"}, data.draw)
    twice = f"{once.rstrip()[:-1]},{data.draw(spaces)}{quote(name, data.draw)}{data.draw(spaces)}:2}}"
    assert check_bytes(once.encode()) == decode(once)
    with pytest.raises(BytesError, match="named twice"):
        check_bytes(twice.encode())


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=40), objects.map(lambda tree: plain(tree).encode()), st.text(max_size=40).map(str.encode)
    )
)
def test_any_bytes_are_read_or_refused_by_our_error(data: bytes) -> None:
    try:
        read = check_bytes(data)
    except BytesError as exc:
        read = {"faults": exc.faults}
        assert exc.faults  # noqa: PT017 - both outcomes are allowed
    assert isinstance(read, dict)


def test_a_refusal_holds_nothing_of_the_bytes() -> None:
    for data in (b'{"a":"Mustermann', b'{"a":1e77777}', b'["Mustermann"]', b'{"Muster mann":1,"Muster mann":2}'):
        with pytest.raises(BytesError) as caught:
            check_bytes(data)
        assert "ustermann" not in str(caught.value)
        assert "77777" not in str(caught.value)
        assert "Muster mann" not in str(caught.value)
