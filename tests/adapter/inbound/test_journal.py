"""The journal, on a real file and on a real server: durable, sealed, each message once, in one order.

What holds of the file alone is in `test_journal_file.py`, of the database alone in `test_journal_postgres.py`.
Source: hl7v2 chapter §11, operations §4.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapter.errors import IntegrityFault, NotFound
from adapter.inbound import journal as journals
from adapter.inbound import journal_table as table
from adapter.inbound.intake import Reply
from adapter.inbound.journal import Accepted
from adapter.inbound.journal_table import Part
from tests.adapter.inbound import site as sites
from tests.adapter.inbound.conftest import OpenSite
from tests.adapter.inbound.site import AT, Site, close_site, incoming, message, msa, take


@pytest.fixture(params=["file", pytest.param("database", marks=pytest.mark.postgres)])
async def open_site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenSite]:
    """As `conftest.py`'s, once with the journal in each place: what holds in one holds in the other."""
    await sites.create_site(tmp_path)
    place = request.getfixturevalue("journal_database") if request.param == "database" else None
    opened: list[Site] = []

    async def open_one() -> Site:
        opened.append(await sites.open_site(tmp_path, place))
        return opened[-1]

    yield open_one
    for site in opened:
        await close_site(site)


async def test_what_is_accepted_can_be_read_back(site: Site) -> None:
    data = message()
    accepted = await site.journal.accept(
        incoming(data, patients=(b"p" * 16, b"q" * 16), lanes=(3, 9), issues=("control-id-missing",))
    )
    assert accepted == Accepted(1, "new", None, "AA CB00000000000001 20240501081530+0000", ("control-id-missing",))
    [row] = await site.journal.read(0, 10)
    assert (row.seq, row.org, row.feed, row.at, row.state) == (1, "stadtklinik", "main", AT, "new")
    assert (row.patients, row.lanes, row.issues) == ((b"p" * 16, b"q" * 16), (3, 9), ("control-id-missing",))
    assert await site.journal.body(row) == data
    assert await site.journal.row(1) == row


async def test_a_group_keeps_its_order_and_is_told_in_order(site: Site) -> None:
    told: list[int] = []
    done = asyncio.Event()

    def hear(accepted: Accepted | None) -> None:
        assert accepted is not None
        told.append(accepted.seq)
        if len(told) == 100:
            done.set()

    for n in range(100):
        site.journal.submit(incoming(b"%d" % n), hear)
    await done.wait()
    assert told == list(range(1, 101))
    rows = await site.journal.read(0, 1000)
    bodies = await site.journal.bodies(rows)
    assert [bodies[row.seq] for row in rows] == [b"%d" % n for n in range(100)]
    assert len({row.key_id for row in rows}) == 100


@pytest.mark.parametrize("together", [True, False])
async def test_a_message_sent_twice_is_kept_once_and_hears_the_same(site: Site, together: bool) -> None:
    """In one group commit as well as later; MSH-7 may differ, for a sender stamps each attempt."""
    intake = site.intake()
    first, again = message("A7", msh7="20240501"), message("A7", msh7="20240502")
    replies = await take(intake, first, again) if together else [*await take(intake, first), *await take(intake, again)]
    assert replies[0] == replies[1]
    assert [row.state for row in await site.journal.listing(10)] == ["duplicate", "new"]
    assert [row.first for row in await site.journal.listing(10)] == [1, None]
    assert len(await site.journal.read(0, 10)) == 1
    with pytest.raises(NotFound):
        await site.journal.body(await site.journal.row(2))


async def test_a_duplicate_is_answered_from_its_own_header(site: Site) -> None:
    first, again = message("A7"), message("A7", msh7="20250101", msh3="LABSYS")
    [one] = await take(site.intake(), first)
    site.clock.now += timedelta(days=3)
    [two] = await take(site.intake(), again)
    assert msa(one.message) == msa(two.message) == ["MSA", "AA", "A7"]
    assert one.message == two.message


@pytest.mark.parametrize("together", [True, False])
async def test_a_control_id_used_again_for_other_content_is_kept_and_marked(site: Site, together: bool) -> None:
    intake = site.intake()
    one, two = message("A7", patient="1"), message("A7", patient="2")
    replies = await take(intake, one, two) if together else [*await take(intake, one), *await take(intake, two)]
    assert [reply.code for reply in replies] == ["AA", "AA"]
    assert [row.issues for row in await site.journal.read(0, 10)] == [(), ("control-id-reused",)]


async def test_a_sender_that_never_counts_is_still_checked_for_duplicates(site: Site) -> None:
    """More rows under one control id than a look-up reads: equal content is found all the same."""
    intake = site.intake()
    many = [message("1", patient=str(n)) for n in range(3 * table.REUSED_ROWS)]
    await take(intake, *many)
    await take(intake, *many)
    assert await site.journal.counts() == {("main", "new"): len(many), ("main", "duplicate"): len(many)}


async def test_duplicates_are_forgotten_after_thirty_days(site: Site) -> None:
    intake = site.intake()
    await take(intake, message("A7"))
    site.clock.now += timedelta(days=29, hours=23)
    await take(intake, message("A7"))
    site.clock.now += timedelta(hours=2)
    await take(intake, message("A7"))
    await take(intake, message("A7"))
    assert [row.state for row in reversed(await site.journal.listing(10))] == ["new", "duplicate", "new", "duplicate"]
    assert [row.issues for row in await site.journal.read(0, 10)] == [(), ()]


async def test_what_was_refused_is_tried_anew(site: Site) -> None:
    intake = site.intake()
    [refused] = await take(intake, message("A7", msh11="T"))
    [again] = await take(intake, message("A7", msh11="T"))
    assert (refused.code, again.code) == ("AR", "AR")
    assert await site.journal.counts() == {("main", "rejected"): 2}
    kept = await site.journal.read(0, 10, "rejected")
    assert [row.issues for row in kept] == [("processing-id",), ("processing-id",)]
    assert await site.journal.body(kept[0]) == message("A7", msh11="T")


async def test_without_a_control_id_every_message_counts(site: Site) -> None:
    replies = await take(site.intake(), message(""), message(""))
    assert [msa(reply.message) for reply in replies] == [["MSA", "AA", ""]] * 2
    assert [row.issues for row in await site.journal.read(0, 10)] == [("control-id-missing",)] * 2


async def test_two_feeds_do_not_share_control_ids(site: Site) -> None:
    await take(site.intake(site.feed("one")), message("A7"))
    await take(site.intake(site.feed("two")), message("A7"))
    assert len(await site.journal.read(0, 10)) == 2


async def test_acknowledged_is_durable(site: Site) -> None:
    """When a sender hears AA, another connection reads the committed row."""
    seen: list[int] = []
    intake, done = site.intake(), asyncio.Event()

    def hear(reply: Reply) -> None:
        seen.append(site.sql("SELECT count(*) FROM message")[0][0])
        if len(seen) == 20:
            done.set()

    for n in range(20):
        intake.submit(intake.prepare(message(str(n))), hear)
    await done.wait()
    assert seen == [20] * 20


async def test_a_restart_finds_everything_and_goes_on_counting(open_site: OpenSite) -> None:
    site = await open_site()
    await take(site.intake(), message("A1"), message("A2"))
    await close_site(site)
    site = await open_site()
    [again, new] = await take(site.intake(), message("A1"), message("A3"))
    assert (again.code, new.code) == ("AA", "AA")
    rows = await site.journal.listing(10)
    assert [(row.seq, row.state, row.first) for row in rows] == [
        (4, "new", None), (3, "duplicate", 1), (2, "new", None), (1, "new", None),
    ]  # fmt: skip
    assert len(await site.journal.bodies(rows)) == 3


async def test_numbers_of_pruned_rows_are_never_given_again(open_site: OpenSite) -> None:
    site = await open_site()
    await take(site.intake(), message("A1"), message("A2"))
    await close_site(site)
    site.sql("DELETE FROM message")
    site = await open_site()
    await take(site.intake(), message("A3"))
    assert [row.seq for row in await site.journal.listing(10)] == [3]


async def test_a_body_that_was_changed_or_moved_does_not_open(site: Site) -> None:
    await take(site.intake(), message("A1"), message("A2"))
    site.sql(
        "UPDATE message SET body = (SELECT body FROM message WHERE seq = 2) WHERE seq = 1",
        "UPDATE message SET feed = 'other' WHERE seq = 2",
    )
    for seq in (1, 2):
        with pytest.raises(IntegrityFault, match="does not open"):
            await site.journal.body(await site.journal.row(seq))


async def test_destroying_the_key_closes_the_body(site: Site) -> None:
    await take(site.intake(), message("A1"), message("A2"))
    first = await site.journal.row(1)
    assert first.key_id is not None
    await site.vault.drop_message_keys([first.key_id])
    with pytest.raises(NotFound, match="not kept"):
        await site.journal.body(first)
    assert await site.journal.body(await site.journal.row(2)) == message("A2")


async def test_an_answer_that_cannot_be_made_keeps_no_other_from_being_heard(site: Site) -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
    told: list[int] = []

    def hear(accepted: Accepted | None) -> None:
        assert accepted is not None
        told.append(accepted.seq)
        if accepted.seq == 2:
            raise KeyError("a fault")

    for n in range(3):
        site.journal.submit(incoming(b"%d" % n), hear)
    await site.journal.accept(incoming(b"3"))
    assert told == [1, 2, 3]
    assert [type(one["exception"]) for one in faults] == [KeyError]
    async with asyncio.timeout(5):
        await site.journal._idle.wait()


async def test_a_burst_larger_than_the_stock_waits_for_keys_and_loses_nothing(site: Site) -> None:
    replies = await take(site.intake(), *[message(str(n)) for n in range(1500)])
    assert {reply.code for reply in replies} == {"AA"}
    assert [row.seq for row in await site.journal.read(0, 2000)] == list(range(1, 1501))


async def test_a_large_message_passes_between_small_ones_in_order(site: Site) -> None:
    large = message("2", note="x" * (journals.LARGE_BYTES + 1))
    await take(site.intake(), message("1"), large, message("3"))
    rows = await site.journal.read(0, 10)
    assert [await site.journal.body(row) for row in rows] == [message("1"), large, message("3")]


async def test_waiting_ends_with_the_next_row(site: Site) -> None:
    waiting = asyncio.create_task(site.journal.wait(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    await take(site.intake(), message())
    await asyncio.wait_for(waiting, 5)
    await asyncio.wait_for(site.journal.wait(0), 5)


async def test_closing_answers_what_is_queued_and_takes_nothing_more(open_site: OpenSite) -> None:
    site = await open_site()
    intake = site.intake()
    queued = asyncio.create_task(take(intake, *[message(str(n)) for n in range(50)]))
    await asyncio.sleep(0)
    await site.journal.close()
    assert {reply.code for reply in await queued} == {"AA"}
    assert [reply.code for reply in await take(intake, message("late"))] == ["AE"]


async def test_a_part_that_lies_in_its_place_is_told_as_it_was_kept(site: Site) -> None:
    """A folder takes a file up again after a crash: the message has no number of its own to tell it by."""
    place = Part(b"s" * 16, 1, 2)
    first = await site.journal.accept(incoming(b"one", part=place))
    other = await site.journal.accept(incoming(b"two", part=Part(b"s" * 16, 2, 2)))
    assert await site.journal.accept(incoming(b"one", part=place)) == first
    assert (first.seq, other.seq) == (1, 2)
    assert await site.journal.parts([1, 2, 3]) == {1: place, 2: Part(b"s" * 16, 2, 2)}
    assert site.sql("SELECT count(*) FROM message") == [(2,)]
