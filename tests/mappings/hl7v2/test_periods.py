"""Periods that end before they begin: the start stands, the end's text is kept, and an issue says so (per-1)."""

import pytest

from mappings.fhir.invariants import broken
from mappings.fhir.values import SOURCE_LEXEME
from mappings.hl7v2.periods import reversed_
from tests.mappings.hl7v2.messages import MR, adt, obr, obx, one, oru, segment


def said(text: str) -> dict[str, object]:
    return {"extension": [{"url": SOURCE_LEXEME, "valueString": text}]}


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2025-03-04", "2025-03-03", True),
        ("2025-03-04", "2025-03-04", False),
        ("2025-03-04T08:00:00+01:00", "2025-03-04T07:59:59+01:00", True),
        ("2025-03-04T08:00:00+01:00", "2025-03-04T07:30:00Z", False),
        ("2025-03-04T08:00:00+01:00", "2025-03-04", False),
        ("2025-03-04T08:00:00+01:00", "2025-03-02", True),
        ("2025-03-04", "2025", False),
        ("2025-03-04T08:00:00.5Z", "2025-03-04T08:00:00Z", True),
    ],
)
def test_one_time_lies_before_another_beyond_doubt(start: str, end: str, expected: bool) -> None:
    assert reversed_(start, end) is expected


def test_a_stay_that_ends_before_it_begins_keeps_its_start_and_the_text_of_its_end() -> None:
    stay = segment(
        "PV1", f2="I", f19="V1^^^HOSP&2.999.1.6&ISO^VN", f44="20250304100000+0100", f45="20250304095900+0100"
    )
    done = adt("A03", stay)
    found = one(done, "Encounter")
    assert found["period"] == {"start": "2025-03-04T10:00:00+01:00", "_end": said("2025-03-04T09:59:00+01:00")}
    assert broken(found) == ()
    assert [str(issue.place) for issue in done.issues if issue.code == "contradiction"] == ["PV1"]


def test_an_identifier_that_ends_before_it_begins_says_so_at_its_field() -> None:
    done = adt("A08", segment("NK1", f1="1"), number="1")
    assert "contradiction" not in {issue.code for issue in done.issues}
    done = oru(segment("PV1", f2="I", f19="V1^^^HOSP&2.999.1.6&ISO^VN^^20250304^20250303"), obr(), obx())
    found = one(done, "Encounter")
    assert found["identifier"][0]["period"] == {"start": "2025-03-04", "_end": said("20250303")}
    assert "PV1-19" in [str(issue.place).partition(".")[0] for issue in done.issues if issue.code == "contradiction"]


def test_periods_within_elements_are_seen_too() -> None:
    contact = segment("NK1", f1="1", f2="Demo^Luis", f3="SPO", f8="20250304", f9="20250301")
    done = adt("A08", contact)
    for resource in done.resources:
        assert broken(resource.body) == ()
    assert MR  # the patient of `adt` is the one who has the contact
    contacts = one(done, "Patient").get("contact", ())
    assert all("end" not in each.get("period", {}) for each in contacts)
