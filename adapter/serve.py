"""`chartbridge serve`: a node in the foreground, until a signal or a failure ends it.

SIGHUP: read feeds, profiles and certificates again. SIGTERM and SIGINT: stop accepting, finish or refuse what is under
way, out within 15 s. What hangs longer is cut off by an alarm: what was acknowledged is durable, so a hard end loses
nothing. Source: operations chapter §2.
"""

import asyncio
import signal
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from adapter import logs, tuning
from adapter.loop import run_loop
from adapter.role import Running, running_role
from adapter.roles import Role

if TYPE_CHECKING:
    from adapter.node import Node
    from adapter.notices.endpoint import Endpoints

log = structlog.get_logger()

LEAVE_S = 14.0


def run(folder: Path, endpoints: "Endpoints | None" = None, *, role: Role | None = None) -> None:
    """Serve one site, or one role of it. Raises what ended it for good; returns after a signal."""
    logs.configure()
    tuning.tune()
    run_loop(_serve(folder, role, endpoints))


async def _serve(folder: Path, role: Role | None, endpoints: "Endpoints | None") -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    logs.watch(loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)  # before there is a node, it would end the process
    async with _up(folder, role, endpoints) as node:
        hangup = _Hangup(node)
        loop.add_signal_handler(signal.SIGHUP, hangup)
        tuning.settle()
        _tell(node)
        node.failed.add_done_callback(lambda failed: stop.set())
        await stop.wait()
        log.info("node.stopping")
        signal.setitimer(signal.ITIMER_REAL, LEAVE_S)
        if node.failed.done():
            node.failed.result()
    signal.setitimer(signal.ITIMER_REAL, 0)
    log.info("node.stopped")


class _Hangup:
    """SIGHUP, once at a time; one that comes meanwhile is heard after it."""

    def __init__(self, node: "Node | Running") -> None:
        self._node = node
        self._task: asyncio.Task[None] | None = None
        self._again = False

    def __call__(self) -> None:
        self._again = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._reload())

    async def _reload(self) -> None:
        while self._again:
            self._again = False
            if self._node.receipt is not None:
                await self._node.receipt.reload()


def _up(
    folder: Path, role: Role | None, endpoints: "Endpoints | None"
) -> "AbstractAsyncContextManager[Node | Running]":
    if role is not None:
        return running_role(folder, role)
    from adapter.node import running  # which loads everything

    return running(folder, endpoints=endpoints)


def _tell(node: "Node | Running") -> None:
    listeners = node.receipt.listeners if node.receipt is not None else {}
    ports = {name: listener.port for name, listener in listeners.items()}
    role, base = (node.role.value, "") if isinstance(node, Running) else ("all", node.services.base)
    log.info("node.ready", role=role, base=base, mllp=ports, entries=node.site.ledger.size)
