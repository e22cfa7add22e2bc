"""How large a UCUM unit is, so that 1 g/L and 100 mg/dL can be compared: a factor and what it is a factor of.

`ucum_scale.csv` (`code, kind, value, unit, source`) has the units that clinical amounts are given in: a value times
another unit, or times 1 where the unit is a base of its own. What it does not list, and what has no factor at all
(`Cel`, `[pH]`), has no scale: such units are compared by their code. Arbitrary units (`[iU]`) compare with themselves
only, amounts of substance never with counts.

Factors are fractions: nothing is rounded, and 7 a week is exactly 1 a day.
Source: UCUM §2 to §25 (terms), SI Brochure 9, NIST SP 811.
"""

import csv
import re
from collections.abc import Mapping
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from mappings.terminology.ucum import is_code

TABLE: Final = Path(__file__).with_name("ucum_scale.csv")
MOST_DIGITS: Final = 12  # of a factor in a term
MOST_EXPONENT: Final = 30
MOST_BITS: Final = 400  # of a scale; beyond them a comparison would have to round

Dimension: TypeAlias = tuple[tuple[str, int], ...]


class Scale(NamedTuple):
    """`factor` of the product of base units `dimension`."""

    factor: Fraction
    dimension: Dimension


class _Unit(NamedTuple):
    kind: str
    value: Fraction
    unit: str


class _NoScale(Exception):
    """A part of the term has no factor."""


_ONE: Final = Scale(Fraction(1), ())
_TOKEN: Final = re.compile(r"(?P<annotation>\{[^}]*\})|(?P<sign>[./()])|(?P<word>(?:\[[^\]]*\]|[^./(){}\[])+)")
_POWER: Final = re.compile(r"(?P<atom>.*?)(?P<power>[+-]?[0-9]+)?", re.DOTALL)


@lru_cache(maxsize=1_024)
def scale(code: str) -> Scale | None:
    """The scale of a UCUM code; None where it is none, or has no factor that we know."""
    if not is_code(code):
        return None
    try:
        return _term(code)
    except _NoScale:
        return None


def _term(code: str) -> Scale:
    """Left to right: a stroke divides by the one component that follows it."""
    stack: list[tuple[Scale, int]] = []
    sofar, sign = _ONE, 1
    for token in _TOKEN.finditer(code):
        match token[0]:
            case ".":
                sign = 1
            case "/":
                sign = -1
            case "(":
                stack.append((sofar, sign))
                sofar, sign = _ONE, 1
            case ")":
                before, outer = stack.pop()
                sofar, sign = _times(before, sofar, outer), 1
            case word if token["word"]:
                sofar = _times(sofar, _component(word), sign)
    return sofar


def _component(word: str) -> Scale:
    if word.isdigit():
        if len(word) > MOST_DIGITS:
            raise _NoScale
        return Scale(Fraction(int(word)), ())
    if (found := _POWER.fullmatch(word)) is None or len(found["power"] or "") > len("-30"):
        raise _NoScale
    power = int(found["power"] or 1)
    if abs(power) > MOST_EXPONENT:
        raise _NoScale
    return _times(_ONE, _atom(found["atom"]), power)


@cache
def _atom(atom: str) -> Scale:
    """A unit, with or without its prefix."""
    prefixes, units = _table()
    if (unit := units.get(atom)) is not None:
        return _scaled(atom, unit)
    for cut in (1, 2):
        prefix, metric = prefixes.get(atom[:cut]), units.get(atom[cut:])
        if prefix is not None and metric is not None and metric.kind == "metric":
            found = _scaled(atom[cut:], metric)
            return Scale(prefix * found.factor, found.dimension)
    raise _NoScale


def _scaled(code: str, unit: _Unit) -> Scale:
    if not unit.unit:
        return Scale(unit.value, ((code, 1),))
    found = _term(unit.unit)
    return Scale(unit.value * found.factor, found.dimension)


def _times(left: Scale, right: Scale, power: int) -> Scale:
    powers = dict(left.dimension)
    for base, exponent in right.dimension:
        powers[base] = powers.get(base, 0) + exponent * power
    factor = left.factor * right.factor**power
    if max(factor.numerator.bit_length(), factor.denominator.bit_length()) > MOST_BITS:
        raise _NoScale
    return Scale(factor, tuple(sorted((base, exponent) for base, exponent in powers.items() if exponent)))


@cache
def _table() -> tuple[Mapping[str, Fraction], Mapping[str, _Unit]]:
    """Prefixes, and units."""
    prefixes, units = {}, {}
    with TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "prefix":
                prefixes[row["code"]] = Fraction(row["value"])
            else:
                units[row["code"]] = _Unit(row["kind"], Fraction(row["value"]), row["unit"])
    return prefixes, units
