"""Generate the tables of HL7 v2's own structure from hl7apy's metadata.

    python -m tools.compile_hl7v2

writes `structures.csv` (which structure an event has, and how far it is mapped) and `fields.csv` (datatype and table
of every field) in `mappings/hl7v2/`. Versions and fields are hl7apy's; **the event column is ours**, below: HL7's table
0354 has structures without events. Run it again when a family of messages is added to `_FAMILIES`.
"""

import csv
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hl7apy import SUPPORTED_LIBRARIES

_OUT = Path(__file__).parent.parent / "mappings" / "hl7v2"

_NO_TABLE = "9999"  # hl7apy's placeholder for a code without a table

# structure -> events of ADT, from the trigger event sections of HL7 v2.9 chapter 3
_ADT = {
    "ADT_A01": "A01 A04 A08 A13", "ADT_A02": "A02", "ADT_A03": "A03", "ADT_A05": "A05 A14 A28 A31",
    "ADT_A06": "A06 A07",
    "ADT_A09": "A09 A10 A11", "ADT_A12": "A12", "ADT_A15": "A15", "ADT_A16": "A16", "ADT_A17": "A17", "ADT_A18": "A18",
    "ADT_A20": "A20", "ADT_A21": "A21 A22 A23 A25 A26 A27 A29 A32 A33", "ADT_A24": "A24",
    "ADT_A30": "A30 A34 A35 A36 A46 A47 A48 A49", "ADT_A37": "A37", "ADT_A38": "A38", "ADT_A39": "A39 A40 A41 A42",
    "ADT_A43": "A43", "ADT_A44": "A44", "ADT_A45": "A45", "ADT_A50": "A50 A51", "ADT_A52": "A52 A53",
    "ADT_A54": "A54 A55", "ADT_A60": "A60", "ADT_A61": "A61 A62",
}  # fmt: skip
# events whose every rule is built; the rest of ADT is mapped by the same family without its own effects yet
_FULL = frozenset("A01 A02 A03 A04 A05 A08 A11 A12 A13 A28 A31 A40".split())

# (message code, structure, events): known to the reader, mapped as `kept`
_KEPT = (
    ("ORU", "ORU_R30", "R30 R31 R32"), ("OUL", "OUL_R21", "R21"), ("OUL", "OUL_R22", "R22"), ("OUL", "OUL_R23", "R23"),
    ("OUL", "OUL_R24", "R24"), ("ORM", "ORM_O01", "O01"), ("OML", "OML_O21", "O21"), ("OML", "OML_O33", "O33"),
    ("OML", "OML_O35", "O35"), ("OML", "OML_O39", "O39"), ("OMG", "OMG_O19", "O19"), ("OMI", "OMI_O23", "O23"),
    ("OMP", "OMP_O09", "O09"), ("RDE", "RDE_O11", "O11 O25 O01"), ("RDS", "RDS_O13", "O13"), ("RAS", "RAS_O17", "O17"),
    ("RGV", "RGV_O15", "O15"), ("VXU", "VXU_V04", "V04"),
    ("SIU", "SIU_S12", "S12 S13 S14 S15 S16 S17 S18 S19 S20 S21 S22 S23 S24 S26 S27"),
    ("MDM", "MDM_T01", "T01 T03 T05 T07 T09 T11"), ("MDM", "MDM_T02", "T02 T04 T06 T08 T10"),
    ("PPR", "PPR_PC1", "PC1 PC2 PC3"), ("PGL", "PGL_PC6", "PC6"), ("REF", "REF_I12", "I12 I13 I14 I15"),
    ("BAR", "BAR_P01", "P01"), ("BAR", "BAR_P02", "P02"), ("BAR", "BAR_P05", "P05"), ("BAR", "BAR_P06", "P06"),
    ("BAR", "BAR_P10", "P10"), ("BAR", "BAR_P12", "P12"), ("DFT", "DFT_P03", "P03"), ("DFT", "DFT_P11", "P11"),
    ("OPU", "OPU_R25", "R25"), ("MFN", "MFN_M02", "M02"), ("MFN", "MFN_M05", "M05"),
)  # fmt: skip


def versions() -> list[tuple[str, Any]]:
    """hl7apy's library of each version, oldest first."""
    found = ((name, importlib.import_module(module)) for name, module in SUPPORTED_LIBRARIES.items())
    return sorted(found, key=lambda item: item[0])


def structures() -> Iterator[list[str]]:
    """Rows of structures.csv. `since` and `until` are the versions in which hl7apy has the structure."""
    libraries = versions()
    spans: dict[str, tuple[str, str]] = {}
    for version, library in libraries:
        for name in library.MESSAGES:
            since, _ = spans.get(name, (version, ""))
            spans[name] = (since, version)
    latest = libraries[-1][0]

    def row(message: str, event: str, structure: str, family: str, tier: str) -> list[str]:
        since, until = spans.get(structure, ("", ""))
        return [message, event, structure, since, "" if until == latest else until, family, tier]

    for structure, events in _ADT.items():
        for event in events.split():
            yield row("ADT", event, structure, "adt", "full" if event in _FULL else "core")
    for event in ("R01", "R40"):
        yield row("ORU", event, "ORU_R01", "oru", "full" if event == "R01" else "core")
    for message, structure, events in _KEPT:
        for event in events.split():
            yield row(message, event, structure, "kept", "kept")


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
    write(
        _OUT / "structures.csv", ["message", "event", "structure", "since", "until", "family", "tier"], structures()
    )  # fmt: skip
    write(_OUT / "fields.csv", ["segment", "field", "datatype", "table"], fields())
    return 0


if __name__ == "__main__":
    sys.exit(main())
