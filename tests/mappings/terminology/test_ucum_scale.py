"""How large units are, held against ucumvert with pint, which get there by another way. UCUM §2 to §25."""

import csv
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ucumvert import PintUcumRegistry

from mappings.terminology.ucum import is_code
from mappings.terminology.ucum_scale import MOST_BITS, TABLE, scale

PINT = PintUcumRegistry()
UNITS = [row["code"] for row in csv.DictReader(TABLE.read_text("utf-8").splitlines()) if row["kind"] != "prefix"]
MERCURY = 1e-4  # pint has the density of mercury with more digits than UCUM


@pytest.mark.parametrize("code", UNITS)
def test_every_unit_of_the_table_is_ucum_and_has_a_scale(code: str) -> None:
    assert is_code(code)
    assert scale(code) is not None


PAIRS = [
    ("g/L", "mg/dL", 100),
    ("mmol/L", "umol/mL", 1),
    ("10*9/L", "10*3/uL", 1),
    ("kPa", "mm[Hg]", Fraction(1_000_000, 133_322)),
    ("/wk", "/d", Fraction(1, 7)),
    ("mL/min/{1.73_m2}", "mL/s", Fraction(1, 60)),
    ("kg/m2", "g/cm2", Fraction(1, 10)),
    ("ug/kg/min", "ug/(kg.min)", 1),
    ("%", "[ppth]", 10),
    ("U/L", "nkat/L", Fraction(50, 3)),
    ("[lb_av]", "kg", Fraction(45_359_237, 100_000_000)),
    ("h", "s", 3600),
    ("meq/L", "mmol/L", 1),
]


@pytest.mark.parametrize(("one", "other", "ratio"), PAIRS)
def test_a_unit_is_so_many_of_another(one: str, other: str, ratio: Fraction) -> None:
    mine, theirs = scale(one), scale(other)
    assert mine is not None
    assert theirs is not None
    assert mine.dimension == theirs.dimension
    assert mine.factor / theirs.factor == ratio
    oracle = float((1 * PINT.from_ucum(one)).to(PINT.from_ucum(other)).magnitude)
    assert math.isclose(oracle, float(ratio), rel_tol=MERCURY)


@pytest.mark.parametrize(("one", "other"), [("mol/L", "g/L"), ("[iU]/L", "U/L"), ("mol", "1"), ("[iU]", "%")])
def test_what_measures_different_things_is_not_compared(one: str, other: str) -> None:
    mine, theirs = scale(one), scale(other)
    assert mine is None or theirs is None or mine.dimension != theirs.dimension


@pytest.mark.parametrize(
    "code", ["", "Cel", "[pH]", "G/L{", "mmHg", "10*999", "9" * 40, "m99", ".".join(["10*30"] * 40)]
)
def test_what_has_no_factor_has_no_scale(code: str) -> None:
    assert scale(code) is None


@given(
    st.lists(st.sampled_from([*UNITS, "mg", "dL", "(", ")", ".", "/", "2", "-3", "{x}", "10*6"]), max_size=9).map(
        "".join
    )
)
def test_a_scale_is_bounded_whatever_is_asked(code: str) -> None:
    found = scale(code)
    if found is not None:
        assert is_code(code)
        assert found.factor > 0
        assert found.factor.numerator.bit_length() <= MOST_BITS
