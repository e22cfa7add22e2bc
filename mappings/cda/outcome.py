"""What became of one statement of a document: exactly one outcome each, so that nothing is dropped in silence."""

from dataclasses import dataclass
from typing import Literal

from mappings.cda.place import XmlPlace

Said = Literal["mapped", "merged", "narrative", "unsupported", "error"]
SAID: tuple[Said, ...] = ("mapped", "merged", "narrative", "unsupported", "error")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One statement: what it is, and what became of it. `resource`, if any, is `Type/id`."""

    place: XmlPlace
    tag: str
    code: str
    domain: str
    outcome: Said
    resource: str = ""
