"""Vocabulary maps: one CSV of `maps/` each, code to FHIR code.

`maps/v2-0001.administrative-gender.csv` maps HL7 table 0001 to FHIR's administrative-gender. Columns: `code, target,
system, display, equivalence, note, source`. A row without a target says that the code is known and has no counterpart.
Which table a map reads from is in its name; membership of codes in HL7's tables is `tables.py`'s.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from mappings.errors import MappingError

_MAPS: Final = Path(__file__).parent / "maps"
_COLUMNS: Final = ["code", "target", "system", "display", "equivalence", "note", "source"]
_V2: Final = "http://terminology.hl7.org/CodeSystem/"
# Maps that read the codes of other systems, too, by the names senders give these
_ALSO: Final = {"v2-0296.bcp-47": frozenset({"ISO639", "ISO6391", "ISO6392", "BCP47"})}
_CASELESS: Final = frozenset(
    {"v2-0296.bcp-47"}
)  # ISO 639 and RFC 5646 know no case, and senders write ENG, eng and Eng


class MapError(MappingError):
    """A vocabulary map that does not exist or does not have the columns of one."""


class Concept(NamedTuple):
    """The target of one code. `equivalence` is FHIR's concept-map-equivalence."""

    code: str
    system: str
    display: str | None
    equivalence: str


@dataclass(frozen=True, slots=True, eq=False)
class ConceptMap:
    """A loaded map. `table` is the HL7 table it reads from ("0001"), "" for other sources."""

    name: str
    table: str
    concepts: dict[str, Concept]
    known: frozenset[str]  # every code with a row, those without a target too
    also: frozenset[str] = frozenset()  # names of further systems, in letters and digits, whose codes it reads

    @property
    def source(self) -> str | None:
        """The code system of the codes it reads."""
        return f"{_V2}v2-{self.table}" if self.table else None

    def get(self, code: str) -> Concept | None:
        return self.concepts.get(code)

    def targets(self) -> frozenset[str]:
        return frozenset(concept.code for concept in self.concepts.values())


@cache
def load(name: str) -> ConceptMap:
    """The map of that name, read once; MapError if there is none."""
    path = _MAPS / f"{name}.csv"
    if "/" in name or not path.is_file():
        raise MapError(f"no vocabulary map {name}")
    return read(name, path)


def read(name: str, path: Path) -> ConceptMap:
    """A map from any file: a site's overlay has the same columns."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != _COLUMNS:
            raise MapError(f"{path.name}: expected the columns {','.join(_COLUMNS)}")
        rows = list(reader)
    codes = [row["code"] for row in rows]
    if len(set(codes)) < len(codes):
        raise MapError(f"{path.name}: a code has two rows")
    concepts = {
        row["code"]: Concept(row["target"], row["system"], row["display"] or None, row["equivalence"])
        for row in rows
        if row["target"]
    }
    if name in _CASELESS:
        spelled = [*codes, *map(str.upper, codes), *map(str.capitalize, codes)]
        concepts = {each: concepts[code] for code, each in zip(codes * 3, spelled, strict=True) if code in concepts}
        codes = spelled
    head = name.split(".", 1)[0]
    table = head[3:] if head.startswith("v2-") and head[3:].isdigit() else ""
    return ConceptMap(name, table, concepts, frozenset(codes), _ALSO.get(name, frozenset()))


def names() -> list[str]:
    """Every map that ships."""
    return sorted(path.stem for path in _MAPS.glob("*.csv"))
