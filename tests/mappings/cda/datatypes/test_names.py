"""PN, EN, TN, ON: HL7 v3 datatypes R1 against FHIR R4 HumanName and string. Every name is invented."""

from typing import Any

import pytest
from hypothesis import given, settings

from mappings.cda.datatypes import names
from mappings.cda.datatypes.registry import FUNCTIONS
from mappings.fhir.values import DATA_ABSENT_REASON, SOURCE_CODE
from tests.mappings.cda.datatypes.elements import context, elements, fits, read, reason

NAMES = sorted(name for name, each in FUNCTIONS.items() if each.call.__module__ == names.__name__)
ISO = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-"
OF_NAME = "http://hl7.org/fhir/StructureDefinition/humanname-"
IDA = "<n><given>Ida</given><family>Example</family></n>"


def qualified(*codes: str) -> dict[str, Any]:
    return {"extension": [{"url": ISO + "qualifier", "valueCode": code} for code in codes]}


def told(**parts: str) -> dict[str, Any]:
    """The extensions of a family name: `own_name="Example"`."""
    found = [{"url": OF_NAME + name.replace("_", "-"), "valueString": text} for name, text in parts.items()]
    return {"extension": found}


def source_code(code: str, system: str | None = "http://terminology.hl7.org/CodeSystem/v3-EntityNameUse") -> Any:
    coding = {"system": system, "code": code} if system else {"code": code}
    return [{"url": SOURCE_CODE, "valueCoding": coding}]


@pytest.mark.parametrize(
    ("xml", "expected", "issues"),
    [
        (IDA, {"given": ["Ida"], "family": "Example"}, []),
        (IDA.replace("<", "<v3:").replace("<v3:/", "</v3:"), {"given": ["Ida"], "family": "Example"}, []),
        ("<n>\n <family>\n  Example </family>\n <given>Ida  Maria</given>\n</n>",
         {"given": ["Ida Maria"], "family": "Example"}, []),
        ("<n><prefix>Dr.</prefix><given>Ida</given><given>Maria</given><family>Example</family><suffix>MD</suffix>"
         "<suffix>PhD</suffix></n>",
         {"prefix": ["Dr."], "given": ["Ida", "Maria"], "family": "Example", "suffix": ["MD", "PhD"]}, []),
        ("<n><given>Maria</given><given>Ida</given></n>", {"given": ["Maria", "Ida"]}, []),
        # text
        ("<n>Dr. Ida  Example</n>", {"text": "Dr. Ida Example"}, []),
        ("<n>Dr. <given>Ida</given>\n<family>Example</family></n>",
         {"text": "Dr. Ida Example", "given": ["Ida"], "family": "Example"}, []),
        ("<n><family>Example</family>, <given>Ida</given></n>", {"given": ["Ida"], "family": "Example"}, []),
        ("<n><family>Example</family><delimiter>, </delimiter><given>Ida</given></n>",
         {"given": ["Ida"], "family": "Example"}, []),
        # nothing
        ("<n/>", None, []),
        ("<n> \n </n>", None, []),
        ("<n><given/><family> </family></n>", None, []),
        ('<n nullFlavor="UNK"/>', None, []),
        ('<n nullFlavor="x"/>', None, ["bad-null-flavor"]),
        ('<n nullFlavor="MSK"/>', {"extension": [{"url": DATA_ABSENT_REASON, "valueCode": "masked"}]}, []),
        ('<n use="L"/>', None, []),
        ('<n><validTime><low value="2024"/></validTime></n>', None, []),
        ('<n><given nullFlavor="UNK"/><family>Example</family></n>', {"family": "Example"}, []),
        ('<n><given nullFlavor="MSK"/><family>Example</family></n>', {"family": "Example"}, []),
        # hostile
        ("<n><given>&lt;script&gt;</given><family>]]&gt;\u202e</family></n>",
         {"given": ["<script>"], "family": "]]>\u202e"}, []),
        ("<n><sdtc:given>Ida</sdtc:given><nick>x</nick><family>Example</family></n>", {"family": "Example"}, []),
        # qualifiers
        ('<n><given qualifier="CL">Idi</given><given>Ida</given><family>Example</family></n>',
         {"given": ["Idi", "Ida"], "_given": [qualified("CL"), None], "family": "Example"}, []),
        ('<n><prefix qualifier="AC">Dr.</prefix><family>Example</family><suffix qualifier="AC">MD</suffix></n>',
         {"prefix": ["Dr."], "_prefix": [qualified("AC")], "family": "Example", "suffix": ["MD"],
          "_suffix": [qualified("AC")]}, []),
        ('<n><prefix qualifier="TITLE">Hofrat</prefix><family>Example</family></n>',
         {"prefix": ["Hofrat"], "family": "Example"}, []),
        ('<n><given qualifier="IN">I.</given></n>', {"given": ["I."], "_given": [qualified("IN")]}, []),
        ('<n><given qualifier="XX">Ida</given></n>', {"given": ["Ida"]}, ["vocab-miss"]),
        ('<n><given qualifier="">Ida</given></n>', {"given": ["Ida"]}, []),
        # family names
        ('<n><given>Ida</given><family qualifier="BR">Sample</family></n>',
         {"given": ["Ida"], "family": "Sample", "_family": qualified("BR"), "use": "maiden"}, []),
        ('<n><given qualifier="BR">Ida</given><family>Example</family></n>',
         {"given": ["Ida"], "_given": [qualified("BR")], "family": "Example"}, []),
        ('<n use="L"><family qualifier="BR">Sample</family></n>',
         {"family": "Sample", "_family": qualified("BR"), "use": "usual"}, []),
        ('<n><family>Example</family><family qualifier="BR">Sample</family></n>',
         {"family": "Example", "_family": told(own_name="Sample")}, []),
        ("<n><family>García</family><family>Ejemplo</family></n>", {"family": "García Ejemplo"}, []),
        ('<n><prefix qualifier="VV">van </prefix><family>Voorbeeld</family></n>',
         {"family": "van Voorbeeld", "_family": told(own_prefix="van", own_name="Voorbeeld")}, []),
        ('<n><family qualifier="VV">van</family><prefix qualifier="VV">der</prefix><family>Voorbeeld</family></n>',
         {"family": "van der Voorbeeld", "_family": told(own_prefix="van der", own_name="Voorbeeld")}, []),
        ('<n><prefix qualifier="VV">d\'</prefix><family>Exemple</family></n>',
         {"family": "d'Exemple", "_family": told(own_prefix="d'", own_name="Exemple")}, []),
        ('<n><family qualifier="SP">Voorbeeld</family><delimiter>-</delimiter><prefix qualifier="VV">de </prefix>'
         '<family qualifier="BR">Monster</family></n>',
         {"family": "Voorbeeld-de Monster",
          "_family": told(partner_name="Voorbeeld", own_prefix="de", own_name="Monster")}, []),
        ('<n><family qualifier="SP">Voorbeeld</family></n>',
         {"family": "Voorbeeld", "_family": qualified("SP")}, []),
        ('<n><prefix qualifier="VV">van</prefix><given>Ida</given></n>', {"prefix": ["van"], "given": ["Ida"]}, []),
        # when
        ('<n><family>Example</family><validTime><low value="2001"/><high value="20240501"/></validTime></n>',
         {"family": "Example", "period": {"start": "2001", "end": "2024-05-01"}}, []),
        ('<n><family>Example</family><validTime nullFlavor="UNK"/></n>', {"family": "Example"}, []),
    ],
)  # fmt: skip
def test_a_name_is_its_parts(xml: str, expected: Any, issues: list[str]) -> None:
    for kind in ("PN", "EN"):
        found = read(f"{kind}[HumanName]", xml)
        assert (found.value, found.codes) == (expected, issues)


@pytest.mark.parametrize(
    ("use", "expected", "issues"),
    [
        ("L", {"use": "usual"}, []),
        ("OR", {"use": "official"}, []),
        ("C", {"use": "official"}, []),
        ("A", {"use": "nickname"}, []),
        ("P", {"use": "anonymous"}, []),
        ("L OLD", {"use": "old", "extension": source_code("L")}, []),
        ("R", {"extension": source_code("R")}, []),
        ("SRCH", {"extension": source_code("SRCH")}, []),
        ("L SYL", {"use": "usual", "extension": [{"url": ISO + "representation", "valueCode": "SYL"}]}, []),
        ("L  L\tL", {"use": "usual"}, []),
        ("ZZ", {"extension": source_code("ZZ", None)}, ["vocab-miss"]),
        ("", {}, []),
        (" ", {}, []),
        ("x" * 1000, {}, []),
    ],
)
def test_the_use_is_one_of_fhirs_or_kept_beside(use: str, expected: Any, issues: list[str]) -> None:
    found = read("PN[HumanName]", f'<n use="{use}"><family>Example</family></n>')
    assert (found.value, found.codes) == ({"family": "Example"} | expected, issues)


def test_a_thousand_uses_are_cut_and_told() -> None:
    use = " ".join(f"U{n}" for n in range(1000))
    found = read("PN[HumanName]", f'<n use="{use}"><family>Example</family></n>')
    assert len(found.value["extension"]) == 8
    assert found.codes.count("extra-value") == 1


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ("<n><prefix>Dr.</prefix><given>Ida</given><family>Example</family><suffix>MD</suffix></n>",
         "Dr. Ida Example MD"),
        ("<n>Example  Hospital</n>", "Example Hospital"),
        ("<n>Example Hospital<suffix>Ltd</suffix></n>", "Example Hospital Ltd"),
        ("<n/>", None),
        ('<n nullFlavor="NI"/>', None),
        ('<n nullFlavor="NAV"/>', (None, reason("temp-unknown"))),
        ("<n><prefix> </prefix></n>", None),
    ],
)  # fmt: skip
def test_a_name_is_one_line(xml: str, expected: Any) -> None:
    for kind in ("PN", "EN", "TN", "ON"):
        assert read(f"{kind}[string]", xml)[:2] == (expected, [])


@pytest.mark.parametrize("name", NAMES)
def test_an_attribute_is_its_text(name: str) -> None:
    ctx, _ = context("<n/>")
    call = FUNCTIONS[name].call
    assert call(" Ida  Example ", ctx, None) in ("Ida Example", {"text": "Ida Example"})
    assert call(" ", ctx, None) is None


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=80, deadline=None)
@given(xml=elements())
def test_any_element_gives_nothing_or_what_r4_takes(name: str, xml: str) -> None:
    found = read(name, xml)
    assert fits(FUNCTIONS[name].fhir_type, found.value)
