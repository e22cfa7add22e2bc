"""$translate, $validate-code and $expand: what ships is answered, all else is an error and never a `false`.

FHIR R4 terminology-service.html, valueset-operation-expand.html; fhir chapter §10.
"""

from typing import Any

import httpx
import pytest

from mappings.fhir.codec import decode
from mappings.fhir.validate import validate
from tests.adapter.api.conftest import Json, Node

GENDER = "http://hl7.org/fhir/ValueSet/administrative-gender"
GENDERS = "http://hl7.org/fhir/administrative-gender"
SEX = "http://terminology.hl7.org/CodeSystem/v2-0001"
MAP = "urn:chartbridge:map:v2-0001.administrative-gender"
IN_SYSTEM, IN_SET = "/fhir/CodeSystem/$validate-code", "/fhir/ValueSet/$validate-code"
EXPAND, TRANSLATE = "/fhir/ValueSet/$expand", "/fhir/ConceptMap/$translate"


async def ask(client: httpx.AsyncClient, url: str, status: int = 200, /, **given: Any) -> Json:
    """By URL, and once more as a Parameters body: the two must not differ."""
    answer = await client.get(url, params=given)
    assert answer.status_code == status, answer.text
    found = decode(answer.content)
    assert validate(found) == ()
    kinds = {"offset": "valueInteger", "count": "valueInteger", "reverse": "valueBoolean"}
    rows = [{"name": name, kinds.get(name, "valueString"): value} for name, value in given.items()]
    posted = await client.post(url, json={"resourceType": "Parameters", "parameter": rows})
    assert posted.status_code == status
    if found["resourceType"] == "Parameters":
        assert posted.content == answer.content
    return found


def result(found: Json) -> bool:
    told: bool = found["parameter"][0]["valueBoolean"]
    assert found["parameter"][0]["name"] == "result"
    return told


def refused(found: Json) -> str:
    code: str = found["issue"][0]["details"]["coding"][0]["code"]
    return code


async def test_a_code_is_judged_in_its_system_and_in_a_value_set(node: Node) -> None:
    async with node.client() as ward:
        assert result(await ask(ward, IN_SYSTEM, url=GENDERS, code="female"))
        assert not result(await ask(ward, IN_SYSTEM, url=GENDERS, code="queen"))
        assert result(await ask(ward, IN_SET, url=GENDER, system=GENDERS, code="female"))
        assert not result(await ask(ward, IN_SET, url=GENDER, system=SEX, code="F"))
        assert result(await ask(ward, IN_SET, url=f"{GENDER}|4.0.1", system=GENDERS, code="female"))


async def test_codings_and_concepts_are_judged_too(node: Node) -> None:
    async def judged(url: str, **row: Any) -> Json:
        rows = [{"name": "url", "valueUri": GENDER if url == IN_SET else GENDERS}, row]
        answer = await ward.post(url, json={"resourceType": "Parameters", "parameter": rows})
        assert answer.status_code == 200, answer.text
        return decode(answer.content)

    good, bad = {"system": GENDERS, "code": "female"}, {"system": SEX, "code": "F"}
    async with node.client() as ward:
        for url in (IN_SYSTEM, IN_SET):
            assert result(await judged(url, name="coding", valueCoding=good))
            assert not result(await judged(url, name="coding", valueCoding=bad))
            assert result(await judged(url, name="codeableConcept", valueCodeableConcept={"coding": [bad, good]}))
            assert not result(await judged(url, name="coding", valueCoding={"code": "female"}))
        told = await judged(IN_SET, name="coding", valueCoding=good | {"display": "Whatever"})
    assert result(told)
    assert "not judged" in told["parameter"][1]["valueString"]


async def test_what_is_not_held_is_an_error_and_never_a_false(node: Node) -> None:
    async with node.client() as ward:
        for url, given in (
            (IN_SYSTEM, {"url": "http://loinc.org", "code": "2160-0"}),
            (IN_SYSTEM, {"url": "http://snomed.info/sct", "code": "73211009"}),
            (IN_SET, {"url": "http://example.org/ValueSet/x", "system": GENDERS, "code": "female"}),
            (IN_SET, {"url": GENDER, "valueSetVersion": "5.0.0", "system": GENDERS, "code": "female"}),
            (EXPAND, {"url": "http://example.org/ValueSet/x"}),
            (TRANSLATE, {"url": "urn:chartbridge:map:none", "system": SEX, "code": "F"}),
            (TRANSLATE, {"system": "http://loinc.org", "code": "2160-0"}),
        ):
            assert refused(await ask(ward, url, 404, **given)) == "terminology-unknown"
        for url, given in (
            (IN_SYSTEM, {"url": "urn:iso:std:iso:4217", "code": "XXQ"}),
            (IN_SET, {"url": "http://loinc.org/vs/LL379-9", "system": "http://loinc.org", "code": "x"}),
            (EXPAND, {"url": "http://hl7.org/fhir/ValueSet/mimetypes"}),
        ):
            assert refused(await ask(ward, url, 422, **given)) == "terminology-open"


async def test_a_value_set_is_listed_by_pages_and_by_filter(node: Node) -> None:
    async with node.client() as ward:
        whole = (await ask(ward, EXPAND, url=GENDER))["expansion"]
        assert [one["code"] for one in whole["contains"]] == ["female", "male", "other", "unknown"]
        page = (await ask(ward, EXPAND, url=GENDER, offset=1, count=2))["expansion"]
        assert (page["total"], page["offset"], [one["code"] for one in page["contains"]]) == (4, 1, ["male", "other"])
        males = (await ask(ward, EXPAND, url=GENDER, filter="MALE"))["expansion"]
        assert (males["total"], [one["code"] for one in males["contains"]]) == (2, ["female", "male"])
        for given in ({"count": 0}, {"offset": 9}, {"filter": "zz"}):
            assert "contains" not in (await ask(ward, EXPAND, url=GENDER, **given))["expansion"]


async def test_a_code_is_translated_there_and_back(node: Node) -> None:
    async with node.client() as ward:
        there = await ask(ward, TRANSLATE, url=MAP, system=SEX, code="F")
        assert result(there)
        parts = {part["name"]: part for part in there["parameter"][1]["part"]}
        assert parts["concept"]["valueCoding"] == {"system": GENDERS, "code": "female", "display": "Female"}
        assert (parts["equivalence"]["valueCode"], parts["source"]["valueUri"]) == ("equivalent", MAP)
        assert result(await ask(ward, TRANSLATE, system=SEX, code="F", targetsystem=GENDERS))
        back = await ward.get(TRANSLATE, params={"url": MAP, "system": GENDERS, "code": "female", "reverse": "true"})
        assert b'"code":"F"' in back.content
        none = await ask(ward, TRANSLATE, url=MAP, system=SEX, code="Q")
        assert (result(none), none["parameter"][1]["name"]) == (False, "message")


@pytest.mark.parametrize(
    ("url", "given"),
    [
        (IN_SYSTEM, {"code": "female"}),
        (IN_SYSTEM, {"url": GENDERS}),
        (IN_SYSTEM, {"url": GENDERS, "code": " female"}),
        (IN_SET, {"url": GENDER, "code": "female"}),
        (IN_SET, {"system": GENDERS, "code": "female"}),
        (IN_SET, {"url": GENDER, "context": "Patient.gender", "code": "female", "system": GENDERS}),
        (EXPAND, {}),
        (EXPAND, {"url": GENDER, "offset": "-1"}),
        (EXPAND, {"url": GENDER, "count": "x"}),
        (EXPAND, {"url": GENDER, "displayLanguage": "de"}),
        (TRANSLATE, {"url": MAP}),
        (TRANSLATE, {"url": MAP, "system": SEX, "code": "F", "reverse": "perhaps"}),
        (TRANSLATE, {"url": MAP, "coding": "F"}),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(node: Node, url: str, given: Json) -> None:
    async with node.client() as ward:
        answer = await ward.get(url, params=given)
    assert answer.status_code == 400
    assert refused(decode(answer.content)) == "parameter"


@pytest.mark.parametrize("concept", [{}, {"coding": []}, {"coding": {}}, {"coding": ["x"]}, {"coding": [{"code": 1}]}])
async def test_a_concept_without_a_coding_is_refused(node: Node, concept: Json) -> None:
    rows = [{"name": "url", "valueUri": GENDER}, {"name": "codeableConcept", "valueCodeableConcept": concept}]
    async with node.client() as ward:
        answer = await ward.post(IN_SET, json={"resourceType": "Parameters", "parameter": rows})
    assert answer.status_code == 400


async def test_a_token_is_needed_and_no_event(node: Node) -> None:
    before = node.services.ledger.size
    async with node.bare() as nobody, node.client("clerk", "system/Device.r") as clerk:
        assert (await nobody.get(EXPAND, params={"url": GENDER})).status_code == 401
        await ask(clerk, EXPAND, url=GENDER)
    assert node.services.ledger.size == before
