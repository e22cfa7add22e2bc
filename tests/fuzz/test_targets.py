"""The fuzz targets hold for what they begin with, and for a few inputs drawn here; `make fuzz` goes on from there."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import messages, targets
from tests.fuzz.choices import Choices
from tests.fuzz.seeds import seeds

SOME = 40  # seeds of a target; all of them run in `make fuzz`


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_target_holds_for_its_seeds(name: str) -> None:
    found = list(itertools.islice(seeds(name), SOME))
    assert found
    for seed in found:
        targets.TARGETS[name](seed)


@pytest.mark.parametrize("name", targets.TARGETS)
@given(data=st.binary(max_size=600))
@settings(max_examples=40, deadline=None)
def test_a_target_holds_for_any_bytes(name: str, data: bytes) -> None:
    targets.TARGETS[name](data)


@given(st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_decisions_are_the_same_for_the_same_bytes(data: bytes) -> None:
    assert messages.built(Choices(data)) == messages.built(Choices(data))
    assert messages.changed(Choices(data)) == messages.changed(Choices(data))


def test_every_structure_and_every_segment_with_rows_is_reached() -> None:
    listed = messages.structures()
    width = 1 if len(listed) <= 256 else 2
    drawn = (messages.built(Choices(number.to_bytes(width, "big"))) for number in range(len(listed)))
    events = {message.split(b"|")[8].split(b"^")[1] for message in drawn}
    assert events == {event.encode() for _, event, _ in listed}
    assert set(messages.rows()) <= {messages.line(Choices(b""), name)[:3] for name in messages.segments()}
