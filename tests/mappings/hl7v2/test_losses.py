"""What one element cannot hold is named, and what is taken back is no result and no participant.

Source: design chapter HL7 v2 §8 (action codes), architecture promise 2.
"""

import pytest

from tests.mappings.hl7v2.messages import adt, convert, header, obr, obx, one, oru


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("AL1|1|DA|7980^Penicillin G^RXNORM~2^Latex^99LAB|||2010", "AL1-3[2]"),
        ("PV1|1|I|MED|||||||MED~SUR|||||||||V1", "PV1-10[2]"),
        ("DG1|1||R07.4^^I10~I20.9^^I10", "DG1-3[2]"),
    ],
)
def test_a_repetition_that_no_element_holds_is_named(line: str, place: str) -> None:
    issues = adt("A01", line).issues
    assert ("repetition-unread", place) in {(issue.code, str(issue.place)) for issue in issues}


def test_repetitions_that_fill_a_list_are_not_named() -> None:
    found = adt("A01", "NK1|1|Demo^Karl~Demo^Carl|SPO|||||||||||||||||||||||||||1^^^HOSP^MR~2^^^HOSP^PI").issues
    assert not [issue.code for issue in found if issue.code == "repetition-unread"]


def test_repetitions_that_make_an_extension_each_are_not_named() -> None:
    pid = f"PID|1||4711^^^HOSP^MR||Demo^Ana{'|' * 21}AUT~DEU"
    conversion = convert(header("ADT^A08"), pid)
    assert not [issue.code for issue in conversion.issues if issue.code == "repetition-unread"]
    assert len(one(conversion, "Patient")["extension"]) == 2


def test_a_line_that_is_taken_back_is_no_result() -> None:
    assert one(oru(obr(), obx(f31="D")), "Observation")["status"] == "entered-in-error"


@pytest.mark.parametrize(("action", "people"), [("AD", 1), ("UC", 0), ("DE", 0)])
def test_a_role_that_is_taken_back_adds_nobody(action: str, people: int) -> None:
    visit = "PV1|1|I|MED||||||||||||||||V1"
    encounter = one(adt("A01", visit, f"ROL||{action}|AT|7^Kaya^Leyla"), "Encounter")
    assert len(encounter.get("participant", [])) == people
