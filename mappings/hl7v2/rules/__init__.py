"""Named rules beside the rows: what a condition of the closed language cannot say.

Four kinds, each in one table that wiring and rows name them from: datatype functions that read several fields
(`FUNCTIONS`), resolvers for `@name` values (`RESOLVERS`), rules that finish one resource (`FINISH`), and rules over
the whole message (`AFTER`). Importing a module of this folder registers what it holds. A rule leaves trace steps
through its caller.

Source: design chapter HL7 v2 §6 lists them; each cites its own section.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from mappings.hl7v2.datatypes.registry import DatatypeFunction

Json = dict[str, Any]
Rule = Callable[..., Any]
R = TypeVar("R", bound=Rule)

FUNCTIONS: dict[str, DatatypeFunction] = {}
SIBLINGS: set[str] = set()  # functions whose result hangs on other fields of their segment: it is not remembered
RESOLVERS: dict[str, Rule] = {}
FINISH: dict[str, Rule] = {}
AFTER: dict[str, Rule] = {}
NEEDS: dict[str, frozenset[str]] = {}  # rule → segments of which a message holds one, or the rule has nothing to do


def _into(table: dict[str, Rule], name: str) -> Callable[[R], R]:
    def register(function: R) -> R:
        if name in table:
            raise RuntimeError(f"two rules named {name}")
        table[name] = function
        return function

    return register


def resolver(name: str) -> Callable[[R], R]:
    """`f(ctx) -> value or None`, for `@name` in a row."""
    return _into(RESOLVERS, name)


def finish(name: str, *needs: str) -> Callable[[R], R]:
    """`f(ctx, builder)`, once all resources are made and linked. `needs`: without one of these segments in the message
    it does nothing, and is not asked."""
    return _needing(FINISH, name, needs)


def after(name: str, *needs: str) -> Callable[[R], R]:
    """`f(ctx)`, last, over everything that was made; `needs` as of `finish`."""
    return _needing(AFTER, name, needs)


def _needing(table: dict[str, Rule], name: str, needs: tuple[str, ...]) -> Callable[[R], R]:
    if needs:
        NEEDS[name] = frozenset(needs)
    return _into(table, name)


def function(name: str, gives: str, takes: str = "one", *, alone: bool = True) -> Callable[[R], R]:
    """A datatype function of rules. `alone`: its own field's text decides what it makes, nothing beside it."""

    def register(call: R) -> R:
        if not alone:
            SIBLINGS.add(name)
        FUNCTIONS[name] = DatatypeFunction(call, gives, takes)
        return call

    return register
