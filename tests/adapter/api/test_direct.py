"""What is found at once is what the framework would have found, for each address and method of the table and others."""

import re
from typing import Any, cast

import pytest
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from adapter.api.direct import Direct
from adapter.api.routes import TABLE, routes
from adapter.services import Services

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE")
FRAMEWORK = -1


class _Reached:
    """An endpoint by its number, and what came to it."""

    def __init__(self, number: int, heard: list[tuple[int, Any]]) -> None:
        self._number, self._heard = number, heard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._heard.append((self._number, scope.get("path_params")))


def addresses() -> list[str]:
    """Of each row, with names that other rows have as words of their own; and what no row has."""
    made = [
        re.sub(r"\{[^}]*\}", name, row.path)
        for row in TABLE
        for name in ("Patient", "x", "_history", "_search", "$export", "metadata", "job", "a%2Fb", "ä")
    ]
    odd = [
        "",
        "/",
        "//",
        "/fhir//",
        "/fhir//x",
        "/fhir/Patient//x",
        "/other",
        "/fhir/a/b/c/d/e/f",
        "fhir/Patient",
        "\n",
    ]
    plain = list(dict.fromkeys(made + odd))
    return plain + [f"{path}/" for path in plain] + [path + end for path in plain for end in ("//", "\n", "/\n")]


def expected(table: list[Route], scope: Scope) -> tuple[int, Any]:
    for number, route in enumerate(table):
        match, child = route.matches(dict(scope))
        if match is Match.FULL and ":path}" not in route.path:
            return number, child["path_params"]
        if match is Match.FULL:
            break
    return FRAMEWORK, None


@pytest.mark.parametrize("method", METHODS)
async def test_it_is_what_the_framework_finds(method: str) -> None:
    heard: list[tuple[int, Any]] = []
    table = routes(cast(Services, None))
    for number, route in enumerate(table):
        route.app = _Reached(number, heard)
    direct = Direct(_Reached(FRAMEWORK, heard), table)
    found = set[int]()
    for path in addresses():
        scope: Scope = {"type": "http", "method": method, "path": path, "root_path": ""}
        heard.clear()
        await direct(dict(scope), cast(Receive, None), cast(Send, None))
        assert heard == [expected(table, scope)], path
        found.add(heard[0][0])
    answering = {number for number, row in enumerate(TABLE) if method in (table[number].methods or ())}
    first = {number for number in answering if not _is_twice(number)}
    assert found - {FRAMEWORK} == {number for number in first if ":path}" not in TABLE[number].path}


def _is_twice(number: int) -> bool:
    """Whether a row before it takes everything that it would take."""
    row = TABLE[number]
    return any(before.path == row.path and set(row.methods) <= set(before.methods) for before in TABLE[:number])


async def test_below_another_address_and_beside_http_it_leaves_all_to_the_framework() -> None:
    heard: list[tuple[int, Any]] = []
    table = routes(cast(Services, None))
    for route in table:
        route.app = _Reached(0, heard)
    direct = Direct(_Reached(FRAMEWORK, heard), table)
    for scope in (
        {"type": "http", "method": "GET", "path": "/fhir/Patient/x", "root_path": "/below"},
        {"type": "lifespan"},
        {"type": "websocket", "path": "/fhir/Patient/x"},
    ):
        heard.clear()
        await direct(scope, cast(Receive, None), cast(Send, None))
        assert heard == [(FRAMEWORK, None)]
