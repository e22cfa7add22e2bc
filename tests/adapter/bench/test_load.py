"""The load generator: a benchmark is worth as much as what counts its answers."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from adapter.bench import load
from adapter.bench.load import acknowledged, answered, closed_loop
from adapter.errors import Unavailable

ACCEPTED = b"\x0bMSH|^~\\&|A\rMSA|AA|1\r\x1c\r"
REFUSED = ACCEPTED.replace(b"|AA|", b"|AR|")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

Serve = Callable[[socket.socket], None]
CONNECTIONS = pytest.mark.parametrize("connections", [1, 3])  # one alone waits in its recv, several in a selector


@contextmanager
def served(serve: Serve) -> Iterator[int]:
    """A server of one thread a connection, each running `serve`."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # closed: the test is over
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def always(*parts: bytes) -> Serve:
    """Each request, of one byte, is answered with these parts, sent one after the other."""

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while connection.recv(1):
                for part in parts:
                    connection.sendall(part)

    return serve


def once(connection: socket.socket) -> None:
    """One answer, then the connection is gone."""
    with connection:
        connection.recv(1)
        connection.sendall(ACCEPTED)
        connection.recv(1)


def silent(connection: socket.socket) -> None:
    """No answer at all."""
    with connection:
        while connection.recv(1):
            pass


@CONNECTIONS
@pytest.mark.parametrize("cut", [1, 5, len(ACCEPTED) - 1])
def test_every_request_is_counted_once_however_its_answer_is_cut(cut: int, connections: int) -> None:
    with served(always(ACCEPTED[:cut], ACCEPTED[cut:])) as port:
        outcome = closed_loop((port,), iter([b"."] * 40), acknowledged, connections=connections)
    assert (len(outcome.latencies.ordered), outcome.served) == (40, connections)
    assert (outcome.bad, outcome.lost) == (0, 0)
    assert outcome.expect_all() is outcome


@CONNECTIONS
def test_refusals_are_no_success(connections: int) -> None:
    with served(always(REFUSED)) as port:
        outcome = closed_loop((port,), iter([b"."] * 10), acknowledged, connections=connections)
    assert (outcome.bad, outcome.rate) == (10, 0.0)
    with pytest.raises(Unavailable):
        outcome.expect_all()


@CONNECTIONS
def test_a_connection_that_closes_loses_what_it_owed(monkeypatch: pytest.MonkeyPatch, connections: int) -> None:
    monkeypatch.setattr(load, "LAST_ANSWERS_S", 1)
    with served(once) as port:
        outcome = closed_loop((port,), iter([b"."] * 2 * connections), acknowledged, connections=connections)
    assert (len(outcome.latencies.ordered), outcome.lost) == (connections, connections)
    with pytest.raises(Unavailable):
        outcome.expect_all()


@CONNECTIONS
def test_silence_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch, connections: int) -> None:
    monkeypatch.setattr(load, "LAST_ANSWERS_S", 1)
    with served(silent) as port:
        outcome = closed_loop((port,), iter([b"."] * 9), acknowledged, connections=connections)
    assert outcome.lost == connections


@CONNECTIONS
def test_it_ends_when_the_time_is_over(connections: int) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"."

    with served(always(ACCEPTED)) as port:
        outcome = closed_loop((port,), endless(), acknowledged, connections=connections, seconds=0.05)
    assert outcome.lost == 0
    assert outcome.served == connections


def test_nobody_listening_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Unavailable):
        closed_loop((port,), iter([b"."]), acknowledged, connections=1)


@pytest.mark.parametrize(
    ("arrived", "verdict"),
    [
        (OK[:-1], None),
        (OK[:20], None),
        (OK, True),
        (OK.replace(b"200", b"404"), False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False),
    ],
)
def test_an_answer_over_http_is_whole_and_good(arrived: bytes, verdict: bool | None) -> None:
    assert answered(bytearray(arrived)) is verdict


@pytest.mark.parametrize(
    ("arrived", "verdict"),
    [(ACCEPTED, True), (ACCEPTED.replace(b"|AA|", b"|CA|"), True), (REFUSED, False), (ACCEPTED[:-1], None)],
)
def test_an_acknowledgement_is_whole_and_good(arrived: bytes, verdict: bool | None) -> None:
    assert acknowledged(bytearray(arrived)) is verdict
