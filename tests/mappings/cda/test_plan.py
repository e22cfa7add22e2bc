"""Plans: what is to be is never told as what was, what must not be done is never asked for, and nothing gets lost.

Source: C-CDA R2.1 and 5.0 planned act, encounter, observation, procedure, referral, instruction, handoff, intervention,
preference; CDA R2 §4.3.8 (moods).
"""

from typing import Any

import pytest

from mappings.convert import Conversion
from tests.mappings.cda.converted import codes, every, of_sections, one, outcomes
from tests.mappings.cda.plans import GOALS, INTERVENTIONS, PLAN, PROBLEMS, concern, entry, pointing, related, statement

Json = dict[str, Any]

CCDA = "2.16.840.1.113883.10.20.22.4."
CODE = '<code code="73761001" codeSystem="2.16.840.1.113883.6.96" displayName="Colonoscopy"/>'
ACTIVE = '<statusCode code="active"/>'
REQUESTS = ("act", "observation", "procedure")
DENIED = 'negationInd="true"'
DONE = ("Observation", "Procedure", "Encounter", "Condition", "MedicationStatement", "Immunization")


def template(*numbers: int) -> str:
    return "".join(f'<templateId root="{CCDA}{number}"/>' for number in numbers)


def plan(*statements: str, section: str = PLAN) -> Conversion:
    return of_sections((section, entry(*statements)))


def told(done: Conversion) -> list[str]:
    """The types of what statements became."""
    around = ("Patient", "Composition", "Binary", "DocumentReference", "Provenance", "Practitioner", "Organization")
    return [m.body["resourceType"] for m in done.resources if m.body["resourceType"] not in around]


# moods ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", REQUESTS)
@pytest.mark.parametrize(
    ("mood", "intent"), [("INT", "plan"), ("PRMS", "plan"), ("RQO", "order"), ("ARQ", "order"), ("PRP", "proposal")]
)
def test_the_mood_is_the_intent_of_every_class(tag: str, mood: str, intent: str) -> None:
    done = plan(statement(tag, CODE + ACTIVE, mood=mood))
    assert told(done) == ["ServiceRequest"]
    assert (one(done, "ServiceRequest")["intent"], one(done, "ServiceRequest")["status"]) == (intent, "active")


@pytest.mark.parametrize("tag", REQUESTS)
@pytest.mark.parametrize("number", [39, 40, 41, 42, 44, 12, 13, 14, 2, 4])
def test_a_wrong_template_changes_nothing(tag: str, number: int) -> None:
    done = plan(statement(tag, template(number) + CODE + ACTIVE))
    assert told(done) == ["ServiceRequest"]


@pytest.mark.parametrize("mood", ["DEF", "OPT", "EXPEC", "CRT", "nonsense", ""])
@pytest.mark.parametrize("tag", ["observation", "encounter", "procedure"])
def test_what_is_neither_planned_nor_done_is_refused(mood: str, tag: str) -> None:
    done = plan(statement(tag, CODE + ACTIVE, mood=mood))
    assert told(done) == []
    assert outcomes(done) == [(tag, "unsupported")]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("active", "active"), ("completed", "completed"), ("aborted", "revoked"), ("cancelled", "revoked"),
        ("held", "on-hold"), ("suspended", "on-hold"), ("new", "draft"), ("nullified", "entered-in-error"),
        ("", "unknown"), ("nonsense", "unknown"),
    ],
)  # fmt: skip
def test_the_status_of_a_request(status: str, said: str) -> None:
    coded = f'<statusCode code="{status}"/>' if status else ""
    assert one(plan(statement("procedure", CODE + coded)), "ServiceRequest")["status"] == said


@pytest.mark.parametrize(
    ("code", "said"),
    [("UR", "urgent"), ("394849002", "urgent"), ("394848005", "routine"), ("441808003", "routine"), ("high", None)],
)
def test_how_urgent_it_is_is_told_by_tables_only(code: str, said: str | None) -> None:
    """HL7's ActPriority, and the three that C-CDA names; `high` is a code of neither: kept beside."""
    found = one(
        plan(statement("act", f'{CODE}{ACTIVE}<priorityCode code="{code}" codeSystem="2.999.7"/>')), "ServiceRequest"
    )
    assert found.get("priority") == said
    kept = [each["valueCoding"]["code"] for each in found.get("extension", ())]
    assert kept == ([code] if said is None else [])


@pytest.mark.parametrize(
    ("tag", "time", "said", "told_of"),
    [
        ("procedure", '<effectiveTime value="20260601"/>', "active", True),
        ("act", '<effectiveTime><low value="20260101"/><high value="20260601"/></effectiveTime>', "active", True),
        ("observation", '<effectiveTime><low value="20260601"/></effectiveTime>', "active", True),
        ("observation", "", "unknown", True),
        ("observation", '<effectiveTime nullFlavor="UNK"/>', "unknown", True),
        ("observation", '<effectiveTime value="20260102"/>', "completed", False),
        ("procedure", '<effectiveTime value="20260301"/>', "completed", False),
        ("procedure", "", "completed", False),
    ],
)
def test_a_plan_that_is_not_done_does_not_read_as_done(tag: str, time: str, said: str, told_of: bool) -> None:
    """The document is of 1 March 2026. C-CDA fixes `completed` for observations, so without a time it says nothing."""
    done = plan(statement(tag, f'{CODE}<statusCode code="completed"/>{time}'))
    assert one(done, "ServiceRequest")["status"] == said
    assert ("status-conflict" in codes(done)) is told_of


@pytest.mark.parametrize("section", ["18776-5", "30954-2", "8716-3"])
@pytest.mark.parametrize("number", [1, 26])
def test_a_panel_that_is_planned_is_no_report(section: str, number: int) -> None:
    inner = statement("observation", template(2) + CODE + '<statusCode code="completed"/>', number="s2")
    panel = template(number) + CODE + f'<statusCode code="completed"/><component>{inner}</component>'
    done = plan(statement("organizer", panel), section=section)
    assert told(done) == ["ServiceRequest"]
    assert one(done, "ServiceRequest")["status"] == "unknown"
    assert outcomes(done) == [("organizer", "mapped"), ("observation", "mapped")]


def test_what_happened_is_told_as_such_in_a_plan_too() -> None:
    value = '<statusCode code="completed"/><value xsi:type="PQ" value="1" unit="kg"/>'
    done = plan(statement("observation", CODE + value, mood="EVN"))
    assert told(done) == ["Observation"]


@pytest.mark.parametrize(
    ("tag", "content"),
    [
        ("substanceAdministration", "<consumable>{}</consumable>"),
        ("supply", "<product>{}</product>"),
    ],
)
@pytest.mark.parametrize("denied", ["", DENIED])
def test_what_is_to_be_given_is_a_medication_and_keeps_its_negation(tag: str, content: str, denied: str) -> None:
    drug = '<code code="1191" codeSystem="2.16.840.1.113883.6.88"/>'
    product = f"<manufacturedProduct><manufacturedMaterial>{drug}</manufacturedMaterial></manufacturedProduct>"
    done = plan(statement(tag, ACTIVE + content.format(product), attributes=denied))
    found = every(done, "MedicationRequest")
    if tag == "supply" and denied:
        assert found == []
        assert "unsupported-statement" in codes(done)
    else:
        assert [each.get("doNotPerform", False) for each in found] == [bool(denied)]


# negation -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [*REQUESTS, "encounter"])
@pytest.mark.parametrize("mood", ["INT", "RQO", "ARQ", "PRMS", "PRP", "APT"])
def test_a_denied_request_is_one_not_to_do_it(tag: str, mood: str) -> None:
    done = plan(statement(tag, CODE + ACTIVE, mood=mood, attributes=DENIED))
    assert told(done) == ["ServiceRequest"]
    assert one(done, "ServiceRequest")["doNotPerform"] is True
    assert "doNotPerform" not in one(plan(statement("act", CODE + ACTIVE, mood=mood)), "ServiceRequest")


@pytest.mark.parametrize("tag", [*REQUESTS, "encounter"])
def test_that_nothing_is_planned_forbids_nothing(tag: str) -> None:
    words = '<code nullFlavor="OTH"><originalText>No tests planned</originalText></code>'
    done = plan(statement(tag, words + ACTIVE, attributes=DENIED))
    assert told(done) == []
    assert outcomes(done) == [(tag, "unsupported")]


@pytest.mark.parametrize(
    ("content", "mood"),
    [
        (template(131) + '<code code="362956003"/>', "EVN"), (template(146), "INT"), (template(518), "RQO"),
        (template(129), "INT"), ('<code code="432138007"/>', "EVN"),
    ],
)  # fmt: skip
def test_every_other_negation_is_refused(content: str, mood: str) -> None:
    done = plan(statement("act", content + ACTIVE, mood=mood, attributes=DENIED))
    assert told(done) == []
    assert "unsupported-statement" in codes(done)


def test_what_a_denied_intervention_consists_of_is_denied() -> None:
    inner = related(statement("act", CODE + ACTIVE, number="a")) + pointing("elsewhere", "RSON")
    happened = related(statement("observation", CODE + '<value xsi:type="ST">x</value>', mood="EVN", number="b"))
    done = plan(statement("act", template(146) + ACTIVE + inner + happened, attributes=DENIED))
    assert told(done) == ["ServiceRequest"]
    assert one(done, "ServiceRequest")["doNotPerform"] is True
    assert [said for _, said in outcomes(done)] == ["unsupported", "mapped", "narrative", "unsupported"]


def test_what_a_denied_cover_or_goal_holds_is_neither_asked_for_nor_forbidden() -> None:
    inner = related(statement("act", '<code code="111" codeSystem="2.16.840.1.113883.3.221.5"/>', number="a"))
    assert told(plan(statement("act", template(129) + ACTIVE + inner, attributes=DENIED))) == []
    step = related(statement("observation", CODE + ACTIVE, mood="GOL", number="a"), "COMP")
    assert told(plan(statement("observation", CODE + ACTIVE + step, mood="GOL", attributes=DENIED))) == []


def test_a_negation_does_not_reach_what_stands_inside() -> None:
    inner = related(statement("procedure", CODE + ACTIVE, number="s2"))
    outer = statement("act", '<code code="9" codeSystem="2.999.8"/>' + ACTIVE + inner, attributes=DENIED)
    found = every(plan(outer), "ServiceRequest")
    assert [each.get("doNotPerform", False) for each in found] == [True, False]


def test_a_plan_about_somebody_else_is_not_the_patients() -> None:
    subject = '<subject><relatedSubject classCode="PRS"><code code="MTH"/></relatedSubject></subject>'
    for tag in (*REQUESTS, "encounter"):
        done = plan(statement(tag, CODE + ACTIVE + subject))
        assert told(done) == []
        assert "unsupported-statement" in codes(done)


# what a request says --------------------------------------------------------------------------------------------------


def test_a_request_in_words_only_is_kept() -> None:
    done = plan(statement("act", '<code nullFlavor="UNK"/><text>Walk every hour</text>' + ACTIVE))
    assert one(done, "ServiceRequest")["code"] == {"text": "Walk every hour"}


def test_a_request_for_nothing_is_refused() -> None:
    done = plan(statement("act", ACTIVE))
    assert told(done) == []
    assert outcomes(done) == [("act", "unsupported")]


def priority(code: str, *, own: str = "") -> str | None:
    preference = f"""<observation classCode="OBS" moodCode="EVN">{template(143)}
      <code code="225773000" codeSystem="2.16.840.1.113883.6.96"/>
      <value xsi:type="CD" code="{code}" codeSystem="2.16.840.1.113883.6.96"/></observation>"""
    stated = f'<priorityCode code="{own}" codeSystem="2.16.840.1.113883.5.7"/>' if own else ""
    done = plan(statement("act", CODE + ACTIVE + stated + related(preference, "RSON")))
    request = one(done, "ServiceRequest")
    assert [each["focus"][0]["reference"] for each in every(done, "Observation")] == (
        [f"ServiceRequest/{request['id']}"] if own else []  # what no element takes stands for itself
    )
    assert every(done, "Condition") == []
    assert "reasonCode" not in request
    found: str | None = request.get("priority")
    return found


def test_how_much_it_matters_is_its_priority_unless_it_says_how_urgent_it_is() -> None:
    assert priority("394849002") == "urgent"
    assert priority("394848005") == "routine"
    assert priority("441808003") == "routine"
    assert priority("394849002", own="R") == "routine"
    assert priority("1") is None


def test_reasons_are_codes_and_what_is_pointed_at() -> None:
    indication = f"""<observation classCode="OBS" moodCode="EVN">{template(19)}<code code="404684003"/>
      <value xsi:type="CD" code="428283002" codeSystem="2.16.840.1.113883.6.96"/></observation>"""
    request = statement("procedure", CODE + ACTIVE + related(indication, "RSON") + pointing("c1", "RSON"))
    done = of_sections((PROBLEMS, concern()), (PLAN, entry(request)))
    found = one(done, "ServiceRequest")
    assert [each["coding"][0]["code"] for each in found["reasonCode"]] == ["428283002"]
    assert found["reasonReference"] == [{"reference": f"Condition/{one(done, 'Condition')['id']}"}]


def test_a_referral_keeps_whom_it_is_to_and_how_much_of_the_care() -> None:
    to = """<participant typeCode="REFT"><participantRole><id root="2.16.840.1.113883.4.6" extension="1093929010"/>
      <code code="207RC0000X" codeSystem="2.16.840.1.113883.6.101"/><playingEntity><name><given>Di</given>
      <family>Specialist</family></name></playingEntity></participantRole></participant>"""
    care = """<observation classCode="OBS" moodCode="RQO"><code code="ASSERTION" codeSystem="2.16.840.1.113883.5.4"/>
      <value xsi:type="CD" code="268528005" codeSystem="2.16.840.1.113883.6.96"/></observation>"""
    done = plan(statement("act", template(140) + CODE + ACTIVE + to + related(care, "SUBJ")), section="42349-1")
    found = one(done, "ServiceRequest")
    assert found["performer"][0]["display"] == "Di Specialist"
    assert found["performerType"]["coding"][0]["code"] == "207RC0000X"
    assert [each["coding"][0]["code"] for each in found["orderDetail"]] == ["268528005"]
    (practitioner,) = (p for p in every(done, "Practitioner") if p.get("name"))
    assert practitioner["identifier"][0]["value"] == "1093929010"


def test_what_will_pay_is_one_cover_for_all_that_it_pays() -> None:
    policy = """<act classCode="ACT" moodCode="INT"><id root="2.999.6" extension="P"/>
      <code code="111" codeSystem="2.16.840.1.113883.3.221.5"/></act>"""
    cover = f"""<act classCode="ACT" moodCode="INT">{template(129)}<id root="2.999.9" extension="k"/>
      <code code="48768-6" codeSystem="2.16.840.1.113883.6.1"/>{ACTIVE}{related(policy, "COMP")}</act>"""
    two = (statement(tag, CODE + ACTIVE + related(cover, "COMP"), number=tag) for tag in ("procedure", "observation"))
    done = plan(*two)
    reference = {"reference": f"Coverage/{one(done, 'Coverage')['id']}"}
    assert [each["insurance"] for each in every(done, "ServiceRequest")] == [[reference], [reference]]


def instruction(text: str = "Fast from midnight on.", attributes: str = "") -> str:
    said = f"<text>{text}</text>" if text else ""
    return statement(
        "act", template(20) + '<code code="409073007"/>' + said + '<statusCode code="completed"/>',
        number="", attributes=attributes,
    )  # fmt: skip


def test_an_instruction_is_part_of_what_it_instructs_about() -> None:
    for tag, kind in (("procedure", "ServiceRequest"), ("encounter", "Appointment")):
        done = plan(statement(tag, CODE + ACTIVE + related(instruction(), "SUBJ")))
        assert told(done) == [kind]
        assert one(done, kind)["patientInstruction"] == "Fast from midnight on."


def test_an_instruction_alone_is_to_be_told_to_the_patient() -> None:
    found = one(plan(instruction(), section="69730-0"), "CommunicationRequest")
    assert found["payload"] == [{"contentString": "Fast from midnight on."}]
    assert found["recipient"] == [found["subject"]]
    denied = one(plan(instruction(attributes=DENIED)), "CommunicationRequest")
    assert denied["doNotPerform"] is True


# visits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("active", "proposed"), ("new", "proposed"), ("held", "proposed"), ("suspended", "proposed"),
        ("cancelled", "cancelled"), ("aborted", "cancelled"), ("", "proposed"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mood", ["INT", "APT", "ARQ", "PRMS", "PRP"])
def test_a_visit_is_proposed_until_it_has_a_time_that_all_agreed_to(status: str, said: str, mood: str) -> None:
    coded = f'<statusCode code="{status}"/>' if status else ""
    when = '<effectiveTime value="20260615"/>'
    done = plan(statement("encounter", CODE + coded + when, mood=mood))
    assert told(done) == ["Appointment"]
    found = one(done, "Appointment")
    assert found["status"] == said
    assert found["requestedPeriod"] == [{"start": "2026-06-15", "end": "2026-06-15"}]
    assert found["participant"][0]["actor"]["reference"].startswith("Patient/")


@pytest.mark.parametrize(("mood", "status"), [("RQO", "active"), ("INT", "completed"), ("INT", "nullified")])
def test_a_visit_that_no_appointment_can_tell_of_is_a_request(mood: str, status: str) -> None:
    done = plan(statement("encounter", f'{CODE}<statusCode code="{status}"/>', mood=mood))
    assert told(done) == ["ServiceRequest"]


# the rest -------------------------------------------------------------------------------------------------------------


def test_a_handoff_tells_who_told_whom() -> None:
    people = """<author><time value="20260301"/><assignedAuthor><id root="2.999.3" extension="A"/><assignedPerson>
      <name><given>Ada</given></name></assignedPerson></assignedAuthor></author><participant typeCode="IRCP">
      <participantRole><playingEntity><name><given>Ed</given></name></playingEntity></participantRole></participant>"""
    said = '<code code="432138007" codeSystem="2.16.840.1.113883.6.96"/><statusCode code="completed"/>'
    found = one(plan(statement("act", template(141) + said + people, mood="EVN")), "Communication")
    assert (found["sender"]["display"], found["recipient"][0]["display"]) == ("Ada", "Ed")
    assert found["recipient"][0]["reference"].startswith("#")  # no number names him


@pytest.mark.parametrize(
    ("code", "category"),
    [("75773-2", "treatment-intervention-preference"), ("95541-9", "care-experience-preference")],
)
@pytest.mark.parametrize("mood", ["INT", "EVN"])
@pytest.mark.parametrize("section", [PLAN, "42348-3"])
def test_a_wish_is_told_and_not_requested(code: str, category: str, mood: str, section: str) -> None:
    said = f'<code code="{code}" codeSystem="2.16.840.1.113883.6.1"/><value xsi:type="ST">No dialysis</value>'
    done = plan(statement("observation", said, mood=mood), section=PLAN)
    found = one(done, "Observation")
    assert found["category"][0]["coding"][0]["code"] == category
    assert found["valueString"] == "No dialysis"
    assert every(done, "ServiceRequest") == every(done, "Consent") == []
    denied = plan(statement("observation", said, mood=mood, attributes=DENIED), section=PLAN)
    assert told(denied) == []


def test_an_intervention_holds_what_is_to_be_done_what_was_and_for_which_goal() -> None:
    goal = statement("observation", CODE + ACTIVE, mood="GOL", number="g1")
    planned = related(statement("act", '<code code="1" codeSystem="2.999.8"/>' + ACTIVE, number="a1"))
    value = '<statusCode code="completed"/><value xsi:type="PQ" value="1" unit="kg"/>'
    happened = related(statement("observation", CODE + value, mood="EVN", number="a2"))
    whole = statement(
        "act", template(146) + '<code code="362956003"/>' + ACTIVE + planned + happened + pointing("g1", "RSON")
    )
    for sections in ([(GOALS, goal), (INTERVENTIONS, whole)], [(INTERVENTIONS, whole), (GOALS, goal)]):
        done = of_sections(*((code, entry(content)) for code, content in sections))
        found = one(done, "CarePlan")
        ids = {kind: f"{kind}/{one(done, kind)['id']}" for kind in ("Goal", "ServiceRequest", "Observation")}
        assert found["goal"] == [{"reference": ids["Goal"]}]
        assert found["activity"] == [
            {"reference": {"reference": ids["ServiceRequest"]}},
            {"outcomeReference": [{"reference": ids["Observation"]}]},
        ]


def test_a_preference_inside_something_given_is_no_finding_of_its_own() -> None:
    preference = f"""<observation classCode="OBS" moodCode="EVN">{template(143)}
      <code code="225773000" codeSystem="2.16.840.1.113883.6.96"/>
      <value xsi:type="CD" code="394849002" codeSystem="2.16.840.1.113883.6.96"/></observation>"""
    visits = (statement("encounter", CODE + ACTIVE + related(preference), number=str(n)) for n in (1, 2))
    done = plan(*visits)
    assert {each["focus"][0]["reference"] for each in every(done, "Observation")} == {
        f"Appointment/{each['id']}" for each in every(done, "Appointment")
    }
    assert "id-reused" not in codes(done)


def test_an_entry_reference_alone_makes_nothing() -> None:
    done = plan(statement("act", template(122) + '<code nullFlavor="NP"/>', mood="EVN", number="x"))
    assert told(done) == []
    assert outcomes(done) == [("act", "narrative")]


def test_a_statement_that_refers_to_itself_ends() -> None:
    loop = statement("act", template(146) + ACTIVE + pointing("s1", "RSON") + pointing("s1", "GEVL"))
    found = one(plan(loop), "CarePlan")
    assert "goal" not in found


def test_a_part_without_a_mood_has_that_of_the_whole() -> None:
    """Once the plan and the observations handed it to each other without end."""
    inner = statement("observation", CODE, number="s2").replace('moodCode="INT" ', "")
    done = plan(statement("act", CODE + ACTIVE + related(inner, "COMP")))
    assert codes(done) == []
    assert [each["intent"] for each in every(done, "ServiceRequest")] == ["plan", "plan"]


@pytest.mark.parametrize("numbers", [("s1", "s2"), ("s1", "s1")])
def test_what_points_at_no_reason_leaves_no_empty_list(numbers: tuple[str, str]) -> None:
    """Of two requests of one number, too, one of which is told apart or joined later."""
    other = CODE.replace("73761001", "80146002")
    one_, two = (
        statement("procedure", coded + ACTIVE + pointing("e1", "RSON"), number=number)
        for coded, number in zip((CODE, CODE.replace("Colonoscopy", "Other")), numbers, strict=True)
    )
    visit = statement("encounter", other, mood="EVN", number="e1")
    done = plan(one_, one_.replace("active", "completed"), two, visit)
    assert all(each.get("reasonReference", True) for each in every(done, "ServiceRequest"))
