"""A real server that remembers what it was asked and what it answered, whoever asks."""

import asyncio
import os
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CLIENT_S = 60


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, as they went over the wire; header names in small letters."""

    method: str
    target: str
    asked: MutableMapping[str, str]
    status: int
    headers: MutableMapping[str, str]


@dataclass(slots=True)
class Recorder:
    """The application, with its ears open."""

    app: ASGIApp
    exchanges: list[Exchange] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def heard(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.exchanges.append(_exchange(scope, message))
            await send(message)

        await self.app(scope, receive, heard)

    def of(self, method: str, start: str) -> list[Exchange]:
        """Those of a method whose path and query begin like this."""
        return [one for one in self.exchanges if one.method == method and one.target.startswith(start)]


def _exchange(scope: Scope, message: Message) -> Exchange:
    query = scope["query_string"].decode()
    target = f"{scope['path']}?{query}" if query else scope["path"]
    return Exchange(
        scope["method"], target, _text(scope["headers"]), message["status"], _text(message.get("headers", ()))
    )


def _text(headers: Any) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in headers}


@asynccontextmanager
async def serving(app: ASGIApp, port: int) -> AsyncIterator[str]:
    """Serve on this port; gives the server's address."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical", ws="none", access_log=False))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn says it in an attribute
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


async def run(*command: str, folder: Path, seconds: float = CLIENT_S) -> str:
    """What a client's script prints. Fails with all it said where it ends badly, or not at all."""
    environment = {"HOME": str(folder), "PATH": os.environ["PATH"]}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(seconds):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    text = said.decode(errors="replace")
    assert process.returncode == 0, text
    return text
