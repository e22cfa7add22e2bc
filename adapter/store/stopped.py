"""Connections of processes that were stopped while they spoke: ended, so that what they lock is free again.

A process that is stopped between two transactions locks nothing, and one that is stopped between two statements is
ended by the server (`idle_in_transaction_session_timeout`). Between the parts of one statement no limit of the server
holds: the driver asks for a statement to be prepared and then says with what to run it, and to a server that waits for
that word, or for an answer to be taken, the session is at work (PostgreSQL 15, "Frontend/Backend Protocol": Flush;
`postgres.c`: a query is not cancelled while a command is read). A process that lives gives up on a statement sooner;
one that makes or upgrades a database does not, and has another name.

So whoever uses a database looks there from time to time, over a connection more where all are taken: by those who wait
for the locks, it may be. A process whose connection was ended learns it when it goes on: what it had not committed is
not there. Source: fault F29; architecture §5.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from adapter.errors import ChartbridgeError
from adapter.store.sessions import APPLICATION
from ledger.errors import LedgerError

log = structlog.get_logger()

LOOK_S = 5.0
STOPPED_S = 15.0  # longer than a process of ours waits for the answer to a statement
_END = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user AND application_name = '{application}'
    AND pid <> pg_backend_pid() AND state = 'active' AND wait_event IN ('ClientRead', 'ClientWrite')
    AND state_change < clock_timestamp() - interval '{seconds} s'
"""


class Lookout:
    """One for each pool of connections. `ask` runs a statement on one of them and gives its only value."""

    def __init__(self, ask: Callable[[str], Awaitable[int]]) -> None:
        self._ask = ask
        self._due = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._works = True

    def look(self) -> None:
        """Where it is time, beside whoever calls: at the beginning of a unit of work, be it one that will wait."""
        loop = asyncio.get_running_loop()
        if self._looking is None and loop.time() >= self._due:
            self._looking = loop.create_task(self._look())

    async def _look(self) -> None:
        try:
            ended = await self._ask(_END.format(application=APPLICATION, seconds=STOPPED_S))
        except (ChartbridgeError, LedgerError) as error:  # not now, then
            if self._works:
                log.warning("postgres.not_looked", kind=type(error).__name__)
            self._works = False
        else:
            self._works = True
            if ended:
                log.warning("postgres.stopped_ended", count=ended)
        finally:
            self._due, self._looking = asyncio.get_running_loop().time() + LOOK_S, None
