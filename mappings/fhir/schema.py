"""The compiled R4 schema: types, elements, value sets, search parameters, compartments, operations.

Everything in `mappings/fhir/` and the API's capability page read FHIR from here and from nowhere else. `schema()`
loads `r4.json` once; what it hands out is frozen and does no I/O. How the table is made is `tools/compile_fhir.py`'s.

Source: FHIR R4 4.0.1, by way of `r4.json`; what that overrides is in `errata.csv`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from sys import intern
from types import MappingProxyType
from typing import Any

import msgspec

TABLE = Path(__file__).with_name("r4.json")
SEARCH_PARAMETER = "http://hl7.org/fhir/SearchParameter/"

SUMMARY, MODIFIER, XML_ATTRIBUTE = 1, 2, 4  # the flags of an element, as the compiler packs them


@dataclass(frozen=True, slots=True)
class Constraint:
    """An invariant: its key, whether it is an error, its FHIRPath, and its words."""

    key: str
    severity: str  # "error" or "warning"
    expression: str
    human: str


@dataclass(frozen=True, slots=True)
class Element:
    """One child of a path.

    `types` are FHIR types; an element with children of its own, and one that refers to another's content, has one
    type: the path that lists those children. A choice keeps its `[x]`; `names` has what JSON calls it, each with its
    type.
    """

    name: str
    types: tuple[str, ...]
    min: int
    max: int | None  # None: any number
    flags: int
    valueset: str | None  # of a required binding
    targets: tuple[str, ...]  # resource types a Reference may point to; empty or ("Resource",): any
    canonical: tuple[str, ...]  # the same for a canonical
    constraints: tuple[Constraint, ...]
    names: Mapping[str, str] = field(repr=False)

    @property
    def choice(self) -> bool:
        """Whether the type is part of the name: `value[x]`."""
        return self.name.endswith("[x]")

    @property
    def stem(self) -> str:
        """The name as FHIRPath has it: `value` for `value[x]`."""
        return self.name.removesuffix("[x]")

    @property
    def many(self) -> bool:
        """Whether JSON holds it in an array."""
        return self.max is None or self.max > 1

    @property
    def summary(self) -> bool:
        """Whether `_summary=true` shows it."""
        return bool(self.flags & SUMMARY)

    @property
    def modifier(self) -> bool:
        """Whether it can change the meaning of its resource."""
        return bool(self.flags & MODIFIER)

    @property
    def xml_attribute(self) -> bool:
        """Whether XML writes it as an attribute."""
        return bool(self.flags & XML_ATTRIBUTE)


@dataclass(frozen=True, slots=True)
class FhirType:
    """A resource, complex or primitive type."""

    name: str
    kind: str  # "resource", "complex" or "primitive"
    base: str | None
    abstract: bool
    pattern: str | None  # of a primitive's value
    constraints: tuple[Constraint, ...]


@dataclass(frozen=True, slots=True)
class Param:
    """One search parameter at one base type. `_text`, `_content` and `_query` have no expression."""

    code: str
    type: str
    expression: str | None
    targets: tuple[str, ...]  # resource types a reference parameter may name; ("Any",): all
    components: tuple[tuple[str, str], ...]  # of a composite: (code of the component's parameter, expression)
    url: str


@dataclass(frozen=True, slots=True)
class OperationParameter:
    """One parameter of an operation."""

    name: str
    use: str  # "in" or "out"
    min: int
    max: str
    type: str | None


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation the standard defines."""

    code: str
    url: str
    affects: bool
    levels: frozenset[str]  # of "system", "type", "instance"
    types: tuple[str, ...]
    parameters: tuple[OperationParameter, ...]


class Schema:
    """The table, with objects made of a path's rows when they are first asked for."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._table = table
        self._children: dict[str, Mapping[str, Element]] = {}
        self._by_json_name: dict[str, Mapping[str, Element]] = {}
        self._valuesets: dict[str, Mapping[str, frozenset[str]] | None] = {}
        self._params: dict[str, Mapping[str, Param]] = {}
        self.version: str = table["version"]
        declared = table["constraints"]
        self.constraints = MappingProxyType({key: Constraint(key, *rest) for key, rest in declared.items()})
        self.types = MappingProxyType({name: self._type(name, row) for name, row in table["types"].items()})
        concrete = (kind for kind in self.types.values() if kind.kind == "resource" and not kind.abstract)
        self.resource_types = frozenset(kind.name for kind in concrete)
        self.case_sensitive: Mapping[str, bool] = MappingProxyType(table["case_sensitive"])
        self.parents: Mapping[str, Mapping[str, str]] = MappingProxyType(table["parents"])

    def _type(self, name: str, row: Mapping[str, Any]) -> FhirType:
        declared = tuple(self.constraints[key] for key in row["constraints"])
        return FhirType(
            name, row["kind"], row["base"] or None, row.get("abstract", False), row.get("pattern") or None, declared
        )

    def paths(self) -> tuple[str, ...]:
        """Every path that has children: types, and elements within them."""
        return tuple(self._table["elements"])

    def has_children(self, path: str) -> bool:
        """Whether a type (or path used as one) is made of elements; primitives and `xhtml` are not."""
        return path in self._table["elements"]

    def children(self, path: str) -> Mapping[str, Element]:
        """The elements of a path by their name (`value[x]`), in the standard's order. KeyError: no such path."""
        known = self._children.get(path)
        if known is None:
            rows = self._table["elements"][path]
            known = self._children[path] = MappingProxyType({row[0]: self._element(row) for row in rows})
        return known

    def members(self, path: str) -> Mapping[str, Element]:
        """The elements of a path by every name that JSON can give them (`valueQuantity`)."""
        known = self._by_json_name.get(path)
        if known is None:
            elements = self.children(path).values()
            known = MappingProxyType({name: element for element in elements for name in element.names})
            self._by_json_name[path] = known
        return known

    def element(self, path: str, name: str) -> Element | None:
        """A child by its JSON name or by its name in the standard; None where the path has no such child."""
        return self.members(path).get(name) or self.children(path).get(name)

    def _element(self, row: list[Any]) -> Element:
        name, types, least, most, flags, valueset, targets, keys = row
        stem = name.removesuffix("[x]")
        names = {name: types[0]}
        if stem != name:
            names = {intern(stem + kind[0].upper() + kind[1:]): intern(kind) for kind in types}
        return Element(
            name=intern(name),
            types=tuple(intern(kind) for kind in types),
            min=least,
            max=most,
            flags=flags,
            valueset=valueset,
            targets=tuple(intern(target) for target in targets.get("Reference", ())),
            canonical=tuple(intern(target) for target in targets.get("canonical", ())),
            constraints=tuple(self.constraints[key] for key in keys),
            names=MappingProxyType(names),
        )

    @property
    def valuesets(self) -> frozenset[str]:
        """The names of the value sets with a required binding: R4's own short, others their URL."""
        return frozenset(self._table["valuesets"])

    def valueset(self, name: str) -> Mapping[str, frozenset[str]] | None:
        """System → codes of a value set with a required binding; None where the standard cannot list it."""
        if name not in self._valuesets:
            systems = self._table["valuesets"][name]
            listed = systems and {system: frozenset(codes) for system, codes in systems.items()}
            self._valuesets[name] = listed and MappingProxyType(listed)
        return self._valuesets[name]

    def params(self, resource_type: str) -> Mapping[str, Param]:
        """The search parameters of a type by code, with those of `DomainResource` and `Resource`."""
        known = self._params.get(resource_type)
        if known is None:
            found: dict[str, Param] = {}
            kind: str | None = resource_type
            while kind is not None:
                rows = self._table["params"].get(kind, {})
                found = {code: _param(code, row) for code, row in rows.items()} | found
                kind = self.types[kind].base
            known = self._params[resource_type] = MappingProxyType(found)
        return known

    def compartment(self, code: str) -> Mapping[str, tuple[str, ...]]:
        """Type → search parameters that put a resource of it into a compartment (`Patient`)."""
        return MappingProxyType({kind: tuple(params) for kind, params in self._table["compartments"][code].items()})

    def operations(self, resource_type: str | None) -> tuple[Operation, ...]:
        """The operations of a type, or with None those of the whole system."""
        rows = self._table["operations"].values()
        if resource_type is None:
            return tuple(_operation(row) for row in rows if "system" in row["levels"])
        anywhere = (resource_type, "Resource")
        return tuple(_operation(row) for row in rows if any(kind in row["types"] for kind in anywhere))

    def is_a(self, kind: str, ancestor: str) -> bool:
        """Whether a type is another one or specialises it."""
        here: str | None = kind
        while here is not None and here != ancestor:
            here = self.types[here].base if here in self.types else None
        return here == ancestor


def _param(code: str, row: Mapping[str, Any]) -> Param:
    return Param(
        code=code,
        type=row["type"],
        expression=row.get("expression"),
        targets=tuple(row.get("targets", ())),
        components=tuple((code, expression) for code, expression in row.get("components", ())),
        url=SEARCH_PARAMETER + row["url"],
    )


def _operation(row: Mapping[str, Any]) -> Operation:
    parameters = tuple(OperationParameter(*parameter) for parameter in row["parameters"])
    return Operation(row["code"], row["url"], row["affects"], frozenset(row["levels"]), tuple(row["types"]), parameters)


@cache
def schema() -> Schema:
    """The one schema of the process."""
    return Schema(msgspec.json.decode(TABLE.read_bytes()))
