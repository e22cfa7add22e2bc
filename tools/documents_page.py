"""The part of `docs/mappings.md` on documents, from the tables in `mappings/cda`: sections, maps and their rows."""

import csv
from collections.abc import Iterator
from pathlib import Path

from mappings.cda.compiled import makes
from mappings.cda.handlers import HANDLERS
from mappings.cda.rows import resource_type
from mappings.convert import load_profile
from mappings.rows.table import Row

CDA = Path(__file__).parents[1] / "mappings" / "cda"

HEAD = """
# What becomes of a CDA document

A document's header becomes Patient, Composition, the people and organisations it names, the DocumentReference to the
original, and Provenance. Its sections stay what they are in the Composition, with their title, code, narrative and
order. What a section's entries become is said by its LOINC code: the domain in the table below. A statement of another
class than the domain takes goes by its template, else by its class; a statement inside of another that no row reads is
mapped by itself. Every statement has exactly one outcome: mapped, merged with an equal one, in the narrative only,
unsupported, or failed; `chartbridge map explain` prints them. A negated statement is mapped where FHIR can say that
something is not so, and refused where it cannot; it never turns into its opposite.

## Sections
"""
MAPS = """
## Rows of each map

One table a map, a file each in `mappings/cda/entries`. *From* is a path of elements from the statement, `^act` the act
around it, `^section` and `^header` what stands further out; a row without a path writes a constant, or what its value
names. *Mode* says how the resource joins what is stored, *identity* what makes two statements one, besides the patient,
the statement's id and its mood.
"""


def part() -> str:
    """The whole part."""
    return "\n".join(each.strip("\n") + "\n" for each in (HEAD, sections(), domains(), MAPS, *maps()))


def sections() -> str:
    """One line a section code."""
    with (CDA / "sections.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: (row["domain"], row["loinc"]))
    lines = ["| domain | LOINC | section | patient summary | category |", "|---|---|---|---|---|"]
    lines += [f"| {r['domain']} | {r['loinc']} | {r['title']} | {r['ips']} | {r['category']} |" for r in rows]
    return "\n".join(lines)


def domains() -> str:
    """Which classes of statement a domain takes, and whether it can say no."""
    _rows()  # registers the domains
    lines = ["## Domains", "", "| domain | takes | negated statements | about others |", "|---|---|---|---|"]
    for name, handler in sorted(HANDLERS.items()):
        takes = ", ".join(sorted(handler.tags))
        negated = "mapped as such, or refused" if handler.negation else "refused"
        lines.append(f"| {name} | {takes} | {negated} | {'mapped as theirs' if handler.subject else 'refused'} |")
    return "\n".join(lines)


def _rows() -> dict[str, tuple[Row, ...]]:
    entries = load_profile("default").cda.entries
    return {name: compiled.rows for name, compiled in sorted(entries.rows.maps.items())}


def maps() -> Iterator[str]:
    """A table a map."""
    for name, rows in _rows().items():
        lines = [f"### {name}", "", f"{resource_type(name)}{_made(name)}.", ""]
        lines += ["| row | from | when | element | by | vocabulary or value |", "|---|---|---|---|---|---|"]
        for row in rows:
            cells = (row.id.partition(":")[2], row.source, row.when, row.target, row.type, row.vocab or row.value)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        yield "\n".join(lines)


def _made(name: str) -> str:
    """Mode and identity, of a map that makes resources."""
    if name not in makes():
        return ""
    with (CDA / "makes.csv").open(encoding="utf-8", newline="") as file:
        made = next(row for row in csv.DictReader(file) if row["map"] == name)
    core, start = (made[part].replace("|", ", else ") for part in ("core", "start"))
    return f", mode {made['mode']}; identity: {core or 'none'}" + (f"; begins: {start}" if start else "")
