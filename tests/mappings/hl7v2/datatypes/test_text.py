"""Text, codes and flags: ST, IS, ID, SI, TX, FT (HL7 v2.9 §2A; FHIR R4 string, code, id, markdown, boolean)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.fhir.values import ALTERNATE_CODES
from mappings.hl7v2.datatypes import FUNCTIONS
from mappings.terminology.concept_map import load
from tests.mappings.hl7v2.contexts import FEED, HEADER, codes, context

GENDER = load("v2-0001.administrative-gender")


@pytest.mark.parametrize(
    ("name", "raw", "expected", "issues"),
    [
        ("ST[string]", "plain", "plain", []),
        ("ST[string]", "  inner  blanks  ", "inner  blanks", []),
        ("ST[string]", "", None, []),
        ("ST[string]", '""', None, []),
        ("ST[string]", "   ", None, []),
        ("ST[string]", "^^", None, []),
        ("ST[string]", "text^^", "text", []),
        ("ST[string]", "10^9/L", "10^9/L", ["separator-in-text"]),
        ("ST[string]", "Bed & Breakfast", "Bed & Breakfast", []),
        ("ST[string]", r"a\F\b", "a|b", []),
        ("ST[string]", r"a\.br\b", "a\nb", []),
        ("ST[string]", r"a\X0D0A\b", "a\nb", []),
        ("ST[string]", "a\x00b\x1fc", "abc", ["control-character"]),
        ("ST[string]", "non\u00a0breaking", "non\u00a0breaking", []),
        ("ST[string]", "\x01", None, ["control-character"]),
        ("ST[string]", r"a\Zx\b", r"a\Zx\b", ["escape-unknown"]),
        ("TX[string]", ["one", "", "three"], "one\n\nthree", []),
        ("TX[string]", ["one", '""', "three"], "one\n\nthree", []),
        ("TX[string]", ["", '""'], None, []),
        ("TX[string]", [], None, []),
        ("TX[string]", "single", "single", []),
        ("FT[markdown]", [r"a\.sp2\b"], "a\n\nb", []),
        ("FT[Annotation]", ["one", "two"], {"text": "one\ntwo"}, []),
        ("TX[Annotation]", [""], None, []),
        ("ID[code]", "abc", "abc", []),
        ("ID[code]", "abc^Display^L", "abc", []),
        ("ID[code]", "abc&sub", "abc", []),
        ("ID[code]", "two  words", "two words", ["not-a-code"]),
        ("ID[code]", "one word", "one word", []),
        ("ID[code]", '""', None, []),
        ("SI[code]", "1", "1", []),
        ("ST[id]", "abc-1.2", "abc-1.2", []),
        ("ST[id]", "a_b", None, ["bad-value"]),
        ("ST[id]", "a" * 65, None, ["bad-value"]),
        ("ST[id]", "", None, []),
        ("ST[uri]", "https://example.org/x", "https://example.org/x", []),
        ("ST[uri]", "urn:oid:1.2.3", "urn:oid:1.2.3", []),
        ("ST[uri]", "no scheme", None, ["bad-value"]),
        ("ST[uri]", "http://a b", None, ["bad-value"]),
        ("ST[uri]", '""', None, []),
        ("ID[boolean]", "Y", True, []),
        ("ID[boolean]", "n", False, []),
        ("ID[boolean]", "Y^Yes^HL70136", True, []),
        ("ID[boolean]", "X", None, ["not-a-boolean"]),
        ("ID[boolean]", '""', None, []),
        ("ID[boolean]", "", None, []),
    ],
)
def test_text_and_codes(name: str, raw: Any, expected: Any, issues: list[str]) -> None:
    ctx = context()
    assert FUNCTIONS[name].call(raw, ctx, None) == expected
    assert codes(ctx) == issues


@pytest.mark.parametrize("raw", ["M", "M^Male^HL70001", "M&x"])
def test_a_code_goes_through_its_table(raw: str) -> None:
    ctx = context("PID|1", number=8)
    assert FUNCTIONS["ID[code]"].call(raw, ctx, GENDER) == "male"
    assert codes(ctx) == []


@pytest.mark.parametrize(
    ("raw", "system"),
    [("X", "http://terminology.hl7.org/CodeSystem/v2-0001"), ("m", f"{FEED}/table/0001")],
)
def test_an_unknown_code_stands_beside_the_element(raw: str, system: str) -> None:
    ctx = context("PID|1", number=8)
    concept = {"coding": [{"system": system, "code": raw}]}
    beside = {"extension": [{"url": ALTERNATE_CODES, "valueCodeableConcept": concept}]}
    assert FUNCTIONS["ID[code]"].call(raw, ctx, GENDER) == (None, beside)
    assert codes(ctx) == ["vocab-miss"]
    assert str(ctx.issues[0].place) == "PID-8"


def test_a_truncated_value_is_kept_and_told() -> None:
    ctx = context(header=HEADER.replace("^~\\&", "^~\\&#"))
    assert FUNCTIONS["ST[string]"].call("too lo#", ctx, None) == "too lo#"
    assert codes(ctx) == ["truncated-value"]
    plain = context()
    assert FUNCTIONS["ST[string]"].call("room #", plain, None) == "room #"
    assert codes(plain) == []


def test_a_text_beyond_a_megabyte_is_cut_and_told() -> None:
    ctx = context()
    found = FUNCTIONS["ST[string]"].call("ü" * 700_000, ctx, None)
    assert len(found.encode()) <= 1024 * 1024
    assert codes(ctx) == ["over-long"]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_a_string_is_one_fhir_can_hold(raw: str) -> None:
    found = FUNCTIONS["ST[string]"].call(raw, context(), None)
    if found is not None:
        assert found == found.strip() != ""
        assert not any(ord(letter) < 32 and letter not in "\t\r\n" for letter in found)
