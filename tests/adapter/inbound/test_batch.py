"""Batches: cut where messages begin, nothing lost between them, counts checked, answered in the form they came in.

HL7 v2.9 §2.10.3, §2.14; hl7v2 chapter §11.
"""

import contextlib
import sqlite3
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import closing
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.errors import ConfigurationError, TooLarge
from adapter.inbound import journal_table
from adapter.inbound.batch import MOST_PARTS, Batch, header_of, reply, split
from adapter.inbound.http import MEDIA_TYPE, Answered, Sender
from adapter.inbound.http import receive as posted
from adapter.inbound.journal_table import Part as Place
from adapter.inbound.journal_table import Row
from tests.adapter.inbound.site import PAIRING, Site, close_site, message
from tests.adapter.inbound.site import Sender as Mllp

FHS = b"FHS|^~\\&|LABSYS|LAB|CHARTBRIDGE|HOSP|20240501||nightly||F77\r"
BHS = b"BHS|^~\\&|LABSYS|LAB|CHARTBRIDGE|HOSP|20240501||||B77\r"
ONE, TWO, THREE = message("1"), message("2"), message("3")


def cut(data: bytes) -> Batch:
    found = split(data)
    assert found is not None
    return found


def bodies(data: bytes) -> list[bytes]:
    return [part.data for part in cut(data).parts]


def miscounted(data: bytes) -> list[bool]:
    return [part.miscounted for part in cut(data).parts]


@pytest.mark.parametrize(
    "data",
    [
        FHS + BHS + ONE + TWO + b"BTS|2\rFTS|1\r",
        BHS + ONE + TWO + b"BTS|2\r",
        FHS + ONE + TWO + b"FTS|1\r",
        ONE + TWO,
        b"\r\n" + ONE + b"\r\n" + TWO,
        b"\xef\xbb\xbf" + FHS + BHS + ONE + TWO + b"BTS|2\rFTS|1",
        (BHS + ONE + TWO + b"BTS|2\r").replace(b"BHS", b"bhs").replace(b"BTS", b"bts"),
    ],
)
def test_messages_are_cut_where_they_begin_and_come_out_as_they_came_in(data: bytes) -> None:
    assert bodies(data) == [ONE, TWO] or [body.rstrip() for body in bodies(data)] == [ONE.rstrip(), TWO.rstrip()]
    assert miscounted(data) == [False, False]


def test_line_ends_of_any_kind_end_an_envelope() -> None:
    for end in (b"\n", b"\r\n"):
        whole = (FHS + BHS + ONE + TWO + b"BTS|2\rFTS|1\r").replace(b"\r", end)
        assert bodies(whole) == [ONE.replace(b"\r", end), TWO.replace(b"\r", end)]


def test_a_dump_of_mllp_frames_is_messages_in_a_row() -> None:
    assert bodies(b"\x0b" + ONE + b"\x1c\r\x0b" + TWO + b"\x1c\r\n") == [ONE, TWO]


@pytest.mark.parametrize(
    "data",
    [ONE, b"", b"hello", b"PID|1\r", b"<ClinicalDocument/>", b"BTS|0\r", b"MSH", b"\x0b" + ONE, ONE + b"BTS|1\r"],
)
def test_what_is_no_batch_is_none(data: bytes) -> None:
    assert split(data) is None


def test_the_word_msh_in_a_text_begins_no_message() -> None:
    lines = ONE + b"NTE|1||MSH is a segment\rNTE|2||see\rMSHA is none, MSH neither\r"
    assert split(lines) is None
    assert bodies(lines + TWO) == [lines, TWO]


def test_envelopes_have_separators_of_their_own() -> None:
    other = TWO.replace(b"|", b"!").replace(b"MSH!^~\\&!", b"MSH!^~\\&!")
    assert bodies(BHS.replace(b"|", b"#") + ONE + other + b"BTS#2\r") == [ONE, other]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (BHS + ONE + TWO + b"BTS|3\r", [False, True]),
        (BHS + ONE + TWO + b"BTS|\r", [False, False]),
        (BHS + ONE + TWO + b"BTS\r", [False, False]),
        (BHS + ONE + TWO + b"BTS|two\r", [False, True]),
        (BHS + ONE + TWO + b"BTS|02^x|note\r", [False, True]),
        (BHS + ONE + TWO, [False, True]),
        (FHS + BHS + ONE + b"BTS|1\r" + BHS + TWO + b"BTS|1\rFTS|2\r", [False, False]),
        (FHS + BHS + ONE + b"BTS|1\r" + BHS + TWO + b"BTS|1\rFTS|1\r", [False, True]),
        (FHS + BHS + ONE + b"BTS|1\r" + BHS + TWO + b"BTS|1\r", [False, True]),
        (FHS + BHS + ONE + b"BTS|7\r" + BHS + TWO + b"BTS|1\rFTS|2\r", [True, False]),
        (ONE + TWO + b"BTS|9\r", [False, False]),
        (BHS + ONE + BHS + TWO + b"BTS|1\r", [True, False]),
    ],
)
def test_a_wrong_count_marks_the_last_message_it_is_about(data: bytes, expected: list[bool]) -> None:
    """An envelope that is not closed counts as wrong: something may be missing behind it."""
    assert bodies(data) == [ONE, TWO]
    assert miscounted(data) == expected


def test_lines_without_a_header_are_a_bad_message_and_cost_only_themselves() -> None:
    stray = b"PID|1||4711\r"
    assert bodies(BHS + stray + ONE + TWO + b"BTS|3\r") == [stray, ONE, TWO]
    assert bodies(stray + ONE + TWO) == [stray, ONE, TWO]


def test_an_empty_batch_is_one_without_messages() -> None:
    assert cut(FHS + BHS + b"BTS|0\rFTS|1\r").parts == ()


@pytest.mark.parametrize("codec", ["utf-16", "utf-32"])
def test_wide_characters_are_cut_as_characters(codec: str) -> None:
    whole = (BHS + ONE + TWO + b"BTS|2\r").decode("ascii").encode(codec)
    assert [body.decode(cut_codec(codec)).encode("ascii") for body in bodies(whole)] == [ONE, TWO]


def cut_codec(codec: str) -> str:
    """Parts have no byte order mark of their own; ours are little-endian."""
    return f"{codec}-le"


def test_more_messages_than_may_be_are_refused_before_any_work() -> None:
    assert len(bodies(b"MSH|^~\\&|\r" * 20)) == 20
    with pytest.raises(TooLarge, match="more than 3 messages"):
        split(b"MSH|^~\\&|\r" * 4, 3)
    with pytest.raises(TooLarge):
        split((BHS + b"x\r") * 9, 3)
    with pytest.raises(TooLarge):  # or another patient's segments would end in the first message
        split(b"MSH|^~\\&|\r" + b"BTS|x\r" * 20 + b"MSH|^~\\&|\rPID|||9\r", 3)


def test_no_more_is_remembered_of_too_many_messages_than_it_takes_to_see_that() -> None:
    data = b"MSH|^~\\&|\r" * 300_000
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            split(data)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(data) + 1000 * MOST_PARTS
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pump", [b"\x0b", b"\r\x0b", b"\x0b ", b"\x0b\x1c\r", b" ", b"\0\x0b", b"\x0bMSH", b"\rMSH|"])
def test_no_run_of_bytes_holds_up_the_others(pump: bytes) -> None:
    """What a sender repeats is looked at once: 256 KiB of it are cut on the loop that answers everybody."""
    data = ONE + b"MSH|^~\\&|" + pump * (256 * 1024 // len(pump))
    started = time.process_time()
    with contextlib.suppress(TooLarge):
        split(data)
    assert time.process_time() - started < 2


pieces = st.sampled_from(
    [FHS, BHS, ONE, TWO, b"BTS|1\r", b"FTS|1\r", b"PID|1\r", b"\x0b", b"\x1c\r", b"\xff\xfe", b"M"]
)


@given(st.lists(pieces, max_size=12).map(b"".join) | st.binary(max_size=200))
def test_any_bytes_are_cut_without_loss_of_a_message(data: bytes) -> None:
    batch = split(data)
    if batch is not None:
        joined = b"".join(part.data for part in batch.parts)
        assert joined.count(b"PID|1||4711") == data.count(b"PID|1||4711")
        assert reply(batch, [b"ACK\r"] * len(batch.parts), map(str, count()), "T").count(b"ACK") == len(batch.parts)


def test_the_answer_comes_back_in_the_envelopes_addressed_to_the_sender() -> None:
    batch = cut(FHS + BHS + ONE + TWO + b"BTS|2\rFTS|1\r")
    assert reply(batch, [b"ACK1\r", b"ACK2\r"], iter(["our1", "our2"]), "20240502") == (
        b"FHS|^~\\&|CHARTBRIDGE|HOSP|LABSYS|LAB|20240502||||our2|F77\r"
        b"BHS|^~\\&|CHARTBRIDGE|HOSP|LABSYS|LAB|20240502||||our1|B77\r"
        b"ACK1\rACK2\r"
        b"BTS|2\rFTS|1\r"
    )


def test_an_answer_nobody_wants_is_neither_sent_nor_counted() -> None:
    batch = cut(BHS + ONE + TWO + THREE + b"BTS|3\r")
    said = reply(batch, [b"ACK1\r", b"", b"ACK3\r"], iter(["our1"]), "20240502")
    assert said.endswith(b"\rACK1\rACK3\rBTS|2\r")


def test_messages_in_a_row_are_answered_in_a_row() -> None:
    assert reply(cut(ONE + TWO), [b"ACK1\r", b"ACK2\r"], iter(()), "20240502") == b"ACK1\rACK2\r"


def test_an_envelope_is_read_as_the_header_it_resembles() -> None:
    header = header_of(BHS)
    assert header is not None
    assert (header.field(3), header.field(11)) == ("LABSYS", "B77")


# A batch on its way ------------------------------------------------------------------------------------------------

BAD = message("bad", msh11="T")
MIXED = FHS + BHS + ONE + BAD + TWO + b"BTS|3\rFTS|1\r"


async def over_mllp(site: Site, data: bytes) -> bytes:
    listener = await site.listen()
    sender = await Mllp.open(listener.port)
    try:
        return await sender.ask(data)
    finally:
        await sender.close()


async def over_http(site: Site, data: bytes) -> Answered:
    return await posted(Sender("main", may_send=True), MEDIA_TYPE, data, {"main": site.intake()})


async def rows(site: Site) -> list[Row]:
    return (await site.journal.listing(100))[::-1]


def acks(answer: bytes) -> list[str]:
    return [line.split("|")[1] for line in answer.decode().split("\r") if line.startswith("MSA")]


async def test_each_message_of_a_batch_is_kept_alone_and_a_bad_one_costs_only_itself(site: Site) -> None:
    answer = await over_mllp(site, MIXED)
    kept = await rows(site)
    assert [(row.state, row.issues) for row in kept] == [("new", ()), ("rejected", ("processing-id",)), ("new", ())]
    assert [await site.journal.body(row) for row in kept] == [ONE, BAD, TWO]
    places = await site.journal.parts([row.seq for row in kept])
    assert [(places[row.seq].n, places[row.seq].total) for row in kept] == [(1, 3), (2, 3), (3, 3)]
    assert acks(answer) == ["AA", "AR", "AA"]


async def test_one_answer_holds_an_ack_a_message_under_the_received_control_ids(site: Site) -> None:
    lines = (await over_mllp(site, MIXED)).decode().split("\r")
    inner = ["MSH", "MSA", "MSH", "MSA", "ERR", "MSH", "MSA"]
    assert [line[:3] for line in lines if line] == ["FHS", "BHS", *inner, "BTS", "FTS"]
    assert (lines[0].split("|")[11], lines[1].split("|")[11]) == ("F77", "B77")
    assert [line for line in lines if line.startswith(("BTS", "FTS"))] == ["BTS|3", "FTS|1"]


async def test_a_batch_that_is_sent_again_hears_the_same_and_nothing_takes_effect_twice(site: Site) -> None:
    first = await over_mllp(site, BHS + ONE + TWO + b"BTS|2\r")
    again = await over_mllp(site, BHS + ONE + TWO + b"BTS|2\r")
    assert [line for line in first.split(b"\r") if b"ACK" in line] == [
        line for line in again.split(b"\r") if b"ACK" in line
    ]
    assert [row.state for row in await rows(site)] == ["new", "new", "duplicate", "duplicate"]


async def test_a_wrong_count_is_accepted_and_marked(site: Site) -> None:
    assert acks(await over_mllp(site, BHS + ONE + TWO + b"BTS|5\r")) == ["AA", "AA"]
    assert [row.issues for row in await rows(site)] == [(), ("batch-count",)]


async def test_a_batch_over_http_ends_with_the_status_of_its_worst_message(site: Site) -> None:
    good = await over_http(site, BHS + ONE + TWO + b"BTS|2\r")
    assert (good.status, acks(good.body)) == (200, ["AA", "AA"])
    mixed = await over_http(site, BHS + THREE + BAD + b"BTS|2\r")
    assert (mixed.status, acks(mixed.body)) == (400, ["AA", "AR"])


async def test_more_messages_in_a_frame_than_may_be_are_refused_together(site: Site) -> None:
    answer = await over_mllp(site, b"MSH|^~\\&|\r" * 10_001)
    assert b"|207^" in answer
    assert [(row.state, row.issues) for row in await rows(site)] == [("rejected", ("over-limit",))]


async def test_a_part_that_lies_in_its_place_is_not_kept_again(site: Site) -> None:
    """What a file's source is for: taken up again after a crash, every message finds itself, even without MSH-10."""
    intake = site.intake()
    batch = cut(BHS + message("") + BAD + TWO + b"BTS|3\r")
    for _ in range(2):
        for n, part in enumerate(batch.parts, 1):
            await site.journal.accept(intake.prepare_part(part, Place(b"file", n, 3)).incoming)
    assert [row.state for row in await rows(site)] == ["new", "rejected", "new"]
    assert (await site.journal.accept(intake.prepare_one(THREE).incoming)).seq == 4, "no number is left out"


async def test_a_journal_made_before_there_were_parts_is_refused_until_it_learns_of_them(
    site: Site, open_site: Callable[[], Awaitable[Site]]
) -> None:
    await over_http(site, ONE)
    await close_site(site)
    with closing(sqlite3.connect(site.folder / "journal.sqlite3")) as connection:
        connection.executescript("DROP TRIGGER message_part; DROP TABLE part;")
    with pytest.raises(ConfigurationError, match="journal is at migration 0001") as caught:
        journal_table.connect(site.folder / "journal.sqlite3", PAIRING)
    assert caught.value.hint == "chartbridge db upgrade"
    journal_table.upgrade(site.folder / "journal.sqlite3", PAIRING)
    again = await open_site()
    assert (await over_http(again, ONE + TWO)).status == 200
    assert [row.state for row in await rows(again)] == ["new", "duplicate", "new"]
    assert set(await again.journal.parts([1, 2, 3])) == {2, 3}


async def test_what_is_pruned_takes_its_place_with_it(site: Site) -> None:
    await over_http(site, ONE + TWO)
    with closing(sqlite3.connect(site.folder / "journal.sqlite3")) as connection:
        connection.execute("DELETE FROM message WHERE seq = 1")
        connection.commit()
        assert connection.execute("SELECT seq FROM part").fetchall() == [(2,)]
