"""The `when` language: its grammar, its meaning in Python, and which conditions exclude each other.

Source: design chapter HL7 v2 §3.
"""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.rows import condition
from mappings.rows.condition import Compare, Subject, exclusive, fold, parse_condition, python
from mappings.rows.python import MapNames
from mappings.rows.runtime import NIL, NULL, PAD, count, part, text
from mappings.rows.table import FieldRef


class Context:
    """As much of a message's context as conditions read."""

    rep, comp = "~", "^"

    def __init__(self, event: str = "A01", version: tuple[int, ...] = (2, 5, 1)) -> None:
        self.event, self.version = event, version


def holds(words: str, fields: dict[int, str], ctx: Context | None = None) -> bool:
    """A condition on a PID with these fields, by the Python it becomes."""
    names = MapNames("PID")
    expression = python(parse_condition(words), names)
    raw = [fields.get(number, "") for number in range(60)]
    scope: dict[str, Any] = {"NIL": NIL, "NULL": NULL, "PAD": PAD, "text": text, "part": part, "count": count}
    scope |= {"f": raw, "rep": "~", "comp": "^", "ctx": ctx or Context()}
    for name, value in names.texts.items():
        scope[name] = eval(value, scope)  # noqa: S307 - what the compiler emits
    return bool(eval(expression, scope))  # noqa: S307 - what the compiler emits


@pytest.mark.parametrize(
    ("words", "fields", "expected"),
    [
        ("PID-8 valued", {8: "F"}, True),
        ("PID-8 valued", {8: '""'}, False),
        ("PID-8 valued", {}, False),
        ("PID-8 null", {8: '""'}, True),
        ("PID-8 null", {8: ""}, False),
        ("PID-8 = F", {8: "F^Female~M"}, True),
        ("PID-8 = F", {}, False),
        ("PID-8 != F", {8: "M"}, True),
        ("PID-8 != F", {}, False),
        ("PID-8 != F", {8: '""'}, False),
        ("PID-8 in (F,M)", {8: "M"}, True),
        ("PID-8 not in (F,M)", {8: "A"}, True),
        ("PID-8 not in (F,M)", {}, False),
        ("not (PID-8 in (F,M))", {}, True),
        ("count(PID-3) > 1", {3: "1~2"}, True),
        ("count(PID-3) > 1", {3: "1"}, False),
        ("count(PID-3) <= 1", {}, False),
        ("len(PID-7) > 8", {7: "197001020304"}, True),
        ("len(PID-7) > 8", {7: "19700102"}, False),
        ("len(PID-7) < 8", {}, False),
        ("PID-11.9 valued", {11: "a^b^^^^^^^c"}, True),
        ("PID-11.9 = c", {11: "a^b^^^^^^^c"}, True),
        ("PID-11.9 valued", {11: "a"}, False),
        ('PID-15 = "two words"', {15: "two words"}, True),
        ("PID-8 = F and PID-16 = M or PID-17 valued", {17: "x"}, True),
        ("PID-8 = F and (PID-16 = M or PID-17 valued)", {17: "x"}, False),
        ("event in (A01,A04)", {}, True),
        ("event = A04", {}, False),
        ("version < 2.5", {}, False),
        ("version >= 2.5", {}, True),
    ],
)
def test_a_condition_means_what_it_says(words: str, fields: dict[int, str], expected: bool) -> None:
    assert holds(words, fields) is expected


@pytest.mark.parametrize(
    "words",
    [
        "", "PID-8", "PID-8 is F", "PID-8 = ", "PID-8 in F", "PID-8 in (F", "count(PID-3)", "PID-8 > 3",
        "and PID-8 valued",
        "PID-8 valued PID-9 valued", "nobody = 1", "PID-8|PID-9 valued", "event < A01", "count(PID-3) > x",
        "event valued", "not", "(PID-8 valued", "count(PID-3) in (1)",
    ],
)  # fmt: skip
def test_what_is_outside_of_the_language_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match=r"condition|source"):
        python(parse_condition(words), MapNames("PID"))


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_parses_or_raises_value_error(words: str) -> None:
    try:
        parse_condition(words)
    except ValueError:
        return


def test_policies_fold_away() -> None:
    assert fold(parse_condition("policy.nk1 = guide"), {"nk1": "guide"}) is True
    assert fold(parse_condition("policy.nk1 != guide and PID-8 valued"), {"nk1": "guide"}) is False
    assert fold(parse_condition("policy.nk1 in (a,guide) or PID-8 valued"), {"nk1": "guide"}) is True
    left = fold(parse_condition("policy.nk1 = guide and PID-8 = F"), {"nk1": "guide"})
    assert left == Compare(Subject("field", FieldRef("PID", 8)), "=", "F")
    assert fold(parse_condition("not policy.nk1 = guide"), {"nk1": "guide"}) is False
    assert fold(parse_condition("never"), {}) is False
    with pytest.raises(ValueError, match="no policy"):
        fold(parse_condition("policy.mood = good"), {"nk1": "guide"})


TESTS = [
    "PID-8 valued", "PID-8 null", "PID-8 = F", "PID-8 != F", "PID-8 in (F,M)", "PID-8 not in (F,M)", "PID-9 valued",
    "PID-9 = F", "event = A01", "event in (A02,A03)", "not (PID-8 valued)", "not (PID-8 = F)", "not (PID-8 != F)",
    "not (PID-8 in (F,M))", "not (PID-8 not in (F,M))", "PID-8 = F and PID-9 valued", "PID-8 = M or PID-9 = F",
    "not (PID-8 = F and PID-9 valued)", "not (PID-8 = M or PID-9 = F)", "count(PID-8) > 1",
]  # fmt: skip
VALUES = ["", '""', "F", "M", "A", "F~M"]
EVENTS = ["A01", "A02", "A08"]


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(TESTS, 2)))
def test_conditions_called_exclusive_never_hold_together(one: str, other: str) -> None:
    """The proof is sound: tried on every combination of values."""
    both = any(
        holds(one, {8: sex, 9: alias}, Context(event)) and holds(other, {8: sex, 9: alias}, Context(event))
        for sex in VALUES
        for alias in VALUES
        for event in EVENTS
    )
    if both:
        assert not exclusive(parse_condition(one), parse_condition(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("PID-8 valued", "not (PID-8 valued)"),
        ("PID-8 = F", "PID-8 = M"),
        ("PID-8 in (F,M)", "PID-8 not in (F,M,O)"),
        ("PID-8 = F", "PID-8 null"),
        ("event in (A01,A02)", "event = A03"),
        ("PID-8 = F and PID-9 valued", "PID-8 = F and not (PID-9 valued)"),
        ("PID-8 = F or PID-8 = M", "PID-8 = O"),
        ("never", "PID-8 valued"),
    ],
)
def test_the_proof_finds_what_tables_need(one: str, other: str) -> None:
    assert exclusive(parse_condition(one), parse_condition(other))
    assert exclusive(parse_condition(other), parse_condition(one))


def test_a_condition_that_unfolds_too_far_is_taken_as_overlapping() -> None:
    words = " and ".join(f"(PID-{n} = A or PID-{n} = B)" for n in range(1, 12))
    assert not exclusive(parse_condition(words), parse_condition(words.replace("A", "C").replace("B", "D")))


def test_the_fields_of_a_condition_are_known() -> None:
    found = {
        str(field)
        for field in condition.fields_of(parse_condition("PID-8 = F and (count(PV1-3) > 1 or not PID-9 null)"))
    }
    assert found == {"PID-8", "PV1-3", "PID-9"}


@pytest.mark.parametrize("words", ["(" * 2000, "not " * 2000 + "PID-8 valued", "(" * 40 + "PID-8 valued" + ")" * 40])
def test_a_condition_nested_too_deep_is_refused_before_the_stack_ends(words: str) -> None:
    with pytest.raises(ValueError, match="too deep"):
        parse_condition(words)
