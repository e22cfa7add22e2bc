"""Generate `mappings/cda/templates.csv`, and hold `mappings/cda/sections.csv` against what is published.

    python -m tools.compile_cda_templates [--ccda hl7.cda.us.ccda-5.0.0-ballot.tgz] [--ips hl7.fhir.uv.ips-2.0.0.tgz]

The npm packages `hl7.cda.us.ccda` 5.0.0-ballot and `hl7.fhir.uv.ips` 2.0.0 (both CC0) are fetched with `npm pack`, or
taken from these copies, and compared with the digests pinned here. A template's root, version, element and name are the
package's; `cda_template_rows.csv` beside this file says which domain maps it, and holds whole rows for templates that
the package has not: C-CDA R2.1, IHE PCC, CCD R1 and eHDSI. A section's domain is that of its LOINC code.

The compilation stops where a statement's template has no row, a row names nothing, or a section that one of the
packages defines is not in `sections.csv`.
"""

import argparse
import base64
import csv
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Row = dict[str, str]

CCDA = "hl7.cda.us.ccda@5.0.0-ballot"
IPS = "hl7.fhir.uv.ips@2.0.0"
INTEGRITY = {  # sha512, npm's own
    CCDA: "/hKThDbbE6WjJqiko0o8JEipHN6RmwFr+hFxnHnqI0B5cWAQ5OTVic4aAbFwPVqzOoVJqxob+Lui+01bw5zXnw==",
    IPS: "4PWToJ9b1FgXsm9DIvHiU6HO9Z5m75jxk0e0MXOmhFlf2m2slk/d6RoiSYIChKJlvmtJ7GbRftt7PphlwmZcbQ==",
}
HERE = Path(__file__).parent
TARGET = HERE.parent / "mappings" / "cda"
ROWS = HERE / "cda_template_rows.csv"
COLUMNS = ("root", "extension", "tag", "domain", "role", "source")

# CDA class -> element. What is in a header has no domain.
HEADER = {"Author": "author", "ClinicalDocument": "ClinicalDocument", "Participant1": "participant"}
STATEMENTS = {
    name: name[0].lower() + name[1:]
    for name in (
        "Act", "Criterion", "Encounter", "ExternalDocument", "ManufacturedProduct", "Observation", "Organizer",
        "ParticipantRole", "Procedure", "Section", "SubstanceAdministration", "Supply",
    )
}  # fmt: skip
TAGS = HEADER | STATEMENTS
IDENTIFIER = re.compile(r"urn:(?:oid|hl7ii):([0-9.]+)(?::(.+))?")


class CompileError(Exception):
    """A package is not the pinned one, or the tables and the packages do not fit together."""


def fetch(package: str, folder: Path) -> Path:
    """Download a package with the npm client; npm prints the name of the file it wrote as its last line."""
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder), package]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - a fixed command
    return folder / done.stdout.split()[-1]


def definitions(package: str, file: Path) -> list[Json]:
    """The StructureDefinitions of a package, in the order of their names. Refuses any bytes but those npm published."""
    content = file.read_bytes()
    found = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != INTEGRITY[package]:
        raise CompileError(f"{package} has the wrong integrity: expected sha512-{INTEGRITY[package]}, got {found}")
    read = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            name = Path(member.name).name
            part = archive.extractfile(member) if name.endswith(".json") else None
            if name.startswith("StructureDefinition-") and part is not None:
                read[name] = json.load(part)
    return [read[name] for name in sorted(read)]


def table(file: Path) -> list[Row]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def section_codes(definition: Json) -> list[str]:
    """The LOINC codes that a section template fixes, its translations' too."""
    return [
        each["patternCode"]
        for each in definition["snapshot"]["element"]
        if each["path"] in ("Section.code.code", "Section.code.translation.code") and "patternCode" in each
    ]


def ips_sections(composition: Json) -> dict[str, str]:
    """LOINC code -> slice of the Composition of a patient summary."""
    return {
        each["patternCodeableConcept"]["coding"][0]["code"]: each["id"].split(":")[1].split(".")[0]
        for each in composition["snapshot"]["element"]
        if each["path"] == "Composition.section.code" and "patternCodeableConcept" in each
    }


def check_sections(sections: dict[str, Row], ccda: Iterable[Json], ips: Iterable[Json]) -> None:
    """Every section of the two packages is in the table, and no section is called one of IPS that is none."""
    missing = {code for each in ccda for code in section_codes(each)} - set(sections)
    if missing:
        raise CompileError(f"sections.csv lacks {sorted(missing)}")
    published = next(ips_sections(each) for each in ips if each["id"] == "Composition-uv-ips")
    if published != {code: row["ips"] for code, row in sections.items() if row["ips"]}:
        raise CompileError("the column ips of sections.csv is not what the package says")


def kebab(name: str) -> str:
    """`allergy-concern-act` for `AllergyConcernAct`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


def published(definition: Json) -> tuple[str, str, str, str] | None:
    """(root, extension, tag, name) of a template; None for what is no element with a templateId."""
    tag = TAGS.get(definition["type"].rpartition("/")[2])
    identifier = next((each["value"] for each in definition.get("identifier", [])), "")
    found = IDENTIFIER.fullmatch(identifier)
    return (found[1], found[2] or "", tag, definition["name"]) if tag and found else None


def compiled(ccda: Iterable[Json], rows: Iterable[Row], sections: dict[str, Row]) -> Iterator[Row]:
    """The templates of the package, then those of the hand-written rows that it has not."""
    by_root: dict[str, list[Row]] = {}
    for each in rows:
        by_root.setdefault(each["root"], []).append(each)
    source = CCDA.replace("@", " ")
    for definition in ccda:
        if (found := published(definition)) is None:
            continue
        root, extension, tag, name = found
        row: Row = {"root": root, "extension": extension, "tag": tag, "domain": "", "role": kebab(name)}
        row["source"] = f"{source} {name}"
        codes = section_codes(definition)
        if tag == "section" and codes:
            row |= {"domain": sections[codes[0]]["domain"], "role": codes[0]}
        elif tag not in HEADER.values():
            own = by_root.get(root, [])
            chosen = (
                own
                if len(own) == 1 and not own[0]["role"]
                else [each for each in own if each["role"] == name or each["tag"] == tag]
            )
            if len(chosen) != 1:
                raise CompileError(f"cda_template_rows.csv does not say which domain maps {root} {name}")
            ours = chosen[0]
            by_root[root] = [each for each in own if each is not ours]
            if tag == "section":
                row |= {"domain": sections[ours["role"]]["domain"], "role": ours["role"]}
            else:
                row["domain"] = ours["domain"]
        yield row
    for left in (each for remaining in by_root.values() for each in remaining):
        if left["source"] == source or not left["tag"] + left["role"]:
            raise CompileError(f"cda_template_rows.csv names {left['root']}, which the package has not")
        section = sections[left["role"]] if left["tag"] == "section" else None
        yield left | {"extension": "", "domain": section["domain"] if section else left["domain"]}


def arcs(row: Row) -> tuple[tuple[int, ...], str, str]:
    return tuple(map(int, row["root"].split("."))), row["extension"], row["role"]


def main(arguments: list[str] | None = None) -> int:
    """Write the table, and print how many templates it holds."""
    parser = argparse.ArgumentParser(description="compile the table of CDA templates")
    parser.add_argument("--ccda", type=Path, help=f"a copy of {CCDA} (.tgz); without it, `npm pack` fetches one")
    parser.add_argument("--ips", type=Path, help=f"a copy of {IPS} (.tgz); likewise")
    parser.add_argument("--out", type=Path, default=TARGET, help="folder to write to")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        ccda = definitions(CCDA, options.ccda or fetch(CCDA, Path(folder)))
        ips = definitions(IPS, options.ips or fetch(IPS, Path(folder)))
    sections = {row["loinc"]: row for row in table(TARGET / "sections.csv")}
    check_sections(sections, ccda, ips)
    rows = sorted(compiled(ccda, table(ROWS), sections), key=arcs)
    with (options.out / "templates.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    sys.stdout.write(f"templates.csv: {len(rows)} templates\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
