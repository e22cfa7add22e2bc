"""Sessions at a PostgreSQL server: how each pool of ours opens one, and what it says where that cannot be.

No text that leaves this module is the driver's, which puts values into its messages.
Source: PostgreSQL 15, chapter 20 (settings of a session), appendix A (SQLSTATE); operations chapter §10.
"""

import asyncio
from typing import Any

import asyncpg

from adapter.errors import ChartbridgeError, ConfigurationError, Unavailable
from adapter.store.place import Server
from adapter.store.postgres_statements import REFUSED, lost

APPLICATION = "chartbridge"  # the name under which our sessions stand in pg_stat_activity
CONNECT_S = 3.0
WAIT_S = 5.0  # for a free connection
COMMAND_S = 10.0  # for the answer to one statement: a server that hangs says nothing
SETTINGS = {
    "application_name": APPLICATION,
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",  # of a statement that is a transaction by itself
    "default_transaction_read_only": "off",
    "timezone": "UTC",
    "statement_timeout": "8s",
    "jit": "off",  # compiling a plan takes longer than any of ours runs
}


async def connect(server: Server, settings: dict[str, str], *, patient: bool = False, **more: Any) -> Any:
    """A connection of asyncpg's, which says nothing of its types. `patient`: a statement may take as long as it takes.

    Raises what the driver raises.
    """
    return await asyncpg.connect(
        # the URL as the driver reads it: SQLAlchemy's name of the driver is nothing to it
        server.url.replace("postgresql+asyncpg://", "postgresql://", 1),
        timeout=CONNECT_S,
        command_timeout=None if patient else COMMAND_S,
        server_settings=settings,
        max_cached_statement_lifetime=0,
        **more,
    )


async def wait_for_one(free: asyncio.Semaphore) -> None:
    """Take one of so many connections. Raises TimeoutError. Watching the time costs as much as a short unit of work, so
    it is done only for who has to wait."""
    if free.locked():
        await asyncio.wait_for(free.acquire(), WAIT_S)
    else:
        await free.acquire()


def unreachable(error: BaseException | None, setting: str) -> ChartbridgeError:
    """What it means that `connect` failed, on the server that the setting names."""
    state = getattr(error, "sqlstate", None) or ""
    if state.startswith(REFUSED):
        return ConfigurationError(
            f"the database server refuses this user or database (SQLSTATE {state})", hint=f"check {setting}"
        )
    if isinstance(error, ValueError) or (isinstance(error, asyncpg.InterfaceError) and not lost(error)):
        return ConfigurationError("the URL of the database cannot be read", hint=f"check {setting}")
    return Unavailable("the database server cannot be reached", hint=f"start it, or check {setting}")
