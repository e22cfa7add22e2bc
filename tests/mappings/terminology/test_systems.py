"""Names of code systems in documents: OIDs, codeSystemName; and what an OID, a UUID and a URI look like."""

import pytest

from mappings.terminology.systems import is_absolute, is_oid, is_uuid, issuer_uri, oid_uri, system_for, system_named

V3 = "http://terminology.hl7.org/CodeSystem/v3-"


@pytest.mark.parametrize(
    ("oid", "uri"),
    [
        ("2.16.840.1.113883.6.1", "http://loinc.org"),
        ("2.16.840.1.113883.6.96", "http://snomed.info/sct"),
        ("2.16.840.1.113883.6.88", "http://www.nlm.nih.gov/research/umls/rxnorm"),
        ("2.16.840.1.113883.6.90", "http://hl7.org/fhir/sid/icd-10-cm"),
        ("2.16.840.1.113883.6.4", "http://www.cms.gov/Medicare/Coding/ICD10"),
        ("2.16.840.1.113883.6.3", "http://hl7.org/fhir/sid/icd-10"),
        ("1.3.6.1.4.1.12559.11.10.1.3.1.44.2", "http://hl7.org/fhir/sid/icd-10"),
        ("2.16.840.1.113883.6.73", "http://www.whocc.no/atc"),
        ("0.4.0.127.0.16.1.1.2.1", "http://standardterms.edqm.eu"),
        ("2.16.840.1.113883.3.26.1.1", "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl"),
        ("2.16.840.1.113883.5.1150.1", "http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-uv-ips"),
        ("2.16.840.1.113883.5.83", V3 + "ObservationInterpretation"),
        ("2.16.840.1.113883.12.1", "http://terminology.hl7.org/CodeSystem/v2-0001"),
        ("2.16.840.1.113883.12.292", "http://hl7.org/fhir/sid/cvx"),
        ("2.16.840.1.113883.6.238", "urn:oid:2.16.840.1.113883.6.238"),
    ],
)
def test_the_oids_that_documents_use_have_their_uri(oid: str, uri: str) -> None:
    assert system_for(oid) == oid_uri(oid) == oid_uri(f"urn:oid:{oid}") == uri


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("SNOMED CT", "http://snomed.info/sct"), ("SNOMED-CT", "http://snomed.info/sct"),
        ("Snomed", "http://snomed.info/sct"), ("SNOMEDCT", "http://snomed.info/sct"), ("LOINC", "http://loinc.org"),
        ("LN", "http://loinc.org"), ("cvx", "http://hl7.org/fhir/sid/cvx"),
        ("ICD10CM", "http://hl7.org/fhir/sid/icd-10-cm"), ("HL7 ActCode", None), ("ActCode", V3 + "ActCode"),
        ("ICD10", None), ("ours", None), ("", None), ("---", None),
    ],
)  # fmt: skip
def test_a_name_is_known_by_its_letters_and_an_ambiguous_one_is_not_guessed(name: str, uri: str | None) -> None:
    assert system_named(name) == uri


def test_a_name_of_documents_is_no_mnemonic_of_messages() -> None:
    assert system_for("SNOMED CT") is None


@pytest.mark.parametrize(
    ("oid", "uri"),
    [
        ("2.16.840.1.113883.4.1", "http://hl7.org/fhir/sid/us-ssn"),
        ("2.16.840.1.113883.4.6", "http://hl7.org/fhir/sid/us-npi"),
        ("2.16.840.1.113883.4.814", "http://terminology.hl7.org/NamingSystem/USDEANumber"),
        ("2.16.840.1.113883.6.1", "urn:oid:2.16.840.1.113883.6.1"),
        ("2.999.1", "urn:oid:2.999.1"),
    ],
)
def test_numbers_are_never_of_a_code_system(oid: str, uri: str) -> None:
    assert issuer_uri(oid) == uri


@pytest.mark.parametrize("text", ["1.2.3.4", "2.999.1", "0.4.0.127"])
def test_an_oid_has_arcs_of_digits(text: str) -> None:
    assert is_oid(text)
    assert not is_uuid(text)


@pytest.mark.parametrize(
    "text", ["", ".", "3.1.2.4", "1.02.3.4", "1.2.x", "2.6.1", "1.2..3", "١.2.3.4", "a", "1.2.3.4 "]
)
def test_what_looks_like_an_oid_and_is_none(text: str) -> None:
    assert not is_oid(text)


@pytest.mark.parametrize(
    ("text", "absolute"),
    [("urn:x", True), ("https://e.org/a", True), ("12:30", False), ("a b:c", False), ("x:", False), ('a:"', False)],
)
def test_an_absolute_uri_has_a_scheme_and_no_blanks(text: str, absolute: bool) -> None:
    assert is_absolute(text) is absolute
