"""Character sets: HL7 v2.9 MSH-18 and table 0211, and headers that lie (hl7v2.md §2)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.hl7v2.charset import codec_of, decode
from mappings.hl7v2.message import byte_range, parse, peek
from mappings.hl7v2.place import Place


def header(declared: str) -> str:
    return f"MSH|^~\\&|A|B|C|D|20240501||ADT^A01|1|P|2.5||||||{declared}\r"


@pytest.mark.parametrize(
    ("spelling", "codec"),
    [
        ("ASCII", "ascii"),
        ("8859/1", "iso8859_1"),
        ("8859/9", "iso8859_9"),
        ("8859/15", "iso8859_15"),
        ("ISO-8859-1", "iso8859_1"),
        ("iso 8859-2", "iso8859_2"),
        ("ISO IR6", "ascii"),
        ("ISO IR14", "cp932"),
        ("ISO IR87", "iso2022_jp_ext"),
        ("ISO IR159", "iso2022_jp_ext"),
        ("GB 18030-2000", "gb18030"),
        ("KS X 1001", "cp949"),
        ("BIG-5", "big5hkscs"),
        ("UNICODE", "utf_8"),
        ("UNICODE UTF-8", "utf_8"),
        ("UTF-8", "utf_8"),
        ("utf8", "utf_8"),
        ("UNICODE UTF-16", "utf_16"),
        ("UNICODE UTF-32", "utf_32"),
        ("windows-1252", "cp1252"),
        ("CNS 11643-1992", None),
        ("KLINGON", None),
    ],
)
def test_every_spelling_of_table_0211_has_its_codec(spelling: str, codec: str | None) -> None:
    assert codec_of(spelling) == codec


@pytest.mark.parametrize(
    ("declared", "codec", "name"),
    [
        ("8859/1", "iso8859_1", "Müller^Zoë"),
        ("8859/2", "iso8859_2", "Dvořák^Jiří"),
        ("8859/5", "iso8859_5", "Иванов^Пётр"),
        ("8859/7", "iso8859_7", "Παπαδόπουλος^Γιώργος"),
        ("8859/8", "iso8859_8", "כהן^דוד"),
        ("8859/15", "iso8859_15", "Œuvre^€"),
        ("UNICODE UTF-8", "utf_8", "Müller^中文"),
        ("UNICODE UTF-16", "utf_16_le", "Müller^中文"),
        ("GB 18030-2000", "gb18030", "王^小明"),
        ("BIG-5", "big5", "許功蓋^郭"),
        ("KS X 1001", "euc_kr", "홍^길동"),
        ("SHIFT_JIS", "shift_jis", "表示^ソ能"),
        ("~ISO IR87", "iso2022_jp", "山田^太郎"),
        ("ISO IR14~ISO IR87", "iso2022_jp", "山田^太郎"),
    ],
)
def test_a_declared_set_is_used(declared: str, codec: str, name: str) -> None:
    message = parse((header(declared) + f"PID|1||7||{name}\rPV1|1\r").encode(codec))
    assert message.segments[1].field(5) == name
    assert [segment.name for segment in message.segments] == ["MSH", "PID", "PV1"]
    assert message.issues == ()


@pytest.mark.parametrize("text", ["表", "ソ", "能", "ポ", "ー", "暴", "十"])
def test_second_bytes_that_look_like_separators_split_nothing(text: str) -> None:
    """In Shift-JIS these characters contain the bytes of `\\`, `|`, `^` or `~`: decode first, split after."""
    encoded = text.encode("shift_jis")
    message = parse((header("SHIFT_JIS") + f"PID|1||7||{text}^{text}|next\r").encode("shift_jis"))
    assert message.segments[1].field(5) == f"{text}^{text}", encoded
    assert message.segments[1].field(6) == "next"


@pytest.mark.parametrize(
    ("data", "default", "trust", "text", "issues"),
    [
        # nothing declared
        ("ü".encode(), None, "detect", "ü", ["charset-lies"]),
        ("ü".encode(), "utf-8", "detect", "ü", []),
        (b"\xfc", None, "detect", "ü", ["charset-guessed"]),
        (b"\xfc", "8859/1", "detect", "ü", []),
        (b"\x80", "windows-1252", "detect", "€", []),
        (b"\x81", "windows-1252", "detect", "\x81", []),
        (b"\xfc", None, "declared", "ü", ["charset-guessed"]),
        (b"\xfc", "8859/1", "declared", "ü", []),
        ("ü".encode(), "8859/1", "declared", "Ã¼", []),
    ],
)
def test_where_nothing_is_declared_the_feed_then_the_bytes_decide(
    data: bytes, default: str | None, trust: str, text: str, issues: list[str]
) -> None:
    found = decode(header("").encode() + b"PID|1||" + data, default, trust)
    assert found.text.endswith("PID|1||" + text)
    assert list(found.issues) == issues


@pytest.mark.parametrize(
    ("declared", "data", "default", "text", "issue"),
    [
        ("8859/1", "ü".encode(), None, "ü", "charset-lies"),
        ("ASCII", "ü".encode(), None, "ü", "charset-lies"),
        ("ASCII", b"\xfc", None, "ü", "charset-lies"),
        ("ASCII", b"\xe6", "8859/5", "ц", "charset-lies"),
        ("UNICODE UTF-8", b"\xfc", None, "ü", "charset-lies"),
        ("UNICODE UTF-8", b"\xe6", "8859/5", "ц", "charset-lies"),
        ("8859/1", b"\x80", None, "€", "charset-lies"),
        ("UNICODE UTF-16", b"u", None, "u", "charset-lies"),
        ("UNICODE UTF-16", "ü".encode(), None, "ü", None),  # the sender means Unicode, and this is how it writes it
        ("UNICODE UTF-16", b"\xfc", None, "ü", "charset-lies"),
        ("SHIFT_JIS", "ü".encode(), None, None, None),  # also valid Shift-JIS: believed
        ("GB 18030-2000", "é中".encode() + b"\xff", None, None, "charset-invalid"),
        ("KLINGON", "ü".encode(), "utf-8", "ü", "charset-unknown"),
    ],
)
def test_a_header_that_lies_is_found_out(
    declared: str, data: bytes, default: str | None, text: str | None, issue: str | None
) -> None:
    message = parse(header(declared).encode() + b"PID|1||" + data + b"|x\r", charset=default)
    assert [found.code for found in message.issues] == ([issue] if issue else [])
    if text is not None:
        assert message.segments[1].field(3) == text
        assert message.segments[1].field(4) == "x"


def test_a_declared_set_that_is_to_be_trusted_is_not_second_guessed() -> None:
    message = parse(header("8859/1").encode() + "PID|1||ü".encode(), trust="declared")
    assert message.segments[1].field(3) == "Ã¼"
    assert message.issues == ()


NAME = "山田^太郎^^^様~ヤマダ^タロウ"
JIS = NAME.encode("iso2022_jp")


@pytest.mark.parametrize(
    "written",
    [
        JIS,
        JIS.replace(b"\x1b$B", b"\x1b$@"),  # JIS C 6226, its elder
        JIS.replace(b"\x1b(B", b"\x1b(J"),  # back to the Roman letters of JIS X 0201
    ],
)
@pytest.mark.parametrize(("default", "trust"), [(None, "detect"), (None, "declared"), ("windows-1252", "detect")])
def test_japanese_that_nobody_declared_is_known_by_its_escape_sequences(
    written: bytes, default: str | None, trust: str
) -> None:
    data = header("").encode() + b"PID|1||7||" + written + b"|x\rPV1|1|I~O\r"
    message = parse(data, charset=default, trust=trust)
    assert [issue.code for issue in message.issues] == ["charset-guessed"]
    assert message.segments[1].reps(5) == NAME.split("~")
    assert message.segments[1].field(6) == "x"
    assert message.segments[2].reps(2) == ["I", "O"]
    start, end = byte_range(message, Place("PID", 1, 6))
    assert data[start:end] == b"x"


@pytest.mark.parametrize(
    ("default", "trust", "name", "issues"),
    [
        ("ISO IR87", "detect", NAME, []),
        ("ISO IR87", "declared", NAME, []),
        ("8859/1", "declared", JIS.decode("ascii"), []),  # believed, as with any other bytes
    ],
)
def test_what_the_feed_says_of_its_escape_sequences_comes_before_a_guess(
    default: str, trust: str, name: str, issues: list[str]
) -> None:
    found = decode(header("").encode() + b"PID|1||7||" + JIS, default, trust)
    assert found.text.endswith("PID|1||7||" + name)
    assert list(found.issues) == issues


@pytest.mark.parametrize("declared", ["", "ASCII", "8859/1"])
@pytest.mark.parametrize(
    "text",
    [
        "red \x1b[31m alarm",  # a terminal's
        "cut here \x1b",
        "\x1b$B;3ED",  # never back to single bytes: the next segment would be read as Japanese
        "\x1b$B;3E\x1b(B",  # half a character
        "\x1b(B\\T\\~",
    ],
)
def test_escape_characters_of_another_kind_are_left_alone(declared: str, text: str) -> None:
    message = parse((header(declared) + f"NTE|1||{text}\rNTE|2||a~b\r").encode())
    assert message.segments[1].field(3) == text
    assert message.segments[2].reps(3) == ["a", "b"]
    assert message.issues == ()


def test_the_roman_letters_of_japan_are_separators_too() -> None:
    """Their bytes 5C and 7E show as yen and overline, and are what MSH-2 means."""
    data = (header("ISO IR87") + "PID|1||7||").encode() + JIS.replace(b"\x1b(B", b"\x1b(J") + b"\rNTE|1||a~b\r"
    message = parse(data)
    assert message.segments[1].reps(5) == NAME.split("~")
    assert message.segments[2].reps(3) == ["a", "b"]
    assert message.issues == ()


def test_the_listener_splits_no_header_within_japanese() -> None:
    """The second byte of its first letter is that of the bar."""
    name = "厚生病院".encode("iso2022_jp")
    assert b"|" in name
    data = header("").encode().replace(b"|A|B|", b"|A|" + name + b"|").replace(b"|1|P|", b"|ID7|P|")
    found = peek(data + b"PID|1||7\r")
    assert found is not None
    assert (found.sending_facility, found.message_code, found.control_id) == ("厚生病院", "ADT", b"ID7")
    start, end = found.time_span
    assert data[start:end] == b"20240501"


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-be", "utf-32-le"])
def test_marks_and_zero_bytes_come_before_the_header(codec: str) -> None:
    message = parse((header("8859/1") + "PID|1||ü\r").encode(codec))
    assert message.segments[1].field(3) == "ü"
    assert message.issues == ()


def test_a_torn_wide_message_is_marked() -> None:
    message = parse((header("") + "PID|1||ü\r").encode("utf-16")[:-1])
    assert [issue.code for issue in message.issues] == ["charset-invalid"]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.sampled_from(["", "ASCII", "8859/1", "UTF-8", "SHIFT_JIS", "~ISO IR87", "UTF-16"]))
def test_decoding_is_total_and_keeps_the_header(data: bytes, declared: str) -> None:
    for trust in ("detect", "declared"):
        found = decode(header(declared).encode() + data, None, trust)
        assert isinstance(found.text, str)
        if trust == "detect":
            assert found.text.startswith("MSH|^~\\&|A|B|C|D|20240501")
