"""The HTTP server, behind this one file: granian, embedded in the node's own event loop.

Its embedded mode is young, so nothing else imports it; the tests also run the application on uvicorn.
Source: operations chapter §2.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from adapter.errors import ConfigurationError, Unavailable
from adapter.settings import LOOPBACK, Http

ANYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - the names of all addresses
# Connections at once: with the server's own 128, that many half-open ones would shut everybody else out.
CONNECTIONS = 2048
BACKLOG = 1024
HEADERS_MS = 10_000  # for the whole head of a request, however slowly it drips
STOP_S = 5.0
READY_S = 10.0


def check(http: Http, site: Path) -> None:
    """Beyond loopback: TLS, here or at a declared proxy, and a name to call it by. Raises ConfigurationError."""
    files = (http.tls_cert_file, http.tls_key_file)
    if any(files) and not all(files):
        raise ConfigurationError("http.tls_cert_file and http.tls_key_file belong together", hint="set both or none")
    for file in files:
        if file is not None and not (site / file).is_file():
            raise ConfigurationError(f"{file} is missing", hint="set http.tls_cert_file and http.tls_key_file")
    if http.host in ANYWHERE and not http.base:
        raise ConfigurationError("http.host names no host that a client could call", hint="set http.base")
    if http.host not in LOOPBACK and not all(files) and not http.proxy:
        raise ConfigurationError(
            "http.host is open to others without TLS",
            hint="set http.tls_cert_file and http.tls_key_file, or http.proxy",
        )


def free_port(host: str) -> int:
    """A port that is free now: the embedded server cannot say which one it took when it is asked for any."""
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
        backlog=BACKLOG,
        backpressure=CONNECTIONS,
        http1_settings=HTTP1Settings(header_read_timeout=HEADERS_MS),
        ssl_cert=site / http.tls_cert_file if http.tls_cert_file else None,
        ssl_key=site / http.tls_key_file if http.tls_key_file else None,
    )
    stop: Callable[[], object] = server.stop  # which has no types of its own
    _claim(http)
    task = asyncio.create_task(server.serve(), name="http")
    try:
        await _answering(http, task)
        yield
    finally:
        stop()
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
    try:
        async with asyncio.timeout(READY_S):
            while not task.done():
                try:
                    _, writer = await asyncio.open_connection(http.host, http.port)
                except OSError:
                    await asyncio.sleep(0.02)
                    continue
                writer.close()
                return
    except TimeoutError as exc:
        raise Unavailable("the HTTP server did not answer", hint="chartbridge doctor") from exc
    raise Unavailable("the HTTP server did not start", hint="chartbridge doctor") from task.exception()
