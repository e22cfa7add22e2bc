"""Send HL7 v2 messages over MLLP, as a hospital's system would, and measure what comes back.

The simulator and load generator behind `chartbridge send`, the demo and the benchmark. A connection sends a message and
waits for its ACK before the next, as MLLP senders do (HL7 v2, Transport Specification: MLLP, release 1).
"""

import asyncio
import itertools
import ssl
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapter.errors import Unavailable, UsageError

START, END = b"\x0b", b"\x1c\r"
MAX_ACK_BYTES = 1 << 20
ACK_S = 30.0  # a sender that waits longer sends again


@dataclass(slots=True)
class Report:
    """What a run saw: ACK codes, latencies in seconds, failures to connect or to get an answer."""

    acks: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def sent(self) -> int:
        return len(self.latencies)

    def percentile(self, share: float) -> float:
        """The latency that `share` of the messages did not exceed, in seconds; 0 where none was sent."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def read_messages(paths: Iterable[Path]) -> list[bytes]:
    """The messages of files and folders, in order of name. A file is one message; LF line ends become CR."""
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.hl7")))]
    if not files:
        raise UsageError("no message found", hint="name a file, or a folder with *.hl7 files")
    return [segments_end_in_cr(file.read_bytes()) for file in files]


def segments_end_in_cr(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\r").replace(b"\n", b"\r")


def acknowledgement_code(ack: bytes) -> str:
    """MSA-1 of an ACK, or `?`."""
    for segment in ack.replace(b"\n", b"\r").split(b"\r"):
        if segment.startswith(b"MSA") and len(segment) > 4:
            return segment[4:6].decode("ascii", "replace")
    return "?"


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes) -> bytes:
    """Send one message on an open connection; its ACK, without the frame. Raises Unavailable when none comes."""
    writer.write(START + message + END)
    try:
        await writer.drain()
        answer = await reader.readuntil(END)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as exc:
        raise Unavailable("no acknowledgement", hint="chartbridge doctor") from exc
    return answer[answer.find(START) + 1 : -len(END)]


async def send_one(host: str, port: int, message: bytes, timeout_s: float = ACK_S, *, tls: bool = False) -> bytes:
    """One message on a connection of its own; its ACK. With `tls` the other side's certificate is verified."""
    try:
        async with asyncio.timeout(timeout_s):
            secured = ssl.create_default_context() if tls else None
            reader, writer = await asyncio.open_connection(host, port, limit=MAX_ACK_BYTES, ssl=secured)
            try:
                return await exchange(reader, writer, message)
            finally:
                writer.close()
    except (OSError, TimeoutError) as exc:
        raise Unavailable("the listener cannot be reached", hint="is chartbridge serve running?") from exc


async def send_many(
    host: str,
    port: int,
    messages: Sequence[bytes],
    *,
    connections: int = 1,
    rate: float = 0.0,
    repeat: int = 1,
    renumber: bool = False,
) -> Report:
    """Send all messages `repeat` times over `connections` connections, at most `rate` a second (0: as fast as it goes).

    `renumber` gives each message sent a control id of its own, so that the receiver does not take it for a duplicate.
    """
    report = Report()
    work = _numbered(messages, repeat, renumber)
    started = time.perf_counter()
    pace = _Pace(rate, started)
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_connection(host, port, work, pace, report))
    report.seconds = time.perf_counter() - started
    return report


@dataclass(slots=True)
class _Pace:
    rate: float
    started: float
    given: int = 0

    async def turn(self) -> None:
        if self.rate:
            due = self.started + self.given / self.rate
            self.given += 1
            await asyncio.sleep(max(0.0, due - time.perf_counter()))


def _numbered(messages: Sequence[bytes], repeat: int, renumber: bool) -> Iterator[bytes]:
    run = f"{time.time_ns():x}"
    numbers = itertools.count(1)
    for _ in range(repeat):
        for message in messages:
            yield with_control_id(message, f"{run}{next(numbers)}".encode()) if renumber else message


def with_control_id(message: bytes, control_id: bytes) -> bytes:
    """The message under another MSH-10. A message without one is left as it is."""
    separator = message[3:4]
    header, end, rest = message.partition(b"\r")
    fields = header.split(separator) if separator else []
    if len(fields) < 10:
        return message
    fields[9] = control_id
    return separator.join(fields) + end + rest


async def _connection(host: str, port: int, work: Iterator[bytes], pace: _Pace, report: Report) -> None:
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=MAX_ACK_BYTES)
    except OSError:
        report.failures["connect"] += 1
        return
    try:
        for message in work:
            await pace.turn()
            started = time.perf_counter()
            async with asyncio.timeout(ACK_S):
                ack = await exchange(reader, writer, message)
            report.latencies.append(time.perf_counter() - started)
            report.acks[acknowledgement_code(ack)] += 1
    except (Unavailable, TimeoutError):
        report.failures["answer"] += 1
    finally:
        writer.close()
