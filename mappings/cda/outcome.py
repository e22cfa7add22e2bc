"""What became of one statement of a document: exactly one outcome each, so that nothing is dropped in silence."""

from typing import TYPE_CHECKING, Any, Final, Literal

from mappings.cda.place import XmlPlace

if TYPE_CHECKING:
    from mappings.cda.document import Document

Said = Literal["mapped", "merged", "narrative", "unsupported", "error"]
SAID: Final[tuple[Said, ...]] = ("mapped", "merged", "narrative", "unsupported", "error")


class Outcome:
    """One statement: what it is, and what became of it. `resource`, if any, is `Type/id`.

    Its place is worked out when a report asks for it: a feed asks for few.
    """

    __slots__ = ("_doc", "_el", "domain", "outcome", "resource")

    def __init__(self, doc: "Document", el: Any, domain: str, outcome: Said, resource: str = "") -> None:
        self._doc = doc
        self._el = el
        self.domain = domain
        self.outcome: Said = outcome
        self.resource = resource

    @property
    def place(self) -> XmlPlace:
        """Where the statement stands."""
        return self._doc.place(self._el)

    @property
    def tag(self) -> str:
        """Its class: `observation`."""
        return str(self._el.tag).rpartition("}")[2]

    @property
    def code(self) -> str:
        """Its code, "" where it has none."""
        return next(((each.get("code") or "").strip() for each in self._el.named("code")), "")

    def _told(self) -> tuple[str, ...]:
        return str(self.place), self.tag, self.code, self.domain, self.outcome, self.resource

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Outcome) and self._told() == other._told()

    def __hash__(self) -> int:
        return hash(self._told())

    def __repr__(self) -> str:
        return f"Outcome{self._told()}"
