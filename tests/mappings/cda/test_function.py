"""Functional, mental and nutritional status: Observations, scales with their members, problems as Conditions.

Source: C-CDA R1.1 to R5, functional and mental status; eHDSI functional status.
"""

import pytest

from mappings.convert import Conversion
from tests.mappings.cda.converted import every, of_sections, one
from tests.mappings.cda.observations import FUNCTION, SNOMED, code, entry, observation, organizer, related, template

DYSPNEA = f'<value xsi:type="CD" code="267036007" {SNOMED}/>'


def of(statement: str, section: str = FUNCTION) -> Conversion:
    return of_sections((section, entry(statement)))


@pytest.mark.parametrize("section", [FUNCTION, "10190-7", "61144-2"])
def test_the_section_gives_the_category(section: str) -> None:
    found = one(of(observation(code("54522-8"), DYSPNEA), section), "Observation")
    assert [each["coding"][0]["code"] for each in found["category"]] == ["survey"]


@pytest.mark.parametrize(
    "root",
    [
        "2.16.840.1.113883.10.20.22.4.68",  # functional status problem
        "2.16.840.1.113883.10.20.22.4.73",  # cognitive status problem
        "1.3.6.1.4.1.12559.11.10.1.3.1.3.7",  # eHDSI problem
    ],
)
def test_what_its_template_calls_a_problem_is_a_condition(root: str) -> None:
    done = of(observation(template(root) + code("404684003", SNOMED), DYSPNEA))
    assert one(done, "Condition")["code"]["coding"][0]["code"] == "267036007"
    assert every(done, "Observation") == []


def test_a_denied_problem_is_refuted() -> None:
    root = template("2.16.840.1.113883.10.20.22.4.68")
    done = of(observation(root + code("404684003", SNOMED), DYSPNEA, own='negationInd="true"'))
    assert one(done, "Condition")["verificationStatus"]["coding"][0]["code"] == "refuted"


def test_a_problem_of_a_relative_is_not_the_patients() -> None:
    mother = '<subject><relatedSubject classCode="PRS"><code code="MTH"/></relatedSubject></subject>'
    root = template("2.16.840.1.113883.10.20.22.4.68")
    done = of(observation(root + code("404684003", SNOMED), DYSPNEA, more=mother))
    assert every(done, "Condition") == every(done, "Observation") == []


def test_a_scale_holds_its_questions_and_an_organizer_its_scales() -> None:
    question = observation(code("44250-9"), '<value xsi:type="INT" value="1"/>', time="")
    scale = observation(code("44249-1"), '<value xsi:type="INT" value="12"/>', more=related(question))
    done = of(organizer(scale, coded=code("75275-8")), "10190-7")
    inner, outer, group = every(done, "Observation")
    assert outer["hasMember"] == [{"reference": f"Observation/{inner['id']}"}]
    assert group["hasMember"] == [{"reference": f"Observation/{outer['id']}"}]
    assert every(done, "DiagnosticReport") == []


def test_an_organizer_without_a_code_is_what_its_section_is() -> None:
    done = of(organizer(observation(code("44250-9"), DYSPNEA)), "10190-7")
    assert every(done, "Observation")[-1]["code"]["coding"][0]["code"] == "10190-7"
