"""The clock that entries are stamped by: it follows the wall, but no jump of it.

A wall clock that steps by more than `MAX_STEP_S` against the running clock is not followed: time stays on the running
line and `alert` hears of the step, until an operator (or outside times) settle it. Slow drift and its correction are
followed. Source: ledger chapter §6.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock

Clock = Callable[[], datetime]
Running = Callable[[], float]

MAX_STEP_S = 5.0


def utc_now() -> datetime:
    return datetime.now(UTC)


def running_s() -> float:
    """Seconds that no one can set; a suspended machine's sleep counts, so that waking up is no step."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class SettledClock:
    """Reads `wall` against `running`. `alert` gets the step in seconds, once a step."""

    def __init__(self, wall: Clock, running: Running, alert: Callable[[float], None]) -> None:
        self._wall = wall
        self._running = running
        self._alert = alert
        self._lock = Lock()
        self._last = (wall(), running())
        self._offset = timedelta()  # what the wall clock has stepped by since it was last believed

    def __call__(self) -> datetime:
        with self._lock:
            now, step = self._read()
        if step:
            self._alert(step)
        return now

    def _read(self) -> tuple[datetime, float]:
        wall, running = self._wall(), self._running()
        last, then = self._last
        expected = last + timedelta(seconds=running - then)
        step = (wall + self._offset - expected).total_seconds()
        if abs(step) > MAX_STEP_S:
            self._offset -= timedelta(seconds=step)
        else:
            step = 0.0
        self._last = (wall + self._offset, running)
        return self._last[0], step

    def settle(self) -> None:
        """Believe the wall clock again as it stands."""
        with self._lock:
            self._offset = timedelta()
            self._last = (self._wall(), self._running())
