"""What only a server can do to a log: several processes, connections that are lost, rows that somebody rewrites.

That a log does on it what it does in a file is `test_contract.py`'s matter. Source: ledger format §6, §13, §15, §19.
"""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest
import pytest_asyncio

from adapter.store.place import Server
from adapter.store.server_pool import ServerPool
from ledger.errors import AppendFailed, BasisEnded, ConflictError, IntegrityError
from ledger.event import RequiresEpoch, RequiresRef, decode
from ledger.fsck import check
from ledger.merkle import Digest, leaf_hash, root_of
from ledger.note import open_checkpoint
from ledger.store.base import Entry, Facts, Head, Step, StoredCheckpoint, StoreError, Writes
from ledger.store.postgres import PART_SHIFT, PostgresLogStore, check_log, create_log, open_log
from ledger.store.server import InDoubt, ServerError, ServerLost, Work, transact
from ledger.tiles import Tile
from ledger.vault import Vault, memory_vault
from ledger.vault_server import open_vault
from tests import databases
from tests.ledger.conftest import ORIGIN, PAIRING, RULES, SIGNER, ledger_of, policy, read, retirement
from tests.ledger.store import appending
from tests.ledger.store.test_contract import NOTHING, Decision, ask, entry, grow, time
from tests.ledger.test_vault import detail

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).parents[3]
PROCESSES = 4
LOCKED = ("append.entries_decided", "append.head_locked", "append.entries_written")  # what did not go without a lock
T = TypeVar("T")


@pytest_asyncio.fixture
async def store(empty_log: Server) -> AsyncIterator[PostgresLogStore]:
    made = await open_log(ServerPool(empty_log, "log"), PAIRING, ORIGIN)
    yield made
    await made.close()


@pytest.fixture
def nowhere(server: databases.PostgresServer) -> Iterator[Server]:
    server.sql("CREATE DATABASE nowhere")
    yield Server(server.url("nowhere"))
    server.sql("DROP DATABASE nowhere WITH (FORCE)")


# --- several processes -----------------------------------------------------------------------------------------------


def started(place: Server) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", appending.__name__, place.url]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)  # noqa: S603
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n", process.stderr.read()
    return process


async def test_processes_append_each_for_itself_and_make_one_log(
    store: PostgresLogStore, empty_log: Server, spare_vault: Vault
) -> None:
    """Four processes with their clients at once: no gap, no id twice, no time that goes back, nothing acknowledged that
    is not there, nothing that rests on an end behind it, one end, one entry of an event that all of them append."""
    ledger = ledger_of(store, spare_vault)
    await ledger.start()
    await ledger.append([policy("first"), policy("basis"), policy("next")])
    processes = [await asyncio.to_thread(started, empty_log) for _ in range(PROCESSES)]
    done = await asyncio.gather(*(asyncio.to_thread(process.communicate, "go\n", 120) for process in processes))
    assert [(process.returncode, told) for process, (_, told) in zip(processes, done, strict=True)] == [
        (0, "")
    ] * PROCESSES
    told = [line.split() for out, _ in done for line in out.splitlines()]

    entries = await store.entries(0, 1 << 30)
    assert [one.index for one in entries] == list(range(len(entries)))
    assert (await store.head()).size == len(entries)
    assert len({one.id for one in entries}) == len(entries)
    values = [decode(one.body) for one in entries]
    assert values == sorted(values, key=lambda value: value["t"]), "time never goes back"
    where = {value["id"]: f"2026:{index}" for index, value in enumerate(values)}
    acknowledged = {event_id: outcome for event_id, outcome, _ in told if ":" in outcome}
    assert acknowledged.items() <= where.items()
    assert len(where) == 3 + len(acknowledged), "and nothing else is there"

    (end,) = [index for index, value in enumerate(values) if value["type"] == "policy.retired"]
    outcomes = Counter(outcome for _, outcome, _ in told)
    assert outcomes["ConflictError"] == PROCESSES - 1, "what has ended cannot end again"
    assert outcomes["BasisEnded"] >= PROCESSES
    refused = {event_id for event_id, outcome, _ in told if outcome == "BasisEnded"}
    assert refused.isdisjoint(where)
    assert [outcome for event_id, outcome, _ in told if event_id == appending.SHARED] == [
        where[appending.SHARED]
    ] * PROCESSES
    assert await store.ended([appending.BASIS]) == {appending.BASIS: end}
    under = {int(ref.partition(":")[2]) for _, ref, basis in told if basis == appending.BASIS and ":" in ref}
    assert max(under) < end

    signed = await ledger.integrate()
    assert signed is not None
    assert signed.size == len(entries)
    assert (await check(store, SIGNER.verifier, RULES)).faults == []


async def test_a_group_waits_a_second_for_the_head_and_no_longer(
    store: PostgresLogStore, empty_log: Server, spare_vault: Vault
) -> None:
    ledger = ledger_of(store, spare_vault)
    await ledger.start()
    other, held, go = ServerPool(empty_log, "other"), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def hold(connection: Any) -> None:
        await connection.execute("SELECT * FROM head FOR UPDATE")
        loop.call_soon_threadsafe(held.set)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(go.wait(), loop))

    holding = asyncio.create_task(transact(other, hold, again=False))
    await held.wait()
    with pytest.raises(AppendFailed, match="55P03"):
        await ledger.append([policy()])
    go.set()
    await holding
    await ledger.append([policy()])
    assert (await store.head()).size == 1
    await other.close()


async def _while_it_waits(
    server: Server, meanwhile: Callable[[Any], Awaitable[object]], append: Callable[[], Coroutine[Any, Any, T]]
) -> asyncio.Task[T]:
    """An append that came to the head while somebody else held it, who does this `meanwhile`, and commits."""
    other, held = ServerPool(server, "other"), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def is_waited_for(connection: Any) -> bool:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'WITH moved%'"
        return bool((await connection.fetchrow(sql))[0])

    async def hold(connection: Any) -> None:
        await connection.execute("SELECT * FROM head FOR UPDATE")
        loop.call_soon_threadsafe(held.set)
        async with asyncio.timeout(20):
            while not await other._run(is_waited_for):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
        await meanwhile(connection)

    holding = asyncio.create_task(transact(other, hold, again=False))
    await held.wait()
    appending = asyncio.create_task(append())
    await asyncio.wait([appending], timeout=30)
    await holding
    await other.close()
    return appending


async def _one_more(connection: Any) -> None:
    await connection.execute("INSERT INTO entry VALUES ($1, $2, $3, $4)", 1 << 40 | 2, b"i" * 16, b"l" * 32, b"body")
    await connection.execute("INSERT INTO entry_id VALUES ($1, $2)", b"i" * 16, 1 << 40 | 2)
    await connection.execute("UPDATE head SET size = size + 1")


async def test_a_group_goes_behind_what_another_process_appended_while_it_waited(
    store: PostgresLogStore, empty_log: Server, spare_vault: Vault
) -> None:
    steps: list[str] = []
    mine = await open_log(ServerPool(empty_log, "mine"), PAIRING, ORIGIN, steps.append)
    ledger = ledger_of(mine, spare_vault)
    await ledger.start()
    (basis,) = await ledger.append([policy()])
    (before,) = await ledger.append([policy()])
    steps.clear()
    again = read(requires=[RequiresRef(str(basis))])
    done = await _while_it_waits(empty_log, _one_more, lambda: ledger.append([again, policy()]))
    receipts = done.result()
    assert [receipt.index for receipt in (before, *receipts)] == [1, 3, 4]
    assert steps == ["append.entries_decided", "append.entries_committed"], "alone, no lock"
    found = {entry.index: (entry.id, entry.leaf) for entry in await store.entries(0, 9)}
    assert {receipt.index: receipt.leaf_hash for receipt in receipts} == {n: found[n][1] for n in (3, 4)}
    assert ledger.size == (await store.head()).size == 5
    assert await ledger.append([again]) == receipts[:1], "a retry hears the same"
    await mine.close()


_END = "INSERT INTO ended VALUES ('1:0', 2)"
_NEWER = "INSERT INTO subject_epoch VALUES (7, 4)"


@pytest.mark.parametrize(
    ("ending", "needed"), [(_END, RequiresRef("1:0")), (_NEWER, RequiresEpoch(7, 3))], ids=["reference", "epoch"]
)
@pytest.mark.parametrize("late", [True, False], ids=["while it waits", "before"])
async def test_nothing_is_written_on_what_another_process_ended(
    store: PostgresLogStore, empty_log: Server, spare_vault: Vault, ending: str, needed: RequiresRef, late: bool
) -> None:
    """What the statement looked up when it began would still say that it stands."""
    ledger = ledger_of(store, spare_vault)
    await ledger.start()
    await ledger.append([policy()])
    await ledger.append([read(requires=[needed])])

    async def end(connection: Any) -> None:
        await connection.execute(ending)
        await connection.execute("UPDATE head SET ends = ends + 1")

    def append() -> Coroutine[Any, Any, object]:
        return ledger.append([read(requires=[needed])])

    if late:
        done = await _while_it_waits(empty_log, end, append)
    else:
        other = ServerPool(empty_log, "other")
        await transact(other, end, again=False)
        await other.close()
        done = asyncio.create_task(append())
        await asyncio.wait([done])
    assert isinstance(done.exception(), BasisEnded)
    assert (await store.head()).size == 2


async def test_what_ends_something_is_counted_in_the_head(store: PostgresLogStore, empty_log: Server) -> None:
    async def ends(connection: Any) -> object:
        return (await connection.fetchrow("SELECT ends FROM head"))[0]

    other, counts = ServerPool(empty_log, "other"), list[object]()
    for size, ended, epochs in ((1, {}, {}), (1, {"1:0": 1}, {}), (1, {}, {7: 1}), (150, {"1:1": 3}, {8: 2})):
        await grow(store, size, ended, epochs)
        counts.append(await other.run(ends))
    assert counts == [0, 1, 2, 4]
    await other.close()


@pytest.mark.parametrize("count", [1, 150])
async def test_a_log_without_its_head_acknowledges_nothing(
    store: PostgresLogStore, server: databases.PostgresServer, count: int
) -> None:
    await grow(store, 1)
    found = server.sql("SELECT shard, origin, size, last_t FROM head", "log").strip().split("|")
    server.sql("DELETE FROM head", "log")
    try:
        with pytest.raises(IntegrityError, match="no head"):
            await store.append(NOTHING, lambda facts: _of(count, facts))
        assert await store.entries(1, 99) == []
    finally:
        server.sql("INSERT INTO head VALUES ({}, '{}', {}, '{}')".format(*found), "log")  # noqa: S608 - as it was


def _of(count: int, facts: Facts) -> Decision:
    added = [entry(index) for index in range(5, 5 + count)]
    return Decision(Writes(Head(5 + count, time(5 + count)), added), facts)


async def test_a_log_of_another_version_is_not_opened(empty_log: Server, server: databases.PostgresServer) -> None:
    pool = ServerPool(empty_log, "log")
    server.sql("ALTER TABLE head RENAME ends TO otherwise", "log")
    try:
        with pytest.raises(IntegrityError, match="other tables than this version knows"):
            await open_log(pool, PAIRING, ORIGIN)
    finally:
        server.sql("ALTER TABLE head RENAME otherwise TO ends", "log")
        await pool.close()


async def test_time_never_goes_back_behind_another_process_whose_clock_is_ahead(
    store: PostgresLogStore, empty_log: Server, spare_vault: Vault
) -> None:
    ahead = "2999-01-01T00:00:00.000Z"

    async def append(connection: Any) -> None:
        await connection.execute("UPDATE head SET last_t = $1", ahead)

    ledger = ledger_of(store, spare_vault)
    await ledger.start()
    await ledger.append([policy()])
    done = await _while_it_waits(empty_log, append, lambda: ledger.append([policy()]))
    assert [receipt.t for receipt in done.result()] == [ahead]


async def test_a_group_is_durable_in_a_session_that_says_it_need_not_be(empty_log: Server, spare_vault: Vault) -> None:
    steps: list[str] = []
    pool = ServerPool(Server(empty_log.url, 1), "log")
    ledger = ledger_of(await open_log(pool, PAIRING, ORIGIN, steps.append), spare_vault)
    await ledger.start()
    await ledger.append([policy()])
    await pool.run(lambda connection: connection.execute("SET synchronous_commit = off"))
    steps.clear()
    (receipt,) = await ledger.append([policy()])
    assert (receipt.index, steps) == (1, [*LOCKED, "append.entries_committed"])
    await pool.close()


# --- connections that are lost ---------------------------------------------------------------------------------------


SWAP = "WITH moved"  # how the statements begin that write entries


class Failing:
    """A server whose connections are lost at their next commits: before it, or when it is done and nobody hears."""

    def __init__(self, server: ServerPool, done: list[bool]) -> None:
        self.server, self.done, self.lost_at = server, done, list[str]()

    async def run(self, work: Work[T]) -> T:
        async def unit(connection: Any) -> T:
            return await work(_Losing(connection, self))

        return await self.server.run(unit)

    async def close(self) -> None:
        await self.server.close()


class _Losing:
    def __init__(self, connection: Any, server: Failing) -> None:
        self._connection, self._server = connection, server

    async def execute(self, query: str, *values: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109
        return str(await self._say(self._connection.execute, query, *values))

    async def fetchrow(self, query: str, *values: Any) -> Any:
        return await self._say(self._connection.fetchrow, query, *values)

    async def _say(self, say: Callable[..., Awaitable[Any]], query: str, *values: Any) -> Any:
        alone = query.startswith((SWAP, "INSERT INTO detail")) and not self._connection.is_in_transaction()
        commits = alone or query == "COMMIT"
        if not (commits and self._server.done):
            return await say(query, *values)
        self._server.lost_at.append(query[: len(SWAP)])
        if self._server.done.pop(0):
            await say(query, *values)
        raise ServerLost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.mark.parametrize("locked", [True, False])
@pytest.mark.parametrize("done", [[True], [False], [True, True], [False, True], [True, False]])
async def test_a_connection_lost_in_a_commit_doubles_nothing_and_loses_nothing(
    empty_log: Server, spare_vault: Vault, done: list[bool], locked: bool
) -> None:
    """In the one statement that is all, or in the COMMIT behind a lock: what ends something is written there."""
    server = Failing(ServerPool(empty_log, "log"), [])
    store = await open_log(server, PAIRING, ORIGIN)
    ledger = ledger_of(store, spare_vault)
    await ledger.start()
    (first,) = await ledger.append([policy()])
    server.done, swapped = list(done), SWAP if not locked else "COMMIT"
    group = [[policy()] for _ in range(19)] + [[retirement(str(first)) if locked else policy()]]
    receipts = await asyncio.gather(*map(ledger.append, group))
    assert (server.done, server.lost_at[0]) == ([], swapped)
    assert [receipt.index for (receipt,) in receipts] == list(range(1, 21))
    assert [one.leaf for one in await store.entries(1, 99)] == [receipt.leaf_hash for (receipt,) in receipts]
    await store.close()


@pytest.mark.parametrize(("committed", "lost_at"), [(False, SWAP), (True, "COMMIT"), (False, "COMMIT")])
async def test_where_nobody_can_tell_nothing_is_acknowledged_and_the_same_id_finds_out(
    empty_log: Server, spare_vault: Vault, committed: bool, lost_at: str
) -> None:
    server = Failing(ServerPool(empty_log, "log"), [])
    store = await open_log(server, PAIRING, ORIGIN)
    ledger = ledger_of(store, spare_vault)
    await ledger.start()
    (first,) = await ledger.append([policy()])
    event = policy() if lost_at == SWAP else retirement(str(first))
    server.done = [committed, *[False] * 9]
    with pytest.raises(AppendFailed, match="may be done"):
        await ledger.append([event])
    assert server.lost_at[0] == lost_at
    server.done.clear()
    await ledger.append([policy()])
    (receipt,) = await ledger.append([event])
    assert receipt.index == (1 if committed else 2)
    assert (await store.head()).size == 3
    await store.close()


async def test_a_doubt_outlives_the_way_it_came_about(
    empty_log: Server, server: databases.PostgresServer, spare_vault: Vault
) -> None:
    """Lost in the one statement, then behind a later time, then the head cannot be had: it may be done all the same."""
    failing = Failing(ServerPool(empty_log, "log"), [])

    def step(name: str) -> None:
        if name == "append.entries_decided" and failing.lost_at:
            server.sql("UPDATE head SET last_t = '2999-01-01T00:00:00.000Z'", "log")
        if name == "append.head_locked" and failing.lost_at:
            raise ServerError("55P03")

    store = await open_log(failing, PAIRING, ORIGIN, step)
    ledger = ledger_of(store, spare_vault)
    await ledger.start()
    await ledger.append([policy()])
    failing.done = [False]
    with pytest.raises(AppendFailed, match="may be done"):
        await ledger.append([policy()])
    assert failing.lost_at == [SWAP]
    await store.close()


@pytest.mark.parametrize("done", [[True], [False], [True, False]])
async def test_a_connection_lost_while_details_are_kept_keeps_them_once(empty_vault: Server, done: list[bool]) -> None:
    server = Failing(ServerPool(empty_vault, "vault"), done)
    vault = await open_vault(server, PAIRING)
    await vault.put_details([detail(1), detail(2)])
    assert (server.done, server.lost_at[0]) == ([], "INSERT INTO detail"[: len(SWAP)])
    assert (await vault.details([detail(1).id, detail(2).id])).keys() == {detail(1).id, detail(2).id}
    await vault.close()


@pytest.mark.parametrize("ends", ["COMMIT", "ROLLBACK"])
async def test_a_group_that_waits_for_another_goes_behind_it_if_that_one_commits(
    empty_log: Server, spare_vault: Vault, ends: str
) -> None:
    """The other has moved the head and not committed when this one's statement begins."""
    steps: list[str] = []
    store = await open_log(ServerPool(empty_log, "log"), PAIRING, ORIGIN, steps.append)
    ledger = ledger_of(store, spare_vault)
    await ledger.start()
    await ledger.append([policy()])
    steps.clear()
    other = await asyncpg.connect(empty_log.url)
    await other.execute("BEGIN; UPDATE head SET size = size + 1")
    waiting = asyncio.create_task(ledger.append([policy()]))
    await asyncio.sleep(0.3)
    assert (steps, waiting.done()) == (["append.entries_decided"], False)
    await other.execute(ends)
    (receipt,) = await waiting
    assert receipt.index == (2 if ends == "COMMIT" else 1)
    assert "append.head_locked" not in steps
    await other.close()
    await store.close()


@pytest.mark.parametrize(
    "default", ["default_transaction_isolation = 'repeatable read'", "default_transaction_read_only = on"]
)
async def test_a_session_that_is_set_otherwise_appends_all_the_same(
    empty_log: Server, empty_vault: Server, default: str
) -> None:
    """Whatever role, database or hand has set."""
    logs, keys = ServerPool(Server(empty_log.url, 1), "log"), ServerPool(Server(empty_vault.url, 1), "vault")
    steps: list[str] = []
    store, vault = await open_log(logs, PAIRING, ORIGIN, steps.append), await open_vault(keys, PAIRING)
    ledger, other = ledger_of(store, vault), await asyncpg.connect(empty_log.url)
    await ledger.start()
    await ledger.append([policy()])
    for pool in (logs, keys):
        await pool.run(lambda connection: connection.execute(f"SET {default}"))
    await other.execute("BEGIN; UPDATE head SET size = size + 1")
    waiting = asyncio.create_task(ledger.append([read()]))
    await asyncio.sleep(0.3)
    await other.execute("COMMIT")
    ((receipt,), _) = await asyncio.gather(waiting, other.close())
    assert receipt.index == 2
    assert "append.head_locked" in steps
    await store.close()
    await vault.close()


async def test_each_connection_sets_its_own_defaults(empty_log: Server, server: databases.PostgresServer) -> None:
    server.sql("ALTER DATABASE log SET default_transaction_isolation = 'serializable'")
    server.sql("ALTER DATABASE log SET default_transaction_read_only = on")
    pool = ServerPool(empty_log, "log")

    async def look(connection: Any) -> list[str]:
        names = ("isolation", "read_only")
        return [(await connection.fetchrow(f"SHOW default_transaction_{name}"))[0] for name in names]

    try:
        found = await pool.run(look)
    finally:
        await pool.close()
        server.sql("ALTER DATABASE log RESET ALL")
    assert found == ["read committed", "off"]


async def test_a_connection_that_an_operator_ends_is_replaced(
    store: PostgresLogStore, server: databases.PostgresServer, spare_vault: Vault
) -> None:
    ledger = ledger_of(store, spare_vault)
    await ledger.start()
    await ledger.append([policy()])
    for _ in range(3):
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'log'")
        await ledger.append([policy()])
    assert (await store.head()).size == 4


async def test_what_may_not_be_done_twice_is_not(empty_log: Server) -> None:
    server = Failing(ServerPool(empty_log, "log"), [True])
    runs: list[int] = []

    async def work(connection: Any) -> None:
        runs.append(1)

    with pytest.raises(InDoubt):
        await transact(server, work, again=False)
    assert runs == [1]
    await server.close()


async def test_a_log_goes_without_its_server_and_goes_on(spare_vault: Vault) -> None:
    with databases.running("fsync=on", "full_page_writes=on") as own:
        place = databases.make_log(own, PAIRING, ORIGIN)
        store = await open_log(ServerPool(place, "log"), PAIRING, ORIGIN)
        ledger = ledger_of(store, spare_vault)
        await ledger.start()
        await ledger.append([policy() for _ in range(3)])
        await asyncio.to_thread(own.stop)
        with pytest.raises(AppendFailed, match="no connection"):
            await ledger.append([policy()])
        with pytest.raises(StoreError):
            await store.head()
        await asyncio.to_thread(own.start)
        (receipt,) = await ledger.append([policy()])
        assert receipt.index == 3, "what was acknowledged outlived the crash"
        await store.close()


# --- what is kept ----------------------------------------------------------------------------------------------------


async def test_every_commit_is_durable_whatever_the_connection_says(empty_log: Server) -> None:
    pool = ServerPool(Server(empty_log.url, 1), "log")
    await pool.run(lambda connection: connection.execute("SET synchronous_commit = off; SET lock_timeout = 0"))

    async def look(connection: Any) -> list[str]:
        return [(await connection.fetchrow(f"SHOW {name}"))[0] for name in ("synchronous_commit", "lock_timeout")]

    assert await transact(pool, look, again=True) == ["on", "1s"]
    await pool.close()


@pytest.mark.parametrize("table", ["entry", "entry_16777216", "entry_id", "ended", "checkpoint"])
async def test_no_row_of_history_is_changed_or_deleted(
    store: PostgresLogStore, server: databases.PostgresServer, table: str
) -> None:
    """Not even by the owner of the tables."""
    part = (1 << 40) >> PART_SHIFT
    table = table.replace("16777216", str(part))
    await grow(store, 1, {"2026:0": 0})
    await store.integrate([], StoredCheckpoint(1, Digest(bytes(32)), ""), await store.lead("me", 9) or 0)
    before = server.sql(f"SELECT * FROM {table}", "log")  # noqa: S608 - the names above
    column = first_column(server, table)
    for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}", f"TRUNCATE {table}"):  # noqa: S608
        with pytest.raises(subprocess.CalledProcessError) as caught:
            server.sql(statement, "log")
        assert "never changed" in caught.value.stderr
    assert server.sql(f"SELECT * FROM {table}", "log") == before != ""  # noqa: S608


async def test_a_role_that_owns_nothing_appends_and_signs_and_cannot_rewrite(
    store: PostgresLogStore, server: databases.PostgresServer, empty_log: Server
) -> None:
    """As the page says how to make one."""
    page = (ROOT / "docs" / "postgres.md").read_text("utf-8")
    for statement in page.partition("```sql\n")[2].partition("```")[0].replace("_node", "_test").split(";\n"):
        server.sql(statement, "log")
    try:
        place = Server(empty_log.url.replace(f"{databases.USER}@", "chartbridge_test@"))
        app = await open_log(ServerPool(place, "log"), PAIRING, ORIGIN)
        server.sql(f"UPDATE head SET size = {(1 << PART_SHIFT) - 2}", "log")  # noqa: S608 - a number
        await grow(app, 200, {"2026:0": 1}, {7: 1})
        await grow(app, 3, {}, {7: 2})
        await grow(app, 3)
        token = await app.lead("app", 60)
        signed = StoredCheckpoint(2, Digest(bytes(32)), "")
        assert token is not None
        await app.integrate([Tile(0, 0, b"x" * 64)], signed, token)
        assert await app.newest_checkpoint() == signed
        for table in ("entry", "entry_id", "ended", "checkpoint"):
            for statement in (f"UPDATE {table} SET {first_column(server, table)} = NULL", f"DELETE FROM {table}"):  # noqa: S608
                with pytest.raises(subprocess.CalledProcessError) as caught:
                    server.sql(f"SET ROLE chartbridge_test; {statement}", "log")
                assert "permission denied" in caught.value.stderr
        await app.close()
    finally:
        server.sql("DROP OWNED BY chartbridge_test; DROP ROLE chartbridge_test", "log")


def first_column(server: databases.PostgresServer, table: str) -> str:
    return server.sql(f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum = 1", "log")  # noqa: S608


async def test_entries_go_on_in_the_next_part_of_the_table(
    store: PostgresLogStore, server: databases.PostgresServer, empty_log: Server
) -> None:
    """Also while somebody reads it and does not end, as a backup does."""
    size = 1 << PART_SHIFT
    await grow(store, 1)  # by the lock: a process does not know at first how far the parts go
    server.sql(f"UPDATE head SET size = {size - 2}", "log")  # noqa: S608 - a number
    reader = await asyncpg.connect(empty_log.url)
    await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM entry")
    await grow(store, 5)
    again = await open_log(ServerPool(empty_log, "log"), PAIRING, ORIGIN)
    await grow(again, 200)
    await reader.close()
    assert await again.entries(size - 2, size + 3) == [entry(index) for index in range(size - 2, size + 3)]
    assert len(await store.leaves(0, size + 999)) == 206
    assert await store.find(entry(size + 1).id) == entry(size + 1)
    with pytest.raises(subprocess.CalledProcessError):
        server.sql(f"TRUNCATE entry_{((1 << 40) + size) >> PART_SHIFT}", "log")
    await again.close()


async def test_an_id_of_another_shard_is_taken_but_not_found(
    store: PostgresLogStore, server: databases.PostgresServer
) -> None:
    server.sql(f"SELECT entry_part({2 << 40 >> PART_SHIFT})", "log")
    server.sql(f"INSERT INTO entry VALUES ({2 << 40}, 'x', 'leaf', 'body')", "log")  # noqa: S608 - a number
    server.sql(f"INSERT INTO entry_id VALUES ('x', {2 << 40})", "log")  # noqa: S608 - a number
    assert await store.find(b"x") is None
    assert await store.entries(0, 1 << 50) == []
    assert [one.index for one in (await ask(store, [b"x"])).entries.values()] == [-1]


async def test_an_id_is_written_once_whatever_is_decided(store: PostgresLogStore) -> None:
    await grow(store, 1)
    twice = Entry(1, entry(0).id, leaf_hash(b""), b"")

    def decide(facts: Facts) -> Decision:
        return Decision(Writes(Head(2, time(2)), [twice]), facts)

    with pytest.raises(StoreError, match="23505"):
        await store.append(NOTHING, decide)
    assert await store.head() == Head(1, time(1))


async def test_a_log_that_is_not_there_or_another_ones_is_refused(nowhere: Server, empty_log: Server) -> None:
    pool, log = ServerPool(nowhere, "log"), ServerPool(empty_log, "log")
    with pytest.raises(IntegrityError, match="missing"):
        await open_log(pool, PAIRING, ORIGIN)
    await create_log(pool, PAIRING, ORIGIN)
    with pytest.raises(IntegrityError, match="tables already"):
        await create_log(pool, PAIRING, ORIGIN)
    with pytest.raises(IntegrityError, match="another node"):
        await open_log(log, "cd" * 16, ORIGIN)
    with pytest.raises(IntegrityError, match="no shard"):
        await open_log(log, PAIRING, ORIGIN.replace("2026", "2027"))
    await pool.run(lambda connection: connection.execute("UPDATE meta SET value = 'vault' WHERE key = 'kind'"))
    with pytest.raises(IntegrityError, match="another kind"):
        await open_log(pool, PAIRING, ORIGIN)
    await pool.close()
    await log.close()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE entry DISABLE TRIGGER stays",
        "DROP TRIGGER stays_whole ON checkpoint",
        "ALTER TABLE tile DROP COLUMN hashes",
        "DROP TABLE lease",
    ],
)
async def test_tables_that_were_changed_are_told(nowhere: Server, change: str) -> None:
    pool = ServerPool(nowhere, "log")
    await create_log(pool, PAIRING, ORIGIN)
    await check_log(pool, PAIRING)
    await pool.run(lambda connection: connection.execute(change))
    with pytest.raises(IntegrityError, match="other tables"):
        await check_log(pool, PAIRING)
    await pool.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entry SET body = 'x' WHERE pos % 1024 = 605",
        "UPDATE entry SET leaf = 'x' WHERE pos % 1024 = 600",
        "DELETE FROM entry WHERE pos % 1024 = 609",
        "UPDATE head SET size = size - 1",
        "UPDATE tile SET hashes = decode(repeat('00', length(hashes)), 'hex') WHERE level = 0 AND idx = 2",
        "UPDATE tile SET hashes = substr(hashes, 33) WHERE level = 0 AND idx = 2",
        "DELETE FROM tile WHERE level = 0 AND idx = 1",
        "UPDATE checkpoint SET root = ''",
        "UPDATE checkpoint SET note = replace(note, '610', '611')",
    ],
)
async def test_a_log_that_was_touched_does_not_start_and_fsck_says_so(
    store: PostgresLogStore, server: databases.PostgresServer, spare_vault: Vault, change: str
) -> None:
    ledger = ledger_of(store, spare_vault)
    await ledger.start()
    await ledger.append([policy() for _ in range(610)])
    await ledger.integrate()
    assert (await check(store, SIGNER.verifier, RULES)).faults == []
    server.sql(f"SET session_replication_role = replica; {change}", "log")
    with pytest.raises(IntegrityError):
        await ledger_of(store, spare_vault).start()
    assert (await check(store, SIGNER.verifier, RULES)).faults


# --- one who integrates ----------------------------------------------------------------------------------------------


async def test_the_lease_is_one_holders_until_it_runs_out_or_is_given_back(
    store: PostgresLogStore, server: databases.PostgresServer
) -> None:
    assert await store.lead("a", 60) == 1
    assert await store.lead("b", 60) is None
    assert await store.lead("a", 60) == 1
    server.sql("UPDATE lease SET until = now()", "log")
    assert await store.lead("b", 60) == 2
    assert await store.lead("a", 60) is None
    await store.lead("b", 0)
    assert await store.lead("a", 60) == 3


async def test_a_process_starts_while_others_append_sign_and_publish(
    store: PostgresLogStore, empty_log: Server, spare_vault: Vault, tmp_path: Path
) -> None:
    """What it reads, one after the other, moves on between."""
    first = ledger_of(store, spare_vault, www=tmp_path)
    await first.start()
    await first.append([policy()])
    assert await first.integrate() is not None, "there is a checkpoint to follow from the beginning"
    going = True

    async def go_on() -> None:
        while going:
            await first.append([policy() for _ in range(37)])
            await first.integrate()

    working = asyncio.create_task(go_on())
    other = await open_log(ServerPool(empty_log, "other"), PAIRING, ORIGIN)
    for _ in range(15):
        ledger = ledger_of(other, spare_vault, www=tmp_path)
        await ledger.start()
        assert (await check(other, SIGNER.verifier, RULES)).faults == []
        following = await ledger.follow()
        assert following is not None
        assert following.size <= ledger.size
        await ledger.close()
    going = False
    await working
    assert await ledger.follow() == await first.integrate()
    await other.close()


async def test_one_who_lost_the_lease_stores_nothing(store: PostgresLogStore, server: databases.PostgresServer) -> None:
    await grow(store, 2)
    old = await store.lead("a", 60)
    server.sql("UPDATE lease SET until = now()", "log")
    await store.lead("b", 60)
    assert old is not None
    with pytest.raises(ConflictError, match="another process"):
        await store.integrate([Tile(0, 0, b"x" * 64)], StoredCheckpoint(2, Digest(b"a" * 32), "note"), old)
    assert await store.newest_checkpoint() is None
    assert await store.tile(0, 0) is None


def at(name: str, act: Callable[[], None]) -> Step:
    """A hook that acts once, when `name` is reached."""
    waiting = [act]

    def step(reached: str) -> None:
        if reached == name and waiting:
            waiting.pop()()

    return step


@pytest.mark.parametrize("paused", ["integrate.signed", "integrate.committed", "publish.tiles_written"])
async def test_an_integrator_that_was_paused_beyond_its_lease_signs_no_second_root(
    empty_log: Server, server: databases.PostgresServer, spare_vault: Vault, tmp_path: Path, paused: str
) -> None:
    """The second takes the lease over, goes on and publishes, all within the pause of the first."""

    def take_over() -> None:
        server.sql("UPDATE lease SET until = now()", "log")
        with ThreadPoolExecutor(1) as elsewhere:
            elsewhere.submit(asyncio.run, integrated(empty_log, 300, tmp_path)).result()

    hook = at(paused, take_over)
    store = await open_log(ServerPool(empty_log, "log"), PAIRING, ORIGIN, hook)
    first = ledger_of(store, spare_vault, www=tmp_path, step=hook)
    await first.start()
    await first.append([policy() for _ in range(300)])
    await first.integrate()
    assert await first.integrate() == await store.newest_checkpoint(), "it follows"

    assert [one.size for one in await store.checkpoints()] == ([600] if paused == "integrate.signed" else [300, 600])
    leaves = await store.leaves(0, 600)
    assert [one.root for one in await store.checkpoints()] == [
        root_of(leaves[: one.size]) for one in await store.checkpoints()
    ]
    server.sql("UPDATE lease SET until = now()", "log")
    await integrated(empty_log, 0, tmp_path)
    assert (await check(store, SIGNER.verifier, RULES, www=tmp_path / "2026")).faults == []
    published = open_checkpoint((tmp_path / "2026" / "checkpoint").read_bytes(), ORIGIN, SIGNER.verifier)
    assert published.size == 600
    await store.close()


async def integrated(place: Server, count: int, www: Path) -> None:
    """Another process: it appends, integrates and leaves, without giving the lease back."""
    store, vault = await open_log(ServerPool(place, "other"), PAIRING, ORIGIN), memory_vault()
    ledger = ledger_of(store, vault, www=www)
    await ledger.start()
    await ledger.append([policy() for _ in range(count)])
    await ledger.integrate()
    await store.close()
    await vault.close()
