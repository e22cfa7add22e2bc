"""The comparison with another converter's Bundle: what counts as carried over, found, moved, lost, contradicted.

Only the last tests read the corpus. Source: design chapter HL7 v2 §16; the corpus's README.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.mappings.hl7v2.messages import MR, ROOT, default, header, message
from tools import facts
from tools.facts import Comparison, Fact, Waiver, compare_one

CORPUS = Path(os.environ.get("CHARTBRIDGE_CORPUS", ROOT.parent / "shared/corpus")) / "hl7v2"
PATIENT = message(
    header(), f"PID|1||4711{MR}||Demo^Dora||20250304|F|||Ring 1^^Wien", "PV1|1|I|||||||||||||||||900" + MR
)

needs_expected = pytest.mark.skipif(not (CORPUS / "expected").is_dir(), reason="no corpus: set CHARTBRIDGE_CORPUS")


def waiver(kind: str, path: str, field: str = "", ours: str = "") -> Waiver:
    return Waiver(kind, "Patient", path, "", field, ours, "because", "FHIR R4")


def compared(*waivers: Waiver, **elements: Any) -> Comparison:
    done = Comparison()
    body = {"resourceType": "Patient", "id": "x", "identifier": [{"value": "4711"}], **elements}
    compare_one("sample", PATIENT, [body], default(), waivers, done)
    return done


def test_a_fact_in_its_place_is_present_and_ids_do_not_count() -> None:
    done = compared(name=[{"family": "Demo", "given": ["Dora"]}])
    assert (done.carried, done.present, done.recall) == (3, 3, 1.0)


def test_a_fact_at_another_place_is_lost_until_a_line_says_where_it_is() -> None:
    elsewhere = {"contact": [{"name": {"family": "Demo"}}]}
    done = compared(**elsewhere)
    assert done.lost == {("Patient", "contact.name.family"): {"sample": 1}}
    assert done.fields == {"PID-5": 1}
    assert compared(waiver("moved", "contact.*", ours="Patient.name.family"), **elsewhere).moved == 1
    assert compared(waiver("moved", "contact.*", ours="{type}.{rest}"), **elsewhere).moved == 1
    assert compared(waiver("moved", "contact.*", ours="Patient.address.city"), **elsewhere).moved == 0


def test_a_waiver_for_a_field_holds_for_that_field_only() -> None:
    elsewhere = {"contact": [{"name": {"family": "Demo"}}]}
    assert compared(waiver("lost", "contact.*", field="PID-5"), **elsewhere).waived == 1
    assert compared(waiver("lost", "contact.*", field="NK1-2"), **elsewhere).waived == 0
    assert compared(waiver("lost", "contact.*", field="NK1-2 PID-5"), **elsewhere).waived == 1


def test_a_waiver_for_what_a_field_says_holds_for_messages_that_say_so() -> None:
    elsewhere = {"contact": [{"name": {"family": "Demo"}}]}
    assert compared(waiver("lost", "contact.*", field="PV1-2=I"), **elsewhere).waived == 1
    assert compared(waiver("lost", "contact.*", field="PV1-2=P"), **elsewhere).waived == 0


def test_a_date_stands_in_the_field_that_holds_its_day() -> None:
    deceased = {"deceasedDateTime": "2025-03-04T23:30:00-05:00"}
    assert compared(waiver("lost", "deceased*", field="PID-7"), **deceased).waived == 1
    assert compared(waiver("lost", "deceased*", field="PV1-44"), **deceased).waived == 0


def test_what_a_table_or_a_converter_makes_up_is_not_carried_over() -> None:
    done = compared(
        gender="female", identifier=[{"value": "4711", "system": "http://example.com/v2-to-fhir-converter/x"}]
    )
    assert done.carried == 1


def test_another_value_where_one_is_held_is_a_contradiction() -> None:
    assert compared(gender="male").contradictions == 1
    assert compared(gender="female").contradictions == 0
    assert compared(waiver("contradiction", "gender", ours="female other"), gender="male").waived_against == 1
    assert compared(waiver("contradiction", "gender", ours="unknown"), gender="male").contradictions == 1


def test_times_of_one_day_agree_whatever_their_offset() -> None:
    assert compared(birthDate="2025-03-04").lost == {}
    one, other = Fact("Observation", "issued", "2025-03-04T08:00:00Z"), Fact("Observation", "issued", "2025-03-04")
    assert facts._same_day(one, [other])
    assert not facts._same_day(one, [Fact("Observation", "issued", "2025-03-09")])


def test_contained_resources_and_lines_of_notes_are_facts_of_their_own() -> None:
    body = {"resourceType": "Patient", "contained": [{"resourceType": "Practitioner", "name": [{"family": "Weiss"}]}]}
    kinds = {fact.type for part in facts.apart(body) for fact in facts.facts(part)}
    assert kinds == {"Practitioner"}
    note = {"resourceType": "Observation", "note": [{"text": "first\nsecond"}]}
    assert {fact.value for fact in facts.facts(note)} == {"first second", "first", "second"}


def test_every_waiver_has_its_reason_and_its_source() -> None:
    for each in facts.waivers():
        assert each.kind in ("moved", "lost", "contradiction"), each
        assert each.reason, each
        assert each.source, each
        assert bool(each.ours) == (each.kind != "lost"), each
        assert "design" not in each.source, each


@pytest.mark.corpus
@needs_expected
def test_what_another_converter_carries_over_is_there_and_nothing_contradicts() -> None:
    done = facts.compare(CORPUS, default())
    assert done.recall >= 0.95
    assert done.contradictions == 0


@pytest.mark.corpus
@needs_expected
def test_no_waiver_is_idle() -> None:
    done = facts.compare(CORPUS, default())
    assert [each for each in facts.waivers() if each not in done.used] == []
