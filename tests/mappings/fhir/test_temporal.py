"""Dates are intervals. Covers FHIR R4 datatypes.html#dateTime, search.html#date; FHIRPath N1 §6.2 (comparison of
dates).
"""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.fhir.temporal import (
    ALWAYS,
    EARLIEST,
    LATEST,
    SECOND,
    Interval,
    TemporalError,
    compare,
    instant,
    interval,
    period,
)

BERLIN = ZoneInfo("Europe/Berlin")
DAY = 86_400 * SECOND


def at(text: str) -> int:
    return instant(datetime.fromisoformat(text))


@pytest.mark.parametrize(
    ("lexeme", "start", "end"),
    [
        ("2024", "2024-01-01T00:00:00+00:00", "2025-01-01T00:00:00+00:00"),
        ("2024-02", "2024-02-01T00:00:00+00:00", "2024-03-01T00:00:00+00:00"),
        ("2024-12", "2024-12-01T00:00:00+00:00", "2025-01-01T00:00:00+00:00"),
        ("2024-02-29", "2024-02-29T00:00:00+00:00", "2024-03-01T00:00:00+00:00"),
        ("2024-02-29T23:59", "2024-02-29T23:59:00+00:00", "2024-03-01T00:00:00+00:00"),
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59+00:00", "2024-03-01T00:00:00+00:00"),
        ("2024-02-29T23:59:59.25Z", "2024-02-29T23:59:59.250+00:00", "2024-02-29T23:59:59.260+00:00"),
        ("2024-02-29T23:59:59-05:00", "2024-03-01T04:59:59+00:00", "2024-03-01T05:00:00+00:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00", "2017-01-01T00:00:01+00:00"),
    ],
)
def test_a_lexeme_covers_as_much_as_it_leaves_open(lexeme: str, start: str, end: str) -> None:
    assert interval(lexeme, UTC) == Interval(at(start), at(end))


def test_a_value_without_zone_is_read_in_the_callers() -> None:
    assert interval("2025-07-01", BERLIN) == Interval(at("2025-07-01T00:00:00+02:00"), at("2025-07-02T00:00:00+02:00"))
    assert interval("2025-07-01T10:00:00Z", BERLIN) == interval("2025-07-01T10:00:00Z", UTC)


def test_the_days_on_which_clocks_change_have_23_and_25_hours() -> None:
    spring, autumn = interval("2025-03-30", BERLIN), interval("2025-10-26", BERLIN)
    assert (spring.end - spring.start, autumn.end - autumn.start) == (DAY * 23 // 24, DAY * 25 // 24)


@pytest.mark.parametrize("zone", [UTC, BERLIN, timezone(timedelta(hours=-12))])
def test_the_ends_of_the_calendar_are_covered(zone: timezone | ZoneInfo) -> None:
    assert interval("9999-12-31", zone).end == interval("9999", zone).end
    assert interval("0001", zone).start == interval("0001-01-01", zone).start


@pytest.mark.parametrize(
    "lexeme",
    ["", "25", "2025-1", "2025-13", "2025-02-29", "2025-00-01", "0000", "2025-01-01T24:00:00Z", "2025-01-01T10",
     "2025-01-01T10:00:61Z", "2025-01-01T10:00:00+15:00", "2025-01-01T10:00:00 02:00", "2025-01-01Z", " 2025",
     "2025-01-01T10:00:00z", "٢٠٢٥", "2025-01-01T10:00:00.Z"],
)  # fmt: skip
def test_what_is_no_date_raises_ours(lexeme: str) -> None:
    with pytest.raises(TemporalError):
        interval(lexeme, UTC)


@given(st.text(alphabet="0123456789-T:Z+. ", max_size=32))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_date_or_our_error(text: str) -> None:
    try:
        span = interval(text, BERLIN)
    except TemporalError:
        return
    assert EARLIEST < span.start < span.end < LATEST


lexemes = st.builds(
    lambda moment, length: moment.isoformat()[:length] + ("Z" if length > 10 else ""),
    st.datetimes(datetime(2023, 11, 1), datetime(2026, 2, 1)).map(lambda moment: moment.replace(microsecond=0)),  # noqa: DTZ001
    st.sampled_from([4, 7, 10, 19]),
)


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.sampled_from([UTC, BERLIN]))
@settings(max_examples=100, deadline=None)
def test_a_coarser_date_contains_the_finer_one(day: date, zone: timezone | ZoneInfo) -> None:
    text = day.isoformat()
    whole, finer = interval(text[:7], zone), interval(text, zone)
    assert whole.contains(finer)
    assert interval(text[:4], zone).contains(whole)
    assert finer.contains(interval(f"{text}T12:30:00", zone))


@given(st.datetimes(timezones=st.sampled_from([UTC, BERLIN, timezone(timedelta(hours=-7))])))
@settings(max_examples=100, deadline=None)
def test_an_instant_is_in_the_second_it_is_written_with(moment: datetime) -> None:
    if moment.astimezone(UTC).year in (1, 9999) or moment.utcoffset() != timedelta(
        minutes=(moment.utcoffset() or timedelta()) // timedelta(minutes=1)
    ):
        return  # local mean time has offsets in seconds, which FHIR cannot write
    written = interval(moment.replace(microsecond=0).isoformat(), UTC)
    assert written.start <= instant(moment) < written.end


def test_an_open_side_of_a_period_reaches_as_far_as_time() -> None:
    assert period(None, None, UTC) == ALWAYS
    assert period("2025", None, UTC) == Interval(interval("2025", UTC).start, LATEST)
    assert period(None, "2025", UTC) == Interval(EARLIEST, interval("2025", UTC).end)


@pytest.mark.parametrize(
    ("left", "right", "order"),
    [
        ("2018-03", "2018-03", 0),
        ("2018-03", "2018-04-01", -1),
        ("2018-03", "2018-03-01", None),  # the month may be over, or not begun
        ("2018-03-01", "2018-03-01T10:00:00", None),
        ("2018-03-01T10:30:00", "2018-03-01T10:30:00.0", 0),
        ("2018-03-01T10:30:00Z", "2018-03-01T11:30:00+01:00", 0),
        ("2018-03-01T10:30:00Z", "2018-03-01T10:29:59.999Z", 1),
        ("2012-05-23", "2012-05-23T01:00:00+02:00", None),
        ("2012-05-20", "2012-05-23T01:00:00+02:00", -1),
        ("2012-05-23T10:00", "2012-05-23T10:01", -1),
    ],
)
def test_dates_are_ordered_only_where_their_precision_tells(left: str, right: str, order: int | None) -> None:
    assert compare(left, right) == order
    assert compare(right, left) == (None if order is None else -order)


@given(lexemes, lexemes)
@settings(max_examples=200, deadline=None)
def test_an_order_holds_for_every_moment_of_both(left: str, right: str) -> None:
    one, two = interval(left, UTC), interval(right, UTC)
    order = compare(left, right)
    if order == -1:
        assert one.start < two.start
        assert one.end <= two.end
    elif order == 0:
        assert one.start == two.start
    elif order is None and len(left) <= 10 and len(right) <= 10:
        assert one.overlaps(two)
