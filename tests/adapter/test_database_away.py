"""The database is away, hangs, is locked or full: refused with 503, alive and not ready, nothing acknowledged is lost.

A running node, its API and its MLLP port, through each trouble that there is, and out of it again without a restart.
A message that was acknowledged meanwhile (a file's journal is a file of its own) has taken effect in the end; one that
was not is sent again by its sender, and takes effect once.
Issue 6 (bad input); operations chapter §5 (health), §9 (F5 to F8).
"""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from adapter import health
from adapter.client import FhirClient
from adapter.files import write_private
from adapter.http_server import free_port
from adapter.node import Node, running
from adapter.sender import acknowledgement_code, send_one
from adapter.site import create
from adapter.store import messages, postgres, sessions, sqlite
from tests import databases
from tests.adapter.api.conftest import patient
from tests.adapter.conftest import register
from tests.adapter.nodes import HOST, a08, states
from tests.faults.test_disk_full import fill, mounted, small_disk
from tests.simulators.ward import client

__all__ = ["small_disk"]

Trouble = Callable[[], AbstractContextManager[None]]
ALL, WRITES = frozenset({503}), frozenset({200, 503})  # what a read may say: where only writing fails it may be served


@dataclass
class Case:
    """A site, the trouble that its database can have, and what a read may say in it."""

    folder: Path
    trouble: Trouble
    reads: frozenset[int]


def made(folder: Path, url: Path | None = None) -> Path:
    urls = {"store": url} if url else {}
    found = create(folder, org="hosp", name="H", http_port=free_port(HOST), mllp_port=0, url_files=urls)
    register(found)
    return found


# --- the troubles ----------------------------------------------------------------------------------------------------


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process writes and does not come to an end."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    ballast = fill(folder)
    left = folder / "left"
    with left.open("wb") as more:
        while shutil.disk_usage(folder).free >= 4096:
            more.write(b"\0" * 4096)
            more.flush()
    yield
    left.unlink()
    ballast.unlink()


@contextmanager
def stopped(server: databases.PostgresServer) -> Iterator[None]:
    """As a crash does."""
    server.stop()
    yield
    server.start()


@contextmanager
def hanging(server: databases.PostgresServer) -> Iterator[None]:
    """Everything of the server stands still: it takes connections and says nothing."""
    assert server.process is not None
    found = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout  # noqa: S607
    parents = {int(pid): int(parent) for pid, parent in (line.split() for line in found.splitlines())}
    main = next((pid for pid, parent in parents.items() if parent == server.process.pid), server.process.pid)
    every = {
        server.process.pid,
        main,
        *(pid for pid, parent in parents.items() if parent in (main, server.process.pid)),
    }
    for pid in every:
        _signal(pid, signal.SIGSTOP)
    yield
    for pid in every:
        _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


@pytest.fixture
def file_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    pragmas = tuple("busy_timeout=300" if one.startswith("busy_timeout") else one for one in sqlite.PRAGMAS)
    monkeypatch.setattr(sqlite, "PRAGMAS", pragmas)
    folder = made(tmp_path / "site")
    return Case(folder, partial(locked, folder / "data.sqlite3"), WRITES)


@pytest.fixture
def file_full(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(health, "MIN_FREE_BYTES", 1 << 20)
    return Case(made(small_disk / "site"), partial(filled, small_disk), WRITES)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[databases.PostgresServer]:
    for name in ("COMMAND_S", "CONNECT_S"):
        monkeypatch.setattr(sessions, name, 1.0)
    monkeypatch.setattr(postgres, "SETTLE_S", 1.0)
    with databases.running() as started:
        started.sql("CREATE DATABASE site")
        yield started


def on(server: databases.PostgresServer, folder: Path) -> Path:
    write_private(folder / "url", server.url("site").encode() + b"\n")
    return made(folder / "site", folder / "url")


@pytest.fixture
def server_stopped(own: databases.PostgresServer, tmp_path: Path) -> Case:
    return Case(on(own, tmp_path), partial(stopped, own), ALL)


@pytest.fixture
def server_hanging(own: databases.PostgresServer, tmp_path: Path) -> Case:
    return Case(on(own, tmp_path), partial(hanging, own), ALL)


@pytest.fixture
def server_full(own: databases.PostgresServer, tmp_path: Path) -> Iterator[Case]:
    """Its tables lie on a small disk; what it writes ahead does not: a full WAL would be a crash."""
    folder = Path(tempfile.mkdtemp(prefix="cb-disk-"))  # where the server's user can go
    folder.chmod(0o755)
    with mounted(folder) as disk:
        place = disk / "tables"
        place.mkdir()
        shutil.chown(place, databases.USER)
        own.sql(f"CREATE TABLESPACE small LOCATION '{place}'")
        own.sql("ALTER DATABASE site SET TABLESPACE small")
        yield Case(on(own, tmp_path), partial(filled, disk), WRITES)
        own.stop()
    folder.rmdir()


# --- through it and out of it ----------------------------------------------------------------------------------------


async def healthy(node: Node) -> tuple[int, int]:
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{node.http_port}", timeout=30) as http:
        return (await http.get("/livez")).status_code, (await http.get("/readyz")).status_code


async def until_ready(node: Node) -> None:
    async with asyncio.timeout(30):
        while await healthy(node) != (200, 200):  # noqa: ASYNC110 - a server's matter
            await asyncio.sleep(0.1)


async def say(node: Node, number: int) -> str:
    """The code of the acknowledgement, which comes in a sender's time."""
    answer = await send_one(HOST, node.mllp_port(), a08(str(number), "11", street=f"Weg {number}"))
    return acknowledgement_code(answer)


async def refused(of: FhirClient, name: str) -> None:
    answer = await of.send("PUT", f"/Patient/{name}", patient(name) | _fills(name))
    assert answer.status == 503, (answer.status, answer.body)
    assert answer.headers["retry-after"]
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert answer.json()["issue"][0]["code"] == "transient"


def _fills(name: str) -> dict[str, object]:
    return {"name": [{"family": f"Muster {name}", "text": os.urandom(30_000).hex()}]}


TROUBLES = [
    "file_locked",
    pytest.param("file_full", marks=pytest.mark.crash),
    pytest.param("server_stopped", marks=pytest.mark.postgres),
    pytest.param("server_hanging", marks=pytest.mark.postgres),
    pytest.param("server_full", marks=[pytest.mark.postgres, pytest.mark.crash]),
]


@pytest.mark.parametrize("name", TROUBLES)
def test_what_it_cannot_do_now_it_refuses_and_it_is_back_by_itself(name: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(name)
    asyncio.run(_through(case))


async def _through(case: Case) -> None:
    of = client(case.folder, "ward")
    async with running(case.folder) as node:
        assert (await of.send("PUT", "/Patient/p1", patient())).status == 201
        assert await say(node, 1) == "CA"
        await asyncio.wait_for(node.settled(), 30)
        assert await healthy(node) == (200, 200)
        with case.trouble():
            for turn in range(3):
                answer = await of.send("PUT", f"/Patient/n{turn}", patient(f"n{turn}") | _fills(f"n{turn}"))
                if answer.status != 201:  # what room there was is gone
                    break
            await refused(of, "p2")
            read = await of.get("/Patient/p1")
            assert read.status in case.reads
            assert read.status == 200 or read.headers["retry-after"]
            assert await healthy(node) == (200, 503)
            told = {number: await say(node, number) for number in (2, 3)}
            assert set(told.values()) <= {"CE", "CA"}, "refused or kept"
            assert not node.failed.done()
        await until_ready(node)
        assert (await of.send("PUT", "/Patient/p2", patient("p2"))).status == 201
        assert (await of.get("/Patient/p1")).status == 200
        for number in [number for number, code in told.items() if code == "CE"] + [4]:
            assert await say(node, number) == "CA", "as its sender does, who was told to"
        await asyncio.wait_for(node.settled(), 60)
        assert sorted((await states(node)).values()) == [messages.DELIVERED] * 4, "each took effect, once"
