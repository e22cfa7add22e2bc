"""The tables of the HL7 v2-to-FHIR guide, read row by row: only sheets whose inventory says they are ready.

The guide is CC0 and is not part of this repository: its sheets are found through CHARTBRIDGE_STANDARDS (a folder that
holds `v2-to-fhir`), else beside the repository. What its rows mean to us stands in `mappings/hl7v2/crosswalk.csv`
(`tools/crosswalk.py`). A row is known by its sheet and the number of its record in the sheet's file, for one field
often has several rows.

Source: HL7 v2-to-FHIR guide, mapping spreadsheets and their four inventories.
"""

import csv
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["message", "segment", "datatype", "codesystem"]

FOLDER = Path(os.environ.get("CHARTBRIDGE_STANDARDS", Path(__file__).parents[2] / "shared/standards")) / "v2-to-fhir"
READY = "Ready for Ballot"

# kind -> (folder, inventory, column of the status, what stands before a sheet's name in its file's name)
_KINDS: dict[Kind, tuple[str, str, int, str]] = {
    "message": ("messages", "Message", 1, "HL7 Message - FHIR R4_ "),
    "segment": ("segments", "Segment", 1, "HL7 Segment - FHIR R4_ "),
    "datatype": ("datatypes", "Data Type", 1, "HL7 Data Type - FHIR R4_ "),
    "codesystem": ("codesystems", "Code System", 2, "HL7 Concept Map_ "),
}
_HEAD = 2  # records above the first row: a title line, the column names
_INDEX = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True, slots=True)
class GuideRow:
    """One row of one sheet. `field` is `PV1-3`, `CX.4`, `ADT_A01.PID` or a code; blank where the guide names none."""

    kind: Kind
    sheet: str
    number: int
    field: str
    when: str
    target: str
    type: str  # datatype map, or a message's segment map
    vocab: str
    assigned: str  # the constant
    references: str

    @property
    def segment(self) -> str:
        return self.sheet.partition("[")[0]

    @property
    def resource(self) -> str:
        """`PRT[Patient-GeneralPractitioner]` writes into a Patient."""
        return self.sheet.partition("[")[2].rstrip("]").partition("-")[0]


def available() -> bool:
    """Whether the guide's tables are here."""
    return FOLDER.is_dir()


def sheets(kind: Kind) -> dict[str, Path]:
    """Sheet → file, of every sheet of a kind that is ready."""
    folder, inventory, status, prefix = _KINDS[kind]
    with (FOLDER / f"v2-to-FHIR Map Inventory - {inventory}.csv").open(encoding="utf-8-sig", newline="") as file:
        ready = {_plain(row[0].split(": ", 1)[-1]) for row in list(csv.reader(file))[1:] if row[status] == READY}
    found = {path.stem.removeprefix(prefix).rsplit(" - ", 1)[0]: path for path in (FOLDER / folder).glob("*.csv")}
    # an inventory writes InterpretationCode where the sheet's file is called InterpretationCodes
    return {
        name: path for name, path in sorted(found.items()) if _plain(name) in ready or _plain(name).rstrip("s") in ready
    }


def _plain(name: str) -> str:
    """A sheet's name without what a file's name cannot hold or the inventory writes otherwise."""
    return re.sub(r"[^a-z0-9\[]", "", name.casefold())


def rows() -> Iterator[GuideRow]:
    """Every row of the message, segment and datatype sheets, in the sheets' order."""
    for kind in ("message", "segment", "datatype"):
        for sheet, path in sheets(kind).items():
            yield from _sheet(kind, sheet, path)


def _sheet(kind: Kind, sheet: str, path: Path) -> Iterator[GuideRow]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, record in enumerate(csv.reader(file), 1):
            cells = [" ".join(cell.split()) for cell in record] + [""] * 20
            if number <= _HEAD or not any(cells):
                continue
            when = cells[6] or cells[8]
            if kind == "message":
                yield GuideRow(kind, sheet, number, cells[1], when, cells[9], cells[10], "", "", cells[11])
            else:
                assigned = cells[16].strip('" ')
                yield GuideRow(kind, sheet, number, cells[1], when, cells[9], cells[14], cells[15], assigned, "")


def codes(path: Path) -> dict[str, tuple[str, str]]:
    """Code → (target, system) of a code system's sheet; blank where the guide gives it no target."""
    found: dict[str, tuple[str, str]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        for record in list(csv.reader(file))[_HEAD:]:
            cells = [cell.strip() for cell in record] + [""] * 12
            if cells[0]:
                found.setdefault(cells[0], (cells[6], cells[9] or cells[8]))
    return found


def elements(target: str, resource: str) -> tuple[str, ...]:
    """The elements on a target's path: `requester(PractitionerRole.practitioner)` lies in `requester`."""
    depth, plain = 0, []
    for char in target:
        depth += (char == "(") - (char == ")")
        if depth == 0 and char != ")":
            plain.append(char)
    steps = [step.strip().lstrip("_") for step in _INDEX.sub("", "".join(plain)).split(".")]
    if steps and steps[0] == resource:
        steps = steps[1:]
    return tuple(step for step in steps if step and step not in ("reference", "id", "$this"))
