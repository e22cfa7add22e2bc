"""A search as it was asked: parameter pairs read into a typed Query.

`parse` refuses what is not supported with a SearchError; nothing that narrows a search is ever left out in silence.
Criteria choose resources; result parameters (`_count`, `_sort` …) say how to show them and are kept apart, for the
API to serve or refuse. What a value means in a zone, and whether a resource matches, is `search_match.py`'s.
Source: FHIR R4 search.html §3.1.1; which part of it is served, and what is refused: fhir.md §4 of the design.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mappings.fhir.schema import Param, schema
from mappings.fhir.search_operands import (
    READERS,
    Composite,
    Operand,
    SearchError,
    read_missing,
    read_text,
    split,
)
from mappings.fhir.search_plan import KINDS
from mappings.fhir.search_results import RESULT_PARAMETERS, Results, read_results

MAX_PAIRS: Final = 100  # of one search
MAX_OPERANDS: Final = 1_000  # alternatives of one parameter
MAX_CHAIN: Final = 2  # references followed

# Those of R4 that need more than one resource and its values: free text, sound, distance, stored lists and queries.
REFUSED: Final = frozenset({"_text", "_content", "_filter", "_query", "_list", "near", "phonetic"})

HAS: Final = Param("_has", "special", None, (), (), "")

MODIFIERS: Final[Mapping[str, frozenset[str]]] = {
    "token": frozenset({"above", "below", "not", "text", "in", "of-type"}),
    "string": frozenset({"contains", "exact"}),
    "reference": frozenset({"identifier"}),  # and every type the parameter may point to
    "uri": frozenset({"below", "above"}),
}


class _Unsupported(SearchError):
    """What lenient handling may leave out, and name."""

    def __init__(self, message: str) -> None:
        super().__init__("not-supported", message)


@dataclass(frozen=True, slots=True)
class Criterion:
    """One pair: any of its operands is enough.

    With `chain` there are none here: the condition is that of the resource referred to, by its type. With `has` it is
    that of a resource which refers to this one.
    """

    param: Param
    modifier: str  # "" for none; a resource type narrows a reference
    operands: tuple[Operand, ...]
    chain: "Mapping[str, Criterion] | None" = None
    has: "Has | None" = None

    @property
    def code(self) -> str:
        """The parameter's name."""
        return self.param.code


@dataclass(frozen=True, slots=True)
class Has:
    """`_has:source:code:…`: some resource of type `source`, whose parameter `code` points here, meets the rest."""

    source: str
    code: str
    rest: Criterion


@dataclass(frozen=True, slots=True)
class Query:
    """All criteria must hold. `applied` are the pairs served, in order, for the `self` link; `dropped` the names left
    out.
    """

    type: str
    criteria: tuple[Criterion, ...]
    results: Results = field(default_factory=Results)
    applied: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()


def parse(type_: str, pairs: Iterable[tuple[str, str]], *, lenient: bool = False, base: str = "") -> Query:
    """Read the decoded pairs of a search on one type; `base` is this server's own address, with which references may
    be written.

    Raises SearchError. Lenient handling leaves out unknown parameters and modifiers only, never a bad value.
    """
    if type_ not in schema().resource_types:
        raise SearchError("not-supported", "no such resource type")
    given = list(pairs)
    if len(given) > MAX_PAIRS:
        raise SearchError("too-costly", f"more than {MAX_PAIRS} parameters")
    criteria, shown, applied, dropped = [], [], [], []
    for name, value in given:
        try:
            if name.partition(":")[0] in RESULT_PARAMETERS:
                shown.append((name, value))
            else:
                criteria.append(_criterion(type_, name, value, base))
            applied.append((name, value))
        except SearchError as exc:
            if not (lenient and isinstance(exc, _Unsupported)):
                raise SearchError(exc.code, str(exc), name) from exc
            dropped.append(name)
    return Query(type_, tuple(criteria), read_results(type_, shown), tuple(applied), tuple(dropped))


def _criterion(type_: str, name: str, value: str, base: str, depth: int = 0) -> Criterion:
    if name.partition(":")[0] == HAS.code:
        return _reversed(type_, name, value, base)
    head, dot, rest = name.partition(".")
    code, colon, modifier = head.partition(":")
    param = _param(type_, code)
    if dot:
        return _chained(param, modifier, rest, value, base, depth + 1)
    if colon:
        _check_modifier(param, modifier)
    try:
        return Criterion(param, modifier, tuple(_operands(type_, param, modifier, value, base)))
    except SearchError as exc:
        raise SearchError(exc.code, f"{param.code}: {exc}") from exc


def is_searchable(type_: str, code: str) -> bool:
    """Whether a type has this search parameter and we serve it: what a CapabilityStatement may list."""
    param = schema().params(type_).get(code)
    return param is not None and code not in REFUSED and param.type in KINDS and param.expression is not None


def _param(type_: str, code: str) -> Param:
    params = schema().params(type_)
    if code not in params:
        raise _Unsupported(f"{type_} has no such search parameter")
    if not is_searchable(type_, code):
        raise _Unsupported(f"{code}: not supported")
    return params[code]


def _check_modifier(param: Param, modifier: str) -> None:
    allowed = MODIFIERS.get(param.type, frozenset()) | (frozenset() if param.type == "composite" else {"missing"})
    if modifier not in allowed and not (param.type == "reference" and modifier in targets(param)):
        raise _Unsupported(f"{param.code}: no such modifier for a {param.type} parameter")


def targets(param: Param) -> frozenset[str]:
    """The resource types a reference parameter may point to."""
    return schema().resource_types if param.targets in ((), ("Any",)) else frozenset(param.targets)


def _operands(type_: str, param: Param, modifier: str, value: str, base: str) -> list[Operand]:
    parts = split(value, ",")
    if len(parts) > MAX_OPERANDS:
        raise SearchError("too-costly", f"more than {MAX_OPERANDS} alternatives")
    if modifier == "missing":
        return [read_missing(part) for part in parts]
    if modifier == "text":
        return [read_text(part) for part in parts]
    if param.type == "composite":
        return [_composite(type_, param, part, base) for part in parts]
    return [READERS[param.type](part, modifier, base) for part in parts]


def _composite(type_: str, param: Param, text: str, base: str) -> Operand:
    parts = split(text, "$")
    if len(parts) != len(param.components):
        raise SearchError("invalid", f"expected {len(param.components)} components")
    kinds = [schema().params(type_)[code].type for code, _ in param.components]
    return Composite(tuple(READERS[kind](part, "", base) for kind, part in zip(kinds, parts, strict=True)))


def _reversed(type_: str, name: str, value: str, base: str) -> Criterion:
    """`_has:Observation:patient:code`: the rest of the name as a criterion of the type that refers."""
    parts = name.split(":", 3)
    if len(parts) != 4 or parts[1] not in schema().resource_types:
        raise _Unsupported("_has: expected _has:Type:reference:parameter")
    _, source, code, rest = parts
    param = _param(source, code)
    if param.type != "reference" or type_ not in targets(param):
        raise _Unsupported("_has: no reference parameter that points here")
    if "." in rest or rest.partition(":")[0] == HAS.code:
        raise _Unsupported("_has: no chain follows it")
    return Criterion(HAS, "", (), None, Has(source, code, _criterion(source, rest, value, base)))


def _chained(param: Param, modifier: str, rest: str, value: str, base: str, depth: int) -> Criterion:
    """`patient.identifier`: the rest of the name as a criterion of each type the reference may point to."""
    if param.type != "reference":
        raise _Unsupported(f"{param.code}: not a reference, no chain starts here")
    if depth > MAX_CHAIN:
        raise _Unsupported(f"a chain of more than {MAX_CHAIN} references")
    wanted = targets(param)
    if modifier:
        if modifier not in wanted:
            raise _Unsupported(f"{param.code}: does not point to that type")
        wanted = frozenset({modifier})
    chain = {}
    for target in sorted(wanted):
        if rest.partition(".")[0].partition(":")[0] in schema().params(target):
            chain[target] = _criterion(target, rest, value, base, depth)
    if not chain:
        raise _Unsupported(f"{param.code}: what it points to has no such search parameter")
    return Criterion(param, modifier, (), chain)
