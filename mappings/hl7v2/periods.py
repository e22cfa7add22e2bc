"""Which of two times comes first, as far as their precision and zones tell.

Source: FHIR R4 datatypes, Period; FHIRPath N1 §6.2 (dates of different precision).
"""

from mappings.fhir import temporal

_WHOLE = len("2025-01-01T00:00:00")  # times of one length and one offset are in the order of their texts


def reversed_(start: str, end: str) -> bool:
    """Whether the second time lies before the first, beyond doubt."""
    if len(start) == len(end) and start[_WHOLE:] == end[_WHOLE:]:
        return end < start
    return temporal.compare(start, end) == 1
