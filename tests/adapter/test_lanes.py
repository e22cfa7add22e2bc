"""Order within a lane, parallel work across lanes, and a merge that waits in two (operations chapter §4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.lanes import Lanes

messages = st.lists(st.sets(st.integers(0, 5), min_size=1, max_size=2), min_size=1, max_size=40)


@given(messages, st.randoms(use_true_random=False))
def test_any_schedule_keeps_the_order_of_each_lane(sent: list[set[int]], random: object) -> None:
    waiting, taken = Lanes(), []
    for seq, lanes in enumerate(sent, 1):
        waiting.add(seq, tuple(lanes))
    while waiting:
        seq = random.choice(list(waiting.ready()))  # type: ignore[attr-defined]
        waiting.done(seq)
        taken.append(seq)
    assert sorted(taken) == list(range(1, len(sent) + 1))
    for lane in range(6):
        in_lane = [seq for seq in taken if lane in sent[seq - 1]]
        assert in_lane == sorted(in_lane)


def test_a_merge_waits_for_both_lanes_and_nothing_passes_it() -> None:
    waiting = Lanes()
    waiting.add(1, (3,))
    waiting.add(2, (3, 9))
    waiting.add(3, (9,))
    assert list(waiting.ready()) == [1]
    waiting.done(1)
    assert list(waiting.ready()) == [2]
    waiting.done(2)
    assert list(waiting.ready()) == [3]


def test_a_message_that_does_not_stand_first_cannot_be_done() -> None:
    waiting = Lanes()
    waiting.add(1, (0,))
    waiting.add(2, (0, 1))
    with pytest.raises(RuntimeError, match="not first"):
        waiting.done(2)
    with pytest.raises(RuntimeError, match="added after"):
        waiting.add(2, (5,))
