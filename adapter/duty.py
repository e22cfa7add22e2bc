"""What one process does for all that serve a site: whether it is this one.

A lease in the database (`store/leases.py`), asked for as often as somebody wants to know, at most four times in its
length; another process has it soon after this one ended. Where nobody else serves the site it is always this one.
"""

import os
import time

import structlog

from adapter.errors import ChartbridgeError
from adapter.site import Site, now
from adapter.store import leases

log = structlog.get_logger()


class Duty:
    """One task of `store/leases.py`."""

    def __init__(self, site: Site, task: int) -> None:
        self._site, self._task = site, task
        self._name = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._lease_ms = int(site.settings.workers.lease_s * 1_000)
        self._mine, self._until = False, 0.0

    async def __call__(self) -> bool:
        """Raises Unavailable, Conflict."""
        if not self._site.shared:
            return True
        if time.monotonic() >= self._until:
            self._mine, self._until = False, time.monotonic() + self._lease_ms / 4_000
            at, org = int(now().timestamp() * 1_000), self._site.org
            self._mine = await self._site.store.write(
                lambda conn: leases.hold(conn, org, leases.TASKS, self._task, self._name, at, self._lease_ms)
            )
        return self._mine

    async def leave(self) -> None:
        """Let another process do it."""
        if not self._site.shared:
            return
        try:
            await self._site.store.write(lambda conn: leases.leave(conn, self._site.org, self._name))
        except ChartbridgeError as error:  # away: the lease runs out by itself
            log.warning("duty.not_left", code=error.code)
