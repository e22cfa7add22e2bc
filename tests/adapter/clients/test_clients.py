"""Published FHIR clients do what their users do, unchanged, against a real server: each status and header of theirs.

Scripts are in `scripts/`; what went over the wire is what the server heard. Source: fhir chapter §7, §12.
"""

import json
from pathlib import Path

import pytest

from tests.adapter.api.conftest import Json, Node, observation, patient
from tests.adapter.clients import environments
from tests.adapter.clients.conftest import TOKEN_URL
from tests.adapter.clients.serving import Exchange, Recorder, run, serving

pytestmark = pytest.mark.clients

SCRIPTS = Path(__file__).parent / "scripts"
ORDERED = ["o1", "o2", "o3"]


@pytest.fixture
async def recorder(node: Node) -> Recorder:
    """A node with one patient and three results of hers, in the order of their days."""
    results = (observation(name, "ana", when=f"2026-03-0{day}") for day, name in enumerate(ORDERED, 1))
    await node.put(patient("ana"), *results)
    return Recorder(node.app)


async def script(recorder: Recorder, node: Node, folder: Path, *command: str) -> Json:
    """What the script found, after what every answer owes was looked at."""
    async with serving(recorder, node.settings.http.port) as url:
        said = await run(*command, f"{url}/fhir", node.token(), folder=folder)
    for one in recorder.exchanges:
        owes(one)
    found: Json = json.loads(said.strip().splitlines()[-1])
    return found


def owes(one: Exchange) -> None:
    """The headers of every answer, and of every answer with a resource."""
    assert {"x-request-id", "vary", "cache-control"} <= one.headers.keys(), one
    assert one.status < 500, one
    if one.status != 204:
        assert one.headers["content-type"].startswith(("application/fhir+json", "application/json")), one
        assert one.headers["content-digest"].startswith("sha-256=:"), one
    if one.method == "GET" and one.status == 200 and not one.target.endswith(("/metadata", "-configuration")):
        assert one.headers["x-ledger-index"], one


def only(found: list[Exchange]) -> Exchange:
    [one] = found
    return one


@pytest.mark.node
async def test_fhir_kit_client(recorder: Recorder, node: Node, tmp_path: Path) -> None:
    folder = environments.node("fhir-kit-client", environments.NODE)
    found = await script(recorder, node, tmp_path, "node", str(SCRIPTS / "kit.mjs"), str(folder))
    assert found["smart"]["tokenUrl"] == TOKEN_URL
    assert (found["fhirVersion"], found["read"], found["version"]) == ("4.0.1", "ana", "1")
    assert (found["absent"], found["unknown"], found["gone"]) == (404, 400, 410)
    assert (found["total"], found["pages"]) == (3, [["o1", "o2"], ["o3"]])
    assert (found["posted"], found["compartment"], found["history"], found["system"]) == (3, 3, 1, 1)
    assert (found["made"], found["changed"]) == ("Station 3", ["Station 4", "2"])
    assert len(set(found["conditional"])) == 1
    read = recorder.of("GET", "/fhir/Patient/ana")[0]
    assert (read.headers["etag"], "last-modified" in read.headers) == ('W/"1"', True)
    assert [one.status for one in recorder.of("GET", "/fhir/.well-known/openid-configuration")] in ([], [404])
    assert "_sort=date&_sort=_id" in recorder.of("GET", "/fhir/Observation")[0].target
    made = only(recorder.of("POST", "/fhir/Organization"))
    assert (made.status, made.headers["location"].rpartition("/_history/")[2]) == (201, "1")
    assert [one.status for one in recorder.of("PUT", "/fhir/Organization?")] == [201, 200]
    assert only(recorder.of("DELETE", "/fhir/Organization")).status == 204


async def test_fhirpy(recorder: Recorder, node: Node, tmp_path: Path) -> None:
    programs = environments.python("fhir-clients", environments.PYTHON)
    found = await script(recorder, node, tmp_path, str(programs / "python"), str(SCRIPTS / "with_fhirpy.py"))
    assert (found["read"], found["first"]) == ("ana", "ana")
    assert (found["page"], found["all"], found["count"]) == (["o1", "o2"], ORDERED, 3)
    assert found["included"] == ["Observation", "Patient"]
    assert (found["absent"], found["unknown"]) == (404, "not-supported")
    assert (found["version"], found["created"]) == ("2", [True, False])
    assert any("_totalMethod=count" in one.target for one in recorder.exchanges)
    assert [one.status for one in recorder.of("POST", "/fhir/Organization?")] == [201, 200]
    assert {one.asked.get("content-type") for one in recorder.of("POST", "/fhir/Organization")} == {"application/json"}
    assert only(recorder.of("DELETE", "/fhir/Organization")).status == 204


async def test_fhirclient(recorder: Recorder, node: Node, tmp_path: Path) -> None:
    programs = environments.python("fhir-clients", environments.PYTHON)
    found = await script(recorder, node, tmp_path, str(programs / "python"), str(SCRIPTS / "with_fhirclient.py"))
    assert found["uris"] == {"token": TOKEN_URL}
    assert (found["read"], found["absent"]) == (["ana", "1970-05-17"], 404)
    assert (found["all"], found["changed"]) == (ORDERED, "2")
    assert all(one.asked["accept-charset"] == "UTF-8" for one in recorder.of("GET", "/fhir/Patient"))
    assert only(recorder.of("POST", "/fhir/Organization")).status == 201
    assert only(recorder.of("DELETE", "/fhir/Organization")).status == 204
