"""Many keys are made in parts, each soon done: the event loop has its turn between two, and nobody waits for all.

for size in slices(count):
    …                          # so many
    await asyncio.sleep(0)
"""

from collections.abc import Iterator

SLICE, SLICES = 8, 32  # the smallest part; the most parts


def slices(count: int) -> Iterator[int]:
    """The sizes of the parts: at most `SLICES` of them, and none but the last under `SLICE`."""
    size = max(SLICE, -(-count // SLICES))
    while count > 0:
        yield min(size, count)
        count -= size
