"""Generate the tables of HL7 v2's own structure from hl7apy's metadata.

    python -m tools.compile_hl7v2

writes in `mappings/hl7v2/` the whole of `fields.csv` (datatype and table of every field), and in `structures.csv`
(which structure an event has, and how far it is mapped) the versions of rows that leave them blank, and of
`occurrences.csv` the whole (which segments a structure does not let repeat). Fields, versions and occurrences are
hl7apy's; all else in `structures.csv` is written by hand, for HL7's table 0354 has structures without events.
"""

import csv
import importlib
import sys
from collections import Counter
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


def occurrences() -> Iterator[list[str]]:
    """Rows of occurrences.csv; of all versions that have a structure, what every one of them forbids or demands."""
    with (_OUT / "structures.csv").open(encoding="utf-8", newline="") as file:
        names = dict.fromkeys(row["structure"] for row in csv.DictReader(file))
    for name in names:
        known = [library.MESSAGES[name] for _, library in versions() if name in library.MESSAGES]
        if not known:
            continue
        several: set[str] = set()  # in a message
        for_each: set[str] = set()  # for a patient
        parts: list[set[str]] = []
        for reference in known:
            spots = list(_spots(reference))
            several |= _repeated(spots, 1)
            part = list(_part_of_patient(reference))
            patients = sum(1 for spot in part if spot[0] == "PID")
            for_each |= _repeated(part, patients) | ({spot[0] for spot in spots} - {spot[0] for spot in part})
            parts.append({segment for segment, _, needed in part if needed} - {"MSH", "EVN", "PID"})
        held = {spot[0] for reference in known for spot in _spots(reference)} - {"MSH"}
        once = held - several
        alone = "PID" not in once and "PID" in held
        each = held - once - for_each - {"PID"} if alone else set()
        patient = all(any(spot[0] == "PID" and spot[2] for spot in _spots(reference)) for reference in known)
        part_needs = set[str].intersection(*parts) if alone else set()
        yield [name, "1" if patient else "", *(" ".join(sorted(found)) for found in (once, each, part_needs))]


def _repeated(spots: list[tuple[str, bool, bool]], most: int) -> set[str]:
    """The segments that may stand more often."""
    counted = Counter(name for name, _, _ in spots)
    return {name for name, many, _ in spots if many or counted[name] > most}


def _spots(reference: Any, many: bool = False, needed: bool = True) -> Iterator[tuple[str, bool, bool]]:
    """(segment, it may repeat, it must be there) at each place of a structure, but those of earlier orders."""
    for name, child, (least, most), kind in reference[1]:
        if kind == "SEG":
            yield name, many or most != 1, needed and least > 0
        elif "PRIOR" not in name:
            yield from _spots(child, many or most != 1, needed and least > 0)


def _part_of_patient(reference: Any) -> Iterator[tuple[str, bool, bool]]:
    """The same of the innermost group that holds PID and repeats, or of the whole."""
    for name, child, (_, most), kind in reference[1]:
        if kind != "SEG" and "PRIOR" not in name and any(spot[0] == "PID" for spot in _spots(child)):
            inner = list(_part_of_patient(child))
            if most != 1 or len(inner) < len(list(_spots(child))):
                yield from inner
                return
    yield from _spots(reference)


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
    write(_OUT / "occurrences.csv", ["structure", "patient", "once", "each", "part"], occurrences())
    write(_OUT / "fields.csv", ["segment", "field", "datatype", "table"], fields())
    return 0


if __name__ == "__main__":
    sys.exit(main())
