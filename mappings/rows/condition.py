"""The `when` language of rows and wiring: a closed grammar, parsed once, compiled to a Python expression.

    condition   = "never" | or
    or          = and *("or" and)
    and         = not *("and" not)
    not         = ["not"] ("(" or ")" | test)
    test        = field "valued" | field "null" | flag | subject op value | subject ["not"] "in" values
    values      = "(" value *("," value) ")"
    subject     = field | "count(" field ")" | "len(" field ")" | word | "policy." name
    op          = "=" | "!=" | "<" | "<=" | ">" | ">="

How a field is written, which words there are (`event`, `version`) and which flags is the format's to say: its
`Grammar`. A field stands for the text of the first component of its first repetition, an element of a document for its
code. A comparison is false where the field is not valued; `""`, HL7's null, is not valued. What this cannot say is a
named function in the row's `type`.

Nothing here runs: `compiler.py` supplies the Python names (`Names`), `check.py` asks whether two conditions can
hold at once. Source: design chapter HL7 v2 §3.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from mappings.rows.table import parse_source

_TOKEN = re.compile(r'\s*(?:(\()|(\))|(,)|(!=|<=|>=|=|<|>)|"([^"]*)"|((?:\[[^\]]*\]|[^\s()",=<>!\[])+))')
_KEYWORDS = frozenset({"and", "or", "not", "in", "valued", "null", "never"})
_MOST_NESTED = 32  # parentheses and `not` within each other: the parser calls itself
_MOST_CONJUNCTIONS = 64  # a condition that unfolds to more is taken as possibly overlapping


class Grammar(NamedTuple):
    """How conditions of one format name what they look at."""

    sources: Callable[[str], tuple[Any, ...]]  # alternatives of a source; raises ValueError
    words: frozenset[str]  # what is compared by its name alone
    flags: frozenset[str]  # what holds or not by its name alone


FIELDS = Grammar(parse_source, frozenset({"event", "version"}), frozenset())


@dataclass(frozen=True, slots=True)
class Subject:
    """What is compared: `field`, `count`, `len` of a field; a `word` or a `policy` by name."""

    kind: str
    field: Any = None  # FieldRef, PathRef
    name: str = ""


@dataclass(frozen=True, slots=True)
class Valued:
    """`PID-7 valued`."""

    field: Any


@dataclass(frozen=True, slots=True)
class Null:
    """`PID-7 null`: the sender wrote `""`; `code null`: an element with nothing but a null flavour."""

    field: Any


@dataclass(frozen=True, slots=True)
class Flag:
    """`negated`."""

    name: str


@dataclass(frozen=True, slots=True)
class Compare:
    """`PID-8 = F`, `count(PID-5) > 1`, `version < 2.5`."""

    subject: Subject
    op: str
    value: str


@dataclass(frozen=True, slots=True)
class Within:
    """`PID-8 in (F,M)`, `event not in (A01,A04)`."""

    subject: Subject
    values: tuple[str, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Not:
    """The negation of a test or a group."""

    inner: "Condition"


@dataclass(frozen=True, slots=True)
class Both:
    """`and`."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Either:
    """`or`."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Never:
    """Switched off."""


Condition = Valued | Null | Flag | Compare | Within | Not | Both | Either | Never


class Names(Protocol):
    """The Python expressions that stand for parts of a message or document where a condition is compiled."""

    def valued(self, field: Any) -> str:
        """Whether anything stands there."""

    def null(self, field: Any) -> str:
        """Whether the sender wrote that nothing stands there."""

    def text(self, field: Any) -> str:
        """The text of its first component, "" where absent or null."""

    def count(self, field: Any) -> str:
        """The number of its repetitions, 0 where absent."""

    def word(self, name: str) -> str:
        """What a word of the grammar stands for."""

    def flag(self, name: str) -> str:
        """Whether a flag of the grammar holds."""


class _Parser:
    """Recursive descent over the tokens of one condition."""

    def __init__(self, text: str, grammar: Grammar) -> None:
        self.grammar = grammar
        self.tokens = list(_tokens(text))
        self.at = 0
        self.nested = 0

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        if self.at >= len(self.tokens):
            raise ValueError("condition ends too soon")
        self.at += 1
        return self.tokens[self.at - 1][0]

    def expect(self, token: str) -> None:
        if self.take() != token:
            raise ValueError(f"condition: expected {token}")

    def either(self) -> Condition:
        parts = [self.both()]
        while self.peek() == "or":
            self.take()
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def both(self) -> Condition:
        parts = [self.negation()]
        while self.peek() == "and":
            self.take()
            parts.append(self.negation())
        return parts[0] if len(parts) == 1 else Both(tuple(parts))

    def negation(self) -> Condition:
        if self.peek() not in ("not", "("):
            return self.test()
        self.nested += 1
        if self.nested > _MOST_NESTED:
            raise ValueError("condition: nested too deep")
        if self.take() == "not":
            found: Condition = Not(self.negation())
        else:
            found = self.either()
            self.expect(")")
        self.nested -= 1
        return found

    def test(self) -> Condition:
        if self.peek() in self.grammar.flags:
            return Flag(self.take())
        subject = self.subject()
        word = self.take()
        if word in ("valued", "null"):
            if subject.kind != "field" or subject.field is None:
                raise ValueError(f"condition: only a field is {word}")
            return Valued(subject.field) if word == "valued" else Null(subject.field)
        if word in ("in", "not"):
            if word == "not":
                self.expect("in")
            return Within(subject, self.values(), word == "not")
        if word not in ("=", "!=", "<", "<=", ">", ">="):
            raise ValueError(f"condition: not an operator: {word}")
        return Compare(subject, word, self.value())

    def subject(self) -> Subject:
        word = self.take()
        if word in ("count", "len"):
            self.expect("(")
            field = self.field(self.take())
            self.expect(")")
            return Subject(word, field)
        if word in self.grammar.words:
            return Subject("word", None, word)
        if word.startswith("policy."):
            return Subject("policy", None, word.removeprefix("policy."))
        return Subject("field", self.field(word))

    def field(self, text: str) -> Any:
        fields = self.grammar.sources(text)
        if len(fields) != 1:
            raise ValueError("condition: one field, no alternatives")
        return fields[0]

    def values(self) -> tuple[str, ...]:
        self.expect("(")
        values = [self.value()]
        while self.peek() == ",":
            self.take()
            values.append(self.value())
        self.expect(")")
        return tuple(values)

    def value(self) -> str:
        quoted = self.at < len(self.tokens) and self.tokens[self.at][1]
        word = self.take()
        if not quoted and (word in _KEYWORDS or word in "(),"):
            raise ValueError(f"condition: a value is missing before {word}")
        return word


def _tokens(text: str) -> Iterator[tuple[str, bool]]:
    """Each token, and whether it was quoted."""
    at = 0
    while at < len(text.rstrip()):
        if (match := _TOKEN.match(text, at)) is None:
            raise ValueError("condition: a character is out of place")
        at = match.end()
        yield match[match.lastindex or 0].strip(), match.lastindex == 5


@lru_cache(maxsize=4_096)  # rows and wiring of many families say the same
def parse_condition(text: str, grammar: Grammar = FIELDS) -> Condition:
    """The condition of a row; raises ValueError."""
    if text == "never":
        return Never()
    parser = _Parser(text, grammar)
    condition = parser.either()
    if parser.at < len(parser.tokens):
        raise ValueError(f"condition: unexpected {parser.peek()}")
    return condition


def fields_of(condition: Condition) -> Iterator[Any]:
    """Every field that the condition looks at."""
    match condition:
        case Valued(field) | Null(field):
            yield field
        case Compare(subject, _, _) | Within(subject, _, _):
            if subject.field is not None:
                yield subject.field
        case Not(inner):
            yield from fields_of(inner)
        case Both(parts) | Either(parts):
            for part in parts:
                yield from fields_of(part)
        case Flag() | Never():
            return


def fold(condition: Condition, policy: Mapping[str, str]) -> Condition | bool:
    """The condition with the profile's policies put in; a bool where nothing else is left. Raises ValueError."""
    match condition:
        case Never():
            return False
        case Compare(Subject("policy", _, name), _, _) | Within(Subject("policy", _, name), _, _):
            return _holds(condition, _policy(policy, name))
        case Not(inner):
            folded = fold(inner, policy)
            return not folded if isinstance(folded, bool) else Not(folded)
        case Both(parts):
            return _join(parts, policy, Both, empty=True)
        case Either(parts):
            return _join(parts, policy, Either, empty=False)
    return condition


def _policy(policy: Mapping[str, str], name: str) -> str:
    if name not in policy:
        raise ValueError(f"condition: no policy {name}")
    return policy[name]


def _join(
    parts: tuple[Condition, ...],
    policy: Mapping[str, str],
    kind: Callable[[tuple[Condition, ...]], Condition],
    *,
    empty: bool,
) -> Condition | bool:
    """`and` (empty: true) or `or` (empty: false) of what does not fold away."""
    left: list[Condition] = []
    for part in parts:
        folded = fold(part, policy)
        if isinstance(folded, bool):
            if folded != empty:
                return folded
        else:
            left.append(folded)
    if not left:
        return empty
    return left[0] if len(left) == 1 else kind(tuple(left))


def _holds(test: Compare | Within, actual: str) -> bool:
    if isinstance(test, Within):
        return (actual in test.values) != test.negated
    if test.op not in ("=", "!="):
        raise ValueError("condition: a policy is equal or not")
    return (actual == test.value) == (test.op == "=")


def python(condition: Condition, names: Names) -> str:
    """The condition as a Python expression over `names`; policies must be folded. Raises ValueError."""
    match condition:
        case Valued(field):
            return names.valued(field)
        case Null(field):
            return names.null(field)
        case Flag(name):
            return names.flag(name)
        case Compare(subject, op, value):
            return _compare(subject, op, value, names)
        case Within(subject, values, negated):
            return _within(subject, values, negated, names)
        case Not(inner):
            return f"not ({python(inner, names)})"
        case Both(parts):
            return "(" + " and ".join(python(part, names) for part in parts) + ")"
        case Either(parts):
            return "(" + " or ".join(python(part, names) for part in parts) + ")"
    raise ValueError("condition: never has no expression")


def _compare(subject: Subject, op: str, value: str, names: Names) -> str:
    if subject.name == "version":
        return f"{names.word('version')} {'==' if op == '=' else op} {version(value)!r}"
    if subject.field is None:
        if op not in ("=", "!="):
            raise ValueError(f"condition: {subject.name} is equal or not")
        return f"{names.word(subject.name)} {'==' if op == '=' else '!='} {value!r}"
    if subject.kind == "count":
        return f"0 != {names.count(subject.field)} {'==' if op == '=' else op} {_number(value)}"
    if subject.kind == "len":
        return f"0 != len({names.text(subject.field)}) {'==' if op == '=' else op} {_number(value)}"
    if op == "=":
        return f"{names.text(subject.field)} == {value!r}"
    if op == "!=":
        return f"{names.text(subject.field)} not in ('', {value!r})"
    raise ValueError("condition: a field is equal or not; use len() or count()")


def _within(subject: Subject, values: tuple[str, ...], negated: bool, names: Names) -> str:
    word = "not in" if negated else "in"
    if subject.kind == "word" and subject.name != "version":
        return f"{names.word(subject.name)} {word} {values!r}"
    if subject.kind != "field" or subject.field is None:
        raise ValueError("condition: in is for fields and words")
    return f"{names.text(subject.field)} {word} {(('', *values) if negated else values)!r}"


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"condition: not a number: {text}")
    return int(text)


def version(text: str) -> tuple[int, ...]:
    """`2.5.1` as numbers that compare; raises ValueError."""
    return tuple(_number(part) for part in text.split("."))


# Can two conditions hold at once? Each is unfolded to a list of conjunctions of literals; a pair of conjunctions is
# impossible if two of its literals contradict each other.


@dataclass(frozen=True, slots=True)
class _Literal:
    """What one test says of one subject: `valued`, or a set of values (or, negated, any valued one but these)."""

    subject: tuple[str, str]
    values: frozenset[str] | None  # None: anything valued
    positive: bool
    valued: bool  # whether the literal implies that the subject is valued


_Conjunction = frozenset[_Literal]


def exclusive(one: Condition, other: Condition) -> bool:
    """Whether the two cannot both hold. False means: not provably."""
    first, second = _unfold(one, True), _unfold(other, True)
    if len(first) * len(second) > _MOST_CONJUNCTIONS**2:
        return False
    return all(_contradict(a | b) for a in first for b in second)


def _unfold(condition: Condition, positive: bool) -> list[_Conjunction]:
    match condition:
        case Not(inner):
            return _unfold(inner, not positive)
        case Both(parts):
            return _product(parts, positive) if positive else _sum(parts, positive)
        case Either(parts):
            return _sum(parts, positive) if positive else _product(parts, positive)
        case Never():
            return [] if positive else [frozenset()]
    return [frozenset(literal) for literal in _literals(condition, positive)]


def _sum(parts: tuple[Condition, ...], positive: bool) -> list[_Conjunction]:
    return [conjunction for part in parts for conjunction in _unfold(part, positive)]


def _product(parts: tuple[Condition, ...], positive: bool) -> list[_Conjunction]:
    found: list[_Conjunction] = [frozenset()]
    for part in parts:
        found = [a | b for a in found for b in _unfold(part, positive)]
        if len(found) > _MOST_CONJUNCTIONS:
            return [frozenset()]
    return found


def _literals(test: Condition, positive: bool) -> list[list[_Literal]]:
    """The conjunctions of one test; nothing to say about numbers and versions."""
    match test:
        case Valued(field):
            return [[_Literal(("field", str(field)), None, positive, positive)]]
        case Null(field):
            return [[_Literal(("field", str(field)), None, False, False)]] if positive else [[]]
        case Compare(subject, "=" | "!=" as op, value) if _is_told(subject):
            return _value_literals(subject, frozenset({value}), (op == "=") == positive, positive)
        case Flag(name):
            return [[_Literal(("flag", name), frozenset({"true"}), positive, True)]]
        case Within(subject, values, negated):
            return _value_literals(subject, frozenset(values), negated != positive, positive)
    return [[]]


def _is_told(subject: Subject) -> bool:
    """Whether a value of the subject tells two conditions apart."""
    return subject.kind == "field" or (subject.kind == "word" and subject.name != "version")


def _value_literals(subject: Subject, values: frozenset[str], inside: bool, positive: bool) -> list[list[_Literal]]:
    """`X in S` or its kin; under a `not` it also holds where X is not valued."""
    name = (subject.kind, str(subject.field or subject.name))
    if inside and not positive:
        return [[_Literal(name, values | {""}, True, False)]]
    return [[_Literal(name, values, inside, inside or positive)]]


def _contradict(conjunction: _Conjunction) -> bool:
    literals = tuple(conjunction)
    return any(_clash(a, b) for index, a in enumerate(literals) for b in literals[index + 1 :])


def _clash(a: _Literal, b: _Literal) -> bool:
    if a.subject != b.subject:
        return False
    if a.values is None or b.values is None:
        return any(one.values is None and not one.positive and other.valued for one, other in ((a, b), (b, a)))
    if a.positive and b.positive:
        return not a.values & b.values
    if a.positive != b.positive:
        inside, outside = (a, b) if a.positive else (b, a)
        return (inside.values or frozenset()) <= (outside.values or frozenset())
    return False
