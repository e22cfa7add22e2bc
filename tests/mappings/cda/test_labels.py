"""Confidentiality closes: what is unknown is restricted, and the whole is as confidential as its strictest part.

Source: CDA R2 §4.2.1.7 (confidentialityCode); HL7 CDA R2 data segmentation for privacy; FHIR R4 security labels.
"""

from dataclasses import replace
from typing import Any

import pytest

from mappings.convert import Conversion, to_fhir
from mappings.hl7v2.rules.labels import CONFIDENTIALITY, SHARED
from tests.mappings.cda.converted import codes, convert, default, every, of_sections
from tests.mappings.cda.documents import in_section, minimal
from tests.mappings.cda.test_parties import allergy, author, number, person

Json = dict[str, Any]
SYSTEM = 'codeSystem="2.16.840.1.113883.5.25"'
_ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def level(code: str, system: str = SYSTEM) -> str:
    return f'<confidentialityCode code="{code}" {system}/>'


def labels(body: Json) -> list[str]:
    return [each["code"] for each in body.get("meta", {}).get("security", ())]


def of(done: Conversion, kind: str) -> list[list[str]]:
    return [labels(body) for body in every(done, kind)]


def security(code: str, value: str, system: str = "2.16.840.1.113883.5.4") -> str:
    """A security observation, as the data segmentation guide writes it."""
    return f"""<observation classCode="OBS" moodCode="EVN"><templateId root="2.16.840.1.113883.3.445.21"/>
      <code code="{code}" codeSystem="2.16.840.1.113883.1.11.20457"/>
      <value xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CE" code="{value}" codeSystem="{system}"/>
      </observation>"""


def annotated(*observations: str) -> str:
    """The organizer that holds security observations, beside a statement."""
    held = "".join(f"<component>{each}</component>" for each in observations)
    organizer = f'<organizer classCode="CLUSTER" moodCode="EVN"><statusCode code="active"/>{held}</organizer>'
    return f'<entryRelationship typeCode="COMP">{organizer}</entryRelationship>'


CLASS = "2.16.840.1.113883.5.25"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (level("N"), ["N"]),
        (level("R"), ["R"]),
        (level("V"), ["V"]),
        (level("L"), ["L"]),
        (level("N", ""), ["N"]),
        ("<confidentialityCode/>", []),
        ('<confidentialityCode nullFlavor="NI"/>', []),
        ("", []),
        (level("HIV"), ["R", "HIV"]),
        (level("S"), ["R"]),
        (level("N", 'codeSystem="2.999.7"'), ["R", "N"]),
        (level("secret"), ["R", "secret"]),
        (level("NOPAT"), ["R", "NOPAT"]),
        (level("n"), ["R", "n"]),
    ],
)
def test_a_document_labels_all_that_it_states(written: str, expected: list[str]) -> None:
    done = of_sections(("48765-2", allergy("Latex")), confidentialityCode=written)
    for kind in ("AllergyIntolerance", "Composition", "DocumentReference", "Binary", "Provenance"):
        assert all(found == expected for found in of(done, kind)), kind
    known = expected in ([], ["N"], ["R"], ["V"], ["L"], ["R", "HIV"])
    not_hl7s = ["not-in-system"] if expected[1:] in (["secret"], ["NOPAT"], ["n"]) else []
    assert codes(done) == ([] if known else [*not_hl7s, "label-unknown"])


def test_an_unknown_label_keeps_the_senders_word() -> None:
    done = convert(minimal(confidentialityCode=level("X-7", 'codeSystem="2.999.7" displayName="house rule"')))
    kept = every(done, "Composition")[0]["meta"]["security"]
    assert kept[0] == {"system": CONFIDENTIALITY, "code": "R"}
    assert kept[1] == {"system": "urn:oid:2.999.7", "code": "X-7", "display": "house rule"}


@pytest.mark.parametrize(
    ("code", "system"), [("secret", "urn:chartbridge:default/codes/v3-Confidentiality"), ("B", None)]
)
def test_an_unknown_word_is_never_as_if_it_were_hl7_s(code: str, system: str | None) -> None:
    """One that the system lacks, and one that it has and `labels.csv` does not know."""
    done = convert(minimal(confidentialityCode=level(code)))
    closed, kept = every(done, "Composition")[0]["meta"]["security"]
    assert closed == {"system": CONFIDENTIALITY, "code": "R"}
    assert (kept.get("system"), kept["code"]) == (system, code)


def test_a_section_labels_what_stands_in_it_and_the_whole() -> None:
    done = of_sections(
        ("48765-2", level("V") + allergy("Latex")), ("48765-2", allergy("Kiwi")), confidentialityCode=level("N")
    )
    assert of(done, "AllergyIntolerance") == [["V"], ["N"]]
    for kind in ("Composition", "DocumentReference", "Binary", "Provenance"):
        assert all(found == ["V"] for found in of(done, kind)), kind
    assert every(done, "Composition")[0]["confidentiality"] == "V"


def test_a_section_without_entries_makes_the_whole_as_confidential() -> None:
    done = convert(minimal(in_section(level("R") + "<text>x</text>", "10154-3"), confidentialityCode=level("N")))
    assert of(done, "Composition") == of(done, "Binary") == [["R"]]


def test_a_section_in_a_section_is_no_less_confidential() -> None:
    inner = f'<component><section>{level("N")}<code code="48765-2"/>{allergy("Latex")}</section></component>'
    done = of_sections(("10154-3", level("V") + inner), confidentialityCode=level("N"))
    assert of(done, "AllergyIntolerance") == [["V"]]


def test_what_two_sections_state_is_as_confidential_as_the_stricter() -> None:
    same = allergy("Latex")
    for first, second in (("N", "V"), ("V", "N")):
        done = of_sections(("48765-2", level(first) + same), ("48765-2", level(second) + same))
        assert of(done, "AllergyIntolerance") == [["V"]]


@pytest.mark.parametrize(
    ("observations", "expected", "issues"),
    [
        ((security("SECCLASSOBS", "V", CLASS),), ["V"], []),
        ((security("SECCLASSOBS", "R", CLASS), security("SECCATOBS", "ETH")), ["R", "ETH"], []),
        ((security("SECCONOBS", "NORDSCLCD"),), ["N", "NORDSCLCD"], []),
        ((security("SECCONOBS", "NOPAT", "2.16.840.1.113883.5.1063"),), ["N", "NOPAT"], ["not-in-system"]),
        ((security("SECCATOBS", "odd", "2.999.7"),), ["R", "odd"], ["label-unknown"]),
        ((security("SECCATOBS", "odd"),), ["R", "odd"], ["not-in-system", "label-unknown"]),
        ((security("SECCLASSOBS", "odd", CLASS),), ["R", "odd"], ["not-in-system", "label-unknown"]),
    ],
)
def test_a_security_observation_labels_the_statement_beside_it(
    observations: tuple[str, ...], expected: list[str], issues: list[str]
) -> None:
    done = of_sections(("48765-2", allergy("Latex", annotated(*observations)) + allergy("Kiwi")))
    assert sorted(map(sorted, of(done, "AllergyIntolerance"))) == sorted([sorted(expected), ["N"]])
    assert every(done, "Observation") == []  # a label is no finding of the patient
    assert codes(done) == issues
    assert all(each.outcome == "mapped" for each in done.tally if each.code.startswith("SEC"))


def test_what_others_share_has_no_label() -> None:
    writer = author(number("A1") + "<code code='x' codeSystem='2.999.1'/>" + person("Ann"))
    done = convert(minimal(author=writer, confidentialityCode=level("V")))
    for mapped in done.resources:
        assert (labels(mapped.body) == []) is (mapped.body["resourceType"] in SHARED)


@pytest.mark.parametrize(("code", "expected"), [("N", []), ("L", []), ("R", ["R"]), ("V", ["V"])])
def test_an_ordinary_document_does_not_lower_what_protects_a_patient(code: str, expected: list[str]) -> None:
    """A label that is stated takes the place of the stored one; so of a patient nothing ordinary is stated."""
    done = to_fhir(minimal(confidentialityCode=level(code)), replace(default(), demographics="lead"))
    assert of(done, "Patient") == [expected]


def test_labels_never_stand_inside_of_contained_resources() -> None:
    nobody = author('<id nullFlavor="NI"/>' + person("Ann"))
    done = convert(minimal(author=nobody, confidentialityCode=level("V")))
    assert all("meta" not in inner for m in done.resources for inner in m.body.get("contained", ()))
