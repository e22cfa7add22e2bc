"""What the sections of a document are about: `sections.csv`, one row a LOINC code.

Columns: `loinc`; `alias`, the code of the same section that guides prefer; `name`, a word for reports; `domain`, the
handler of its entries; `ips`, the slice of the patient summary it feeds; `category`, the FHIR category of what it
holds (of a Condition or an Observation); `title`, for a section that has none; `source`.
Source: C-CDA R2.1 to R5, section templates; IPS 2.0, Composition; eHDSI value set eHDSISection; IHE PaLM XD-LAB.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from mappings.cda.templates import templates

_FILE = Path(__file__).parent / "sections.csv"
LOINC = "2.16.840.1.113883.6.1"
NARRATIVE = "narrative"  # the domain of a section that nothing is known of: its entries go by template and class


@dataclass(frozen=True, slots=True)
class Section:
    """One kind of section."""

    loinc: str
    alias: str
    name: str
    domain: str
    ips: str
    category: str
    title: str


@cache
def sections() -> Mapping[str, Section]:
    """Every row by its LOINC code."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        rows = (Section(**{name: row[name] for name in Section.__slots__}) for row in csv.DictReader(file))
        return {row.loinc: row for row in rows}


def section_of(
    code: str, system: str, template_roots: Iterable[str] = (), local: Mapping[str, str] | None = None
) -> Section:
    """What a section is, by its code; else by its templates; else the unknown section.

    The code is looked up whatever its system says, since no other system writes codes as LOINC does. `local` is the
    profile's: code → domain; it goes first.
    """
    code = code.strip()
    known = sections().get(code)
    if code and local and code in local:
        return replace(known or _unknown(code), domain=local[code])
    if known is not None:
        return known
    for root in template_roots:
        template = templates().get(root)
        if template is not None and template.tag == "section":
            return sections()[template.role]
    return _unknown(code if system == LOINC else "")


def _unknown(code: str) -> Section:
    return Section(code, "", "", NARRATIVE, "", "", "")
