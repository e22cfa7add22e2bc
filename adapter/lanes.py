"""Which message may take effect next: order within a lane, none across lanes.

Pure bookkeeping over sequence numbers. A message waits in each of its lanes (a merge has two) and is ready when it
stands first in all of them; so messages of one patient keep the order of receipt, a merge waits for what both patients
sent before it, and a slow message delays nobody else. Sequence numbers are added in rising order, which rules out a
deadlock: the oldest message is always first everywhere. Source: architecture §5, operations chapter §4.
"""

from collections import deque
from collections.abc import Iterator


class Lanes:
    """The waiting messages, by lane."""

    def __init__(self) -> None:
        self._queues: dict[int, deque[int]] = {}
        self._lanes: dict[int, tuple[int, ...]] = {}
        self._heads: dict[int, int] = {}  # sequence number -> in how many of its lanes it stands first
        self._newest = 0

    def __len__(self) -> int:
        return len(self._lanes)

    def __contains__(self, seq: int) -> bool:
        return seq in self._lanes

    def add(self, seq: int, lanes: tuple[int, ...]) -> None:
        """Let a message wait in its lanes. Raises RuntimeError when an older number comes after a newer one."""
        if seq <= self._newest:
            raise RuntimeError(f"message {seq} added after {self._newest}")
        self._newest = seq
        self._lanes[seq] = lanes = tuple(sorted(set(lanes)))
        for lane in lanes:
            queue = self._queues.setdefault(lane, deque())
            if not queue:
                self._promote(seq)
            queue.append(seq)

    def ready(self) -> Iterator[int]:
        """The messages that stand first in all their lanes, oldest first."""
        return iter(sorted(seq for seq, firsts in self._heads.items() if firsts == len(self._lanes[seq])))

    def done(self, seq: int) -> None:
        """Take out a message that stands first in all its lanes; what was behind it moves up."""
        lanes = self._lanes.pop(seq)
        if self._heads.pop(seq, 0) != len(lanes):
            raise RuntimeError(f"message {seq} is not first in its lanes")
        for lane in lanes:
            queue = self._queues[lane]
            queue.popleft()
            if queue:
                self._promote(queue[0])
            else:
                del self._queues[lane]

    def _promote(self, seq: int) -> None:
        self._heads[seq] = self._heads.get(seq, 0) + 1
