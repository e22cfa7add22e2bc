"""OPTIONS of an address, and which browsers' apps may read its answers (CORS).

`OPTIONS` needs no token and looks nothing up: 204 with the methods that the address knows, 404 for one that there is
not; of `*` it tells the methods of the whole server.

A site names the origins of its apps (`http.origins`). Without any, no answer says a word of CORS, and a browser hands
none to a page of elsewhere. An origin is compared whole; there are no patterns. A token is sent by the app itself, and
no answer allows the browser's own credentials: a page of elsewhere can use no login of whoever reads it. Where a site
has such apps, what is public anyhow (CapabilityStatement, smart-configuration) may be read from any origin.

Source: RFC 9110 §9.3.7, §10.2.1; Fetch standard, "CORS protocol"; SMART App Launch 2.2, "Considerations for CORS
support"; fhir chapter §7.
"""

from collections.abc import Callable, Iterable, Sequence

from adapter.api import outcome
from adapter.api.call import Answer, Header, Message, Scope, Send, refusal

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
BASE = "/fhir"
MAX_AGE_S = 600  # that a browser need not ask again
# What an app may send with a request, and what it may read of an answer, besides what every page may.
TAKEN = (
    "Accept, Authorization, Content-Encoding, Content-Type, If-Match, If-Modified-Since, If-None-Exist, If-None-Match, "
    "Prefer, X-Request-Id"
)
SHOWN = (
    "Accept-Patch, Allow, Content-Digest, Content-Location, ETag, Last-Modified, Location, Retry-After, "
    "WWW-Authenticate, X-Ledger-Index, X-Progress, X-Request-Id"
)

Methods = Callable[[str], Sequence[str]]


def allow(methods: Iterable[str]) -> Header:
    return (b"allow", ", ".join(methods).encode())


class Browsers:
    """The origins of a site's apps. `is_public` tells an address that anybody may read."""

    def __init__(self, origins: Iterable[str], methods: Methods, is_public: Callable[[str], bool]) -> None:
        self._origins = frozenset(origins)
        self._methods, self._is_public = methods, is_public

    @property
    def known(self) -> bool:
        return bool(self._origins)

    def options(self, scope: Scope) -> Answer:
        """The answer to an OPTIONS request."""
        path = scope["path"]
        methods = METHODS if path == "*" else self._methods(path)
        if not methods:
            return refusal(outcome.from_status(404))
        headers = [allow(methods)]
        if header_of(scope, b"access-control-request-method") is not None and self._allowed(scope) is not None:
            headers += [
                (b"access-control-allow-methods", allow(methods)[1]),
                (b"access-control-allow-headers", TAKEN.encode()),
                (b"access-control-max-age", b"%d" % MAX_AGE_S),
            ]
        return Answer(204, headers=tuple(headers))

    def telling(self, scope: Scope, send: Send) -> Send:
        """`send`, that says who may read the answer."""
        origin = self._allowed(scope)

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _varied(message["headers"])
                if origin is not None:
                    message["headers"] += [
                        (b"access-control-allow-origin", origin),
                        (b"access-control-expose-headers", SHOWN.encode()),
                    ]
            await send(message)

        return told

    def _allowed(self, scope: Scope) -> bytes | None:
        """The origin to name: the asker's, where it is one of the site's; any, where anybody may read."""
        path, origin = scope["path"], header_of(scope, b"origin")
        if origin is None or not self.known or not (path == BASE or path.startswith(f"{BASE}/")):
            return None
        if origin.decode("latin-1") in self._origins:
            return origin
        return b"*" if self._is_public(path) else None


def _varied(headers: Iterable[Header]) -> list[Header]:
    """An answer to one origin is none to another."""
    return [(name, value + b", Origin" if name == b"vary" else value) for name, value in headers]


def header_of(scope: Scope, name: bytes) -> bytes | None:
    """Of one that stands twice nothing: no browser sends it so."""
    found = [value for key, value in scope["headers"] if key == name]
    return found[0] if len(found) == 1 else None
