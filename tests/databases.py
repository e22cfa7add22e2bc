"""A PostgreSQL server of the tests' own, from the binaries of this machine.

One server a test process, in a temporary folder, on a unix socket that only its user can reach, ended with the process.
It is as durable as a real one only where a test asks for it (`durable`): nothing here survives the tests.

Where there are no binaries the tests are skipped and say so; CHARTBRIDGE_NEEDS_POSTGRES=1 makes that a failure.
"""

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from adapter.store.place import Server
from adapter.store.postgres import PostgresDatabase
from adapter.store.server_pool import ServerPool
from adapter.store.statements import Hot
from adapter.store.tables import meta, metadata
from ledger import vault_server
from ledger.store import postgres

NEEDED = "CHARTBRIDGE_NEEDS_POSTGRES"
USER = "postgres"  # of the database; and, where the tests run as root, who runs the server
QUICK = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")
START_S = 30.0
EMPTY_LOG = """TRUNCATE entry, entry_id, ended, subject_epoch, tile, checkpoint, lease;
    UPDATE head SET size = 0, last_t = '', ends = 0"""
PLACES = ("/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt")


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`: of the newest version that is installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    found_here = [path.parent for place in PLACES for path in Path(place).glob("*/bin/initdb")]
    return max(found_here, default=None, key=lambda path: [int(n) for n in path.parts[-2].split(".") if n.isdigit()])


def needed() -> Path:
    """`binaries`, or the test is skipped, or failed where they must be there."""
    found = binaries()
    if found is None or (os.geteuid() == 0 and _runner() is None):
        why = "no PostgreSQL binaries (initdb, postgres) on this machine" if found is None else "root cannot run initdb"
        if os.environ.get(NEEDED):
            pytest.fail(f"{why}, and {NEEDED} is set")
        pytest.skip(why)
    return found


def _runner() -> str | None:
    """Who runs the server where the tests are root's: PostgreSQL refuses to be."""
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


@dataclass
class PostgresServer:
    """A server, by the folder that holds its data and its socket."""

    folder: Path
    bin: Path
    settings: tuple[str, ...] = QUICK
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}@/{database}?host={self.folder}"

    def start(self) -> None:
        """Returns when it answers."""
        options = ["listen_addresses=", f"unix_socket_directories={self.folder}", "max_connections=200", *self.settings]
        command = [*_as_runner(), self.bin / "postgres", "-D", self.folder / "data"]
        command += [part for option in options for part in ("-c", option)]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(_texts(command), stdout=log, stderr=log, cwd=self.folder)  # noqa: S603
        until = time.monotonic() + START_S
        while subprocess.run(_texts([self.bin / "pg_isready", "-q", "-h", self.folder]), check=False).returncode:  # noqa: S603
            if time.monotonic() > until or self.process.poll() is not None:
                raise RuntimeError(f"the server did not start:\n{(self.folder / 'server.log').read_text()}")
            time.sleep(0.02)

    def stop(self, mode: str = "immediate") -> None:
        """`immediate` is a crash: the next start recovers from the WAL."""
        if self.process is not None:
            asked = [*_as_runner(), self.bin / "pg_ctl", "-D", self.folder / "data", "-m", mode, "-s", "stop"]
            subprocess.run(_texts(asked), check=False, cwd=self.folder, capture_output=True)  # noqa: S603
            self.process.wait(START_S)
            self.process = None

    def sql(self, text: str, database: str = "postgres") -> str:
        """What `psql` prints for it."""
        command = [self.bin / "psql", "-XqtA", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-U", USER, "-d", database]
        done = subprocess.run(_texts([*command, "-c", text]), check=True, capture_output=True, text=True)  # noqa: S603
        return str(done.stdout).strip()


@contextmanager
def running(*settings: str) -> Iterator[PostgresServer]:
    """A fresh server; what `settings` say stands above what makes it quick."""
    bin_ = needed()
    folder = Path(tempfile.mkdtemp(prefix="cb-pg-"))  # short: a socket's path has 107 bytes
    try:
        if runner := (_runner() if os.geteuid() == 0 else None):
            shutil.chown(folder, runner)
        initdb = [*_as_runner(), bin_ / "initdb", "-D", folder / "data", "-U", USER, "-A", "trust", "-N", "-E", "UTF8"]
        initdb += ["--locale=C", "--data-checksums"]
        made = subprocess.run(_texts(initdb), cwd=folder, capture_output=True, check=False)  # noqa: S603
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stderr.decode()}")
        server = PostgresServer(folder, bin_, (*QUICK, *settings))
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def empty(place: Server) -> None:
    """Take every row out of a store, and begin its numbers anew."""

    def work(conn: Connection) -> None:
        gone = [f"DELETE FROM {name}" for name in metadata.tables if name != meta.name]  # noqa: S608 - our own names
        anew = ["ALTER SEQUENCE number RESTART", "ALTER SEQUENCE transition_n_seq RESTART"]
        Hot(conn).run("; ".join([*gone, *anew]))

    PostgresDatabase(place).change(work)


def make_log(server: PostgresServer, pairing: str, origin: str, database: str = "log") -> Server:
    """A new database with an empty log. Also for a caller within a loop."""
    return _make(server, database, lambda pool: postgres.create_log(pool, pairing, origin))


def make_vault(server: PostgresServer, pairing: str, database: str = "vault") -> Server:
    """A new database with an empty vault."""
    return _make(server, database, lambda pool: vault_server.create_vault(pool, pairing))


def _make(server: PostgresServer, database: str, tables: Callable[[ServerPool], Coroutine[Any, Any, None]]) -> Server:
    server.sql(f"CREATE DATABASE {database}")
    place = Server(server.url(database))

    async def make() -> None:
        pool = ServerPool(place, "test")
        try:
            await tables(pool)
        finally:
            await pool.close()

    with ThreadPoolExecutor(1) as beside:
        beside.submit(asyncio.run, make()).result()
    return place


def empty_vault(server: PostgresServer, database: str = "vault") -> None:
    """Take every row out of a vault."""
    gone = "TRUNCATE subject, org_key, message_key, detail"
    server.sql(f"SET session_replication_role = replica; {gone}", database)


def empty_log(server: PostgresServer, database: str = "log") -> None:
    """Take every row out of a log, as only the owner of the whole server can."""
    server.sql("SET session_replication_role = replica; " + EMPTY_LOG, database)


def empty_journal(place: Server) -> None:
    """Take every message out of a journal, and begin its numbers anew."""

    def work(conn: Connection) -> None:
        Hot(conn).run("DELETE FROM message; UPDATE journal_head SET seq = 0")

    PostgresDatabase(place).change(work)


def pair(place: Server, pairing: str) -> None:
    """Let a store belong to the site of this pairing id."""

    def work(conn: Connection) -> None:
        Hot(conn).run("UPDATE meta SET value = ? WHERE key = 'pairing'", (pairing,))

    PostgresDatabase(place).change(work)
