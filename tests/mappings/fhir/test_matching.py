"""Which Patients are certainly one person. FHIR R4 patient-operation-match.html; fhir chapter §10."""

from typing import Any

import pytest

from mappings.fhir.codec import Json
from mappings.fhir.matching import certain, is_enough

ADDRESS = {"line": ["Lindenstraße 4"], "postalCode": "8010", "city": "Graz"}
PHONE = {"system": "phone", "value": "+43 316 123-456"}


def person(**more: Any) -> Json:
    return {
        "resourceType": "Patient",
        "name": [{"family": "Müller-Lüdenscheidt", "given": ["Ana", "Maria"]}],
        "birthDate": "1970-05-17",
        "gender": "female",
        "telecom": [PHONE],
        "address": [ADDRESS],
    } | more


def numbered(value: str = "1", system: str = "urn:oid:2.999.1", **more: str) -> Json:
    return {"identifier": [{"system": system, "value": value, **more}]}


@pytest.mark.parametrize(
    "asked",
    [
        person(),
        person(name=[{"family": "MULLER-LUDENSCHEIDT", "given": ["ana"]}]),
        person(telecom=[]),
        person(address=[]),
        person(telecom=[{"system": "sms", "value": "0043316123456"}], address=[]),
        person(telecom=[], address=[{"line": ["LINDENSTRASSE 4"], "city": "graz"}]),
        person(name=[{"family": "Other", "given": ["Ana"]}, {"family": "Müller-Lüdenscheidt", "given": ["Ana"]}]),
    ],
)
def test_the_same_name_birth_gender_and_one_way_to_reach_her_is_certain(asked: Json) -> None:
    assert is_enough(asked)
    assert certain(asked, person())


@pytest.mark.parametrize(
    "asked",
    [
        person(birthDate="1970-05"),
        person(birthDate="1970-05-18"),
        person(gender="male"),
        person(gender="unknown"),
        person(name=[{"family": "Müller", "given": ["Ana"]}]),
        person(name=[{"family": "Müller-Lüdenscheidt", "given": ["Ana", "Lucia"]}]),
        person(name=[{"family": "Müller-Lüdenscheidt"}]),
        person(name=[{"family": "-", "given": ["-"]}]),
        person(telecom=[], address=[]),
        person(telecom=[{"system": "phone", "value": "456"}], address=[]),
        person(telecom=[PHONE | {"use": "old"}], address=[]),
        person(telecom=[], address=[ADDRESS | {"use": "old"}]),
        person(telecom=[], address=[ADDRESS | {"postalCode": "1010"}]),
        person(telecom=[], address=[ADDRESS | {"line": ["Lindenstraße 5"]}]),
        person(telecom=[], address=[{"line": ["Lindenstraße 4"]}]),
        person(telecom=[], address=[{"postalCode": "8010", "city": "Graz"}]),
        {},
    ],
)
def test_one_thing_that_differs_or_is_missing_leaves_it_uncertain(asked: Json) -> None:
    assert not certain(asked, person())


def test_what_only_the_asker_says_is_not_the_same() -> None:
    for missing in ("name", "birthDate", "gender"):
        assert not certain(person(), {name: value for name, value in person().items() if name != missing})
    assert not certain(person(), person(telecom=[], address=[]))


def test_an_identifier_decides_alone_and_only_with_its_system() -> None:
    assert certain(numbered(), person(**numbered()))
    assert not certain(numbered(), person(**numbered("2")))
    assert not certain(numbered(), person(**numbered(system="urn:oid:2.999.2")))
    assert not certain({"identifier": [{"value": "1"}]}, {"identifier": [{"value": "1"}]})


def test_a_number_that_was_taken_from_her_finds_her_and_one_that_the_asker_gave_up_finds_nobody() -> None:
    assert certain(numbered(), numbered(use="old"))
    assert not certain(numbered(use="old"), numbered())


@pytest.mark.parametrize(
    "asked", [{}, {"identifier": [{"value": "1"}]}, person(telecom=[], address=[]), person(name=[])]
)
def test_too_little_is_known_to_be_too_little(asked: Json) -> None:
    assert not is_enough(asked)
