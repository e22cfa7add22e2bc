"""What of a message no row reads, on the fast path: whole segments, fields, repetitions; told as issues.

Components are told by `explain.py` alone, which reads the trace. Source: design chapter HL7 v2 §13.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING

from mappings.hl7v2.place import Place
from mappings.issues import issue

if TYPE_CHECKING:
    from mappings.hl7v2.assemble import Assembly


def report(assembly: "Assembly") -> None:
    """An issue for each segment that nothing reads, valued field of one that is read, and repetition too many."""
    read = assembly.profile.reads(assembly.wiring.name)
    single = assembly.profile.single(assembly.wiring.name)
    rep = assembly.rep
    for segment in assembly.message.segments:
        unread = read.get(segment.name)
        if unread is None:
            assembly.issues.append(issue("unsupported-structure", Place(segment.name, segment.nth)))
            continue
        fields = segment.fields
        numbers = _unread(unread, len(fields))
        if numbers is not None and any(numbers(fields)):
            assembly.issues += [
                issue("no-row", Place(segment.name, segment.nth, number))
                for start, end in unread
                for number, field in enumerate(fields[start:end], start)
                if field
            ]
        if rep in segment.line:
            assembly.issues += [
                issue("repetition-unread", Place(segment.name, segment.nth, number, rep=2))
                for number in single.get(segment.name, ())
                if number < len(fields) and rep in fields[number]
            ]


@lru_cache(maxsize=2048)
def _unread(ranges: tuple[tuple[int, int], ...], length: int) -> Callable[[Sequence[str]], tuple[str, ...]] | None:
    """What picks the fields that nothing reads from a segment of so many; None where it has no such field."""
    numbers = [number for start, end in ranges for number in range(start, min(end, length))]
    return itemgetter(*numbers, numbers[0]) if numbers else None  # one alone would be no tuple
