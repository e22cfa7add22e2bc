"""The sending side: what it sends, what it counts, and that it never hangs on a deaf receiver."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapter.errors import Unavailable, UsageError
from adapter.sender import (
    END,
    START,
    Report,
    acknowledgement_code,
    read_messages,
    segments_end_in_cr,
    send_many,
    send_one,
    with_control_id,
)
from tests.adapter.nodes import HOST, a08

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[int]:
    ended: list[asyncio.Event] = []

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(event := asyncio.Event())
        await handler(reader, writer)
        event.set()

    server = await asyncio.start_server(handled, HOST, 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])
    for event in ended:
        await event.wait()
    await asyncio.sleep(0.01)  # the transports close in the loop's next round


def answering(heard: list[bytes], code: bytes = b"AA") -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                heard.append((await reader.readuntil(END)).removeprefix(START).removesuffix(END))
                writer.write(START + b"MSH|^~\\&\rMSA|" + code + b"|1\r" + END)
        except asyncio.IncompleteReadError:
            writer.close()

    return handle


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def test_every_message_is_sent_once_over_any_number_of_connections() -> None:
    heard: list[bytes] = []
    bodies = [a08(str(n), str(n)) for n in range(40)]
    async with listening(answering(heard)) as port:
        report = await send_many(HOST, port, bodies, connections=7)
    assert sorted(heard) == sorted(bodies)
    assert report.acks == {"AA": 40}
    assert report.sent == 40
    assert not report.failures


async def test_renumbered_messages_differ_in_their_control_id_alone() -> None:
    heard: list[bytes] = []
    async with listening(answering(heard)) as port:
        await send_many(HOST, port, [a08("1", "11")], repeat=5, renumber=True)
    ids = [body.split(b"|")[9] for body in heard]
    assert len(set(ids)) == 5
    assert {body.replace(name, b"1", 1) for body, name in zip(heard, ids, strict=True)} == {a08("1", "11")}


async def test_a_receiver_that_is_not_there_is_counted_not_raised() -> None:
    async with listening(silent) as port:
        pass
    report = await send_many(HOST, port, [b"x"], connections=2)
    assert report.failures == {"connect": 2}
    with pytest.raises(Unavailable):
        await send_one(HOST, port, b"x")


async def test_a_receiver_that_never_answers_does_not_hold_the_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapter.sender.ACK_S", 0.2)
    async with listening(silent) as port:
        report = await send_many(HOST, port, [b"x"])
        assert report.failures == {"answer": 1}
        with pytest.raises(Unavailable):
            await send_one(HOST, port, b"x", timeout_s=0.2)


@pytest.mark.parametrize(
    ("ack", "code"),
    [
        (b"MSH|^~\\&\rMSA|AA|1\r", "AA"),
        (b"MSH#^~\\&\nMSA#CR#1\n", "CR"),
        (b"MSH|^~\\&\rMSA|", "?"),
        (b"", "?"),
        (b"MSH|^~\\&\rERR||MSA|AA", "?"),
    ],
)
def test_an_acknowledgements_code_is_that_of_its_msa(ack: bytes, code: str) -> None:
    assert acknowledgement_code(ack) == code


@pytest.mark.parametrize("message", [b"", b"M", b"MSH|^~\\&|A\rPID|1\r"])
def test_a_message_without_a_control_id_is_sent_as_it_is(message: bytes) -> None:
    assert with_control_id(message, b"new") == message


def test_any_line_end_becomes_the_one_of_the_standard() -> None:
    assert segments_end_in_cr(b"a\r\nb\nc\rd") == b"a\rb\rc\rd"


def test_a_folder_gives_its_messages_in_order_of_name(tmp_path: Path) -> None:
    for name in ("b.hl7", "a.hl7", "note.txt"):
        (tmp_path / name).write_bytes(name.encode())
    assert read_messages([tmp_path]) == [b"a.hl7", b"b.hl7"]
    assert read_messages([tmp_path / "note.txt", tmp_path]) == [b"note.txt", b"a.hl7", b"b.hl7"]
    with pytest.raises(UsageError):
        read_messages([tmp_path / "nothing"])


def test_a_percentile_is_one_of_the_latencies() -> None:
    assert Report().percentile(0.5) == 0.0
    report = Report(latencies=[0.3, 0.1, 0.2])
    assert [report.percentile(share) for share in (0.0, 0.5, 0.99, 1.0)] == [0.1, 0.2, 0.3, 0.3]
