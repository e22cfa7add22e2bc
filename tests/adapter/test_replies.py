"""The application's answer: what became of a message, on its connection or at another address (hl7v2 chapter §11).

Whole nodes and real sockets; the other side is a listener that records what it hears and answers as it is told.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapter import operators
from adapter import replies as replies_module
from adapter.errors import ConfigurationError
from adapter.http_server import free_port
from adapter.inbound import http
from adapter.inbound.http import Answered
from adapter.inbound.mllp import END, VT, frame
from adapter.node import Node, running
from adapter.replies import Address, address
from adapter.store import replies as table
from tests.adapter.inbound.site import Sender, err, msa
from tests.adapter.nodes import HOST, STRANGE, a08, profile, states

MAPPED = """
name = "own"
extends = "default"
namespace = "urn:oid:2.999.1"
[match]
msh3 = "GOOD"
[ack]
after = "mapped"
"""
DURABLE = MAPPED.replace("mapped", "durable")
SERVE = "import sys; from pathlib import Path; from adapter.serve import run; run(Path(sys.argv[1]))"


def original(control: str, patient: str, **how: str) -> bytes:
    """A message of the original mode: MSH-15 and MSH-16 are empty."""
    return a08(control, patient, **how).replace(b"|2.5.1|||AL|NE\r", b"|2.5.1\r")


def enhanced(control: str, patient: str, asked: str = "AL", **how: str) -> bytes:
    return a08(control, patient, **how).replace(b"|AL|NE\r", f"|AL|{asked}\r".encode())


async def ended(node: Node) -> dict[int, str]:
    """How each answer ended, by message; "" for those that wait."""
    seqs = range(1, node.journal.last + 1)
    found = await node.site.store.read(lambda conn: table.outcomes(conn, node.site.org, seqs))
    return {one.seq: one.ended or "" for one in found}


@asynccontextmanager
async def sender(node: Node) -> AsyncIterator[Sender]:
    one = await Sender.open(node.mllp_port())
    try:
        yield one
    finally:
        await one.close()


# On the same connection ----------------------------------------------------------------------------------------------


async def test_the_answer_of_the_original_mode_waits_until_the_message_has_taken_effect(fresh_site: Path) -> None:
    profile(fresh_site, MAPPED, "own")
    async with running(fresh_site) as node, sender(node) as one:
        ack = await one.ask(original("A1", "11"))
        assert (msa(ack)[1], msa(ack)[2]) == ("AA", "A1")
        assert ack.split(b"|")[9].startswith(b"CM"), "a control id of its own"
        assert (await states(node))[1] in ("mapped", "logged", "delivered"), "not before"


async def test_what_waits_for_a_person_is_an_error_with_its_reason_and_place(fresh_site: Path) -> None:
    profile(fresh_site, MAPPED, "own")
    async with running(fresh_site) as node, sender(node) as one:
        ack = await one.ask(original("A1", "11", sender=STRANGE))
        assert msa(ack)[1] == "AE"
        assert err(ack)[2:6] == ["MSH^1", "207^Application internal error^HL70357", "E", "wrong-sender"]
        behind = await one.ask(original("A2", "11"))
        assert (msa(behind)[1], err(behind)[5]) == ("AE", "held")
        assert msa(await one.ask(original("A3", "12")))[1] == "AA", "neighbours go on"


async def test_who_waits_for_a_paused_feed_is_remembered_up_to_a_limit(
    fresh_site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies_module, "MOST_WAITING", 3)
    profile(fresh_site, DURABLE, "own")
    file = fresh_site / "feeds" / "main.toml"
    text = file.read_text("utf-8")
    file.write_text('state = "paused"\n' + text, "utf-8")
    async with running(fresh_site) as node, sender(node) as one:
        for n in range(1, 6):
            assert msa(await one.ask(enhanced(f"A{n}", f"1{n}")))[1] == "CA"
        file.write_text(text, "utf-8")
        await node.receipt.reload()
        assert {msa(await one.ack())[2] for _ in range(3)} == {"A3", "A4", "A5"}
        await node.settled()
        async with asyncio.timeout(10):
            while "" in (found := await ended(node)).values():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert found == dict.fromkeys((1, 2), table.UNHEARD) | dict.fromkeys((3, 4, 5), table.TOLD)


async def test_what_fits_no_schema_is_a_data_type_error(fresh_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adapter.errors import Unprocessable

    def refusing(*_: object, **__: object) -> None:
        raise Unprocessable("the mapped resource does not fit FHIR R4")

    monkeypatch.setattr("adapter.decision.commit_unit", refusing)
    profile(fresh_site, MAPPED, "own")
    async with running(fresh_site) as node, sender(node) as one:
        ack = await one.ask(original("A1", "11"))
        assert err(ack)[3:6] == ["102^Data type error^HL70357", "E", "unprocessable"]


async def test_a_filtered_message_is_answered_as_one_that_was_taken(fresh_site: Path) -> None:
    profile(fresh_site, MAPPED.replace("[match]", '[[filter]]\nid = "out"\nwhen = "MSH-3 = GOOD"\n[match]'), "own")
    async with running(fresh_site) as node, sender(node) as one:
        assert msa(await one.ask(original("A1", "11")))[1] == "AA"
        assert await states(node) == {1: "filtered"}


async def test_a_sender_that_asks_again_hears_what_is_true_now(fresh_site: Path) -> None:
    """Nothing is processed twice: not while it waits for a person, and not afterwards."""
    profile(fresh_site, MAPPED, "own")
    async with running(fresh_site) as node, sender(node) as one:
        for _ in range(2):
            assert msa(await one.ask(original("A1", "11", sender=STRANGE)))[1] == "AE"
        own = fresh_site / "profiles" / "own" / "profile.toml"
        own.write_text(MAPPED.replace('"GOOD"', '"*"'), "utf-8")
        await node.receipt.reload()
        await operators.replay(node.site, node.journal, [1], "ada", "mended")
        node.pipeline.wake()
        await node.settled()
        assert msa(await one.ask(original("A1", "11", sender=STRANGE)))[1] == "AA"
        assert [row.state for row in await node.journal.listing(9)] == ["duplicate", "duplicate", "new"]


async def test_a_sender_need_not_wait_for_what_a_person_holds(fresh_site: Path) -> None:
    """Held before a worker saw it: the worker here is one that has not begun."""
    profile(fresh_site, MAPPED, "own")
    async with running(fresh_site) as node, sender(node) as one:
        node.pipeline._slots = asyncio.Semaphore(0)
        await one.send(original("A1", "11"))
        async with asyncio.timeout(20):
            while not node.journal.last:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await operators.hold(node.site, node.journal, [1], "ada", "looks wrong")
        node.receipt.replies.wake()
        ack = await one.ack()
        assert (msa(ack)[1], err(ack)[5]) == ("AE", "held")


async def test_pipelined_messages_are_answered_in_their_order(fresh_site: Path) -> None:
    profile(fresh_site, MAPPED, "own")
    async with running(fresh_site) as node, sender(node) as one:
        await one.send(*(original(f"A{n}", str(10 + n)) for n in range(20)))
        assert [msa(await one.ack())[2] for _ in range(20)] == [f"A{n}" for n in range(20)]


@pytest.mark.parametrize(
    ("asked", "good", "bad"), [("AL", "AA", "AE"), ("ER", "", "AE"), ("SU", "AA", ""), ("NE", "", "")]
)
async def test_the_enhanced_mode_hears_twice_as_msh_16_asks(fresh_site: Path, asked: str, good: str, bad: str) -> None:
    profile(fresh_site, DURABLE, "own")
    async with running(fresh_site) as node, sender(node) as one:
        for control, who, expected in (("A1", "GOOD", good), ("A2", STRANGE, bad)):
            assert msa(await one.ask(enhanced(control, control[1] + "1", asked, sender=who)))[1:3] == ["CA", control]
            if expected:
                ack = await one.ack()
                assert msa(ack)[1:3] == [expected, control]
        await node.settled()
        assert msa(await one.ask(enhanced("A3", "99", "NE")))[1:3] == ["CA", "A3"], "nothing else came between"


async def test_a_batch_is_answered_once_all_its_messages_have_an_outcome(fresh_site: Path) -> None:
    profile(fresh_site, MAPPED, "own")
    data = b"BHS|^~\\&|GOOD|HOSP|X|Y|2026||||B7\r" + original("A1", "11") + original("A2", "12", sender=STRANGE)
    async with running(fresh_site) as node, sender(node) as one:
        answer = await one.ask(data + b"BTS|2\r")
        assert [line.split("|")[1] for line in answer.decode().split("\r") if line.startswith("MSA")] == ["AA", "AE"]


async def test_a_folder_is_answered_once_its_messages_have_taken_effect(fresh_site: Path, tmp_path: Path) -> None:
    profile(fresh_site, MAPPED, "own")
    incoming = tmp_path / "in"
    incoming.mkdir()
    file = fresh_site / "feeds" / "main.toml"
    file.write_text(
        f'feed = "main"\norg = "stadtklinik"\nprofile = "own"\n[listen]\nkind = "folder"\npath = "{incoming}"\n'
        "poll_s = 0.02\nstable_s = 0.01\n",
        "utf-8",
    )
    (incoming / "a.hl7").write_bytes(original("A1", "11") + original("A2", "12", sender=STRANGE))
    async with running(fresh_site):
        await until(lambda: (incoming / "failed" / "a.hl7").exists())
    acks = (incoming / "a.hl7.ack").read_bytes()
    assert (b"MSA|AA|A1\r" in acks, b"MSA|AE|A2|" in acks) == (True, True)


async def until(true: object, seconds: float = 20) -> None:
    """Return once it holds; another task's or process's doing."""
    async with asyncio.timeout(seconds):
        while not true():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0.01)


# At another address --------------------------------------------------------------------------------------------------


@dataclass
class OtherSide:
    """Where application answers arrive. `say`: what it answers to the next ones; the last goes for all that follow."""

    say: list[str] = field(default_factory=lambda: ["CA"])
    heard: list[bytes] = field(default_factory=list)
    port: int = field(default_factory=lambda: free_port(HOST))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._take, HOST, self.port)
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            message = (await reader.readuntil(END)).removeprefix(VT).removesuffix(END)
            self.heard.append(message)
            code = self.say.pop(0) if len(self.say) > 1 else self.say[0]
            control = message.split(b"|")[9]
            if code:
                writer.write(
                    frame(b"MSH|^~\\&|GOOD|HOSP|X|Y|2026||ACK|7|P|2.5.1\rMSA|" + code.encode() + b"|" + control + b"\r")
                )
                await writer.drain()
        writer.close()

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(msa(one)[1], msa(one)[2]) for one in self.heard]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rests of a few milliseconds."""
    monkeypatch.setattr(replies_module, "FIRST_S", 0.01)
    monkeypatch.setattr(replies_module, "POLL_S", 0.02)


def to(port: int, text: str = MAPPED) -> str:
    return text + f'reply_to = "mllp://{HOST}:{port}"\n'


async def test_the_answer_goes_to_its_address_and_asks_to_be_acknowledged(fresh_site: Path) -> None:
    other = OtherSide()
    profile(fresh_site, to(other.port), "own")
    async with other.listening(), running(fresh_site) as node, sender(node) as one:
        assert msa(await one.ask(enhanced("A1", "11")))[1] == "CA"
        await one.send(original("A2", "12", sender=STRANGE))
        await until(lambda: len(other.heard) == 2)
        told = dict(zip(other.said, other.heard, strict=True))
        assert told.keys() == {("AA", "A1"), ("AE", "A2")}, "in any order: their patients are others"
        header = told["AA", "A1"].split(b"\r")[0].split(b"|")
        assert (header[4], header[9], header[14:16]) == (b"GOOD", b"CM00000000000001", [b"AL", b"NE"])
        await until_ended(node, {1: "told", 2: "told"})


@pytest.mark.usefixtures("quick")
async def test_an_address_that_is_away_is_tried_until_it_is_back(fresh_site: Path) -> None:
    other = OtherSide()
    profile(fresh_site, to(other.port), "own")
    async with running(fresh_site) as node, sender(node) as one:
        await one.send(original("A1", "11"), original("A2", "12"))
        await until_ended(node, {1: "", 2: ""})
        await asyncio.sleep(0.1)
        assert await ended(node) == {1: "", 2: ""}, "not given up"
        async with other.listening():
            await until(lambda: {control for _, control in other.said} == {"A1", "A2"})
            await until_ended(node, {1: "told", 2: "told"})


async def until_ended(node: Node, expected: dict[int, str]) -> None:
    async with asyncio.timeout(20):
        while await ended(node) != expected:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("quick")
async def test_an_answer_that_is_not_acknowledged_goes_again_and_one_that_is_refused_does_not(fresh_site: Path) -> None:
    other = OtherSide(say=["", "CE", "CA", "CR"])
    profile(fresh_site, to(other.port), "own")
    async with other.listening(), running(fresh_site) as node, sender(node) as one:
        await one.send(original("A1", "11"))
        await until_ended(node, {1: "told"})
        assert other.said == [("AA", "A1")] * 3, "no answer, not now, taken"
        await one.send(original("A2", "12"))
        await until_ended(node, {1: "told", 2: "refused"})


@asynccontextmanager
async def served(site: Path, crash_at: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
    """`serve` in a process of its own, once it is ready or has ended."""
    log = site.parent / "serve.log"
    with log.open("wb") as told:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVE, str(site), stdout=told, stderr=told,
            env={**os.environ, "CHARTBRIDGE_CRASH_AT": crash_at},
        )  # fmt: skip
    try:
        await until(lambda: b"node.ready" in log.read_bytes() or process.returncode is not None, 60)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def on_port(site: Path) -> int:
    """Give the feed a port that is known before it listens."""
    port = free_port(HOST)
    file = site / "feeds" / "main.toml"
    file.write_text(file.read_text("utf-8").replace("port = 0", f"port = {port}"), "utf-8")
    return port


async def test_what_waits_for_its_address_outlives_a_kill(fresh_site: Path) -> None:
    other = OtherSide()
    profile(fresh_site, to(other.port), "own")
    async with running(fresh_site) as node, sender(node) as one:
        await one.send(original("A1", "11"))
        await until_ended(node, {1: ""})
    assert other.heard == []
    async with other.listening():
        async with served(fresh_site, "reply.sent") as killed:  # it has arrived, and nobody has noted that
            assert await killed.wait() == -signal.SIGKILL
        async with served(fresh_site):
            await until(lambda: len(other.heard) > 1)
    assert other.said == [("AA", "A1")] * 2
    assert other.heard[0].split(b"|")[9] == other.heard[1].split(b"|")[9], "the same control id: it can be told"


@pytest.mark.parametrize("point", ["commit.marked", "commit.done"])
async def test_an_outcome_and_the_answer_to_it_are_one_commit(fresh_site: Path, point: str) -> None:
    """Killed before it: neither is there, and both come. Killed after it: both are."""
    other, port = OtherSide(), on_port(fresh_site)
    profile(fresh_site, to(other.port), "own")
    async with served(fresh_site, point) as killed:
        sending = await Sender.open(port)
        await sending.send(original("A1", "11"))
        assert await killed.wait() == -signal.SIGKILL
        await sending.close()
    async with other.listening(), running(fresh_site) as node:
        await until_ended(node, {1: "told"})
        assert other.said == [("AA", "A1")]


async def test_a_kill_after_the_answer_was_heard_changes_nothing_for_its_sender(fresh_site: Path) -> None:
    port = on_port(fresh_site)
    profile(fresh_site, MAPPED, "own")
    async with served(fresh_site, "reply.told") as killed:
        sending = await Sender.open(port)
        await sending.send(original("A1", "11"))
        assert await killed.wait() == -signal.SIGKILL
        await sending.close()
    async with running(fresh_site) as node, sender(node) as one:
        assert msa(await one.ask(original("A1", "11")))[1] == "AA"
        assert [row.state for row in await node.journal.listing(9)] == ["duplicate", "new"]


async def test_a_sender_that_has_gone_is_not_told_and_hears_it_when_it_asks_again(fresh_site: Path) -> None:
    profile(fresh_site, MAPPED, "own")
    async with running(fresh_site) as node:
        intake = node.receipt.intakes["main"]
        intake.submit(intake.prepare(original("A1", "11")), lambda reply: False)  # as a connection says that is closed
        await until_ended(node, {1: "unheard"})
        async with sender(node) as again:
            assert msa(await again.ask(original("A1", "11")))[1] == "AA"
        assert [row.state for row in await node.journal.listing(9)] == ["duplicate", "new"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mllp://lis.lab.example:2576", Address("lis.lab.example", 2576)),
        ("lis.lab.example:2576", Address("lis.lab.example", 2576)),
        ("mllps://[::1]:2576/", Address("::1", 2576, tls=True)),
        ("http://lis.lab.example:80", None),
        ("lis.lab.example", None),
        ("mllp://lis:99999", None),
        ("mllp://[::1", None),
        ("mllp://a:1/path", None),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, expected: Address | None) -> None:
    if expected is not None:
        assert address(text) == expected
        return
    with pytest.raises(ConfigurationError, match="no address"):
        address(text)


# Over HTTP -----------------------------------------------------------------------------------------------------------


async def posted(node: Node, body: bytes) -> Answered:
    return await http.receive(http.Sender("main", may_send=True), http.MEDIA_TYPE, body, node.receipt.intakes)


async def test_a_request_is_answered_once_its_message_has_taken_effect(fresh_site: Path) -> None:
    profile(fresh_site, MAPPED, "own")
    async with running(fresh_site) as node:
        good, bad = await posted(node, original("A1", "11")), await posted(node, original("A2", "12", sender=STRANGE))
        assert (good.status, msa(good.body)[1]) == (200, "AA")
        assert (bad.status, msa(bad.body)[1]) == (503, "AE")


async def test_a_request_whose_answer_goes_elsewhere_is_taken_without_one(fresh_site: Path) -> None:
    other = OtherSide()
    profile(fresh_site, to(other.port), "own")
    async with other.listening(), running(fresh_site) as node:
        assert await posted(node, original("A1", "11")) == Answered(202, b"")
        first = await posted(node, enhanced("A2", "12"))
        assert (first.status, msa(first.body)[1]) == (200, "CA")
        await until(lambda: sorted(other.said) == [("AA", "A1"), ("AA", "A2")])
