"""OBX-5 by OBX-2, attachments and timings (HL7 v2.9 §7.4.2, §2A ED, RP, RI; table 0335)."""

from typing import Any

import pytest

from mappings.fhir import codec
from mappings.fhir.values import SOURCE_LEXEME
from mappings.hl7v2.datatypes import FUNCTIONS
from mappings.hl7v2.datatypes.attachments import media_type
from mappings.hl7v2.datatypes.timing import repeat_of
from tests.mappings.hl7v2.contexts import codes, context

LOINC = {"system": "http://loinc.org", "code": "718-7"}
SNOMED = {"system": "http://snomed.info/sct", "code": "1"}


@pytest.mark.parametrize(
    ("kind", "raws", "expected", "issues"),
    [
        ("NM", ["13.20"], {"valueQuantity": {"value": "13.20"}}, []),
        ("NM", ["<5"], {"valueQuantity": {"comparator": "<", "value": "5"}}, []),
        ("NM", ["positive"], {"valueString": "positive"}, ["not-a-number"]),
        ("NM", ["5^"], {"valueQuantity": {"value": "5"}}, []),
        ("NM", [""], None, []),
        ("NM", ['""'], None, []),
        ("nm", ["5"], {"valueQuantity": {"value": "5"}}, []),
        (" NM ", ["5"], {"valueQuantity": {"value": "5"}}, []),
        ("SN", [">^100"], {"valueQuantity": {"comparator": ">", "value": "100"}}, []),
        ("SN", ["^1^:^128"], {"valueRatio": {"numerator": {"value": "1"}, "denominator": {"value": "128"}}}, []),
        ("SN", ["^2^+"], {"valueString": "2+"}, ["not-a-number"]),
        ("NR", ["1^5"], {"valueRange": {"low": {"value": "1"}, "high": {"value": "5"}}}, []),
        ("NR", ["1^x"], {"valueString": "1 x"}, ["not-a-number"]),
        (
            "CQ",
            ["5^mg"],
            {"valueQuantity": {"value": "5", "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"}},
            [],
        ),
        ("CQ", ["x^mg"], {"valueString": "x mg"}, ["not-a-number"]),
        ("CWE", ["718-7^Hb^LN"], {"valueCodeableConcept": {"coding": [{**LOINC, "display": "Hb"}]}}, []),
        ("CE", ["718-7^^LN"], {"valueCodeableConcept": {"coding": [LOINC]}}, []),
        ("CNE", ["1^^SCT"], {"valueCodeableConcept": {"coding": [SNOMED]}}, []),
        ("CF", ["1^^SCT"], {"valueCodeableConcept": {"coding": [SNOMED]}}, []),
        ("CWE", ["^text only"], {"valueCodeableConcept": {"text": "text only"}}, []),
        ("IS", ["A^^LN"], {"valueCodeableConcept": {"coding": [{"system": "http://loinc.org", "code": "A"}]}}, []),
        ("ST", ["text"], {"valueString": "text"}, []),
        ("ST", ["one", "two"], {"valueString": "one\ntwo"}, []),
        ("TX", ["one", "", "two"], {"valueString": "one\n\ntwo"}, []),
        ("FT", [r"one\.br\two"], {"valueString": "one\ntwo"}, []),
        ("TX", ["10^9/L"], {"valueString": "10^9/L"}, ["separator-in-text"]),
        ("DT", ["20240501"], {"valueDateTime": "2024-05-01"}, []),
        ("TS", ["20240501101530+0200"], {"valueDateTime": "2024-05-01T10:15:30+02:00"}, []),
        (
            "DTM",
            ["202405011015+0200"],
            {
                "valueDateTime": "2024-05-01T10:15:00+02:00",
                "_valueDateTime": {"extension": [{"url": SOURCE_LEXEME, "valueString": "202405011015+0200"}]},
            },
            [],
        ),
        ("DTM", ["20240230"], {"valueString": "20240230"}, ["not-a-date"]),
        ("TM", ["101530"], {"valueTime": "10:15:30"}, []),
        ("TM", ["noon"], {"valueString": "noon"}, ["not-a-date"]),
        ("DR", ["20240501^20240502"], {"valuePeriod": {"start": "2024-05-01", "end": "2024-05-02"}}, []),
        ("DR", ["x^y"], {"valueString": "x y"}, ["not-a-date", "not-a-date"]),
        ("NA", ["1^2^3", "4^5^6"], {"valueString": "1 2 3\n4 5 6"}, ["sampled-data-without-period"]),
        ("MA", ["1^2"], {"valueString": "1 2"}, ["sampled-data-without-period"]),
        ("NA", [""], None, []),
        ("XCN", ["1^Doe^Jane"], {"valueString": "Jane Doe"}, []),
        ("XPN", ["Doe^Jane"], {"valueString": "Jane Doe"}, []),
        ("XON", ["North"], {"valueString": "North"}, []),
        ("CX", ["7^^^A&1.2.3&ISO"], {"valueString": "7 A 1.2.3 ISO"}, ["unknown-value-type"]),
        ("MO", ["5^EUR"], {"valueString": "5 EUR"}, ["unknown-value-type"]),
        ("QQ", ["what^ever"], {"valueString": "what ever"}, ["unknown-value-type"]),
        ("", ["13.20"], {"valueQuantity": {"value": "13.20"}}, ["type-inferred"]),
        ("", ["positive"], {"valueString": "positive"}, ["type-inferred"]),
        ("", [""], None, []),
        (
            "ED",
            ["^AP^PDF^Base64^aGVsbG8="],
            {"valueAttachment": {"contentType": "application/pdf", "data": "aGVsbG8=", "size": "5"}},
            [],
        ),
        (
            "RP",
            ["https://example.org/x^^AP^PDF"],
            {"valueAttachment": {"contentType": "application/pdf", "url": "https://example.org/x"}},
            [],
        ),
    ],
)
def test_obx2_decides_the_type_of_obx5(kind: str, raws: list[str], expected: Any, issues: list[str]) -> None:
    ctx = context(f"OBX|1|{kind}|718-7^^LN||x", header="MSH|^~\\&|A|||||||1|P|2.5")
    found = FUNCTIONS["OBX5[value]"].call(raws, ctx, None)
    assert plain(found) == expected
    assert codes(ctx) == issues


def plain(value: Any) -> Any:
    """Numbers as they are written."""
    if isinstance(value, dict):
        return {name: plain(child) for name, child in value.items()}
    if isinstance(value, list):
        return [plain(child) for child in value]
    return value if isinstance(value, str) or value is None else codec.encode(value).decode()


def test_a_quantity_takes_its_unit_from_obx6() -> None:
    ctx = context("OBX|1|NM|718-7^^LN||13.20|g/dL^gram per decilitre^UCUM")
    assert plain(FUNCTIONS["OBX5[value]"].call(["13.20"], ctx, None)) == {
        "valueQuantity": {
            "value": "13.20",
            "unit": "gram per decilitre",
            "system": "http://unitsofmeasure.org",
            "code": "g/dL",
        }
    }


def test_a_value_handed_over_alone_is_read_the_same() -> None:
    ctx = context("OBX|1|NM|718-7^^LN||1")
    assert FUNCTIONS["OBX5[value]"].call("1", ctx, None) == FUNCTIONS["OBX5[value]"].call(["1"], ctx, None)


# Attachments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "expected", "issues"),
    [
        ("^AP^PDF^Base64^aGVsbG8=", {"contentType": "application/pdf", "data": "aGVsbG8=", "size": 5}, []),
        ("APP^AP^PDF^Base64^aGVs\nbG8=", {"contentType": "application/pdf", "data": "aGVsbG8=", "size": 5}, []),
        (r"^AP^PDF^Base64^aGVs\.br\bG8=", {"contentType": "application/pdf", "data": "aGVsbG8=", "size": 5}, []),
        ("^IM^JPEG^Hex^68656C6C6F", {"contentType": "image/jpeg", "data": "aGVsbG8=", "size": 5}, []),
        ("^TX^^A^hello", {"contentType": "text/plain", "data": "aGVsbG8=", "size": 5}, []),
        (r"^TEXT^HTML^A^a\T\b", {"contentType": "text/html", "data": "YSZi", "size": 3}, []),
        ("^^^^hello", {"data": "aGVsbG8=", "size": 5}, []),
        ("^TX^^A^a^b", {"contentType": "text/plain", "data": "YV5i", "size": 3}, []),
        ("^AP^PDF^Base64^not base64!", None, ["bad-encoding"]),
        ("^AP^PDF^Base64^aGVsbG8", None, ["bad-encoding"]),
        ("^AP^PDF^Hex^68656", None, ["bad-encoding"]),
        ("^AP^PDF^Zip^aGVsbG8=", None, ["bad-encoding"]),
        ("^AP^PDF^Base64^", None, []),
        ("^AP^PDF^Base64", None, []),
        ('^AP^PDF^Base64^""', None, []),
        ("", None, []),
    ],
)
def test_encapsulated_data_is_decoded_and_checked(raw: str, expected: Any, issues: list[str]) -> None:
    ctx = context("OBX|1|ED")
    assert FUNCTIONS["ED[Attachment]"].call(raw, ctx, None) == expected
    assert codes(ctx) == issues


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            "https://example.org/a.pdf^PACS^AP^PDF",
            {"contentType": "application/pdf", "url": "https://example.org/a.pdf"},
        ),
        ("http://example.org/a", {"url": "http://example.org/a"}),
        (r"\\server\share\a.pdf", {"title": r"\\server\share\a.pdf"}),
        ("file:///c/a.pdf", {"title": "file:///c/a.pdf"}),
        ("https://example.org/a b", {"title": "https://example.org/a b"}),
        ("^PACS^AP^PDF", None),
        ('""', None),
    ],
)
def test_a_pointer_is_a_url_only_if_it_can_be_fetched(raw: str, expected: Any) -> None:
    assert FUNCTIONS["RP[Attachment]"].call(raw, context("OBX|1|RP"), None) == expected


@pytest.mark.parametrize(
    ("kind", "subtype", "expected"),
    [
        ("AP", "PDF", "application/pdf"),
        ("application", "pdf", "application/pdf"),
        ("TX", None, "text/plain"),
        ("IM", "PNG", "image/png"),
        ("AU", "BASIC", "audio/basic"),
        ("TEXT", "x-hl7-cda-level-one", "text/xml"),
        ("application/dicom", None, "application/dicom"),
        (None, "application/zip", "application/zip"),
        ("AP", "vnd.example+json", "application/vnd.example+json"),
        ("AP", "Octet-stream", "application/octet-stream"),
        ("IM", "Octet-stream", None),
        ("XX", "YY", None),
        ("AP", "not a type", None),
        (None, None, None),
    ],
)
def test_media_types(kind: str | None, subtype: str | None, expected: str | None) -> None:
    assert media_type(kind, subtype) == expected


# Timings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("QD", {"frequency": 1, "period": 1, "periodUnit": "d"}),
        ("BID", {"frequency": 2, "period": 1, "periodUnit": "d"}),
        ("TID", {"frequency": 3, "period": 1, "periodUnit": "d"}),
        ("QID", {"frequency": 4, "period": 1, "periodUnit": "d"}),
        ("5ID", {"frequency": 5, "period": 1, "periodUnit": "d"}),
        ("QOD", {"frequency": 1, "period": 2, "periodUnit": "d"}),
        ("Q4H", {"frequency": 1, "period": 4, "periodUnit": "h"}),
        ("q4h", {"frequency": 1, "period": 4, "periodUnit": "h"}),
        ("Q4-6H", {"frequency": 1, "period": 4, "periodMax": 6, "periodUnit": "h"}),
        ("Q30M", {"frequency": 1, "period": 30, "periodUnit": "min"}),
        ("Q2W", {"frequency": 1, "period": 2, "periodUnit": "wk"}),
        ("Q1L", {"frequency": 1, "period": 1, "periodUnit": "mo"}),
        ("Q1J15", {"dayOfWeek": ["mon", "fri"], "frequency": 2, "period": 1, "periodUnit": "wk"}),
        ("QAM", {"when": ["MORN"]}),
        ("QPM", {"when": ["EVE"]}),
        ("QHS", {"when": ["HS"]}),
        ("ACM", {"when": ["ACM"]}),
        ("PCV", {"when": ["PCV"]}),
        ("ONCE", {"count": 1}),
        ("STAT", {"count": 1}),
        ("C", None),  # continuous, and never FHIR's "with a meal"
        ("IC", None),
        ("PRN", None),
        ("Q0H", None),
        ("0ID", None),
        ("Q6-4H", None),
        ("Q1J8", None),
        ("when needed", None),
    ],
)
def test_a_repeat_pattern_is_structure_or_text(pattern: str, expected: Any) -> None:
    assert repeat_of(pattern) == expected


@pytest.mark.parametrize(
    ("name", "raw", "expected", "issues"),
    [
        (
            "RI[Timing]",
            "BID",
            {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d"}, "code": {"text": "BID"}},
            [],
        ),
        (
            "RI[Timing]",
            "^0800,2000",
            {"repeat": {"timeOfDay": ["08:00:00", "20:00:00"], "frequency": 2, "period": 1, "periodUnit": "d"}},
            [],
        ),
        (
            "RI[Timing]",
            "^0800,soon",
            {"repeat": {"timeOfDay": ["08:00:00"], "frequency": 1, "period": 1, "periodUnit": "d"}},
            ["bad-timing"],
        ),
        ("RI[Timing]", "", None, []),
        (
            "RPT[Timing]",
            "TID",
            {"repeat": {"frequency": 3, "period": 1, "periodUnit": "d"}, "code": {"text": "TID"}},
            [],
        ),
        ("RPT[Timing]", "^^^^8^h", {"repeat": {"frequency": 1, "period": 8, "periodUnit": "h"}}, []),
        ("RPT[Timing]", "^^^^x^h", None, ["bad-timing"]),
        ("RPT[Timing]", "", None, []),
        (
            "TQ[Timing]",
            "1^BID^^20240501^20240503",
            {
                "repeat": {
                    "frequency": 2,
                    "period": 1,
                    "periodUnit": "d",
                    "boundsPeriod": {"start": "2024-05-01", "end": "2024-05-03"},
                },
                "code": {"text": "BID"},
            },
            [],
        ),
        ("TQ[Timing]", "1^^^20240501", {"repeat": {"boundsPeriod": {"start": "2024-05-01"}}}, []),
        ("TQ[Timing]", "^^^^^R", None, []),
        ("TQ[priority]", "^^^^^R", "R", []),
        ("TQ[priority]", "", None, []),
    ],
)
def test_timings(name: str, raw: str, expected: Any, issues: list[str]) -> None:
    ctx = context()
    assert FUNCTIONS[name].call(raw, ctx, None) == expected
    assert codes(ctx) == issues
