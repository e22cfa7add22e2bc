"""Which codes are known: no guess, whatever is asked. FHIR R4 terminology-service.html."""

import json

import pytest

from mappings.fhir.schema import schema
from mappings.terminology import lookup
from mappings.terminology.lookup import Unlisted, in_system, in_valueset, is_held, valueset
from tests.mappings.fhir import r4_package

GENDER = "http://hl7.org/fhir/ValueSet/administrative-gender"
GENDERS = "http://hl7.org/fhir/administrative-gender"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
SEX = "http://terminology.hl7.org/ValueSet/v2-0001"


def test_value_sets_go_by_their_canonical_with_and_without_version() -> None:
    assert valueset(GENDER) == {GENDERS: frozenset({"male", "female", "other", "unknown"})}
    assert valueset(f"{GENDER}|4.0.1") == valueset(GENDER, "4.0.1") == valueset(GENDER)
    assert valueset(SEX) is not None


@pytest.mark.parametrize(
    "url",
    ["administrative-gender", f"{GENDER}|5.0.0", f"{SEX}|2.9", "http://hl7.org/fhir/ValueSet/none", "", "v2-0001",
     "http://hl7.org/fhir/ValueSet/http://loinc.org/vs/LL379-9", "http://terminology.hl7.org/ValueSet/v2-9999"],
)  # fmt: skip
def test_what_is_not_held_is_nothing(url: str) -> None:
    assert valueset(url) is None
    with pytest.raises(KeyError):
        in_valueset(url, None, GENDERS, "male")


def test_what_has_a_grammar_is_asked_of_the_grammar_and_never_listed() -> None:
    for name in ("ucum-units", "mimetypes"):
        assert isinstance(valueset(f"http://hl7.org/fhir/ValueSet/{name}"), Unlisted)
    units, media = "http://hl7.org/fhir/ValueSet/ucum-units", "http://hl7.org/fhir/ValueSet/mimetypes"
    assert in_valueset(units, None, lookup.UCUM, "mg/dL") is True
    assert in_valueset(units, None, lookup.UCUM, "MG/DL") is False
    assert in_valueset(units, None, lookup.MEDIA_TYPES, "text/plain") is False
    assert in_valueset(media, None, lookup.MEDIA_TYPES, "text/plain") is True
    assert in_valueset("http://loinc.org/vs/LL379-9", None, "http://loinc.org", "LA1-1") is None


def test_membership_compares_system_and_code() -> None:
    assert in_valueset(GENDER, None, GENDERS, "male") is True
    assert in_valueset(GENDER, None, GENDERS, "Male") is False
    assert in_valueset(GENDER, None, "http://example.org", "male") is False


def test_of_a_system_that_is_known_in_part_an_unknown_code_cannot_be_told() -> None:
    assert in_system(CONFIDENTIALITY, "R") is True
    assert in_system(CONFIDENTIALITY, "X") is False
    for system in lookup.partial():
        assert is_held(system)
        assert in_system(system, "no-such-code") is None


def test_no_table_of_others_is_held() -> None:
    for system in ("http://loinc.org", "http://snomed.info/sct", "http://hl7.org/fhir/sid/icd-10"):
        assert not is_held(system)


@pytest.mark.node
def test_every_system_of_r4_that_is_not_called_partial_is_whole() -> None:
    """Held against the standard's own CodeSystems: `false` is said of these alone."""
    whole: dict[str, set[str]] = {}
    for name in ("Bundle-valuesets.json", "Bundle-v3-valuesets.json"):
        for entry in json.loads(r4_package.files()[name])["entry"]:
            system = entry["resource"]
            if system["resourceType"] == "CodeSystem" and system["content"] == "complete":
                whole[system["url"]] = codes(system.get("concept", []))
    listed = {system for name in schema().valuesets for system in schema().valueset(name) or ()}
    for system in listed - lookup.partial() - {lookup.UCUM}:
        assert {code for code in whole[system] if in_system(system, code) is not True} == set(), system


def codes(concepts: list[dict[str, object]]) -> set[str]:
    found = set[str]()
    for concept in concepts:
        inner = concept.get("concept", [])
        assert isinstance(inner, list)
        found |= {str(concept["code"])} | codes(inner)
    return found
