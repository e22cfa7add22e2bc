"""Randomness by the block: as good as its source, and never the same byte twice."""

import os
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.entropy import Buffered


class Counting:
    """A source whose bytes say where they stand."""

    def __init__(self) -> None:
        self.given = 0

    def __call__(self, count: int) -> bytes:
        start, self.given = self.given, self.given + count
        return b"".join((n // 4).to_bytes(4, "big")[n % 4 :][:1] for n in range(start, self.given))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 32), max_size=30))
def test_every_draw_has_its_size_and_no_byte_is_drawn_twice(sizes: list[int]) -> None:
    source = Counting()
    entropy = Buffered(source, 32)
    stream = Counting()(4096)
    place = 0
    for size in sizes:
        drawn = entropy(size)
        assert len(drawn) == size
        found = stream.find(drawn, place)
        assert found >= place
        place = found + size


def test_a_draw_larger_than_a_block_comes_from_the_source_whole() -> None:
    assert len(Buffered(os.urandom, 32)(1000)) == 1000


def test_threads_never_draw_the_same() -> None:
    entropy = Buffered(os.urandom, 64)
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda _: entropy(16), range(2000)))
    assert len(set(drawn)) == 2000


def test_it_shows_nothing_of_itself() -> None:
    assert repr(Buffered(os.urandom)) == "Buffered(…)"
