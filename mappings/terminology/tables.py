"""Which codes HL7's own tables hold, and whose they are.

`tables.csv` has columns `table, code, system, source`. A code outside its table is a site's own addition and must not
be given HL7's system: the datatype functions scope it to the feed. Some tables hold codes of others: 0005 (race) those
of the CDC.
"""

import csv
from functools import cache
from pathlib import Path

_FILE = Path(__file__).parent / "tables.csv"


@cache
def _tables() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    with _FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["table"], {})[row["code"]] = row["system"]
    return found


def codes(table: str) -> frozenset[str]:
    """The codes of a table, named by its four digits; empty for one that HL7 publishes without codes."""
    return frozenset(_tables().get(table, ()))


def system_of(table: str, code: str) -> str | None:
    """The URI of the code's system if the table holds the code."""
    return _tables().get(table, {}).get(code)
