"""UCUM's grammar, held against ucumvert (a parser of another hand, made from UCUM's own grammar) and UCUM's examples.

Source: UCUM 2.2; its table of example codes for electronic messaging, as ucumvert ships it.
"""

import csv
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import ucumvert
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lark.exceptions import LarkError

from mappings.terminology import ucum

TABLE = Path(ucum.__file__).with_name("ucum_atoms.csv")
EXAMPLES = Path(ucumvert.__file__).parent / "vendor" / "ucum_examples.tsv"

with TABLE.open(encoding="utf-8", newline="") as lines:
    ROWS = list(csv.DictReader(lines))
ATOMS = [row["code"] for row in ROWS if row["kind"] != "prefix"]
METRIC = [row["code"] for row in ROWS if row["kind"] == "metric"]
PREFIXES = [row["code"] for row in ROWS if row["kind"] == "prefix"]


@cache
def oracle() -> Any:
    return ucumvert.get_ucum_parser()


def parses(text: str) -> bool:
    try:
        oracle().parse(text)
    except LarkError:
        return False
    return True


numbers = st.integers(1, 999).map(str)
annotations = st.text(st.sampled_from("abcXYZ019 ._-/(").filter(lambda char: char != " "), max_size=6).map(
    "{{{}}}".format
)
units = st.one_of(st.sampled_from(ATOMS), st.builds("{}{}".format, st.sampled_from(PREFIXES), st.sampled_from(METRIC)))
powers = st.builds("{}{}{}".format, units, st.sampled_from(["", "+", "-"]), numbers)
simple = st.one_of(units, powers, numbers, annotations)
components = st.one_of(simple, st.builds("{}{}".format, st.one_of(units, powers, numbers), annotations))
terms = st.recursive(
    components,
    lambda inner: st.builds("{}{}{}".format, inner, st.sampled_from("./"), inner) | inner.map("({})".format),
    max_leaves=6,
)
expressions = st.builds("{}{}".format, st.sampled_from(["", "/"]), terms)


@given(expressions)
@settings(max_examples=150, deadline=None)
@example("[m/s2/Hz^(1/2)]")
@example("10*-6/(24.h){volume}")
def test_what_the_grammar_makes_is_a_code_for_both_of_us(text: str) -> None:
    assert ucum.is_code(text)
    assert parses(text)


@given(st.lists(st.sampled_from([*ATOMS[:60], *PREFIXES, *"./(){}[]+-12", "{a}", " ", "µ", "*"]), max_size=6))
@settings(max_examples=250, deadline=None)
def test_any_other_text_is_a_code_only_where_the_oracle_says_so(parts: list[str]) -> None:
    text = "".join(parts)
    if ucum.is_code(text):
        assert parses(text)


@given(st.text(max_size=40))
@settings(deadline=None)
def test_any_text_has_an_answer(text: str) -> None:
    assert ucum.is_code(text) in (True, False)


def test_every_example_that_ucum_publishes_is_a_code_if_the_oracle_reads_it() -> None:
    """`Torr` stands among the examples and in no table of units: the oracle refuses it, too."""
    with EXAMPLES.open(encoding="utf-8") as file:
        codes = [line.split("\t")[1] for line in file.readlines()[1:]]
    assert len(codes) > 800
    assert [code for code in codes if parses(code) != ucum.is_code(code)] == []


def test_every_code_of_our_own_spellings_is_one() -> None:
    with TABLE.with_name("ucum.csv").open(encoding="utf-8", newline="") as file:
        wrong = [row["code"] for row in csv.DictReader(file) if not ucum.is_code(row["code"])]
    assert all(" " in code for code in wrong), "R4's ucum-common has annotations with blanks, which UCUM has not"


@pytest.mark.parametrize("text", ["mg/dL", "m", "Mm[H2O]", "umol/(24.h)", "{score}", "/min", "%", "10*3/uL", "mm[Hg]"])
def test_a_code_is_one(text: str) -> None:
    assert ucum.is_code(text)


@pytest.mark.parametrize(
    "text",
    ["", "/", "mg/", "mg//dL", "MG/DL", "10^9 /L", "a b", "µg", "(mg", "mg)", "()", "{a", "a}", "[in_i", "mg/dL/",
     "m02", "kmin", "x", "mg{ä}", "{a}{b}", "2+3", "m" * 300],
)  # fmt: skip
def test_what_only_looks_like_a_code_is_none(text: str) -> None:
    assert not ucum.is_code(text)


def test_a_metric_atom_takes_a_prefix_and_no_other_does() -> None:
    assert ucum.is_code("kPa")
    assert ucum.is_code("dag")
    assert not ucum.is_code("kh")
    assert not ucum.is_code("m%")


def test_a_deep_nest_costs_no_recursion() -> None:
    assert ucum.is_code("(" * 120 + "m" + ")" * 120)
