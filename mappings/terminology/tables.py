"""Which codes HL7's own tables hold, and whose they are.

`tables.csv` has columns `table, code, system, source`. A code outside its table is a site's own addition and must not
be given HL7's system: the datatype functions scope it to the feed. Some tables hold codes of others: 0005 (race) those
of the CDC, 0171, 0212 and 0399 (citizenship, nationality, country) those of ISO 3166-1, which `countries.csv` lists
(`code, kind, source`; kind is alpha-2 or alpha-3).
"""

import csv
from functools import cache
from pathlib import Path

_FILE = Path(__file__).parent / "tables.csv"
_COUNTRIES = Path(__file__).parent / "countries.csv"
_OF_COUNTRIES = frozenset({"0171", "0212", "0399"})  # HL7 v2.9 §3.4.2.26, §3.4.2.28: ISO 3166 is what they should hold
ISO_3166 = "urn:iso:std:iso:3166"


@cache
def _tables() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    with _FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["table"], {})[row["code"]] = row["system"]
    return found


@cache
def countries() -> frozenset[str]:
    """The codes of ISO 3166-1, of two letters and of three."""
    with _COUNTRIES.open(encoding="utf-8", newline="") as file:
        return frozenset(row["code"] for row in csv.DictReader(file))


def codes(table: str) -> frozenset[str]:
    """The codes of a table, named by its four digits; empty for one that HL7 publishes without codes."""
    if table in _OF_COUNTRIES:
        return countries()
    return frozenset(_tables().get(table, ()))


def system_of(table: str, code: str) -> str | None:
    """The URI of the code's system if the table holds the code."""
    if table in _OF_COUNTRIES:
        return ISO_3166 if code in countries() else None
    return _tables().get(table, {}).get(code)


@cache
def names() -> frozenset[str]:
    """The tables that have codes, by their four digits."""
    return frozenset(_tables()) | _OF_COUNTRIES
