"""Search parameters of a type compiled to one tree over the members of its JSON, and the walk that extracts their
values.

Nearly every search expression of R4 is a path: members, a choice, a type, one simple `where`. `Branch` holds them all
at once, keyed by JSON member, so that a walk over the members that a resource has touches only the parameters that
can have a value. What is no such path (`Patient.deceased.exists() and …`, `Bundle.entry[0].resource`) runs as
compiled FHIRPath beside it.
Source: FHIR R4 search.html; the expressions are the schema's.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from mappings.fhir import fhirpath
from mappings.fhir.codec import Json
from mappings.fhir.fhirpath_env import Env, resolved
from mappings.fhir.fhirpath_model import is_type, type_name
from mappings.fhir.fhirpath_syntax import (
    Binary,
    Call,
    Expression,
    Literal,
    Member,
    TypeTest,
    branches,
    parse,
)
from mappings.fhir.schema import Element, Param, schema
from mappings.fhir.search_values import CompositeValue, Convert, Values, converter

Extracted: TypeAlias = dict[str, Values]

# (item, the resource it is in) -> whether the path goes on; and -> the values of a parameter
Guard: TypeAlias = Callable[[Any, Json], bool]
Odd: TypeAlias = Callable[[Any, Json], Values]


@dataclass(slots=True)
class Branch:
    """What to do at one place of a resource, for all parameters that pass it.

    `leaves`: the item becomes values of these parameters; `odd`: the same, for values that need the whole resource;
    `guards`: more to do where a condition holds; `members`: where to go on.
    """

    leaves: list[tuple[list[str], Convert]] = field(default_factory=list)
    odd: list[tuple[list[str], Odd]] = field(default_factory=list)
    guards: list[tuple[Guard, "Branch"]] = field(default_factory=list)
    members: dict[str, "Branch"] = field(default_factory=dict)

    def read(self, item: Any, root: Json, found: Extracted) -> None:
        """Collect the values of one item and of what is below it."""
        for codes, convert in self.leaves:
            if values := convert(item):
                _add(found, codes, values)
        for codes, odd in self.odd:
            if values := odd(item, root):
                _add(found, codes, values)
        for guard, branch in self.guards:
            if guard(item, root):
                branch.read(item, root, found)
        if self.members:
            self._descend(item, root, found)

    def _descend(self, item: Json, root: Json, found: Extracted) -> None:
        members = self.members
        for name in item if len(item) <= len(members) else members:
            branch = members.get(name)
            if branch is None or name not in item:
                continue
            value = item[name]
            if type(value) is not list:
                branch.read(value, root, found)
                continue
            for one in value:
                if one is not None:
                    branch.read(one, root, found)


def _add(found: Extracted, codes: Iterable[str], values: Values) -> None:
    for code in codes:
        known = found.get(code)
        found[code] = values if known is None else known + values


# --- reading an expression as a path ----------------------------------------------------------------------------------


class Into(NamedTuple):
    """A step to the children of this name."""

    name: str


class Only(NamedTuple):
    """A step that goes on from items of this type: `as T`, and the type in front of a path."""

    type: str


class Where(NamedTuple):
    """A step that goes on from items that meet a condition."""

    guard: Guard


Step: TypeAlias = Into | Only | Where


class NoPath(Exception):
    """The expression is more than a path."""


def path_of(tree: Expression) -> list[Step]:
    """The steps of a path, its head first. Raises NoPath."""
    match tree:
        case Member(base=None, name=name):
            return [Only(name) if name[0].isupper() else Into(name)]
        case Member(base=base, name=name) if base is not None:
            return [*path_of(base), Into(name)]
        case TypeTest(base=base, name="as", type=wanted) if base is not None:
            return [*path_of(base), Only(type_name(wanted))]
        case Call(base=base, name="where", arguments=(condition,)) if base is not None:
            return [*path_of(base), Where(_guard_of(condition))]
        case _:
            raise NoPath


def _guard_of(condition: Expression) -> Guard:
    """The two conditions that R4 puts into search paths: `resolve() is T` and `member = 'literal'`."""
    match condition:
        case TypeTest(base=Call(base=None, name="resolve"), name="is", type=wanted):
            return _points_to(type_name(wanted))
        case Binary("=", Member(base=None, name=name), Literal(type="string", value=wanted_text)):
            return lambda item, root: item.get(name) == wanted_text
        case _:
            raise NoPath


def _points_to(wanted: str) -> Guard:
    prefix = f"{wanted}/"

    def guard(item: Json, root: Json) -> bool:
        literal = item.get("reference")
        if literal is not None and literal.startswith(prefix):
            return True
        node = resolved(item, Env(root))
        return node is not None and node[0] == wanted

    return guard


# --- growing the tree -------------------------------------------------------------------------------------------------


class _Place(NamedTuple):
    """Where a path has come to: the branch, the schema's type there, and the element that led to it."""

    branch: Branch
    type: str
    element: Element | None


class _Growth:
    """One type's tree while it is built."""

    def __init__(self, type_: str) -> None:
        self.type = type_
        self.tree = Branch()

    def add(self, param: Param) -> None:
        """Put a parameter into the tree; one without an expression (`_text`) has no values to extract."""
        if param.expression is None:
            return
        try:
            paths = [path_of(side) for side in branches(parse(param.expression))]
            places = [place for path in paths for place in self._follow(path)]
        except NoPath:
            self.tree.odd.append(([param.code], _evaluated(param.type, param.expression, "", param.targets)))
            return
        for place in places:
            self._add_leaf(param, place)

    def _follow(self, steps: list[Step]) -> list[_Place]:
        """The places a path leads to: several where it passes a choice."""
        places = [_Place(self.tree, self.type, None)]
        for step in steps:
            places = [after for place in places for after in _step(place, step)]
        return places

    def _add_leaf(self, param: Param, place: _Place) -> None:
        if param.type == "composite":
            params = schema().params(self.type)
            kinds = tuple((params[code].type, expression) for code, expression in param.components)
            _join(place.branch.odd, param.code, _composite(place.type, kinds))
            return
        convert = converter(param.type, place.type, place.element.valueset if place.element else None)
        if convert is not None:
            _join(place.branch.leaves, param.code, convert)


_Read = TypeVar("_Read")


def _join(readers: list[tuple[list[str], _Read]], code: str, read: _Read) -> None:
    """Add a parameter to the reader it shares with others, so that each reader runs once an item."""
    codes = next((codes for codes, known in readers if known is read), None)
    if codes is None:
        readers.append(([code], read))
    elif code not in codes:
        codes.append(code)


def _step(place: _Place, step: Step) -> list[_Place]:
    match step:
        case Into(name=name):
            return _members(place, name)
        case Only(type=wanted):
            return [place] if is_type(place.type, wanted) else []
        case Where(guard=guard):
            branch = Branch()
            place.branch.guards.append((guard, branch))
            return [place._replace(branch=branch)]


def _members(place: _Place, name: str) -> list[_Place]:
    known = schema()
    if not known.has_children(place.type):
        return []
    children = known.children(place.type)
    element = children.get(name) or children.get(f"{name}[x]")
    if element is None:
        return []
    return [
        _Place(place.branch.members.setdefault(json_name, Branch()), type_, element)
        for json_name, type_ in element.names.items()
    ]


def _evaluated(kind: str, expression: str, type_: str, targets: tuple[str, ...] = ()) -> Odd:
    """A parameter as compiled FHIRPath: each item found becomes values by its own type."""
    compiled = fhirpath.compile(expression)

    def read(item: Any, root: Json) -> Values:
        found: Values = ()
        for node in compiled.nodes(item, Env(root), type=type_):
            convert = converter(kind, node[0])
            if convert is not None and node[1] is not None and _wanted(node[0], targets):
                found += convert(node[1])
        return found

    return read


def _wanted(type_: str, targets: tuple[str, ...]) -> bool:
    """A resource found inside a Bundle has to be of a type the parameter points to (`Bundle.message` is no
    Composition).
    """
    return type_ not in schema().resource_types or not targets or targets == ("Any",) or type_ in targets


@cache
def _composite(path: str, kinds: tuple[tuple[str, str], ...]) -> Odd:
    """One node's components, each by search type and expression; a node that lacks one of them has no value."""
    components = [_component(kind, expression, path) for kind, expression in kinds]
    needed = [names for _, names in components if names]

    def read(item: Any, root: Json) -> Values:
        if any(names.isdisjoint(item) for names in needed):
            return ()
        parts = []
        for component, _ in components:
            values = component(item, root)
            if not values:
                return ()
            parts.append(values)
        return (CompositeValue(tuple(parts)),)

    return read


def _component(kind: str, expression: str, path: str) -> tuple[Odd, frozenset[str]]:
    """A component is a parameter of its node, compiled the same way; and the members of which it needs one (none:
    any).
    """
    growth = _Growth(path)
    growth.add(Param("", kind, expression, (), (), ""))
    tree = growth.tree
    if tree.odd:
        return _evaluated(kind, expression, path), frozenset()

    def read(item: Any, root: Json) -> Values:
        found: Extracted = {}
        tree.read(item, root, found)
        return found.get("", ())

    return read, frozenset(tree.members)


# --- what the world calls ---------------------------------------------------------------------------------------------


@cache
def plan(type_: str, only: frozenset[str] | None) -> Branch:
    growth = _Growth(type_)
    for code, param in schema().params(type_).items():
        if (only is None or code in only) and param.type in KINDS:
            growth.add(param)
    return growth.tree


@cache
def codes(type_: str, kinds: frozenset[str]) -> frozenset[str]:
    """The parameters of a type that are of these search types: what an index that holds only tokens and dates asks
    for.
    """
    return frozenset(code for code, param in schema().params(type_).items() if param.type in kinds)


KINDS: Final = frozenset({"token", "string", "date", "number", "quantity", "reference", "uri", "composite"})


def extract(type_: str, resource: Json, only: frozenset[str] | None = None) -> Extracted:
    """The values of each search parameter that has one, of all or of `only` these. The resource is a valid one."""
    found: Extracted = {}
    plan(type_, only).read(resource, resource, found)
    return found
