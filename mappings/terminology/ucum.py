"""The UCUM codes of everyday results, and the spellings of them that are safe to read.

`ucum.csv` has columns `unit, code, source`. The unit is compared exactly, case included: in UCUM `m` and `M` differ by
a factor. What is not listed stays text; this is no parser of UCUM (that comes with the unit algebra, not before).
Source: UCUM, http://unitsofmeasure.org; the R4 value set ucum-common.
"""

import csv
from functools import cache
from pathlib import Path

_FILE = Path(__file__).parent / "ucum.csv"
_CHARACTERS = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'()*+-./:;<=>?@[]_{}\""
)  # of a UCUM expression, annotations in braces included


@cache
def _units() -> dict[str, str]:
    with _FILE.open(encoding="utf-8", newline="") as file:
        return {row["unit"]: row["code"] for row in csv.DictReader(file)}


def code_for(unit: str) -> str | None:
    """The UCUM code of a unit as people write it; None where the spelling is not known to be safe."""
    return _units().get(unit)


def plausible(code: str) -> bool:
    """Whether a code that a sender calls UCUM can be one, by its characters (`10^9/L` has one too many)."""
    return bool(code) and _CHARACTERS.issuperset(code)
