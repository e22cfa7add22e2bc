"""A wire between a client and its PostgreSQL server that can be cut around a COMMIT, on unix sockets of its own.

- `before`: the COMMIT never reaches the server, which undoes the transaction when the connection is gone
- `after`: the server has answered that it stands, and the answer is lost
- `during`: the connection is gone while the server is at it

`refusing` lets nobody in: the server cannot be asked what became of it.
"""

import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from adapter.store.place import Server
from tests.databases import PostgresServer

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"  # a simple query (PostgreSQL 15, "Message Formats")
NAME = ".s.PGSQL.5432"

Cut = Literal["before", "after", "during"]


@dataclass
class Wire:
    """`cuts` is what happens to the next COMMITs of units that write, None to one that passes.

    `refuse_after`: from a cut on nobody gets in.
    """

    server: PostgresServer
    folder: Path
    cuts: list[Cut | None] = field(default_factory=list)
    refuse_after: bool = False
    refusing: bool = False
    done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _strands: "list[_Strand]" = field(default_factory=list)
    _listener: socket.socket = field(default_factory=lambda: socket.socket(socket.AF_UNIX))

    def place(self, database: str = "store") -> Server:
        return Server(self.server.url(database).replace(str(self.server.folder), str(self.folder)))

    def plan(self, *cuts: Cut | None) -> None:
        with self._lock:
            self.cuts = list(cuts)

    def _next(self) -> Cut | None:
        with self._lock:
            cut = self.cuts.pop(0) if self.cuts else None
            self.done += cut is not None
            self.refusing = self.refusing or (cut is not None and self.refuse_after)
            return cut

    def open(self) -> None:
        self._listener.bind(str(self.folder / NAME))
        self._listener.listen(64)
        self._accepting = threading.Thread(target=self._accept, name="wire", daemon=True)
        self._accepting.start()

    def close(self) -> None:
        _shut(self._listener)
        self._accepting.join()
        self._listener.close()
        for strand in self._strands:
            strand.cut()
            strand.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.refusing:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self.server.folder / NAME))
                strand = _Strand(self, client, server)
                self._strands.append(strand)
                strand.start()


class _Strand(threading.Thread):
    """One connection; its sockets are closed with it."""

    def __init__(self, wire: Wire, client: socket.socket, server: socket.socket) -> None:
        super().__init__(name="wire", daemon=True)
        self._wire, self._client, self._server = wire, client, server
        self._deaf = False  # what the server says is lost
        self._writes = False
        self._said = threading.Event()

    def run(self) -> None:
        answering = threading.Thread(target=self._answer, name="wire", daemon=True)
        answering.start()
        self._ask()
        answering.join()
        self._client.close()
        self._server.close()

    def cut(self) -> None:
        self._said.set()
        _shut(self._client, self._server)

    def _ask(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(1 << 16):
                if data[5:10] == b"BEGIN":
                    self._writes = b"READ WRITE" in data
                cut = self._wire._next() if self._writes and data.endswith(COMMIT) else None
                if cut == "before":
                    break
                if cut is not None:
                    self._deaf = True
                    self._server.sendall(data)
                    if cut == "after":
                        self._said.wait(20)
                    _shut(self._client)
                    return
                self._server.sendall(data)
        _shut(self._client, self._server)

    def _answer(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(1 << 16):
                if self._deaf:
                    self._said.set()
                    break
                self._client.sendall(data)
        _shut(self._client, self._server)


def _shut(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def wired(server: PostgresServer, cuts: Sequence[Cut | None] = ()) -> Iterator[Wire]:
    folder = Path(tempfile.mkdtemp(prefix="cb-wire-"))  # short: a socket's path has 107 bytes
    wire = Wire(server, folder, list(cuts))
    wire.open()
    try:
        yield wire
    finally:
        wire.close()
        shutil.rmtree(folder, ignore_errors=True)
