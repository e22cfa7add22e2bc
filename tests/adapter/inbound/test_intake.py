"""What intake makes of a header: the short way of reading it and the careful one agree."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.hl7v2 import header as reader
from tests.adapter.inbound.site import message

PARTS = ["MSH", "|", "^~\\&", "^", "\r", "\n", "\0", "PID|1", "2.5.1", "A", "é", " ", "\x1c", "UNICODE UTF-8", "$", "~"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=40), st.sampled_from(["latin-1", "utf-8"]))
def test_the_short_way_to_a_header_and_the_careful_one_agree(parts: list[str], encoding: str) -> None:
    noise = "".join(parts).encode(encoding)
    for data in (
        noise,
        b"MSH|^~\\&" + noise,
        message() + noise,
        message(note="x", msh8="".join(parts).replace("|", "")),
    ):
        agree(data)


def agree(data: bytes) -> None:
    short = reader._peek_plain(data)
    if short is not None:
        with_care = careful(data)
        assert with_care is not None
        for slot in ("separators", "fields", "control_id", "encoding", "time_span"):
            assert getattr(short, slot) == getattr(with_care, slot), slot


def careful(data: bytes) -> reader.Header | None:
    plain, reader._peek_plain = reader._peek_plain, lambda data: None
    try:
        return reader.peek(data)
    finally:
        reader._peek_plain = plain


def test_an_ordinary_header_is_read_the_short_way() -> None:
    assert reader._peek_plain(message()) is not None
    assert reader._peek_plain(message(msh18="UNICODE UTF-8")) is not None
    assert reader._peek_plain(message(msh18="ISO IR87")) is None


SETS = [
    "", "8859/1", "UNICODE UTF-8", "UNICODE UTF-16", "ISO IR87", "~ISO IR87", "8859/1~ISO IR87", "GB 18030-2000",
    "BIG-5", "KS X 1001", "NO SUCH SET", "ASCII", " ", "\x1b$B",
]  # fmt: skip


@pytest.mark.parametrize("declared", SETS)
def test_every_declared_set_reads_the_same_both_ways(declared: str) -> None:
    agree(message(msh18=declared))
    agree(b"MSH$%*!@$A$B$C$D$2024$$ADT%A01$7$P$2.5$$$$$$" + declared.encode() + b"\rPID$1\r")
