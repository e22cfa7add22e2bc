"""Advance directives: clinical wishes, and never consent to disclose."""

import pytest

from tests.mappings.cda.converted import codes, every, of_sections, one

DIRECTIVES = "42348-3"
SCT = 'codeSystem="2.16.840.1.113883.6.96"'
DNR = f'<value xsi:type="CD" code="304253006" {SCT} displayName="Not for resuscitation"/>'


def directive(inside: str = DNR, code: str = "304251008", own: str = "", status: str = "completed") -> str:
    return f"""<entry><observation classCode="OBS" moodCode="EVN" {own}><id root="2.999.9" extension="v"/>
      <code code="{code}" {SCT}/><statusCode code="{status}"/>{inside}</observation></entry>"""


def test_a_wish_is_a_consent_of_its_own_scope_and_permits_nothing() -> None:
    found = one(of_sections((DIRECTIVES, directive())), "Consent")
    assert [each["code"] for each in found["scope"]["coding"]] == ["adr"]
    assert found["provision"]["code"][0]["coding"][0]["code"] == "304253006"
    assert "type" not in found["provision"]
    assert found["policyRule"]["extension"][0]["valueCode"] == "unknown"
    assert {"acd", "304251008"} == {each["coding"][0]["code"] for each in found["category"]}


@pytest.mark.parametrize(
    ("status", "time", "expected"),
    [
        ("completed", '<low value="2020"/>', "active"),
        ("completed", '<low value="2020"/><high nullFlavor="NA"/>', "active"),
        ("completed", '<low value="2020"/><high value="2021"/>', "inactive"),
        ("active", '<low value="2020"/><high value="2021"/>', "inactive"),
        ("completed", '<low value="2020"/><high value="2030"/>', "active"),
        ("aborted", '<low value="2020"/>', "inactive"),
        ("cancelled", '<low value="2020"/>', "inactive"),
        ("new", '<low value="2020"/>', "draft"),
        ("nullified", '<low value="2020"/><high value="2021"/>', "entered-in-error"),
    ],
)
def test_the_time_says_whether_it_holds_then_the_status(status: str, time: str, expected: str) -> None:
    inside = f"<effectiveTime>{time}</effectiveTime>{DNR}"
    assert one(of_sections((DIRECTIVES, directive(inside, status=status))), "Consent")["status"] == expected


def test_a_wish_holds_from_when_it_was_made() -> None:
    found = one(of_sections((DIRECTIVES, directive(f'<effectiveTime value="20240101"/>{DNR}'))), "Consent")
    assert found["provision"]["period"] == {"start": "2024-01-01"}


def test_who_verified_it_and_who_speaks_for_the_patient() -> None:
    people = f"""{DNR}<participant typeCode="VRF"><time value="20251102"/><participantRole>
      <id root="2.999.3" extension="7"/>
        <playingEntity><name><family>Physician</family></name></playingEntity></participantRole></participant>
      <participant typeCode="CST"><participantRole classCode="AGNT">
      <code code="DAU" codeSystem="2.16.840.1.113883.5.111"/>
        <playingEntity><name><family>Daughter</family></name></playingEntity></participantRole></participant>"""
    found = one(of_sections((DIRECTIVES, directive(people))), "Consent")
    assert found["verification"] == [{"verified": True, "verificationDate": "2025-11-02"}]
    told = {each["role"]["coding"][0]["code"]: each["reference"] for each in found["provision"]["actor"]}
    assert told["VRF"]["reference"].startswith("Practitioner/")
    assert told["CST"]["display"] == "Daughter"
    (agent,) = found["contained"]
    assert (agent["resourceType"], agent["relationship"][0]["coding"][0]["code"]) == ("RelatedPerson", "DAU")


def test_the_document_of_it_is_named_and_where_it_lies() -> None:
    source = """<reference typeCode="REFR"><externalDocument><id root="2.999.9" extension="will"/>
      <text mediaType="application/pdf"><reference value="will.pdf"/></text></externalDocument></reference>"""
    found = one(of_sections((DIRECTIVES, directive(DNR + source))), "Consent")
    assert found["sourceReference"]["identifier"]["value"] == "will"
    assert found["sourceReference"]["display"] == "will.pdf"
    assert found["organization"][0]["display"] == "Example Hospital"


def test_words_are_a_wish_too() -> None:
    found = one(of_sections((DIRECTIVES, directive('<value xsi:type="ST">No tubes</value>'))), "Consent")
    assert found["provision"]["code"] == [{"text": "No tubes"}]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('<value xsi:type="BL" value="false"/>', "deny"),
        ('<value xmlns:v="urn:hl7-org:v3" xsi:type="v:BL" value="false"/>', "deny"),
        ('<value value="false"/>', "deny"),
        (f'<value xsi:type="CD" code="373067005" {SCT} displayName="No"/>', "deny"),
        ('<value xsi:type="BL" value="true"/>', "permit"),
        (f'<value xsi:type="CD" code="373066001" {SCT} displayName="Yes"/>', "permit"),
    ],
)
def test_a_no_denies_what_was_asked_and_is_no_wish_in_words(value: str, expected: str) -> None:
    whole = one(of_sections((DIRECTIVES, directive(value))), "Consent")["provision"]
    assert whole.keys().isdisjoint({"type", "code"}), "R4: no type in the root rule, one in each nested rule"
    (found,) = whole["provision"]
    assert found["type"] == expected
    assert [each["coding"][0]["code"] for each in found["code"]] == ["304251008"]


@pytest.mark.parametrize(
    "value", ['<value xsi:type="ST">false</value>', '<value xsi:type="BL" nullFlavor="UNK"/>', '<value value="2"/>']
)
def test_what_is_no_answer_infers_no_type(value: str) -> None:
    found = one(of_sections((DIRECTIVES, directive(value))), "Consent")
    assert found.get("provision", {}).keys().isdisjoint({"type", "provision"})


def test_that_there_is_a_directive_or_none_is_an_observation() -> None:
    for answer in ("373066001", "373067005"):
        done = of_sections((DIRECTIVES, directive(f'<value xsi:type="CD" code="{answer}" {SCT}/>', "45473-6")))
        assert one(done, "Observation")["valueCodeableConcept"]["coding"][0]["code"] == answer
        assert every(done, "Consent") == []


def test_an_organizer_hands_its_author_to_each_wish() -> None:
    author = (
        '<author><time value="20251101"/><assignedAuthor><id root="2.999.3" extension="8"/></assignedAuthor></author>'
    )
    inner = directive()[7:-8]
    group = f"""<entry><organizer classCode="CLUSTER" moodCode="EVN">
      <templateId root="2.16.840.1.113883.10.20.22.4.108"/>
      <code code="45473-6"/>{author}<component>{inner}</component></organizer></entry>"""
    assert one(of_sections((DIRECTIVES, group)), "Consent")["dateTime"] == "2025-11-01"


def test_negation_is_never_lost_directive() -> None:
    """A denied wish is no wish, and no code of R4 says so: refused."""
    done = of_sections((DIRECTIVES, directive(own='negationInd="true"')))
    assert every(done, "Consent") == []
    assert "unsupported-statement" in codes(done)


def test_who_speaks_for_the_patient_may_be_unknown() -> None:
    agent = f'{DNR}<participant typeCode="CST"><participantRole classCode="AGNT"/></participant>'
    (actor,) = one(of_sections((DIRECTIVES, directive(agent))), "Consent")["provision"]["actor"]
    assert actor["reference"]["extension"][0]["valueCode"] == "unknown"
