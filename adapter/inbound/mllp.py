"""MLLP framing without I/O: bytes in, events out.

    frame = VT message FS CR

`receive_data(bytes)` takes what a socket gave (b"" is its end), `next_event()` gives one event until it says NEED_DATA.
Sockets, time limits and answers are `listener.py`'s; what stands in a message is `mappings/`'s. The rules:

- between frames CR, LF, NUL, blank and tab are skipped, other bytes are counted and reported as Junk
- a message whose VT is missing is junk: it is never taken with its first byte cut
- FS without CR is data; VT is data, unless MSH, FHS or BHS follows: that starts a new frame, and the open one is Torn
- a frame over the limit is Oversize at once; nothing of it is kept, and the next good frame lives

Every case, and what comes of it, is a row of `docs/mllp.md`, which the tests read.
Source: HL7 v2 Transport Specification, MLLP release 1; hl7v2 chapter §2.
"""

from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto
from typing import Final

VT, FS, CR = b"\x0b", b"\x1c", b"\r"
END = FS + CR
# What may follow a VT for it to start a frame inside another: a message, a file or a batch of them.
STARTS = (b"MSH", b"FHS", b"BHS")
_START_BYTES = 3
# Delimiters that the end of the buffer may have begun: the bytes of one are no content yet.
_DELIMITERS = (END, *(VT + start for start in STARTS))
_BLANKS = b"\r\n\0 \t"

MAX_FRAME_BYTES = 32 * 1024 * 1024  # hl7v2 chapter §13
MAX_JUNK_BYTES = 64 * 1024  # hl7v2 chapter §13: what comes before a VT
HEAD_BYTES = 64 * 1024  # of an oversize frame: its header, for the answer and the record


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole message, without its delimiters."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Torn:
    """A frame that another one, the end of the connection or a time limit cut off. It is kept, never answered."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Oversize:
    """A frame that grew over the limit, or for which there is no room. `head` is its beginning; the rest is skipped."""

    head: bytes = field(repr=False)
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Junk:
    """How many bytes stood where only a frame may start."""

    count: int


class Signal(Enum):
    """Events without content."""

    NEED_DATA = auto()
    FLOODED = auto()  # too much junk: whatever speaks here, it is not MLLP
    CLOSED = auto()


NEED_DATA: Final = Signal.NEED_DATA
FLOODED: Final = Signal.FLOODED
CLOSED: Final = Signal.CLOSED
Event = Frame | Torn | Oversize | Junk | Signal


class State(IntEnum):
    BETWEEN = auto()
    FRAME = auto()
    SKIPPING = auto()  # the rest of an oversize frame
    CLOSED = auto()


class Cause(IntEnum):
    START = auto()  # VT between frames; VT and MSH, FHS or BHS anywhere
    END = auto()  # FS CR
    LIMIT = auto()  # too many bytes, of a frame or of junk
    EOF = auto()


# Everything that moves the reader from one state to another. A pair that is not here does not happen.
TRANSITIONS: Final = {
    (State.BETWEEN, Cause.START): State.FRAME,
    (State.BETWEEN, Cause.LIMIT): State.CLOSED,
    (State.BETWEEN, Cause.EOF): State.CLOSED,
    (State.FRAME, Cause.START): State.FRAME,
    (State.FRAME, Cause.END): State.BETWEEN,
    (State.FRAME, Cause.LIMIT): State.SKIPPING,
    (State.FRAME, Cause.EOF): State.CLOSED,
    (State.SKIPPING, Cause.START): State.FRAME,
    (State.SKIPPING, Cause.END): State.BETWEEN,
    (State.SKIPPING, Cause.EOF): State.CLOSED,
}


def frame(message: bytes) -> bytes:
    """The message as it goes over the wire."""
    return VT + message + END


class FrameReader:
    """Cuts one connection's bytes into frames. Work is linear in the bytes, however they are cut."""

    def __init__(self, limit: int = MAX_FRAME_BYTES, junk_limit: int = MAX_JUNK_BYTES) -> None:
        self._limit = limit
        self._junk_limit = junk_limit
        self._buffer = bytearray()  # in FRAME: the message so far, without its VT
        self._seen = 0  # bytes of the buffer that hold no delimiter
        self._state = State.BETWEEN
        self._junk = 0
        self._eof = False

    @property
    def buffered(self) -> int:
        """How many bytes it holds."""
        return len(self._buffer)

    @property
    def in_frame(self) -> bool:
        """Whether a frame has started and its end has not been seen."""
        return self._state in (State.FRAME, State.SKIPPING)

    def receive_data(self, data: bytes) -> None:
        """Take what came; b"" says that nothing will come any more."""
        if self._eof:
            raise RuntimeError("data after the end of the connection")
        if data:
            self._buffer += data
        else:
            self._eof = True

    def next_event(self) -> Event:
        """The next event; NEED_DATA when the bytes so far hold no more of them, CLOSED at the end."""
        while True:
            if self._state is State.FRAME:
                event = self._frame()
            elif self._state is State.BETWEEN:
                event = self._between()
            elif self._state is State.SKIPPING:
                event = self._skipping()
            else:
                return Junk(self._take_junk()) if self._junk else CLOSED
            if event is not None:
                return event

    def refuse(self) -> Oversize | None:
        """Give up the open frame for want of room: its head, or None where no frame is open. The rest is skipped."""
        if self._state is not State.FRAME:
            return None
        return Oversize(self._skip(len(self._buffer) - self._undecided()), busy=True)

    def _move(self, cause: Cause) -> None:
        self._state = TRANSITIONS[self._state, cause]
        self._seen = 0

    # Each step gives an event, or None when the state has changed and the next step goes on.

    def _between(self) -> Event | None:
        start = self._buffer.find(VT)
        if start == 0 and not self._junk and (message := self._whole()) is not None:
            return Frame(message)
        gap = start if start >= 0 else len(self._buffer)
        if gap:
            self._junk += len(self._buffer[:gap].translate(None, _BLANKS))
        del self._buffer[: gap + (start >= 0)]
        if self._junk > self._junk_limit:
            self._junk = 0
            self._buffer.clear()
            self._move(Cause.LIMIT)
            return FLOODED
        if start < 0:
            return self._wait()
        self._move(Cause.START)
        return Junk(self._take_junk()) if self._junk else None

    def _whole(self) -> bytes | None:
        """The message of a frame that lies whole at the beginning of the buffer; None: look closer."""
        end = self._buffer.find(END, 1)
        if not 0 < end <= self._limit + 1 or self._buffer.find(VT, 1, end) >= 0:
            return None
        with memoryview(self._buffer) as view:
            message = bytes(view[1:end])
        del self._buffer[: end + len(END)]
        return message

    def _frame(self) -> Event | None:
        cause, size = self._delimiter()
        if cause is None:
            size = len(self._buffer) - self._undecided() if len(self._buffer) > self._limit else 0
            if size > self._limit:
                return Oversize(self._skip(size))
            return self._cut_off() if self._eof else NEED_DATA
        if size > self._limit:
            return Oversize(self._skip(size))
        data = self._take(size, cause)
        self._move(cause)
        if cause is Cause.END:
            return Frame(data)
        return self._torn(data)

    def _skipping(self) -> Event | None:
        cause, size = self._delimiter()
        if cause is not None:
            self._take(size, cause)
            self._move(cause)
            return None
        del self._buffer[: len(self._buffer) - self._undecided()]
        self._seen = 0
        return self._wait()

    def _wait(self) -> Event | None:
        """More bytes, if there can be any."""
        if not self._eof:
            return NEED_DATA
        self._buffer.clear()
        self._move(Cause.EOF)
        return None

    def _delimiter(self) -> tuple[Cause | None, int]:
        """What ends the content first, and how many bytes of content stand before it."""
        end = self._buffer.find(END, self._seen)
        until = end if end >= 0 else len(self._buffer)
        at = self._buffer.find(VT, self._seen, until)
        while at >= 0:
            if self._buffer.startswith(STARTS, at + 1):
                return Cause.START, at
            at = self._buffer.find(VT, at + 1, until)
        if end >= 0:
            return Cause.END, end
        self._seen = max(self._seen, until - _START_BYTES)
        return None, 0

    def _undecided(self) -> int:
        """How many bytes at the end of the buffer may be the beginning of a delimiter."""
        for size in range(_START_BYTES, 0, -1):
            tail = bytes(self._buffer[-size:])
            if len(tail) == size and any(delimiter.startswith(tail) for delimiter in _DELIMITERS):
                return size
        return 0

    def _take(self, size: int, cause: Cause) -> bytes:
        """Remove `size` bytes of content and the delimiter behind them (of VT MSH, only the VT); the content."""
        with memoryview(self._buffer) as view:
            data = bytes(view[:size])
        del self._buffer[: size + (len(END) if cause is Cause.END else len(VT))]
        return data

    def _skip(self, size: int) -> bytes:
        """Forget the open frame's `size` bytes; its head, which does not depend on how the bytes were cut."""
        head = bytes(self._buffer[: min(size, HEAD_BYTES, self._limit)])
        del self._buffer[:size]
        self._move(Cause.LIMIT)
        return head

    def _cut_off(self) -> Event | None:
        """The connection ended inside a frame."""
        data = bytes(self._buffer)
        self._buffer.clear()
        self._move(Cause.EOF)
        return self._torn(data)

    def _torn(self, data: bytes) -> Event | None:
        """A torn frame; where nothing stood in it, its VTs were junk."""
        if data.translate(None, _BLANKS + VT):
            return Torn(data)
        self._junk += 1 + data.count(VT)
        return Junk(self._take_junk()) if self._state is State.FRAME else None

    def _take_junk(self) -> int:
        count, self._junk = self._junk, 0
        return count
