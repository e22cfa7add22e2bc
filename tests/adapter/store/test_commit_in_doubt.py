"""A connection that is lost while it commits: what was asked for is done once, or told to be in doubt; never twice.

The wire to the server (`tests/cutting.py`) is cut before, during and after the server's COMMIT.
Source: PostgreSQL 15, "Transaction ID and Snapshot Information Functions" (pg_xact_status); operations chapter §10.
"""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection

from adapter.errors import InDoubt, Unavailable
from adapter.store import postgres
from adapter.store.engine import DataStore, Hot, Server
from tests import databases
from tests.adapter.store.conftest import PAIRING
from tests.cutting import Cut, Wire, wired

pytestmark = pytest.mark.postgres

# a commit takes its time: what happens meanwhile is seen
SLOW = """
    CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.4); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON meta DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION linger();
"""


@pytest.fixture
def wire(emptied: Server, server: databases.PostgresServer) -> Iterator[Wire]:
    with wired(server) as made:
        yield made


@pytest.fixture
def store(wire: Wire) -> Iterator[DataStore]:
    opened = DataStore.open(wire.place(), PAIRING)
    yield opened
    wire.refusing = False
    opened.close()


def adding(tries: list[int], *, telling: bool = False) -> Callable[[Connection], int]:
    """A unit that counts how often it runs, and writes how often it took effect."""

    def work(conn: Connection) -> int:
        tries.append(1)
        hot = Hot(conn)
        hot.run("INSERT INTO sequence VALUES ('effects', 1) ON CONFLICT(name) DO UPDATE SET next = sequence.next + 1")
        if telling:
            hot.notify("anybody")
        return len(tries)

    return work


async def effects(store: DataStore) -> int:
    found = await store.read(lambda conn: Hot(conn).one("SELECT next FROM sequence WHERE name = 'effects'"))
    return found[0] if found else 0


@pytest.mark.parametrize("telling", [False, True])
@pytest.mark.parametrize(("cut", "runs"), [("after", 1), ("before", 2)])
async def test_what_was_in_doubt_is_settled_and_done_once(
    store: DataStore, wire: Wire, cut: Cut, runs: int, telling: bool
) -> None:
    tries: list[int] = []
    wire.plan(cut)
    assert await store.write(adding(tries, telling=telling)) == runs
    assert (wire.done, len(tries), await effects(store)) == (1, runs, 1)
    assert await store.write(adding(tries)) == runs + 1  # and the store goes on
    assert await effects(store) == 2


async def test_a_commit_that_is_under_way_is_waited_for(
    store: DataStore, wire: Wire, server: databases.PostgresServer
) -> None:
    server.sql(SLOW, "store")
    tries: list[int] = []

    def work(conn: Connection) -> int:
        Hot(conn).run("INSERT INTO meta VALUES ('slow', '')")
        return adding(tries)(conn)

    try:
        wire.plan("during")
        assert await store.write(work) == 1
        assert await effects(store) == 1
    finally:
        server.sql("DROP TRIGGER linger ON meta; DROP FUNCTION linger; DELETE FROM meta WHERE key = 'slow'", "store")


async def test_one_that_is_undone_each_time_is_unavailable_and_was_not_done(store: DataStore, wire: Wire) -> None:
    tries: list[int] = []
    cuts: list[Cut] = ["before"] * (postgres.TRIES + 1)
    wire.plan(*cuts)
    with pytest.raises(Unavailable) as caught:
        await store.write(adding(tries))
    assert not isinstance(caught.value, InDoubt), "it is known that it was not done"
    assert (len(tries), await effects(store)) == (postgres.TRIES + 1, 0)


@pytest.mark.parametrize(("cut", "done"), [("after", 1), ("before", 0)])
async def test_where_nobody_can_be_asked_it_is_told_to_be_in_doubt(
    store: DataStore, wire: Wire, monkeypatch: pytest.MonkeyPatch, cut: Cut, done: int
) -> None:
    monkeypatch.setattr(postgres, "SETTLE_S", 0.3)
    tries: list[int] = []
    wire.refuse_after = True
    wire.plan(cut)
    with pytest.raises(InDoubt) as caught:
        await store.write(adding(tries))
    assert (caught.value.status_hint, caught.value.code) == (503, "in-doubt")
    wire.refusing = wire.refuse_after = False
    assert (len(tries), await effects(store)) == (1, done), "nobody tried it a second time"


async def test_a_unit_that_wrote_nothing_is_in_no_doubt(store: DataStore, wire: Wire) -> None:
    wire.plan("after")
    with pytest.raises(Unavailable) as caught:
        await store.write(lambda conn: Hot(conn).one("SELECT 1"))
    assert not isinstance(caught.value, InDoubt)
