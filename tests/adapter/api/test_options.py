"""OPTIONS, `Allow`, and which pages of a browser may read an answer. RFC 9110 §9.3.7, §15.5.6; Fetch standard."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from adapter.api.capability import statement
from adapter.api.routes import TABLE, methods
from adapter.settings import Http, Settings
from mappings.fhir.codec import decode
from mappings.fhir.schema import schema
from tests.adapter.api.conftest import Node, patient, start
from tests.adapter.api.test_create import code_of
from tests.adapter.api.test_server import Serving, on_granian, on_uvicorn

APP, OTHER = "https://app.example", "https://other.example"
KNOWS = {
    "/fhir": "GET, HEAD, OPTIONS, POST",
    "/fhir/": "GET, HEAD, OPTIONS, POST",
    "/fhir/metadata": "GET, HEAD, OPTIONS",
    "/fhir/_history": "GET, HEAD, OPTIONS",
    "/fhir/Patient": "GET, HEAD, OPTIONS, POST, PUT",
    "/fhir/Patient/p1": "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
    "/fhir/Patient/p1/_history": "GET, HEAD, OPTIONS",
    "/fhir/Patient/p1/Observation": "GET, HEAD, OPTIONS",
    "/fhir/Patient/$match": "OPTIONS, POST",
    "/fhir/Patient/_search": "OPTIONS, POST",
    "/fhir/AuditEvent": "GET, HEAD, OPTIONS",
    "/fhir/AuditEvent/a1": "GET, HEAD, OPTIONS",
    "/fhir/Consent/c1": "GET, HEAD, OPTIONS, PUT",
    "/fhir/Subscription/s1": "DELETE, GET, HEAD, OPTIONS, PUT",
    "/fhir/job/1": "DELETE, GET, HEAD, OPTIONS",
    "/log/2026/tile/0/000": "GET, HEAD, OPTIONS",
    "/hl7v2": "OPTIONS, POST",
    "*": "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
}


@pytest.fixture
async def open_to(empty_site: Path, tmp_path: Path) -> AsyncIterator[Node]:
    """A node whose site names one app."""

    def change(settings: Settings) -> Settings:
        return settings.model_copy(update={"http": settings.http.model_copy(update={"origins": (APP,)})})

    async with AsyncExitStack() as stack:
        yield await start(stack, empty_site, tmp_path / "node", change)


def cors(answer: httpx.Response) -> dict[str, str]:
    return {name[15:]: value for name, value in answer.headers.items() if name.startswith("access-control-")}


async def test_options_tells_without_a_token_what_an_address_knows_at_its_type(node: Node) -> None:
    size = node.services.ledger.size
    async with node.bare() as nobody:
        for path in sorted(KNOWS.keys() - {"*"}):  # which this client cannot ask for: see the servers below
            answer, known = await nobody.options(path), KNOWS[path]
            assert (answer.status_code, answer.headers["allow"], answer.content) == (204, known, b""), path
            assert cors(answer) == {}
            assert answer.headers["x-request-id"]
    assert node.services.ledger.size == size


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/fhir/Nothing", "/fhir/Nothing/x", "/fhir/Patient/no_id", "/fhir/$x"]
)
async def test_options_of_what_is_not_there_is_404(node: Node, path: str) -> None:
    async with node.bare() as nobody:
        answer = await nobody.options(path, headers={"X-Request-Id": "mine"})
    assert (answer.status_code, decode(answer.content)["resourceType"]) == (404, "OperationOutcome")
    assert answer.headers["x-request-id"] == "mine"


def test_what_options_tells_is_what_the_table_has() -> None:
    """Every row, at a type that it stands at, is told with its methods."""
    for row in TABLE:
        kind = min(row.types, default="Patient")
        parts = {"type": kind if "{type}" in row.path.split("/")[:3] else "Observation", "id": "x", "version": "1"}
        parts |= {"page": "x", "file": "0", "shard": "2026", "tile:path": "0/000"}
        path = row.path
        for name, value in parts.items():
            path = path.replace(f"{{{name}}}", value)
        assert set(row.methods) <= set(methods(path)), path


METHODS: dict[str, Any] = {
    "PATCH": {"content": b"[]", "headers": {"Content-Type": "application/json-patch+json"}},
    "PUT": {"json": {}},
    "POST": {"json": {}},
    "DELETE": {},
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "path", ["Patient", "Patient/p1", "AuditEvent", "AuditEvent/a1", "Consent/c1", "Subscription/s1"]
)
async def test_every_405_says_what_is_allowed_and_it_is_not_that(node: Node, method: str, path: str) -> None:
    await node.put(patient())
    async with node.client() as ward:
        answer = await ward.request(method, f"/fhir/{path}", **METHODS[method])
    if answer.status_code != 405:
        assert "allow" not in answer.headers
        assert method in methods(f"/fhir/{path}")
        return
    assert answer.headers["allow"] == KNOWS[f"/fhir/{path}"]
    assert method not in answer.headers["allow"].split(", ")


async def test_a_type_that_refuses_to_be_patched_says_what_it_allows(node: Node) -> None:
    async with node.client() as ward:
        answer = await ward.patch("/fhir/Consent/c1", **METHODS["PATCH"])
        unknown = await ward.delete("/fhir/Nothing")
    assert (answer.status_code, code_of(answer), answer.headers["allow"]) == (
        405,
        "read-only",
        KNOWS["/fhir/Consent/c1"],
    )
    assert unknown.status_code == 404


# --- CORS -------------------------------------------------------------------------------------------------------------


async def test_a_site_that_names_no_origin_says_no_word_of_it(node: Node) -> None:
    await node.put(patient())
    async with node.client() as ward:
        for answer in (
            await ward.get("/fhir/Patient/p1", headers={"Origin": APP}),
            await ward.get("/fhir/metadata", headers={"Origin": APP}),
            await ward.options("/fhir/Patient", headers={"Origin": APP, "Access-Control-Request-Method": "GET"}),
        ):
            assert cors(answer) == {}
            assert "Origin" not in answer.headers["vary"]
    told = decode(statement(node.services, TABLE))
    assert told["rest"][0]["security"]["cors"] is False


async def test_a_preflight_is_answered_to_the_sites_own_apps_alone(open_to: Node) -> None:
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,if-match"}
    async with open_to.bare() as nobody:
        mine = await nobody.options("/fhir/Patient/p1", headers={"Origin": APP} | asked)
        other = await nobody.options("/fhir/Patient/p1", headers={"Origin": OTHER} | asked)
    assert mine.status_code == other.status_code == 204
    told = cors(mine)
    assert told["allow-origin"] == APP
    assert told["allow-methods"] == KNOWS["/fhir/Patient/p1"]
    assert {"Authorization", "If-Match", "Content-Type"} <= set(told["allow-headers"].split(", "))
    assert "allow-credentials" not in told
    assert cors(other) == {}


@pytest.mark.parametrize(
    "origin",
    [
        OTHER,
        "null",
        "https://app.example.evil.test",
        "https://app.example:8443",
        "http://app.example",
        f"{APP}/",
        "*",
        "",
    ],
)
async def test_no_other_origin_reads_what_needs_a_token(open_to: Node, origin: str) -> None:
    await open_to.put(patient())
    async with open_to.client() as ward:
        answer = await ward.get("/fhir/Patient/p1", headers={"Origin": origin})
        twice = await ward.get("/fhir/Patient/p1", headers=[("Origin", APP), ("Origin", origin)])
    for got in (answer, twice):
        assert (got.status_code, cors(got)) == (200, {})
        assert "Origin" in got.headers["vary"]


async def test_the_sites_app_reads_answers_and_refusals_with_their_headers(open_to: Node) -> None:
    await open_to.put(patient())
    async with open_to.client() as ward, open_to.bare() as nobody:
        answers = [
            await ward.get("/fhir/Patient/p1", headers={"Origin": APP}),
            await ward.get("/fhir/Patient/none", headers={"Origin": APP}),
            await ward.delete("/fhir/Patient", headers={"Origin": APP}),
            await nobody.get("/fhir/Patient/p1", headers={"Origin": APP}),
        ]
    assert [answer.status_code for answer in answers] == [200, 404, 405, 401]
    for answer in answers:
        assert cors(answer)["allow-origin"] == APP
        assert "allow-credentials" not in cors(answer)
        assert answer.headers["vary"].endswith(", Origin")
    assert {"ETag", "X-Ledger-Index", "Location"} <= set(cors(answers[0])["expose-headers"].split(", "))
    assert decode(statement(open_to.services, TABLE))["rest"][0]["security"]["cors"] is True


async def test_what_is_public_may_be_read_from_anywhere_and_nothing_else(open_to: Node) -> None:
    async with open_to.bare() as nobody:
        found = {
            path: cors(await nobody.get(path, headers={"Origin": OTHER})).get("allow-origin")
            for path in ("/fhir/metadata", "/fhir/.well-known/smart-configuration", "/fhir/Patient/x", "/livez")
        }
    assert [*found.values()] == ["*", "*", None, None]


@pytest.mark.parametrize("origin", [APP, "https://a.example:8443", "https://[2001:db8::1]", "http://localhost:3000"])
def test_an_origin_is_written_as_browsers_send_it(origin: str) -> None:
    assert Http(origins=(origin,)).origins == (origin,)


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "", "app.example", f"{APP}/", f"{APP}:443", "http://localhost:80", "http://app.example", "https://A.example",
     "https://*.example", "https://u@app.example", f"{APP}?x", f"{APP}\n", f"{APP}:0"],
)  # fmt: skip
def test_what_no_browser_sends_stops_the_start(origin: str) -> None:
    with pytest.raises(ValidationError, match="origin as browsers send it"):
        Http(origins=(origin,))


@pytest.mark.parametrize("serving", [on_uvicorn, on_granian], ids=["uvicorn", "granian"])
async def test_options_over_a_socket(open_to: Node, serving: Serving, tmp_path: Path) -> None:
    """The asterisk, and a preflight as a browser sends it."""
    async with serving(open_to.app, tmp_path) as url:
        address = httpx.URL(url)
        for path in ("*", "/fhir/Patient/p1"):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            origin = f"Origin: {APP}\r\nAccess-Control-Request-Method: PUT\r\n"
            writer.write(f"OPTIONS {path} HTTP/1.1\r\nHost: x\r\n{origin}Connection: close\r\n\r\n".encode())
            head = (await reader.read()).decode().lower()
            writer.close()
            assert head.startswith("http/1.1 204")
            assert f"allow: {KNOWS[path].lower()}\r\n" in head
            assert (f"access-control-allow-origin: {APP}" in head) is (path != "*")


def test_every_type_is_told_alike(node: Node) -> None:
    """Nothing is listed by hand: what a type refuses stands in the table."""
    told = {kind: methods(f"/fhir/{kind}/x") for kind in schema().resource_types}
    ordinary = tuple(KNOWS["/fhir/Patient/p1"].split(", "))
    assert {kind for kind, known in told.items() if known != ordinary} == {"AuditEvent", "Consent", "Subscription"}
