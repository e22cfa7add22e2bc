"""FHIRPath text and its tree. Covers FHIRPath N1 "Lexical Elements", "Operator Precedence", appendix A."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.fhir.fhirpath import compile
from mappings.fhir.fhirpath_syntax import (
    Binary,
    Expression,
    FhirpathError,
    Index,
    Literal,
    Member,
    TypeTest,
    branches,
    parse,
)


def shape(tree: Expression) -> str:
    """A tree with all its brackets."""
    match tree:
        case Literal(value=value):
            return repr(value) if isinstance(value, str) else str(value)
        case Member(base=None, name=name):
            return name
        case Member(base=base, name=name) if base is not None:
            return f"{shape(base)}.{name}"
        case Index(base=base, index=index):
            return f"{shape(base)}[{shape(index)}]"
        case TypeTest(base=base, name=name, type=type_):
            return f"({'' if base is None else shape(base)} {name} {type_})"
        case Binary(operator=operator, left=left, right=right):
            return f"({shape(left)} {operator} {shape(right)})"
        case _:
            return str(tree)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a or b and c", "(a or (b and c))"),
        ("a implies b or c", "(a implies (b or c))"),
        ("a implies b implies c", "((a implies b) implies c)"),
        ("a and b = c", "(a and (b = c))"),
        ("a = b in c", "((a = b) in c)"),
        ("a in b = c", "(a in (b = c))"),
        ("a < b = c", "((a < b) = c)"),
        ("a | b < c", "((a | b) < c)"),
        ("a as T | b as T", "((a as T) | (b as T))"),
        ("a + b | c", "((a + b) | c)"),
        ("a is T implies (a as T) <= 100", "((a is T) implies ((a as T) <= 100))"),
        ("a & b & c", "((a & b) & c)"),
        ("a.b[0].c", "a.b[0].c"),
        ("-1 + 2", "((0 - 1) + 2)"),
        ("a.contains", "a.contains"),
        ("text.`div`", "text.div"),
        ("a /* why */ = // here\n b", "(a = b)"),
        ("value.as(FHIR.Quantity)", "(value as Quantity)"),
        ("value.ofType(Quantity)", "(value as Quantity)"),
        ("(x)", "x"),
        ("{}", "None"),
        ("@2025-03 = @2025-03-04T10:00:00Z", "('2025-03' = '2025-03-04T10:00:00Z')"),
        (r"'it\'s \\ a \u0041\n'", repr("it's \\ a A\n")),
    ],
)
def test_operators_bind_as_the_standard_says(text: str, wanted: str) -> None:
    assert shape(parse(text)) == wanted


@pytest.mark.parametrize(
    "text",
    ["", "a.", "a b", "(a", "a)", "a..b", "'open", "a = ", "and", "a and and b", "f(", "f(a,)", "a[0", "a is", "a is 3",
     "a ~ b", "a * b", "#", "a.'b'", "a.%resource", "{a}"],
)  # fmt: skip
def test_what_is_no_expression_raises_ours(text: str) -> None:
    with pytest.raises(FhirpathError):
        parse(text)


@given(st.text(alphabet="abAT.()[]|&+-<>=!'`%$@ 0123456789,{}isorand\\\n", max_size=24))
@settings(max_examples=300, deadline=None)
def test_any_text_is_an_expression_or_our_error(text: str) -> None:
    with suppress(FhirpathError):
        parse(text)


def test_branches_are_the_sides_of_the_outermost_union_only() -> None:
    assert [shape(side) for side in branches(parse("a | (b | c).d | e"))] == ["a", "(b | c).d", "e"]
    assert branches(parse("a = b")) == [parse("a = b")]


@pytest.mark.parametrize(
    "text",
    ["(" * 500 + "a" + ")" * 500, "a" + ".b" * 2000, "a" + " | a" * 2000, "not " * 500, "a.where(" * 100, "f(" * 500],
    ids=lambda text: text[:8],
)
def test_an_expression_too_deep_or_too_long_is_refused_before_the_stack_ends(text: str) -> None:
    with pytest.raises(FhirpathError):
        compile(text)


def test_what_may_be_as_deep_and_as_long_as_the_limits_can_be_run() -> None:
    for text in ("(" * 20 + "a" + ")" * 20, "a" + ".b" * 250, "a" + " | a" * 250, "-" * 400 + "1", "1" + " + 1" * 250):
        compile(text)({"resourceType": "Patient"})
