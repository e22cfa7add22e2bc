"""Social facts, pregnancies: each goes to its place.

Source: C-CDA R1.1 to R5, social history; C-CDA on FHIR, social history; IPS 2.0 and eHDSI, history of pregnancies.
"""

import pytest

from mappings.convert import Conversion
from mappings.merge import settle
from tests.mappings.cda.converted import Json, codes, every, of_sections, one, outcomes
from tests.mappings.cda.documents import LEAST
from tests.mappings.cda.observations import (
    ASSERTION,
    PREGNANCIES,
    SNOMED,
    SOCIAL,
    code,
    entry,
    observation,
    related,
    template,
)

STATUS_1, STATUS_3 = "2.16.840.1.113883.10.20.22.4.78", "2.16.840.1.113883.10.20.22.4.511"
TOBACCO, PREGNANCY = "2.16.840.1.113883.10.20.22.4.85", "2.16.840.1.113883.10.20.15.3.8"
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
FHIR = "http://hl7.org/fhir/StructureDefinition/"


def coded(value: str, system: str = SNOMED) -> str:
    return f'<value xsi:type="CD" code="{value}" {system}/>'


def of(statement: str, section: str = SOCIAL) -> Conversion:
    return of_sections((section, entry(statement)))


def answer(body: Json) -> str:
    found: str = body["valueCodeableConcept"]["coding"][0]["code"]
    return found


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (template(STATUS_1) + ASSERTION, "72166-2"),
        (template(STATUS_1) + code("72166-2"), "72166-2"),
        (template(STATUS_3) + code("72166-2"), "72166-2"),
        (template(STATUS_3) + code("11367-0"), "11367-0"),
        (template(TOBACCO) + ASSERTION, "11367-0"),
        (template(TOBACCO) + code("11367-0"), "11367-0"),
    ],
)
def test_social_facts_go_to_their_place(asked: str, expected: str) -> None:
    """Smoking in its three versions: asserted or asked it is one question and its answer."""
    found = one(of(observation(asked, coded("8517006"))), "Observation")
    assert found["code"]["coding"][0]["code"] == expected
    assert answer(found) == "8517006"
    assert "valueBoolean" not in found
    assert found["category"][0]["coding"][0]["code"] == "social-history"


def test_a_denied_smoker_is_no_smoker() -> None:
    """The assertion of a finding that is not so; the question of the status has another answer, which nobody gave."""
    done = of(observation(template(STATUS_1) + ASSERTION, coded("77176002"), own='negationInd="true"'))
    found = one(done, "Observation")
    assert (found["code"]["coding"][0]["code"], found["valueBoolean"]) == ("77176002", False)


def test_tobacco_use_keeps_its_period() -> None:
    period = '<effectiveTime><low value="2009"/><high value="2024"/></effectiveTime>'
    found = one(of(observation(code("11367-0"), coded("160604004"), time="", more=period)), "Observation")
    assert found["effectivePeriod"] == {"start": "2009", "end": "2024"}


def test_occupation_and_industry_are_two_observations() -> None:
    industry = observation(template("2.16.840.1.113883.10.20.22.4.504") + code("86188-0"), coded("811111"))
    done = of(observation(code("11341-5"), coded("51-9191"), more=related(industry, "REFR")))
    found = {each["code"]["coding"][0]["code"]: each for each in every(done, "Observation")}
    assert set(found) == {"11341-5", "86188-0"}
    assert all(each["category"][0]["coding"][0]["code"] == "social-history" for each in found.values())


# who she is -----------------------------------------------------------------------------------------------------------


def extension(done: Conversion, url: str) -> list[Json]:
    return [each for each in one(done, "Patient").get("extension", ()) if each["url"] == url]


@pytest.mark.parametrize(
    ("asked", "said", "url", "expected"),
    [
        ("76689-9", coded("F", 'codeSystem="2.16.840.1.113883.5.1"'), US_CORE + "birthsex", {"valueCode": "F"}),
        ("76689-9", coded("248152002"), US_CORE + "birthsex", {"valueCode": "F"}),
        ("76689-9", '<value xsi:type="CD" nullFlavor="UNK"/>', US_CORE + "birthsex", {"valueCode": "UNK"}),
        (
            "46098-0",
            coded("248152002"),
            US_CORE + "individual-sex",
            {"valueCoding": {"system": "http://snomed.info/sct", "code": "248152002"}},
        ),
        (
            "54588-9",
            coded("373067005"),
            US_CORE + "interpreter-needed",
            {"valueCoding": {"system": "http://snomed.info/sct", "code": "373067005"}},
        ),
    ],
)
def test_who_the_patient_is_stands_with_the_patient(asked: str, said: str, url: str, expected: Json) -> None:
    done = of(observation(code(asked), said))
    assert extension(done, url) == [{"url": url, **expected}]
    assert every(done, "Observation") == []
    assert outcomes(done) == [("observation", "mapped")]


@pytest.mark.parametrize(
    ("asked", "url", "inner"),
    [
        ("76691-5", FHIR + "individual-genderIdentity", "value"),
        ("90778-2", FHIR + "individual-pronouns", "value"),
        ("95370-3", US_CORE + "tribal-affiliation", "tribalAffiliation"),
    ],
)
def test_what_has_parts_keeps_them(asked: str, url: str, inner: str) -> None:
    period = '<effectiveTime><low value="2008"/></effectiveTime>'
    (found,) = extension(of(observation(code(asked), coded("68"), time="", more=period)), url)
    parts = {each["url"]: each for each in found["extension"]}
    assert parts[inner]["valueCodeableConcept"]["coding"][0]["code"] == "68"
    if inner == "value":
        assert parts["period"]["valuePeriod"] == {"start": "2008"}


def test_a_known_patient_has_what_was_said_of_her_and_keeps_what_she_is_called() -> None:
    """The document follows: name, numbers and race are another feed's, her sex at birth is a statement."""
    race = '<raceCode code="2106-3" codeSystem="2.16.840.1.113883.6.238"/>'
    header = LEAST["recordTarget"].replace("<birthTime", f"{race}<birthTime")
    sex = observation(code("76689-9"), '<value xsi:type="CD" code="F" codeSystem="2.16.840.1.113883.5.1"/>')
    done = of_sections((SOCIAL, f"<entry>{sex}</entry>"), recordTarget=header)
    (mapped,) = (each for each in done.resources if each.body["resourceType"] == "Patient")
    named = {"resourceType": "Patient", "id": mapped.body["id"], "name": [{"family": "Known"}], "gender": "male"}
    stored = {**named, "extension": [{"url": US_CORE + "race", "extension": [{"url": "text", "valueString": "x"}]}]}
    found = settle(stored, mapped, {}).body
    assert found is not None
    assert {name: found[name] for name in named} == named
    assert found["extension"][0] == stored["extension"][0]
    assert [each["valueCode"] for each in found["extension"][1:]] == ["F"]
    assert "identifier" in found, "what nobody had said is taken"
    fresh = settle(None, mapped, {}).body
    assert fresh == mapped.body
    plain = of_sections((SOCIAL, ""), recordTarget=header)
    assert [each.mode for each in plain.resources if each.body["resourceType"] == "Patient"] == ["stub"]


def test_what_was_asked_and_not_told_is_a_fact() -> None:
    done = of(observation(code("76691-5"), '<value xsi:type="CD" nullFlavor="ASKU"/>', time=""))
    (found,) = extension(done, FHIR + "individual-genderIdentity")
    assert found["extension"][0]["valueCodeableConcept"]["coding"][0]["code"] == "asked-unknown"


def test_said_twice_it_stays_one_and_said_otherwise_it_is_two() -> None:
    female, other = (
        observation(code("76691-5"), coded("446141000124107")),
        observation(code("76691-5"), coded("33791000087105")),
    )
    done = of_sections((SOCIAL, entry(female) + entry(female) + entry(other)))
    assert len(extension(done, FHIR + "individual-genderIdentity")) == 2


def test_a_denied_fact_of_the_person_is_refused() -> None:
    done = of(observation(code("76689-9"), coded("F", 'codeSystem="2.16.840.1.113883.5.1"'), own='negationInd="true"'))
    assert "extension" not in one(done, "Patient")
    assert "unsupported-statement" in codes(done)


def test_orientation_has_no_extension_and_stays_an_observation() -> None:
    done = of(observation(code("76690-7"), coded("20430005")))
    assert answer(one(done, "Observation")) == "20430005"
    assert "extension" not in one(done, "Patient")


# pregnancies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("section", [SOCIAL, PREGNANCIES, "99999-9"])
@pytest.mark.parametrize(
    ("asked", "said", "own", "expected"),
    [
        (template(PREGNANCY) + ASSERTION, coded("77386006"), "", "77386006"),
        (ASSERTION, coded("77386006"), "", "77386006"),
        (code("82810-3"), coded("77386006"), "", "77386006"),
        (code("82810-3"), coded("60001007"), "", "60001007"),
        (template(PREGNANCY) + ASSERTION, coded("77386006"), 'negationInd="true"', "60001007"),
        (template(PREGNANCY) + ASSERTION, coded("77386006"), 'nullFlavor="UNK"', "UNK"),
        (code("82810-3"), '<value xsi:type="CD" nullFlavor="UNK"/>', "", "UNK"),
    ],
)
def test_whether_she_is_pregnant_is_one_question(asked: str, said: str, own: str, expected: str, section: str) -> None:
    found = one(of(observation(asked, said, own=own), section), "Observation")
    assert found["code"]["coding"][0]["code"] == "82810-3"
    assert answer(found) == expected
    assert "valueBoolean" not in found
    assert "dataAbsentReason" not in found


def test_only_unknown_is_an_answer_other_flavors_are_reasons() -> None:
    found = one(of(observation(code("82810-3"), '<value xsi:type="CD" nullFlavor="ASKU"/>')), "Observation")
    assert found["dataAbsentReason"]["coding"][0]["code"] == "asked-unknown"
    assert "valueCodeableConcept" not in found


def test_a_denied_answer_about_a_pregnancy_is_refused() -> None:
    done = of(observation(code("82810-3"), coded("77386006"), own='negationInd="true"'))
    assert every(done, "Observation") == []


def test_the_expected_date_of_delivery_is_part_of_the_pregnancy() -> None:
    due = observation(code("11778-8"), '<value xsi:type="TS" value="20261011"/>')
    done = of(observation(template(PREGNANCY) + ASSERTION, coded("77386006"), more=related(due, "REFR")))
    (component,) = one(done, "Observation")["component"]
    assert component["code"]["coding"][0]["code"] == "11778-8"
    assert component["valueDateTime"] == "2026-10-11"
    assert [said for _, said in outcomes(done)] == ["mapped", "mapped"]


def test_a_date_of_delivery_that_stands_alone_is_an_observation() -> None:
    done = of(observation(code("11778-8"), '<value xsi:type="TS" value="20261011"/>'), PREGNANCIES)
    assert one(done, "Observation")["valueDateTime"] == "2026-10-11"


def test_the_wish_for_a_pregnancy_is_an_observation_though_its_mood_is_a_plans() -> None:
    wish = observation(code("86645-9"), coded("454401000124105")).replace('moodCode="EVN"', 'moodCode="INT"')
    assert answer(one(of(wish), "Observation")) == "454401000124105"
