"""The table of datatype functions, by the names that mapping rows use: `CX[Identifier]`.

A function takes one repetition as raw text, still escaped (or, where it `takes="all"`, the list of all repetitions),
the context, and the row's vocabulary map. It returns

- a plain value, or None where nothing is said,
- for a primitive with more to say, `(value or None, {"extension": [...]})`,
- for `X[value]`, a dict of whole elements: `{"valueQuantity": {...}}`.

It never raises on input and never returns "" or an empty dict; what it cannot use becomes an issue at its place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from mappings.hl7v2.context import Context
from mappings.terminology.concept_map import ConceptMap

Json = dict[str, Any]
Call = Callable[[Any, Context, ConceptMap | None], Any]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class DatatypeFunction:
    """`gives` FHIR type; `reads` the components it looks at (None: all), the rest is reported as unmapped."""

    call: Call
    fhir_type: str
    takes: str = "one"
    reads: frozenset[int] | None = None


FUNCTIONS: dict[str, DatatypeFunction] = {}


def datatype(
    *names: str, gives: str, takes: str = "one", reads: frozenset[int] | set[int] | None = None
) -> Callable[[F], F]:
    """Register a function under its row names. Two functions of one name are a mistake of ours."""

    def register(call: F) -> F:
        entry = DatatypeFunction(call, gives, takes, None if reads is None else frozenset(reads))
        for name in names:
            if name in FUNCTIONS:
                raise RuntimeError(f"two datatype functions named {name}")
            FUNCTIONS[name] = entry
        return call

    return register
