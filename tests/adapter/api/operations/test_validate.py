"""$validate: every layer in one answer, and nothing stored is told but through the gate.

FHIR R4 resource-operation-validate.html; fhir chapter §3, §10.
"""

from typing import Any

import httpx
import pytest

from mappings.fhir.codec import decode
from mappings.fhir.validate import validate
from tests.adapter.api.conftest import Json, Node, observation, patient

FHIR = {"Content-Type": "application/fhir+json"}


async def issues(client: httpx.AsyncClient, url: str, status: int = 200, **request: Any) -> list[Json]:
    answer = await client.post(url, **request)
    assert answer.status_code == status, answer.text
    outcome = decode(answer.content)
    assert validate(outcome) == ()
    found: list[Json] = outcome["issue"]
    return found


def errors(found: list[Json]) -> list[tuple[str, str]]:
    return [(one["code"], one.get("expression", [""])[0]) for one in found if one["severity"] == "error"]


def parameters(**given: Json | str) -> Json:
    kinds = {"mode": "valueCode", "profile": "valueUri", "resource": "resource"}
    return {
        "resourceType": "Parameters",
        "parameter": [{"name": name, kinds[name]: value} for name, value in given.items()],
    }


async def test_what_fits_is_told_to_fit(node: Node) -> None:
    told = patient() | {"text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Ana</div>'}}
    async with node.client() as ward:
        found = await issues(ward, "/fhir/Patient/$validate", json=told)
    assert [(one["severity"], one["diagnostics"]) for one in found] == [("information", "no fault was found")]


async def test_every_fault_is_told_at_its_place(node: Node) -> None:
    broken = observation("o1", status="done", nickname="x", effectiveDateTime="2026-02-30")
    async with node.client() as ward:
        for body in (broken, parameters(resource=broken), parameters(resource=broken, mode="create")):
            found = await issues(ward, "/fhir/Observation/$validate", json=body)
            assert sorted(errors(found)) == [
                ("code-invalid", "Observation.status"),
                ("structure", "Observation.nickname"),
                ("value", "Observation.effective.ofType(dateTime)"),
            ]


async def test_constraints_are_asked_those_that_advise_too(node: Node) -> None:
    bare = observation("o1") | {"dataAbsentReason": {"text": "none"}, "valueString": "x"}
    async with node.client() as ward:
        found = await issues(ward, "/fhir/Observation/$validate", json=bare)
    assert [(one["severity"], one["diagnostics"][-7:]) for one in found if "obs-6" in one["diagnostics"]] == [
        ("error", "(obs-6)")
    ]
    assert [one["severity"] for one in found if "(dom-6)" in one["diagnostics"]] == ["warning"]


async def test_bytes_that_are_no_json_are_an_outcome_too(node: Node) -> None:
    async with node.client() as ward:
        for data in (b"{", b'{"resourceType":"Patient","resourceType":"Patient"}', b"[]", b"\xff"):
            assert errors(await issues(ward, "/fhir/Patient/$validate", content=data, headers=FHIR))
        await issues(ward, "/fhir/Patient/$validate", 415, content=b"x", headers={"Content-Type": "text/plain"})


async def test_xml_is_judged_like_json(node: Node) -> None:
    headers = {"Content-Type": "application/fhir+xml"}
    body = '<Patient xmlns="http://hl7.org/fhir"><gender value="queen"/></Patient>'
    async with node.client() as ward:
        found = await issues(ward, "/fhir/Patient/$validate", content=body, headers=headers)
        assert errors(found) == [("code-invalid", "Patient.gender")]
        for bad in ("<Patient", "<Patient/>", body.replace("gender", "nickname")):
            assert errors(await issues(ward, "/fhir/Patient/$validate", content=bad, headers=headers))


async def test_another_type_than_the_addresss_is_an_error(node: Node) -> None:
    async with node.client() as ward:
        found = await issues(ward, "/fhir/Observation/$validate", json=patient())
        assert ("invalid", "resourceType") in errors(found)
        assert errors(await issues(ward, "/fhir/Observation/$validate", json={"resourceType": "Nothing"}))
        assert errors(await issues(ward, "/fhir/Observation/$validate", json={}))


async def test_parameters_can_be_judged_themselves(node: Node) -> None:
    async with node.client() as ward:
        own = {"resourceType": "Parameters", "parameter": [{"name": "x", "valueCode": " "}]}
        assert errors(await issues(ward, "/fhir/Parameters/$validate", json=own))


async def test_a_profile_that_is_not_known_is_never_passed_over(node: Node) -> None:
    declared = patient() | {
        "meta": {"profile": ["http://example.org/P", "http://hl7.org/fhir/StructureDefinition/Patient"]}
    }
    async with node.client() as ward:
        found = await issues(ward, "/fhir/Patient/$validate", json=declared)
        told = [(one["severity"], one["expression"]) for one in found if "not known here" in one["diagnostics"]]
        assert told == [("information", ["Patient.meta.profile[0]"])]
        named = await issues(ward, "/fhir/Patient/$validate?profile=http://example.org/P", json=declared)
        assert errors(named) == [("not-supported", "")]
        base = "http://hl7.org/fhir/StructureDefinition/Patient|4.0.1"
        assert (
            errors(await issues(ward, "/fhir/Patient/$validate", json=parameters(resource=patient(), profile=base)))
            == []
        )


async def test_the_second_opinion_informs_and_decides_nothing(node: Node) -> None:
    evidence = {
        "resourceType": "Evidence",
        "status": "draft",
        "exposureBackground": {"reference": "EvidenceVariable/1"},
    }
    async with node.client() as ward:
        found = await issues(ward, "/fhir/Evidence/$validate", json=evidence)
    assert errors(found) == []
    theirs = [one for one in found if "fhir.resources" in one["diagnostics"]]
    assert theirs
    assert {one["severity"] for one in theirs} == {"information"}


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("/fhir/Patient/$validate", parameters(mode="create")),
        ("/fhir/Patient/$validate?mode=delete", patient()),
        ("/fhir/Patient/$validate?mode=none", patient()),
        ("/fhir/Patient/$validate?mode=create&mode=create", patient()),
        ("/fhir/Patient/$validate?force=1", patient()),
        ("/fhir/Patient/$validate?resource=x", patient()),
        ("/fhir/Patient/$validate", {"resourceType": "Parameters", "parameter": {}}),
        ("/fhir/Patient/$validate", {"resourceType": "Parameters", "parameter": [{"valueCode": "create"}]}),
        (
            "/fhir/Patient/$validate",
            {"resourceType": "Parameters", "parameter": [{"name": "mode", "valueBoolean": True}]},
        ),
        ("/fhir/Patient/$validate", {"resourceType": "Parameters", "parameter": [{"name": "mode", "valueCode": 1}]}),
        ("/fhir/Patient/$validate", {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": 1}]}),
        ("/fhir/Patient/$validate", {"resourceType": "Parameters", "parameter": [{"name": "other"}]}),
        ("/fhir/Patient/p1/$validate?mode=profile", patient()),
        ("/fhir/Patient/p1/$validate?mode=delete", patient()),
    ],
)
async def test_a_question_that_cannot_be_understood_is_refused(node: Node, url: str, body: Json) -> None:
    await node.put(patient())
    async with node.client() as ward:
        found = await issues(ward, url, 400, json=body)
    assert found[0]["details"]["coding"][0]["code"] == "parameter"


async def test_an_instance_is_judged_as_it_is_stored_and_the_look_is_recorded(node: Node) -> None:
    await node.put(patient())
    before = node.services.ledger.size
    async with node.client() as ward:
        for url in ("/fhir/Patient/p1/$validate", "/fhir/Patient/p1/$validate?mode=profile"):
            answer = await ward.get(url)
            assert answer.status_code == 200
            assert errors(decode(answer.content)["issue"]) == []
            assert answer.headers["x-ledger-index"]
        assert (await ward.get("/fhir/Patient/p1/$validate?mode=update")).status_code == 400
        assert errors(await issues(ward, "/fhir/Patient/p1/$validate?mode=delete")) == []
    assert await node.kinds(before) == ["access.read"] * 3


async def test_what_is_sent_for_an_instance_must_be_its(node: Node) -> None:
    await node.put(patient())
    nameless = patient()
    del nameless["id"]
    async with node.client() as ward:
        assert errors(await issues(ward, "/fhir/Patient/p1/$validate?mode=update", json=patient())) == []
        other = await issues(ward, "/fhir/Patient/p1/$validate?mode=update", json=patient("p2"))
        assert errors(other) == [("invalid", "Patient.id")]
        assert errors(await issues(ward, "/fhir/Patient/p1/$validate", json=nameless)) == [("required", "Patient.id")]


async def test_hidden_and_absent_instances_are_validated_alike(node: Node) -> None:
    await node.put(patient())
    headers = {"X-Request-Id": "same"}
    async with node.client("north") as north, node.client("ward", "system/Observation.r") as narrow:
        hidden = await north.post("/fhir/Patient/p1/$validate", json=patient(), headers=headers)
        absent = await north.post("/fhir/Patient/p9/$validate", json=patient("p9"), headers=headers)
        assert hidden.status_code == absent.status_code == 404
        assert hidden.content == absent.content
        assert (await narrow.get("/fhir/Patient/p1/$validate")).status_code == 403


async def test_nothing_is_stored_by_a_validation(node: Node) -> None:
    before = node.services.ledger.size
    async with node.client() as ward, node.bare() as nobody:
        await issues(ward, "/fhir/Patient/$validate", json=patient())
        assert (await ward.get("/fhir/Patient/p1")).status_code == 404
        assert (await nobody.post("/fhir/Patient/$validate", json=patient())).status_code == 401
    assert await node.kinds(before) == ["access.denied"]
