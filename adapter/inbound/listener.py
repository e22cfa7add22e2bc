"""The MLLP listener of one feed: sockets, TLS, limits, times, and ACKs in the order of arrival.

Each connection is an asyncio Protocol around a `FrameReader`. A frame gets a slot in its connection's queue when it
arrives; its ACK is written when the message is durable and every slot before it has been answered, so that a sender may
pipeline. What all connections hold together is bounded; a connection that sends faster than the disk writes is not read
until half of its messages are answered. What comes of which bytes is `docs/mllp.md`.

`start` refuses a port that strangers can reach. `stop` takes no more, answers what has arrived, then closes.
Source: hl7v2 chapter §2, §11; operations chapter §4, §9 (F16 to F21, F50, F51).
"""

import asyncio
import contextlib
import ipaddress
import ssl
from asyncio import sslproto
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, cast

import structlog

from adapter.crash import crash_point
from adapter.errors import ConfigurationError, Unavailable, whereabouts
from adapter.inbound.feed import Tls, check
from adapter.inbound.intake import LARGE_BYTES, PART_BYTES, Arrival, Intake, Reply, Together, is_much
from adapter.inbound.mllp import CLOSED, FLOODED, NEED_DATA, Event, Frame, FrameReader, Junk, Oversize, Torn, frame
from mappings.hl7v2.message import peek

# One connection's unanswered messages; beyond them it is not read until half are answered.
PENDING_FRAMES = 256
PENDING_BYTES = 4 * 1024 * 1024
# What all connections hold together: so many frames of the limit, at least so many bytes.
HELD_FRAMES, HELD_BYTES = 4, 128 * 1024 * 1024
SWEEP_S = 1.0  # how often times are looked at
STOP_S = 10.0  # of the 15 s that a service manager waits
BACKLOG = 1024
# asyncio's default, 256 KiB, makes malloc map and unmap memory for every read: a third of the cost of a small one.
READ_BYTES = 64 * 1024
# asyncio's default, 256 KiB a connection, would cost a thousand TLS connections a quarter of a gigabyte. uvloop has its
# own, whose pages cost nothing before bytes lie there.
TLS_BUFFER_BYTES = 32 * 1024

log = structlog.get_logger(__name__)


class Transport(Protocol):
    """What is used of a transport: those of uvloop are none of asyncio's classes."""

    def write(self, data: bytes) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_closing(self) -> bool: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def get_extra_info(self, name: str) -> Any: ...


class Port(Protocol):
    """And of a server."""

    @property
    def sockets(self) -> Sequence[Any]: ...
    def close(self) -> None: ...
    async def wait_closed(self) -> None: ...


@dataclass(slots=True)
class Slot:
    """One frame's place in the order of answers; `reply` None: not known yet."""

    size: int
    reply: bytes | None = field(default=None, repr=False)


class Connection(asyncio.Protocol):
    """One sender's socket."""

    def __init__(self, listener: "Listener") -> None:
        self._listener = listener
        limits = listener.feed.listen.limits
        self._reader = FrameReader(limits.frame_bytes)
        self._slots: deque[Slot] = deque()
        self._pending = 0  # bytes of frames without an answer
        self._reading = self._writable = True
        self._busy = False  # a large frame is being prepared; those behind it wait, for order
        self._ended = self._draining = False
        self._accounted = 0  # bytes in the reader that the listener knows of
        self._transport: Transport | None = None
        self._last = self._frame_at = 0.0
        self._closing_at: float | None = None

    # asyncio calls these ------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = mine = cast(Transport, transport)
        if hasattr(transport, "max_size"):
            transport.max_size = READ_BYTES
        self._last = self._listener.now()
        refusal = self._listener.admit(self, mine)
        if refusal is not None:
            self._listener.count(refusal)
            mine.abort()

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        self._last = self._listener.now()
        if not self._reader.in_frame:
            self._frame_at = self._last
        self._feed(data)

    def eof_received(self) -> bool:
        """The sender has closed its side; it still hears what it is owed (not over TLS, which knows no half)."""
        self._end()
        return not self.answered and self._listener.feed.listen.tls is None

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        self._transport = None
        self._reader = FrameReader()  # what it still holds has no one to answer to: its sender will send it again
        self._account()
        self._listener.forget(self)

    def pause_writing(self) -> None:
        self._writable = False
        self._balance()

    def resume_writing(self) -> None:
        self._writable = True
        self._balance()

    # the listener calls these -------------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """Close where a frame or a silence has lasted too long. Waiting for us is no silence."""
        limits = self._listener.feed.listen.limits
        if self._closing_at is not None:
            if now - self._closing_at > limits.frame_s:  # what is still to be written nobody reads
                self.abort()
        elif self._reader.in_frame and self._reading and now - self._frame_at > limits.frame_s:
            self._listener.count("frame-timeout")
            self._close()
        elif not self._slots and now - self._last > limits.idle_s:
            self._listener.count("idle-timeout")
            self._close()

    def retire(self) -> None:
        """Take no more bytes; close when everything is answered. A frame that is open now was never accepted."""
        self._ended = True
        self._balance()
        if self.answered:
            self._close()

    @property
    def answered(self) -> bool:
        return not self._slots and not self._busy

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # -----------------------------------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        self._reader.receive_data(data)
        self._drain()
        if self._listener.crowded and self._reader.buffered > LARGE_BYTES:
            self._make_room()

    def _account(self) -> None:
        self._listener.hold(self._reader.buffered - self._accounted)
        self._accounted = self._reader.buffered

    def _drain(self) -> None:
        """Handle the events there are, unless the sender is ahead of us."""
        if self._draining:
            return  # an answer that came at once: who called goes on
        self._draining = True
        try:
            while not self._busy and not self._full:
                event = self._reader.next_event()
                if event is NEED_DATA or event is CLOSED:
                    break
                self._handle(event)
        finally:
            self._draining = False
        self._account()
        self._balance()
        self._listener.intake.nudge()

    def _handle(self, event: Event) -> None:
        match event:
            case Frame(data):
                crash_point("receive.framed")
                self._frame_at = self._last
                self._take(data)
            case Torn(data):
                self._frame_at = self._last
                self._listener.count("torn-frame")
                slot = self._open_slot(len(data))  # it waits for the disk like any other, and so does its sender
                self._listener.intake.keep_torn(data, partial(self._settle, slot, b""))
            case Oversize(head):
                self._listener.count("over-limit")
                self._submit(self._open_slot(len(head)), self._listener.intake.prepare_oversize(head))
            case Junk(count):
                self._listener.count("junk-between-frames", count)
            case _:
                if event is FLOODED:
                    self._listener.count("flooded")
                    self._close()

    def _take(self, data: bytes) -> None:
        slot = self._open_slot(len(data))
        if not is_much(data):
            try:
                arrival = self._listener.intake.prepare(data)
            except Exception as exc:
                self._faulty(slot, data, exc)
            else:
                self._submit(slot, arrival)
            return
        self._busy = True
        loop = self._listener.loop
        prepared = loop.run_in_executor(None, self._listener.intake.prepare, data)
        prepared.add_done_callback(partial(self._go_on, slot, data))

    def _go_on(self, slot: Slot, data: bytes, done: "asyncio.Future[Arrival]") -> None:
        self._busy = False
        if (error := done.exception()) is None:
            self._submit(slot, done.result())
        else:
            self._faulty(slot, data, error)
        self._drain()

    def _faulty(self, slot: Slot, data: bytes, error: BaseException) -> None:
        """A fault of ours costs one message, which its sender still has; not the connection, nor the room it took."""
        log.error("mllp.message_failed", feed=self._listener.feed.name, fault=whereabouts(error))
        self._replied(slot, self._listener.intake.unable(peek(data)))

    def _open_slot(self, size: int) -> Slot:
        slot = Slot(0)
        self._slots.append(slot)
        self._widen(slot, size)
        return slot

    def _widen(self, slot: Slot, size: int) -> None:
        slot.size += size
        self._pending += size
        self._listener.hold(size)

    def _submit(self, slot: Slot, arrival: Arrival) -> None:
        if isinstance(arrival, Together):
            self._widen(slot, PART_BYTES * len(arrival.parts))
        self._listener.intake.submit(arrival, lambda reply: self._replied(slot, reply), self._later)

    def _later(self, message: bytes) -> bool:
        """What became of a message, behind its first answer; whether the sender is still there."""
        if self._transport is None or self._transport.is_closing():
            return False
        self._listener.count("application-ack")
        self._write(frame(message))
        return True

    def _replied(self, slot: Slot, reply: Reply) -> bool:
        """Fill the slot with an answer; whether the sender is still there."""
        there = self._transport is not None and not self._transport.is_closing()
        for code in reply.counted:
            self._listener.count(code)
        self._settle(slot, frame(reply.message) if reply.wanted else b"")
        return there

    def _settle(self, slot: Slot, reply: bytes) -> None:
        """Fill the slot, and write what is due from the head of the queue."""
        slot.reply = reply
        due = []
        while self._slots and self._slots[0].reply is not None:
            head = self._slots.popleft()
            self._pending -= head.size
            self._listener.hold(-head.size)
            due.append(head.reply or b"")
        self._write(b"".join(due))
        if len(self._slots) <= PENDING_FRAMES // 2 and self._pending <= PENDING_BYTES // 2 and not self._reading:
            self._drain()
        if self._ended and self.answered:
            self._close()

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
            crash_point("ack.written")

    def _make_room(self) -> None:
        """All connections together hold too much: this one's open frame is refused, its sender may try again."""
        refused = self._reader.refuse()
        if refused is not None:
            self._listener.count("busy")
            self._account()
            slot = self._open_slot(0)
            self._replied(slot, self._listener.intake.unable(peek(refused.head)))

    @property
    def _full(self) -> bool:
        return len(self._slots) >= PENDING_FRAMES or self._pending >= PENDING_BYTES

    def _balance(self) -> None:
        """Read from the socket exactly while we can take more."""
        wanted = self._writable and not (self._full or self._busy or self._ended)
        if wanted != self._reading and self._transport is not None and not self._transport.is_closing():
            self._reading = wanted
            if wanted:
                self._frame_at = self._last = self._listener.now()  # it was we who made the sender wait
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _end(self) -> None:
        """No bytes will come: an open frame is torn."""
        if not self._ended:
            self._ended = True
            self._feed(b"")

    def _close(self) -> None:
        self._end()
        if self._transport is not None:
            self._closing_at = self._closing_at or self._listener.now()
            self._transport.close()


class Listener:
    """One feed's port. `await start()`, `await stop()`; `counters` says what happened, without content."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.feed = intake.feed
        self.counters: Counter[str] = Counter()
        self._connections: set[Connection] = set()
        self._networks = self.feed.listen.networks
        self._held = 0
        self._room = max(HELD_FRAMES * self.feed.listen.limits.frame_bytes, HELD_BYTES)
        self._tls: ssl.SSLContext | None = None
        self._server: Port | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    async def start(self) -> None:
        """Open the port. Raises ConfigurationError (open to strangers, certificates), Unavailable (port taken)."""
        listen = self.feed.listen
        check(self.feed, self.feed.name)
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        if listen.tls is not None:
            sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
            self._tls = tls_context(listen.tls)
        try:
            self._server = await self.loop.create_server(
                lambda: Connection(self), listen.host, listen.port, ssl=self._tls, backlog=BACKLOG
            )
        except OSError as exc:
            text = f"feed {self.feed.name}: port {listen.port} cannot be opened ({exc.strerror})"
            raise Unavailable(text, hint="is another process listening there?") from exc
        self._sweeper = self.loop.create_task(self._sweep())

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._server is None:
            raise RuntimeError("the listener is not started")
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        return len(self._connections)

    @property
    def crowded(self) -> bool:
        """Whether all connections together hold more than there is room for."""
        return self._held > self._room

    def hold(self, size: int) -> None:
        """Account for bytes that a connection took up, or gave back."""
        self._held += size

    def count(self, what: str, times: int = 1) -> None:
        self.counters[what] += times

    def admit(self, connection: Connection, transport: Transport) -> str | None:
        """None, or why this peer may not connect."""
        self._connections.add(connection)
        self.intake.connected(1)
        self._empty.clear()
        if len(self._connections) > self.feed.listen.limits.connections:
            refusal = "too-many-connections"
        elif not self._is_allowed(transport.get_extra_info("peername")):
            refusal = "address-not-allowed"
        elif not self._is_named(transport.get_extra_info("peercert")):
            refusal = "client-name-not-allowed"
        else:
            return None
        log.warning("mllp.connection_refused", feed=self.feed.name, reason=refusal)
        return refusal

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self.intake.connected(-1)
        if not self._connections:
            self._empty.set()

    def take_over(self, intake: Intake) -> None:
        """Go on under the same port with a feed that reads or answers otherwise; open connections notice nothing."""
        self.intake, self.feed = intake, intake.feed
        self.reload()

    def reload(self) -> None:
        """Take the certificate files again for connections to come; open ones stay. Raises ConfigurationError."""
        if self._tls is not None and self.feed.listen.tls is not None:
            tls_context(self.feed.listen.tls)  # a file that does not load must not spoil the context in use
            _load(self._tls, self.feed.listen.tls)

    async def stop(self, timeout_s: float = STOP_S) -> None:
        """Close the port, answer what has arrived, close the connections; after `timeout_s` without more ado."""
        if self._server is None:
            return
        self._server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._connections):
            connection.retire()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), timeout_s)
        for connection in list(self._connections):
            connection.abort()
        await self._server.wait_closed()
        self._server = None

    def _is_allowed(self, peer: tuple[Any, ...] | None) -> bool:
        if not self._networks:
            return True
        if not peer:
            return False
        address = ipaddress.ip_address(peer[0].split("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)

    def _is_named(self, certificate: Mapping[str, Any] | None) -> bool:
        tls = self.feed.listen.tls
        if tls is None or not tls.client_names:
            return True
        wanted = {name.lower() for name in tls.client_names}
        names = (certificate or {}).get("subjectAltName", ())
        return any(kind in ("DNS", "IP Address", "URI") and name.lower() in wanted for kind, name in names)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now = self.now()
            for connection in list(self._connections):
                connection.expire(now)


def tls_context(tls: Tls) -> ssl.SSLContext:
    """TLS 1.2 or newer; with a client authority, clients must show a certificate of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, tls)
    if tls.client_ca_file is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _load(context: ssl.SSLContext, tls: Tls) -> None:
    """The files of a context. Raises ConfigurationError that names the file's role, not its place."""
    try:
        context.load_cert_chain(tls.cert_file, tls.key_file)
        if tls.client_ca_file is not None:
            context.load_verify_locations(tls.client_ca_file)
    except (OSError, ssl.SSLError) as exc:
        files = f"{tls.cert_file.name}, {tls.key_file.name}"
        raise ConfigurationError(f"certificate files cannot be used: {files}", hint="check listen.tls") from exc
