"""A closed loop over many sockets: each connection sends, waits for its answer, and sends again.

Kept lean, because it runs beside what it measures: no event loop, no stream objects, one call of the selector for
whatever is ready, none for a connection alone; the next request is made while an answer is under way. What a request is
and when an answer is complete is the caller's.
"""

import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice

from adapter.bench.probes import Latencies
from adapter.errors import Unavailable

HOST = "127.0.0.1"
READ_BYTES = 64 * 1024
LAST_ANSWERS_S = 10  # how long the last answers are waited for
CONNECT_S = 10.0

# Of what has arrived: None while the answer is not whole, else whether it is a good one.
Complete = Callable[[bytearray], bool | None]


@dataclass(slots=True)
class Outcome:
    """What a run saw. `served` counts the connections that got an answer, `bad` the answers that were refusals."""

    latencies: Latencies
    seconds: float
    served: int
    bad: int
    lost: int  # requests without an answer

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return (len(self.latencies.ordered) - self.bad) / self.seconds if self.seconds else 0.0

    def __add__(self, other: "Outcome") -> "Outcome":
        """Two runs of the same connections as one."""
        latencies, seconds = self.latencies + other.latencies, self.seconds + other.seconds
        served, bad, lost = max(self.served, other.served), self.bad + other.bad, self.lost + other.lost
        return Outcome(latencies, seconds, served, bad, lost)

    def expect_all(self) -> "Outcome":
        """Raises Unavailable where an answer was bad or missing: such a run measures nothing."""
        if self.bad or self.lost:
            raise Unavailable(f"the load saw {self.bad} refusals and {self.lost} requests without an answer")
        return self


@dataclass(slots=True)
class _Caller:
    socket: socket.socket
    sent: float = 0.0
    answers: int = 0
    arrived: bytearray = field(default_factory=bytearray)


def closed_loop(
    ports: Sequence[int],
    requests: Iterator[bytes],
    complete: Complete,
    *,
    connections: int,
    seconds: float = float("inf"),
) -> Outcome:
    """Send until `seconds` are over or there are no more requests, then wait for the answers still due.

    Connections go to the ports in turn.
    """
    callers = [_Caller(_connect(port)) for port in islice(cycle(ports), connections)]
    with selectors.DefaultSelector() as selector:
        for caller in callers:
            selector.register(caller.socket, selectors.EVENT_READ, caller)
        try:
            return _drive(selector, callers, requests, complete, seconds)
        finally:
            for caller in callers:
                caller.socket.close()


def _connect(port: int) -> socket.socket:
    try:
        made = socket.create_connection((HOST, port), timeout=CONNECT_S)
    except OSError as exc:
        raise Unavailable("the process to be measured does not answer") from exc
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setblocking(True)  # the kernel keeps the time: Python's own way is one more call of it a message
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", LAST_ANSWERS_S, 0))
    return made


def _drive(
    selector: selectors.BaseSelector,
    callers: list[_Caller],
    requests: Iterator[bytes],
    complete: Complete,
    seconds: float,
) -> Outcome:
    taken: list[float] = []
    bad = 0
    following = next(requests, None)

    def send(caller: _Caller) -> int:
        """Send the next request; how many were sent."""
        nonlocal following
        if following is None:
            return 0
        caller.sent = time.perf_counter()
        caller.socket.sendall(following)
        following = next(requests, None)
        return 1

    started = time.perf_counter()
    end = started + seconds
    due = sum(map(send, callers))
    last = time.perf_counter()
    while due and (ready := _ready(selector, callers)):
        for caller in ready:
            good = _receive(selector, caller, complete)
            if good is None:
                continue
            last = time.perf_counter()
            taken.append(last - caller.sent)
            due -= 1
            bad += not good
            if last < end and caller.socket.fileno() >= 0:
                due += send(caller)
    served = sum(caller.answers > 0 for caller in callers)
    return Outcome(Latencies.of(taken), last - started, served, bad, due)


def _ready(selector: selectors.BaseSelector, callers: list[_Caller]) -> Sequence[_Caller]:
    """Those that have something to read; one alone waits in its `recv`. None, when nothing has come for too long."""
    if len(callers) == 1:
        return callers if callers[0].socket.fileno() >= 0 else ()
    return [key.data for key, _ in selector.select(LAST_ANSWERS_S)]


def _receive(selector: selectors.BaseSelector, caller: _Caller, complete: Complete) -> bool | None:
    try:
        data = caller.socket.recv(READ_BYTES)
    except OSError:
        data = b""
    if not data:  # a connection that is closed answers nothing more: what it owed is lost
        selector.unregister(caller.socket)
        caller.socket.close()
        return None
    caller.arrived += data
    good = complete(caller.arrived)
    if good is not None:
        caller.arrived.clear()
        caller.answers += 1
    return good


def acknowledged(arrived: bytearray) -> bool | None:
    """An MLLP answer: good when it accepts."""
    if not arrived.endswith(b"\x1c\r"):
        return None
    return b"\rMSA|CA|" in arrived or b"\rMSA|AA|" in arrived


def answered(arrived: bytearray) -> bool | None:
    """An HTTP/1.1 answer with a length: good when it is 200."""
    head = arrived.find(b"\r\n\r\n")
    if head < 0:
        return None
    fields = bytes(arrived[:head]).lower()
    at = fields.find(b"\r\ncontent-length:")
    length = int(fields[at + 17 : at + 32].split(b"\r\n")[0]) if at >= 0 else 0
    if len(arrived) < head + 4 + length:
        return None
    return fields.startswith(b"http/1.1 200")
