"""UCUM: which texts are codes of it, and which everyday spellings of a unit are safe to read as one.

Two questions, two tables. `is_code` answers whether a text is a UCUM expression: its grammar over the prefixes and
atoms of `ucum_atoms.csv` (`code, kind, source`; kind is prefix, metric or plain), case-sensitive, for in UCUM `m` and
`M` differ by a factor. `code_for` gives the code of a unit as people write it, by `ucum.csv` (`unit, code, source`);
what is not listed there stays text, though it parse: `G/L` is gauss by litre in UCUM and no one's white cell count.
Conversion between units is no task of this file.

    main-term   = ["/"] term
    term        = component *(("." | "/") component)
    component   = (unit [exponent] | factor | "(" term ")") [annotation] | annotation
    unit        = atom | prefix metric-atom
    exponent    = ["+" | "-"] digits        annotation = "{" printable ASCII, no braces "}"

An annotation behind a factor or a parenthesis is not in the printed grammar, but in UCUM's own list of examples:
`/100{cells}`.
Source: UCUM 2.2, http://unitsofmeasure.org, §2–§25 and its table of units; the R4 value set ucum-common.
"""

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

_FILE = Path(__file__).parent / "ucum.csv"
_ATOMS = Path(__file__).parent / "ucum_atoms.csv"
_MOST = 256  # characters; the longest of UCUM's own examples has not a quarter of it
_STOPS = frozenset("./(){}")
_DIGITS = frozenset("0123456789")
_PRINTABLE = frozenset(map(chr, range(33, 127))) - frozenset("{}")


class _Atoms(NamedTuple):
    prefixes: frozenset[str]
    metric: frozenset[str]
    all: frozenset[str]


@cache
def _units() -> dict[str, str]:
    with _FILE.open(encoding="utf-8", newline="") as file:
        return {row["unit"]: row["code"] for row in csv.DictReader(file)}


@cache
def _atoms() -> _Atoms:
    kinds: dict[str, set[str]] = {"prefix": set(), "metric": set(), "plain": set()}
    with _ATOMS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            kinds[row["kind"]].add(row["code"])
    return _Atoms(frozenset(kinds["prefix"]), frozenset(kinds["metric"]), frozenset(kinds["metric"] | kinds["plain"]))


def code_for(unit: str) -> str | None:
    """The UCUM code of a unit as people write it; None where the spelling is not known to be safe."""
    return _units().get(unit)


def is_code(text: str) -> bool:
    """Whether a text is a UCUM expression. One pass, no recursion: its time is linear in the text."""
    if not text or len(text) > _MOST:
        return False
    at = 1 if text[0] == "/" else 0
    depth, wanted = 0, True  # whether a component must come next
    while 0 <= at < len(text):
        char = text[at]
        if char == "(" and wanted:
            depth, at = depth + 1, at + 1
        elif char == ")" and depth and not wanted:
            depth, at = depth - 1, _annotation(text, at + 1)
        elif char in "./" and not wanted:
            wanted, at = True, at + 1
        elif wanted and char not in _STOPS - {"{"}:
            wanted, at = False, _component(text, at)
        else:
            return False
    return at == len(text) and depth == 0 and not wanted


def _component(text: str, start: int) -> int:
    """Where a unit, a factor or an annotation that begins here ends; -1 where none does."""
    end = _word_end(text, start)
    word = text[start:end]
    if word and not _is_unit(word) and not _is_number(word):
        return -1
    return _annotation(text, end)


def _word_end(text: str, at: int) -> int:
    """The end of a unit with its exponent: brackets keep what they hold together, as in `[m/s2/Hz^(1/2)]`."""
    while at < len(text):
        if text[at] == "[":
            close = text.find("]", at)
            if close < 0:
                return at  # an open bracket is no unit: the word before it will not be one either
            at = close + 1
        elif text[at] in _STOPS:
            break
        else:
            at += 1
    return at


def _annotation(text: str, start: int) -> int:
    """The end of the annotation that begins here; here, where none does; -1 where it is none."""
    if text[start : start + 1] != "{":
        return start
    close = text.find("}", start)
    return close + 1 if close > 0 and _PRINTABLE.issuperset(text[start + 1 : close]) else -1


def _is_unit(word: str) -> bool:
    """An atom with or without its prefix and an exponent."""
    bare = word.rstrip("0123456789")
    digits = word[len(bare) :]
    if digits and not _is_number(digits):
        return False
    if digits and bare[-1:] in ("+", "-"):
        bare = bare[:-1]
    atoms = _atoms()
    if bare in atoms.all:
        return True
    return any(bare[:cut] in atoms.prefixes and bare[cut:] in atoms.metric for cut in (1, 2))


def _is_number(text: str) -> bool:
    """A positive whole number without leading zeros."""
    return _DIGITS.issuperset(text) and text[:1] not in ("", "0")
