"""Which codes HL7's own tables hold.

`tables.csv` has columns `table, code, source`. A code outside its table is a site's own addition and must not be given
HL7's system: the datatype functions scope it to the feed.
"""

import csv
from functools import cache
from pathlib import Path

_FILE = Path(__file__).parent / "tables.csv"
_V2 = "http://terminology.hl7.org/CodeSystem/v2-"


@cache
def _tables() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    with _FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["table"], set()).add(row["code"])
    return {table: frozenset(codes) for table, codes in found.items()}


def codes(table: str) -> frozenset[str]:
    """The codes of a table, named by its four digits; empty for one that HL7 publishes without codes."""
    return _tables().get(table, frozenset())


def system_of(table: str, code: str) -> str | None:
    """The code system URI if the table holds the code."""
    return f"{_V2}{table}" if code in codes(table) else None
