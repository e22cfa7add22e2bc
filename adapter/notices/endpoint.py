"""Where notices may go: https, a host on the client's list, and an address of the public internet.

The name is resolved when a Subscription is registered and again before each notice, and the connection is made to an
address that was checked: a name that changes its mind in between (DNS rebinding) leads nowhere else. One private
address among several refuses the name.

Source: fhir chapter §10; OWASP SSRF Prevention; the special-purpose address registries of IANA, as Python knows them.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

from adapter.errors import Unprocessable

PORT = 443
RESOLVE_S = 5.0
MAX_ADDRESSES = 16
# addresses that hold another one, which nobody here can judge the way to: RFC 6052, RFC 8215, RFC 3056, RFC 4380
TUNNELS = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))

_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_PATH = re.compile(r"(/[A-Za-z0-9\-._~!$&'()*+,;=:@%]*)*")

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`https://host:port/path`."""

    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """As `Host` and the client's list name it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORT else f"{host}:{self.port}"


class NotPublic(Exception):
    """The name leads to an address that is not of the public internet, or to none. `reason` is a word for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse(url: str) -> Endpoint:
    """An endpoint. Raises Unprocessable, whose text says what is wrong and never what was given."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or PORT
    except ValueError as exc:
        raise Unprocessable("the endpoint is no URL", code="endpoint") from exc
    if parts.scheme != "https":
        raise Unprocessable("the endpoint is not https", code="endpoint")
    if "@" in parts.netloc or parts.query or parts.fragment or "?" in url or "#" in url:
        raise Unprocessable("the endpoint has credentials, a query or a fragment: use a header", code="endpoint")
    if not (_HOST.fullmatch(host) or _literal(host)) or not _PATH.fullmatch(parts.path) or len(url) > 2048:
        raise Unprocessable("the endpoint is no URL that can be sent to", code="endpoint")
    return Endpoint(host, port, parts.path or "/")


def _literal(host: str) -> bool:
    try:
        return "%" not in host and bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def is_public(address: Address) -> bool:
    """Whether this is an address of the public internet, and leads to no other."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if any(address in one for one in TUNNELS):
            return False
    bad = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback
    return address.is_global and not bad and not address.is_link_local and not address.is_private


async def system_resolve(host: str, port: int) -> list[str]:
    """Every address that the system knows for a name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in found]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """How names become addresses, which of them are allowed, and whose certificates are believed.

    The three are a node's and the same for everybody; tests bring their own.
    """

    resolve: Resolve = system_resolve
    allowed: Callable[[Address], bool] = is_public
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    async def addresses(self, endpoint: Endpoint) -> list[str]:
        """The checked addresses of an endpoint. Raises NotPublic."""
        try:
            async with asyncio.timeout(RESOLVE_S):
                found = await self.resolve(endpoint.host, endpoint.port)
        except (OSError, TimeoutError, UnicodeError) as exc:
            raise NotPublic("unresolved") from exc
        unique = list(dict.fromkeys(found))[:MAX_ADDRESSES]
        if not unique or len(set(found)) > MAX_ADDRESSES:
            raise NotPublic("unresolved")
        if not all(self.allowed(_address(one)) for one in unique):
            raise NotPublic("address")
        return unique


def _address(text: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as exc:  # a scoped address: of this link only
        raise NotPublic("address") from exc


def listed(endpoint: Endpoint, hosts: Collection[str]) -> bool:
    """Whether a client's list (`host`, or `host:port` beyond 443) names it."""
    return endpoint.authority in {one.lower() for one in hosts}
