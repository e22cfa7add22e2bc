"""The HTTP server, behind this one file: granian, embedded in the node's own event loop.

Its embedded mode is young, so nothing else imports it; the tests also run the application on uvicorn.
Source: operations chapter §2.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from granian.constants import Interfaces
from granian.server.embed import Server

from adapter.errors import ConfigurationError, Unavailable
from adapter.settings import LOOPBACK, Http

STOP_S = 5.0
READY_S = 10.0


def check(http: Http) -> None:
    """Beyond loopback there is TLS, here or at a declared proxy. Raises ConfigurationError."""
    if http.host not in LOOPBACK and not (http.tls_cert_file and http.tls_key_file) and not http.proxy:
        raise ConfigurationError(
            "http.host is open to others without TLS",
            hint="set http.tls_cert_file and http.tls_key_file, or http.proxy",
        )


def free_port(host: str) -> int:
    """A port that is free now, for `http.port = 0`: the embedded server cannot say which one it took."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def serving(app: FastAPI, http: Http, site: Path) -> AsyncIterator[None]:
    """Serve `app` while the context is open. Raises Unavailable when the port cannot be opened."""
    server = Server(
        app,
        address=http.host,
        port=http.port,
        interface=Interfaces.ASGI,
        websockets=False,
        log_enabled=False,
        ssl_cert=site / http.tls_cert_file if http.tls_cert_file else None,
        ssl_key=site / http.tls_key_file if http.tls_key_file else None,
    )
    _claim(http)
    task = asyncio.create_task(server.serve(), name="http")
    try:
        await _answering(http, task)
        yield
    finally:
        server.stop()  # type: ignore[no-untyped-call]
        done, _ = await asyncio.wait({task}, timeout=STOP_S)
        if not done:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _claim(http: Http) -> None:
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((http.host, http.port))
        except OSError as exc:
            raise Unavailable(f"port {http.port} cannot be opened ({exc.strerror})", hint="set http.port") from exc


async def _answering(http: Http, task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(READY_S):
        while True:
            if task.done():
                task.result()
                raise Unavailable("the HTTP server did not start")
            try:
                _, writer = await asyncio.open_connection(http.host, http.port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return
