"""Checks between rows: what one row alone cannot show.

- two live rows on one single value must not both apply, unless the later one only fills (`??`)
- a slot is built by rows of one table; its elements' required children have a row

Whether a resource has every required element is asked where maps come together (`hl7v2/wiring.py`), by `missing`.
"""

from collections.abc import Iterable, Mapping, Sequence

from mappings.fhir.schema import Schema
from mappings.rows.condition import exclusive
from mappings.rows.emit import WHEN_ABSENT, Fact
from mappings.rows.table import Kind


def faults_between(maps: Mapping[str, Sequence[Fact]], schema: Schema) -> list[str]:
    """Every fault between the rows of each map."""
    faults: list[str] = []
    for facts in maps.values():
        faults += overlapping(facts)
        faults += _incomplete_elements(facts, schema)
    return faults


def overlapping(facts: Sequence[Fact]) -> list[str]:
    """Pairs of rows that may both write one single value."""
    by_target: dict[str, list[Fact]] = {}
    for fact in facts:
        if fact.target.last.kind in (Kind.PLAIN, Kind.CHOICE) and fact.default != WHEN_ABSENT:
            by_target.setdefault(_single(fact), []).append(fact)
    return [
        f"{other.row.place}: {other.row.id} and {fact.row.id} may both write {fact.row.target}"
        for group in by_target.values()
        for index, fact in enumerate(group)
        for other in group[index + 1 :]
        if not _apart(fact, other)
    ]


def _single(fact: Fact) -> str:
    """The single value a row writes: all the names of a choice are one value."""
    steps = fact.target.steps
    head = ".".join(f"{step.name}({step.key})" for step in steps[:-1])
    return f"{head}.{fact.target.element.name}{'_' if steps[-1].name.startswith('_') else ''}"


def _apart(fact: Fact, other: Fact) -> bool:
    if any(step.kind is Kind.APPEND for step in fact.target.steps[:-1]):
        return True  # an element of its own each time
    return fact.when is not None and other.when is not None and exclusive(fact.when, other.when)


def _incomplete_elements(facts: Sequence[Fact], schema: Schema) -> list[str]:
    """Elements that rows build without a child that R4 requires there."""
    written: dict[str, set[str]] = {}
    first: dict[str, tuple[Fact, str]] = {}
    for fact in facts:
        anchor = fact.target.anchor
        if anchor < 0 or fact.target.steps[anchor].kind is Kind.EXTENSION:
            continue
        key = "/".join(f"{step.name}:{step.key}" for step in fact.target.steps[: anchor + 1])
        rest = fact.target.steps[anchor + 1 :]
        names = written.setdefault(key, set())
        if not rest:
            names.add("*")
            continue
        names |= {rest[0].name.removeprefix("_")}
        if len(rest) == 1:
            names |= {fact.target.element.name}
            first.setdefault(key, (fact, fact.target.holder))
    return [
        f"{fact.row.place}: {fact.row.id}: nothing writes {missed[0]}, which {holder} requires"
        for key, (fact, holder) in first.items()
        if "*" not in written[key] and (missed := missing(schema, holder, written[key]))
    ]


def missing(schema: Schema, path: str, written: Iterable[str]) -> list[str]:
    """The required children of a path that nothing writes."""
    given = set(written)
    return [
        name
        for name, element in schema.children(path).items()
        if element.min and name not in given and not given & set(element.names) and element.stem not in given
    ]
