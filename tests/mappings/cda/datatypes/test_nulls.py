"""Null flavors: HL7 v3 datatypes R1, NullFlavor; FHIR R4 data-absent-reason."""

import csv
from pathlib import Path
from typing import Any

import pytest

from mappings.cda.datatypes import nulls
from tests.mappings.cda.contexts import NULL_FLAVORS, SAY_MORE, codes, context, element, on, read, why

REASONS = {
    "UNK": "unknown", "NI": "unknown", "NP": "unknown", "ASKU": "asked-unknown", "NASK": "not-asked",
    "NAV": "temp-unknown", "NA": "not-applicable", "MSK": "masked", "OTH": "unsupported", "TRC": "unsupported",
    "QS": "unsupported", "DER": "unsupported", "NINF": "negative-infinity", "PINF": "positive-infinity",
}  # fmt: skip


def test_every_flavor_has_a_row_with_a_source_and_a_reason_that_r4_has() -> None:
    with Path(nulls.__file__).with_name("null_flavors.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["flavor"] for row in rows) == sorted(NULL_FLAVORS)
    assert {row["reason"] for row in rows} <= set(REASONS.values())
    assert all(row["source"] for row in rows)


@pytest.mark.parametrize(("flavor", "reason"), REASONS.items())
def test_a_flavor_is_a_reason(flavor: str, reason: str) -> None:
    ctx = context(f'<value nullFlavor="{flavor}"/>')
    assert nulls.absent_reason(element(ctx), ctx) == reason
    assert nulls.absent_reason(flavor, ctx) == reason
    assert codes(ctx) == []


@pytest.mark.parametrize("flavor", NULL_FLAVORS)
def test_only_some_flavors_say_more_than_nothing_here(flavor: str) -> None:
    ctx = context(f'<value nullFlavor="{flavor}"/>')
    expected = why(SAY_MORE[flavor]) if flavor in SAY_MORE else None
    assert nulls.absence(element(ctx), ctx) == expected
    assert nulls.absent_primitive(element(ctx), ctx) == ((None, expected) if expected else None)


@pytest.mark.parametrize(("flavor", "told"), [("UNK", True), ("NI", False), ("NP", False), ("NA", True)])
def test_an_end_that_is_unknown_is_a_fact(flavor: str, told: bool) -> None:
    ctx = context(f'<high nullFlavor="{flavor}"/>')
    assert (nulls.says_more(element(ctx), ctx, end=True) is not None) is told


@pytest.mark.parametrize("written", ["20240101", "unknown", "", " ", "&quot;{", "x" * 5000, "\u202e"])
def test_what_is_no_flavor_counts_as_unknown_and_is_told(written: str) -> None:
    ctx = context(f'<value nullFlavor="{written}"/>')
    assert nulls.absent_reason(element(ctx), ctx) == "unknown"
    assert nulls.absence(element(ctx), ctx) is None
    assert set(codes(ctx)) == {"bad-null-flavor"}


@pytest.mark.parametrize("written", ["unk", " UNK ", "Msk"])
def test_a_flavor_in_other_letters_is_one(written: str) -> None:
    ctx = context(f'<value nullFlavor="{written}"/>')
    assert nulls.absent_reason(element(ctx), ctx) in ("unknown", "masked")
    assert codes(ctx) == []


def test_without_a_flavor_there_is_no_reason() -> None:
    ctx = context("<value/>")
    assert nulls.absent_reason(element(ctx), ctx) is None
    assert nulls.absence(element(ctx), ctx) is None


@pytest.mark.parametrize(
    ("name", "fragment", "expected"),
    [
        ("NF[code]", '<v nullFlavor="ASKU"/>', "asked-unknown"),
        ("NF[code]", "<v/>", None),
        (
            "NF[CodeableConcept]",
            '<v nullFlavor="UNK"/>',
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "unknown"}]},
        ),
        ("NF[CodeableConcept]", "<v/>", None),
    ],
)
def test_rows_may_ask_for_the_reason_itself(name: str, fragment: str, expected: Any) -> None:
    assert read(name, fragment).value == expected


def test_the_reason_of_an_attribute() -> None:
    assert on("NF[code]", "MSK", context()).value == "masked"
