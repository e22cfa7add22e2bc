"""The capability page claims what there is, and all of it. FHIR R4 CapabilityStatement; fhir chapter §11."""

import pytest
from fhir.resources.R4B.capabilitystatement import CapabilityStatement

from adapter.api.routes import TABLE
from mappings.fhir.codec import decode, encode
from mappings.fhir.schema import schema
from mappings.fhir.validate import validate
from tests.adapter.api.conftest import Json, Node, consent, observation, patient


@pytest.fixture
async def statement(node: Node) -> Json:
    async with node.bare() as nobody:
        answer = await nobody.get("/fhir/metadata")
    assert answer.status_code == 200
    assert encode(decode(answer.content)) == answer.content
    CapabilityStatement.model_validate_json(answer.content)
    return decode(answer.content)


def test_it_is_valid_by_our_own_schema(statement: Json) -> None:
    assert [fault for fault in validate(statement) if fault.severity == "error"] == []


def test_every_interaction_of_the_table_is_claimed(statement: Json) -> None:
    claimed = {
        interaction["code"] for resource in statement["rest"][0]["resource"] for interaction in resource["interaction"]
    }
    claimed |= {interaction["code"] for interaction in statement["rest"][0]["interaction"]}
    interactions = [row for row in TABLE if row.path.startswith("/fhir") and row.negotiates and not row.operation]
    routed = {row.name for row in interactions if row.name != "capabilities"}
    assert claimed == (routed - {"search-compartment"})


def test_every_operation_of_the_table_is_claimed_where_it_stands(statement: Json) -> None:
    claimed = {
        (resource["type"], operation["name"])
        for resource in statement["rest"][0]["resource"]
        for operation in resource.get("operation", ())
    } | {("", operation["name"]) for operation in statement["rest"][0]["operation"]}
    routed = set[tuple[str, str]]()
    for row in TABLE:
        if row.operation:
            type_ = row.path.split("/")[2].partition("$")[0]
            routed |= {(kind, row.operation) for kind in (schema().resource_types if type_ == "{type}" else [type_])}
    assert claimed == routed


async def test_every_claimed_interaction_answers(node: Node, statement: Json) -> None:
    await node.put(patient(), observation("o1"))
    async with node.client() as ward:
        for resource in statement["rest"][0]["resource"]:
            kind = resource["type"]
            for code in (interaction["code"] for interaction in resource["interaction"]):
                path = {
                    "read": f"/fhir/{kind}/none",
                    "vread": f"/fhir/{kind}/none/_history/1",
                    "history-instance": f"/fhir/{kind}/none/_history",
                }.get(code)
                if path is None or kind not in ("Observation", "Patient", "Binary"):
                    continue  # one path serves all types: three stand for them, and keep the client under its limit
                assert (await ward.get(path)).status_code == 404
        made = await ward.post("/fhir/Consent", json=consent())
        assert made.status_code == 201
        again = await ward.put(f"/fhir/Consent/{decode(made.content)['id']}", json=decode(made.content))
        assert again.status_code == 200


async def test_every_claimed_parameter_is_known_to_the_search(statement: Json) -> None:
    from mappings.fhir.search import is_searchable

    for resource in statement["rest"][0]["resource"]:
        for parameter in resource["searchParam"]:
            assert is_searchable(resource["type"], parameter["name"])
            assert parameter["documentation"][:2] in ("T1", "T2", "T3")


@pytest.mark.parametrize("code", ["create", "update", "delete"])
async def test_what_is_claimed_to_be_written_is_and_the_rest_is_refused(node: Node, statement: Json, code: str) -> None:
    """405 is the answer of a type that is not written; any other says that the interaction is there."""
    for resource in statement["rest"][0]["resource"]:
        kind = resource["type"]
        if kind not in ("AuditEvent", "Consent", "Patient", "Binary"):
            continue
        async with node.client() as ward:
            body = {"resourceType": kind}
            method, path = {"create": ("POST", ""), "update": ("PUT", "/none"), "delete": ("DELETE", "/none")}[code]
            answer = await ward.request(method, f"/fhir/{kind}{path}", json=body)
        claimed = {"code": code} in resource["interaction"]
        assert (answer.status_code != 405) is claimed
