"""The vault on a server: what only that can get wrong (ledger format §9). The rest is `test_vault.py`'s."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from adapter.store.place import Server
from adapter.store.server_pool import ServerPool
from ledger import vault_server
from ledger.errors import AppendFailed, IntegrityError
from ledger.store.memory import MemoryLogStore
from ledger.store.server import Work, transact
from ledger.vault import Vault, VaultError
from tests import databases
from tests.ledger.conftest import ORG, PAIRING, consent, ledger_of
from tests.ledger.test_vault import detail, key

pytestmark = pytest.mark.postgres

AT = datetime(2026, 3, 4, tzinfo=UTC)
T = TypeVar("T")


@pytest_asyncio.fixture
async def vault(empty_vault: Server) -> AsyncIterator[Vault]:
    made = await vault_server.open_vault(ServerPool(empty_vault, "vault"), PAIRING)
    yield made
    await made.close()


@pytest.fixture
def nowhere(server: databases.PostgresServer) -> Iterator[Server]:
    server.sql("CREATE DATABASE novault")
    yield Server(server.url("novault"))
    server.sql("DROP DATABASE novault WITH (FORCE)")


async def test_a_destroyed_key_is_in_no_table_file_of_the_vault(vault: Vault, server: databases.PostgresServer) -> None:
    """The WAL holds it until the server recycles that, which is its operator's: docs/postgres.md."""
    secret = b"wrapped-key-of-a-patient" * 2
    await vault.add_subjects(ORG, [key(7, wrapped=secret), key(8, wrapped=b"another-patients" * 3)])
    server.sql("CHECKPOINT", "vault")
    assert secret in tables(server)
    await vault.destroy_subject(ORG, 7, AT)
    server.sql("CHECKPOINT", "vault")
    assert secret not in tables(server)
    assert b"another-patients" in tables(server)


def tables(server: databases.PostgresServer) -> bytes:
    return b"".join(path.read_bytes() for path in Path(server.folder, "data", "base").rglob("*") if path.is_file())


async def test_a_detail_on_its_way_while_its_subject_is_destroyed_goes_too(vault: Vault, empty_vault: Server) -> None:
    """Its number was drawn before, and its commit comes after, that of another."""
    await vault.add_subjects(ORG, [key(7)])
    other, written, go = ServerPool(empty_vault, "other"), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def slow(connection: Any) -> None:
        await connection.execute("INSERT INTO detail(id, subject, at, sealed) VALUES ('slow', 7, 1, '')")
        loop.call_soon_threadsafe(written.set)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(go.wait(), loop))

    writing = asyncio.create_task(transact(other, slow, again=False))
    await written.wait()
    await vault.put_details([detail(1)])
    destroying = asyncio.create_task(vault.destroy_subject(ORG, 7, AT))
    await asyncio.sleep(0.1)
    go.set()
    await writing
    assert await destroying == 2
    assert await vault.details([b"slow", detail(1).id]) == {}
    await other.close()


async def test_a_detail_is_durable_in_a_session_that_says_it_need_not_be(empty_vault: Server) -> None:
    """One statement is a transaction by itself, and does nothing there; then it is one that says so."""
    pool = _Heard(ServerPool(Server(empty_vault.url, 1), "vault"))
    vault = await vault_server.open_vault(pool, PAIRING)
    await vault.put_details([detail(1), detail(2)])
    assert pool.said == [1], "the first time it is prepared, and one statement is all"
    await pool.run(lambda connection: connection.execute("SET synchronous_commit = off"))
    pool.said.clear()
    await vault.put_details([detail(2), detail(3), detail(4)])
    assert len(await vault.details([detail(n).id for n in range(1, 5)])) == 4
    assert pool.said == [1, 4], "BEGIN, two and one, COMMIT"
    await vault.close()


class _Heard:
    """A server, and how many statements that are not asked for rows each unit said."""

    def __init__(self, server: ServerPool) -> None:
        self.server, self.said = server, list[int]()

    async def run(self, work: Work[T]) -> T:
        async def unit(connection: Any) -> T:
            heard = _Counting(connection)
            try:
                return await work(heard)
            finally:
                if heard.said:
                    self.said.append(heard.said)

        return await self.server.run(unit)

    async def close(self) -> None:
        await self.server.close()


class _Counting:
    def __init__(self, connection: Any) -> None:
        self._connection, self.said = connection, 0

    async def execute(self, query: str, *values: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - the driver's own
        self.said += 1
        return str(await self._connection.execute(query, *values))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


async def test_even_by_hand_a_destroyed_row_gets_no_key(vault: Vault, server: databases.PostgresServer) -> None:
    await vault.add_subjects(ORG, [key(7)])
    await vault.destroy_subject(ORG, 7, AT)
    for statement, said in (
        ("UPDATE subject SET wrapped = '', destroyed_at = NULL", "never given a key again"),
        ("DELETE FROM subject", "stays"),
        ("TRUNCATE subject", "stays"),
    ):
        with pytest.raises(subprocess.CalledProcessError) as caught:
            server.sql(statement, "vault")
        assert said in caught.value.stderr


async def test_a_vault_that_is_not_there_or_another_ones_is_refused(nowhere: Server, empty_vault: Server) -> None:
    pool, vault = ServerPool(nowhere, "vault"), ServerPool(empty_vault, "vault")
    with pytest.raises(IntegrityError, match="missing"):
        await vault_server.open_vault(pool, PAIRING)
    await vault_server.create_vault(pool, PAIRING)
    await vault_server.check_vault(pool, PAIRING)
    with pytest.raises(IntegrityError, match="tables already"):
        await vault_server.create_vault(pool, PAIRING)
    with pytest.raises(IntegrityError, match="another node"):
        await vault_server.open_vault(vault, "cd" * 16)
    await pool.run(lambda connection: connection.execute("ALTER TABLE subject DISABLE TRIGGER destroyed"))
    with pytest.raises(IntegrityError, match="other tables"):
        await vault_server.check_vault(pool, PAIRING)
    await pool.close()
    await vault.close()


async def test_nothing_is_logged_when_the_vault_is_away() -> None:
    with databases.running() as own:
        place = databases.make_vault(own, PAIRING)
        vault = await vault_server.open_vault(ServerPool(place, "vault"), PAIRING)
        ledger = ledger_of(MemoryLogStore(), vault)
        await ledger.start()
        await ledger.append([consent()])
        await asyncio.to_thread(own.stop)
        with pytest.raises(AppendFailed, match="vault failed"):
            await ledger.append([consent()])
        with pytest.raises(VaultError):
            await vault.present(ORG)
        assert ledger.size == 1
        await asyncio.to_thread(own.start)
        await ledger.append([consent()])
        await vault.close()
