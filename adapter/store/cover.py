"""The buckets that cover a span of time: whole years, and the months at its edges.

A value has a token for each month and year it touches (`index.py`), so a question asks for any of these. It is widened
by a day each way, which is more than two zones can differ, and holds at most 24 buckets; a span that needs more is no
filter. Wide years and `long` stand for values that are too long for months.
Source: fhir chapter §5 (token values), §6 step 3.
"""

from datetime import date
from typing import Final

from adapter.store.index import LONG, month_text, wide
from mappings.fhir.temporal import EARLIEST, LATEST, Interval

BUCKETS: Final = 24
_DAY: Final = 86_400 * 10**9  # nanoseconds; days count from 0001-01-01, which is 1, as a date's ordinal does
_FIRST, _LAST = date.min.toordinal(), date.max.toordinal()


def cover(span: Interval) -> tuple[str, ...] | None:
    """The spellings of which a value inside or across the span has at least one; None where they would be too many."""
    if span.start <= EARLIEST or span.end >= LATEST:
        return None
    first, last = _day(span.start // _DAY - 1), _day((span.end - 1) // _DAY + 1)
    buckets = _buckets(first.year * 12 + first.month - 1, last.year * 12 + last.month - 1)
    if buckets is None:
        return None
    return (*buckets, *(wide(f"{year:04}") for year in range(first.year, last.year + 1)), LONG)


def _buckets(month: int, last: int) -> list[str] | None:
    """Months since year 0 as texts, in whole years where they fill one."""
    found: list[str] = []
    while month <= last:
        if month % 12 == 0 and month + 11 <= last:
            found.append(f"{month // 12:04}")
            month += 12
        else:
            found.append(month_text(month))
            month += 1
        if len(found) > BUCKETS:
            return None
    return found


def _day(ordinal: int) -> date:
    return date.fromordinal(min(max(ordinal, _FIRST), _LAST))
