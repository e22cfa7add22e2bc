"""What crosses the pipe comes out as it went in; what no child of ours says is refused, not used."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter import samples, wire
from adapter.child import convert
from adapter.sender import read_messages
from mappings.convert import load_profile, to_fhir
from mappings.hl7v2.errors import UnreadableMessage

PROFILE = load_profile("default")
MESSAGES = read_messages([samples.folder()])


def test_a_conversion_is_the_same_on_the_other_side_of_the_pipe() -> None:
    for message in MESSAGES[:20]:
        try:
            conversion = to_fhir(message, PROFILE)
        except UnreadableMessage:
            continue
        received = wire.read_answer(wire.pack(wire.answer(conversion)))
        stored = tuple(mapped for mapped in conversion.resources if mapped.mode != "event")
        assert [msgspec.structs.asdict(one) for one in wire.resources(received)] == [
            msgspec.structs.asdict(one) for one in stored
        ]
        assert wire.effects(received) == conversion.effects
        assert received.digest == conversion.digest


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_answer_are_refused_and_nothing_else_happens(data: bytes) -> None:
    try:
        received = wire.read_answer(data)
        wire.resources(received)
        wire.effects(received)
    except wire.BadAnswer:
        pass


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_an_answer_with_a_changed_byte_is_refused_or_still_an_answer(data: st.DataObject) -> None:
    good = wire.pack(wire.answer(to_fhir(MESSAGES[0], PROFILE)))
    place = data.draw(st.integers(0, len(good) - 1))
    changed = good[:place] + bytes([good[place] ^ data.draw(st.integers(1, 255))]) + good[place + 1 :]
    try:
        received = wire.read_answer(changed)
        wire.resources(received)
        wire.effects(received)
    except wire.BadAnswer:
        pass


def test_an_effect_that_is_none_is_refused() -> None:
    with pytest.raises(wire.BadAnswer):
        wire.effects(wire.Answer(effects=(("explode", ()),)))
    with pytest.raises(wire.BadAnswer):
        wire.effects(wire.Answer(effects=(("close", ("Patient",)),)))


def test_a_failure_crosses_with_its_code_and_place_and_no_value() -> None:
    data = b"PID|1||secret-number"
    answer = convert(wire.Question("main", datetime(2026, 3, 4, tzinfo=UTC), data), PROFILE)
    assert answer.failure is not None
    assert answer.failure.code
    assert b"secret-number" not in wire.pack(answer)
