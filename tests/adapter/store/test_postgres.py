"""What only a server can do to a store: several writers at once, being away, being slow, coming back (faults F5 to F7).

That a store does on it what it does on a file is the other tests' matter: they run on both.
Source: fhir chapter §5, §8; operations chapter §4 (lanes), §10; architecture §4.
"""

import asyncio
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert

from adapter.errors import ConfigurationError, Conflict, IntegrityFault, Unavailable
from adapter.seal.blind import name_of, token_of
from adapter.store import engine, locks, messages, outbox, postgres, sessions
from adapter.store.engine import DataStore, Hot, Server, savepoint
from adapter.store.migrating import upgrade
from adapter.store.statements import Again
from adapter.store.tables import LOCATOR_OWNER, NUMBERS, meta, metadata
from adapter.store.unit import Replace, Unit
from adapter.store.writing import commit_unit
from mappings.fhir.search import Query
from mappings.fhir.search_query import parse
from tests import databases
from tests.adapter.store.conftest import AT, MRN, ORG, PAIRING, Site, observation, patient, put, told

pytestmark = pytest.mark.postgres

WAIT_S = 20.0


def asked(criteria: str) -> Query:
    """What a client writes behind `Patient?`."""
    return parse("Patient", [tuple(pair.split("=", 1)) for pair in criteria.split("&")])  # type: ignore[misc]


@pytest.fixture(params=["postgres"])
def place(emptied: Server) -> Server:
    return emptied


@pytest.fixture
def store(emptied: Server) -> Iterator[DataStore]:
    opened = DataStore.open(emptied, PAIRING)
    yield opened
    opened.close()


@pytest.fixture
def nowhere(server: databases.PostgresServer) -> Iterator[Server]:
    """An empty database."""
    server.sql("CREATE DATABASE empty")
    yield Server(server.url("empty"))
    server.sql("DROP DATABASE empty WITH (FORCE)")


@pytest.fixture
def own() -> Iterator[databases.PostgresServer]:
    """A server that a test may kill: as durable as one in use."""
    with databases.running("fsync=on", "full_page_writes=on") as started:
        started.sql("CREATE DATABASE store")
        yield started


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.01)


# --- where pages are cut ---------------------------------------------------------------------------------------------


async def test_who_is_slow_to_commit_is_on_no_side_of_a_cut_twice(site: Site) -> None:
    """A page that is cut while a unit with a lower number is under way does not hold it, and the next pages do not."""
    await site.commit(put(patient("ana", "7")))
    wrote, seen = threading.Event(), threading.Event()

    def slow(conn: Connection) -> None:
        unit = Unit("resource.written", "clinic", AT, (put(observation("slow")),))
        commit_unit(conn, unit, site.keyring)
        wrote.set()
        seen.wait(WAIT_S)

    other = DataStore.open(site.place, PAIRING)  # another process's: a unit that waits holds up the loop of its engine
    with ThreadPoolExecutor(1) as pool, closing(other):
        writing = pool.submit(other.write_now, slow)
        assert await asyncio.to_thread(wrote.wait, WAIT_S)
        await site.commit(told(patient("ben", "8")))  # a higher number, and ended first
        cut = await site.read(lambda conn: Hot(conn).settled())
        own = await site.write(lambda conn: Hot(conn).settled())
        seen.set()
        await asyncio.to_thread(writing.result, WAIT_S)
    ((late,),) = await site.rows("SELECT v.txn FROM version v JOIN resource r USING (rid) WHERE type = 'Observation'")
    ((ben,),) = await site.rows("SELECT max(v.txn) FROM version v JOIN resource r USING (rid) WHERE type = 'Patient'")
    assert own == cut < late < ben <= await site.read(lambda conn: Hot(conn).settled())


async def test_nothing_is_settled_before_anything_was_drawn(site: Site) -> None:
    assert await site.read(lambda conn: Hot(conn).settled()) == 0


# --- made, opened, refused -------------------------------------------------------------------------------------------


def test_the_migrations_make_the_tables_of_the_page(store: DataStore) -> None:
    differences = store.read_now(lambda conn: compare_metadata(MigrationContext.configure(conn), metadata))
    every = store.read_now(lambda conn: Hot(conn).all("SELECT indexname FROM pg_indexes"))
    assert differences == []
    assert {index.name for table in metadata.tables.values() for index in table.indexes} <= {row[0] for row in every}


def test_a_store_is_never_made_over_another_nor_opened_as_anothers(nowhere: Server) -> None:
    with pytest.raises(IntegrityFault, match="not one of ours, or empty"):
        DataStore.open(nowhere, PAIRING)
    DataStore.create(nowhere, PAIRING)
    with pytest.raises(ConfigurationError, match="tables already"):
        DataStore.create(nowhere)
    with pytest.raises(IntegrityFault, match="another site") as caught:
        DataStore.open(nowhere, "0" * 32)
    assert caught.value.exit_code == 7
    DataStore.upgrade(nowhere, PAIRING)


def test_a_migration_that_fails_leaves_the_database_as_it_was(nowhere: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(conn: Connection) -> None:
        upgrade(conn)
        raise KeyError

    with monkeypatch.context() as broken:
        broken.setattr(engine, "upgrade", failing)
        with pytest.raises(KeyError):
            DataStore.create(nowhere, PAIRING)
    DataStore.create(nowhere, PAIRING)  # it is empty still
    DataStore.open(nowhere, PAIRING).close()


def test_every_connection_is_durable_by_its_own_settings(store: DataStore) -> None:
    found = store.write_now(lambda conn: Hot(conn).one("SHOW synchronous_commit"))
    assert found == ("on",)


@pytest.mark.parametrize(
    "url", ["postgresql://postgres:geheim@/store?host=/nowhere", "postgresql://postgres:geheim@[", "geheim"]
)
def test_a_url_that_leads_nowhere_is_told_without_its_password(url: str) -> None:
    place = Server(url)
    with pytest.raises((Unavailable, ConfigurationError)) as caught:
        DataStore.open(place, PAIRING)
    assert "geheim" not in str(caught.value) + caught.value.hint + repr(place)


def test_a_database_that_is_not_there_is_a_fault_of_the_configuration(server: databases.PostgresServer) -> None:
    with pytest.raises(ConfigurationError, match="3D000"):
        DataStore.open(Server(server.url("none")), PAIRING)


def test_a_connection_that_an_operator_ends_is_one_503_at_most_and_never_an_error_of_ours(
    store: DataStore, server: databases.PostgresServer
) -> None:
    """What is on its way when the server's last word comes is told as away; the next unit has another connection. The
    word may come later than it was given: which of the units hears it, nobody knows."""
    for _ in range(8):
        store.read_now(lambda conn: Hot(conn).one("SELECT 1"))
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'store'")
        refused = 0
        for ask in (store.write_now, store.read_now, store.write_now):
            try:
                ask(lambda conn: Hot(conn).one("SELECT 1"))
            except Unavailable:
                refused += 1
        assert refused <= 1


# --- units of work ---------------------------------------------------------------------------------------------------


def _by_core(conn: Connection) -> None:
    conn.execute(insert(meta).values(key="a", value="b"))


def _raw(conn: Connection) -> None:
    Hot(conn).run("INSERT INTO meta VALUES ('c', 'd')")


@pytest.mark.parametrize("statement", [_by_core, _raw])
async def test_a_unit_that_raises_leaves_nothing(store: DataStore, statement: Callable[[Connection], None]) -> None:
    def failing(conn: Connection) -> None:
        statement(conn)
        raise KeyError

    with pytest.raises(KeyError):
        await store.write(failing)
    assert await store.read(lambda conn: Hot(conn).one("SELECT count(*) FROM meta")) == (1,)


async def test_a_refused_part_costs_only_itself(store: DataStore) -> None:
    def work(conn: Connection) -> list[tuple[str]]:
        hot = Hot(conn)
        with pytest.raises(RuntimeError, match="constraint"):
            lose(hot)
        keys = hot.all("SELECT key FROM meta ORDER BY key")
        raise _Told(keys)

    def lose(hot: Hot) -> None:
        with savepoint(hot):
            hot.run("INSERT INTO meta VALUES ('lost', '')")
            hot.run("INSERT INTO meta VALUES ('lost too', NULL)")  # its transaction is broken from here

    with pytest.raises(_Told) as caught:
        await store.write(work)
    assert caught.value.args[0] == [("pairing",)]


class _Told(Exception):
    pass


@pytest.mark.parametrize(
    ("looks", "runs", "seen"), [(1, 1, "read committed"), (2, 2, "repeatable read"), (3, 2, "repeatable read")]
)
async def test_what_asks_one_thing_needs_no_transaction_and_what_asks_more_gets_one_snapshot(
    store: DataStore, looks: int, runs: int, seen: str
) -> None:
    done: list[int] = []

    def work(conn: Connection) -> list[str]:
        done.append(1)
        return [str((Hot(conn).one("SHOW transaction_isolation") or ("",))[0]) for _ in range(looks)]

    for _ in range(2):
        done.clear()
        assert await store.glance(work) == [seen] * looks
        assert len(done) == runs
    assert await store.read(work) == ["repeatable read"] * looks, "and the connection is as it was"


async def test_a_glance_by_another_way_to_ask_gets_a_snapshot_too(store: DataStore) -> None:
    done: list[int] = []

    def work(conn: Connection) -> list[str]:
        done.append(1)
        return [str(conn.exec_driver_sql("SHOW transaction_isolation").scalar()) for _ in range(2)]

    assert await store.glance(work) == ["repeatable read"] * 2
    assert len(done) == 2


async def test_a_glance_cannot_write_and_forgives_no_second_question(store: DataStore) -> None:
    with pytest.raises(Unavailable):
        await store.glance(lambda conn: Hot(conn).run("UPDATE meta SET value = 'x'"))
    with pytest.raises(Unavailable):
        await store.glance(lambda conn: Hot(conn).many("UPDATE meta SET value = ?", [("x",)]))
    looks: list[str] = []

    def work(conn: Connection) -> None:
        for _ in range(2):
            with suppress(Exception):
                looks.append(str((Hot(conn).one("SHOW transaction_isolation") or ("",))[0]))

    await store.glance(work)
    assert looks == ["read committed", "repeatable read", "repeatable read"]


async def test_readers_cannot_write(store: DataStore) -> None:
    with pytest.raises(Unavailable):
        await store.read(_raw)


async def test_a_caller_that_goes_away_stops_no_unit(store: DataStore) -> None:
    begun = threading.Event()

    def slow(conn: Connection) -> None:
        begun.set()
        Hot(conn).one("SELECT pg_sleep(0.1)")
        _raw(conn)

    task = asyncio.create_task(store.write(slow))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    store.close()  # finishes what runs
    again = DataStore.open(Server(_url(store)), PAIRING)
    assert await again.read(lambda conn: Hot(conn).one("SELECT value FROM meta WHERE key = 'c'")) == ("d",)
    await again.write(lambda conn: Hot(conn).run("DELETE FROM meta WHERE key = 'c'"))
    again.close()


def _url(store: DataStore) -> str:
    return store._engine._server.url  # type: ignore[attr-defined,no-any-return]


async def test_a_unit_that_lost_a_race_runs_again_three_times_and_then_is_409(store: DataStore) -> None:
    tries = []

    def losing(conn: Connection) -> None:
        tries.append(1)
        raise Again

    with pytest.raises(Conflict) as caught:
        await store.write(losing)
    assert (len(tries), caught.value.status_hint, caught.value.code) == (4, 409, "conflict")


async def test_a_key_that_is_there_already_is_a_race_first_and_a_fault_at_last(store: DataStore) -> None:
    tries = []

    def same(conn: Connection) -> None:
        tries.append(1)
        Hot(conn).run("INSERT INTO meta VALUES ('pairing', '')")

    with pytest.raises(RuntimeError, match="constraint") as caught:
        await store.write(same)
    assert len(tries) == 4
    assert "pairing" not in str(caught.value), "PostgreSQL would name the value"


async def test_two_that_wait_for_each_other_both_get_through(store: DataStore) -> None:
    await store.write(lambda conn: Hot(conn).many("INSERT INTO sequence VALUES (?, 0)", [("a",), ("b",)]))
    both = threading.Barrier(2)
    met = set[str]()

    def raise_(first: str, second: str) -> Callable[[Connection], None]:
        def work(conn: Connection) -> None:
            Hot(conn).run("UPDATE sequence SET next = next + 1 WHERE name = ?", (first,))
            if first not in met:
                met.add(first)
                both.wait(WAIT_S)
            Hot(conn).run("UPDATE sequence SET next = next + 1 WHERE name = ?", (second,))

        return work

    other = DataStore.open(Server(_url(store)), PAIRING)  # another process, as far as the database can see
    await asyncio.gather(store.write(raise_("a", "b")), other.write(raise_("b", "a")))
    other.close()
    assert await store.read(lambda conn: Hot(conn).all("SELECT next FROM sequence")) == [(2,), (2,)]


# --- several processes -----------------------------------------------------------------------------------------------


def test_numbers_are_drawn_once_by_whoever_draws_and_rise(emptied: Server) -> None:
    def draw(_: int) -> list[int]:
        store = DataStore.open(emptied, PAIRING)
        drawn = [store.write_now(lambda conn: Hot(conn).draw()) for _ in range(16)]
        store.close()
        assert drawn == sorted(drawn)
        return drawn

    with ThreadPoolExecutor(4) as several:
        blocks = sorted(block for drawn in several.map(draw, range(4)) for block in drawn)
    assert all(after - before >= NUMBERS for before, after in itertools.pairwise(blocks))


async def test_of_64_that_create_unless_it_is_there_one_does(site: Site) -> None:
    """A conditional create as the API does it: locks, look, write."""
    others = [DataStore.open(site.place, PAIRING) for _ in range(3)]
    keyring = site.keyring
    org = keyring.organisation()
    tok = token_of(org.locate(name_of("Patient", "identifier", f"{MRN}|7").encode()))

    def create(n: int) -> Callable[[Connection], bool]:
        def work(conn: Connection) -> bool:
            unit = Unit("resource.written", "client", AT, (Replace(patient(f"p{n}", "7")),))
            hot = Hot(conn)
            locks.take(hot, org, unit.entries, (asked(f"identifier={MRN}|7"),))
            if hot.one("SELECT 1 FROM token WHERE owner = ? AND tok = ?", (LOCATOR_OWNER, tok)):
                return False
            commit_unit(conn, unit, keyring, locked=True)
            return True

        return work

    await keyring.restock()
    stores = [site.store, *others]
    made = await asyncio.gather(*(keyring.retrying(stores[n % 4].write, create(n)) for n in range(64)))
    for other in others:
        other.close()
    assert sum(made) == 1
    assert await site.rows("SELECT count(*) FROM resource WHERE type = 'Patient'") == [(1,)]


async def test_a_plain_create_and_a_conditional_one_cannot_both_win(site: Site) -> None:
    """The plain one holds the lock of its identifier before it has written a row."""
    org = site.keyring.organisation()
    locked, go = threading.Event(), threading.Event()

    def plain(conn: Connection) -> None:
        unit = Unit("resource.written", "client", AT, (Replace(patient("ana", "7")),))
        locks.take(Hot(conn), org, unit.entries)
        locked.set()
        while not go.is_set():
            Hot(conn).one("SELECT pg_sleep(0.01)")
        commit_unit(conn, unit, site.keyring, locked=True)

    def conditional(conn: Connection) -> int:
        hot = Hot(conn)
        locks.take(hot, org, (), (asked("identifier=7"),))  # without a system: it holds all the same
        return len(hot.all("SELECT 1 FROM resource WHERE type = 'Patient'"))

    await site.keyring.restock()
    first = asyncio.create_task(site.write(plain))
    await asyncio.to_thread(locked.wait)
    second = asyncio.create_task(site.write(conditional))
    try:
        await asyncio.to_thread(until, lambda: site.store.read_now(_waits_for_a_lock))
    finally:
        go.set()
    await first
    assert await second == 1


def _waits_for_a_lock(conn: Connection) -> bool:
    return Hot(conn).one("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'") is not None


async def test_parallel_writes_of_one_patient_lose_no_version(site: Site) -> None:
    await site.commit(put(patient("ana", "7")))
    other = DataStore.open(site.place, PAIRING)
    units = [
        Unit("resource.written", "client", AT, (Replace(patient("ana", "7", gender=gender, birthDate=f"19{n:02}")),))
        for n in range(10, 20)
        for gender in ("female", "male")
    ]
    stores = (site.store, other)
    await asyncio.gather(
        *(
            site.keyring.retrying(stores[n % 2].write, partial(commit_unit, unit=unit, keyring=site.keyring))
            for n, unit in enumerate(units)
        )
    )
    other.close()
    assert await site.rows("SELECT ver FROM version ORDER BY ver") == [(n,) for n in range(1, 22)]
    order = [row[0] for row in await site.rows("SELECT txn FROM version ORDER BY ver")]
    assert order == sorted(order), "what one patient's history says came later has the greater number"
    owed = await site.rows("SELECT v.ver FROM outbox o JOIN version v ON v.txn = o.txn ORDER BY o.n")
    assert owed == sorted(owed)


async def test_parallel_writes_that_name_the_same_stranger_make_one_row_of_it(site: Site) -> None:
    await site.commit(put(patient("ana", "7")), put(patient("ben", "8")))
    doctor = [{"reference": "Practitioner/dr"}]
    await asyncio.gather(
        *(site.commit(told(observation(f"o{n}", of=who, performer=doctor))) for n in range(8) for who in ("ana", "ben"))
    )
    assert await site.rows("SELECT count(*) FROM resource WHERE type = 'Practitioner'") == [(1,)]


async def test_nobody_takes_a_lane_between_the_fence_and_the_commit(site: Site) -> None:
    """A worker that was slow is fenced; and one that has passed the fence commits before another may begin."""
    slow = await site.write(lambda conn: messages.claim(conn, ORG, "a", [1], 0, 100))
    await site.write(lambda conn: Hot(conn).run("UPDATE lane SET until = 0"))
    passed, go, order = threading.Event(), threading.Event(), list[str]()

    def effects(conn: Connection) -> None:
        messages.fence(conn, ORG, slow, [1])
        passed.set()
        while not go.is_set():
            Hot(conn).one("SELECT pg_sleep(0.01)")
        order.append("effects")

    def take(conn: Connection) -> None:
        assert messages.claim(conn, ORG, "b", [1], 0, 100).tokens == {1: 2}
        order.append("taken")

    first = asyncio.create_task(site.write(effects))
    await asyncio.to_thread(passed.wait)
    second = asyncio.create_task(site.write(take))
    try:
        await asyncio.to_thread(until, lambda: site.store.read_now(_waits_for_a_lock))
    finally:
        go.set()
    await asyncio.gather(first, second)
    assert order == ["effects", "taken"]
    with pytest.raises(Conflict, match="another worker"):
        await site.write(effects)


async def test_leases_run_by_the_databases_clock(site: Site) -> None:
    """A worker whose clock is a year ahead takes no lane that is held."""
    await site.write(lambda conn: messages.claim(conn, ORG, "a", [1], 0, 60_000))
    ahead = int(time.time() * 1000) + 365 * 86_400_000
    assert (await site.write(lambda conn: messages.claim(conn, ORG, "b", [1], ahead, 60_000))).tokens == {}


async def test_what_one_process_owes_wakes_another(site: Site) -> None:
    other, heard = DataStore.open(site.place, PAIRING), threading.Semaphore(0)
    stop = other.listen(outbox.CHANNEL, heard.release)
    assert await asyncio.to_thread(heard.acquire, timeout=WAIT_S), "once at first: something may wait already"
    await site.commit(put(patient("ana", "7")))
    assert await asyncio.to_thread(heard.acquire, timeout=WAIT_S)
    with pytest.raises(KeyError):
        await site.write(_owing_and_failing)
    stop()
    other.close()
    assert not heard.acquire(blocking=False), "what was rolled back is owed to nobody"


def _owing_and_failing(conn: Connection) -> None:
    Hot(conn).notify(outbox.CHANNEL)
    raise KeyError


# --- away, slow, full ------------------------------------------------------------------------------------------------


async def test_what_was_committed_outlives_a_crash_and_nobody_starts_again(own: databases.PostgresServer) -> None:
    place = Server(own.url("store"))
    DataStore.create(place, PAIRING)
    store, heard = DataStore.open(place, PAIRING), threading.Semaphore(0)
    store.listen("any", heard.release)
    assert await asyncio.to_thread(heard.acquire, timeout=WAIT_S)
    begun = threading.Event()

    def long(conn: Connection) -> None:
        Hot(conn).run("INSERT INTO meta VALUES ('half', '')")
        begun.set()
        Hot(conn).one("SELECT pg_sleep(60)")

    await store.write(_raw)
    under_way = asyncio.create_task(store.write(long))
    await asyncio.to_thread(begun.wait)
    await asyncio.to_thread(own.stop)
    with pytest.raises(Unavailable):
        await under_way
    for run in (store.read, store.write):
        with pytest.raises(Unavailable, match="reached") as caught:
            await run(_raw)
        assert (caught.value.status_hint, caught.value.exit_code) == (503, 4)
    await asyncio.to_thread(own.start)
    keys = await store.read(lambda conn: Hot(conn).all("SELECT key FROM meta ORDER BY key"))
    assert keys == [("c",), ("pairing",)]
    assert await asyncio.to_thread(heard.acquire, timeout=WAIT_S), (
        "who listened is told that it may have missed something"
    )
    store.close()


async def test_a_server_that_hangs_is_unavailable_and_is_used_again_when_it_answers(
    own: databases.PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "COMMAND_S", 0.5)
    monkeypatch.setattr(sessions, "CONNECT_S", 0.5)
    place = Server(own.url("store"), connections=2)
    DataStore.create(place, PAIRING)
    store = DataStore.open(place, PAIRING)
    await store.write(_raw)
    pids = [int(pid) for pid in own.sql("SELECT pid FROM pg_stat_activity WHERE datname = 'store'").split()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable):
            await store.read(lambda conn: Hot(conn).one("SELECT 1"))
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert await store.read(lambda conn: Hot(conn).one("SELECT 1")) == (1,)
    store.close()


async def test_when_every_connection_is_busy_who_waits_too_long_is_told(
    emptied: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "WAIT_S", 0.1)
    store = DataStore.open(replace(emptied, connections=1), PAIRING)
    begun, go = threading.Event(), threading.Event()

    def slow(conn: Connection) -> None:
        begun.set()
        while not go.is_set():
            Hot(conn).one("SELECT pg_sleep(0.01)")

    busy = asyncio.create_task(store.write(slow))
    await asyncio.to_thread(begun.wait)
    try:
        with pytest.raises(Unavailable, match="busy"):
            await store.read(lambda conn: None)
    finally:
        go.set()
    await busy
    await store.read(lambda conn: None)
    store.close()


async def test_a_lock_that_is_held_too_long_blames_no_message(
    emptied: Server, store: DataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside a SAVEPOINT, too, it is the database that could not: a worker keeps the message and tries again."""
    monkeypatch.setitem(postgres.SETTINGS, "lock_timeout", "50ms")
    hasty = DataStore.open(emptied, PAIRING)
    begun, go = threading.Event(), threading.Event()

    def holding(conn: Connection) -> None:
        Hot(conn).lock(ORG, [b"one"])
        begun.set()
        while not go.is_set():
            Hot(conn).one("SELECT pg_sleep(0.01)")

    def waiting(conn: Connection) -> None:
        hot = Hot(conn)
        try:
            with savepoint(hot):
                hot.lock(ORG, [b"one"])
        except (RuntimeError, Unavailable):
            pytest.fail("a unit would take this for a fault of its message")

    held = asyncio.create_task(store.write(holding))
    await asyncio.to_thread(begun.wait)
    try:
        with pytest.raises(Unavailable, match="55P03"):
            await hasty.write(waiting)
    finally:
        go.set()
    await held
    hasty.close()
