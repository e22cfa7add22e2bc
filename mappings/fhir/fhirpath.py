"""FHIRPath compiled to closures: one compiler for search, invariants and the IPS checks.

`compile(text)` reads an expression once and gives a Compiled, which is called with many resources. Each operator
becomes a small function over lists of nodes; where a truth is wanted it computes a bool or None and builds no
collection. Member names, types and choices (`value[x]`) come from the R4 schema. The subset is what R4's search
expressions and constraints use (paths, index, the functions of `fhirpath_functions.py`, `where select all exists iif
trace resolve is as ofType`, comparisons, `+ - &`, `and or xor implies in contains |`, `%resource %rootResource
%context %ucum`); anything else is refused when it is compiled.

Two points where the standard leaves room: `matches` finds a part (an expression anchors itself where it means the
whole), and `resolve()` answers without fetching where only the type is asked, from `Patient/1` or Reference.type, as
a search index has to.

Source: FHIRPath N1 (2.0.0); FHIR R4 fhirpath.html (additional functions and variables).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from typing import Any, Final, TypeAlias

from mappings.fhir import fhirpath_model as model
from mappings.fhir.codec import decimal
from mappings.fhir.fhirpath_env import UCUM, Env, resolved
from mappings.fhir.fhirpath_functions import APPLIED, PLAIN, TRUTHS, text_of, truth_of
from mappings.fhir.fhirpath_model import Node, Nodes, boolean
from mappings.fhir.fhirpath_syntax import (
    Binary,
    Call,
    Expression,
    FhirpathError,
    Index,
    Literal,
    Member,
    TypeTest,
    Variable,
    parse,
)

__all__ = ["Compiled", "Env", "FhirpathError", "Node", "compile"]

Run: TypeAlias = Callable[[Nodes, Env], Nodes]
Truth: TypeAlias = Callable[[Nodes, Env], bool | None]


@dataclass(frozen=True, slots=True)
class Compiled:
    """An expression ready to run. All three ways raise FhirpathError where it asks for one item and there are
    several.
    """

    text: str
    tree: Expression = field(repr=False)
    run: Run = field(repr=False)
    test: Truth = field(repr=False)

    def __call__(self, value: Any, env: Env | None = None, *, type: str = "") -> list[Any]:
        """The values found; `type` is that of `value` where it is no resource."""
        return [node[1] for node in self.nodes(value, env, type=type)]

    def nodes(self, value: Any, env: Env | None = None, *, type: str = "") -> Nodes:
        """The same with their types, as (type, value, sibling)."""
        focus = (type, value, None) if type else model.resource_node(value)
        return self.run([focus], _surroundings(focus, env))

    def truth(self, value: Any, env: Env | None = None, *, type: str = "") -> bool | None:
        """The answer of an invariant. None where the data leaves it open: unlike precision, nothing to compare."""
        return self.ask((type, value, None) if type else model.resource_node(value), env)

    def ask(self, focus: Node, env: Env | None = None) -> bool | None:
        """The same of any node, a primitive with its sibling too."""
        return self.test([focus], _surroundings(focus, env))


def _surroundings(focus: Node, env: Env | None) -> Env:
    return Env(focus[1], context=focus) if env is None else replace(env, context=focus)


@cache
def compile(text: str) -> Compiled:  # the standard library's word, too: `re.compile`
    """Compile one expression; the result is kept, for all of them come from the standard, a profile or this code.

    Raises FhirpathError where it is not FHIRPath, or not of our subset.
    """
    tree = parse(text)
    return Compiled(text, tree, _nodes(tree), _truth(tree))


def _nodes(tree: Expression) -> Run:
    """The closure that gives the items of an expression."""
    match tree:
        case Literal():
            return _literal(tree)
        case Variable():
            return _variable(tree)
        case Member():
            return _member(tree)
        case Index():
            return _index(tree)
        case TypeTest(name="as"):
            return _cast(tree)
        case Call() if tree.name in _CALLS:
            return _CALLS[tree.name](tree)
        case Call() if tree.name in PLAIN or tree.name in APPLIED:
            return _function(tree)
        case Binary(operator="|" | "+" | "-" | "&"):
            return _combination(tree)
        case _:
            return _as_items(_truth(tree))


def _truth(tree: Expression) -> Truth:
    """The closure that gives the truth of an expression."""
    match tree:
        case Binary() if tree.operator in _LOGIC:
            return _LOGIC[tree.operator](_truth(tree.left), _truth(tree.right))
        case Binary() if tree.operator in _COMPARISONS:
            return _comparison(tree)
        case Binary(operator="in"):
            return _membership(tree.left, tree.right)
        case Binary(operator="contains"):
            return _membership(tree.right, tree.left)
        case TypeTest(name="is"):
            return _type_test(tree)
        case Call() if tree.name in _TRUE_CALLS:
            return _TRUE_CALLS[tree.name](tree)
        case Call() if tree.name in TRUTHS:
            return _property(tree)
        case Call() if tree.name not in PLAIN and tree.name not in APPLIED and tree.name not in _CALLS:
            raise FhirpathError("a function outside our subset")
        case _:
            run = _nodes(tree)
            return lambda scope, env: truth_of(run(scope, env))


def _as_items(test: Truth) -> Run:
    return lambda scope, env: boolean(test(scope, env))


def _base(tree: Expression | None) -> Run:
    """What a member, call or test is applied to; without one, the focus."""
    return _focus if tree is None else _nodes(tree)


def _focus(scope: Nodes, env: Env) -> Nodes:
    return scope


# --- literals, variables, paths ---------------------------------------------------------------------------------------


def _literal(tree: Literal) -> Run:
    items: Nodes = [(tree.type, tree.value, None)] if tree.type else []
    return lambda scope, env: items


def _variable(tree: Variable) -> Run:
    if tree.name not in _VARIABLES:
        raise FhirpathError("a variable outside our subset")
    return _VARIABLES[tree.name]


_VARIABLES: Final[dict[str, Run]] = {
    "$this": _focus,
    "%context": lambda scope, env: [] if env.context is None else [env.context],
    "%resource": lambda scope, env: [model.resource_node(env.resource)],
    "%rootResource": lambda scope, env: [model.resource_node(env.outermost)],
    "%ucum": lambda scope, env: [("string", UCUM, None)],
}


def _member(tree: Member) -> Run:
    step = model.member(tree.name)
    if tree.base is not None:
        base = _nodes(tree.base)
        return lambda scope, env: step(base(scope, env))
    if not tree.name[0].isupper():
        return lambda scope, env: step(scope)
    name = tree.name
    return lambda scope, env: [node for node in scope if model.is_type(node[0], name)]


def _index(tree: Index) -> Run:
    base = _nodes(tree.base)
    if not isinstance(tree.index, Literal) or not isinstance(tree.index.value, int):
        raise FhirpathError("an index that is no literal is outside our subset")
    at = tree.index.value
    return lambda scope, env: base(scope, env)[at : at + 1]


# --- types ------------------------------------------------------------------------------------------------------------


def _cast(tree: TypeTest) -> Run:
    base, wanted, is_type = _base(tree.base), model.type_name(tree.type), model.is_type
    return lambda scope, env: [node for node in base(scope, env) if is_type(node[0], wanted)]


def _type_test(tree: TypeTest) -> Truth:
    base, wanted, is_type = _base(tree.base), model.type_name(tree.type), model.is_type

    def test(scope: Nodes, env: Env) -> bool | None:
        items = base(scope, env)
        return is_type(model.single(items)[0], wanted) if items else None

    return test


# --- functions --------------------------------------------------------------------------------------------------------


def _arity(tree: Call, fewest: int, most: int) -> None:
    if not fewest <= len(tree.arguments) <= most:
        raise FhirpathError(f"{tree.name} takes {fewest} to {most} arguments, got {len(tree.arguments)}")


def _function(tree: Call) -> Run:
    base = _base(tree.base)
    if tree.name in PLAIN:
        _arity(tree, 0, 0)
        plain = PLAIN[tree.name]
        return lambda scope, env: plain(base(scope, env))
    applied = APPLIED[tree.name]
    _arity(tree, applied.fewest, applied.most)
    _check_pattern(tree)
    run, arguments = applied.run, [_nodes(argument) for argument in tree.arguments]
    return lambda scope, env: run(base(scope, env), [argument(scope, env) for argument in arguments])


def _check_pattern(tree: Call) -> None:
    """A pattern written in the expression has to be one, before any resource is looked at."""
    pattern = tree.arguments[0] if tree.arguments else None
    if tree.name in ("matches", "replaceMatches") and isinstance(pattern, Literal):
        try:
            re.compile(str(pattern.value))
        except re.error as exc:
            raise FhirpathError("not a regular expression") from exc


def _property(tree: Call) -> Truth:
    _arity(tree, 0, 0)
    base, test = _base(tree.base), TRUTHS[tree.name]
    return lambda scope, env: test(base(scope, env))


def _where(tree: Call) -> Run:
    _arity(tree, 1, 1)
    base, test = _base(tree.base), _truth(tree.arguments[0])
    return lambda scope, env: [node for node in base(scope, env) if test([node], env)]


def _select(tree: Call) -> Run:
    _arity(tree, 1, 1)
    base, run = _base(tree.base), _nodes(tree.arguments[0])
    return lambda scope, env: [found for node in base(scope, env) for found in run([node], env)]


def _iif(tree: Call) -> Run:
    _arity(tree, 2, 3)
    base, test = _base(tree.base), _truth(tree.arguments[0])
    then, otherwise = (_nodes(side) for side in (*tree.arguments[1:], Literal("", None))[:2])

    def run(scope: Nodes, env: Env) -> Nodes:
        items = base(scope, env)
        return (then if test(items, env) else otherwise)(items, env)

    return run


def _trace(tree: Call) -> Run:
    """Nothing is written anywhere: a trace would put health data into a log."""
    _arity(tree, 1, 2)
    return _base(tree.base)


def _exists(tree: Call) -> Truth:
    _arity(tree, 0, 1)
    base = _base(tree.base)
    if not tree.arguments:
        return lambda scope, env: bool(base(scope, env))
    test = _truth(tree.arguments[0])
    return lambda scope, env: any(test([node], env) for node in base(scope, env))


def _all(tree: Call) -> Truth:
    _arity(tree, 1, 1)
    base, test = _base(tree.base), _truth(tree.arguments[0])
    return lambda scope, env: all(test([node], env) for node in base(scope, env))


def _not(tree: Call) -> Truth:
    _arity(tree, 0, 0)
    if tree.base is None:
        return lambda scope, env: _negated(truth_of(scope))
    test = _truth(tree.base)
    return lambda scope, env: _negated(test(scope, env))


def _negated(value: bool | None) -> bool | None:
    return None if value is None else not value


def _resolve(tree: Call) -> Run:
    _arity(tree, 0, 0)
    base = _base(tree.base)

    def run(scope: Nodes, env: Env) -> Nodes:
        return [found for node in base(scope, env) if (found := resolved(node[1], env)) is not None]

    return run


_CALLS: Final[dict[str, Callable[[Call], Run]]] = {
    "iif": _iif,
    "resolve": _resolve,
    "select": _select,
    "trace": _trace,
    "where": _where,
}
_TRUE_CALLS: Final[dict[str, Callable[[Call], Truth]]] = {"all": _all, "exists": _exists, "not": _not}


# --- operators --------------------------------------------------------------------------------------------------------


def _and(left: Truth, right: Truth) -> Truth:
    def test(scope: Nodes, env: Env) -> bool | None:
        one = left(scope, env)
        if one is False:
            return False
        two = right(scope, env)
        return two if one or two is False else None

    return test


def _or(left: Truth, right: Truth) -> Truth:
    def test(scope: Nodes, env: Env) -> bool | None:
        one = left(scope, env)
        if one:
            return True
        two = right(scope, env)
        return two if one is False or two else None

    return test


def _xor(left: Truth, right: Truth) -> Truth:
    def test(scope: Nodes, env: Env) -> bool | None:
        one, two = left(scope, env), right(scope, env)
        return None if one is None or two is None else one is not two

    return test


def _implies(left: Truth, right: Truth) -> Truth:
    return _or(lambda scope, env: _negated(left(scope, env)), right)


_LOGIC: Final[dict[str, Callable[[Truth, Truth], Truth]]] = {"and": _and, "or": _or, "xor": _xor, "implies": _implies}

_COMPARISONS: Final[dict[str, Callable[[Nodes, Nodes], bool | None]]] = {
    "=": model.equal,
    "!=": lambda left, right: _negated(model.equal(left, right)),
    "<": lambda left, right: _ordered(left, right, {-1}),
    "<=": lambda left, right: _ordered(left, right, {-1, 0}),
    ">": lambda left, right: _ordered(left, right, {1}),
    ">=": lambda left, right: _ordered(left, right, {0, 1}),
}


def _ordered(left: Nodes, right: Nodes, wanted: set[int]) -> bool | None:
    order = model.compare(left, right)
    return None if order is None else order in wanted


def _comparison(tree: Binary) -> Truth:
    left, right, test = _nodes(tree.left), _nodes(tree.right), _COMPARISONS[tree.operator]
    return lambda scope, env: test(left(scope, env), right(scope, env))


def _membership(item: Expression, holder: Expression) -> Truth:
    """`item in holder`: unknown without an item, false in nothing."""
    one, many = _nodes(item), _nodes(holder)

    def test(scope: Nodes, env: Env) -> bool | None:
        wanted = one(scope, env)
        if not wanted:
            return None
        value = model.identity(model.single(wanted)[1])
        return any(model.identity(node[1]) == value for node in many(scope, env))

    return test


def _combination(tree: Binary) -> Run:
    left, right, join = _nodes(tree.left), _nodes(tree.right), _JOINS[tree.operator]
    return lambda scope, env: join(left(scope, env), right(scope, env))


def _union(left: Nodes, right: Nodes) -> Nodes:
    return model.distinct(left + right)


def _concatenation(left: Nodes, right: Nodes) -> Nodes:
    """`&`: strings, a missing one counts as empty."""
    return [("string", (text_of(left) or "") + (text_of(right) or ""), None)]


def _sum(left: Nodes, right: Nodes) -> Nodes:
    if not left or not right:
        return []
    one, two = model.single(left)[1], model.single(right)[1]
    if isinstance(one, str) and isinstance(two, str):
        return [("string", one + two, None)]
    return _number(_amount(one) + _amount(two))


def _difference(left: Nodes, right: Nodes) -> Nodes:
    if not left or not right:
        return []
    return _number(_amount(model.single(left)[1]) - _amount(model.single(right)[1]))


def _amount(value: Any) -> Decimal:
    if isinstance(value, bool | str | dict) or value is None:
        raise FhirpathError("expected a number")
    return decimal(value)


def _number(value: Decimal) -> Nodes:
    whole = value == value.to_integral_value()
    return [("integer", int(value), None)] if whole else [("decimal", value, None)]


_JOINS: Final[dict[str, Callable[[Nodes, Nodes], Nodes]]] = {
    "|": _union,
    "&": _concatenation,
    "+": _sum,
    "-": _difference,
}
