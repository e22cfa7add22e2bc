"""The table of datatype functions, by the names that mapping rows use: `CX[Identifier]`, `CD[CodeableConcept]`.

Each format has a table of its own (`hl7v2/datatypes/registry.py`, `cda/datatypes/registry.py`); what a function is, is
said once, here. It takes one value of the source (HL7 v2: raw text of one repetition, still escaped; CDA: an element,
or the text of an attribute), or, where it `takes="all"`, the list of all of them; the context; and the row's vocabulary
map. It returns

- a plain value, or None where nothing is said,
- for a primitive with more to say, `(value or None, {"extension": [...]})`,
- for `X[value]`, a dict of whole elements: `{"valueQuantity": {...}}`.

It never raises on input and never returns "" or an empty dict; what it cannot use becomes an issue at its place.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class DatatypeFunction:
    """`fhir_type` is what it gives; `reads` the parts of the value it looks at (None: all), the rest is reported as
    unmapped: numbers of components in HL7 v2, names of attributes (`@unit`) and children in CDA."""

    call: Callable[..., Any]
    fhir_type: str
    takes: str = "one"
    reads: frozenset[Any] | None = None


class Functions(dict[str, DatatypeFunction]):
    """The functions of one format."""

    def datatype(
        self, *names: str, gives: str, takes: str = "one", reads: AbstractSet[Any] | None = None
    ) -> Callable[[F], F]:
        """Register a function under its row names. Two functions of one name are a mistake of ours."""

        def register(call: F) -> F:
            entry = DatatypeFunction(call, gives, takes, None if reads is None else frozenset(reads))
            for name in names:
                if name in self:
                    raise RuntimeError(f"two datatype functions named {name}")
                self[name] = entry
            return call

        return register
