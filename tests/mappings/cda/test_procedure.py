"""Procedures: done, not done, to be done; always a Procedure in their section, whatever the statement's class."""

import pytest

from tests.mappings.cda.converted import codes, every, of_sections, one, outcomes

PROCEDURES, FINDINGS, DEVICES, PLANNED, NOTES = "47519-4", "59776-5", "46264-8", "59772-4", "34109-9"
SCT = 'codeSystem="2.16.840.1.113883.6.96"'
APPENDICITIS = f'<value xsi:type="CD" code="74400008" {SCT}/>'
CODE = f'<code code="80146002" {SCT} displayName="Appendectomy"/>'


def statement(inside: str = "", tag: str = "procedure", own: str = "", mood: str = "EVN", id_: str = "p") -> str:
    return f"""<entry><{tag} classCode="X" moodCode="{mood}" {own}>
      <id root="2.999.9" extension="{id_}"/>{inside}</{tag}></entry>"""


def related(inside: str, kind: str = "RSON") -> str:
    return f'<entryRelationship typeCode="{kind}">{inside}</entryRelationship>'


def observation(code: str, value: str, id_: str = "o", more: str = "") -> str:
    return (
        f'<observation classCode="OBS" moodCode="EVN"><id root="2.999.9" extension="{id_}"/>'
        f'<code code="{code}"/>{more}<statusCode code="completed"/>{value}</observation>'
    )


@pytest.mark.parametrize("tag", ["procedure", "act", "observation"])
def test_in_a_section_of_procedures_every_class_is_a_procedure(tag: str) -> None:
    done = of_sections((PROCEDURES, statement(CODE + '<statusCode code="completed"/>', tag)))
    assert one(done, "Procedure")["code"]["coding"][0]["code"] == "80146002"
    assert one(done, "Procedure")["status"] == "completed"


def test_a_vendors_wrong_template_does_not_make_it_something_else() -> None:
    wrong = '<templateId root="2.16.840.1.113883.10.20.22.4.12"/>'
    done = of_sections((PROCEDURES, statement(wrong + CODE)), ("99999-9", statement(wrong + CODE, id_="q")))
    assert len(every(done, "Procedure")) == 2


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("active", "in-progress"), ("completed", "completed"), ("aborted", "stopped"), ("cancelled", "not-done"),
        ("held", "on-hold"), ("suspended", "on-hold"), ("new", "preparation"), ("nullified", "entered-in-error"),
    ],
)  # fmt: skip
def test_each_status_code_has_its_status(status: str, expected: str) -> None:
    done = of_sections((PROCEDURES, statement(f'{CODE}<statusCode code="{status}"/>')))
    assert one(done, "Procedure")["status"] == expected


def test_without_a_status_it_is_unknown_and_not_done() -> None:
    assert one(of_sections((PROCEDURES, statement(CODE))), "Procedure")["status"] == "unknown"


def test_a_statement_with_a_value_is_an_observation_that_is_part_of_the_procedure() -> None:
    value = '<statusCode code="completed"/><value xsi:type="CD" code="251135002" codeSystem="2.16.840.1.113883.6.96"/>'
    done = of_sections((PROCEDURES, statement(CODE + value, "observation")))
    procedure, found = one(done, "Procedure"), one(done, "Observation")
    assert found["partOf"] == [{"reference": f"Procedure/{procedure['id']}"}]
    assert found["valueCodeableConcept"]["coding"][0]["code"] == "251135002"
    assert outcomes(done) == [("observation", "mapped")]


def test_a_null_value_makes_no_observation() -> None:
    done = of_sections((PROCEDURES, statement(CODE + '<value nullFlavor="NA"/>', "observation")))
    assert every(done, "Observation") == []


# trap 1: negation is never lost ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["procedure", "act", "observation"])
def test_negation_is_never_lost_procedure(tag: str) -> None:
    """Not done, before any status code, with why not; and nothing was found by it."""
    why = related(observation("77301-0", f'<value xsi:type="CD" code="105480006" {SCT}/>'), "REFR")
    value = '<value xsi:type="PQ" value="1" unit="1"/>' if tag == "observation" else ""
    inside = f'{CODE}<statusCode code="completed"/><effectiveTime value="20240101"/>{value}{why}'
    done = of_sections((PROCEDURES, statement(inside, tag, 'negationInd="true"')))
    found = one(done, "Procedure")
    assert found["status"] == "not-done"
    assert found["statusReason"]["coding"][0]["code"] == "105480006"
    assert "reasonCode" not in found
    assert every(done, "Observation") == []


def test_a_negated_procedure_puts_no_device_in() -> None:
    device = f"""<participant typeCode="DEV"><participantRole><playingDevice><code code="65818007" {SCT}/>
      </playingDevice></participantRole></participant>"""
    done = of_sections((DEVICES, statement(CODE + device, own='negationInd="true"')))
    assert one(done, "Procedure")["status"] == "not-done"
    assert every(done, "Device") == every(done, "DeviceUseStatement") == []


def test_of_what_was_not_done_nothing_was_taken_and_no_problem_was_the_reason() -> None:
    problem = observation("55607006", APPENDICITIS, "c1")
    specimen = '<specimen><specimenRole><id root="2.999.9" extension="s"/></specimenRole></specimen>'
    inside = CODE + specimen + related(problem)
    done = of_sections(
        (PROCEDURES, statement(inside, own='negationInd="true"')), ("11450-4", f"<entry>{problem}</entry>")
    )
    assert every(done, "Specimen") == []
    assert "reasonReference" not in one(done, "Procedure")


def test_a_negated_order_is_an_order_not_to() -> None:
    done = of_sections((PLANNED, statement(CODE, own='negationInd="true"', mood="RQO")))
    assert one(done, "ServiceRequest")["doNotPerform"] is True


# trap 2: no known and no information differ ---------------------------------------------------------------------------

EU = 'codeSystem="2.16.840.1.113883.5.1150.1"'


@pytest.mark.parametrize(
    ("inside", "own"),
    [
        (f'<code code="71388002" {SCT}/>', 'negationInd="true"'),
        ('<code nullFlavor="UNK"/>', 'negationInd="true"'),
        (f'<code code="no-known-procedures" {EU}/>', ""),
        (f'<code code="no-known-procedure" {EU}/>', ""),
        (f'<code code="787480003" {SCT}/>', ""),
    ],
)
def test_no_known_procedures_is_a_fact(inside: str, own: str) -> None:
    found = one(of_sections((PROCEDURES, statement(inside, own=own))), "Procedure")
    assert found["code"]["coding"][0]["code"] == "787480003"
    assert found["status"] == "completed"
    assert "performedDateTime" not in found


def test_the_code_that_was_sent_for_it_stays() -> None:
    found = one(of_sections((PROCEDURES, statement(f'<code code="no-known-procedures" {EU}/>'))), "Procedure")
    assert [each["code"] for each in found["code"]["coding"]] == ["787480003", "no-known-procedures"]


@pytest.mark.parametrize(
    "inside",
    [
        f'<code code="no-procedure-info" {EU}/>',
        '<code nullFlavor="NI"/><text>No information.</text><effectiveTime nullFlavor="NA"/>',
        '<code nullFlavor="NA"/><text>No known surgical procedures</text>',
        '<code nullFlavor="UNK"/>',
    ],
)
def test_no_information_is_no_procedure(inside: str) -> None:
    done = of_sections((PROCEDURES, statement(inside)))
    assert every(done, "Procedure") == []
    reason = one(done, "Composition")["section"][0]["emptyReason"]["coding"][0]["code"]
    assert reason == "unavailable"


def test_words_without_a_code_are_a_procedure_and_denied_are_not_done() -> None:
    text = '<code nullFlavor="UNK"/><text>Something abroad</text>'
    done = of_sections((PROCEDURES, statement(text) + statement(text, own='negationInd="true"', id_="q")))
    told = [(each["code"]["text"], each["status"]) for each in every(done, "Procedure")]
    assert told == [("Something abroad", "unknown"), ("Something abroad", "not-done")]


# what stands in it ----------------------------------------------------------------------------------------------------


def test_who_did_it_has_function_and_organization() -> None:
    performer = """<performer typeCode="PPRF"><assignedEntity><id root="2.999.3" extension="1"/>
      <assignedPerson><name><family>Surgeon</family></name></assignedPerson>
      <representedOrganization><id root="2.999.4" extension="2"/><name>Clinic</name></representedOrganization>
      </assignedEntity></performer>
      <performer><assignedEntity><representedOrganization><name>Team</name></representedOrganization>
      </assignedEntity></performer>"""
    done = of_sections((PROCEDURES, statement(CODE + performer)))
    first, second = one(done, "Procedure")["performer"]
    assert first["function"]["coding"][0]["code"] == "PPRF"
    assert first["actor"]["reference"].startswith("PractitionerRole/")
    assert second["actor"]["display"] == "Team"
    assert "onBehalfOf" not in first


def test_site_and_side_are_both_told() -> None:
    site = f"""<targetSiteCode code="72696002" {SCT} displayName="Knee"><qualifier><name code="272741003" {SCT}/>
      <value code="7771000" {SCT} displayName="Left"/></qualifier></targetSiteCode>"""
    found = one(of_sections((PROCEDURES, statement(CODE + site))), "Procedure")["bodySite"]
    assert [each["coding"][0]["code"] for each in found] == ["72696002", "7771000"]


def test_a_reason_that_is_a_problem_of_its_own_is_that_condition() -> None:
    problem = observation("55607006", APPENDICITIS, "c1")
    other = observation("55607006", f'<value xsi:type="CD" code="22298006" {SCT}/>', "c1")
    reasons = related(problem)
    done = of_sections(
        (PROCEDURES, statement(CODE + reasons)), ("11450-4", f"<entry>{problem}</entry><entry>{other}</entry>")
    )
    found = one(done, "Procedure")
    told = {f"Condition/{each['id']}": each["code"]["coding"][0]["code"] for each in every(done, "Condition")}
    assert [told[each["reference"]] for each in found["reasonReference"]] == ["74400008"]
    assert found["reasonCode"][0]["coding"][0]["code"] == "74400008"


def test_a_measurement_as_reason_is_an_observation_of_its_own() -> None:
    scale = observation("72514-3", '<value xsi:type="INT" value="8"/>')
    done = of_sections((PROCEDURES, statement(CODE + related(scale))))
    found = one(done, "Observation")
    assert found["valueInteger"] == 8
    assert one(done, "Procedure")["reasonReference"] == [{"reference": f"Observation/{found['id']}"}]


REFERENCE = """<act classCode="ACT" moodCode="EVN"><templateId root="2.16.840.1.113883.10.20.22.4.122"/>
  <id root="2.999.9" extension="{}"/><code nullFlavor="NP"/></act>"""


def test_an_entry_reference_is_what_it_points_at_else_its_number() -> None:
    problem = f"<entry>{observation('55607006', APPENDICITIS, 'c1')}</entry>"
    inside = CODE + related(REFERENCE.format("c1")) + related(REFERENCE.format("nowhere"))
    done = of_sections((PROCEDURES, statement(inside)), ("11450-4", problem))
    first, second = one(done, "Procedure")["reasonReference"]
    assert first == {"reference": f"Condition/{one(done, 'Condition')['id']}"}
    assert second == {"identifier": {"system": "urn:oid:2.999.9", "value": "nowhere"}}


def test_a_failed_attempt_is_the_outcome_and_why_a_note() -> None:
    failed = f"""<act classCode="ACT" moodCode="EVN"><code code="103709008" {SCT}/><text>Blurred</text>
      <author><time value="20240101"/><assignedAuthor><id root="2.999.3" extension="9"/></assignedAuthor></author>
      </act>"""
    found = one(of_sections((PROCEDURES, statement(CODE + related(failed, "SUBJ")))), "Procedure")
    assert found["outcome"]["coding"][0]["code"] == "103709008"
    (note,) = found["note"]
    assert (note["text"], note["time"]) == ("Blurred", "2024-01-01")
    assert note["authorReference"]["reference"].startswith("Practitioner/")


def test_two_procedures_under_one_id_are_two() -> None:
    other = f'<code code="25732003" {SCT}/>'
    done = of_sections((PROCEDURES, statement(CODE) + statement(other)))
    assert len(every(done, "Procedure")) == 2


# sections around a procedure ------------------------------------------------------------------------------------------


def test_what_was_found_during_one_is_a_condition_and_no_procedure() -> None:
    template = '<templateId root="2.16.840.1.113883.10.20.22.4.4"/>'
    found = observation("404684003", f'<value xsi:type="CD" code="103679000" {SCT}/>', more=template)
    done = of_sections((FINDINGS, f"<entry>{found}</entry>"))
    assert every(done, "Procedure") == []
    assert one(done, "Condition")["code"]["coding"][0]["code"] == "103679000"


@pytest.mark.parametrize("template", ['<templateId root="2.16.840.1.113883.10.20.22.4.3"/>', ""])
@pytest.mark.parametrize("section", [PROCEDURES, FINDINGS])
def test_a_concern_among_procedures_is_no_procedure_and_its_problem_is_one(template: str, section: str) -> None:
    own = '<templateId root="2.16.840.1.113883.10.20.22.4.4"/>'
    problem = related(observation("55607006", APPENDICITIS, more=own), "SUBJ")
    concern = f'<entry><act classCode="ACT" moodCode="EVN">{template}<code code="CONC"/>{problem}</act></entry>'
    done = of_sections((section, concern))
    assert every(done, "Procedure") == []
    assert one(done, "Condition")["code"]["coding"][0]["code"] == "74400008"


def test_what_was_lost_during_one_is_an_observation() -> None:
    loss = observation("55103-6", '<value xsi:type="PQ" value="300" unit="mL"/>')
    done = of_sections(("59770-8", f"<entry>{loss}</entry>"))
    assert one(done, "Observation")["valueQuantity"]["value"] == 300
    assert every(done, "Procedure") == []


def test_a_note_among_procedures_is_a_note() -> None:
    note = """<entry><act classCode="ACT" moodCode="EVN"><templateId root="2.16.840.1.113883.10.20.22.4.202"/>
      <code code="34109-9" codeSystem="2.16.840.1.113883.6.1"/><text>It went well.</text></act></entry>"""
    done = of_sections((PROCEDURES, note))
    assert every(done, "Procedure") == []
    assert any("content" in each and "masterIdentifier" not in each for each in every(done, "DocumentReference"))


# to be done -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mood", "intent"), [("INT", "plan"), ("PRMS", "plan"), ("RQO", "order"), ("ARQ", "order"), ("PRP", "proposal")]
)
def test_a_mood_of_intent_is_a_request_of_that_intent(mood: str, intent: str) -> None:
    done = of_sections((PROCEDURES, statement(f'{CODE}<statusCode code="active"/>', mood=mood)))
    found = one(done, "ServiceRequest")
    assert (found["intent"], found["status"]) == (intent, "active")
    assert every(done, "Procedure") == []


@pytest.mark.parametrize("section", [PLANNED, "18776-5"])
def test_of_alternatives_one_is_to_be_chosen(section: str) -> None:
    other = """<component><procedure classCode="SUBST" moodCode="PRP">
      <code code="{}" codeSystem="2.16.840.1.113883.6.12"/></procedure></component>"""
    group = f"""<organizer classCode="CLUSTER" moodCode="PRP">
      <statusCode code="active"/>{other.format(44960)}{other.format(44970)}</organizer>"""
    done = of_sections((section, statement(CODE + related(group, "REFR"), mood="INT")))
    requests = [f"ServiceRequest/{each['id']}" for each in every(done, "ServiceRequest")]
    (choice,) = one(done, "RequestGroup")["action"]
    assert choice["selectionBehavior"] == "exactly-one"
    assert sorted(each["resource"]["reference"] for each in choice["action"]) == sorted(requests)
    assert len(requests) == 3


def test_an_entry_that_stands_only_in_the_narrative_costs_nothing() -> None:
    """Trap 14: its words stay, and it is told of."""
    done = of_sections(
        (PROCEDURES, "<text>Words</text><entry><act><code nullFlavor='NI'/></act></entry>" + statement(CODE))
    )
    assert len(every(done, "Procedure")) == 1
    assert "Words" in one(done, "Composition")["section"][0]["text"]["div"]
    assert "entry-failed" not in codes(done)
