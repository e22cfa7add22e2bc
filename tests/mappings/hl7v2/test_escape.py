r"""Escape sequences: HL7 v2.9 §2.7."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.hl7v2.datatypes.text import text
from mappings.hl7v2.escape import unescape
from tests.mappings.hl7v2.contexts import HEADER, codes, context


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (r"a\F\b", "a|b"),
        (r"a\S\b", "a^b"),
        (r"a\T\b", "a&b"),
        (r"a\R\b", "a~b"),
        (r"a\E\b", "a\\b"),
        (r"a\P\b", "a#b"),
        (r"\F\\S\\T\\R\\E\ ", "|^&~\\ "),
        (r"\H\bold\N\ plain", "bold plain"),
        (r"one\.br\two", "one\ntwo"),
        (r"one\.BR\two", "one\ntwo"),
        (r"one\.ce\two", "one\ntwo"),
        (r"one\.sp\two", "one\ntwo"),
        (r"one\.sp3\two", "one\n\n\ntwo"),
        (r"one\.sp+2\two", "one\n\ntwo"),
        (r"one\.sp 2\two", "one\n\ntwo"),
        (r"one\.sk3\two", "one   two"),
        (r"\.in+4\\.ti-2\\.fi\\.nf\x", "x"),
        (r"\XC3BC\ ", "ü "),
        (r"\XC3\\XBC\ ", "ü "),
        (r"\xc3bc\ ", "ü "),
        (r"\XE282AC\5", "€5"),
        (r"a\X0D\b", "a\rb"),
        (r"unclosed \F and more", r"unclosed \F and more"),
        (r"C:\temp", r"C:\temp"),
        (r"\\", r"\\"),
        ("", ""),
    ],
)
def test_a_sequence_becomes_its_text(raw: str, expected: str) -> None:
    ctx = context()
    assert unescape(raw, ctx) == expected


@pytest.mark.parametrize(
    "raw", [r"\Zlocal\ ", r"\Q\ ", r"\.xx\ ", r"\XABC\ ", r"\XZZ\ ", r"\ \ ", r"\.sp99999999999\ "]
)
def test_an_unknown_sequence_stays_as_written(raw: str) -> None:
    ctx = context()
    assert unescape(raw, ctx) == raw
    assert codes(ctx) == ["escape-unknown"]
    assert ctx.issues[0].detail == ""


def test_a_number_in_a_sequence_is_no_reason_to_allocate() -> None:
    assert len(unescape(r"\.sp99999999\ ", context())) < 300


@pytest.mark.parametrize(
    ("declared", "expected"), [("8859/1", "ü"), ("UNICODE UTF-8", "ü"), ("ASCII", "ü"), ("SHIFT_JIS", "ﾃｼ")]
)
def test_bytes_are_read_in_the_set_of_the_message(declared: str, expected: str) -> None:
    ctx = context(header=f"{HEADER}||||||{declared}")
    raw = r"\XFC\ " if declared == "8859/1" else r"\XC3BC\ "
    assert unescape(raw, ctx).strip() == expected


def test_bytes_that_fit_nothing_are_still_text() -> None:
    assert unescape(r"\X81FF\ ", context()) == "\x81ÿ "


def test_sequences_switch_to_a_declared_set() -> None:
    ctx = context(header=f"{HEADER}||||||~ISO IR87")
    assert unescape(r"A\M2442\;3ED\C2842\B", ctx) == "A山田B"
    assert unescape(r"\M2442\;3ED\F\ ", ctx).endswith("| ")


def test_without_a_declared_set_a_switch_stays_as_written() -> None:
    ctx = context()
    assert unescape(r"A\M2442\;3ED", ctx) == r"A\M2442\;3ED"
    assert codes(ctx) == ["escape-unknown"]


def test_a_message_with_its_own_escape_character_keeps_the_backslash() -> None:
    ctx = context(header=HEADER.replace("\\", "!"))
    assert unescape(r"a!F!b\F\c", ctx) == r"a|b\F\c"


def test_without_an_escape_character_nothing_is_escaped() -> None:
    ctx = context(header=HEADER.replace("^~\\&", "^~"))
    assert text(r"a\F\b & c", ctx) == r"a\F\b & c"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_text_survives_being_escaped(value: str) -> None:
    ctx = context()
    escaped = value
    for letter, name in (("\\", "E"), ("|", "F"), ("^", "S"), ("&", "T"), ("~", "R")):
        escaped = (
            "".join(f"\\{name}\\" if c == letter else c for c in escaped)
            if letter != "\\"
            else escaped.replace("\\", "\\E\\")
        )
    if not any(ord(c) < 32 for c in value):
        assert unescape(escaped, ctx) == value


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="\\XFSTREHN.brspkCM0129af |é", max_size=60))
def test_any_text_unescapes_to_text(raw: str) -> None:
    ctx = context(header=f"{HEADER}||||||~ISO IR87")
    assert isinstance(unescape(raw, ctx), str)
