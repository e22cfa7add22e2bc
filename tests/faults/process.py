"""A node in a process of its own, on a real site, to be killed: and the site that it serves.

The process is `chartbridge serve` itself; it is ended by SIGKILL, from outside or at a named point
(`adapter/crash.py`), and started again on the same folder.
"""

import asyncio
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from adapter import site
from adapter.http_server import free_port

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
READY_S = 60.0
SERVE = """
import sys
from pathlib import Path
from adapter.roles import Role
from adapter.serve import run
run(Path(sys.argv[1]), role=Role(sys.argv[2]) if sys.argv[2:] else None)
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A site and where its node answers."""

    folder: Path
    http_port: int
    mllp_port: int

    def mark(self) -> int:
        """Up to which number every message has a state, read beside the process that serves."""
        return _number(self.folder / "data.sqlite3", "SELECT max(seq) FROM message_mark")

    async def settled(self) -> None:
        """Return once all that the journal holds has a state, and all that the log is owed stands in it."""
        data, journal = self.folder / "data.sqlite3", self.folder / "journal.sqlite3"
        async with asyncio.timeout(READY_S):
            while (  # noqa: ASYNC110 - another process's
                self.mark() < _number(journal, "SELECT max(seq) FROM message WHERE state = 'new'")
                or _number(data, "SELECT count(*) FROM outbox WHERE ref IS NULL")
            ):
                await asyncio.sleep(0.05)


def _number(file: Path, sql: str) -> int:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        row = connection.execute(sql).fetchone()
    return int(row[0] or 0)


def create(folder: Path) -> Place:
    """A new site on free ports. Not in a running event loop."""
    http_port, mllp_port = free_port(HOST), free_port(HOST)
    made = site.create(folder, org="hosp", name="Hospital", http_port=http_port, mllp_port=mllp_port)
    return Place(made, http_port, mllp_port)


class Served:
    """One running `serve`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def ready(self, port: int) -> bool:
        """Return once the port answers; False when the process ended before."""
        async with asyncio.timeout(READY_S):
            while self.running:
                with socket.socket() as probe:
                    probe.setblocking(False)
                    try:
                        await asyncio.get_running_loop().sock_connect(probe, (HOST, port))
                    except OSError:
                        await asyncio.sleep(0.02)
                    else:
                        return True
        return False

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            os.kill(self.pid, number)

    async def ended(self, timeout_s: float = READY_S) -> int:
        """The exit code, once it has ended; a signal is negative."""
        async with asyncio.timeout(timeout_s):
            return await self._process.wait()

    async def child(self, dead: Collection[int]) -> int:
        """The process id of its conversion child, once it has one that is not among the dead."""
        async with asyncio.timeout(READY_S):
            while not (found := self._children() - set(dead)):  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.01)
        return max(found)

    def _children(self) -> set[int]:
        """From /proc: the fourth field of `stat`, behind the name in brackets, is the parent."""
        found = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            except (OSError, ValueError):
                continue
            if int(parent) == self.pid and state != "Z":
                found.add(int(stat.parent.name))
        return found


@asynccontextmanager
async def serving(
    folder: Path,
    crash_at: str = "",
    *,
    output: Path | None = None,
    launch: Sequence[str] = ("-c", SERVE),
    cwd: Path = ROOT,
    role: str = "",
    settings: Mapping[str, object] = MappingProxyType({}),
) -> AsyncIterator[Served]:
    """`serve` on this site, or one role of it, while the context is open; what is left of it at the end is killed."""
    own = {f"CHARTBRIDGE_{name.upper()}": str(value) for name, value in settings.items()}
    with (output or folder.parent / "serve.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *launch, str(folder), *filter(None, [role]),
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            env={**os.environ, **own, "CHARTBRIDGE_CRASH_AT": crash_at, "PYTHONPATH": str(ROOT)}, cwd=cwd,
        )  # fmt: skip
    served = Served(process)
    try:
        yield served
    finally:
        served.kill()
        await process.wait()
