"""The capability page claims what there is, and all of it: every claim is called. FHIR R4 CapabilityStatement; fhir
chapter §11.
"""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote

import httpx
import pytest
from fhir.resources.R4B.capabilitystatement import CapabilityStatement

from adapter.access import refusals
from adapter.api import includes
from adapter.api.capability import OAUTH_URIS
from adapter.api.capability import statement as made
from adapter.api.interaction import Interaction
from adapter.api.routes import TABLE
from adapter.services import Services, base_url
from adapter.settings import Settings, load
from mappings.fhir.codec import decode, encode
from mappings.fhir.schema import Param, schema
from mappings.fhir.search import parse
from mappings.fhir.validate import validate
from tests.adapter.api.conftest import Json, Node, consent, observation, patient, start

VALIDATOR = Path(os.environ.get("CHARTBRIDGE_TOOLS", Path(__file__).parents[4] / "shared/tools")) / "validate"
KINDS = ("Patient", "Observation", "Organization")  # one path serves all types: a few stand for them
TERMINOLOGY = ("CodeSystem", "ConceptMap", "ValueSet")
SEARCHED = ("Patient", "Observation", "Consent", "DocumentReference", "MedicationRequest", "Encounter", "ValueSet")
SAMPLE = {"token": "x", "string": "x", "date": "2026", "number": "1", "quantity": "1", "uri": "urn:x", "reference": "x"}
# How each interaction of R4 is called at a type, with nothing there and a body that is no resource of it; what answers.
CALLS: dict[str, tuple[str, str, int]] = {
    "read": ("GET", "/fhir/{kind}/none", 404),
    "vread": ("GET", "/fhir/{kind}/none/_history/1", 404),
    "history-instance": ("GET", "/fhir/{kind}/none/_history", 404),
    "history-type": ("GET", "/fhir/{kind}/_history", 200),
    "search-type": ("GET", "/fhir/{kind}?_id=none", 200),
    "create": ("POST", "/fhir/{kind}", 422),
    "update": ("PUT", "/fhir/{kind}/none", 422),
    "patch": ("PATCH", "/fhir/{kind}/none", 404),
    "delete": ("DELETE", "/fhir/{kind}/none", 404),
}
AT_ONCE = 16
MAX_BYTES = 1_000_000  # what a client can be asked to read


def rest(statement: Json) -> Json:
    found: Json = statement["rest"][0]
    return found


def resources(statement: Json) -> Iterator[Json]:
    yield from rest(statement)["resource"]


def codes(claims: Json) -> set[str]:
    return {interaction["code"] for interaction in claims.get("interaction", ())}


@pytest.fixture(scope="session")
def statement(empty_site: Path) -> Json:
    """Made as a node makes it, once for all tests."""
    settings = load(empty_site)
    services = SimpleNamespace(settings=settings, base=base_url(settings), started=datetime(2026, 3, 4, tzinfo=UTC))
    return decode(made(cast(Services, services), TABLE))


async def test_it_is_served_to_everybody_in_canonical_bytes(node: Node, statement: Json) -> None:
    async with node.bare() as nobody:
        answer = await nobody.get("/fhir/metadata")
    assert answer.status_code == 200
    assert encode(decode(answer.content)) == answer.content
    assert len(answer.content) < MAX_BYTES
    CapabilityStatement.model_validate_json(answer.content)
    assert decode(answer.content) | {"date": statement["date"]} == statement


def test_it_is_valid_by_our_own_schema(statement: Json) -> None:
    assert [fault for fault in validate(statement) if fault.severity == "error"] == []


@pytest.mark.conformance
@pytest.mark.skipif(not VALIDATOR.exists() or shutil.which("java") is None, reason="no official validator here")
def test_it_is_valid_by_the_official_validator(statement: Json, tmp_path: Path) -> None:
    (tmp_path / "statement.json").write_bytes(encode(statement))
    done = subprocess.run([VALIDATOR, "--level", "error", tmp_path], capture_output=True, text=True, check=False)  # noqa: S603
    assert "resources 1, errors 0" in done.stdout


def test_every_interaction_of_the_table_is_claimed_and_no_other(statement: Json) -> None:
    known = codes(rest(statement)).union(*map(codes, resources(statement)))
    standard = set[str]()
    for valueset in ("type-restful-interaction", "system-restful-interaction"):
        standard = standard.union(*(schema().valueset(valueset) or {}).values())
    named = {row.name for row in TABLE if row.fhir and row.negotiates and not row.operation}
    assert known == named & standard
    assert named - standard == {"capabilities", "well-known", "search-compartment"}


def test_what_patches_says_its_formats(statement: Json) -> None:
    """A row that patches names in `takes` what it reads, and the statement says it."""
    assert ("patchFormat" in statement) is any(row.name == "patch" for row in TABLE)


def test_every_operation_of_the_table_is_claimed_where_it_stands(statement: Json) -> None:
    claimed = {
        (resource["type"], operation["name"])
        for resource in resources(statement)
        for operation in resource.get("operation", ())
    }
    claimed |= {("", operation["name"]) for operation in rest(statement).get("operation", ())}
    rows = [row for row in TABLE if row.operation]
    assert claimed == {(kind, row.operation) for row in rows for kind in row.types or ("",)}


def test_a_row_that_comes_is_claimed_and_one_that_goes_is_not(node: Node) -> None:
    """Nothing is listed by hand: the statement follows the table."""
    patch = Interaction("patch", ("PATCH",), "/fhir/Observation/{id}", TABLE[0].handler, takes=("application/x+json",))
    create = Interaction("create", ("POST",), "/fhir/{type}", TABLE[0].handler, conditional=True)
    kept = [row for row in TABLE if row.name not in ("vread", "create", "patch")]
    told = decode(made(node.services, (*kept, patch, create)))
    claims = {resource["type"]: resource for resource in resources(told)}
    assert told["patchFormat"] == ["application/x+json"]
    assert "patch" in codes(claims["Observation"])
    assert "patch" not in codes(claims["Patient"])
    assert claims["Patient"]["conditionalCreate"] is True
    assert (claims["Patient"]["versioning"], claims["Patient"]["readHistory"]) == ("no-version", False)
    assert not any("vread" in codes(resource) for resource in resources(told))


async def test_every_claimed_interaction_answers_and_no_other(
    node: Node, statement: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every type. 405 is the answer of what is not claimed."""
    monkeypatch.setattr(refusals, "MAX_DISTINCT", 10_000)  # what is absent counts as refused
    claims = {(resource["type"], code): code in codes(resource) for resource in resources(statement) for code in CALLS}
    assert set().union(*map(codes, resources(statement))) == CALLS.keys()

    async def asked(kind: str, code: str) -> int:
        method, path, _ = CALLS[code]
        return await status(ward, method, path.format(kind=kind), no_resource(kind))

    async with node.client() as ward:
        found = await each(asked, claims)
    assert found == {(kind, code): CALLS[code][2] if claimed else 405 for (kind, code), claimed in claims.items()}


async def test_every_claimed_interaction_of_the_whole_server_answers(node: Node, statement: Json) -> None:
    await node.put(patient())
    entry = {"resource": patient(), "request": {"method": "PUT", "url": "Patient/p1"}}
    calls: dict[str, tuple[str, str, Json | None]] = {
        "history-system": ("GET", "/fhir/_history", None),
        "search-system": ("GET", "/fhir?_type=Patient&_id=none", None),
        "batch": ("POST", "/fhir", {"resourceType": "Bundle", "type": "batch", "entry": [entry]}),
        "transaction": ("POST", "/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}),
    }
    assert codes(rest(statement)) == calls.keys()
    async with node.client() as ward:
        for code, (method, path, body) in calls.items():
            answer = await ward.request(method, path, json=body)
            assert (answer.status_code, decode(answer.content)["resourceType"]) == (200, "Bundle"), code
            if body is not None:
                assert [one["response"]["status"][:3] for one in decode(answer.content)["entry"]] == ["200"], code


async def test_every_claimed_parameter_is_taken_by_a_search(node: Node, statement: Json) -> None:
    claims = [(kind["type"], one["name"]) for kind in resources(statement) for one in kind["searchParam"]]
    assert len(claims) > 1_000

    async def asked(kind: str, name: str) -> int:
        value = quote(sample(kind, schema().params(kind)[name]))
        return await status(ward, "GET", f"/fhir/{kind}?_id=none" + (f"&{name}={value}" if name != "_id" else ""))

    async with node.client() as ward:
        found = await each(asked, claims)
    assert {claim for claim, answered in found.items() if answered != 200} == set()


async def test_conditional_writes_are_taken_where_they_are_claimed(node: Node, statement: Json) -> None:
    """Criteria are read before the body, which is no resource; where none are taken, it is said before that."""
    claims = {resource["type"]: resource for resource in resources(statement)}
    writable = {kind for kind, claim in claims.items() if "create" in codes(claim)}
    own = ("Consent", "Subscription")
    assert {kind for kind, claim in claims.items() if claim["conditionalCreate"]} == writable - {*own}
    assert {kind for kind, claim in claims.items() if claim["conditionalUpdate"]} == writable - {*own}
    assert {claim["conditionalDelete"] for claim in claims.values()} == {"not-supported"}

    async def asked(kind: str, method: str) -> int:
        where, headers = f"/fhir/{kind}", {"If-None-Exist": "_id=none"} if method == "POST" else {}
        return await status(ward, method, where if headers else f"{where}?_id=none", no_resource(kind), headers)

    async with node.client() as ward:
        found = await each(asked, [(kind, method) for kind in claims for method in ("POST", "PUT", "DELETE")])
    for kind, claim in claims.items():
        assert found[kind, "POST"] == (422 if claim["conditionalCreate"] else 412 if kind in own else 405), kind
        assert found[kind, "PUT"] == (422 if claim["conditionalUpdate"] else 405), kind
        assert found[kind, "DELETE"] == 405, kind


async def test_what_is_not_there_is_created_by_an_update_where_it_is_claimed(node: Node, statement: Json) -> None:
    """One for each way of writing; no other type has one of its own."""
    claims = {resource["type"]: resource["updateCreate"] for resource in resources(statement)}
    assert {kind for kind, claimed in claims.items() if not claimed} == {"AuditEvent", "Subscription"}
    await node.put(patient())
    bodies: list[Json] = [{"resourceType": "Organization", "name": "Station"}, consent(), subscription()]
    async with node.client() as ward:
        for body in bodies:
            kind = body["resourceType"]
            answer = await ward.put(f"/fhir/{kind}/new", json=body | {"id": "new"})
            assert answer.status_code == (201 if claims[kind] else 404), kind


async def test_conditional_reads_are_answered_as_is_claimed(node: Node, statement: Json) -> None:
    assert {resource["conditionalRead"] for resource in resources(statement)} == {"full-support"}
    await node.put(patient())
    async with node.client() as ward:
        first = await ward.get("/fhir/Patient/p1")
        for name, told in (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified")):
            assert (await ward.get("/fhir/Patient/p1", headers={name: first.headers[told]})).status_code == 304


def no_resource(kind: str) -> Json:
    return {"resourceType": kind, "id": "none", "noElementOfAny": 1}


def subscription() -> Json:
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "to see what is new",
        "criteria": "resource-changed?patient=p1",
        "channel": {"type": "rest-hook", "endpoint": "https://hook.example/"},
    }


async def status(
    client: httpx.AsyncClient, method: str, path: str, body: Json | None = None, headers: dict[str, str] | None = None
) -> int:
    if method in ("GET", "DELETE"):
        body = None
    if method == "PATCH":
        answer = await client.patch(path, content=b"[]", headers={"Content-Type": "application/json-patch+json"})
    else:
        answer = await client.request(method, path, json=body, headers=headers)
    return answer.status_code


async def each(
    asked: Callable[[str, str], Awaitable[int]], claims: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], int]:
    """All of them, a few at a time: what was asked, and the status that answered."""
    turns, found = asyncio.Semaphore(AT_ONCE), dict[tuple[str, str], int]()

    async def one(kind: str, what: str) -> None:
        async with turns:
            found[kind, what] = await asked(kind, what)

    await asyncio.gather(*(one(kind, what) for kind, what in claims))
    return found


async def test_consents_are_written_as_is_claimed(node: Node, statement: Json) -> None:
    await node.put(patient())
    claims = next(resource for resource in resources(statement) if resource["type"] == "Consent")
    assert {"create", "update"} <= codes(claims)
    async with node.client() as ward:
        first = await ward.post("/fhir/Consent", json=consent())
        again = await ward.put(f"/fhir/Consent/{decode(first.content)['id']}", json=decode(first.content))
    assert (first.status_code, again.status_code) == (201, 200)


async def test_every_claimed_operation_answers(node: Node, statement: Json) -> None:
    """With nothing to work on: what answers names a parameter, a body or a header, not an address or a method."""
    claimed = [("", one["name"]) for one in rest(statement).get("operation", ())]
    for resource in resources(statement):
        if resource["type"] in (*KINDS, *TERMINOLOGY, "Group"):
            claimed += [(resource["type"], one["name"]) for one in resource.get("operation", ())]
    async with node.client() as ward:
        for kind, name in claimed:
            assert any([await operated(ward, path, name) for path in (kind, f"{kind}/none")]), (kind, name)


async def operated(client: Any, path: str, name: str) -> bool:
    address = "/".join(part for part in ("/fhir", path, f"${name}") if part)
    answers = [await client.get(address), await client.post(address, json={"resourceType": "Parameters"})]
    return any(answer.status_code in (200, 400, 422) or unfound(answer) for answer in answers)


def unfound(answer: Any) -> bool:
    """404 of an operation, which says that the resource is not there; the framework says it of the address."""
    return bool(answer.status_code == 404 and decode(answer.content)["issue"][0]["code"] == "not-found")


@pytest.mark.parametrize("kind", SEARCHED)
async def test_every_claimed_parameter_can_be_searched_by(node: Node, statement: Json, kind: str) -> None:
    claims = next(resource for resource in resources(statement) if resource["type"] == kind)
    async with node.client() as ward:
        for parameter in claims["searchParam"]:
            value = sample(kind, schema().params(kind)[parameter["name"]])
            answer = await ward.get(f"/fhir/{kind}", params={"_id": "none"} | {parameter["name"]: value})
            assert answer.status_code == 200, (kind, parameter["name"], answer.text)


def test_every_claimed_parameter_of_every_type_parses_and_names_its_tier(statement: Json) -> None:
    for resource in resources(statement):
        kind = resource["type"]
        for parameter in resource["searchParam"]:
            param = schema().params(kind)[parameter["name"]]
            assert (parameter["type"], parameter["definition"]) == (param.type, param.url)
            assert parse(kind, [(param.code, sample(kind, param))]).criteria
            assert parameter["documentation"][:4] in ("T0: ", "T1: ", "T2: ", "T3: ")


def sample(kind: str, param: Param) -> str:
    parts: Sequence[str] = [schema().params(kind)[code].type for code, _ in param.components] or [param.type]
    return "$".join(SAMPLE[part] for part in parts)


def test_every_claimed_include_is_one_that_a_search_takes(statement: Json) -> None:
    for resource in resources(statement):
        kind = resource["type"]
        for name, claimed in (("_include", "searchInclude"), ("_revinclude", "searchRevInclude")):
            for value in resource.get(claimed, ()):
                includes.check(parse(kind, [(name, value)]))


async def test_claimed_includes_are_followed(node: Node, statement: Json) -> None:
    await node.put(patient(), observation("o1"))
    claims = {resource["type"]: resource for resource in resources(statement)}
    assert "Observation:subject" in claims["Observation"]["searchInclude"]
    assert "Observation:subject" in claims["Patient"]["searchRevInclude"]
    assert "Observation:performer" not in claims["Practitioner"]["searchRevInclude"]  # it would search everybody's
    async with node.client() as ward:
        forward = await ward.get("/fhir/Observation?_id=o1&_include=Observation:subject")
        back = await ward.get("/fhir/Patient?_id=p1&_revinclude=Observation:subject")
    for answer in (forward, back):
        assert [entry["search"]["mode"] for entry in decode(answer.content)["entry"]] == ["match", "include"]


async def test_what_a_site_configures_is_told(empty_site: Path, tmp_path: Path) -> None:
    """Guides, statements and token addresses; a site that names none tells of none."""
    guide, server = "http://hl7.org/fhir/uv/ips/ImplementationGuide/hl7.fhir.uv.ips|2.0.0", "urn:oid:2.999.7"

    def change(settings: Settings) -> Settings:
        http = settings.http.model_copy(update={"implementation_guide": (guide,), "instantiates": (server,)})
        urls = {"token_url": "https://id.example/token", "authorize_url": "https://id.example/authorize"}
        return settings.model_copy(update={"http": http, "access": settings.access.model_copy(update=urls)})

    async with AsyncExitStack() as stack:
        node = await start(stack, empty_site, tmp_path / "told", change)
        told = decode(made(node.services, TABLE))
        async with node.bare() as nobody:
            page = decode((await nobody.get("/fhir/.well-known/smart-configuration")).content)
    assert (told["implementationGuide"], told["instantiates"]) == ([guide], [server])
    [extension] = rest(told)["security"]["extension"]
    assert extension["url"] == OAUTH_URIS
    assert {part["url"]: part["valueUri"] for part in extension["extension"]} == {
        "authorize": "https://id.example/authorize",
        "token": "https://id.example/token",
    }
    assert page["token_endpoint"] == "https://id.example/token"
    assert page["authorization_endpoint"] == "https://id.example/authorize"


async def test_a_site_without_a_token_endpoint_tells_of_none(node: Node, statement: Json) -> None:
    assert "extension" not in rest(statement)["security"]
    assert statement.keys().isdisjoint({"implementationGuide", "instantiates"})
    async with node.bare() as nobody:
        answers = [
            await nobody.get(f"/fhir/.well-known/{page}") for page in ("smart-configuration", "openid-configuration")
        ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert all(decode(answer.content)["resourceType"] == "OperationOutcome" for answer in answers)
