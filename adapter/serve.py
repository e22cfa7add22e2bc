"""`chartbridge serve`: a node in the foreground, until a signal or a failure ends it.

SIGTERM and SIGINT: stop accepting, finish or refuse what is under way, out within 15 s.
Source: operations chapter §2.
"""

import asyncio
import resource
import signal
import sys
from pathlib import Path

import structlog

from adapter import logs
from adapter.node import Node, running

log = structlog.get_logger()


# A thread that gives the interpreter up at a disk write waits this long to get it back; the usual 5 ms are ten commits.
SWITCH_S = 0.0005
FILES = 16_384  # sockets and files at a time; the usual limit, 1,024, is less than one busy feed


def run(folder: Path) -> None:
    """Serve one site. Raises what ended the node for good; returns after a signal."""
    logs.configure()
    tune()
    asyncio.run(_serve(folder))


def tune() -> None:
    """What a service needs of its process, whatever it was started with."""
    sys.setswitchinterval(SWITCH_S)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(folder: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(folder) as node:
        _tell(node)
        node.failed.add_done_callback(lambda failed: stop.set())
        await stop.wait()
        if node.failed.done():
            node.failed.result()
    log.info("node.stopped")


def _tell(node: Node) -> None:
    ports = {name: listener.port for name, listener in node.listeners.items()}
    log.info("node.ready", base=node.services.base, mllp=ports, entries=node.site.ledger.size)
