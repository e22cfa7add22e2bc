"""Decisions read from bytes, so that one generator serves atheris, Hypothesis and a seed on disk alike.

Every input means something: where the bytes end, the first of what there is to choose is chosen.
"""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """A reader of decisions."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def ended(self) -> bool:
        """Whether every decision from here on is the first one."""
        return self._at >= len(self._data)

    def number(self, below: int) -> int:
        """From 0 up to, not including, `below`."""
        size = 1 if below <= 256 else 2
        taken = self._data[self._at : self._at + size]
        self._at += size
        return int.from_bytes(taken, "big") % below if taken else 0

    def one(self, among: Sequence[T]) -> T:
        return among[self.number(len(among))]

    def flip(self, in_256: int) -> bool:
        """True in so many of 256 cases."""
        return self.number(256) >= 256 - in_256

    def rest(self) -> bytes:
        """What has not been read."""
        found, self._at = self._data[self._at :], len(self._data)
        return found

    def piece(self, most: int) -> bytes:
        """Some bytes as they are."""
        size = self.number(most + 1)
        found = self._data[self._at : self._at + size]
        self._at += size
        return found
