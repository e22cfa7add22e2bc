"""One gate: read, search, history, paging, write answers, all through `disclose()` (promise 6), and nothing before its
event (promise 5). Access chapter §6.
"""

import ast
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from adapter.api import app as app_module
from adapter.api import routes as routes_module
from adapter.api.call import Answer, Call
from adapter.api.interaction import Interaction
from adapter.api.routes import TABLE
from tests.adapter.api import conftest as api
from tests.adapter.api.conftest import Node, consent, empty_site, observation, patient, start

__all__ = ["empty_site"]  # the fixture, for this file

ROOT = Path(__file__).parents[1]
MAY_MAKE_RELEASED = {"adapter/access/disclose.py"}
MAY_OPEN_SEALED = (
    "adapter/access/permits.py",
    "adapter/access/sight.py",
    "adapter/store/",
    "adapter/api/consent.py",
    "adapter/seal/",
)
PUBLIC = {"capabilities", "well-known", "openapi", "checkpoint", "tile", "livez", "readyz"}
NOBODYS = PUBLIC | {
    "hl7v2",
    "cda",
    "validate",
    "translate",
    "validate-code",
    "expand",
    "export-patient",
    "export-group",
    "export-system",
    "job",
    "job-cancel",
}  # answer with nothing that is stored


def calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call of `name(…)` or `….name(…)` in the adapter, with its file."""
    for path in sorted((ROOT / "adapter").rglob("*.py")):
        for found in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(found, ast.Call):
                called = found.func.attr if isinstance(found.func, ast.Attribute) else getattr(found.func, "id", "")
                if called == name:
                    yield path.relative_to(ROOT).as_posix(), found


def test_only_the_gate_makes_what_is_released() -> None:
    assert {path for path, _ in calls("Released")} == MAY_MAKE_RELEASED


def test_only_gate_and_store_open_what_is_sealed() -> None:
    """`Sealed.open` takes keys; files and sockets are opened with none or other arguments."""
    opening = {
        path
        for path, call in calls("open")
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id in ("sealed", "stands", "found", "current", "version")
    }
    assert {path for path in opening if not path.startswith(MAY_OPEN_SEALED)} == set()


def test_every_route_discloses_or_answers_with_nobodys_data() -> None:
    assert {row.name for row in TABLE if not row.discloses} == NOBODYS


def test_every_route_but_the_public_ones_needs_a_token() -> None:
    open_to_all = {row.name for row in TABLE if not row.authenticated}
    assert open_to_all == PUBLIC


def test_every_route_of_the_application_is_in_the_table() -> None:
    source = ast.parse((ROOT / "adapter/api/app.py").read_text("utf-8"))
    added = [node for node in ast.walk(source) if isinstance(node, ast.Attribute) and node.attr in ("get", "add_route")]
    assert added == []


@pytest.fixture
async def node(empty_site: Path, tmp_path: Path) -> object:
    async with AsyncExitStack() as stack:
        yield await start(stack, empty_site, tmp_path / "node")


async def test_a_body_that_did_not_pass_the_gate_is_not_sent(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    async def leak(call: Call) -> Answer:
        return Answer(200, b'{"resourceType":"Patient","id":"leaked"}')

    table = (Interaction("leak", ("GET",), "/fhir/leak", leak),)
    monkeypatch.setattr(app_module, "routes", lambda services: routes_module.routes(services, table))
    leaking: FastAPI = app_module.create_app(node.services)
    transport = httpx.ASGITransport(app=leaking, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {node.token()}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://node.test", headers=headers) as client:
        answer = await client.get("/fhir/leak")
    assert answer.status_code == 500
    assert b"leaked" not in answer.content


PATHS = [
    "/fhir/Observation/o1",
    "/fhir/Observation/o1/_history/1",
    "/fhir/Observation/o1/_history",
    "/fhir/Observation?patient=p1",
    "/fhir/Patient/p1/Observation",
    "/fhir/Patient?identifier=MR-p1",
    "/fhir/Patient/p1/$everything",
    "/fhir/Patient/p1/$validate",
]


@pytest.mark.parametrize("path", PATHS)
async def test_record_before_release(node: Node, path: str) -> None:
    """A log that cannot append serves nothing; one that can has the event before the body is out."""
    await node.put(patient(), observation("o1"))
    async with node.client() as ward:
        answer = await ward.get(path)
        assert answer.status_code == 200
        index = int(answer.headers["x-ledger-index"].rpartition(":")[2])
        assert (await node.entries())[index]["outcome"] == "permit"
        await node.services.ledger.close()
        silent = await ward.get(path)
    assert silent.status_code == 503
    assert b"Muster" not in silent.content
    assert b"2160-0" not in silent.content


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_hides_what_a_read_hides(node: Node, path: str) -> None:
    await node.put(patient(), observation("o1"))
    async with node.client("north") as north, node.client() as ward:
        hidden = await north.get(path)
        assert hidden.status_code in (200, 404)
        assert b"2160-0" not in hidden.content
        assert b"Muster" not in hidden.content
        assert (await ward.post("/fhir/Consent", json=consent())).status_code == 201
        shown = await north.get(path)
    assert shown.status_code == 200
    assert shown.content != hidden.content
    assert api is not None
