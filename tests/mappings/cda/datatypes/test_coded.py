"""CD and its family: HL7 v3 datatypes R1; FHIR R4 CodeableConcept, Coding, code."""

from typing import Any

import pytest

from mappings.fhir.values import HL7_SYSTEMS
from mappings.terminology.concept_map import Concept, ConceptMap
from tests.mappings.cda.contexts import EHDSI, FEED, NULL_FLAVORS, SAY_MORE, Settings, context, on, read, why

SNOMED, LOINC = "http://snomed.info/sct", "http://loinc.org"
SCT_OID, LOINC_OID = "2.16.840.1.113883.6.96", "2.16.840.1.113883.6.1"
FAMILY = ("CD", "CE", "CV", "CO", "CS", "CR")
LEFT = (
    '<qualifier><name code="272741003" codeSystem="2.16.840.1.113883.6.96" displayName="Laterality"/>'
    '<value code="7771000" codeSystem="2.16.840.1.113883.6.96" displayName="Left"/></qualifier>'
)
STATUS = ConceptMap(
    "status", "",
    {
        "active": Concept("active", "urn:test:status", "Active", "equal"),
        "55561003": Concept("active", "urn:test:status", "Active", "equivalent"),
        "UNK": Concept("unknown", "urn:test:status", None, "equivalent"),
    },
    frozenset({"active", "55561003", "UNK", "dormant"}),
)  # fmt: skip


def coding(system: str, code: str, display: str | None = None) -> dict[str, Any]:
    return {"system": system, "code": code} | ({"display": display} if display else {})


def named(lang: str, content: str) -> dict[str, Any]:
    """The extension for what a coding is called in another language."""
    return {
        "url": "http://hl7.org/fhir/StructureDefinition/translation",
        "extension": [{"url": "lang", "valueCode": lang}, {"url": "content", "valueString": content}],
    }


@pytest.mark.parametrize("kind", FAMILY)
def test_a_code_its_system_and_its_display_are_a_coding(kind: str) -> None:
    found = read(f"{kind}[CodeableConcept]", f'<code code="123" codeSystem="{SCT_OID}" displayName="Asthma"/>')
    assert found.value == {"coding": [coding(SNOMED, "123", "Asthma")]}
    assert found.codes == []


@pytest.mark.parametrize(
    ("attributes", "system"),
    [
        (f'codeSystem="{LOINC_OID}"', LOINC),
        (f'codeSystem=" {LOINC_OID} "', LOINC),
        (f'codeSystem="urn:oid:{LOINC_OID}"', LOINC),
        ('codeSystem="2.999.1"', "urn:oid:2.999.1"),
        ('codeSystem="2.999.77"', "https://example.org/codes"),
        ('codeSystem="11A1B1C1-2222-4333-8444-55556666AAAA"', "urn:uuid:11a1b1c1-2222-4333-8444-55556666aaaa"),
        ('codeSystem="http://loinc.org"', LOINC),
        ('codeSystem="https://example.org/list"', "https://example.org/list"),
        ('codeSystem="ACME CODES"', f"{FEED}/codes/ACME%20CODES"),
        ('codeSystem="LN"', LOINC),
        ('codeSystem="2.999.1" codeSystemName="SITE"', "https://example.org/site"),
        ('codeSystemName="LN"', LOINC),
        ('codeSystemName="SITE"', "https://example.org/site"),
        ('codeSystemName="Our own"', f"{FEED}/codes/Our%20own"),
        ('codeSystem="1.2.x" codeSystemName=""', f"{FEED}/codes/1%2E2%2Ex".replace("%2E", ".")),
    ],
)
def test_the_system_is_a_registered_uri_the_profile_s_or_the_oid_itself(attributes: str, system: str) -> None:
    settings = Settings(oids={"2.999.77": "https://example.org/codes"})
    sites = {"SITE": {"system": "https://example.org/site", "table": {}}}
    found = read("CD[Coding]", f'<code code="x" {attributes}/>', codes=sites, cda=settings)
    assert found.value == {"system": system, "code": "x"}


ACT_CLASS = "2.16.840.1.113883.5.6"


@pytest.mark.parametrize(
    ("attributes", "system", "issues"),
    [
        (f'codeSystem="{ACT_CLASS}"', "codes/v3-ActClass", ["not-in-system"]),
        (f'codeSystem=" urn:oid:{ACT_CLASS} "', "codes/v3-ActClass", ["not-in-system"]),
        ('codeSystemName="ActClass"', "codes/v3-ActClass", ["not-in-system"]),
        (f'codeSystem="{HL7_SYSTEMS}v3-ActClass"', "codes/v3-ActClass", ["not-in-system"]),
        ('codeSystem="2.16.840.1.113883.12.1"', "table/0001", []),
    ],
)
def test_a_code_that_hl7_s_system_does_not_have_is_the_feed_s_own(
    attributes: str, system: str, issues: list[str]
) -> None:
    """As published: the problem's type, a LOINC code, under the OID of ActClass."""
    found = read("CD[CodeableConcept]", f'<code code="75323-6" {attributes} displayName="Condition"/>')
    assert found.value == {"coding": [coding(f"{FEED}/{system}", "75323-6", "Condition")]}
    assert found.codes == issues


@pytest.mark.parametrize(
    ("settings", "sites"),
    [
        (Settings(oids={ACT_CLASS: LOINC}), {}),
        (Settings(), {ACT_CLASS: {"system": LOINC, "table": {}}}),
        (Settings(), {"Our list": {"system": LOINC, "table": {}}}),
    ],
)
def test_a_profile_says_whose_such_a_code_is(settings: Settings, sites: dict[str, Any]) -> None:
    fragment = f'<code code="75323-6" codeSystem="{ACT_CLASS}" codeSystemName="Our list"/>'
    found = read("CD[Coding]", fragment, codes=sites, cda=settings)
    assert found.value == coding(LOINC, "75323-6")
    assert found.codes == []
    fragment = fragment.replace("75323-6", "OBS")  # a code that HL7 has is HL7's, whatever the profile says
    assert read("CD[Coding]", fragment, codes=sites, cda=settings).value == coding(HL7_SYSTEMS + "v3-ActClass", "OBS")


def test_a_code_without_any_system_stays_so() -> None:
    assert read("CD[Coding]", '<code code="x"/>').value == {"code": "x"}


def test_the_version_of_a_system_is_kept() -> None:
    found = read("CD[Coding]", f'<code code="x" codeSystem="{SCT_OID}" codeSystemVersion=" 2024 "/>')
    assert found.value == {"system": SNOMED, "version": "2024", "code": "x"}


@pytest.mark.parametrize(
    ("written", "code", "issues"),
    [
        (" 123 ", "123", []),
        ("123&#13;&#10;", "123", []),
        ("a&#10; b", "a b", ["not-a-code"]),
        ("a  b", "a b", ["not-a-code"]),
        ("a b", "a b", []),
        ("&quot;{}&lt;&amp;", '"{}<&', []),
        ("\u202eabc", "\u202eabc", []),
    ],
)
def test_a_code_is_trimmed_and_never_changed_in_silence(written: str, code: str, issues: list[str]) -> None:
    found = read("CD[CodeableConcept]", f'<code code="{written}" codeSystem="2.999.1"/>')
    assert found.value["coding"][0]["code"] == code
    assert found.codes == issues


def test_an_over_long_code_is_dropped_for_a_part_of_it_would_be_another_code() -> None:
    found = read("CD[CodeableConcept]", f'<code code="{"1" * 5000}" displayName="Asthma"/>')
    assert found.value == {"text": "Asthma"}
    assert found.codes == ["over-long"]


def test_an_over_long_text_is_cut() -> None:
    found = read("CD[CodeableConcept]", f"<code><originalText>{'ö' * 900_000}</originalText></code>")
    assert len(found.value["text"].encode()) <= 1024 * 1024
    assert found.codes == ["over-long"]


def test_the_display_of_an_hl7_code_is_the_sender_s_text() -> None:
    found = read("CD[CodeableConcept]", '<code code="M" codeSystem="2.16.840.1.113883.5.2" displayName="Verheiratet"/>')
    assert found.value == {"coding": [coding(HL7_SYSTEMS + "v3-MaritalStatus", "M")], "text": "Verheiratet"}


# Text ---------------------------------------------------------------------------------------------------------------

NARRATIVE = '<content ID="t1">Peanut butter</content>'


@pytest.mark.parametrize(
    ("inside", "text", "issues"),
    [
        ("<originalText>Peanuts</originalText>", "Peanuts", []),
        ("<originalText>\n   Pea\n   nuts </originalText>", "Pea nuts", []),
        ('<originalText><reference value="#t1"/></originalText>', "Peanut butter", []),
        ('<originalText><reference value="t1"/></originalText>', "Peanut butter", []),
        ('<originalText>Butter <reference value="#t1"/></originalText>', "Butter Peanut butter", []),
        ('<originalText>Peanut<reference value="#t1"/></originalText>', "Peanut butter", []),
        ('<originalText>Peanut butter<reference value="#t1"/></originalText>', "Peanut butter", []),
        ('<originalText>Nut<reference value="#none"/></originalText>', "Nut", ["dangling-reference"]),
        ('<originalText><reference value="#none"/></originalText>', "Asthma", ["dangling-reference"]),
        ('<originalText><reference value=""/></originalText>', "Asthma", []),
        ('<originalText><reference value="https://example.org/x"/></originalText>', "Asthma", []),
        ('<originalText nullFlavor="NI"/>', "Asthma", []),
        ("", "Asthma", []),
        ("<originalText>&lt;script&gt;&quot;{}</originalText>", '<script>"{}', []),
    ],
)
def test_a_null_code_has_the_original_text_else_the_display(inside: str, text: str, issues: list[str]) -> None:
    fragment = f'<code nullFlavor="OTH" displayName="Asthma">{inside}</code>'
    found = read("CD[CodeableConcept]", fragment, narrative=NARRATIVE)
    assert found.value == {"text": text}
    assert found.codes == issues


def test_the_original_text_stands_beside_the_coding() -> None:
    fragment = f'<code code="1" codeSystem="{SCT_OID}" displayName="A"><originalText>as said</originalText></code>'
    found = read("CD[CodeableConcept]", fragment)
    assert found.value == {"coding": [coding(SNOMED, "1", "A")], "text": "as said"}
    assert read("CD[string]", fragment).value == "as said"
    assert read("CD[Annotation]", fragment).value == {"text": "as said"}


# Translations --------------------------------------------------------------------------------------------------------


def test_translations_follow_the_primary_in_order_and_depth_each_once() -> None:
    fragment = f"""<code code="1" codeSystem="{SCT_OID}" displayName="One">
      <translation code="2" codeSystem="2.999.1"><translation code="3" codeSystem="2.999.1"/></translation>
      <translation code="1" codeSystem="{SCT_OID}" displayName="One"/>
      <translation code="4" codeSystem="2.999.2" displayName="Four"/></code>"""
    found = read("CD[CodeableConcept]", fragment).value["coding"]
    assert [each["code"] for each in found] == ["1", "2", "3", "4"]
    assert found[0] == coding(SNOMED, "1", "One")
    assert found[3] == coding("urn:oid:2.999.2", "4", "Four")


@pytest.mark.parametrize("flavor", ["OTH", "UNK", "NI", "MSK"])
def test_a_null_primary_keeps_its_translation(flavor: str) -> None:
    fragment = f'<value nullFlavor="{flavor}"><translation code="7" codeSystem="{LOINC_OID}"/></value>'
    assert read("CD[CodeableConcept]", fragment).value == {"coding": [coding(LOINC, "7")]}
    assert read("CD[Coding]", fragment).value == coding(LOINC, "7")


def test_a_translation_that_is_only_words_is_text_where_there_is_no_coding() -> None:
    fragment = '<value nullFlavor="OTH"><translation displayName="Hausstaub"/></value>'
    assert read("CD[CodeableConcept]", fragment).value == {"text": "Hausstaub"}


def test_a_translation_that_is_only_words_names_the_coding_before_it() -> None:
    fragment = f'<value code="1" codeSystem="{SCT_OID}" displayName="Dust"><translation displayName="Staub"/></value>'
    found = read("CD[CodeableConcept]", fragment).value
    assert found == {"coding": [coding(SNOMED, "1", "Dust") | {"_display": {"extension": [named("und", "Staub")]}}]}
    fragment = f'<value code="1" codeSystem="{SCT_OID}"><translation displayName="Staub"/></value>'
    assert read("CD[CodeableConcept]", fragment).value == {"coding": [coding(SNOMED, "1", "Staub")]}


def test_a_european_code_keeps_target_pivot_and_original() -> None:
    fragment = f"""<code code="1" codeSystem="{SCT_OID}" displayName="Jordnødder">
      <translation code="1" codeSystem="{SCT_OID}" displayName="Peanut">
        <translation code="N5" codeSystem="2.999.5" displayName="Amendoim"/></translation></code>"""
    found = read("CD[CodeableConcept]", fragment, header=EHDSI).value["coding"]
    assert found == [
        coding(SNOMED, "1", "Jordnødder") | {"_display": {"extension": [named("en", "Peanut")]}},
        coding("urn:oid:2.999.5", "N5", "Amendoim") | {"userSelected": True},
    ]


def test_a_european_original_that_is_only_words_names_the_code() -> None:
    fragment = f"""<code code="1" codeSystem="{SCT_OID}" displayName="Jordnødder">
      <translation code="1" codeSystem="{SCT_OID}" displayName="Peanut">
        <translation displayName="Amendoim"/></translation></code>"""
    found = read("CD[CodeableConcept]", fragment, header=EHDSI).value["coding"]
    assert found[0]["_display"]["extension"] == [named("en", "Peanut"), named("und", "Amendoim")]
    assert len(found) == 1


def test_an_american_translation_is_not_called_the_user_s_choice() -> None:
    fragment = f'<code code="1" codeSystem="{SCT_OID}"><translation code="2" codeSystem="2.999.1"/></code>'
    assert all("userSelected" not in each for each in read("CD[CodeableConcept]", fragment).value["coding"])


def test_ten_thousand_translations_cost_an_issue_and_no_more() -> None:
    inside = "".join(f'<translation code="{n}"/>' for n in range(10_000))
    found = read("CD[CodeableConcept]", f'<code code="x">{inside}</code>')
    assert len(found.value["coding"]) < 100
    assert found.codes == ["over-limit"]


# Null ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavor", NULL_FLAVORS)
@pytest.mark.parametrize("shape", ["CodeableConcept", "Coding"])
def test_a_null_flavor_is_nothing_unless_it_says_more(shape: str, flavor: str) -> None:
    expected = why(SAY_MORE[flavor]) if flavor in SAY_MORE else None
    found = read(f"CD[{shape}]", f'<code nullFlavor="{flavor}"/>')
    assert found.value == expected
    assert found.codes == []


def test_what_is_no_null_flavor_is_unknown_and_told() -> None:
    found = read("CD[CodeableConcept]", '<code nullFlavor="20240101"/>')
    assert found.value is None
    assert found.codes == ["bad-null-flavor"]


@pytest.mark.parametrize("shape", ["CodeableConcept", "Coding", "code", "string", "Annotation"])
@pytest.mark.parametrize(
    "fragment", ["<code/>", '<code code=""/>', '<code code=" " displayName=" "/>', "<code> </code>"]
)
def test_absent_says_nothing(shape: str, fragment: str) -> None:
    assert read(f"CD[{shape}]", fragment).value is None


def test_a_code_beside_a_null_flavor_is_a_code() -> None:
    assert read("CD[code]", '<code code="active" nullFlavor="UNK"/>').value == "active"


# Vocabulary ----------------------------------------------------------------------------------------------------------


def test_the_mapped_coding_stands_before_what_was_sent() -> None:
    fragment = f'<value code="55561003" codeSystem="{SCT_OID}" displayName="Active"/>'
    found = read("CD[CodeableConcept]", fragment, STATUS)
    assert found.value == {
        "coding": [coding("urn:test:status", "active", "Active"), coding(SNOMED, "55561003", "Active")]
    }
    assert read("CD[Coding]", fragment, STATUS).value == coding("urn:test:status", "active", "Active")
    assert read("CD[code]", fragment, STATUS).value == "active"


def test_a_translation_is_mapped_where_the_primary_is_not() -> None:
    fragment = f'<value code="L1" codeSystem="2.999.1"><translation code="55561003" codeSystem="{SCT_OID}"/></value>'
    assert read("CD[code]", fragment, STATUS).value == "active"


def test_a_code_that_the_map_does_not_know_is_kept_beside_and_told() -> None:
    found = read("CD[code]", '<value code="gone" codeSystem="2.999.1"/>', STATUS)
    plain, sibling = found.value
    assert plain is None
    assert sibling["extension"][0]["valueCodeableConcept"] == {"coding": [coding("urn:oid:2.999.1", "gone")]}
    assert found.codes == ["vocab-miss"]
    assert read("CD[code]", '<value code="dormant"/>', STATUS).codes == ["vocab-miss"]


def test_a_map_may_have_a_row_for_a_null_flavor() -> None:
    assert read("CD[code]", '<value nullFlavor="UNK"/>', STATUS).value == "unknown"
    assert read("CD[code]", '<value nullFlavor="NI"/>', STATUS).value is None


def test_a_map_of_one_table_leaves_the_codes_of_others_alone() -> None:
    table = ConceptMap("v2-0001.gender", "0001", {"M": Concept("male", "", None, "equal")}, frozenset({"M"}))
    assert read("CD[code]", '<code code="M"/>', table).value == "male"
    assert read("CD[code]", f'<code code="M" codeSystem="{SCT_OID}"/>', table).value[0] is None


def test_the_profile_s_map_adds_standard_codings() -> None:
    sites = {"2.999.8": {"system": "https://example.org/lab", "table": {"GLU": (coding(LOINC, "2345-7"),)}}}
    found = read("CD[CodeableConcept]", '<code code="GLU" codeSystem="2.999.8"/>', codes=sites)
    assert found.value == {"coding": [coding("https://example.org/lab", "GLU"), coding(LOINC, "2345-7")]}


def test_an_attribute_is_a_code_without_a_system() -> None:
    ctx = context()
    assert on("CS[code]", " active ", ctx).value == "active"
    assert on("CS[code]", "active", ctx, STATUS).value == "active"
    assert on("CS[CodeableConcept]", "x", ctx).value == {"coding": [{"code": "x"}]}
    assert on("CS[CodeableConcept]", " ", ctx).value is None


# Qualifiers, order ---------------------------------------------------------------------------------------------------


def test_laterality_is_found_and_no_qualifier_is_lost() -> None:
    fragment = f'<targetSiteCode code="1" codeSystem="{SCT_OID}" displayName="Femur">{LEFT}</targetSiteCode>'
    assert read("CD[laterality]", fragment).value == {"coding": [coding(SNOMED, "7771000", "Left")]}
    found = read("CD[CodeableConcept]", fragment).value
    assert found["text"] == "Femur (Laterality: Left)"
    parts = {each["url"]: each["valueCodeableConcept"] for each in found["extension"][0]["extension"]}
    assert parts["value"] == {"coding": [coding(SNOMED, "7771000", "Left")]}
    assert parts["name"] == {"coding": [coding(SNOMED, "272741003", "Laterality")]}


def test_original_text_is_not_written_over_by_a_qualifier() -> None:
    fragment = f'<value code="1"><originalText>left femur</originalText>{LEFT}</value>'
    assert read("CD[CodeableConcept]", fragment).value["text"] == "left femur"


@pytest.mark.parametrize("inside", ["", "<qualifier/>", '<qualifier><name code="272741003"/></qualifier>'])
def test_half_a_qualifier_is_none(inside: str) -> None:
    fragment = f'<value code="1">{inside}</value>'
    assert read("CD[CodeableConcept]", fragment).value == {"coding": [{"code": "1"}]}
    assert read("CD[laterality]", fragment).value is None


def test_qualifiers_inside_of_qualifiers_do_not_run_away() -> None:
    fragment = "<qualifier><value code='q'>" * 100 + "</value></qualifier>" * 100
    assert read("CD[CodeableConcept]", f'<value code="1">{fragment}</value>').value["extension"]


def test_an_ordinal_keeps_its_order() -> None:
    found = read("CO[CodeableConcept]", '<value xsi:type="CO" code="LA6752-5" value="2"/>').value["coding"][0]
    assert str(found["extension"][0]["valueDecimal"]) == "2"
    assert "extension" not in read("CO[Coding]", '<value code="LA6752-5" value="two"/>').value
