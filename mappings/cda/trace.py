"""What a traced conversion of a document did: as `mappings/rows/trace.py`, with places of elements.

Rows that build one element of a resource write below it: `mark` and `below` put their facts where the element went.
"""

from dataclasses import replace
from typing import Any

from mappings.cda.document import Document
from mappings.rows.trace import Trace, TraceStep


class DocumentTrace(Trace):
    """The steps of one document's conversion, in order."""

    def __init__(self, doc: Document) -> None:
        super().__init__()
        self.doc = doc

    def hit(self, row: str, segment: Any, field: int, repetition: int, path: str) -> None:
        """Called by traced functions with the element that was read."""
        source = None if segment is None else self.doc.place(segment)
        self.steps.append(TraceStep(row, source, self.resource, path))

    def miss(self, row: str, segment: Any, field: int) -> None:
        self.missed.append((row, self.doc.place(segment)))

    def mark(self) -> int:
        """Where the facts of an element begin."""
        return len(self.steps)

    def below(self, mark: int, path: str) -> None:
        """Facts since the mark stand below `path`."""
        for index in range(mark, len(self.steps)):
            step = self.steps[index]
            if step.resource == self.resource:
                self.steps[index] = replace(step, path=f"{path}.{step.path}" if step.path else path)
