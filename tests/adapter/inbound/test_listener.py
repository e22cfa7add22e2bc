"""The listener over real loopback sockets. Source: hl7v2 chapter §2 and §11, operations F16 to F23, F50."""

import asyncio
import json
import resource
import sqlite3
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapter.errors import ConfigurationError, Unavailable
from adapter.inbound import listener as listeners
from adapter.inbound.ack import Rules
from adapter.inbound.feed import Feed, Listen
from adapter.inbound.intake import LARGE_BYTES, MANY_LINES, Arrival, Intake
from adapter.inbound.listener import Listener
from tests.adapter.inbound.conftest import OpenSite
from tests.adapter.inbound.site import ORG, Sender, Site, create_site, err, message, msa

Start = Callable[..., Awaitable[tuple[Listener, Sender]]]


@pytest.fixture
def start(site: Site) -> Start:
    """A listener and one connection to it."""

    async def begin(rules: Rules | None = None, **listen: Any) -> tuple[Listener, Sender]:
        listener = await site.listen(rules, **listen)
        return listener, await Sender.open(listener.port)

    return begin


async def states(site: Site) -> list[tuple[str, tuple[str, ...]]]:
    return [(row.state, row.issues) for row in reversed(await site.journal.listing(100))]


async def eventually(what: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(1000):
        if await what():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


async def test_a_message_is_acknowledged_once_it_is_in_the_journal(site: Site, start: Start) -> None:
    _, sender = await start()
    assert msa(await sender.ask(message("MSG1"))) == ["MSA", "AA", "MSG1"]
    [row] = await site.journal.read(0, 10)
    assert await site.journal.body(row) == message("MSG1")
    assert row.patients
    assert row.lanes
    await sender.close()


async def test_answers_leave_in_the_order_of_arrival(site: Site, start: Start) -> None:
    """Accepted, refused, duplicate and large ones mixed, sent before the first answer is read."""
    large = message("L", note="x" * (LARGE_BYTES + 1))
    sent = [
        message("1"),
        large,
        message("3", msh11="T"),
        message("1"),
        b"no header",
        message("6", msh15="AL"),
        message("7"),
    ]
    _, sender = await start()
    await sender.send(*sent)
    heard = [msa(await sender.ack())[1:3] for _ in sent]
    assert heard == [["AA", "1"], ["AA", "L"], ["AR", "3"], ["AA", "1"], ["AR", ""], ["CA", "6"], ["AA", "7"]]
    assert [state for state, _ in await states(site)] == [
        "new", "new", "rejected", "duplicate", "rejected", "new", "new",
    ]  # fmt: skip
    await sender.close()


async def test_a_thousand_pipelined_messages_are_each_answered_in_order(site: Site, start: Start) -> None:
    """More than may wait unanswered: the socket is not read meanwhile, nothing is lost."""
    listener, sender = await start()
    count = 4 * listeners.PENDING_FRAMES
    sending = asyncio.create_task(sender.send(*[message(str(n)) for n in range(count)]))
    assert [msa(await sender.ack())[2] for _ in range(count)] == [str(n) for n in range(count)]
    await sending
    assert len(await site.journal.read(0, 5000)) == count
    assert listener._held == 0
    await sender.close()


async def test_a_sender_that_resends_gets_the_same_answer_and_one_effect(site: Site, start: Start) -> None:
    """F22: it died before the ACK, and sends again on another connection."""
    listener, sender = await start()
    await sender.send(message("A7", msh7="20240501"))
    first = await sender.ack()
    await sender.close()
    again = await Sender.open(listener.port)
    assert await again.ask(message("A7", msh7="20240502")) == first
    assert [state for state, _ in await states(site)] == ["new", "duplicate"]
    await again.close()


async def test_the_same_control_id_with_new_bytes_is_kept_and_marked(site: Site, start: Start) -> None:
    """F23."""
    _, sender = await start()
    await sender.ask(message("A7", patient="1"))
    assert msa(await sender.ask(message("A7", patient="2"))) == ["MSA", "AA", "A7"]
    assert await states(site) == [("new", ()), ("new", ("control-id-reused",))]
    await sender.close()


@pytest.mark.parametrize(
    ("data", "condition", "issue"),
    [
        (b"PID|1||4711", "100", "no-header"),
        (b"", "100", "no-header"),
        (b"FHS|^~\\&|A\rBHS|^~\\&|A\rBTS|0\r", "100", "batch"),
        (message(msh9=""), "101", "no-type"),
        (message(msh9="QRY^A19"), "200", "query"),
        (message(msh11="T"), "202", "processing-id"),
        (message(msh12="3.0"), "203", "version-id"),
    ],
)
async def test_a_refusal_has_its_code_and_is_kept(
    site: Site, start: Start, data: bytes, condition: str, issue: str
) -> None:
    _, sender = await start()
    ack = await sender.ask(data)
    assert msa(ack)[1] == "AR"
    assert err(ack)[3].startswith(condition + "^")
    assert err(ack)[5] == issue
    [row] = await site.journal.listing(10)
    assert (row.state, row.issues) == ("rejected", (issue,))
    assert await site.journal.body(row) == data
    assert msa(await sender.ask(message("next")))[1] == "AA"
    await sender.close()


async def test_a_wrong_sender_is_accepted_and_marked_for_quarantine(site: Site, start: Start) -> None:
    _, sender = await start(Rules(accepts=lambda header: header.sending_application == "OTHER"))
    assert msa(await sender.ask(message()))[1] == "AA"
    assert await states(site) == [("new", ("wrong-sender",))]
    await sender.close()


async def test_an_answer_that_cannot_be_made_does_not_stop_its_connection(
    site: Site, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is kept: sent again, it is a duplicate."""
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))

    def fails(*_: object) -> None:
        raise KeyError("a fault of ours")

    _, sender = await start()
    with monkeypatch.context() as patched:
        patched.setattr(Intake, "_reply", fails)
        assert msa(await sender.ask(message("1")))[1] == "AE"
    assert [type(each["exception"]) for each in faults] == [KeyError]
    assert msa(await sender.ask(message("2")))[1:] == ["AA", "2"]
    assert [state for state, _ in await states(site)] == ["new", "new"]
    await sender.close()


async def test_a_sender_that_wants_no_answer_gets_none(site: Site, start: Start) -> None:
    _, sender = await start()
    await sender.send(
        message("1", msh15="NE"), message("2", msh15="ER"), message("3", msh15="SU", msh11="T"), message("4")
    )
    assert msa(await sender.ack()) == ["MSA", "AA", "4"]
    assert len(await site.journal.listing(10)) == 4
    await sender.close()


@pytest.mark.parametrize("rules", [Rules(), Rules(mode="original", after="mapped"), Rules(mode="enhanced")])
async def test_an_acknowledgement_is_kept_and_not_answered_for_two_engines_would_never_stop(
    site: Site, start: Start, rules: Rules
) -> None:
    _, sender = await start(rules)
    refused = message("2", msh9="ACK", msh11="T")
    await sender.send(message("1", msh9="ACK^A01^ACK"), refused, message("3", msh9="ACK", msh16="AL"))
    await sender.send(message("4", msh9="QRY^A19"))
    assert msa(await sender.ack())[2] == "4", "the first answer is to what came behind them"
    assert [state for state, _ in await states(site)] == ["new", "rejected", "new", "rejected"]
    await sender.close()


async def test_an_acknowledgement_that_asks_for_receipt_hears_that_alone_and_our_word_asks_for_none(
    start: Start,
) -> None:
    """What another system's application answer looks like: it is confirmed once, and no confirmation is."""
    _, sender = await start(Rules(after="mapped"))
    heard = await sender.ask(message("1", msh9="ACK^A01^ACK", msh15="AL", msh16="AL"))
    assert msa(heard)[1:] == ["CA", "1"]
    await sender.send(heard, message("2", msh9="QRY^A19"))
    assert msa(await sender.ack())[2] == "2", "sent back, our own confirmation is not answered"
    await sender.close()


async def test_a_torn_frame_is_kept_and_never_answered(site: Site, start: Start) -> None:
    _, sender = await start()
    whole = message("2")
    await sender.raw(b"\x0b" + message("1")[:-7] + b"\x0b" + whole + b"\x1c\r")
    assert msa(await sender.ack())[2] == "2"
    assert await states(site) == [("rejected", ("torn-frame",)), ("new", ())]
    assert (await site.journal.row(1)).ack is None
    await sender.close()


async def test_a_frame_cut_off_by_the_end_of_the_connection_is_kept(site: Site, start: Start) -> None:
    listener, sender = await start()
    await sender.raw(b"\x0b" + message("1")[:-7])
    await sender.close()

    async def kept() -> bool:
        return await states(site) == [("rejected", ("torn-frame",))]

    await eventually(kept)
    assert listener.counters["torn-frame"] == 1
    assert listener.connections == 0


async def test_torn_frames_wait_for_the_disk_like_any_other(site: Site, start: Start) -> None:
    """Five bytes each: their sender is read no faster than they are kept."""
    listener, sender = await start()
    most, count = 0, 20 * listeners.PENDING_FRAMES
    sending = asyncio.create_task(sender.raw(b"\x0bMSH|" * count + b"\x1c\r"))
    while site.journal.last < count:
        most = max(most, len(site.journal._queue))
        await asyncio.sleep(0)
    await sending
    assert msa(await sender.ack())[1] == "AR", "the last one has its end"
    assert 0 < most <= listeners.PENDING_FRAMES
    assert (listener.counters["torn-frame"], listener._held) == (count - 1, 0)
    await sender.close()


async def test_the_messages_of_a_batch_count_towards_what_a_connection_may_hold(
    site: Site, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten bytes each and a hundred times that in memory: the next batch waits for the answer of the one before."""
    monkeypatch.setattr(listeners, "PENDING_BYTES", 100 * 1024)
    listener, sender = await start()
    batch, most = b"MSH|^~\\&|\r" * 300, 0
    await sender.send(*[batch] * 5)
    while site.journal.last < 5 * 300:
        most = max(most, len(site.journal._queue))
        await asyncio.sleep(0)
    for _ in range(5):
        assert (await sender.ack()).count(b"MSA|AR|") == 300
    assert 0 < most <= 300
    assert listener._held == 0
    await sender.close()


@pytest.mark.parametrize(
    ("data", "elsewhere"),
    [
        (message("1"), False),
        (message("1", note="x" * LARGE_BYTES), True),
        (message("1") + b"NTE|1\r" * MANY_LINES, True),
        (b"MSH|^~\\&|\r" * (MANY_LINES + 1), True),
    ],
    ids=["small", "long", "segments", "batch"],
)
async def test_what_takes_long_to_read_is_read_beside_the_loop(
    start: Start, monkeypatch: pytest.MonkeyPatch, data: bytes, elsewhere: bool
) -> None:
    listener, sender = await start()
    threads: list[bool] = []
    prepare = listener.intake.prepare

    def noted(data: bytes) -> Arrival:
        threads.append(threading.current_thread() is not threading.main_thread())
        return prepare(data)

    monkeypatch.setattr(listener.intake, "prepare", noted)
    await sender.send(data)

    async def answered() -> bool:
        return bool(threads) and listener._held == 0

    await eventually(answered)
    assert threads == [elsewhere]
    await sender.close()


@pytest.mark.parametrize("size", [0, LARGE_BYTES])
async def test_a_fault_of_ours_costs_one_message_and_its_sender_hears_so(
    site: Site, start: Start, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    listener, sender = await start()
    prepare = listener.intake.prepare

    def faulty(data: bytes) -> Arrival:
        if b"|2|" in data:
            raise KeyError("4711")
        return prepare(data)

    monkeypatch.setattr(listener.intake, "prepare", faulty)
    await sender.send(message("1"), message("2", note="x" * size), message("3"))
    with capture_logs() as logs:
        heard = [msa(await sender.ack())[1:3] for _ in range(3)]
    assert heard == [["AA", "1"], ["AE", "2"], ["AA", "3"]]
    assert "4711" not in str(logs)
    assert [one["event"] for one in logs if one["log_level"] == "error"] == ["mllp.message_failed"]
    assert listener._held == 0
    await sender.close()


async def test_junk_is_counted_and_costs_no_message(site: Site, start: Start) -> None:
    listener, sender = await start()
    await sender.raw(b"hello\0\r\n" + b"\x0b" + message("1") + b"\x1c\rMSH|lost\x1c\r\x0b" + message("2") + b"\x1c\r")
    assert [msa(await sender.ack())[2] for _ in range(2)] == ["1", "2"]
    assert listener.counters["junk-between-frames"] == 5 + 9
    assert len(await site.journal.listing(10)) == 2
    await sender.close()


async def test_what_is_not_mllp_is_hung_up_on(start: Start) -> None:
    listener, sender = await start()
    await sender.raw(b"x" * 100_000)
    assert await sender.rest() == b""
    assert listener.counters["flooded"] == 1
    await sender.close()


async def test_an_oversize_frame_is_refused_at_its_limit_and_the_next_lives(site: Site, start: Start) -> None:
    _, sender = await start(limits={"frame_bytes": 4096})
    await sender.raw(b"\x0b" + message("big", note="x" * 5000))  # and no end yet
    ack = await sender.ack()
    assert msa(ack)[1:3] == ["AR", "big"]
    assert err(ack)[3:6] == ["207^Application internal error^HL70357", "E", "over-limit"]
    await sender.raw(b"y" * 5000 + b"\x1c\r")
    assert msa(await sender.ask(message("next")))[1:3] == ["AA", "next"]
    assert await states(site) == [("rejected", ("over-limit",)), ("new", ())]
    assert len(await site.journal.body(await site.journal.row(1))) == 4096
    await sender.close()


async def test_a_dribbled_64_mb_frame_stays_within_the_limit_and_16_mb(tmp_path: Path) -> None:
    """F17, weighed in a process of its own."""
    await create_site(tmp_path)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.adapter.inbound.serve", str(tmp_path),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    sender = await Sender.open(int(await process.stdout.readline()))
    await sender.raw(b"\x0b" + message("big"))
    for _ in range(1024):
        await sender.raw(b"x" * 65_536)
    assert msa(await sender.ack())[1:3] == ["AR", "big"]
    await sender.raw(b"\x1c\r")
    assert msa(await sender.ask(message("next")))[1:3] == ["AA", "next"]
    await sender.close()
    weighed = json.loads((await process.communicate(b""))[0])
    assert weighed["after"] - weighed["before"] < (32 + 16) * 1024


async def test_all_connections_together_are_bounded(site: Site, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame for which there is no room costs only itself, with AE: its sender tries again."""
    monkeypatch.setattr(listeners, "HELD_FRAMES", 0)
    monkeypatch.setattr(listeners, "HELD_BYTES", 600_000)
    listener, one = await start()
    two = await Sender.open(listener.port)
    await one.raw(b"\x0b" + message("1", note="x" * 500_000))

    async def held() -> bool:
        return listener._held > 500_000

    await eventually(held)
    await two.raw(b"\x0b" + message("2", note="x" * 500_000))
    ack = await two.ack()
    assert msa(ack)[1] == "AE"
    assert err(ack)[5] == "journal-unavailable"
    await one.raw(b"\x1c\r")
    await two.raw(b"\x1c\r")
    assert msa(await one.ack())[1:3] == ["AA", "1"]
    assert msa(await two.ask(message("3")))[1:3] == ["AA", "3"]
    assert listener._held == 0
    await one.close()
    await two.close()


async def test_a_frame_that_takes_too_long_ends_its_connection_only(
    site: Site, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F18: a dribbler is timed out, its neighbour notices nothing."""
    monkeypatch.setattr(listeners, "SWEEP_S", 0.02)
    listener, slow = await start(limits={"frame_s": 0.2})
    good = await Sender.open(listener.port)
    await slow.raw(b"\x0bMSH|^~")

    async def dribble() -> None:
        with suppress(OSError):
            for _ in range(1000):
                await slow.raw(b"x")
                await asyncio.sleep(0.01)

    dribbling = asyncio.create_task(dribble())
    for n in range(20):
        assert msa(await good.ask(message(str(n))))[1] == "AA"
        await asyncio.sleep(0.01)
    with suppress(ConnectionError):  # it was writing when it was closed
        assert await slow.rest() == b""
    dribbling.cancel()
    assert listener.counters["frame-timeout"] == 1
    assert listener.connections == 1
    await slow.close()
    await good.close()


async def test_a_silent_peer_is_let_go(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """F21, as far as a test without a firewall can: half-open and idle look the same."""
    monkeypatch.setattr(listeners, "SWEEP_S", 0.02)
    listener, sender = await start(limits={"idle_s": 0.1})
    assert await sender.rest() == b""
    assert listener.counters["idle-timeout"] == 1
    await sender.close()


async def test_one_connection_too_many_is_closed_and_the_others_live(start: Start) -> None:
    listener, first = await start(limits={"connections": 2})
    second = await Sender.open(listener.port)
    await second.ask(message("1"))
    third = await Sender.open(listener.port)
    with suppress(ConnectionError):
        assert await third.rest() == b""
    assert listener.counters["too-many-connections"] == 1
    assert msa(await first.ask(message("2")))[1] == "AA"
    await first.close()
    await third.close()

    async def gone() -> bool:
        return listener.connections == 1

    await eventually(gone)
    fourth = await Sender.open(listener.port)
    assert msa(await fourth.ask(message("3")))[1] == "AA"
    for sender in (second, fourth):
        await sender.close()


@pytest.mark.parametrize(("allow", "admitted"), [(["127.0.0.0/8"], True), (["10.20.0.0/16", "::1/128"], False)])
async def test_only_allowed_networks_are_admitted(start: Start, allow: list[str], admitted: bool) -> None:
    listener, sender = await start(allow=allow)
    if admitted:
        assert msa(await sender.ask(message()))[1] == "AA"
    else:
        with suppress(ConnectionError):
            assert await sender.rest() == b""
        assert listener.counters["address-not-allowed"] == 1
    await sender.close()


async def test_a_port_open_to_strangers_does_not_start(site: Site) -> None:
    open_door = Feed("main", ORG, "main", listen=Listen(host="0.0.0.0", port=0))  # noqa: S104 - that is the point
    with pytest.raises(ConfigurationError, match="open to everyone"):
        await Listener(site.intake(open_door)).start()


async def test_a_taken_port_is_said_plainly(site: Site) -> None:
    listener = await site.listen()
    with pytest.raises(Unavailable, match=f"port {listener.port}"):
        await site.listen(port=listener.port)


async def test_a_sender_that_closes_its_side_still_hears_its_answers(site: Site, start: Start) -> None:
    _, sender = await start()
    await sender.send(*[message(str(n)) for n in range(50)])
    sender.writer.write_eof()
    answers = await sender.rest()
    assert answers.count(b"MSA|AA|") == 50
    await sender.close()


async def test_a_stop_answers_what_has_arrived_and_takes_no_more(site: Site, start: Start) -> None:
    """F50: ACKed or not accepted."""
    listener, sender = await start()
    port = listener.port
    idle = await Sender.open(port)
    await sender.send(*[message(str(n)) for n in range(200)])
    answers = [await sender.ack()]
    await listener.stop()
    rest = await sender.rest()
    heard = 1 + rest.count(b"MSA|AA|")
    assert heard == len(await site.journal.read(0, 1000))
    assert answers
    assert await idle.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        await Sender.open(port)
    await sender.close()
    await idle.close()


async def test_a_full_disk_means_ae_on_the_wire_and_the_connection_lives(site: Site, start: Start) -> None:
    """F8: refused, not lost; and it recovers alone."""
    _, sender = await start()
    connection = site.file._connection
    connection.execute("PRAGMA max_page_count = 1")
    ack = await sender.ask(message("1", note="x" * 9000))
    assert msa(ack)[1:3] == ["AE", "1"]
    assert err(ack)[3:6] == ["207^Application internal error^HL70357", "E", "journal-unavailable"]
    enhanced = await sender.ask(message("2", note="x" * 9000, msh15="AL"))
    assert msa(enhanced)[1:3] == ["CE", "2"]
    connection.execute("PRAGMA max_page_count = 1000000")
    assert msa(await sender.ask(message("1", note="x" * 9000)))[1:3] == ["AA", "1"]
    await sender.close()


async def test_a_peer_that_resets_while_it_is_answered_harms_no_one(site: Site, start: Start) -> None:
    listener, sender = await start()
    other = await Sender.open(listener.port)
    await sender.send(*[message(str(n)) for n in range(100)])
    sender.writer.transport.abort()
    assert msa(await other.ask(message("other")))[1] == "AA"

    async def settled() -> bool:
        return listener.connections == 1 and listener._held == 0

    await eventually(settled)
    await other.close()


async def test_a_reader_that_never_reads_answers_stops_being_read(site: Site, start: Start) -> None:
    """Memory stays flat: what cannot be written to it is not asked from it."""
    listener, sender = await start()
    sender.writer.transport.get_extra_info("socket").setblocking(False)
    wire = b"".join(b"\x0b" + message(f"{n:06d}" + "c" * 900, note="") + b"\x1c\r" for n in range(12_000))
    sending = asyncio.create_task(sender.raw(wire))
    sender.reader._transport.pause_reading()  # type: ignore[attr-defined]
    last = -1
    for _ in range(200):
        await asyncio.sleep(0.05)
        if last == site.journal.last:
            break
        last = site.journal.last
    assert site.journal.last < 12_000
    assert not sending.done()
    sending.cancel()
    sender.writer.transport.abort()

    async def settled() -> bool:
        return listener.connections == 0 and listener._held == 0

    await eventually(settled)


async def test_a_peer_that_reads_no_answer_is_let_go_in_the_end(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written to it is never read: the end of the connection must not wait for that."""
    monkeypatch.setattr(listeners, "SWEEP_S", 0.05)
    listener, sender = await start(limits={"idle_s": 0.3, "frame_s": 0.3})
    (connection,) = listener._connections
    sender.reader._transport.pause_reading()  # type: ignore[attr-defined]
    connection._write(b"x" * (16 << 20))

    async def gone() -> bool:
        return listener.connections == 0

    await eventually(gone)
    assert listener.counters["idle-timeout"] == 1
    sender.writer.transport.abort()


async def test_a_thousand_connections_are_all_served(site: Site) -> None:
    """F19 in small: every one is answered, and no descriptor stays open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 4096)
    if wanted < 2500:
        pytest.skip("the open-file limit of this machine is too low for 1,000 connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    listener = await site.listen(limits={"connections": 1000})
    senders = [await Sender.open(listener.port) for _ in range(1000)]
    acks = await asyncio.gather(*[sender.ask(message(str(n))) for n, sender in enumerate(senders)])
    assert [msa(ack)[1:3] for ack in acks] == [["AA", str(n)] for n in range(1000)]
    await asyncio.gather(*[sender.close() for sender in senders])

    async def gone() -> bool:
        return listener.connections == 0

    await eventually(gone)
    assert site.journal.senders == 0


async def test_a_second_start_answers_what_the_first_one_took(open_site: OpenSite) -> None:
    from tests.adapter.inbound.site import close_site

    site = await open_site()
    sender = await Sender.open((await site.listen()).port)
    first = await sender.ask(message("A7"))
    await sender.close()
    await close_site(site)
    site = await open_site()
    sender = await Sender.open((await site.listen()).port)
    assert await sender.ask(message("A7")) == first
    await sender.close()
    with sqlite3.connect(site.folder / "journal.sqlite3") as connection:
        assert connection.execute("SELECT count(*) FROM message WHERE state = 'new'").fetchone() == (1,)
    connection.close()
