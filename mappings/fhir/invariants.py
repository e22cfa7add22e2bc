"""The invariants layer: the constraints that R4 states in FHIRPath, asked at every node they are declared for.

`broken(resource)` comes after `validate.validate`, and asks of a resource that fits the schema only: much is decided
there, and what the schema refuses FHIRPath cannot speak of. A fault names the place and the constraint's key, never a
value. A constraint is kept where it is true, not where it is empty: so HL7's own validator reads them. Where that asks
too much (a Period that begins at eight in the morning and ends on that day, without a time), `errata.csv` says how R4B
or R5 put it right.

- `%resource` is the resource a node stands in; `%rootResource` of a contained resource is its container, of an entry of
  a Bundle that entry's resource itself. `resolve()` finds what is contained, and entries of the Bundle; of everything
  else it knows the type that the reference names (`fhirpath_env.py`).
- Bindings are the schema layer's: no constraint of R4 asks `memberOf`. What `validate.py` has decided is not asked
  again (PROVEN).

How it is fast: as in `fits.py`, a quick pass looks at the names of an object's members first. They alone decide most
constraints (`decided.py`), once for each set of names; what is left is asked of the values. It says yes, or "look
closer": only then the second pass asks everything, and knows the paths.

Source: FHIR R4 4.0.1 §2.1.28.0.4 (constraints), fhirpath.html, by way of `r4.json`; corrections in `errata.csv`.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

from mappings.fhir import fhirpath
from mappings.fhir.checks import MAX_FAULTS
from mappings.fhir.codec import Fault, Json
from mappings.fhir.decided import Answer, decide
from mappings.fhir.fhirpath import Env, FhirpathError, Node
from mappings.fhir.fhirpath_env import Resolve
from mappings.fhir.primitives import PRIMITIVES
from mappings.fhir.schema import Constraint, schema

__all__ = ["PROVEN", "Asked", "asked", "broken", "key_of"]

# What the schema and narrative layers have decided of a resource that reaches this one:
# ele-1: `checks.object_check` refuses an empty object and one of an id alone; a primitive without value has extensions
# ext-1: `checks.extension_rule`           dom-2, dom-3, dom-4, dom-5: `contained.rules`
# sqty-1: `checks.without`                 txt-1, txt-2: `narrative.narrative_fault`
PROVEN = frozenset({"ele-1", "ext-1", "dom-2", "dom-3", "dom-4", "dom-5", "sqty-1", "txt-1", "txt-2"})

Shape = tuple[str, ...]  # the names of an object's members, as they stand

_NAMED = re.compile(r"\(([a-z]+-[0-9]+[a-z]?)\)$")
_SHAPES = 512  # remembered of one path; a feed's rows make a few dozen


class Where(NamedTuple):
    """The surroundings of a node: the resource it stands in, that resource's container, and where references lead."""

    resource: Json
    root: Json
    resolve: Resolve | None = None


Test = Callable[[Any, Where], bool]


def broken(resource: Json, *, warnings: bool = False) -> tuple[Fault, ...]:
    """The constraints that a resource breaks which fits the schema; with `warnings` also those that only advise."""
    if not warnings and _quick(str(resource["resourceType"]), ())(resource, Where(resource, resource)):
        return ()
    found = (one for one in asked(resource) if warnings or one.rule.severity == "error")
    return tuple(islice((_fault(one) for one in found if one.answer is not True), MAX_FAULTS))


def _fault(one: "Asked") -> Fault:
    return Fault(one.rule.severity, "invariant", one.path, f"{one.rule.human} ({_key(one.rule)})")


def _key(rule: Constraint) -> str:
    """A constraint's key as the standard has it; where two types use one, the table tells them apart."""
    return rule.key.partition("@")[0]


def key_of(fault: Fault) -> str:
    """The constraint that a fault of any layer names at the end of its text; "" where it names none."""
    found = _NAMED.search(fault.text)
    return found[1] if found else ""


# --- what is declared where -------------------------------------------------------------------------------------------


class Child(NamedTuple):
    """What stands under one JSON name of an object: its type, how FHIRPath reaches it, and what its place asks."""

    kind: str
    segment: str
    many: bool
    rules: tuple[Constraint, ...]


@cache
def _rules(kind: str) -> tuple[Constraint, ...]:
    """What every node of a type has to keep; of an element with children of its own, what its place there asks.

    Another element that refers to its content is asked the same (R4, ElementDefinition.contentReference).
    """
    if (known := schema().types.get(kind)) is not None:
        return _unproven(known.constraints)
    parent, _, name = kind.rpartition(".")
    return _unproven(schema().children(parent)[name].constraints)


def _unproven(declared: tuple[Constraint, ...]) -> tuple[Constraint, ...]:
    return tuple(constraint for constraint in declared if constraint.key not in PROVEN)


@cache
def _children(kind: str) -> dict[str, Child]:
    """The members of an object by JSON name that have something to keep, or hold what has: all but bare primitives."""
    found = {}
    for element in schema().children(kind).values():
        for name, child in element.names.items():
            segment = f".{element.stem}.ofType({child})" if element.choice else f".{element.name}"
            primitive = child in PRIMITIVES
            of_type = () if child == "Resource" else _rules(child)
            rules = tuple(rule for rule in _unproven(element.constraints) if rule not in of_type)
            if not primitive or rules:
                found[name] = Child(child, segment, element.many, rules)
            if primitive and not element.xml_attribute:
                found[f"_{name}"] = Child("Element", segment, element.many, ())
    return found


# --- the quick pass ---------------------------------------------------------------------------------------------------


@cache
def _quick(kind: str, rules: tuple[Constraint, ...]) -> Test:
    """Whether an object keeps all errors beyond doubt: its type's, those of its place, and those of all within it."""
    asked = [rule for rule in (*_rules(kind), *rules) if rule.severity == "error"]
    known: dict[Shape, Test] = {}

    def read(shape: Shape) -> Test:
        test = _of_shape(kind, asked, shape)
        if len(known) < _SHAPES:
            known[shape] = test
        return test

    def keeps(node: Any, where: Where) -> bool:
        shape = tuple(node)
        return (known.get(shape) or read(shape))(node, where)

    return keeps


def _of_shape(kind: str, rules: list[Constraint], shape: Shape) -> Test:
    """What remains to be asked of an object whose names are known."""
    answers = [(rule, decide(fhirpath.compile(rule.expression).tree, kind, shape)) for rule in rules]
    if any(answer is False or answer is None for _, answer in answers):
        return _look_closer
    tests = [_ask(rule, kind) for rule, answer in answers if answer is Answer.UNDECIDED]
    children = _children(kind)
    below = [(name, _below(children[name], name)) for name in shape if name in children]
    if not tests and not below:
        return _kept

    def keeps(node: Any, where: Where) -> bool:
        for name, test in below:
            if not test(node[name], where):
                return False
        for test in tests:
            if not test(node, where):
                return False
        return True

    return keeps


def _kept(node: Any, where: Where) -> bool:
    return True


def _look_closer(node: Any, where: Where) -> bool:
    return False


def _below(child: Child, name: str) -> Test:
    """The quick pass over what stands under one name."""
    if child.kind in PRIMITIVES:  # two of R4: ElementDefinition.max and a RiskAssessment's probability
        asked = [_ask(rule, child.kind) for rule in child.rules]
        return lambda value, where: all(test(value, where) for test in asked)
    test = _resource if child.kind == "Resource" else _quick(child.kind, child.rules)
    if child.kind == "Resource" and name == "contained":
        test = _contained
    if not child.many:
        return test

    def keep(items: Any, where: Where) -> bool:
        for item in items:
            if item is not None and not test(item, where):
                return False
        return True

    return keep


def _resource(node: Any, where: Where) -> bool:
    return _quick(node["resourceType"], ())(node, _inside(where, node))


def _contained(node: Any, where: Where) -> bool:
    return _quick(node["resourceType"], ())(node, where._replace(resource=node))


def _inside(where: Where, inner: Json) -> Where:
    """The surroundings of a resource that stands in an entry of a Bundle, or in Parameters: those of its own."""
    if where.resource["resourceType"] != "Bundle":
        return Where(inner, inner, where.resolve)
    entries = where.resource["entry"]

    def resolve(text: str) -> Json | None:
        found: list[Json] = [one["resource"] for one in entries if one.get("fullUrl") == text and "resource" in one]
        return found[0] if found else None

    return Where(inner, inner, resolve)


def _ask(rule: Constraint, kind: str) -> Test:
    """One constraint, asked of the values; the commonest natively, where that is sure of a yes."""
    if rule.key in _NATIVE:
        return _NATIVE[rule.key]
    return lambda node, where: _answer(rule, (kind, node, None), where) is True


def _answer(rule: Constraint, node: Node, where: Where) -> bool | None:
    """The truth of a constraint; one that cannot be asked of this node is not kept."""
    try:
        return fhirpath.compile(rule.expression).ask(node, Env(*where))
    except FhirpathError:
        return False


def _local_reference(node: Any, where: Where) -> bool:
    """ref-1. `#` alone is the container itself, for what it contains."""
    text = node.get("reference")
    if text is None or not text.startswith("#"):
        return True
    if text == "#":
        return where.root is not where.resource
    return any(inner.get("id") == text[1:] for inner in where.root.get("contained", ()))


def _ordered(node: Any, where: Where) -> bool:
    """per-1, of times in one zone and of one precision: so written, their order is that of their texts."""
    start, end = node["start"], node["end"]
    if start is None or end is None or len(start) != len(end) or start[19:] != end[19:]:
        return False
    return bool(start <= end)


_NATIVE: dict[str, Test] = {"ref-1": _local_reference, "per-1": _ordered}


# --- the second pass --------------------------------------------------------------------------------------------------


class Asked(NamedTuple):
    """One constraint at one node."""

    rule: Constraint
    node: Node
    where: Where
    path: str

    @property
    def answer(self) -> bool | None:
        """Its truth; None where the data leaves it open, which is no yes."""
        return _answer(self.rule, self.node, self.where)


def asked(resource: Json) -> Iterator[Asked]:
    """Every constraint at every node that has to keep it, the outermost first."""
    name = str(resource["resourceType"])
    return _asked((name, resource, None), (), Where(resource, resource), name)


def _asked(node: Node, rules: tuple[Constraint, ...], where: Where, path: str) -> Iterator[Asked]:
    kind, value, _ = node
    for rule in (*_rules(kind), *rules):
        yield Asked(rule, node, where, path)
    if not isinstance(value, dict):
        return
    for name, child in _children(kind).items():
        if name in value:
            for index, item in enumerate(value[name] if child.many else [value[name]]):
                if item is not None:
                    place = f"{path}{child.segment}[{index}]" if child.many else path + child.segment
                    yield from _asked_below(name, child, item, where, place)


def _asked_below(name: str, child: Child, item: Any, where: Where, path: str) -> Iterator[Asked]:
    if child.kind != "Resource":
        yield from _asked((child.kind, item, None), child.rules, where, path)
        return
    around = where._replace(resource=item) if name == "contained" else _inside(where, item)
    yield from _asked((item["resourceType"], item, None), (), around, path)
