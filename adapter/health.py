"""`/livez` and `/readyz` of a process without the API, over a server that knows nothing else.

The API's own are `api/health.py`; both ask the same of the parts (`failing`), and a role asks more of its own. One
request a connection, no body, no parameters: a web framework would be most of the process of a thousand sockets.
Source: operations chapter §5; RFC 9112.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from adapter.errors import ChartbridgeError, Unavailable
from adapter.seal.keyring import Keyring
from adapter.store.engine import DataStore
from ledger.errors import LedgerError
from ledger.log import Ledger

MIN_FREE_BYTES = 64 * 1024 * 1024  # below it the next checkpoint of a WAL may not fit
REQUEST_S, REQUEST_BYTES = 5.0, 4_096
ANSWER_S = 3.0  # of one part: whoever asks is answered before it gives up

# Names of what does not answer now
Failing = Callable[[], Awaitable[list[str]]]


async def failing(store: DataStore, ledger: Ledger, keyring: Keyring, folder: Path) -> list[str]:
    """Parts that every role needs and that do not answer in time, be they away or hanging."""
    asked = {"store": store.check(), "log": ledger.entries(0, 1), "vault": keyring.open()}
    answers = await asyncio.gather(*map(_is_well, asked.values()))
    found = [name for name, is_well in zip(asked, answers, strict=True) if not is_well]
    if not _has_space(folder):
        found.append("disk")
    return found


async def _is_well(asked: Awaitable[object]) -> bool:
    try:
        async with asyncio.timeout(ANSWER_S):
            await asked
    except (ChartbridgeError, LedgerError, TimeoutError):
        return False
    return True


def ready(found: list[str]) -> tuple[int, bytes]:
    """Status and body of `/readyz`."""
    body = msgspec.json.encode({"status": "not ready" if found else "ready", "failing": found})
    return (503 if found else 200), body


async def serve(stack: AsyncExitStack, host: str, port: int, ask: Failing) -> None:
    """Answer until the stack closes. Raises Unavailable for a port that is taken."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                head = await reader.readuntil(b"\r\n\r\n")
                status, body = await _answer(head, ask)
                writer.write(_response(status, body))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked has gone, or asks nothing
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(answer, host, port, limit=REQUEST_BYTES)
    except OSError as exc:
        raise Unavailable(f"port {port} cannot be opened ({exc.strerror})", hint="set http.health_port") from exc
    stack.callback(server.close)


async def _answer(head: bytes, ask: Failing) -> tuple[int, bytes]:
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or words[0] not in (b"GET", b"HEAD"):
        return 405, b""
    if words[1] == b"/livez":
        return 200, b'{"status":"live"}'
    return ready(await ask()) if words[1] == b"/readyz" else (404, b"")


def _response(status: int, body: bytes) -> bytes:
    reason = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}[status]
    lines = (
        f"HTTP/1.1 {status} {reason}", "Content-Type: application/json", f"Content-Length: {len(body)}",
        "Cache-Control: no-store", "Connection: close",
    )  # fmt: skip
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def _has_space(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free >= MIN_FREE_BYTES
    except OSError:
        return False
