"""`map lint`: what the standard's grammar says of a message, of each of three kinds; saying so changes nothing.

Source: HL7 v2.9 §2.5 (structure, cardinality), chapter 2C (tables); issue of HL7 v2 breadth, item 5.
"""

from pathlib import Path

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


@pytest.mark.parametrize(
    ("said", "asked"), [("2.9", "2.8.2"), ("2.9.1", "2.8.2"), ("2.7.1", "2.7")], ids=lambda version: version
)
def test_a_version_that_hl7apy_lacks_is_held_against_the_newest_before_it(said: str, asked: str) -> None:
    start = header("ADT^A01^ADT_A01").replace("|2.5.1", f"|{said}")
    found = lint(message(start, "EVN||20250304", PID))
    assert found[0] == Finding("warning", f"hl7apy has no {said}: held against {asked}")
    assert "Missing required child ADT_A01.PV1" in {finding.text for finding in found}


def test_what_is_no_version_is_held_against_none() -> None:
    found = lint(message(header("ADT^A01").replace("|2.5.1", "|2.Demo"), "EVN||20250304", PID))
    assert [finding.text for finding in found] == ["hl7apy cannot read the message: UnsupportedVersion"]


def test_a_structure_that_is_none_is_a_finding_and_the_event_s_own_is_asked() -> None:
    found = texts(header("ADT^A08^ADT_A08"), "EVN||20250304", PID)
    assert {"MSH-9.3 is no structure of 2.5.1: held against ADT_A01", "Missing required child ADT_A01.PV1"} <= found


def test_an_event_keeps_the_structure_it_had_in_its_version() -> None:
    old = header("RDE^O01").replace("|2.5.1", "|2.3")
    assert "Missing required child RDE_O01.RDE_O01_ORDER" in texts(old, PID)


@pytest.mark.parametrize(
    ("type_", "found"), [("ADT^Z99", {"hl7apy has no structure of 2.5.1 for the message"}), ("ZZZ^Z01", set())]
)
def test_a_message_without_a_structure_is_one_finding_and_a_site_s_own_none(type_: str, found: set[str]) -> None:
    assert texts(header(type_), PID) == found


@pytest.mark.parametrize(
    ("segments", "finding"),
    [
        (("EVN||20250304", PID + "|" * 40 + "x"), "Unexpected field in PID"),
        (("EVN||20250304^second^third", PID), "Unexpected component in EVN_2 of type TS"),
        (("EVN||20250304||02^Order", PID), "Unexpected component in EVN.EVN_4"),
    ],
    ids=["field", "component", "component of a field that has none"],
)
def test_what_the_standard_has_no_name_for_is_named_by_where_it_stands(segments: tuple[str, ...], finding: str) -> None:
    assert finding in texts(header("ADT^A01^ADT_A01"), *segments, PV1)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_no_finding_speaks_of_none(path: Path) -> None:
    assert not [finding.text for finding in lint(path.read_bytes()) if "None" in finding.text]


def test_a_value_with_a_line_break_of_another_kind_is_left_out_whole() -> None:
    found = lint(message(header("ADT^A01^ADT_A01"), "EVN||20250304", f"{PID}|||Q\x0bSecret\u2028Gerda", PV1))
    assert "a value is not in table HL70001 in element PID.PID_8" in {finding.text for finding in found}
    assert not {"Secret", "Gerda"} & set(" ".join(finding.text for finding in found).split())


def test_lint_changes_no_result() -> None:
    for path in SAMPLES[:12]:
        data = path.read_bytes()
        before = [encode(mapped.body) for mapped in to_fhir(data, default()).resources]
        lint(data)
        assert [encode(mapped.body) for mapped in to_fhir(data, default()).resources] == before
