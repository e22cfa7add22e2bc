"""The journal in a database: several listeners at once, a server that goes away, the order that readers rely on.

What every journal holds is in `test_journal.py`. Source: operations chapter §4 (journal), §10, faults F5, F7.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from adapter import journals
from adapter.errors import ConfigurationError, IntegrityFault, Unavailable
from adapter.inbound import journal_postgres
from adapter.inbound.journal import CHANNEL
from adapter.inbound.journal_postgres import PostgresJournal
from adapter.store.engine import DataStore, Hot, Server
from adapter.store.postgres import SETTINGS, PostgresDatabase
from tests import databases
from tests.adapter.inbound import site as sites
from tests.adapter.inbound.site import PAIRING, Site, close_site, incoming, message, take

pytestmark = pytest.mark.postgres

# a trigger that does something when a transaction with messages commits, and not before
AT_COMMIT = """
CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what}; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON message DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION at_commit();
"""
NOT_ANY_MORE = "DROP TRIGGER at_commit ON message; DROP FUNCTION at_commit();"


def said(place: Server, sql: str) -> None:
    def work(conn: Connection) -> None:
        Hot(conn).run(sql)

    PostgresDatabase(place).change(work)


@pytest.fixture
async def site(journal_database: Server, tmp_path: Path) -> AsyncIterator[Site]:
    await sites.create_site(tmp_path)
    opened = await sites.open_site(tmp_path, journal_database)
    yield opened
    await close_site(opened)


@pytest.fixture
async def second(site: Site, journal_database: Server) -> AsyncIterator[PostgresJournal]:
    """Another listener's journal, as another process has it."""
    store = DataStore.open(journal_database, PAIRING)
    journal = await PostgresJournal.open(journal_database, PAIRING, store, site.keyring)
    await journal.start()
    yield journal
    await journal.close()
    store.close()


async def test_a_reader_that_has_read_up_to_a_number_never_has_to_look_back(
    site: Site, second: PostgresJournal, journal_database: Server
) -> None:
    """Two listeners whose commits take their time, each another one: what was drawn first could be seen last."""
    said(journal_database, AT_COMMIT.format(what="PERFORM pg_sleep(0.02 * random())"))
    try:
        read: list[int] = []
        done = False

        async def follow() -> None:
            mark = 0
            while not done or await site.journal.read(mark, 1):
                rows = await site.journal.read(mark, 10)
                read.extend(row.seq for row in rows)
                mark = read[-1] if read else 0

        async def send(journal: PostgresJournal, name: str) -> None:
            for n in range(25):
                await journal.accept(incoming(f"{name}{n}".encode()))

        following = asyncio.create_task(follow())
        assert isinstance(site.journal, PostgresJournal)
        await asyncio.gather(send(site.journal, "a"), send(second, "b"))
        done = True
        await following
        assert read == list(range(1, 51))
    finally:
        said(journal_database, NOT_ANY_MORE)


async def test_nobody_is_answered_before_the_commit(site: Site, journal_database: Server) -> None:
    """The commit itself fails, after every statement went through."""
    said(journal_database, AT_COMMIT.format(what="RAISE EXCEPTION 'no' USING ERRCODE = '53100'"))
    replies = await take(site.intake(), message("A1"), message("A2"))
    assert [reply.code for reply in replies] == ["AE", "AE"]
    said(journal_database, NOT_ANY_MORE)
    assert site.sql("SELECT count(*) FROM message") == [(0,)]
    assert [reply.code for reply in await take(site.intake(), message("A1"), message("A2"))] == ["AA", "AA"]


async def test_one_message_sent_to_two_listeners_at_once_is_kept_once(site: Site, second: PostgresJournal) -> None:
    intake = site.intake()
    for n in range(30):
        prepared = intake.prepare_one(message(f"C{n}"))
        one, two = await asyncio.gather(site.journal.accept(prepared.incoming), second.accept(prepared.incoming))
        assert sorted([one.state, two.state]) == ["duplicate", "new"]
        assert one.ack == two.ack
        assert {one.first, two.first} == {None, min(one.seq, two.seq)}
    assert await site.journal.counts() == {("main", "new"): 30, ("main", "duplicate"): 30}


async def test_a_listener_that_hangs_in_a_commit_keeps_the_others_waiting_no_longer_than_a_sender_waits(
    site: Site, second: PostgresJournal, journal_database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F7: whoever cannot have the head's lock in time says AE, and goes on when it is free."""
    monkeypatch.setitem(SETTINGS, "lock_timeout", "300ms")
    engine = DataStore.open(journal_database, PAIRING)
    held, loop = asyncio.Event(), asyncio.get_running_loop()

    def hold(conn: Connection) -> None:
        Hot(conn).one("SELECT seq FROM journal_head FOR UPDATE")
        loop.call_soon_threadsafe(held.set)
        Hot(conn).one("SELECT pg_sleep(1)")

    holding = asyncio.create_task(engine.write(hold))
    await held.wait()
    with pytest.raises(Unavailable):
        await second.accept(incoming(b"late"))
    await holding
    assert (await second.accept(incoming(b"late"))).seq == 1
    engine.close()


async def test_other_processes_hear_that_something_came(site: Site, journal_database: Server) -> None:
    store = DataStore.open(journal_database, PAIRING)
    loop, heard = asyncio.get_running_loop(), asyncio.Event()

    def hear() -> None:
        loop.call_soon_threadsafe(heard.set)

    stop = store.listen(CHANNEL, hear)
    await asyncio.wait_for(heard.wait(), 10)  # it listens
    heard.clear()
    await take(site.intake(), message("A1"))
    await asyncio.wait_for(heard.wait(), 10)
    stop()
    store.close()


async def test_nothing_of_a_message_lies_in_clear(site: Site) -> None:
    planted = [b"CTRL-5150", b"PATIENT-90210", b"Plantedname", b"PLANTEDAPP"]
    data = message("CTRL-5150", "PATIENT-90210", "^Plantedname", msh3="PLANTEDAPP")
    await take(site.intake(), data, data, message("CTRL-5150", msh11="T"), b"x" + data)
    rows = "".join(text for (text,) in site.sql("SELECT message::text FROM message"))
    assert len(site.sql("SELECT seq FROM message")) == 4
    assert [one for one in planted if one.decode() in rows or one.hex() in rows] == []


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[databases.PostgresServer, Server]]:
    """A server that a test may stop, with a journal on it."""
    with databases.running("fsync=on", "full_page_writes=on") as started:
        started.sql("CREATE DATABASE site")
        place = Server(started.url("site"))
        DataStore.create(place, PAIRING)
        journal_postgres.create(place)
        yield started, place


async def test_a_server_that_is_away_means_ae_and_what_was_acknowledged_is_there_when_it_is_back(
    own: tuple[databases.PostgresServer, Server], tmp_path: Path
) -> None:
    """F5: the server crashes under load."""
    server, place = own
    await sites.create_site(tmp_path)
    site = await sites.open_site(tmp_path, place)
    kept: list[bytes] = []
    many = asyncio.Event()

    async def send(name: str) -> None:
        for n in range(10_000):
            data = f"{name}{n}".encode()
            try:
                await site.journal.accept(incoming(data))
            except Unavailable:
                return
            kept.append(data)
            if len(kept) == 100:
                many.set()

    sending = [asyncio.create_task(send(name)) for name in "abcd"]
    await many.wait()
    await asyncio.to_thread(server.stop)
    await asyncio.gather(*sending)
    with pytest.raises(Unavailable):
        await site.journal.accept(incoming(b"away"))
    await asyncio.to_thread(server.start)
    assert (await site.journal.accept(incoming(b"back"))).state == "new"
    there = set((await site.journal.bodies(await site.journal.read(0, 100_000))).values())
    assert set(kept) <= there
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()", "site")
    await asyncio.sleep(0.1)
    assert (await site.journal.accept(incoming(b"again"))).state == "new"
    await close_site(site)


def test_a_journal_is_made_once_and_belongs_to_its_site(
    journal_database: Server, server: databases.PostgresServer
) -> None:
    with pytest.raises(ConfigurationError, match="already"):
        journals.create(journal_database, PAIRING)
    assert journals.revision(journal_database, PAIRING) == journal_postgres.REVISION
    with pytest.raises(IntegrityFault, match="another site"):
        journals.newest(journal_database, "ff" * 16)
    server.sql("CREATE DATABASE bare")
    with pytest.raises(IntegrityFault, match="holds no journal"):
        journals.revision(Server(server.url("bare")), PAIRING)
