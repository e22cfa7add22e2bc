"""`map lint`: what the standard's grammar says of a message, of each of three kinds; saying so changes nothing.

Source: HL7 v2.9 §2.5 (structure, cardinality), chapter 2C (tables); issue of HL7 v2 breadth, item 5.
"""

import pytest

from mappings.convert import to_fhir
from mappings.fhir.codec import encode
from mappings.hl7v2.lint import Finding, lint
from tests.mappings.hl7v2.messages import MR, SAMPLES, default, header, message

PID = f"PID|1||1{MR}||Demo^Ana"
PV1 = "PV1|1|I"


def texts(*segments: str) -> set[str]:
    return {finding.text for finding in lint(message(*segments))}


def test_a_segment_that_the_structure_lacks_is_a_finding() -> None:
    found = texts(header("ADT^A01^ADT_A01"), "EVN||20250304", PID, PV1, "TXA|1|DS|TX|||||||||D1|||||AU")
    assert "Unexpected segment ADT_A01.TXA" in found
    assert not any(
        "Unexpected" in text for text in texts(header("ADT^A01^ADT_A01"), "EVN||20250304", PID, PV1, "ZPV|1")
    )


def test_a_segment_that_the_structure_demands_is_a_finding() -> None:
    assert "Missing required child ADT_A01.PV1" in texts(header("ADT^A01^ADT_A01"), "EVN||20250304", PID)


@pytest.mark.parametrize(
    ("segments", "finding"),
    [
        (("EVN||20250304", PID, PV1, PV1), "Child limit exceeded ADT_A01.PV1"),
        (("EVN|A01", PID, PV1), "Missing required child EVN.EVN_2"),
        (("EVN||20250304~20250305", PID, PV1), "Child limit exceeded EVN.EVN_2"),
    ],
    ids=["segment twice", "field missing", "field twice"],
)
def test_a_broken_cardinality_is_a_finding(segments: tuple[str, ...], finding: str) -> None:
    assert finding in texts(header("ADT^A01^ADT_A01"), *segments)


def test_a_code_outside_its_table_is_a_warning_without_the_code() -> None:
    found = lint(message(header("ADT^A01^ADT_A01"), "EVN||20250304", f"{PID}|||QQ", PV1))
    assert Finding("warning", "a value is not in table HL70001 in element PID.PID_8") in found
    assert "QQ" not in " ".join(finding.text for finding in found)


@pytest.mark.parametrize(("version", "event"), [("2.3", "ADT^A08"), ("2.5.1", "ADT^A08"), ("2.5.1", "ADT^A08^ADT_A01")])
def test_an_event_is_held_against_its_structure_though_msh_9_names_none(version: str, event: str) -> None:
    start = header(event).replace("|2.5.1", f"|{version}")
    assert "Missing required child ADT_A01.PV1" in texts(start, "EVN|A08|20250304", PID)


def test_lint_changes_no_result() -> None:
    for path in SAMPLES[:12]:
        data = path.read_bytes()
        before = [encode(mapped.body) for mapped in to_fhir(data, default()).resources]
        lint(data)
        assert [encode(mapped.body) for mapped in to_fhir(data, default()).resources] == before
