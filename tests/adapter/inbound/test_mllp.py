"""Framing: each row of the table in docs/mllp.md, cut in every way. Source: hl7v2 chapter §2, operations F16."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.inbound.mllp import (
    CLOSED,
    FLOODED,
    NEED_DATA,
    TRANSITIONS,
    Event,
    Frame,
    FrameReader,
    Junk,
    Oversize,
    State,
    Torn,
    frame,
)

DOCS = Path(__file__).parents[3] / "docs/mllp.md"
LIMIT, JUNK_LIMIT = 32, 16
NEXT = b"\x0bMSH|next\x1c\r"
NAMED = {"VT": b"\x0b", "FS": b"\x1c", "CR": b"\r", "LF": b"\n", "NUL": b"\0", "TAB": b"\t"}


class Case(NamedTuple):
    name: str
    wire: bytes
    ends: bool
    events: list[str]
    then: list[str]


def byte_of(token: str) -> bytes:
    """`⟨VT⟩`, `⟨x0B⟩`, `⟨a*9⟩` as bytes."""
    name, _, times = token.partition("*")
    if times:
        return byte_of(name) * int(times)
    if name in NAMED:
        return NAMED[name]
    return bytes.fromhex(name[1:]) if re.fullmatch("x[0-9A-F]{2}", name) else name.encode()


def bytes_of(text: str) -> bytes:
    parts = re.split(r"⟨(.+?)⟩", text.replace("␣", " ").replace("⟨EOF⟩", ""))
    return b"".join(part.encode() if n % 2 == 0 else byte_of(part) for n, part in enumerate(parts))


def cases() -> list[Case]:
    rows = []
    for line in DOCS.read_text("utf-8").split("| case | bytes |")[1].split("\n\n")[0].splitlines()[2:]:
        name, wire, events, then = [cell.strip() for cell in line.strip().strip("|").replace("`|", "`\0").split(" | ")]
        spelled = re.findall(r"`(.*?)`", wire)[0]
        rows.append(
            Case(
                name,
                bytes_of(spelled),
                "⟨EOF⟩" in spelled,
                re.findall(r"`(.*?)`", events),
                re.findall(r"`(.*?)`", then),
            )
        )
    return rows


CASES = cases()


def matches(spelled: str, event: Event) -> bool:
    """Whether the event is the one that the table spells."""
    word, _, rest = spelled.partition(" ")
    match event:
        case Frame(data):
            return word == "frame" and data == bytes_of(rest)
        case Torn(data):
            return word == "torn" and data == bytes_of(rest)
        case Junk(count):
            return word == "junk" and count == int(rest)
        case Oversize(head, busy):
            return word == "oversize" and not busy and head == bytes_of(rest)
        case _:
            return {"flooded": FLOODED, "closed": CLOSED}.get(word) is event


def read(chunks: list[bytes], ends: bool, limit: int = LIMIT) -> list[Event]:
    reader = FrameReader(limit, JUNK_LIMIT)
    events: list[Event] = []
    for chunk in [*chunks, b""] if ends else chunks:
        if CLOSED in events:
            break
        reader.receive_data(chunk)
        while (event := reader.next_event()) is not NEED_DATA:
            events.append(event)
            if event is CLOSED:
                break
    return events


def expect(spelled: list[str], events: list[Event]) -> None:
    assert len(events) == len(spelled), (spelled, events)
    for word, event in zip(spelled, events, strict=True):
        assert matches(word, event), (word, event)


def test_the_table_has_its_sixty_kinds() -> None:
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_read_whole(case: Case) -> None:
    expect(case.events, read([case.wire] if case.wire else [], case.ends))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_read_byte_by_byte(case: Case) -> None:
    expect(case.events, read([case.wire[n : n + 1] for n in range(len(case.wire))], case.ends))


@pytest.mark.parametrize("case", [case for case in CASES if case.then], ids=lambda case: case.name)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_case_with_a_good_frame_behind_it(case: Case, size: int) -> None:
    wire = case.wire + NEXT
    expect(case.events + case.then, read([wire[n : n + size] for n in range(0, len(wire), size)], ends=False))


payloads = st.binary(max_size=30).filter(
    lambda data: b"\x1c\r" not in data and b"\x0b" not in data and data[-1:] != b"\x1c"
)


@settings(max_examples=200, deadline=None)
@given(st.lists(payloads), st.integers(1, 16))
def test_frames_survive_any_chunking(sent: list[bytes], size: int) -> None:
    wire = b"".join(map(frame, sent))
    events = read([wire[n : n + size] for n in range(0, len(wire), size)], ends=False)
    assert events == [Frame(data) for data in sent]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"\x0b", b"\x1c", b"\r", b"MSH", b"FHS", b"M", b"x", b"\0", b"MSH|aaaaaaaa"]), max_size=40
    )
)
def test_any_bytes_give_the_same_events_however_they_are_cut(parts: list[bytes]) -> None:
    wire = b"".join(parts)
    whole = read([wire] if wire else [], ends=True)
    assert read([wire[n : n + 1] for n in range(len(wire))], ends=True) == whole
    assert read([wire[n : n + 3] for n in range(0, len(wire), 3)], ends=True) == whole


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_frame_begins_inside_a_message(noise: bytes) -> None:
    """What a reader calls a frame stood behind a VT on the wire."""
    for event in read([noise], ends=True) if noise else []:
        if isinstance(event, Frame):
            assert b"\x0b" + event.data + b"\x1c\r" in noise


def test_a_dribbled_giant_is_never_held() -> None:
    reader = FrameReader(limit=1 << 20)
    reader.receive_data(b"\x0bMSH|")
    events, most = [], 0
    for _ in range(640):
        reader.receive_data(b"a" * 65536)
        while (event := reader.next_event()) is not NEED_DATA:
            events.append(event)
        most = max(most, reader.buffered)
    assert [type(event) for event in events] == [Oversize]
    assert most <= (1 << 20) + 65536


def test_a_frame_refused_for_want_of_room_costs_only_itself() -> None:
    reader = FrameReader()
    reader.receive_data(b"\x0bMSH|a")
    assert reader.next_event() is NEED_DATA
    assert reader.refuse() == Oversize(b"MSH|a", busy=True)
    assert reader.refuse() is None
    reader.receive_data(b"bcd\x1c\r\x0bMSH|e\x1c\r")
    assert reader.next_event() == Frame(b"MSH|e")


def test_data_after_the_end_is_a_wrong_call() -> None:
    reader = FrameReader()
    reader.receive_data(b"")
    with pytest.raises(RuntimeError, match="after the end"):
        reader.receive_data(b"x")


def test_an_event_shows_no_content() -> None:
    assert "secret" not in repr((Frame(b"secret"), Torn(b"secret"), Oversize(b"secret")))


def test_nothing_leaves_the_closed_state() -> None:
    assert not any(state is State.CLOSED for state, _ in TRANSITIONS)
