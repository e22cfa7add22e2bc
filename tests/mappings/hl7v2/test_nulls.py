"""Nulls in fields that fill one list together, and in place of one repetition: HL7 v2.9 §2.5.3."""

import pytest

from mappings.convert import Conversion
from mappings.merge import KEYED
from mappings.rows.compiler import _KEPT_BY_KEY
from tests.mappings.hl7v2.messages import MR, adt, convert, header, mapped

PID = f"PID|1||4711{MR}||"


def told(conversion: Conversion) -> list[tuple[str, str]]:
    return [(str(each.place), each.row) for each in conversion.issues if each.code == "null-not-applied"]


@pytest.mark.parametrize("fields", ['""', '||||""', '""||||""'])
def test_a_null_clears_a_list_that_the_other_field_leaves_alone(fields: str) -> None:
    """PID-5 and PID-9 are both names."""
    found = convert(header("ADT^A08"), PID + fields)
    assert mapped(found, "Patient").clear == ("name",)
    assert told(found) == []


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ('""||||Doe^J', [("PID-5", "PID.Patient:5")]),
        ('Doe^J||||""', [("PID-9", "PID.Patient:9")]),
        ('Doe^J~""', [("PID-5[2]", "PID.Patient:5")]),
        ('""~Doe^J', [("PID-5", "PID.Patient:5")]),
    ],
)
def test_a_null_that_deletes_nothing_is_told_at_its_own_place(fields: str, places: list[tuple[str, str]]) -> None:
    found = convert(header("ADT^A08"), PID + fields)
    assert told(found) == places
    assert mapped(found, "Patient").clear == ()
    assert len(mapped(found, "Patient").body["name"]) == 1
    traced = convert(header("ADT^A08"), PID + fields, trace=True)
    assert told(traced) == places


def test_a_null_of_one_phone_is_no_null_of_the_other() -> None:
    found = convert(header("ADT^A08"), PID + '||||||||""')
    assert mapped(found, "Patient").clear == ("telecom[use=home]",)
    assert told(found) == []


def test_numbers_belong_to_every_feed() -> None:
    found = convert(header("ADT^A08"), f'PID|1|""|4711{MR}')
    assert mapped(found, "Patient").clear == ()
    assert told(found) == [("PID-2", "PID.Patient:2")]


def test_a_null_in_a_slot_has_its_repetition() -> None:
    found = adt("A08", 'PV1|1|I|||||2001^Roth~""')
    assert ("PV1-7[2]", "PV1.Encounter:7a") in told(found)


def test_what_merge_keeps_by_key_is_what_no_null_empties() -> None:
    assert {name.rpartition(".")[2] for name in KEYED} == _KEPT_BY_KEY
