"""Instants as `_since` takes them: FHIR's form and no other. FHIR R4 §2.24.0.1 (instant)."""

from datetime import UTC, datetime

import pytest

from adapter.api.parameters import instant
from adapter.errors import BadRequest


def ms(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-04T09:15:12Z", ms(2026, 3, 4, 9, 15, 12)),
        ("2026-03-04T09:15:12.417Z", ms(2026, 3, 4, 9, 15, 12) + 417),
        ("2026-03-04T09:15:12.417999999Z", ms(2026, 3, 4, 9, 15, 12) + 417),
        ("2026-03-04T09:15:12+01:00", ms(2026, 3, 4, 8, 15, 12)),
        ("2026-03-04T09:15:12 01:00", ms(2026, 3, 4, 8, 15, 12)),  # a + that was not escaped
        ("2026-03-04T09:15:12-14:00", ms(2026, 3, 4, 23, 15, 12)),
        ("2016-12-31T23:59:60Z", ms(2017, 1, 1)),  # a leap second
        ("1969-12-31T23:59:59Z", -1000),
    ],
)
def test_an_instant_is_read_to_the_millisecond(text: str, expected: int) -> None:
    assert instant(text) == expected


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_the_ends_of_the_calendar_are_read(text: str) -> None:
    assert isinstance(instant(text), int)


@pytest.mark.parametrize(
    "text",
    [
        "20260101T000000Z",
        "2026-01-01T000000Z",
        "2026-W01-1T00:00:00Z",
        "2026-01-01",
        "2026-01-01T00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00,5Z",
        "2026-01-01T00:00:00z",
        "2026-01-01t00:00:00Z",
        "2026-01-01T00:00:00+0100",
        "2026-02-30T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "２026-01-01T00:00:00Z",
        "yesterday",
    ],
)
def test_what_is_no_instant_is_refused_by_the_parameters_name(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        instant(text)
    assert refused.value.text == "_since is not an instant"
