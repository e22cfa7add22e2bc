"""A subscriber: a real https server that writes down what it is sent, and answers as it is told."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

import trustme

from adapter.notices.endpoint import Address, Endpoints

HOST = "hook.example.org"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
LOOPBACK = IPv4Address("127.0.0.1")


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"].strip('"')

    def status(self) -> dict[str, Any]:
        """The parameters of the status that a notification begins with, by name."""
        first = json.loads(self.body)["entry"][0]["resource"]["parameter"]
        return {one["name"]: next((value for name, value in one.items() if name != "name")) for one in first}

    def focus(self) -> dict[str, Any] | None:
        entries = json.loads(self.body)["entry"]
        found: dict[str, Any] | None = entries[1] if len(entries) > 1 else None
        return found


@dataclass
class Hook:
    """The server. `answer` is what it says next; `resolved` where its name leads, changed by tests."""

    authority: trustme.CA
    port: int = 0
    answer: bytes = OK
    received: list[Received] = field(default_factory=list)
    resolved: list[str] = field(default_factory=lambda: ["127.0.0.1"])
    allowed: Callable[[Address], bool] = lambda address: address == LOOPBACK
    meanwhile: Callable[[], Awaitable[None]] | None = None
    resolutions: int = 0

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}/notices"

    @property
    def place(self) -> str:
        return f"{HOST}:{self.port}"

    def endpoints(self) -> Endpoints:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return Endpoints(self._resolve, lambda address: self.allowed(address), context)

    async def _resolve(self, host: str, port: int) -> list[str]:
        assert host == HOST
        self.resolutions += 1
        return list(self.resolved)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
            headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in head[1:] if one)}
            body = await reader.readexactly(int(headers["content-length"]))
            self.received.append(Received(head[0], headers, body))
            if self.meanwhile is not None:
                await self.meanwhile()
            writer.write(self.answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(name: str = HOST) -> AsyncIterator[Hook]:
    """A subscriber that is up while the context is open, with a certificate for `name`."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    hook = Hook(authority)
    server = await asyncio.start_server(hook.serve, "127.0.0.1", 0, ssl=context)
    hook.port = server.sockets[0].getsockname()[1]
    try:
        yield hook
    finally:
        server.close()
