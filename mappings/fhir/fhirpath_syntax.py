"""FHIRPath text to a syntax tree.

Tokens, grammar and precedence, nothing of meaning: `fhirpath.py` turns the tree into closures, `search_plan.py` reads
paths from it. A text that is not FHIRPath, or uses what our subset leaves out, raises FhirpathError when it is read,
never when it is run.
Source: FHIRPath N1 (2.0.0), chapters "Lexical Elements", "Operator Precedence" and appendix A, the grammar.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias

from mappings.errors import MappingError


class FhirpathError(MappingError):
    """An expression cannot be read, or asks of a resource what it cannot answer (two items where one is needed)."""

    status_hint = 422


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: its FHIR type and its value; `{}` has type "" and no value."""

    type: str
    value: str | bool | int | Decimal | None


@dataclass(frozen=True, slots=True)
class Variable:
    """`%resource`, `%ucum`, `$this`: the name with its sign."""

    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """A child by name; `base` None means the focus of the scope (or, in front, the type of the focus itself)."""

    base: "Expression | None"
    name: str


@dataclass(frozen=True, slots=True)
class Index:
    base: "Expression"
    index: "Expression"


@dataclass(frozen=True, slots=True)
class Call:
    base: "Expression | None"
    name: str
    arguments: "tuple[Expression, ...]"


@dataclass(frozen=True, slots=True)
class TypeTest:
    """`x is T` and `x as T`, also when written as a call: `x.is(T)`, `x.as(T)`, `x.ofType(T)` (the last: name "as")."""

    base: "Expression | None"
    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: "Expression"
    right: "Expression"


Expression: TypeAlias = Literal | Variable | Member | Index | Call | TypeTest | Binary


class Token(NamedTuple):
    kind: str
    text: str


_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
      | (?P<date>@(?:T\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?
               |\d{4}(?:-\d\d(?:-\d\d)?)?(?:T(?:\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d:\d\d)?)?)?))
      | (?P<number>\d+(?:\.\d+)?)
      | (?P<variable>[$][a-z]+|%(?:[A-Za-z_][A-Za-z0-9_-]*|`[^`]*`|'[^']*'))
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*|`(?:[^`\\]|\\.)*`)
      | (?P<string>'(?:[^'\\]|\\.)*')
      | (?P<sign><=|>=|!=|[.,()\[\]{}|&+=<>-])""",
    re.VERBOSE | re.DOTALL,
)

# Loosest first; operators of one row bind alike and to the left. `is` and `as` take a type and stand between the rows.
_PRECEDENCE: Final = (
    ("implies",),
    ("or", "xor"),
    ("and",),
    ("in", "contains"),
    ("=", "!="),
    ("<", ">", "<=", ">="),
    ("|",),
    ("is", "as"),
    ("+", "-", "&"),
)
MOST_TOKENS, MOST_NESTED = 512, 24  # R4's longest expression has 122; the parser and what is compiled call themselves
_WORDS: Final = frozenset(word for row in _PRECEDENCE for word in row if word.isalpha())
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}


def tokens(text: str) -> list[Token]:
    """The tokens of an expression, white space and comments left out, an `end` token behind."""
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise FhirpathError(f"not FHIRPath at character {at}")
        kind, at = str(match.lastgroup), match.end()
        if kind != "space":
            found.append(Token(kind, match[0]))
    return [*found, Token("end", "")]


def unescape(text: str) -> str:
    """The text between the quotes with its escapes resolved; a backslash before any other character stands for that
    character.
    """

    def replace(match: re.Match[str]) -> str:
        sequence = match[1]
        return chr(int(sequence[1:], 16)) if len(sequence) == 5 else _ESCAPES.get(sequence, sequence)

    return re.sub(r"\\(u[0-9A-Fa-f]{4}|.)", replace, text[1:-1], flags=re.DOTALL)


class _Parser:
    """Recursive descent over the tokens; every method leaves the position behind what it read."""

    def __init__(self, text: str) -> None:
        self.tokens = tokens(text)
        self.at = 0
        self.nested = 0
        if len(self.tokens) > MOST_TOKENS:
            raise FhirpathError(f"more than {MOST_TOKENS} tokens")

    def peek(self) -> Token:
        return self.tokens[self.at]

    def take(self) -> Token:
        self.at += 1
        return self.tokens[self.at - 1]

    def accept(self, text: str) -> bool:
        token = self.peek()
        if token.text != text or token.kind == "string":
            return False
        self.at += 1
        return True

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise FhirpathError(f"expected {text} at token {self.at}, got {self.peek().kind}")

    def expression(self) -> Expression:
        self.nested += 1
        if self.nested > MOST_NESTED:
            raise FhirpathError(f"nested more than {MOST_NESTED} deep at token {self.at}")
        found = self.operation(0)
        self.nested -= 1
        return found

    def operation(self, row: int) -> Expression:
        if row == len(_PRECEDENCE):
            return self.unary()
        left = self.operation(row + 1)
        while self.peek().kind in ("sign", "name") and self.peek().text in _PRECEDENCE[row]:
            operator = self.take().text
            if operator in ("is", "as"):
                left = TypeTest(left, operator, self.type_name())
            else:
                left = Binary(operator, left, self.operation(row + 1))
        return left

    def unary(self) -> Expression:
        signs = 0
        while self.peek().kind == "sign" and self.peek().text in "+-":
            signs += self.take().text == "-"
        if signs % 2:
            return Binary("-", Literal("integer", 0), self.primary())
        return self.primary()

    def primary(self) -> Expression:
        left = self.term()
        while True:
            if self.accept("."):
                left = self.invocation(left)
            elif self.accept("["):
                left = Index(left, self.expression())
                self.expect("]")
            else:
                return left

    def term(self) -> Expression:
        token = self.peek()
        if self.accept("("):
            inside = self.expression()
            self.expect(")")
            return inside
        if self.accept("{"):
            self.expect("}")
            return Literal("", None)
        if token.text in ("true", "false"):
            return Literal("boolean", self.take().text == "true")
        if token.kind == "name":
            return self.invocation(None)
        if token.kind not in _TERMS:
            raise FhirpathError(f"expected a term at token {self.at}, got {token.kind}")
        return _TERMS[token.kind](self.take().text)

    def invocation(self, base: Expression | None) -> Expression:
        """A member or a call behind `base`; words that are operators elsewhere are names here (`is(T)`,
        `contains('x')`).
        """
        token = self.take()
        if token.kind == "variable" and base is not None:
            raise FhirpathError(f"a variable cannot follow a dot at token {self.at - 1}")
        if token.kind != "name":
            raise FhirpathError(f"expected a name at token {self.at - 1}, got {token.kind}")
        name = unescape(token.text) if token.text.startswith("`") else token.text
        if not self.accept("("):
            if base is None and name in _WORDS:
                raise FhirpathError(f"expected a term at token {self.at - 1}, got an operator")
            return Member(base, name)
        if name in ("is", "as", "ofType"):
            test = TypeTest(base, "is" if name == "is" else "as", self.type_name())
            self.expect(")")
            return test
        return Call(base, name, self.arguments())

    def arguments(self) -> tuple[Expression, ...]:
        if self.accept(")"):
            return ()
        found = [self.expression()]
        while self.accept(","):
            found.append(self.expression())
        self.expect(")")
        return tuple(found)

    def type_name(self) -> str:
        """`Patient`, `FHIR.Patient` or `System.String`: the last word; which of the two worlds it names makes no
        difference here.
        """
        token = self.take()
        while token.kind == "name" and self.accept("."):
            token = self.take()
        if token.kind != "name":
            raise FhirpathError(f"expected a type at token {self.at - 1}, got {token.kind}")
        return unescape(token.text) if token.text.startswith("`") else token.text


def _number(text: str) -> Literal:
    return Literal("decimal", Decimal(text)) if "." in text else Literal("integer", int(text))


def _date(text: str) -> Literal:
    if text.startswith("@T"):
        return Literal("time", text[2:])
    return Literal("dateTime", text[1:].removesuffix("T")) if "T" in text else Literal("date", text[1:])


def _variable(text: str) -> Variable:
    return Variable(text[0] + text[1:].strip("`'"))


_TERMS: Final[dict[str, Callable[[str], Expression]]] = {
    "number": _number,
    "date": _date,
    "string": lambda text: Literal("string", unescape(text)),
    "variable": _variable,
}


def parse(text: str) -> Expression:
    """The syntax tree of one whole expression.

    Raises FhirpathError, with the position, where the text is not an expression of our subset.
    """
    parser = _Parser(text)
    tree = parser.expression()
    if parser.peek().kind != "end":
        raise FhirpathError(f"expected the end at token {parser.at}, got {parser.peek().kind}")
    return tree


def branches(tree: Expression) -> list[Expression]:
    """The sides of a union at the top of a tree, in order; a tree that is none is its own only branch."""
    if isinstance(tree, Binary) and tree.operator == "|":
        return [*branches(tree.left), *branches(tree.right)]
    return [tree]
