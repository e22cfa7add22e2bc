"""What the standard says of each field: its datatype and its HL7 table.

`fields.csv` is generated from hl7apy's metadata by `tools/compile_hl7v2.py`: columns `segment, field, datatype, table`,
the newest version that has the field. Used where a code arrives without a system, and by `map lint`.
"""

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

_FILE = Path(__file__).parent / "fields.csv"


class Field(NamedTuple):
    datatype: str
    table: str  # four digits, "" where the field has none


@cache
def _fields() -> dict[tuple[str, int], Field]:
    with _FILE.open(encoding="utf-8", newline="") as file:
        return {
            (row["segment"], int(row["field"])): Field(row["datatype"], row["table"]) for row in csv.DictReader(file)
        }


def field_of(segment: str, field: int) -> Field | None:
    """None for a field the standard does not have."""
    return _fields().get((segment, field))


def table_of(segment: str, field: int) -> str:
    found = _fields().get((segment, field))
    return found.table if found else ""
