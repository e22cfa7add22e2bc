"""What says more of another statement is a part of it, whatever its code: no status is a problem, none an allergy.

Source: C-CDA R2.1 (problem status, allergy status, severity, reaction, criticality and age observation), CCD R1.
"""

from typing import Any

import pytest

from tests.mappings.cda.converted import codes, every, of_sections, one

Json = dict[str, Any]

ALLERGIES, PROBLEMS, FAMILY = "48765-2", "11450-4", "10157-6"
SNOMED = 'codeSystem="2.16.840.1.113883.6.96"'
US = "2.16.840.1.113883.10.20.22.4."
CCD = "2.16.840.1.113883.10.20.1."
ASSERTION = '<code code="ASSERTION" codeSystem="2.16.840.1.113883.5.4"/>'
NULL = '<code nullFlavor="UNK"/>'
STATUS = '<code code="33999-4" codeSystem="2.16.840.1.113883.6.1"/>'
TRANSLATED = (
    '<code nullFlavor="OTH"><translation nullFlavor="NI"/>'
    '<translation code="33999-4" codeSystem="2.16.840.1.113883.6.1"/></code>'
)
AGE = f'<code code="397659008" {SNOMED}/>'
SEVERITY = f'<code code="246112005" {SNOMED} displayName="Severity"/>'
INACTIVE = f'<value xsi:type="CD" code="73425007" {SNOMED} displayName="Inactive"/>'
RESOLVED = f'<value xsi:type="CD" code="413322009" {SNOMED} displayName="Resolved"/>'
SEVERE = f'<value xsi:type="CD" code="24484000" {SNOMED} displayName="Severe"/>'
HIVES = f'<value xsi:type="CD" code="247472004" {SNOMED} displayName="Hives"/>'
HIGH = '<value xsi:type="CD" code="CRITH" codeSystem="2.16.840.1.113883.5.1063"/>'
YEARS = '<value xsi:type="PQ" value="45" unit="a"/>'


def part(template: str, code: str, value: str, relation: str = "SUBJ") -> str:
    return (
        f'<entryRelationship typeCode="{relation}" inversionInd="true"><observation classCode="OBS" moodCode="EVN">'
        f'<templateId root="{template}"/>{code}<statusCode code="completed"/>{value}</observation></entryRelationship>'
    )


def concern(inner: str, *, concern_status: str = "active", time: str = "") -> str:
    return (
        f'<entry><act classCode="ACT" moodCode="EVN"><code code="CONC"/><statusCode code="{concern_status}"/>'
        f'<entryRelationship typeCode="SUBJ">{inner}</entryRelationship></act></entry>'
    ).replace("<!--time-->", time)


def problem(inner: str, **own: str) -> str:
    return concern(
        '<observation classCode="OBS" moodCode="EVN"><code code="55607006"/><statusCode code="completed"/><!--time-->'
        f'<value xsi:type="CD" code="38341003" {SNOMED}/>{inner}</observation>',
        **own,
    )


def allergy(inner: str, **own: str) -> str:
    return concern(
        f'<observation classCode="OBS" moodCode="EVN">{ASSERTION}<statusCode code="completed"/><!--time-->'
        f'<value xsi:type="CD" code="419199007" {SNOMED}/><participant typeCode="CSM"><participantRole><playingEntity>'
        '<code code="7980" codeSystem="2.16.840.1.113883.6.88"/></playingEntity></participantRole></participant>'
        f"{inner}</observation>",
        **own,
    )


def status(body: Json) -> str:
    coded: str = body["clinicalStatus"]["coding"][0]["code"]
    return coded


@pytest.mark.parametrize(
    ("template", "code"),
    [
        (US + "4", STATUS),
        (US + "4", TRANSLATED),
        (US + "6", ASSERTION),
        (US + "6", NULL),
        (CCD + "50", ASSERTION),
        (US + "8", STATUS),  # a code that is known wins
    ],
)
def test_a_status_is_the_problems_and_no_problem(template: str, code: str) -> None:
    done = of_sections((PROBLEMS, problem(part(template, code, RESOLVED, "REFR"))))
    assert status(one(done, "Condition")) == "resolved"
    assert every(done, "Observation") == []
    assert codes(done) == []


@pytest.mark.parametrize("template", [US + "28", CCD + "39"])
@pytest.mark.parametrize("code", [STATUS, TRANSLATED, ASSERTION, NULL])
def test_a_status_is_the_allergys_and_no_allergy(template: str, code: str) -> None:
    done = of_sections((ALLERGIES, allergy(part(template, code, INACTIVE))))
    assert status(one(done, "AllergyIntolerance")) == "inactive"
    assert every(done, "Observation") == []
    assert codes(done) == []


@pytest.mark.parametrize("code", [ASSERTION, NULL, SEVERITY])
@pytest.mark.parametrize("template", [US + "8", CCD + "55", "1.3.6.1.4.1.19376.1.5.3.1.4.1"])
def test_a_severity_is_its_owners(template: str, code: str) -> None:
    severe = part(template, code, SEVERE)
    assert one(of_sections((ALLERGIES, allergy(severe))), "AllergyIntolerance")["note"] == [
        {"text": "Severity: Severe"}
    ]
    assert one(of_sections((PROBLEMS, problem(severe))), "Condition")["severity"]["coding"][0]["code"] == "24484000"
    hives = part(US + "9", ASSERTION, HIVES + severe, "MFST")
    (reaction,) = one(of_sections((ALLERGIES, allergy(hives))), "AllergyIntolerance")["reaction"]
    assert reaction["severity"] == "severe"


@pytest.mark.parametrize("relation", ["MFST", "SUBJ", "CAUS"])
def test_a_reaction_is_the_allergys_however_it_is_related(relation: str) -> None:
    done = of_sections((ALLERGIES, allergy(part(US + "9", ASSERTION, HIVES, relation) + part(US + "8", NULL, SEVERE))))
    found = one(done, "AllergyIntolerance")
    (reaction,) = found["reaction"]
    assert reaction["manifestation"][0]["coding"][0]["code"] == "247472004"
    assert reaction["severity"] == "severe"
    assert "note" not in found


def test_a_criticality_is_the_allergys() -> None:
    found = one(of_sections((ALLERGIES, allergy(part(US + "145", ASSERTION, HIGH)))), "AllergyIntolerance")
    assert found["criticality"] == "high"


@pytest.mark.parametrize(
    ("template", "code"), [(US + "31", NULL), (US + "31", AGE), (CCD + "38", AGE), (US + "4", AGE)]
)
def test_an_age_is_that_at_onset(template: str, code: str) -> None:
    age = part(template, code, YEARS)
    done = of_sections((PROBLEMS, problem(age)))
    assert one(done, "Condition")["onsetAge"]["code"] == "a"
    had = (
        '<entry><organizer classCode="CLUSTER" moodCode="EVN"><statusCode code="completed"/><subject>'
        '<relatedSubject classCode="PRS"><code code="FTH" codeSystem="2.16.840.1.113883.5.111"/></relatedSubject>'
        '</subject><component><observation classCode="OBS" moodCode="EVN"><code code="64572001"/>'
        f'<statusCode code="completed"/><value xsi:type="CD" code="22298006" {SNOMED}/>{age}</observation></component>'
        "</organizer></entry>"
    )
    done = of_sections((FAMILY, had))
    (condition,) = one(done, "FamilyMemberHistory")["condition"]
    assert condition["onsetAge"]["code"] == "a"
    assert "unsupported-statement" not in codes(done)


def test_a_wrong_template_loses_no_problem() -> None:
    """Right in a concern or an entry nothing is there of which it could be a part."""
    inner = (
        f'<observation classCode="OBS" moodCode="EVN"><templateId root="{US}6"/><code code="55607006"/>'
        f'<statusCode code="completed"/><value xsi:type="CD" code="38341003" {SNOMED}/></observation>'
    )
    for sent in (concern(inner), f"<entry>{inner}</entry>"):
        assert one(of_sections((PROBLEMS, sent)), "Condition")["code"]["coding"][0]["code"] == "38341003"


SAID = [
    ('<value xsi:type="CD" nullFlavor="OTH"><originalText>Resolved</originalText></value>', "resolved"),
    ('<value xsi:type="ST">  INACTIVE </value>', "inactive"),
    ('<value xsi:type="CD" code="1" codeSystem="2.999.4" displayName="Resolved"/>', "resolved"),
    ('<value xsi:type="CD" code="inactive" codeSystem="2.999.4"/>', "inactive"),
    ('<value xsi:type="CD" nullFlavor="OTH"><translation code="9" displayName="Active"/></value>', "active"),
    (f'<value xsi:type="CD" code="55561003" {SNOMED} displayName="Resolved"/>', "active"),  # the code is known
    ('<value xsi:type="CD" nullFlavor="UNK"/>', "active"),  # says nothing: the concern does
]


@pytest.mark.parametrize(("value", "expected"), SAID)
def test_a_status_in_words_is_that_status(value: str, expected: str) -> None:
    for section, made, kind in ((PROBLEMS, problem, "Condition"), (ALLERGIES, allergy, "AllergyIntolerance")):
        done = of_sections((section, made(part(US + "6", STATUS, value, "REFR"))))
        assert status(one(done, kind)) == expected
        assert codes(done) == []


UNREAD = [
    '<value xsi:type="CD" nullFlavor="OTH"><originalText>not any more</originalText></value>',
    '<value xsi:type="ST">not any more</value>',
    '<value xsi:type="CD" code="7" codeSystem="2.999.4" displayName="not any more"/>',
    '<value xsi:type="CD" code="not any more" codeSystem="2.999.4"/>',
]


@pytest.mark.parametrize("value", UNREAD)
def test_a_status_that_nobody_understands_is_never_plainly_active(value: str) -> None:
    unread = part(US + "6", STATUS, value, "REFR")
    for section, made, kind in ((PROBLEMS, problem, "Condition"), (ALLERGIES, allergy, "AllergyIntolerance")):
        done = of_sections((section, made(unread)))
        found = one(done, kind)["clinicalStatus"]
        assert (found["coding"][0]["code"], found["text"]) == ("active", "not any more")
        assert codes(done) == ["vocab-miss"]
        found = one(of_sections((section, made(unread, concern_status="completed"))), kind)["clinicalStatus"]
        assert (found["coding"][0]["code"], found["text"]) == ("inactive", "not any more")
    ended = problem(unread, time='<effectiveTime><low value="2010"/><high value="2011"/></effectiveTime>')
    assert status(one(of_sections((PROBLEMS, ended)), "Condition")) == "resolved"


def test_active_in_words_and_over_is_a_conflict() -> None:
    words = part(US + "6", STATUS, '<value xsi:type="ST">Active</value>', "REFR")
    time = '<effectiveTime><low value="2010"/><high value="2011"/></effectiveTime>'
    done = of_sections((PROBLEMS, problem(words, time=time)))
    assert status(one(done, "Condition")) == "inactive"
    assert "status-conflict" in codes(done)


@pytest.mark.parametrize("code", [STATUS, ASSERTION])
def test_a_status_beside_a_drug_stays_with_the_drug(code: str) -> None:
    held = f'<value xsi:type="CE" code="421139008" {SNOMED} displayName="On Hold"/>'
    drug = (
        '<entry><substanceAdministration classCode="SBADM" moodCode="EVN"><statusCode code="active"/><consumable>'
        '<manufacturedProduct><manufacturedMaterial><code code="314076" codeSystem="2.16.840.1.113883.6.88"/>'
        f"</manufacturedMaterial></manufacturedProduct></consumable>{part(CCD + '47', code, held, 'REFR')}"
        "</substanceAdministration></entry>"
    )
    done = of_sections(("10160-0", drug))
    assert one(done, "MedicationRequest")["note"] == [{"text": "On Hold"}]
    assert every(done, "Observation") == []
