"""What rows name besides datatype functions: flags of conditions, and values that the context knows.

not active-status           a flag: does it hold of this element?
??@concern                  a resolver: the value for an element that no source gave
"""

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

FLAGS: dict[str, Callable[[Any, Any], bool]] = {}
RESOLVERS: dict[str, Callable[[Any], Any]] = {}


def flag(name: str) -> Callable[[F], F]:
    """Register `f(element, ctx) -> bool` as a flag of conditions."""
    return _into(FLAGS, name)


def resolver(name: str) -> Callable[[F], F]:
    """Register `f(ctx) -> value | None` as `@name` of a row's value."""
    return _into(RESOLVERS, name)


def _into(table: dict[str, Any], name: str) -> Callable[[F], F]:
    def register(call: F) -> F:
        if name in table:
            raise RuntimeError(f"{name} is named twice")
        table[name] = call
        return call

    return register
