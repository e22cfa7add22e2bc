"""The OpenAPI document is made of the route table and is what its standard says. OpenAPI 3.1.0; fhir chapter §11."""

import pytest
from openapi_spec_validator import validate

from adapter.api.interaction import Interaction
from adapter.api.openapi import document
from adapter.api.routes import TABLE
from mappings.fhir.codec import decode
from mappings.fhir.schema import schema
from tests.adapter.api.conftest import Json, Node, consent, patient

BASE = "https://chart.example.org/fhir"
GENDER = "http://hl7.org/fhir/ValueSet/administrative-gender"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MERGE = {"Content-Type": "application/merge-patch+json"}
PLACES = {"type": "Patient", "id": "p1", "version": "1", "page": "smart-configuration", "file": "0", "tile": "0/000"}
# Each method and address, of a node that holds the Patient p1: what answers, what stands behind the address, the body.
CALLS: dict[tuple[str, str], tuple[int, str, Json | str | None]] = {
    ("GET", "/fhir/metadata"): (200, "", None),
    ("GET", "/openapi.json"): (200, "", None),
    ("GET", "/fhir/.well-known/{page}"): (404, "", None),  # this node names no token endpoint
    ("GET", "/fhir/ConceptMap/$translate"): (400, "", None),  # names nothing to translate, and so on
    ("POST", "/fhir/ConceptMap/$translate"): (400, "", {"resourceType": "Parameters"}),
    ("GET", "/fhir/CodeSystem/$validate-code"): (400, "", None),
    ("POST", "/fhir/CodeSystem/$validate-code"): (400, "", {"resourceType": "Parameters"}),
    ("GET", "/fhir/ValueSet/$validate-code"): (400, "", None),
    ("POST", "/fhir/ValueSet/$validate-code"): (400, "", {"resourceType": "Parameters"}),
    ("GET", "/fhir/ValueSet/$expand"): (200, f"?url={GENDER}", None),
    ("POST", "/fhir/ValueSet/$expand"): (200, f"?url={GENDER}", None),
    ("GET", "/fhir/Patient/$export"): (400, "", None),  # without Prefer: respond-async
    ("GET", "/fhir/Group/{id}/$export"): (400, "", None),
    ("GET", "/fhir/$export"): (400, "", None),
    ("GET", "/fhir/job/{id}"): (404, "", None),
    ("DELETE", "/fhir/job/{id}"): (404, "", None),
    ("GET", "/fhir/job/{id}/{file}"): (404, "", None),
    ("GET", "/fhir/{type}/_history"): (200, "", None),
    ("GET", "/fhir/_history"): (200, "", None),
    ("GET", "/fhir/{type}/{id}/_history/{version}"): (200, "", None),
    ("GET", "/fhir/{type}/{id}/_history"): (200, "", None),
    ("GET", "/fhir/{type}"): (200, "?_id=p1", None),
    ("POST", "/fhir/{type}/_search"): (200, "", "_id=p1"),
    ("GET", "/fhir"): (200, "?_id=p1", None),
    ("POST", "/fhir/_search"): (200, "", "_id=p1"),
    ("GET", "/fhir/Patient/{id}/{type}"): (200, "", None),
    ("POST", "/fhir/Patient/{id}/{type}/_search"): (200, "", "_count=1"),
    ("GET", "/fhir/Patient/{id}/$everything"): (200, "", None),
    ("POST", "/fhir/Patient/{id}/$everything"): (200, "", None),
    ("POST", "/fhir/Patient/$match"): (400, "", {"resourceType": "Parameters"}),
    ("GET", "/fhir/{type}/{id}/$validate"): (200, "", None),
    ("POST", "/fhir/{type}/{id}/$validate"): (200, "", None),
    ("POST", "/fhir/{type}/$validate"): (200, "", patient()),
    ("POST", "/fhir/Consent"): (201, "", consent()),
    ("PUT", "/fhir/Consent/{id}"): (201, "", consent() | {"id": "p1"}),
    ("POST", "/fhir/Subscription"): (422, "", {"resourceType": "Subscription"}),
    ("PUT", "/fhir/Subscription/{id}"): (422, "", {"resourceType": "Subscription", "id": "p1"}),
    ("DELETE", "/fhir/Subscription/{id}"): (404, "", None),
    ("POST", "/fhir/{type}"): (201, "", patient()),
    ("PUT", "/fhir/{type}/{id}"): (200, "", patient(family="Anders")),
    ("PUT", "/fhir/{type}"): (200, "?_id=p1", patient()),
    ("PATCH", "/fhir/{type}/{id}"): (200, "", {"gender": "male"}),
    ("GET", "/fhir/{type}/{id}"): (200, "", None),
    ("POST", "/fhir"): (200, "", {"resourceType": "Bundle", "type": "batch"}),
    ("POST", "/hl7v2"): (403, "", None),  # this client has no feed
    ("POST", "/cda"): (403, "", None),
    ("GET", "/log/{shard}/checkpoint"): (200, "", None),
    ("GET", "/log/{shard}/tile/{tile}"): (404, "", None),  # nothing is published yet
    ("GET", "/livez"): (200, "", None),
    ("GET", "/readyz"): (200, "", None),
    ("DELETE", "/fhir/{type}/{id}"): (204, "", None),
}


@pytest.fixture(scope="module")
def told() -> Json:
    return decode(document(BASE, TABLE))


def operations(told: Json) -> dict[tuple[str, str], Json]:
    return {
        (method.upper(), path): operation
        for path, methods in told["paths"].items()
        for method, operation in methods.items()
    }


def test_it_is_valid(told: Json) -> None:
    validate(told)


def test_every_address_of_the_table_stands_there_with_its_methods(told: Json) -> None:
    routed = {(method, row.path.replace(":path", "")) for row in TABLE for method in row.methods}
    assert operations(told).keys() == routed


def test_no_two_operations_have_one_name(told: Json) -> None:
    names = [operation["operationId"] for operation in operations(told).values()]
    assert len(names) == len(set(names))


def test_only_what_is_open_to_all_is_told_to_need_no_token(told: Json) -> None:
    open_to_all = {path for (_, path), operation in operations(told).items() if operation.get("security") == []}
    assert open_to_all == {row.path.replace(":path", "") for row in TABLE if not row.authenticated}


def test_a_row_that_leaves_types_to_others_names_the_rest(told: Json) -> None:
    row = next(row for row in TABLE if row.name == "create" and row.without)
    operation = operations(told)["POST", row.path]
    [place] = [one for one in operation["parameters"] if one["name"] == "type"]
    assert set(place["schema"]["enum"]) == schema().resource_types - row.without


def test_bodies_are_told_by_the_row() -> None:
    row = Interaction("patch", ("PATCH",), "/fhir/{type}/{id}", TABLE[0].handler, takes=("application/x+json",))
    told = operations(decode(document(BASE, (row,))))["PATCH", "/fhir/{type}/{id}"]
    assert told["requestBody"]["content"].keys() == {"application/x+json"}
    assert {"200", "default"} <= told["responses"].keys()


async def test_every_address_answers_every_method_that_stands_there(node: Node, told: Json) -> None:
    assert operations(told).keys() == CALLS.keys()
    await node.put(patient())
    places = PLACES | {"shard": node.services.ledger.shard}
    found = {}
    async with node.client("admin") as admin:
        for (method, path), (_, query, body) in CALLS.items():
            sent: Json = {"content": body, "headers": FORM} if isinstance(body, str) else {"json": body}
            if method == "PATCH":
                sent["headers"] = MERGE
            found[method, path] = (await admin.request(method, path.format(**places) + query, **sent)).status_code
    assert found == {call: status for call, (status, _, _) in CALLS.items()}


def test_an_update_that_makes_nothing_new_does_not_say_that_it_may(told: Json) -> None:
    answers = {
        path: operation["responses"] for (method, path), operation in operations(told).items() if method == "PUT"
    }
    assert {path for path, codes in answers.items() if "201" not in codes} == {"/fhir/Subscription/{id}"}


async def test_it_is_served_to_everybody(node: Node) -> None:
    async with node.bare() as nobody:
        answer = await nobody.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert decode(answer.content)["servers"] == [{"url": node.services.base.removesuffix("/fhir")}]
