"""What is said of an observation: its value, whether it is so, whose it is, what it holds.

Source: HL7 v3 datatypes R1 (values); CDA R2 §4.3.6; C-CDA on FHIR, results and social history.
"""

from decimal import Decimal
from typing import Any

import pytest

from mappings.convert import Conversion
from tests.mappings.cda.converted import codes, every, of_sections, one, outcomes
from tests.mappings.cda.observations import ASSERTION, RESULTS, SNOMED, SOCIAL, code, entry, observation, related

QUESTION = code("94500-6")
MG = {"unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"}
DETECTED = {"coding": [{"system": "http://snomed.info/sct", "code": "260373001", "display": "Detected"}]}
FOREIGN = ' xmlns:ns1="urn:hl7-org:v3"'


def of(statement: str, section: str = RESULTS) -> Conversion:
    return of_sections((section, entry(statement)))


VALUES: list[tuple[str, dict[str, Any]]] = [
    ('<value xsi:type="PQ" value="1.030" unit="mg/dL"/>', {"valueQuantity": {"value": Decimal("1.030"), **MG}}),
    ('<value xsi:type="ns1:PQ" value="5" unit="mg/dL"/>', {"valueQuantity": {"value": Decimal(5), **MG}}),
    ('<value value="5" unit="mg/dL"/>', {"valueQuantity": {"value": Decimal(5), **MG}}),
    (
        '<value xsi:type="PQ" value="12" unit="THOUS/MCL"/>',
        {"valueQuantity": {"value": Decimal(12), "unit": "THOUS/MCL"}},
    ),
    (
        '<value xsi:type="PQ" nullFlavor="OTH"><translation value="7" code="mg/dL" codeSystem="2.16.840.1.113883.6.8"/>'
        "</value>",
        {"valueQuantity": {"value": Decimal(7), **MG}},
    ),
    (
        '<value xsi:type="IVL_PQ"><low value="500" unit="mg/dL" inclusive="false"/><high nullFlavor="PINF"/></value>',
        {"valueQuantity": {"value": Decimal(500), "comparator": ">", **MG}},
    ),
    (
        '<value xsi:type="IVL_PQ"><low nullFlavor="NINF"/><high value="5" unit="mg/dL"/></value>',
        {"valueQuantity": {"value": Decimal(5), "comparator": "<=", **MG}},
    ),
    (
        '<value xsi:type="IVL_PQ"><low value="1" unit="mg/dL"/><high value="5" unit="mg/dL"/></value>',
        {"valueRange": {"low": {"value": Decimal(1), **MG}, "high": {"value": Decimal(5), **MG}}},
    ),
    (
        '<value xsi:type="RTO_PQ_PQ"><numerator value="1"/><denominator value="80"/></value>',
        {"valueRatio": {"numerator": {"value": Decimal(1)}, "denominator": {"value": Decimal(80)}}},
    ),
    ('<value xsi:type="INT" value="12"/>', {"valueInteger": 12}),
    ('<value xsi:type="REAL" value="1.50"/>', {"valueQuantity": {"value": Decimal("1.50")}}),
    ('<value xsi:type="BL" value="false"/>', {"valueBoolean": False}),
    ('<value xsi:type="ST">Amber</value>', {"valueString": "Amber"}),
    ('<value xsi:type="TS" value="20260228"/>', {"valueDateTime": "2026-02-28"}),
    (
        '<value xsi:type="IVL_TS"><low value="2024"/><high value="2025"/></value>',
        {"valuePeriod": {"start": "2024", "end": "2025"}},
    ),
    (
        f'<value xsi:type="CE" code="260373001" {SNOMED} displayName="Detected"/>',
        {"valueCodeableConcept": DETECTED},
    ),
    ('<value xsi:type="ED"><reference value="#said"/></value>', {"valueString": "The lungs are clear."}),
    ('<value xsi:type="PQ" value="positive"/>', {"valueString": "positive"}),
]


@pytest.mark.parametrize(("written", "expected"), VALUES, ids=[str(n) for n in range(len(VALUES))])
def test_every_value_type(written: str, expected: dict[str, Any]) -> None:
    """Each xsi:type, with a foreign prefix, without one; one-sided intervals; null with a translation; a reference."""
    told = "<text><content ID='said'>The lungs are clear.</content></text>"
    statement = observation(QUESTION, written).replace("<observation", f"<observation{FOREIGN}", 1)
    found = one(of_sections((RESULTS, told + entry(statement))), "Observation")
    assert {name: value for name, value in found.items() if name.startswith("value")} == expected
    assert "dataAbsentReason" not in found


@pytest.mark.parametrize(
    ("flavor", "reason"),
    [("NI", "unknown"), ("UNK", "unknown"), ("ASKU", "asked-unknown"), ("NASK", "not-asked"), ("NAV", "temp-unknown"),
     ("NA", "not-applicable"), ("MSK", "masked")],
)  # fmt: skip
def test_a_value_that_is_null_has_a_reason(flavor: str, reason: str) -> None:
    found = one(of(observation(QUESTION, f'<value xsi:type="PQ" nullFlavor="{flavor}"/>')), "Observation")
    assert found["dataAbsentReason"]["coding"][0]["code"] == reason
    assert not [name for name in found if name.startswith("value")]


def test_a_value_of_what_is_still_to_come_is_told_of_and_nothing_is_made_up() -> None:
    done = of(observation(QUESTION, '<value xsi:type="INT" value="12"/>', status="active"))
    found = one(done, "Observation")
    assert (found["status"], found["valueInteger"]) == ("registered", 12)
    assert codes(done) == ["status-conflict"]


def test_several_values_are_components() -> None:
    two = '<value xsi:type="INT" value="3"/><value xsi:type="CO" code="LA6555-2" codeSystem="2.16.840.1.113883.6.1"/>'
    found = one(of(observation(QUESTION, two)), "Observation")
    assert [next(name for name in each if name.startswith("value")) for each in found["component"]] == [
        "valueInteger",
        "valueCodeableConcept",
    ]
    assert all(each["code"] == found["code"] for each in found["component"])


def test_data_becomes_a_document_that_the_observation_derives_from() -> None:
    pdf = '<value xsi:type="ED" mediaType="application/pdf" representation="B64">JVBERi0xLjQK</value>'
    done = of(observation(QUESTION, pdf))
    found = one(done, "Observation")
    reference = found["derivedFrom"][0]["reference"]
    document = next(each for each in every(done, "DocumentReference") if reference.endswith(each["id"]))
    assert document["content"][0]["attachment"]["data"] == "JVBERi0xLjQK"
    assert document["subject"] == found["subject"]
    assert found["dataAbsentReason"]["coding"][0]["code"] == "as-text"


# so, not so, nothing --------------------------------------------------------------------------------------------------


FINDING = f'<value xsi:type="CD" code="422615001" {SNOMED} displayName="Caregiver difficulty"/>'


@pytest.mark.parametrize(("own", "said"), [("", True), ('negationInd="true"', False), ('negationInd="false"', True)])
def test_an_assertion_says_whether_its_finding_is_so(own: str, said: bool) -> None:
    found = one(of(observation(ASSERTION, FINDING, own=own), SOCIAL), "Observation")
    assert found["code"]["coding"][0]["code"] == "422615001"
    assert found["valueBoolean"] is said


def test_a_denied_answer_is_refused_and_told_of() -> None:
    """That a question was not answered so says nothing FHIR could hold, and must never be read as the answer."""
    done = of(observation(QUESTION, DETECTED_VALUE, own='negationInd="true"'))
    assert every(done, "Observation") == []
    assert outcomes(done) == [("observation", "unsupported")]
    assert "unsupported-statement" in codes(done)


DETECTED_VALUE = f'<value xsi:type="CD" code="260373001" {SNOMED} displayName="Detected"/>'


def test_an_assertion_that_is_null_as_a_whole_asserts_nothing() -> None:
    found = one(of(observation(ASSERTION, FINDING, own='nullFlavor="NASK"'), SOCIAL), "Observation")
    assert "valueBoolean" not in found
    assert found["dataAbsentReason"]["coding"][0]["code"] == "not-asked"


def test_a_denied_assertion_that_is_null_as_a_whole_is_refused() -> None:
    done = of(observation(ASSERTION, FINDING, own='nullFlavor="UNK" negationInd="true"'), SOCIAL)
    assert every(done, "Observation") == []


def test_a_statement_that_names_nothing_says_why_the_section_is_empty() -> None:
    done = of(
        '<observation classCode="OBS" moodCode="EVN" nullFlavor="NI"><code nullFlavor="NI"/></observation>', SOCIAL
    )
    assert every(done, "Observation") == []
    (section,) = one(done, "Composition")["section"]
    assert section["emptyReason"]["coding"][0]["code"] == "unavailable"


def test_an_observation_that_is_still_to_be_made_is_none() -> None:
    for mood in ("RQO", "INT", "GOL", "PRMS"):
        done = of(observation(QUESTION, "").replace('moodCode="EVN"', f'moodCode="{mood}"'))
        assert every(done, "Observation") == [], mood


# whose ----------------------------------------------------------------------------------------------------------------


FETUS = (
    '<subject><relatedSubject classCode="PRS"><code code="121026" codeSystem="1.2.840.10008.2.16.4"/>'
    "<subject><name>Fetus A</name></subject></relatedSubject></subject>"
)
MOTHER = (
    '<subject><relatedSubject classCode="PRS"><code code="MTH" codeSystem="2.16.840.1.113883.5.111"/></relatedSubject>'
    "</subject>"
)


def test_what_was_observed_of_a_fetus_has_the_fetus_as_its_focus() -> None:
    found = one(of(observation(code("11820-8"), '<value xsi:type="INT" value="52"/>', more=FETUS)), "Observation")
    assert found["focus"] == [{"display": "Fetus A"}]


@pytest.mark.parametrize("section", [RESULTS, SOCIAL, "8716-3", "47420-5", "10162-6", "99999-9"])
def test_what_was_observed_of_a_relative_is_never_the_patients(section: str) -> None:
    done = of(observation(QUESTION, '<value xsi:type="INT" value="1"/>', more=MOTHER), section)
    assert every(done, "Observation") == []
    assert "unsupported-statement" in codes(done)


# what it holds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "link"), [("COMP", "hasMember"), ("SUBJ", "hasMember"), ("SPRT", "derivedFrom"),
                                            ("XCRPT", "derivedFrom"), ("REFR", ""), ("CAUS", "")])  # fmt: skip
def test_an_observation_within_another_is_linked_as_its_relationship_says_and_never_lost(kind: str, link: str) -> None:
    inner = observation(code("88122-7"), '<value xsi:type="INT" value="1"/>', time="")
    done = of(observation(code("88121-9"), '<value xsi:type="INT" value="2"/>', more=related(inner, kind)))
    question, scale = sorted(every(done, "Observation"), key=lambda each: each["valueInteger"])
    links = {name: scale[name] for name in ("hasMember", "derivedFrom") if name in scale}
    expected = {link: [{"reference": f"Observation/{question['id']}"}]} if link else {}
    assert links == expected
    assert [said for _, said in outcomes(done)] == ["mapped", "mapped"]


def test_a_member_without_a_time_has_that_of_its_scale() -> None:
    inner = observation(code("88122-7"), '<value xsi:type="INT" value="1"/>', time="")
    done = of(observation(code("88121-9"), '<value xsi:type="INT" value="2"/>', more=related(inner)))
    assert len({each["effectiveDateTime"] for each in every(done, "Observation")}) == 1


def test_what_a_count_is_of_never_stands_for_itself() -> None:
    """No ulcers of stage 3 are counted: that stage by itself would say that there is one."""
    stage = '<observation classCode="OBS" moodCode="EVN">' + ASSERTION + FINDING + "</observation>"
    count = observation(
        '<templateId root="2.16.840.1.113883.10.20.22.4.76"/>' + code("75277-4"),
        '<value xsi:type="INT" value="0"/>',
        more=related(stage, "SUBJ"),
    )
    found = one(of(count, "47420-5"), "Observation")
    assert found["valueInteger"] == 0
    assert found["component"][0]["valueCodeableConcept"]["coding"][0]["code"] == "422615001"


def test_equal_codes_of_different_assertions_are_different_findings() -> None:
    other = FINDING.replace("422615001", "32911000")
    done = of_sections((SOCIAL, entry(observation(ASSERTION, FINDING)) + entry(observation(ASSERTION, other))))
    assert len(every(done, "Observation")) == 2
    assert codes(done) == []


def test_one_value_and_several_are_two_observations() -> None:
    """obs-7: once the value of the one stood beside the components of the other."""
    first, second = (f'<value xsi:type="INT" value="{n}"/>' for n in (1, 2))
    done = of_sections((SOCIAL, entry(observation(QUESTION, first)) + entry(observation(QUESTION, first + second))))
    found = every(done, "Observation")
    assert sorted(("valueInteger" in each, "component" in each) for each in found) == [(False, True), (True, False)]
