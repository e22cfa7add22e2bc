"""Goals and what came of them: a goal is never a finding, and refers to what it is for wherever that stands.

Source: C-CDA R2.1 and 5.0 goal observation, progress toward goal, outcome observation, entry reference.
"""

from typing import Any

import pytest

from mappings.convert import Conversion
from tests.mappings.cda.converted import codes, every, of_sections, one, outcomes
from tests.mappings.cda.plans import (
    GOALS,
    OUTCOMES,
    PLAN,
    PROBLEMS,
    concern,
    entry,
    observation,
    pointing,
    related,
    statement,
)  # fmt: skip

Json = dict[str, Any]

SATURATION = '<code code="59408-5" codeSystem="2.16.840.1.113883.6.1" displayName="Oxygen saturation"/>'
ACTIVE = '<statusCode code="active"/>'
PATIENT = (
    '<author><time value="20260101"/><assignedAuthor><id root="2.999.2" extension="P1"/></assignedAuthor></author>'
)
NURSE = """<author><time value="20260201"/><assignedAuthor><id root="2.999.3" extension="N1"/>
  <assignedPerson><name><given>Bo</given><family>Nurse</family></name></assignedPerson></assignedAuthor></author>"""


def goal(content: str = SATURATION + ACTIVE, attributes: str = "", number: str = "g1") -> str:
    return observation(content, mood="GOL", attributes=attributes, number=number)


def goals(*content: str) -> Conversion:
    return of_sections((GOALS, entry(*content)))


@pytest.mark.parametrize("section", [GOALS, "18776-5", "30954-2", "29762-2", "8716-3", "47420-5", "99999-9"])
def test_a_goal_is_a_goal_in_every_section_and_never_a_finding(section: str) -> None:
    done = of_sections((section, entry(goal(SATURATION + ACTIVE + '<value xsi:type="PQ" value="92" unit="%"/>'))))
    assert one(done, "Goal")["lifecycleStatus"] == "active"
    assert every(done, "Observation") == []


@pytest.mark.parametrize(
    ("status", "lifecycle"),
    [
        ("active", "active"), ("completed", "completed"), ("aborted", "cancelled"), ("cancelled", "cancelled"),
        ("held", "on-hold"), ("suspended", "on-hold"), ("new", "proposed"), ("nullified", "entered-in-error"),
    ],
)  # fmt: skip
def test_the_status_is_that_of_the_pursuit(status: str, lifecycle: str) -> None:
    found = one(goals(goal(f'{SATURATION}<statusCode code="{status}"/>')), "Goal")
    assert found["lifecycleStatus"] == lifecycle
    assert "achievementStatus" not in found  # a goal that is no longer pursued may never have been reached


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ('<value xsi:type="IVL_PQ"><low value="92" unit="%"/></value>', {"detailQuantity": (92, ">=")}),
        ('<value xsi:type="PQ" value="80" unit="kg"/>', {"detailQuantity": (80, None)}),
        ('<value xsi:type="ST">Walk alone</value>', {"detailString": "Walk alone"}),
        ('<value xsi:type="INT" value="3"/>', {"detailInteger": 3}),
        ('<value xsi:type="BL" value="true"/>', {"detailBoolean": True}),
    ],
)
def test_a_target_is_what_was_written(value: str, detail: Json) -> None:
    (target,) = one(goals(goal(SATURATION + ACTIVE + value)), "Goal")["target"]
    assert target.pop("measure")["coding"][0]["code"] == "59408-5"
    if "detailQuantity" in target:
        quantity = target["detailQuantity"]
        target = {"detailQuantity": (float(str(quantity["value"])), quantity.get("comparator"))}
    assert target == detail


def test_a_value_that_no_target_holds_is_told_of() -> None:
    done = goals(goal(f'{SATURATION}{ACTIVE}<value xsi:type="TS" value="20260601"/>'))
    assert "detailDateTime" not in str(one(done, "Goal"))
    assert "extra-value" in codes(done)


def test_the_start_is_no_due_date() -> None:
    when = '<effectiveTime><low value="20260101"/><high value="20260601"/></effectiveTime>'
    found = one(goals(goal(SATURATION + ACTIVE + when)), "Goal")
    assert (found["startDate"], found["target"]) == ("2026-01-01", [{"dueDate": "2026-06-01"}])
    due = one(goals(goal(f'{SATURATION}{ACTIVE}<effectiveTime value="20260601"/>')), "Goal")
    assert "startDate" not in due
    assert due["target"] == [{"dueDate": "2026-06-01"}]


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ('<code nullFlavor="UNK"/><text>Move house</text>', "Move house"),
        (f"{SATURATION}<text>Breathe better</text>", "Breathe better"),
        ('<code code="1"><originalText>In short</originalText></code><text>At length</text>', "In short"),
    ],
)  # fmt: skip
def test_a_goal_says_in_words_what_it_is(said: str, text: str) -> None:
    assert one(goals(goal(said + ACTIVE)), "Goal")["description"]["text"] == text


def test_a_goal_that_nobody_describes_is_kept() -> None:
    assert "extension" in one(goals(goal(ACTIVE)), "Goal")["description"]


def test_a_goal_of_patient_and_nurse_is_the_patients_whoever_wrote_last() -> None:
    found = one(goals(goal(SATURATION + ACTIVE + PATIENT + NURSE)), "Goal")
    assert found["expressedBy"] == found["subject"]
    other = one(goals(goal(SATURATION + ACTIVE + NURSE)), "Goal")
    assert other["expressedBy"]["display"] == "Bo Nurse"


def test_a_denied_goal_is_refused() -> None:
    done = goals(goal(attributes='negationInd="true"'))
    assert every(done, "Goal") == []
    assert outcomes(done) == [("observation", "unsupported")]
    assert "unsupported-statement" in codes(done)


def test_a_goal_of_somebody_else_is_not_the_patients() -> None:
    subject = '<subject><relatedSubject classCode="PRS"><code code="MTH"/></relatedSubject></subject>'
    done = goals(goal(SATURATION + ACTIVE + subject))
    assert every(done, "Goal") == []
    assert "unsupported-statement" in codes(done)


def test_a_step_is_a_goal_that_the_other_names() -> None:
    step = related(goal('<code nullFlavor="UNK"/><text>One flight</text>', number="g2"), "COMP")
    done = goals(goal(SATURATION + ACTIVE + step))
    whole, part = sorted(every(done, "Goal"), key=lambda each: "extension" not in each)
    (relation,) = whole["extension"]
    assert {"url": "target", "valueReference": {"reference": f"Goal/{part['id']}"}} in relation["extension"]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("390802008", "achieved"), ("390801001", "not-achieved"), ("706906006", "no-progress"),
        ("706905005", "not-attainable"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("told", ["by the goal", "by an outcome"])
def test_how_far_it_was_reached_is_told_by_goal_or_outcome(code: str, status: str, told: str) -> None:
    progress = f"""<entryRelationship typeCode="SPRT" inversionInd="true"><observation classCode="OBS" moodCode="EVN">
      <templateId root="2.16.840.1.113883.10.20.22.4.110"/><code code="ASSERTION" codeSystem="2.16.840.1.113883.5.4"/>
      <statusCode code="completed"/><value xsi:type="CD" code="{code}" codeSystem="2.16.840.1.113883.6.96"/>
      </observation></entryRelationship>"""
    if told == "by the goal":
        done = goals(goal(SATURATION + ACTIVE + progress))
        assert every(done, "Observation") == []
    else:
        done = of_sections((GOALS, entry(goal())), (OUTCOMES, entry(outcome(progress))))
        assert len(every(done, "Observation")) == 1
    codings = one(done, "Goal")["achievementStatus"]["coding"]
    assert [each["code"] for each in codings] == [status, code]
    assert one(done, "Goal")["lifecycleStatus"] == "active"  # only the goal itself says whether it is pursued still


def outcome(more: str = "", attributes: str = "") -> str:
    head = '<templateId root="2.16.840.1.113883.10.20.22.4.144"/>'
    said = f'{head}{SATURATION}<statusCode code="completed"/><value xsi:type="PQ" value="95" unit="%"/>'
    return observation(said + pointing("g1", "GEVL") + more, attributes=attributes, number="o1")


@pytest.mark.parametrize("order", [1, -1], ids=["goals first", "outcomes first"])
def test_an_outcome_is_evidence_of_its_goal_in_any_order_of_sections(order: int) -> None:
    sections = ((GOALS, entry(goal())), (OUTCOMES, entry(outcome())))
    done = of_sections(*sections[::order])
    observed = one(done, "Observation")
    assert one(done, "Goal")["outcomeReference"] == [{"reference": f"Observation/{observed['id']}"}]
    assert "derivedFrom" not in observed


def test_a_denied_outcome_is_refused() -> None:
    done = of_sections((GOALS, entry(goal())), (OUTCOMES, entry(outcome(attributes='negationInd="true"'))))
    assert every(done, "Observation") == []
    assert "outcomeReference" not in one(done, "Goal")


def test_a_goal_addresses_what_the_concern_holds() -> None:
    done = of_sections((PROBLEMS, concern()), (GOALS, entry(goal(SATURATION + ACTIVE + pointing("c1")))))
    assert one(done, "Goal")["addresses"] == [{"reference": f"Condition/{one(done, 'Condition')['id']}"}]


def test_what_the_document_does_not_hold_stays_a_number() -> None:
    found = one(goals(goal(SATURATION + ACTIVE + pointing("elsewhere"))), "Goal")
    assert found["addresses"] == [{"identifier": {"system": "urn:oid:2.999.9", "value": "elsewhere"}}]


def test_a_number_that_several_goals_share_names_none_of_them() -> None:
    other = goal('<code code="2" codeSystem="2.999.8"/>' + ACTIVE)
    sections = ((GOALS, entry(goal(), other)), (OUTCOMES, entry(outcome())))
    for order in (1, -1):
        done = of_sections(*sections[::order])
        assert len(every(done, "Goal")) == 2
        assert all("outcomeReference" not in each for each in every(done, "Goal"))


@pytest.mark.parametrize("order", [1, -1], ids=["goals first", "outcomes first"])
def test_an_outcome_of_a_goal_is_none_of_its_steps(order: int) -> None:
    step = related(goal('<code nullFlavor="UNK"/><text>One flight</text>', number="g2"), "COMP")
    whole = goal(SATURATION + ACTIVE + step + pointing("elsewhere"))
    done = of_sections(*((GOALS, entry(whole)), (OUTCOMES, entry(outcome())))[::order])
    assert ["extension" in each for each in every(done, "Goal") if "outcomeReference" in each] == [True]


def test_a_goal_that_is_listed_twice_is_still_one() -> None:
    done = of_sections((GOALS, entry(goal())), (OUTCOMES, entry(outcome())), (PLAN, entry(goal())))
    assert len(one(done, "Goal")["outcomeReference"]) == 1


def test_a_number_that_a_goal_shares_with_another_kind_of_thing_is_the_goals() -> None:
    done = of_sections((GOALS, entry(goal())), (OUTCOMES, entry(outcome(), statement("act", SATURATION, number="g1"))))
    assert len(every(done, "ServiceRequest")) == len(one(done, "Goal")["outcomeReference"]) == 1


def test_a_goal_points_at_no_other_kind_of_thing_and_never_at_itself() -> None:
    other = goal('<code code="2" codeSystem="2.999.8"/>' + ACTIVE, number="g9")
    for number in ("g9", "g1"):
        done = goals(goal(SATURATION + ACTIVE + pointing(number)), other)
        assert all("addresses" not in each for each in every(done, "Goal"))


def test_the_first_of_several_preferences_is_the_priority_and_none_is_a_problem() -> None:
    preference = """<entryRelationship typeCode="RSON"><observation classCode="OBS" moodCode="EVN">
      <templateId root="2.16.840.1.113883.10.20.22.4.143"/><code code="225773000" codeSystem="2.16.840.1.113883.6.96"/>
      <value xsi:type="CD" code="{}" codeSystem="2.16.840.1.113883.6.96"/></observation></entryRelationship>"""
    done = goals(goal(SATURATION + ACTIVE + preference.format("394849002") + preference.format("441808003")))
    assert one(done, "Goal")["priority"]["coding"][0]["code"] == "high-priority"
    assert "addresses" not in one(done, "Goal")
    assert every(done, "Condition") == []


def test_what_is_aimed_at_may_be_unsaid_where_how_much_is_known() -> None:
    """gol-1: a target that says how much says of what, or why not."""
    unsaid = '<code nullFlavor="UNK"><qualifier/></code><value xsi:type="PQ" value="5" unit="kg"/>'
    (target,) = one(goals(goal(unsaid + ACTIVE)), "Goal")["target"]
    assert target["detailQuantity"]["value"] == 5
    assert target["measure"]["extension"][0]["valueCode"] == "unknown"


def test_several_values_are_targets_of_the_same() -> None:
    values = '<value xsi:type="PQ" value="5" unit="kg"/><value xsi:type="PQ" value="4" unit="kg"/>'
    first, second = one(goals(goal(SATURATION + ACTIVE + values)), "Goal")["target"]
    assert [first["detailQuantity"]["value"], second["detailQuantity"]["value"]] == [5, 4]
    assert first["measure"] == second["measure"]
