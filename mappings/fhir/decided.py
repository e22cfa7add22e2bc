"""What the names of an object's members decide of a constraint, before any value is looked at.

Most constraints of R4 ask which of an object's members are there: `dataAbsentReason.empty() or value.empty()`. In a
resource that fits the schema a member that is there has something in it, so its name is the answer. `decide` walks a
constraint's tree with what is known of each collection, how many items it has, and gives true, false, None (open, as
FHIRPath has it) or UNDECIDED, which stands for: ask the values. It never says what asking would not say.

Source: FHIRPath N1 §5.1 (existence), §6 (operators); FHIR R4 fhirpath.html (hasValue).
"""

import math
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from mappings.fhir.fhirpath_syntax import Binary, Call, Expression, Index, Literal, Member, TypeTest
from mappings.fhir.primitives import PRIMITIVES
from mappings.fhir.schema import schema

Shape = tuple[str, ...]


class Answer(Enum):
    """Neither true nor false nor open: not known."""

    UNDECIDED = "undecided"


UNDECIDED: Final = Answer.UNDECIDED
Truth: TypeAlias = bool | Answer | None


class Count(NamedTuple):
    """How many items a collection has, at least and at most."""

    least: float
    most: float


NONE, ANY = Count(0, 0), Count(0, math.inf)


class _Object(NamedTuple):
    kind: str
    shape: Shape


def decide(tree: Expression, kind: str, shape: Shape) -> Truth:
    """The answer of a constraint for every object of a type that has members of these names and no others."""
    return _truth(tree, _Object(kind, shape))


def _truth(tree: Expression, here: _Object) -> Truth:
    match tree:
        case Literal(type="boolean", value=bool() as value):
            return value
        case Binary(operator="and" | "or" | "xor" | "implies"):
            return _logic(tree, here)
        case Binary(operator="=" | "!=" | "<" | "<=" | ">" | ">="):
            return _comparison(tree, here)
        case Binary(operator="in"):
            return None if _count(tree.left, here) == NONE else UNDECIDED
        case Binary(operator="contains"):
            return None if _count(tree.right, here) == NONE else UNDECIDED
        case Call(name="not") if tree.base is not None:
            return _negated(_truth(tree.base, here))
        case Call(name="exists" | "empty" | "all" | "hasValue"):
            return _existence(tree, here)
        case _:
            return UNDECIDED


def _negated(value: Truth) -> Truth:
    return value if value is None or value is UNDECIDED else not value


def _logic(tree: Binary, here: _Object) -> Truth:
    """As the closures of `fhirpath.py`: the left side first, the right one only where it matters."""
    left = _truth(tree.left, here)
    if left is UNDECIDED:
        return UNDECIDED
    if tree.operator == "implies":
        left = _negated(left)
    if tree.operator != "xor" and left is (tree.operator != "and"):
        return left
    right = _truth(tree.right, here)
    if right is UNDECIDED:
        return UNDECIDED
    if tree.operator == "and":
        return right if left or right is False else None
    if tree.operator == "xor":
        return None if left is None or right is None else left is not right
    return right if left is False or right else None


def _comparison(tree: Binary, here: _Object) -> Truth:
    """Open where a side is empty; of two truths or two counts what is known of them says enough."""
    left, right = _count(tree.left, here), _count(tree.right, here)
    if NONE in (left, right):
        return None
    one, two = _number(tree.left, here), _number(tree.right, here)
    if one is not None and two is not None:
        return _COMPARED[tree.operator](one, two)
    if tree.operator in ("=", "!=") and _is_truth(tree.left) and _is_truth(tree.right):
        this, that = _truth(tree.left, here), _truth(tree.right, here)
        if isinstance(this, bool) and isinstance(that, bool):
            return (this is that) is (tree.operator == "=")
    return UNDECIDED


def _is_truth(tree: Expression) -> bool:
    return isinstance(tree, Call) and tree.name in ("exists", "empty", "hasValue", "not")


def _number(tree: Expression, here: _Object) -> Count | None:
    """The least and the most that a number can be; None where that is not known."""
    match tree:
        case Literal(type="integer", value=int() as value):
            return Count(value, value)
        case Call(name="count") if tree.base is not None:
            return _count(tree.base, here)
        case Binary(operator="+"):
            left, right = _number(tree.left, here), _number(tree.right, here)
            return Count(left.least + right.least, left.most + right.most) if left and right else None
        case _:
            return None


def _less(one: Count, two: Count) -> Truth:
    return True if one.most < two.least else False if one.least >= two.most else UNDECIDED


def _equal(one: Count, two: Count) -> Truth:
    if one.most < two.least or two.most < one.least:
        return False
    return True if one == two and one.least == one.most else UNDECIDED


_COMPARED: Final[dict[str, Callable[[Count, Count], Truth]]] = {
    "=": _equal,
    "!=": lambda one, two: _negated(_equal(one, two)),
    "<": _less,
    ">": lambda one, two: _less(two, one),
    "<=": lambda one, two: _negated(_less(two, one)),
    ">=": lambda one, two: _negated(_less(one, two)),
}


def _existence(tree: Call, here: _Object) -> Truth:
    count = Count(1, 1) if tree.base is None else _count(tree.base, here)
    if tree.name == "hasValue":
        return False if count == NONE else _has_value(tree.base, here)
    if tree.arguments:
        return (tree.name == "all") if count == NONE else UNDECIDED
    if count == NONE:
        return tree.name == "empty"
    return tree.name == "exists" if count.least else UNDECIDED


def _has_value(tree: Expression | None, here: _Object) -> Truth:
    """Of a single primitive: whether it stands there itself, not only its `_` member."""
    if not isinstance(tree, Member) or tree.base is not None:
        return UNDECIDED
    element = schema().children(here.kind).get(tree.name)
    if element is None or element.many or element.types[0] not in PRIMITIVES:
        return UNDECIDED
    return element.name in here.shape


def _count(tree: Expression, here: _Object) -> Count:
    """How many items an expression gives. Nothing comes of nothing: that is what most paths end in."""
    match tree:
        case Literal():
            return Count(1, 1) if tree.type else NONE
        case Member(base=None):
            return _members(tree.name, here)
        case Member(base=Member(base=None, name=name)) if name == here.kind:
            return _members(tree.name, here)
        case Call(name="trace") if tree.base is not None:
            return _count(tree.base, here)
        case Call(name="count"):
            return Count(1, 1)
        case Binary(operator="|"):
            left, right = _count(tree.left, here), _count(tree.right, here)
            return NONE if left == right == NONE else ANY
        case Member() | Index() | TypeTest() | Call():
            gives_nothing = tree.base is not None and _is_step(tree) and _count(tree.base, here) == NONE
            return NONE if gives_nothing else ANY
        case _:
            return ANY


_STEPS: Final = frozenset(
    {"where", "select", "first", "last", "tail", "resolve", "descendants", "children", "distinct"}
)


def _is_step(tree: Expression) -> bool:
    """Whether an expression gives nothing where what it is applied to is empty."""
    if isinstance(tree, TypeTest):
        return tree.name == "as"
    return not isinstance(tree, Call) or tree.name in _STEPS


def _members(name: str, here: _Object) -> Count:
    """How many children an object has under one of FHIRPath's names."""
    if name == here.kind or name[0].isupper():
        return ANY  # a type: the object itself, or nothing
    elements = schema().children(here.kind)
    element = elements.get(name) or elements.get(f"{name}[x]")
    if element is None or not any(key in here.shape or f"_{key}" in here.shape for key in element.names):
        return NONE
    return Count(1, math.inf if element.many else 1)
