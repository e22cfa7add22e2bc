"""A site's log and vault, wherever its settings put them: made once, opened, compared with this version's tables.

Each is a file or a database of its own. Source: ledger chapter §6, §9; fhir chapter §5 (key store).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING

from adapter.data_place import log_place, vault_place
from adapter.errors import ConfigurationError
from adapter.settings import Settings
from adapter.store.place import Server
from ledger import vault, vault_server
from ledger.errors import IntegrityError
from ledger.store import postgres, sqlite
from ledger.store.base import LogStore, Step, no_step
from ledger.store.file import memory_connection, open_file
from ledger.vault import Vault

if TYPE_CHECKING:
    from adapter.store.server_pool import ServerPool

LOG, VAULT = "ledger.url_file", "vault.url_file"
OBJECTS = "SELECT type, name FROM sqlite_master WHERE sql IS NOT NULL"


def origin(settings: Settings) -> str:
    """The log's name, which its checkpoints bear."""
    return f"{settings.ledger.name}/{settings.ledger.shard}"


async def make_vault(folder: Path, settings: Settings) -> None:
    """Raises IntegrityError where there is one, ConfigurationError, Unavailable."""
    place, pairing = vault_place(folder, settings), settings.node.pairing
    if isinstance(place, Path):
        vault.create_vault(place, pairing)
        return
    await _once(place, VAULT, lambda pool: vault_server.create_vault(pool, pairing))


async def make_log(folder: Path, settings: Settings) -> None:
    """Raises as `make_vault` does."""
    place, pairing = log_place(folder, settings), settings.node.pairing
    if isinstance(place, Path):
        sqlite.create_log(place, pairing, origin(settings))
        return
    await _once(place, LOG, lambda pool: postgres.create_log(pool, pairing, origin(settings)))


async def open_vault(stack: AsyncExitStack, folder: Path, settings: Settings, step: Step = no_step) -> Vault:
    """Open until `stack` ends. Raises IntegrityError for another site's, ConfigurationError, Unavailable."""
    place, pairing = vault_place(folder, settings), settings.node.pairing
    if isinstance(place, Path):
        opened = vault.open_vault(place, pairing, step=step)
        stack.push_async_callback(opened.close)
        return opened
    return await vault_server.open_vault(await stack.enter_async_context(_pool(place, VAULT)), pairing, step=step)


async def open_log(stack: AsyncExitStack, folder: Path, settings: Settings, step: Step = no_step) -> LogStore:
    """Open until `stack` ends. Raises as `open_vault` does."""
    place, pairing = log_place(folder, settings), settings.node.pairing
    if isinstance(place, Path):
        opened = sqlite.open_log(place, pairing, origin(settings), step)
        stack.push_async_callback(opened.close)
        return opened
    pool = await stack.enter_async_context(_pool(place, LOG))
    return await postgres.open_log(pool, pairing, origin(settings), step)


async def check_vault(folder: Path, settings: Settings) -> None:
    """Raises IntegrityError for a vault of another site or with other tables, ConfigurationError, Unavailable."""
    place, pairing = vault_place(folder, settings), settings.node.pairing
    if isinstance(place, Path):
        _check_file(place, pairing, vault.KIND, vault.SCHEMA)
        return
    await _once(place, VAULT, lambda pool: vault_server.check_vault(pool, pairing))


async def check_log(folder: Path, settings: Settings) -> None:
    """Raises as `check_vault` does."""
    place, pairing = log_place(folder, settings), settings.node.pairing
    if isinstance(place, Path):
        _check_file(place, pairing, sqlite.KIND, sqlite.SCHEMA)
        return
    await _once(place, LOG, lambda pool: postgres.check_log(pool, pairing))


def _check_file(path: Path, pairing: str, kind: str, schema: str) -> None:
    with (
        closing(open_file(path, kind, pairing, read_only=True)) as found,
        closing(memory_connection(kind, schema, {})) as wanted,
    ):
        if set(found.execute(OBJECTS)) != set(wanted.execute(OBJECTS)):
            raise IntegrityError(f"{kind} has other tables than this version knows")


async def _once(place: Server, setting: str, work: "Callable[[ServerPool], Awaitable[None]]") -> None:
    async with _pool(place, setting) as pool:
        await work(pool)


@asynccontextmanager
async def _pool(place: Server, setting: str) -> "AsyncIterator[ServerPool]":
    try:
        from adapter.store.server_pool import ServerPool  # a driver that most sites do without
    except ImportError as exc:
        hint = "pip install 'chartbridge[postgres]'"
        raise ConfigurationError("the driver of PostgreSQL is not installed", hint=hint) from exc
    pool = ServerPool(place, setting.partition(".")[0])
    try:
        await pool.reach(setting)
        yield pool
    finally:
        await pool.close()
