"""What a datatype function, a flag or a rule may know besides its own element: document, profile, and where it stands.

One context a document. The compiled rows set `node` and `row` before each call, so that `ctx.issue("not-a-date")` knows
its place; functions never build places themselves. `section`, `act` and `statement` follow the walk. No function keeps
a context.
"""

from collections.abc import Callable
from typing import Any

from mappings.cda.document import Document
from mappings.cda.element import Element
from mappings.cda.narrative import Headers, plain_text
from mappings.cda.narrative.tables import TR
from mappings.cda.time import DocumentZone
from mappings.issues import Issue, issue

Json = dict[str, Any]


def nothing_made(resource_type: str, key_parts: tuple[str, ...], body: Json) -> str | None:
    return None


def nothing_contained(body: Json) -> str | None:
    return None


class Context:
    """Document, profile and position; collects issues and resources made on the way."""

    def __init__(self, doc: Document, profile: Any) -> None:
        self.doc = doc
        self.profile = profile
        self.issues: list[Issue] = list(doc.issues)
        self.row = ""
        self.node: Element | None = doc.root
        self.section: Element | None = None
        self.act: Element | None = None  # the wrapper around the statement
        self.statement: Element | None = None
        self.negated = False  # the statement or its wrapper says that it is not so
        self.mood = ""
        self.domain = ""
        self.section_code = ""
        self.read: set[Element] = set()  # statements inside of others that some row has read
        self.filled: list[str] = []  # elements that a `??` row put there
        # what files of this package know of the document, each its own
        self.parties: Any = None
        self.entry_references: Any = None
        self.specimens_told: Any = None
        self.vital_pairs: Any = None
        self.personal: set[str] = set()  # extensions of a patient, else only referred to, that statements gave her
        self.headers = Headers()  # of the tables in the narrative
        self.annotations: dict[Element, list[Json]] = {}
        self.zone = DocumentZone.of(doc, profile.zone, profile.cda.zero_offset)
        if self.zone.mismatch:
            self.issue("zone-mismatch")
        self.make: Callable[[str, tuple[str, ...], Json], str | None] = nothing_made
        self.contained: Callable[[Json], str | None] = nothing_contained

    @property
    def at_hand(self) -> Element:
        """The statement; for what is asked only within one."""
        if self.statement is None:
            raise RuntimeError("no statement is at hand")
        return self.statement

    @property
    def being_read(self) -> Element:
        """The element that a row reads."""
        if self.node is None:
            raise RuntimeError("no row reads an element")
        return self.node

    def issue(self, code: str, node: Element | None = None, detail: str = "") -> None:
        """Record an issue at the element being read, or at another. `detail` is a fixed phrase, never a value."""
        here = self.node if node is None else node
        place = None if here is None else self.doc.place(here)
        self.issues.append(issue(code, place, row=self.row, detail=detail))

    def narrative(self, reference: str) -> str | None:
        """The text of the narrative that `#id` points at; None with an issue where nothing has that ID."""
        found = self.doc.ids.get(reference.strip().removeprefix("#"))
        if found is None:
            self.issue("dangling-reference")
            return None
        header = found.tag == TR  # a cell says what its header asked, a row needs them all
        return plain_text(found, header, self.headers)
