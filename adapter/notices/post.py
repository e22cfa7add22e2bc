"""One POST over https, to an address that was checked before.

Nothing is followed and nothing is read but the status: a subscriber is a stranger, and has `POST_S` for all of it. The
certificate is the name's, whichever of its addresses answers. By hand, on asyncio: a client library would resolve the
name again, follow redirects, take proxies from the environment or log the URL.
Source: RFC 9112 (HTTP/1.1); draft-ietf-httpapi-idempotency-key-header.
"""

import asyncio
import re
import ssl
from collections.abc import Sequence

from adapter.notices.endpoint import Endpoint, Endpoints, NotPublic

POST_S = 10.0
MAX_HEAD_BYTES = 16 * 1024
INTERIM = 5  # 1xx answers before the answer

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: .*)?\r?\n?")


async def post(
    endpoints: Endpoints,
    endpoint: Endpoint,
    body: bytes,
    headers: Sequence[tuple[str, str]],
    timeout_s: float = POST_S,
) -> str:
    """ "" when it arrived (2xx), else a word that says why not: `http-503`, `timeout`, `tls`, `connect`, `address` …"""
    try:
        async with asyncio.timeout(timeout_s):
            addresses = await endpoints.addresses(endpoint)
            status = await _any(endpoints, addresses, endpoint, _request(endpoint, body, headers))
    except NotPublic as exc:
        return exc.reason
    except TimeoutError:
        return "timeout"
    except ssl.SSLError:
        return "tls"
    except OSError:
        return "connect"
    if status is None:
        return "no-http"
    return "" if 200 <= status < 300 else f"http-{status}"


def _request(endpoint: Endpoint, body: bytes, headers: Sequence[tuple[str, str]]) -> bytes:
    lines = [
        f"POST {endpoint.path} HTTP/1.1",
        f"Host: {endpoint.authority}",
        "Connection: close",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + body


async def _any(endpoints: Endpoints, addresses: Sequence[str], endpoint: Endpoint, request: bytes) -> int | None:
    """The status that the first address gives which can be connected to."""
    for last, address in zip([*[False] * (len(addresses) - 1), True], addresses, strict=True):
        try:
            reader, writer = await asyncio.open_connection(
                address, endpoint.port, ssl=endpoints.context, server_hostname=endpoint.host, limit=MAX_HEAD_BYTES
            )
        except ssl.SSLError:
            raise
        except OSError:
            if last:
                raise
            continue
        try:
            writer.write(request)
            await writer.drain()
            return await _status(reader)
        finally:
            writer.transport.abort()  # nothing more is wanted of it, nor waited for
    return None


async def _status(reader: asyncio.StreamReader) -> int | None:
    """The status of the final answer; None where what comes is no HTTP."""
    try:
        for _ in range(INTERIM):
            match = _STATUS.fullmatch(await reader.readuntil(b"\n"))
            if match is None:
                return None
            if not match[1].startswith(b"1"):
                return int(match[1])
            while (await reader.readuntil(b"\n")).strip():
                pass
    except (asyncio.LimitOverrunError, asyncio.IncompleteReadError):
        return None
    return None
