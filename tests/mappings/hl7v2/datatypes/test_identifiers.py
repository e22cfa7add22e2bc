"""Identifiers and authorities: HD, CX, EI, EIP, PLN, DLN, MSG, PT, VID (HL7 v2.9 §2A.1)."""

from typing import Any

import pytest

from mappings.fhir.values import SOURCE_LEXEME
from mappings.hl7v2.datatypes import FUNCTIONS
from mappings.hl7v2.datatypes.identifiers import authority
from mappings.terminology.systems import is_oid, is_uuid
from tests.mappings.hl7v2.contexts import FEED, codes, context

V2 = "http://terminology.hl7.org/CodeSystem/v2-"
UUID = "C0FFEE00-1234-4321-8765-0123456789AB"


def concept(code: str, table: str = "0203", *, ours: bool = False) -> dict[str, Any]:
    return {"coding": [{"system": f"{FEED}/table/{table}" if ours else V2 + table, "code": code}]}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("HOSP", "urn:oid:2.999.1.4"),  # the profile's word
        ("OTHER^2.999.7^ISO", "urn:oid:2.999.1.5"),  # by its universal id too
        ("A^1.2.840.1^ISO", "urn:oid:1.2.840.1"),
        ("A^2.16.840.1.113883.6.1^ISO", "urn:oid:2.16.840.1.113883.6.1"),  # a registered OID has its URI
        ("A^1.2.840.1", "urn:oid:1.2.840.1"),
        ("A^1.2.840.1^DNS", "urn:oid:1.2.840.1"),  # whatever HD.3 says
        ("A^urn:oid:1.2.840.1^URI", "urn:oid:1.2.840.1"),
        (f"A^{UUID}^UUID", f"urn:uuid:{UUID.lower()}"),
        (f"A^urn:uuid:{UUID}^GUID", f"urn:uuid:{UUID.lower()}"),
        ("A^http://example.org/ids^URI", "http://example.org/ids"),
        ("A^lab.Example.org^DNS", "urn:dns:lab.example.org"),
        ("A^lab.example.org", "urn:dns:lab.example.org"),
        ("A^Provider Master.Hospitals^DNS", f"{FEED}/authority/Provider%20Master.Hospitals"),  # no domain has blanks
        ("A^12:30^L", f"{FEED}/authority/12%3A30"),  # no scheme begins with a digit
        ("A^some words^L", f"{FEED}/authority/some%20words"),
        ("A^1.02.3^ISO", f"{FEED}/authority/1.02.3"),  # no OID has leading zeros
        ("1.2.840.1", "urn:oid:1.2.840.1"),  # the OID where the name goes
        ("A", f"{FEED}/authority/A"),
        ("Ärzte & Co", f"{FEED}/authority/%C3%84rzte%20%26%20Co"),
        ("", None),
        ('""', None),
        ("^^", None),
        ("^^ISO", None),
    ],
)
def test_an_authority_is_a_uri(raw: str, expected: str | None) -> None:
    ctx = context(authorities={"HOSP": "urn:oid:2.999.1.4", "2.999.7": "urn:oid:2.999.1.5"})
    for _ in range(2):  # the second answer comes from the cache
        assert FUNCTIONS["HD[uri]"].call(raw, ctx, None) == expected
    assert codes(ctx) == []


def test_an_authority_of_decoded_parts_is_the_same() -> None:
    ctx = context()
    assert authority("A", "1.2.34.3", "ISO", ctx) == "urn:oid:1.2.34.3"
    assert authority("A", "", None, ctx) == f"{FEED}/authority/A"
    assert authority("", None, "", ctx) is None


@pytest.mark.parametrize(
    ("text", "oid"),
    [
        ("1.2.34.3", True),
        ("2.999", False),
        ("2.6.1", False),
        ("3.1.2", False),
        ("1.02.3", False),
        ("1.2.x", False),
        ("1..3", False),
        ("", False),
    ],
)
def test_what_an_oid_is(text: str, oid: bool) -> None:
    assert is_oid(text) is oid


@pytest.mark.parametrize(
    ("text", "uuid"), [(UUID, True), (UUID[:-1], False), (UUID.replace("C", "G"), False), ("", False)]
)
def test_what_a_uuid_is(text: str, uuid: bool) -> None:
    assert is_uuid(text) is uuid


def test_identifiers_keep_their_authority() -> None:
    """Equal numbers of two hospitals, two feeds and no one at all are never the same identifier."""
    call = FUNCTIONS["CX[Identifier]"].call
    ours, theirs = context(), context(namespace="urn:oid:2.999.2")
    systems = [
        call("0042^^^A", ours, None)["system"],
        call("0042^^^B", ours, None)["system"],
        call("0042^^^A&1.2.34.3&ISO", ours, None)["system"],
        call("0042", ours, None)["system"],
        call("0042^^^^MR", ours, None)["system"],
        call("0042^^^A", theirs, None)["system"],
        call("0042", theirs, None)["system"],
    ]
    assert len(set(systems)) == len(systems)
    assert all(call(f"0042^^^{hd}", ours, None)["value"] == "0042" for hd in ("A", "B", ""))


@pytest.mark.parametrize(
    ("raw", "expected", "issues"),
    [
        (
            "007^^^HOSP&1.2.34.3&ISO^MR",
            {"type": concept("MR"), "system": "urn:oid:1.2.34.3", "value": "007", "assigner": {"display": "HOSP"}},
            [],
        ),
        ("007^^^HOSP", {"system": f"{FEED}/authority/HOSP", "value": "007", "assigner": {"display": "HOSP"}}, []),
        ("007", {"system": f"{FEED}/identifier/unspecified", "value": "007"}, []),
        ("007^^^^SS", {"type": concept("SS"), "system": f"{FEED}/identifier/SS", "value": "007"}, []),
        ("007^^^&1.2.34.3&ISO", {"system": "urn:oid:1.2.34.3", "value": "007"}, []),
        (
            "007^^^HOSP^MR^Ward",
            {
                "type": concept("MR"),
                "system": f"{FEED}/authority/HOSP",
                "value": "007",
                "assigner": {"display": "Ward", "identifier": {"value": "HOSP"}},
            },
            [],
        ),
        (
            "007^^^^ZZLOCAL",
            {"type": concept("ZZLOCAL", ours=True), "system": f"{FEED}/identifier/ZZLOCAL", "value": "007"},
            [],
        ),
        (
            "1234^7^M10",
            {
                "system": f"{FEED}/identifier/unspecified",
                "value": "1234",
                "extension": [
                    {"url": "http://hl7.org/fhir/StructureDefinition/identifier-checkDigit", "valueString": "7 M10"}
                ],
            },
            [],
        ),
        (
            "1234^7",
            {
                "system": f"{FEED}/identifier/unspecified",
                "value": "1234",
                "extension": [
                    {"url": "http://hl7.org/fhir/StructureDefinition/identifier-checkDigit", "valueString": "7"}
                ],
            },
            [],
        ),
        (
            "1^^^^^^20200101^20211231",
            {
                "system": f"{FEED}/identifier/unspecified",
                "value": "1",
                "period": {"start": "2020-01-01", "end": "2021-12-31"},
            },
            [],
        ),
        (
            "1^^^^^^^20211331",
            {
                "system": f"{FEED}/identifier/unspecified",
                "value": "1",
                "period": {"_end": {"extension": [{"url": SOURCE_LEXEME, "valueString": "20211331"}]}},
            },
            ["not-a-date"],
        ),
        (r"A\T\B^^^C", {"system": f"{FEED}/authority/C", "value": "A&B", "assigner": {"display": "C"}}, []),
        ("^^^HOSP^MR", None, []),
        ('""^^^HOSP^MR', None, []),
        ('1^""^""^""^""^""', {"system": f"{FEED}/identifier/unspecified", "value": "1"}, []),
    ],
)
def test_cx_is_a_number_and_who_gave_it_out(raw: str, expected: Any, issues: list[str]) -> None:
    ctx = context("PID|1", number=3)
    assert FUNCTIONS["CX[Identifier]"].call(raw, ctx, None) == expected
    assert codes(ctx) == issues


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("EI[Identifier]", "4711^LAB^1.2.34.3^ISO", {"system": "urn:oid:1.2.34.3", "value": "4711"}),
        ("EI[Identifier]", "4711^LAB", {"system": f"{FEED}/authority/LAB", "value": "4711"}),
        ("EI[Identifier]", "4711", {"system": f"{FEED}/identifier/unspecified", "value": "4711"}),
        ("EI[Identifier]", "^LAB", None),
        ("EI[Identifier-Placer]", "1^A", {"type": concept("PLAC"), "system": f"{FEED}/authority/A", "value": "1"}),
        ("EI[Identifier-Filler]", "1^A", {"type": concept("FILL"), "system": f"{FEED}/authority/A", "value": "1"}),
        (
            "EIP[Identifier-PlacerAssignedIdentifier]",
            "1&A^2&B",
            {"type": concept("PLAC"), "system": f"{FEED}/authority/A", "value": "1"},
        ),
        (
            "EIP[Identifier-FillerAssignedIdentifier]",
            "1&A^2&B&1.2.34.3&ISO",
            {"type": concept("FILL"), "system": "urn:oid:1.2.34.3", "value": "2"},
        ),
        ("EIP[Identifier-FillerAssignedIdentifier]", "1&A", None),
        ("CX[string]", "007^^^A", "007"),
        ("EI[string]", '""', None),
        ("HD[string]", "A^1.2.34.3^ISO", "A"),
        ("HD[string]", "^1.2.34.3^ISO", "1.2.34.3"),
        ("HD[Identifier]", "A^1.2.34.3^ISO", {"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.34.3"}),
        ("HD[Identifier]", "A", {"system": f"{FEED}/authority/names", "value": "A"}),
        ("HD[Identifier]", "^^ISO", None),
        (
            "PLN[Identifier]",
            "123^MD^NY^20251231",
            {
                "type": concept("MD", "0338", ours=True),
                "system": f"{FEED}/license/MD-NY",
                "value": "123",
                "period": {"end": "2025-12-31"},
                "assigner": {"display": "NY"},
            },
        ),
        ("PLN[Identifier]", "123", {"system": f"{FEED}/license/unspecified", "value": "123"}),
        ("PLN[Identifier]", "^MD", None),
        (
            "DLN[Identifier]",
            "D1^US^20251231",
            {
                "type": concept("DL"),
                "system": f"{FEED}/drivers-license/US",
                "value": "D1",
                "period": {"end": "2025-12-31"},
                "assigner": {"display": "US"},
            },
        ),
        (
            "DLN[Identifier]",
            "D1",
            {"type": concept("DL"), "system": f"{FEED}/drivers-license/unspecified", "value": "D1"},
        ),
        ("DLN[Identifier]", "^US", None),
        ("ST[Identifier]", "078-05-1120", {"system": f"{FEED}/field/OBX-5", "value": "078-05-1120"}),
        ("ST[Identifier]", '""', None),
        ("MSG[Coding]", "ADT^A01^ADT_A01", {"system": V2 + "0003", "code": "A01"}),
        ("MSG[Coding]", "ADT^Z99", {"system": f"{FEED}/table/0003", "code": "Z99"}),
        ("MSG[Coding]", "ACK", None),
        ("MSG[code]", "ADT^A01", "A01"),
        ("PT[code]", "P^T", "P"),
        ("PT[Coding]", "T", {"system": V2 + "0103", "code": "T"}),
        ("VID[string]", "2.5.1^USA", "2.5.1"),
    ],
)
def test_the_other_numbers(name: str, raw: str, expected: Any) -> None:
    ctx = context()
    assert FUNCTIONS[name].call(raw, ctx, None) == expected
    assert codes(ctx) == []


@pytest.mark.parametrize("namespace", ["urn:oid:2.999.1", f"urn:uuid:{UUID.lower()}"])
def test_a_name_of_a_feed_that_is_an_oid_makes_no_invalid_oid(namespace: str) -> None:
    """The official validator refuses `urn:oid:2.999.1/authority/A`: an OID takes no path."""
    ctx = context(namespace=namespace)
    assert authority("A", None, None, ctx) == f"urn:chartbridge:{namespace[4:]}/authority/A"


def test_the_number_of_a_patient_is_never_of_a_code_system() -> None:
    """An OID that happens to be a code system's, or a country's list, says who gave the number out and no more."""
    read = FUNCTIONS["CX[Identifier]"].call
    for oid in ("1.0.3166.1.2.2", "2.16.840.1.113883.6.1", "2.16.840.1.113883.6.96"):
        found = read(f"4711^^^LAB&{oid}&ISO^MR", context(), None)
        assert found["system"] == f"urn:oid:{oid}"
    known = read("4711^^^SSA&2.16.840.1.113883.4.1&ISO^SS", context(), None)
    assert known["system"] == "http://hl7.org/fhir/sid/us-ssn"
