"""The reader: HL7 v2.9 chapter 2 §2.4 to 2.7, and the ways real feeds leave it (hl7v2.md §2)."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.hl7v2.errors import UnreadableMessage
from mappings.hl7v2.message import Limits, Message, Place, Segment, byte_range, digest_without_time, parse, peek

HEADER = b"MSH|^~\\&|APP|FAC|RECV|RFAC|20240501101530+0200||ADT^A01^ADT_A01|MSG1|P|2.5.1"


def codes(message: Message) -> list[str]:
    return [issue.code for issue in message.issues]


def names(message: Message) -> list[str]:
    return [segment.name for segment in message.segments]


def test_a_message_is_its_segments_fields_and_repetitions() -> None:
    message = parse(HEADER + b"\rPID|1||1^^^A~2^^^B||Doe^Jane\rNTE|1\rNTE|2||second\r")
    assert names(message) == ["MSH", "PID", "NTE", "NTE"]
    assert [segment.nth for segment in message.segments] == [1, 1, 1, 2]
    assert [segment.ordinal for segment in message.segments] == [0, 1, 2, 3]
    pid = message.segments[1]
    assert pid.field(5) == "Doe^Jane"
    assert pid.reps(3) == ["1^^^A", "2^^^B"]
    assert pid.reps(3) is pid.reps(3)
    assert (pid.field(2), pid.field(99), pid.reps(2)) == ("", "", [])
    assert message.event == "A01"
    assert message.version == "2.5.1"
    assert message.issues == ()


def test_header_fields_count_the_separator_itself() -> None:
    msh = parse(HEADER).msh
    assert msh.field(1) == "|"
    assert msh.field(2) == "^~\\&"
    assert msh.reps(2) == ["^~\\&"]
    assert msh.field(3) == "APP"
    assert msh.field(12) == "2.5.1"


def test_an_old_sender_names_its_event_in_evn() -> None:
    assert parse(b"MSH|^~\\&|A||||||ADT|1|P|2.1\rEVN|A04\r").event == "A04"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"MSH|^~\\&|A", ("|", "^", "~", "\\", "&", "\r")),
        (b"MSH|^~\\&#|A", ("|", "^", "~", "\\", "&", "#")),
        (b"MSH$%*!@$A", ("$", "%", "*", "!", "@", "\r")),
        (b"MSH|^~|A", ("|", "^", "~", "\r", "\r", "\r")),
        (b"MSH|^|A", ("|", "^", "\r", "\r", "\r", "\r")),
        (b"MSH|^~\\&", ("|", "^", "~", "\\", "&", "\r")),
    ],
)
def test_separators_are_what_the_header_says(header: bytes, expected: tuple[str, ...]) -> None:
    sep = parse(header + b"\r").sep
    assert (sep.field, sep.comp, sep.rep, sep.esc, sep.sub, sep.trunc) == expected


def test_a_separator_declared_twice_keeps_its_first_meaning() -> None:
    message = parse(b"MSH|^^\\&|A\r")
    assert message.sep.comp == "^"
    assert message.sep.rep == "\r"
    assert codes(message) == ["separators-repeat"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "no-message"),
        (b"MSH", "no-message"),
        (b"PID|1", "no-message"),
        (b"\x00\x01\x02", "no-message"),
        (b"SH|^~\\&|A", "no-message"),
        (b"FHS|^~\\&|A", "batch"),
        (b"BHS|^~\\&|A", "batch"),
        (b"MSHA^~\\&|A", "bad-separators"),
        (b"MSH ^~\\&|A", "bad-separators"),
        (b"MSH||A|B", "bad-separators"),
        (b"MSH|ABC|B", "bad-separators"),
        (b"MSH|^~\\&amp;|B", "bad-separators"),
        (b"MSH|^~\\&" + b"^" * 80, "bad-separators"),
    ],
)
def test_what_has_no_readable_header_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(UnreadableMessage) as caught:
        parse(data)
    assert caught.value.code == code
    assert caught.value.status_hint == 400


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_any_line_end_ends_a_segment(end: bytes) -> None:
    message = parse(HEADER + end + b"PID|1" + end + b"PV1|1" + end)
    assert names(message) == ["MSH", "PID", "PV1"]
    assert codes(message) == []


@pytest.mark.parametrize("before", [b"", b"\x0b", b"\r\n", b"  ", b"\x00\x00", b"\xef\xbb\xbf", b"\xef\xbb\xbf\x0b\r"])
def test_marks_and_blanks_before_the_header_are_skipped(before: bytes) -> None:
    message = parse(before + HEADER + b"\rPID|1||7\r")
    assert names(message) == ["MSH", "PID"]
    start, end = byte_range(message, Place("PID", field=3))
    assert message.raw[start:end] == b"7"


def test_an_end_of_block_is_no_part_of_the_last_field() -> None:
    assert parse(HEADER + b"\rPID|1||7\x1c\r").segments[1].field(3) == "7"
    assert parse(HEADER + b"\rPID|1||7\r\x1c\r").segments[1].field(3) == "7"


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_a_broken_line_continues_the_one_before(end: bytes) -> None:
    message = parse(HEADER + end + b"NTE|1||first" + end + b"second" + end + end + b"third|X" + end + b"PV1|1" + end)
    assert names(message) == ["MSH", "NTE", "PV1"]
    assert message.segments[1].field(3) == "first\nsecond\n\nthird"
    assert message.segments[1].field(4) == "X"
    assert codes(message) == ["continuation-line"]
    start, end_ = byte_range(message, Place("NTE", field=4))
    assert message.raw[start:end_] == b"X"


def test_blank_lines_between_segments_say_nothing() -> None:
    message = parse(HEADER + b"\r\r  \rPID|1\r\r")
    assert names(message) == ["MSH", "PID"]
    assert message.segments[0].field(12) == "2.5.1"
    assert codes(message) == []


def test_small_letters_in_a_segment_name_are_folded() -> None:
    message = parse(HEADER + b"\rpid|1\rPid|2\rPID|3\rzx1|a\r")
    assert names(message) == ["MSH", "PID", "PID", "PID", "ZX1"]
    assert [segment.nth for segment in message.segments[1:4]] == [1, 2, 3]
    assert codes(message) == ["segment-case"] * 3


def test_a_segment_of_a_name_alone_is_a_segment() -> None:
    message = parse(HEADER + b"\rPV1\rPV2|\r")
    assert names(message) == ["MSH", "PV1", "PV2"]
    assert message.segments[1].field(1) == ""


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (Place("PID"), "PID"),
        (Place("PID", 1, 3), "PID-3"),
        (Place("PID", 1, 3, rep=1, comp=4), "PID-3.4"),
        (Place("PID", 1, 3, rep=2, comp=4), "PID-3[2].4"),
        (Place("PID", 1, 3, rep=2, comp=4, sub=2), "PID-3[2].4.2"),
        (Place("OBX", 2, 5), "OBX[2]-5"),
        (Place("OBX", 2), "OBX[2]"),
    ],
)
def test_places_print_as_people_write_them(place: Place, text: str) -> None:
    assert str(place) == text


def test_the_kind_of_a_place_has_no_ordinals() -> None:
    assert Place("OBX", 7, 5, rep=3, comp=1).kind == "OBX-5.1"


@pytest.mark.parametrize(
    ("codec", "declared", "name"),
    [
        ("utf-8", "UNICODE UTF-8", "Mäx&von^Grün"),
        ("iso8859-1", "8859/1", "Mäx&von^Grün"),
        ("utf-16-le", "UNICODE UTF-16", "Mäx&von^Grün"),
        ("utf-16-be", "UNICODE UTF-16", "Mäx&𝄞^Grün"),
        ("utf-32-le", "UNICODE UTF-32", "Mäx&von^Grün"),
        ("shift_jis", "SHIFT_JIS", "表&ソ^能"),
        ("gb18030", "GB 18030-2000", "中文&王^小"),
        ("iso2022_jp", "~ISO IR87", "山田&太^郎"),
    ],
)
def test_a_place_leads_back_to_its_bytes(codec: str, declared: str, name: str) -> None:
    text = f"MSH|^~\\&|A|B|||2024||ADT^A01|1|P|2.5||||||{declared}\rPID|1||{name}~2^{name}||end\rOBX|1\rOBX|2||{name}\r"
    message = parse(text.encode(codec))
    assert message.text == text
    first, last = name.split("^")
    for place, expected in {
        Place("PID", field=3, rep=2): f"2^{name}",
        Place("PID", field=3, rep=2, comp=2): first,
        Place("PID", field=3, rep=2, comp=2, sub=2): first.split("&")[1],
        Place("PID", field=3, rep=2, comp=3): last,
        Place("PID", field=5): "end",
        Place("OBX", 2, 3): name,
        Place("PID", field=9): "",
        Place("MSH", field=1): "|",
        Place("MSH", field=2): "^~\\&",
        Place("MSH", field=9, rep=1, comp=2): "A01",
    }.items():
        start, end = byte_range(message, place)
        assert message.raw[start:end].decode(codec) == expected, place


def test_a_place_that_is_not_in_the_message_is_our_mistake() -> None:
    with pytest.raises(RuntimeError):
        byte_range(parse(HEADER), Place("PID"))


@pytest.mark.parametrize(
    ("limits", "where"),
    [
        (Limits(message_bytes=10), ""),
        (Limits(segments=2), ""),
        (Limits(fields=10), "MSH"),
        (Limits(repetitions=3), "PID-3"),
    ],
)
def test_beyond_a_limit_a_message_is_refused(limits: Limits, where: str) -> None:
    with pytest.raises(UnreadableMessage) as caught:
        parse(HEADER + b"\rPID|1||a~b~c~d\rPV1|1\r", limits=limits)
    assert caught.value.code == "over-limit"
    assert str(caught.value.place or "") == where


def test_errors_and_reprs_hold_no_value() -> None:
    message = parse(HEADER + b"\rPID|1||SECRET\r")
    assert "SECRET" not in repr(message.segments) + repr(message)
    with pytest.raises(UnreadableMessage) as caught:
        parse(b"MSH|SECRET|x")
    assert "SECRET" not in str(caught.value)


# peek ---------------------------------------------------------------------------------------------------------------


def test_peek_reads_what_the_listener_needs() -> None:
    data = b"\x0b" + HEADER + b"|||AL|NE||UNICODE UTF-8\rPID|1||7\r"
    header = peek(data)
    assert header is not None
    assert (header.sending_application, header.sending_facility) == ("APP", "FAC")
    assert (header.message_code, header.trigger, header.structure) == ("ADT", "A01", "ADT_A01")
    assert header.control_id == b"MSG1"
    assert (header.processing_id, header.version) == ("P", "2.5.1")
    assert (header.accept_ack, header.application_ack, header.enhanced) == ("AL", "NE", True)
    assert header.field(18) == "UNICODE UTF-8"
    start, end = header.time_span
    assert data[start:end] == b"20240501101530+0200"


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-be", "utf-32-le", "utf-8-sig", "utf-8"])
def test_peek_finds_bytes_in_any_encoding(codec: str) -> None:
    data = "MSH|^~\\&|Ä|B|||2024||ADT^A01|ÜID|P|2.5||||||UNICODE UTF-8\rPID|1\r".encode(codec)
    header = peek(data)
    assert header is not None
    assert header.field(3) == "Ä"
    assert header.control_id == "ÜID".encode(header.encoding)
    start, end = header.time_span
    assert data[start:end] == "2024".encode(header.encoding)


@pytest.mark.parametrize(
    "data", [b"", b"MSH", b"FHS|^~\\&|A\rMSH|^~\\&|A", b"BHS|^~\\&|A", b"<xml/>", b"MSHAB", b"\xff" * 9]
)
def test_peek_answers_none_where_there_is_no_header(data: bytes) -> None:
    assert peek(data) is None


def test_a_short_header_has_empty_fields() -> None:
    header = peek(b"MSH|^~\\&|A")
    assert header is not None
    assert (header.message_code, header.control_id, header.enhanced) == ("", b"", False)
    assert header.time_span == (10, 10)


def test_the_digest_is_blind_to_the_time_of_sending() -> None:
    sent = HEADER + b"\rPID|1||7\r"
    again = sent.replace(b"20240501101530+0200", b"20240501101601+0200")
    other = sent.replace(b"|7", b"|8")
    assert digest_without_time(sent) == digest_without_time(again)
    assert digest_without_time(sent) != digest_without_time(other)
    assert digest_without_time(b"none") == hashlib.sha256(b"none").digest()


# any bytes ----------------------------------------------------------------------------------------------------------

_PIECES = st.sampled_from(
    [b"MSH|^~\\&|", b"MSH", b"|", b"^", b"~", b"\\", b"&", b"\r", b"\n", b"\r\n", b"\x0b", b"\x1c", b"\x00", b"PID",
     b"OBX|", b"\\X", b"\\", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b$B", b"\x81", "ü".encode(), b"20240501", b'""',
     b"|||||||UTF-8"]
)  # fmt: skip
messages_of_any_bytes = st.one_of(
    st.binary(max_size=200),
    st.lists(_PIECES, max_size=30).map(b"".join),
    st.lists(st.one_of(_PIECES, st.binary(max_size=6)), max_size=30).map(lambda parts: b"MSH|^~\\&|" + b"".join(parts)),
)


def rebuilt(segment: Segment) -> str:
    """The line, from the fields that were made of it."""
    fields = segment.fields
    if segment.name in ("MSH", "FHS", "BHS"):
        fields = [fields[0], *fields[2:]]
    return segment.sep.field.join(fields)


@settings(max_examples=400, deadline=None)
@given(messages_of_any_bytes, st.sampled_from([None, "utf-8", "SHIFT_JIS", "nonsense"]), st.booleans())
def test_any_bytes_parse_or_raise_our_error(data: bytes, charset: str | None, detect: bool) -> None:
    peek(data)
    try:
        message = parse(data, charset=charset, trust="detect" if detect else "declared")
    except UnreadableMessage:
        return
    assert message.segments[0].name == "MSH"
    for segment in message.segments:
        assert rebuilt(segment).upper() == segment.line.upper()
        for number in range(len(segment.fields)):
            segment.reps(number)
            start, end = byte_range(message, segment.place(number))
            assert 0 <= start <= end <= len(data)


@settings(max_examples=100, deadline=None)
@given(messages_of_any_bytes)
def test_peek_and_parse_agree_on_the_header(data: bytes) -> None:
    header = peek(data)
    try:
        message = parse(data)
    except UnreadableMessage:
        return
    if header is not None and "charset-invalid" not in codes(message) and "\n" not in message.msh.line:
        assert header.field(3).encode("ascii", "replace") == message.msh.field(3).encode("ascii", "replace")
