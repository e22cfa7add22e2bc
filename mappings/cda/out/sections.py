"""Which sections each kind of document has: `sections.csv`; and what the table of a section shows: `columns.csv`.

`sections.csv`: `kind, loinc, map` (of its entries), `table` (of `columns.csv`), `need` (`required`: it is there though
it says that nothing is known), `unknown` (the map of the entry that says so where a document says it by an entry),
`title, display, templates` (`root[:extension]`, apart by blanks), `source`. Their order is the document's.
`columns.csv`: `table, header, source` (FHIRPath over the resource of a statement), `note`.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mappings.cda.sections import sections as known_sections
from mappings.fhir.fhirpath import Compiled, compile

# domain of a section → its map, and the table of its narrative
_WRITTEN = {
    **{name: (name, name) for name in ("allergy", "condition", "medication", "immunization", "procedure", "device")},
    "result": ("result", "result"), "vital": ("vital", "result"), "social": ("social", "result"),
    "pregnancy": ("pregnancy", "result"), "function": ("observation", "result"),
    "plan": ("plan", "plan"),
}  # fmt: skip
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class SectionRow:
    loinc: str
    map: str
    table: str
    required: bool
    unknown: str
    title: str
    display: str
    templates: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Column:
    header: str
    source: Compiled


@cache
def sections(kind: str) -> dict[str, SectionRow]:
    """The sections of a kind of document, by LOINC code, in order."""
    with (_HERE / "sections.csv").open(encoding="utf-8", newline="") as file:
        return {row["loinc"]: _section(row) for row in csv.DictReader(file) if row["kind"] == kind}


def section_row(kind: str, loinc: str) -> SectionRow | None:
    """A section by its LOINC code; one that this kind of document does not know, but that holds entries of a domain
    that is written, takes that domain's map and no template. None for a section of narrative."""
    found = sections(kind).get(loinc)
    domain = _WRITTEN.get(known_sections()[loinc].domain) if found is None and loinc in known_sections() else None
    return SectionRow(loinc, f"section.{domain[0]}", domain[1], False, "", "", "", ()) if domain else found


def _section(row: dict[str, str]) -> SectionRow:
    templates = tuple((root, extension) for root, _, extension in (e.partition(":") for e in row["templates"].split()))
    return SectionRow(
        row["loinc"], row["map"], row["table"], row["need"] == "required", row["unknown"], row["title"],
        row["display"], templates,
    )  # fmt: skip


@cache
def columns(table: str) -> tuple[Column, ...]:
    with (_HERE / "columns.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["table"] == table]
    return tuple(Column(row["header"], compile(row["source"])) for row in rows)
