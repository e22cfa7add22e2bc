"""Coded values: CE, CWE, CNE, CF, IS, ID (HL7 v2.9 §2A.1 CWE, table 0396; FHIR R4 CodeableConcept, Coding)."""

from typing import Any

import pytest

from mappings.fhir.values import ALTERNATE_CODES
from mappings.hl7v2.context import Context
from mappings.hl7v2.datatypes import FUNCTIONS
from mappings.hl7v2.message import parse
from mappings.terminology.concept_map import load
from tests.mappings.hl7v2.contexts import FEED, HEADER, Profile, codes, context

V2 = "http://terminology.hl7.org/CodeSystem/v2-"
V3, ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-", "2.16.840.1.113883.5.4"
LOINC = "http://loinc.org"
GENDER = load("v2-0001.administrative-gender")
MARITAL = load("v2-0002.marital-status")
ABNORMAL = load("v2-0078.observation-interpretation")
HB = {"system": LOINC, "code": "718-7", "display": "Hemoglobin"}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("718-7^Hemoglobin^LN", {"coding": [HB]}),
        (
            "718-7^Hemoglobin^LN^HGB^Hb^L",
            {"coding": [HB, {"system": f"{FEED}/codes/L", "code": "HGB", "display": "Hb"}]},
        ),
        ("718-7^^LN^718-7^other words^LN", {"coding": [{"system": LOINC, "code": "718-7"}]}),
        (
            "1^a^LN^2^b^LN^^^^3^c^LN",
            {"coding": [{"system": LOINC, "code": n, "display": t} for n, t in ("1a", "2b", "3c")]},
        ),
        ("718-7^Hemoglobin^LN^^^^2.76", {"coding": [{**HB, "version": "2.76"}]}),
        ("718-7^Hemoglobin^LN^^^^^^as typed", {"coding": [HB], "text": "as typed"}),
        ("718-7^Hemoglobin^ln", {"coding": [HB]}),
        ("718-7^^^^^^^^^^^^^2.16.840.1.113883.6.1", {"coding": [{"system": LOINC, "code": "718-7"}]}),
        ("1^^^^^^^^^^^^^1.2.840.77", {"coding": [{"system": "urn:oid:1.2.840.77", "code": "1"}]}),
        ("1^^99X^^^^^^^^^^^1.2.840.77", {"coding": [{"system": "urn:oid:1.2.840.77", "code": "1"}]}),
        (
            "^^^2^b^99X^^^^^^^^^^^1.2.840.78",
            {"coding": [{"system": "urn:oid:1.2.840.78", "code": "2", "display": "b"}]},
        ),
        (
            "HGB^Hb^99LAB",
            {
                "coding": [
                    {"system": "urn:oid:2.999.6", "code": "HGB", "display": "Hb"},
                    {"system": LOINC, "code": "718-7"},
                ]
            },
        ),
        ("XYZ^Xyz^99LAB", {"coding": [{"system": "urn:oid:2.999.6", "code": "XYZ", "display": "Xyz"}]}),
        ("1^x^99OTHER", {"coding": [{"system": f"{FEED}/codes/99OTHER", "code": "1", "display": "x"}]}),
        ("1^x^L", {"coding": [{"system": f"{FEED}/codes/L", "code": "1", "display": "x"}]}),
        ("M^^HL70001", {"coding": [{"system": V2 + "0001", "code": "M"}]}),
        ("Q^^HL70001", {"coding": [{"system": f"{FEED}/table/0001", "code": "Q"}]}),
        (
            "2106-3^White^HL70005",
            {"coding": [{"system": "urn:oid:2.16.840.1.113883.6.238", "code": "2106-3", "display": "White"}]},
        ),
        ("1^x", {"coding": [{"system": f"{FEED}/field/OBX-3", "code": "1", "display": "x"}]}),
        ("^only a text", {"text": "only a text"}),
        ("^^LN", None),
        ("^typed^^^alternate", {"coding": [{"display": "alternate"}], "text": "typed"}),
        (r"A\T\B^C\S\D^L", {"coding": [{"system": f"{FEED}/codes/L", "code": "A&B", "display": "C^D"}]}),
        ('718-7^""^LN', {"coding": [{"system": LOINC, "code": "718-7"}]}),
        ('""^text^LN', {"text": "text"}),
        ('""', None),
        ("", None),
    ],
)
def test_three_triplets_become_a_concept(raw: str, expected: Any) -> None:
    site = {"99LAB": {"system": "urn:oid:2.999.6", "table": {"HGB": ({"system": LOINC, "code": "718-7"},)}}}
    ctx = context("OBX|1|CWE", number=3, codes=site)
    for _ in range(2):  # the second answer comes from the cache
        for name in ("CWE", "CE", "CNE", "CF"):
            assert FUNCTIONS[f"{name}[CodeableConcept]"].call(raw, ctx, None) == expected
    assert codes(ctx) == []


@pytest.mark.parametrize(
    ("raw", "system", "issues"),
    [
        ("AMB^^ActCode", f"{V3}ActCode", []),
        ("amb^^ActCode", f"{FEED}/codes/v3-ActCode", ["not-in-system"]),
        ("75323-6^^ActCode^^^^^^^^^^^2.16.840.1.113883.6.1", LOINC, []),
        ("amb^^ActCode^^^^^^^^^^^2.999.4", f"{FEED}/codes/v3-ActCode", ["not-in-system"]),
        ("amb^^ActCode^^^^^^^^^^^no OID", f"{FEED}/codes/v3-ActCode", ["not-in-system"]),
        (f"AMB^^^^^^^^^^^^^{ACT_CODE}", f"{V3}ActCode", []),
        (f"75323-6^^^^^^^^^^^^^{ACT_CODE}", f"{FEED}/codes/v3-ActCode", ["not-in-system"]),
        (f"75323-6^^99X^^^^^^^^^^^{ACT_CODE}", f"{FEED}/codes/v3-ActCode", ["not-in-system"]),
        (f"75323-6^^99LAB^^^^^^^^^^^{ACT_CODE}", "urn:oid:2.999.6", []),
        ("XX^^HL70001", f"{FEED}/table/0001", []),  # one table, however it is named
        ("XX^^^^^^^^^^^^^2.16.840.1.113883.12.1", f"{FEED}/table/0001", []),
        ("TM10^^^^^^^^^^^^^2.16.840.1.113883.12.485", f"{FEED}/table/0485", []),
        ("A4^^UB04FL31", f"{FEED}/table/0350", []),
    ],
)
def test_a_code_that_hl7_s_system_does_not_have_is_the_feed_s_own(raw: str, system: str, issues: list[str]) -> None:
    ctx = context("OBX|1|CWE", number=3, codes={"99LAB": {"system": "urn:oid:2.999.6", "table": {}}})
    assert FUNCTIONS["CWE[Coding]"].call(raw, ctx, None)["system"] == system
    assert [issue.code for issue in ctx.issues] == issues


def test_a_code_without_a_system_is_of_its_fields_table() -> None:
    ctx = context("PV1|1", number=10)  # hospital service, table 0069
    call = FUNCTIONS["CWE[CodeableConcept]"].call
    assert call("MED", ctx, None) == {"coding": [{"system": V2 + "0069", "code": "MED"}]}
    assert call("WARD7", ctx, None) == {"coding": [{"system": f"{FEED}/table/0069", "code": "WARD7"}]}
    assert FUNCTIONS["IS[CodeableConcept]"].call("MED", ctx, None) == {
        "coding": [{"system": V2 + "0069", "code": "MED"}]
    }


def test_the_same_text_in_another_field_is_another_code() -> None:
    ctx = context("PV1|1", number=10)
    first = FUNCTIONS["IS[CodeableConcept]"].call("A", ctx, None)
    ctx.field = 4
    assert FUNCTIONS["IS[CodeableConcept]"].call("A", ctx, None) != first


@pytest.mark.parametrize(
    ("raw", "codes_expected", "issues"),
    [
        ("A", [("v3-MaritalStatus", "L"), ("v2-0002", "A")], []),
        ("A^Separated^HL70002", [("v3-MaritalStatus", "L"), ("v2-0002", "A")], []),
        ("A^Separated^0002", [("v3-MaritalStatus", "L"), (f"{FEED}/codes/0002", "A")], []),
        ("A^Separated^L", [(f"{FEED}/codes/L", "A")], []),  # a local code is no code of the table
        ("1^x^L^A^Separated^HL70002", [("v3-MaritalStatus", "L"), (f"{FEED}/codes/L", "1"), ("v2-0002", "A")], []),
        ("Q", [(f"{FEED}/table/0002", "Q")], ["vocab-miss"]),
    ],
)
def test_a_vocabulary_adds_its_coding_first(raw: str, codes_expected: list[tuple[str, str]], issues: list[str]) -> None:
    ctx = context("PID|1", number=16)
    for times in (1, 2):
        found = FUNCTIONS["CWE[CodeableConcept]"].call(raw, ctx, MARITAL)
        assert [
            (c["system"].removeprefix("http://terminology.hl7.org/CodeSystem/"), c["code"]) for c in found["coding"]
        ] == codes_expected
        assert codes(ctx) == issues * times


@pytest.mark.parametrize(
    ("raw", "vocab", "expected", "issues"),
    [
        ("M^Male^HL70001", GENDER, "male", []),
        ("M", GENDER, "male", []),
        ("x^y^L^M^Male^HL70001", GENDER, "male", []),
        ("1^a^L", GENDER, [f"{FEED}/codes/L"], ["vocab-miss"]),
        ("Q", GENDER, [f"{FEED}/table/0001"], ["vocab-miss"]),
        ("^Male", GENDER, "Male", []),
        ("M^Male", None, "M", []),
        ('""', GENDER, None, []),
        ("", GENDER, None, []),
        ("^^HL70001", GENDER, None, []),
    ],
)
def test_a_bare_code_is_mapped_or_stands_beside(raw: str, vocab: Any, expected: Any, issues: list[str]) -> None:
    ctx = context("PID|1", number=8)
    found = FUNCTIONS["CWE[code]"].call(raw, ctx, vocab)
    assert codes(ctx) == issues
    if not isinstance(found, tuple):
        assert found == expected
        return
    value, beside = found
    assert value is None
    concept = beside["extension"][0]["valueCodeableConcept"]
    assert beside["extension"][0]["url"] == ALTERNATE_CODES
    assert (
        concept.get("text") == expected
        if isinstance(expected, str)
        else [c["system"] for c in concept["coding"]] == expected
    )


@pytest.mark.parametrize(
    ("name", "raw", "vocab", "expected", "issues"),
    [
        ("CWE[Coding]", "718-7^Hemoglobin^LN", None, HB, []),
        ("CWE[Coding]", "718-7^Hemoglobin^LN^HGB^Hb^L", None, HB, ["extra-value"]),
        ("CWE[Coding]", "^text", None, {"display": "text"}, []),
        ("CWE[Coding]", "", None, None, []),
        (
            "CWE[Coding]",
            "H",
            ABNORMAL,
            {
                "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation",
                "code": "H",
                "display": "High",
            },
            [],
        ),
        (
            "IS[Coding]",
            "H",
            ABNORMAL,
            {
                "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation",
                "code": "H",
                "display": "High",
            },
            [],
        ),
        ("CWE[string]", "718-7^Hemoglobin^LN", None, "Hemoglobin", []),
        ("CWE[string]", "718-7^Hemoglobin^LN^^^^^^as typed", None, "as typed", []),
        ("CWE[string]", "718-7", None, "718-7", []),
        ("CWE[string]", "^^LN", None, None, []),
        ("CWE[Annotation]", "^note", None, {"text": "note"}, []),
        ("CWE[Annotation]", "", None, None, []),
        ("CWE[uri]", "1^^LN", None, LOINC, []),
        ("CWE[uri]", "", None, None, []),
        ("CWE[Identifier]", "1^^LN", None, {"system": LOINC, "value": "1"}, []),
        ("CWE[Identifier]", "^x", None, None, []),
        (
            "CWE[Reference(Organization)]",
            "1^North^L",
            None,
            {"identifier": {"system": f"{FEED}/codes/L", "value": "1"}, "display": "North"},
            [],
        ),
        ("CWE[Reference(Organization)]", "^North", None, {"display": "North"}, []),
        ("CWE[boolean]", "Y^Yes^HL70136", None, True, []),
        ("ST[CodeableConcept]", "just text", None, {"text": "just text"}, []),
        ("ST[Coding]", "just text", None, {"display": "just text"}, []),
        ("ST[Coding]", '""', None, None, []),
        (
            "CWE[CodeableConcept]",
            "a  b^x^L",
            None,
            {"coding": [{"system": f"{FEED}/codes/L", "code": "a b", "display": "x"}]},
            ["not-a-code"],
        ),
    ],
)
def test_the_other_shapes_of_a_code(name: str, raw: str, vocab: Any, expected: Any, issues: list[str]) -> None:
    ctx = context("OBX|1|CWE", number=8)
    assert FUNCTIONS[name].call(raw, ctx, vocab) == expected
    assert codes(ctx) == issues


def test_what_is_remembered_holds_for_messages_of_one_syntax_only() -> None:
    shared: dict[Any, Any] = {}
    other = parse(HEADER.replace("^", "*").replace("\\", "!").encode() + b"\rOBX|1|CWE\r")
    for _ in range(2):
        ours, theirs = Context(context().message, Profile(), shared), Context(other, Profile(), shared)
        assert FUNCTIONS["CWE[CodeableConcept]"].call("1*x*LN", ours, None)["coding"][0]["code"] == "1*x*LN"
        assert FUNCTIONS["CWE[CodeableConcept]"].call("1*x*LN", theirs, None)["coding"][0]["code"] == "1"


def test_the_cache_is_bounded() -> None:
    shared: dict[Any, Any] = {}
    message = context("OBX|1|CWE").message
    ctx = Context(message, Profile(), shared)
    for number in range(5000):
        FUNCTIONS["CWE[CodeableConcept]"].call(f"{number}^x^L", ctx, None)
    FUNCTIONS["CWE[CodeableConcept]"].call("1^" + "long " * 100 + "^L", ctx, None)
    assert len(ctx.cache) == 5000  # what is long is a text and does not repeat
    assert len(Context(message, Profile(), shared).cache) == 0
