"""Result parameters: how the found resources are shown. They choose none.

Read and checked here, kept apart from the criteria; which of them are served is the API's decision.
Source: FHIR R4 search.html §3.1.1.5; `_totalMethod` is fhirpy's name of `_total`.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from mappings.fhir.schema import schema
from mappings.fhir.search_operands import SearchError, split
from mappings.fhir.summary import is_element

SORTABLE: Final = frozenset({"string", "date", "token", "number"})
SUMMARIES: Final = frozenset({"true", "false", "text", "data", "count"})
TOTALS: Final = {"none": "none", "estimate": "estimate", "accurate": "accurate", "count": "accurate"}


@dataclass(frozen=True, slots=True)
class Sort:
    code: str
    descending: bool


@dataclass(frozen=True, slots=True)
class Include:
    """`source:code[:target]`; `iterate` also from what was included."""

    source: str
    code: str
    target: str | None
    iterate: bool


@dataclass(frozen=True, slots=True)
class Results:
    """None and () mean: not asked for."""

    count: int | None = None
    sort: tuple[Sort, ...] = ()
    include: tuple[Include, ...] = ()
    revinclude: tuple[Include, ...] = ()
    summary: str | None = None
    elements: tuple[str, ...] = ()
    total: str | None = None
    format: str | None = None
    pretty: bool | None = None
    explain: bool | None = None

    @property
    def asked(self) -> frozenset[str]:
        """The names of the parameters that were given, so that an API can refuse what it does not serve."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return frozenset(f"_{name}" for name, value in values.items() if value not in (None, ()))


def read_results(type_: str, pairs: Iterable[tuple[str, str]]) -> Results:
    """Raises SearchError, with the parameter's name. A repeated `_sort`, `_include` or `_elements` adds; any other is
    an error.
    """
    results, seen = Results(), set()
    for name, value in pairs:
        code, _, modifier = name.partition(":")
        if modifier and (code not in _ITERABLE or modifier != "iterate"):
            raise SearchError("not-supported", f"{code}: no such modifier", name)
        if code in seen and code not in _REPEATABLE:
            raise SearchError("invalid", f"{code}: given twice", name)
        seen.add(code)
        try:
            results = RESULT_PARAMETERS[code](results, type_, value, bool(modifier))
        except SearchError as exc:
            raise SearchError(exc.code, f"{code}: {exc}", name) from exc
    _agree(results)
    return results


def _agree(results: Results) -> None:
    """Raises SearchError for two that cannot both be had."""
    if results.summary not in (None, "false") and results.elements:
        raise SearchError("invalid", "_elements: not together with _summary", "_elements")
    if results.summary == "text" and (results.include or results.revinclude):
        raise SearchError("invalid", "_summary: text is not had together with included resources", "_summary")


def _count(results: Results, type_: str, value: str, iterate: bool) -> Results:
    if re.fullmatch(r"[0-9]{1,9}", value) is None:
        raise SearchError("invalid", "expected a whole number")
    return replace(results, count=int(value))


def _sort(results: Results, type_: str, value: str, iterate: bool) -> Results:
    sorts = [Sort(key.removeprefix("-"), key.startswith("-")) for key in split(value, ",")]
    params = schema().params(type_)
    for sort in sorts:
        if sort.code not in params or params[sort.code].type not in SORTABLE or params[sort.code].expression is None:
            raise SearchError("not-supported", "no parameter to sort by")
    return replace(results, sort=(*results.sort, *sorts))


def _read_include(value: str, iterate: bool) -> Include:
    parts = value.split(":")
    if len(parts) not in (2, 3) or "*" in parts:
        raise SearchError("not-supported", "expected Type:parameter or Type:parameter:Type")
    source, code, target = parts[0], parts[1], parts[2] if len(parts) == 3 else None
    known = schema()
    if source not in known.resource_types or (target is not None and target not in known.resource_types):
        raise SearchError("not-supported", "no such resource type")
    param = known.params(source).get(code)
    if param is None or param.type != "reference":
        raise SearchError("not-supported", "no such reference parameter")
    return Include(source, code, target, iterate)


def _include(results: Results, type_: str, value: str, iterate: bool) -> Results:
    return replace(results, include=(*results.include, _read_include(value, iterate)))


def _revinclude(results: Results, type_: str, value: str, iterate: bool) -> Results:
    return replace(results, revinclude=(*results.revinclude, _read_include(value, iterate)))


def _summary(results: Results, type_: str, value: str, iterate: bool) -> Results:
    if value not in SUMMARIES:
        raise SearchError("invalid", "expected true, false, text, data or count")
    return replace(results, summary=value)


def _elements(results: Results, type_: str, value: str, iterate: bool) -> Results:
    names = split(value, ",")
    if not all(is_element(type_, name) for name in names):
        raise SearchError("invalid", "expected names of elements")
    return replace(results, elements=(*results.elements, *(name.removeprefix(f"{type_}.") for name in names)))


def _total(results: Results, type_: str, value: str, iterate: bool) -> Results:
    if value not in TOTALS:
        raise SearchError("invalid", "expected none, estimate or accurate")
    return replace(results, total=TOTALS[value])


def _format(results: Results, type_: str, value: str, iterate: bool) -> Results:
    return replace(results, format=value)


def _flag(value: str) -> bool:
    if value not in ("true", "false"):
        raise SearchError("invalid", "expected true or false")
    return value == "true"


def _pretty(results: Results, type_: str, value: str, iterate: bool) -> Results:
    return replace(results, pretty=_flag(value))


def _explain(results: Results, type_: str, value: str, iterate: bool) -> Results:
    return replace(results, explain=_flag(value))


_ITERABLE: Final = frozenset({"_include", "_revinclude"})
_REPEATABLE: Final = frozenset({"_include", "_revinclude", "_sort", "_elements"})

# (results so far, searched type, value, :iterate) -> results
RESULT_PARAMETERS: Final[dict[str, Callable[[Results, str, str, bool], Results]]] = {
    "_count": _count,
    "_elements": _elements,
    "_explain": _explain,
    "_format": _format,
    "_include": _include,
    "_pretty": _pretty,
    "_revinclude": _revinclude,
    "_sort": _sort,
    "_summary": _summary,
    "_total": _total,
    "_totalMethod": _total,
}
