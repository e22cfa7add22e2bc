"""Randomness by the block: the operating system is asked once for what many small draws take.

A draw of 16 bytes costs a system call of some 40 µs on a busy machine, and a read makes three of them. Each byte is
handed out once, and dropped here when it is. Processes are spawned, never forked (operations chapter §2), so no two
share a block.
"""

from collections.abc import Callable
from threading import Lock

Entropy = Callable[[int], bytes]

BLOCK_BYTES = 4096


class Buffered:
    """`entropy(n)` as its source would give it, in fewer calls. Any thread may draw."""

    def __init__(self, source: Entropy, block_bytes: int = BLOCK_BYTES) -> None:
        self._source, self._size = source, block_bytes
        self._block, self._used = b"", 0
        self._lock = Lock()

    def __call__(self, count: int) -> bytes:
        if count > self._size:
            return self._source(count)
        with self._lock:
            if self._used + count > len(self._block):
                self._block, self._used = self._source(self._size), 0
            start, self._used = self._used, self._used + count
            return self._block[start : self._used]

    def __repr__(self) -> str:
        return "Buffered(…)"
