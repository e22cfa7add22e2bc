"""What a traced conversion did: (row, source place, FHIR path) for every fact.

The traced functions are the same rows compiled a second time (`emit.py`). What `explain` prints, where a
value came from, what was not mapped and which rows ever fire: all of it is read off one Trace.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mappings.cda.place import XmlPlace
from mappings.hl7v2.place import Place


@dataclass(frozen=True, slots=True)
class TraceStep:
    """One fact: the row (or `@rule` beside the rows) that wrote `path` of `resource` from `source`."""

    row: str
    source: Place | XmlPlace | None  # None: a constant, a rule
    resource: str  # Type/id
    path: str  # identifier[0], "" for the whole resource


@dataclass(slots=True)
class Trace:
    """The steps of one conversion, in order; `missed` are rows whose condition did not hold at a valued field."""

    steps: list[TraceStep] = dataclasses.field(default_factory=list)
    missed: list[tuple[str, Place | XmlPlace]] = dataclasses.field(default_factory=list)
    resource: str = ""  # under construction

    def __iter__(self) -> Iterator[TraceStep]:
        return iter(self.steps)

    def hit(self, row: str, segment: Any, field: int, repetition: int, path: str) -> None:
        """Called by traced functions; repetition counts from 0, -1 means the whole field."""
        source = None if segment is None else Place(segment.name, segment.nth, field, repetition + 1)
        self.steps.append(TraceStep(row, source, self.resource, path))

    def miss(self, row: str, segment: Any, field: int) -> None:
        self.missed.append((row, Place(segment.name, segment.nth, field)))

    def place_hits(self, hits: list[tuple[str, Any, int, int, str]], element: str) -> None:
        """Facts of one list element, once its index is known."""
        for row, segment, field, repetition, path in hits:
            self.hit(row, segment, field, repetition, f"{element}.{path}" if path else element)

    def rule(self, name: str, resource: str, path: str, source: Place | XmlPlace | None = None) -> None:
        """A named rule beside the rows wrote this."""
        self.steps.append(TraceStep(f"@{name}", source, resource, path))

    def rename(self, moved: dict[str, tuple[str, str]]) -> None:
        """A rule moved whole resources into others: (new resource, path there) by the old one."""
        steps = []
        for step in self.steps:
            resource, below = moved.get(step.resource, (step.resource, ""))
            path = f"{below}.{step.path}" if below and step.path else below or step.path
            steps.append(TraceStep(step.row, step.source, resource, path))
        self.steps = steps
