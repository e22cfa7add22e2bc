"""The journal as a file: its disk, its thread, whose it is. What every journal holds is in `test_journal.py`.

Source: operations chapter §4.
"""

import asyncio
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from adapter.errors import IntegrityFault, NotFound, Unavailable
from adapter.inbound import journal_table as table
from adapter.inbound.bodies import MessageKey
from adapter.inbound.journal import JournalReader
from adapter.inbound.journal_file import FileJournal, FileSource
from tests.adapter.inbound.conftest import OpenSite
from tests.adapter.inbound.site import PAIRING, Site, close_site, incoming, message, msa, take


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


async def test_a_full_disk_means_ae_and_the_journal_recovers_alone(site: Site) -> None:
    intake = site.intake()
    await take(intake, message("A1"))
    connection = site.file._connection
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
    site.file._connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(Unavailable):
        await site.journal.accept(incoming(b"x" * 20_000))


async def test_a_failed_fsync_ends_all_acceptance(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can know what the disk holds after one: asking again would hide it."""
    said: list[str] = []
    monkeypatch.setattr(site.journal, "_lost", said.append)

    def fail(connection: sqlite3.Connection, values: tuple[object, ...], unheard: bytes | None) -> None:
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

    def fail(connection: sqlite3.Connection, values: tuple[object, ...], unheard: bytes | None) -> None:
        raise KeyError("a fault")

    monkeypatch.setattr(table, "insert", fail)
    replies = await take(site.intake(), *[message(str(n)) for n in range(count)])
    monkeypatch.undo()
    assert [reply.code for reply in replies] == ["AE"] * count
    assert [reply.code for reply in await take(site.intake(), *[message(str(n)) for n in range(3)])] == ["AA"] * 3
    assert [type(one["exception"]) for one in faults] == [KeyError]


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
    site.journal = FileJournal(site.folder / "journal.sqlite3", PAIRING, keys)
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


async def test_a_slow_disk_moves_lone_messages_to_the_thread_and_back(site: Site) -> None:
    site.file._commit_s = 1.0
    for n in range(60):
        await take(site.intake(), message(str(n)))
    assert site.file._commit_s < 0.5
    assert len(await site.journal.read(0, 100)) == 60


async def test_another_process_reads_while_one_writes(site: Site) -> None:
    reader = JournalReader(FileSource(site.folder / "journal.sqlite3", PAIRING), site.keyring)
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
