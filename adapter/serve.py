"""`chartbridge serve`: a node in the foreground, until a signal or a failure ends it.

SIGTERM and SIGINT: stop accepting, finish or refuse what is under way, out within 15 s. What hangs longer is cut off
by an alarm: all that was acknowledged is durable, so a hard end loses nothing. Source: operations chapter §2.
"""

import asyncio
import signal
from pathlib import Path

import structlog

from adapter import logs, tuning
from adapter.node import Node, running

log = structlog.get_logger()

LEAVE_S = 14.0


def run(folder: Path) -> None:
    """Serve one site. Raises what ended the node for good; returns after a signal."""
    logs.configure()
    tuning.tune()
    asyncio.run(_serve(folder))


async def _serve(folder: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    logs.watch(loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(folder) as node:
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


def _tell(node: Node) -> None:
    ports = {name: listener.port for name, listener in node.listeners.items()}
    log.info("node.ready", base=node.services.base, mllp=ports, entries=node.site.ledger.size)
