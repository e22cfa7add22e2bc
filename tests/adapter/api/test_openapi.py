"""The OpenAPI document is made of the route table and is what its standard says. OpenAPI 3.1.0; fhir chapter §11."""

import pytest
from openapi_spec_validator import validate

from adapter.api.interaction import Interaction
from adapter.api.openapi import document
from adapter.api.routes import TABLE
from mappings.fhir.codec import decode
from mappings.fhir.schema import schema
from tests.adapter.api.conftest import Json, Node

BASE = "https://chart.example.org/fhir"


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


async def test_it_is_served_to_everybody(node: Node) -> None:
    async with node.bare() as nobody:
        answer = await nobody.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert decode(answer.content)["servers"] == [{"url": node.services.base.removesuffix("/fhir")}]
