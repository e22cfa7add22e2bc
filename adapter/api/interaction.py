"""A row of the route table: an address, what answers it, and what it owes and takes.

The capability page and the OpenAPI document are made of these rows and of the schema, so what a row says is what the
server claims. Source: FHIR R4 http.html §3.1.0; fhir chapter §7, §11.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from adapter.api.call import Handler
from mappings.fhir.schema import schema

BASE = "/fhir"
ANY_TYPE = "{type}"


@dataclass(frozen=True, slots=True)
class Interaction:
    """One row: `discloses` means that a body must come from the gate, `authenticated` that a token is needed.

    `operation` is the name behind the dollar sign, where it is one; `negotiates`: the answer is FHIR, JSON or XML, at
    an address below the base. `takes`: media types of a body that is no resource; `without`: types that a `{type}` row
    leaves to others or refuses; `conditional`: a create takes criteria; `creates`: an update makes what is
    not there, too.
    """

    name: str
    methods: tuple[str, ...]
    path: str
    handler: Handler
    discloses: bool = True
    authenticated: bool = True
    operation: str = ""
    negotiates: bool = True
    takes: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()
    conditional: bool = False
    creates: bool = True

    @property
    def fhir(self) -> bool:
        """Whether it speaks FHIR: an address under the base."""
        return self.path == BASE or self.path.startswith(f"{BASE}/")

    @property
    def types(self) -> frozenset[str]:
        """The resource types at which it stands; none for an address of the whole server."""
        first = self.path.removeprefix(BASE).strip("/").partition("/")[0]
        if not self.fhir:
            return frozenset()
        if first == ANY_TYPE:
            return schema().resource_types - self.without
        return schema().resource_types & {first}


def at(table: Iterable[Interaction], kind: str) -> list[Interaction]:
    """The rows that stand at one resource type."""
    return [row for row in table if kind in row.types]
