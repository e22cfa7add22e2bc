"""Lengths of time added to FHIR dates and times, as both formats need them; their lexemes: `hl7v2/test_time.py`."""

from decimal import Decimal

import pytest

from mappings.fhir.primitives import PRIMITIVES
from mappings.moments import shifted


@pytest.mark.parametrize(
    ("moment", "number", "unit", "inside", "expected"),
    [
        ("2024-05-01", "5", "d", False, "2024-05-06"),
        ("2024-05-01", "5", "d", True, "2024-05-05"),
        ("2024-05-05", "-5", "d", True, "2024-05-01"),
        ("2024-05-01", "2", "wk", True, "2024-05-14"),
        ("2024-01-31", "1", "mo", False, "2024-02-29"),
        ("2023-02-28", "-12", "mo", False, "2022-02-28"),
        ("2024-02-29", "1", "a", False, "2025-02-28"),
        ("2024-05", "3", "mo", False, "2024-08"),
        ("2024-05", "3", "mo", True, "2024-08"),
        ("2024", "2", "a", False, "2026"),
        ("2024-05-01T23:30:00+02:00", "90", "min", True, "2024-05-02T01:00:00+02:00"),
        ("2024-05-01T10:00:00-05:00", "1.5", "s", False, "2024-05-01T10:00:01.500000-05:00"),
        ("2024-05-31T10:00:00Z", "1", "mo", False, "2024-06-30T10:00:00Z"),
        # not exact enough to be moved so little
        ("2024-05-01", "3", "h", False, None),
        ("2024-05-01", "1.5", "d", False, None),
        ("2024-05", "3", "d", False, None),
        ("2024", "3", "mo", False, None),
        ("2024-05-01", "1.5", "mo", False, None),
        # no length of time, or none that anyone means
        ("2024-05-01", "3", "mg", False, None),
        ("2024-05-01", "3", "", False, None),
        ("2024-05-01", "101", "a", False, None),
        ("2024-05-01", "1E+30", "d", False, None),
        ("9999-12-31", "1", "d", False, None),
        ("0001-01-01", "-1", "d", False, None),
        ("9999-12", "1", "mo", False, None),
        ("0001", "-1", "a", False, None),
        ("9999-12-31T23:59:59Z", "1", "s", False, None),
    ],
)
def test_a_time_is_moved_as_exactly_as_it_is_known(
    moment: str, number: str, unit: str, inside: bool, expected: str | None
) -> None:
    found = shifted(moment, Decimal(number), unit, inside=inside)
    assert found == expected
    assert found is None or PRIMITIVES["dateTime"](found)
