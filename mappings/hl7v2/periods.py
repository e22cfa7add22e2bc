"""Which of two times comes first, as far as their precision and zones tell; and Periods that end before they begin.

Source: FHIR R4 datatypes, Period (per-1); FHIRPath N1 §6.2 (dates of different precision).
"""

from typing import Any

from mappings.fhir import temporal, values

Json = dict[str, Any]

_WHOLE = len("2025-01-01T00:00:00")  # times of one length and one offset are in the order of their texts


def reversed_(start: str, end: str) -> bool:
    """Whether the second time lies before the first, beyond doubt."""
    if len(start) == len(end) and start[_WHOLE:] == end[_WHOLE:]:
        return end < start
    return temporal.compare(start, end) == 1


def is_reversed(period: Json) -> bool:
    """Whether a Period ends before it begins."""
    start, end = period.get("start"), period.get("end")
    return start is not None and end is not None and reversed_(start, end)


def straighten(period: Json) -> bool:
    """Takes the end out of a Period that ends before it begins, and leaves its text beside; whether it had to."""
    if not is_reversed(period):
        return False
    end = period.pop("end")
    if "_end" not in period:
        values.put(period, "end", None, values.lexeme(end))
    return True
