"""Generate the tables of HL7 v2's own structure from hl7apy's metadata.

    python -m tools.compile_hl7v2

writes in `mappings/hl7v2/` the whole of `fields.csv` (datatype and table of every field), and in `structures.csv`
(which structure an event has, and how far it is mapped) the versions of rows that leave them blank. Fields and versions
are hl7apy's; all else in `structures.csv` is written by hand, for HL7's table 0354 has structures without events.
"""

import csv
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hl7apy import SUPPORTED_LIBRARIES

_OUT = Path(__file__).parent.parent / "mappings" / "hl7v2"

_COLUMNS = ("message", "event", "structure", "since", "until", "family", "tier")
_NO_TABLE = "9999"  # hl7apy's placeholder for a code without a table


def versions() -> list[tuple[str, Any]]:
    """hl7apy's library of each version, oldest first."""
    found = ((name, importlib.import_module(module)) for name, module in SUPPORTED_LIBRARIES.items())
    return sorted(found, key=lambda item: item[0])


def structures() -> Iterator[list[str]]:
    """The rows of structures.csv; where `since` is blank, both versions are those in which hl7apy has the structure."""
    libraries = versions()
    spans: dict[str, tuple[str, str]] = {}
    for version, library in libraries:
        for name in library.MESSAGES:
            since, _ = spans.get(name, (version, ""))
            spans[name] = (since, version)
    latest = libraries[-1][0]
    with (_OUT / "structures.csv").open(encoding="utf-8", newline="") as file:
        for row in list(csv.DictReader(file)):
            if not row["since"]:
                since, until = spans.get(row["structure"], ("", ""))
                row |= {"since": since, "until": "" if until == latest else until}
            yield [row[name] for name in _COLUMNS]


def fields() -> Iterator[list[str]]:
    """Rows of fields.csv: each field as its newest version describes it, its table from the newest that names one."""
    found: dict[tuple[str, int], list[str]] = {}
    for _, library in versions():
        for name, reference in library.SEGMENTS.items():
            if len(name) != 3 or reference[0] != "sequence" or len(reference) < 2:
                continue  # placeholders such as anyHL7Segment
            for entry in reference[1]:
                number = int(entry[0].rsplit("_", 1)[1])
                kind, table = entry[1][2], entry[1][4] or ""
                known = found.get((name, number), ["", ""])
                found[(name, number)] = [kind or known[0], table.removeprefix("HL7") or known[1]]
    for (name, number), (kind, table) in sorted(found.items()):
        yield [name, str(number), kind, table if len(table) == 4 and table.isdigit() and table != _NO_TABLE else ""]


def write(path: Path, header: list[str], rows: Iterator[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main() -> int:
    write(_OUT / "structures.csv", list(_COLUMNS), iter(list(structures())))  # read whole before it is written
    write(_OUT / "fields.csv", ["segment", "field", "datatype", "table"], fields())
    return 0


if __name__ == "__main__":
    sys.exit(main())
