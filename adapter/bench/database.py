"""A PostgreSQL server of the benchmark's own, from the binaries of this machine: durable, on a socket in a folder.

It is set as PostgreSQL comes, but for the memory and the WAL that anybody gives it who has read the first page of a
guide. Nobody else reaches it, and it ends with the benchmark. PostgreSQL refuses to run as root: there its user does.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import Connection

from adapter.bench import process
from adapter.errors import Unavailable
from adapter.store.engine import Hot, Server

USER = "postgres"  # of the database; and, for root, who runs the server
PLACES = ("/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt")
SETTINGS = ("shared_buffers=256MB", "max_wal_size=2GB", "max_connections=64", "listen_addresses=")
START_S = 30.0


@dataclass(frozen=True, slots=True)
class Database:
    """A running server with one empty database."""

    folder: Path
    pid: int
    version: str
    binaries: Path

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@/postgres?host={self.folder}"

    def new(self, name: str) -> str:
        """The URL of another database, which is made."""
        made = _run([self.binaries / "createdb", "-h", self.folder, "-U", USER, name])
        if made.returncode:
            raise Unavailable("the database could not be made")
        return f"postgresql://{USER}@/{name}?host={self.folder}"

    def memory_mb(self) -> float:
        """What the server and its children hold, each shared page once (PSS), in MB; 0 where the system does not
        tell."""
        return sum(map(process.pss_mb, (self.pid, *process.children(self.pid))))

    def disk_bytes(self) -> int:
        """What the database takes; not the server's WAL, which it uses again and again."""
        from adapter.store.postgres import PostgresDatabase  # a driver that most sites do without

        def work(conn: Connection) -> int:
            row = Hot(conn).one("SELECT pg_database_size(current_database())")
            return int(row[0]) if row else 0

        return PostgresDatabase(Server(self.url)).look(work)


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`, of the newest version that is installed; None where there is none that
    we can run, or no driver."""
    if find_spec("asyncpg") is None or (os.geteuid() == 0 and _runner() is None):
        return None
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    here = [path.parent for place in PLACES for path in Path(place).glob("*/bin/initdb")]
    return max(here, default=None, key=lambda path: [int(n) for n in path.parts[-2].split(".") if n.isdigit()])


@contextmanager
def running(binaries: Path) -> Iterator[Database]:
    """A fresh server while the context is open. Raises Unavailable when it does not start."""
    folder = Path(tempfile.mkdtemp(prefix="cb-bench-pg-"))  # a socket's path has 107 bytes: not in the run's own folder
    try:
        if runner := (_runner() if os.geteuid() == 0 else None):
            shutil.chown(folder, runner)
        made = _run([binaries / "initdb", "-D", folder / "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C"])
        if made.returncode:
            raise Unavailable("the database server could not be made")
        with _serving(binaries, folder) as server:
            yield Database(folder, server.pid, _version(binaries), binaries)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _serving(binaries: Path, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    options = [part for option in (*SETTINGS, f"unix_socket_directories={folder}") for part in ("-c", option)]
    command = _texts([*_as_runner(), binaries / "postgres", "-D", folder / "data", *options])
    with (folder / "server.log").open("ab") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)  # noqa: S603 - the binary that was found
    try:
        until = time.monotonic() + START_S
        while _run([binaries / "pg_isready", "-q", "-h", folder]).returncode:
            if time.monotonic() > until or server.poll() is not None:
                raise Unavailable("the database server did not start")
            time.sleep(0.05)
        yield server
    finally:
        _run([binaries / "pg_ctl", "-D", folder / "data", "-m", "fast", "-s", "stop"])
        server.wait(START_S)


def _version(binaries: Path) -> str:
    """Of `postgres (PostgreSQL) 15.18 (Debian …)` the third word."""
    return "".join(_run([binaries / "postgres", "-V"]).stdout.split()[2:3])


def _run(command: Sequence[object]) -> subprocess.CompletedProcess[str]:
    done = [*_as_runner(), *command]
    return subprocess.run(_texts(done), cwd="/", capture_output=True, text=True, check=False)  # noqa: S603 - as above


def _runner() -> str | None:
    for name in (USER, "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    return None


def _as_runner() -> list[str]:
    name = _runner() if os.geteuid() == 0 else None
    if name is None:
        return []
    user = pwd.getpwnam(name)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--pdeathsig=QUIT", "--"]


def _texts(command: Sequence[object]) -> list[str]:
    return [str(part) for part in command]
