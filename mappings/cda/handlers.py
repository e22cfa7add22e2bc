"""The table of domains: which function maps the statements of a section, and what it has looked at.

A handler takes the walk and the statement. One that does not say `negation=True` is never called with a negated
statement, one that does not say `subject=True` never with a statement about somebody else: such a statement stays in
the narrative and is told of. So no handler can overlook a negation.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from mappings.cda.element import Element

if TYPE_CHECKING:
    from mappings.cda.walk import Walk

Handle = Callable[["Walk", Element], None]


class Handler(NamedTuple):
    """One domain's function, and the classes of statement that it takes."""

    call: Handle
    tags: frozenset[str]
    negation: bool
    subject: bool


HANDLERS: Final[dict[str, Handler]] = {}
# of a statement in a section that says nothing of its kind
BY_CLASS: Final = {
    "observation": "observation",
    "procedure": "procedure",
    "substanceAdministration": "medication",
    "supply": "supply",
    "encounter": "encounter",
    "observationMedia": "media",
    "regionOfInterest": "media",
}


def handles(domain: str, *tags: str, negation: bool = False, subject: bool = False) -> Callable[[Handle], Handle]:
    """Register the function that maps statements of a domain, of these classes."""

    def register(call: Handle) -> Handle:
        if domain in HANDLERS:
            raise RuntimeError(f"two handlers of {domain}")
        HANDLERS[domain] = Handler(call, frozenset(tags), negation, subject)
        return call

    return register
