"""The journal on its real file: durable, sealed, each message once. Source: hl7v2 chapter §11, operations §4."""

import asyncio
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapter.errors import IntegrityFault, NotFound, Unavailable
from adapter.inbound import journal as journals
from adapter.inbound import journal_table as table
from adapter.inbound.bodies import MessageKey
from adapter.inbound.intake import Intake, Reply
from adapter.inbound.journal import Accepted, Incoming, Journal, JournalReader
from tests.adapter.inbound.conftest import OpenSite
from tests.adapter.inbound.site import PAIRING, Site, close_site, message, msa

AT = datetime(2024, 5, 1, 8, 15, 30, tzinfo=UTC)


def incoming(data: bytes = b"MSH|x", **changes: object) -> Incoming:
    made = Incoming("main", AT, data, "new", "AA", "20240501081530+0000", lanes=(7,))
    return replace(made, **changes)  # type: ignore[arg-type]


async def take(intake: Intake, *messages: bytes) -> list[Reply]:
    """Submit all in one turn of the loop, as one group; the replies in their order."""
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[Reply]] = [loop.create_future() for _ in messages]
    for data, future in zip(messages, futures, strict=True):
        intake.submit(intake.prepare(data), future.set_result)
    return await asyncio.gather(*futures)


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
    other = sqlite3.connect(site.folder / "journal.sqlite3")
    seen: list[int] = []
    intake, done = site.intake(), asyncio.Event()

    def hear(reply: Reply) -> None:
        seen.append(other.execute("SELECT count(*) FROM message").fetchone()[0])
        if len(seen) == 20:
            done.set()

    for n in range(20):
        intake.submit(intake.prepare(message(str(n))), hear)
    await done.wait()
    other.close()
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


async def test_numbers_of_pruned_rows_are_never_given_again(open_site: OpenSite, tmp_path: Path) -> None:
    site = await open_site()
    await take(site.intake(), message("A1"), message("A2"))
    await close_site(site)
    with sqlite3.connect(tmp_path / "journal.sqlite3") as connection:
        connection.execute("DELETE FROM message")
    connection.close()
    site = await open_site()
    await take(site.intake(), message("A3"))
    assert [row.seq for row in await site.journal.listing(10)] == [3]


async def test_nothing_of_a_message_lies_in_clear(open_site: OpenSite, tmp_path: Path) -> None:
    site = await open_site()
    planted = [b"CTRL-5150", b"PATIENT-90210", b"Plantedname", b"PLANTEDAPP"]
    data = message("CTRL-5150", "PATIENT-90210", "^Plantedname", msh3="PLANTEDAPP")
    await take(
        site.intake(), data, data, message("CTRL-5150", "PATIENT-90210"), message("CTRL-5150", msh11="T"), b"x" + data
    )
    site.intake().keep_torn(data[:-9], lambda: None)
    await close_site(site)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}  # noqa: ASYNC240 - nothing else runs
    assert {"journal.sqlite3", "vault.sqlite3"} <= set(files)
    assert [(name, value) for name, held in files.items() for value in planted if value in held] == []


async def test_a_body_that_was_changed_or_moved_does_not_open(site: Site) -> None:
    await take(site.intake(), message("A1"), message("A2"))
    with sqlite3.connect(site.folder / "journal.sqlite3") as connection:
        connection.execute("UPDATE message SET body = (SELECT body FROM message WHERE seq = 2) WHERE seq = 1")
        connection.execute("UPDATE message SET feed = 'other' WHERE seq = 2")
    connection.close()
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


async def test_a_full_disk_means_ae_and_the_journal_recovers_alone(site: Site) -> None:
    intake = site.intake()
    await take(intake, message("A1"))
    connection = site.journal._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    big = [message(str(n), note="x" * 5000) for n in range(5)]
    replies = [*await take(intake, *big), *await take(intake, big[0])]
    assert [reply.code for reply in replies] == ["AE"] * 6
    assert [msa(reply.message)[2] for reply in replies] == ["0", "1", "2", "3", "4", "0"]
    connection.execute("PRAGMA max_page_count = 1000000")
    assert [reply.code for reply in await take(intake, *big)] == ["AA"] * 5
    assert [row.seq for row in await site.journal.read(0, 10)] == [1, 2, 3, 4, 5, 6]


async def test_accept_says_unavailable_when_the_disk_is_full(site: Site) -> None:
    site.journal._connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(Unavailable):
        await site.journal.accept(incoming(b"x" * 20_000))


async def test_a_failed_fsync_ends_all_acceptance(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can know what the disk holds after one: asking again would hide it."""
    said: list[str] = []
    monkeypatch.setattr(site.journal, "_lost", said.append)

    def fail(connection: sqlite3.Connection, values: tuple[object, ...]) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise error

    monkeypatch.setattr(table, "insert", fail)
    [reply] = await take(site.intake(), message("A1"))
    monkeypatch.undo()
    [after] = await take(site.intake(), message("A2"))
    assert (reply.code, after.code) == ("AE", "AE")
    assert said == ["the journal cannot be used now (SQLITE_IOERR_FSYNC)"]


@pytest.mark.parametrize("count", [1, 3])
async def test_a_fault_of_ours_is_ae_and_the_journal_goes_on(
    site: Site, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))

    def fail(connection: sqlite3.Connection, values: tuple[object, ...]) -> None:
        raise KeyError("a fault")

    monkeypatch.setattr(table, "insert", fail)
    replies = await take(site.intake(), *[message(str(n)) for n in range(count)])
    monkeypatch.undo()
    assert [reply.code for reply in replies] == ["AE"] * count
    assert [reply.code for reply in await take(site.intake(), *[message(str(n)) for n in range(3)])] == ["AA"] * 3
    assert [type(one["exception"]) for one in faults] == [KeyError]


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


class Keys:
    """A key ring whose vault goes away."""

    def __init__(self, site: Site) -> None:
        self._ring = site.keyring
        self.org = site.keyring.org
        self.away = False
        self.batches: list[int] = []

    async def new_message_keys(self, count: int) -> Sequence[MessageKey]:
        if self.away:
            raise Unavailable("the vault is away")
        self.batches.append(count)
        return await self._ring.new_message_keys(count)

    async def message_keys(self, key_ids: Iterable[bytes]) -> Mapping[bytes, bytes]:
        return await self._ring.message_keys(key_ids)


async def test_keys_are_made_ahead_and_a_lost_vault_is_met_with_ae(site: Site) -> None:
    keys = Keys(site)
    await site.journal.close()
    site.journal = Journal(site.folder / "journal.sqlite3", PAIRING, keys)
    await site.journal.start()
    intake = site.intake()
    keys.away = True
    stock = len(site.journal._stock)
    replies = await take(intake, *[message(str(n)) for n in range(stock + 10)])
    assert [reply.code for reply in replies] == ["AA"] * stock + ["AE"] * 10
    keys.away = False
    for _ in range(200):
        [reply] = await take(intake, message("later"))
        if reply.code == "AA":
            break
        await asyncio.sleep(0.01)
    assert reply.code == "AA"
    assert keys.batches[-1] > keys.batches[0]


async def test_a_burst_larger_than_the_stock_waits_for_keys_and_loses_nothing(site: Site) -> None:
    replies = await take(site.intake(), *[message(str(n)) for n in range(1500)])
    assert {reply.code for reply in replies} == {"AA"}
    assert [row.seq for row in await site.journal.read(0, 2000)] == list(range(1, 1501))


async def test_a_large_message_passes_between_small_ones_in_order(site: Site) -> None:
    large = message("2", note="x" * (journals.LARGE_BYTES + 1))
    await take(site.intake(), message("1"), large, message("3"))
    rows = await site.journal.read(0, 10)
    assert [await site.journal.body(row) for row in rows] == [message("1"), large, message("3")]


async def test_a_slow_disk_moves_lone_messages_to_the_thread_and_back(site: Site) -> None:
    site.journal._commit_s = 1.0
    for n in range(60):
        await take(site.intake(), message(str(n)))
    assert site.journal._commit_s < 0.5
    assert len(await site.journal.read(0, 100)) == 60


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


async def test_another_process_reads_while_one_writes(site: Site) -> None:
    reader = JournalReader(site.folder / "journal.sqlite3", PAIRING, site.keyring)
    await take(site.intake(), message("A1"), message("A2"))
    rows = await reader.listing(10, feed="main")
    assert [row.seq for row in rows] == [2, 1]
    assert [row.seq for row in await reader.listing(10, before_seq=2)] == [1]
    assert await reader.listing(10, feed="none") == []
    assert await reader.body(rows[1]) == message("A1")
    with pytest.raises(NotFound):
        await reader.row(99)
    await reader.close()


@pytest.mark.parametrize("damage", ["missing", "empty", "foreign", "garbage", "other-kind"])
def test_the_wrong_file_is_refused_and_left_alone(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "journal.sqlite3"
    if damage == "garbage":
        path.write_bytes(b"not a database at all" * 100)
    elif damage == "empty":
        path.touch()
    elif damage == "foreign":
        table.create(path, "ff" * 16)
    elif damage == "other-kind":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE patient(id)")
        connection.close()
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(IntegrityFault) as caught:
        table.connect(path, PAIRING)
    assert str(tmp_path) not in caught.value.text
    assert caught.value.hint
    if before is not None and damage != "other-kind":
        assert path.read_bytes() == before


def test_a_journal_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    table.create(path, PAIRING)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(IntegrityFault, match="exists"):
        table.create(path, PAIRING)
