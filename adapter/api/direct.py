"""From an address to the row of the table that answers it, without the framework's walk over all its routes.

The framework asks each route in turn, and hands a request through its layers of refusals. What the table holds is
found here by method and number of segments, in the table's order, and goes to its endpoint at once: an endpoint turns
every error of ours into an answer by itself. All else is the framework's: what is in no row, a method that an address
does not know, and addresses of any length.

Source: ASGI 3; `routes.py`.
"""

import re
from collections.abc import Iterable

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

_ANY_LENGTH = ":path}"  # a parameter that takes slashes


class Direct:
    """The layer before the framework's own."""

    def __init__(self, otherwise: ASGIApp, routes: Iterable[Route]) -> None:
        self._otherwise = otherwise
        self._rows: dict[tuple[str, int], list[tuple[re.Pattern[str], ASGIApp]]] = {}
        for route in routes:
            if _ANY_LENGTH not in route.path:
                for method in route.methods or ():
                    rows = self._rows.setdefault((method, _segments(route.path)), [])
                    rows.append((route.path_regex, route.app))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope.get("root_path"):
            path = scope["path"]
            for pattern, endpoint in self._rows.get((scope["method"], _segments(path)), ()):
                if (found := pattern.match(path)) is not None:
                    scope["path_params"] = found.groupdict()
                    await endpoint(scope, receive, send)
                    return
        await self._otherwise(scope, receive, send)


def _segments(path: str) -> int:
    """How many there are; a slash at the end begins none."""
    return path.removesuffix("/").count("/")
