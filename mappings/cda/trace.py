"""What a traced conversion of a document did: as `mappings/rows/trace.py`, with places of elements.

Rows that build one element of a resource write below it: `mark` and `below` put their facts where the element went.
A person or a product is read before anybody knows whether it becomes a resource of its own or one inside another:
its facts wait (`begin`, `end`) until that is told (`becomes`, `contain`).
"""

import re
from dataclasses import replace
from typing import Any, Final

from mappings.cda.document import Document
from mappings.rows.trace import Trace, TraceStep

Json = dict[str, Any]

CONTAINED: Final = "contained["
_ROOT: Final = re.compile(r"[.\[]")


class DocumentTrace(Trace):
    """The steps of one document's conversion, in order."""

    def __init__(self, doc: Document) -> None:
        super().__init__()
        self.doc = doc
        self._waiting: dict[str, tuple[Json, str]] = {}  # by type: the body that was read last, the name of its facts
        self._inside: dict[str, list[TraceStep]] = {}  # facts of what is contained, by its id

    def hit(self, row: str, segment: Any, field: int, repetition: int, path: str) -> None:
        """Called by traced functions with the element that was read."""
        source = None if segment is None else self.doc.place(segment)
        self.steps.append(TraceStep(row, source, self.resource, path))

    def miss(self, row: str, segment: Any, field: int) -> None:
        self.missed.append((row, self.doc.place(segment)))

    def mark(self) -> int:
        """Where the facts of an element begin."""
        return len(self.steps)

    def begin(self, body: Json) -> str:
        """Rows now write into a body whose place is not known; the resource that is under construction around it."""
        outer = self.resource
        known = self._waiting.get(body["resourceType"])
        self.resource = known[1] if known is not None and known[0] is body else f"?{len(self.steps)}"
        return outer

    def end(self, outer: str, body: Json) -> None:
        """The body is read, and waits."""
        self._waiting[body["resourceType"]] = body, self.resource
        self.resource = outer

    def becomes(self, kind: str, body: Json, resource: str) -> set[str]:
        """The body is this resource; the elements whose facts waited."""
        steps = self._taken(kind, body)
        self.steps += [replace(step, resource=resource) for step in steps]
        return {_ROOT.split(step.path, maxsplit=1)[0] for step in steps}

    def contain(self, id_: str, body: Json, resource: str, index: int) -> None:
        """The body is contained in this resource, "" for one that is not known yet; it may be in several."""
        if steps := self._taken(body.get("resourceType", ""), body):
            self._inside[id_] = steps
        if resource:
            for step in self._inside.get(id_, ()):
                path = f"{CONTAINED}{index}].{step.path}" if step.path else f"{CONTAINED}{index}]"
                self.steps.append(replace(step, resource=resource, path=path))

    def told_of(self, resource: str) -> int:
        """How many facts of a resource there are by now."""
        return sum(step.resource == resource for step in self.steps)

    def split(self, resource: str, mark: int, other: str) -> None:
        """But for the first `mark` ones, the facts of a resource are another's."""
        for index, step in enumerate(self.steps):
            if step.resource == resource and (mark := mark - 1) < 0:
                self.steps[index] = replace(step, resource=other)

    def _taken(self, kind: str, body: Json) -> list[TraceStep]:
        """The facts that wait for a body, or for one with the same content, no longer."""
        read, name = self._waiting.get(kind, ({}, ""))
        if not name or any(read.get(each) is not value for each, value in body.items()):
            return []
        del self._waiting[kind]
        taken = [step for step in self.steps if step.resource == name]
        self.steps = [step for step in self.steps if step.resource != name]
        return taken

    def below(self, mark: int, path: str) -> None:
        """Facts since the mark stand below `path`; what is contained stands in the resource as a whole."""
        for index in range(mark, len(self.steps)):
            step = self.steps[index]
            if step.resource == self.resource and not step.path.startswith(CONTAINED):
                self.steps[index] = replace(step, path=f"{path}.{step.path}" if step.path else path)
