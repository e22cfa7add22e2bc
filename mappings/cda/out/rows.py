"""The rows of outbound documents, read once and checked whole.

`entries/out/allergy.observation.csv` is one map: the rows of one element. Columns: `id, kind, source, when, target,
type, vocab, value, says, note`.

- `kind`: `ccd` or `ehdsi-ps`; empty for both.
- `source`, `when`, `says`: FHIRPath over the node the element is made of; `%resource` is the Bundle, `%rootResource`
  the resource around the node at work. `says` is what the element says by being there, apart by semicolons.
- `target`: `targets.py`. Each step must stand in its class (`classes.csv`), and hold the datatype that is written.
- `type`: a writer; `rows[map]` for an element by another map's rows; `=` for a constant: `value`, or, with a source,
  one for each node found. `@row` is the reference to the statement's row of the narrative, `@language` the document's.
- `vocab`: a map of `mappings/terminology/maps`, read backwards; `value` then names the code system it came from.
- `value` `??UNK`: the null flavor of an element that must be there and has no source.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mappings.cda.out.classes import classes
from mappings.cda.out.settings import KINDS
from mappings.cda.out.targets import Target, parse_target
from mappings.cda.out.writers import WRITERS, fits
from mappings.cda.out.writing import Writer
from mappings.fhir.fhirpath import Compiled
from mappings.outbound.cells import compiled, vocabulary_of
from mappings.outbound.errors import OutboundError
from mappings.terminology.concept_map import ConceptMap

ROWS = Path(__file__).parent.parent / "entries" / "out"
TEMPLATES = Path(__file__).with_name("templates.csv")
_COLUMNS = ["id", "kind", "source", "when", "target", "type", "vocab", "value", "says", "note"]
CONSTANTS = frozenset({"@row", "@language"})
_NULL = "??"


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    kind: str
    source: Compiled | None
    when: Compiled | None
    target: Target
    path: str  # the target, as it is written
    type: str
    writer: Writer | None
    map: str  # of rows[map]
    vocab: ConceptMap | None
    value: str
    flavor: str  # of an element that must be there
    says: tuple[Compiled, ...]


@dataclass(frozen=True, slots=True)
class Template:
    root: str
    extension: str


@dataclass(frozen=True, slots=True)
class Map:
    """The rows of one element, and the templates it follows."""

    name: str
    rows: tuple[Row, ...]
    templates: dict[str, tuple[Template, ...]]  # by kind


@cache
def maps() -> dict[str, Map]:
    """Every map. Raises OutboundError with everything that is wrong."""
    return read_maps(ROWS, TEMPLATES)


def read_maps(folder: Path, templates: Path) -> dict[str, Map]:
    faults: list[str] = []
    known = _templates(templates, faults)
    found = {
        path.stem: Map(path.stem, _rows(path, faults), known.pop(path.stem, {}))
        for path in sorted(folder.glob("*.csv"))
    }
    faults += [f"templates.csv: no map {name}" for name in known]
    faults += _misplaced(found)
    if faults:
        raise OutboundError("; ".join(faults))
    return found


def _templates(path: Path, faults: list[str]) -> dict[str, dict[str, tuple[Template, ...]]]:
    found: dict[str, dict[str, tuple[Template, ...]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] not in KINDS or not row["source"]:
                faults.append(f"{path.name}: {row['map']}: no kind, or no source")
            kinds = found.setdefault(row["map"], {})
            kinds[row["kind"]] = (*kinds.get(row["kind"], ()), Template(row["root"], row["extension"]))
    return found


def _rows(path: Path, faults: list[str]) -> tuple[Row, ...]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        if reader.fieldnames != _COLUMNS:
            raise OutboundError(f"{path.name}: expected the columns {','.join(_COLUMNS)}")
        raws = list(reader)
    ids = [raw["id"] for raw in raws]
    faults += [f"{each}: two rows of this id" for each in sorted({one for one in ids if ids.count(one) > 1})]
    return tuple(row for raw in raws if (row := _row(raw, path.stem, faults)) is not None)


def _row(raw: dict[str, str], stem: str, faults: list[str]) -> Row | None:
    where, before = raw["id"], len(faults)
    if None in raw.values() or not where.startswith(f"{stem}:"):
        faults.append(f"{where}: no row of {stem}")
        return None
    if raw["kind"] and raw["kind"] not in KINDS:
        faults.append(f"{where}: no kind {raw['kind']}")
    target = _target(raw["target"], where, faults)
    inner = raw["type"][5:-1] if raw["type"].startswith("rows[") and raw["type"].endswith("]") else ""
    writer = WRITERS.get(raw["type"])
    if writer is None and not inner and raw["type"] != "=":
        faults.append(f"{where}: no writer {raw['type']}")
    if raw["type"] != "=" and not raw["source"]:
        faults.append(f"{where}: no source")
    if raw["value"].startswith("@") and raw["value"] not in CONSTANTS:
        faults.append(f"{where}: no value {raw['value']}")
    vocab = vocabulary_of(raw["vocab"], where, faults)
    source, when = (compiled(raw[name], where, faults) if raw[name] else None for name in ("source", "when"))
    says = [compiled(each, where, faults) for each in raw["says"].split(";") if each.strip()]
    if len(faults) > before or target is None:
        return None
    flavor = raw["value"].removeprefix(_NULL) if raw["value"].startswith(_NULL) else ""
    value = "" if flavor else raw["value"]
    return Row(
        where, raw["kind"], source, when, target, raw["target"], raw["type"], writer, inner, vocab, value, flavor,
        tuple(filter(None, says)),
    )  # fmt: skip


def _target(text: str, where: str, faults: list[str]) -> Target | None:
    try:
        return parse_target(text)
    except ValueError as exc:
        faults.append(f"{where}: {exc}")
        return None


# where rows write -----------------------------------------------------------------------------------------------------


def _misplaced(found: dict[str, Map]) -> list[str]:
    """Steps that their class does not have, and datatypes that do not fit, from each element a map is used for."""
    faults: list[str] = []
    waiting = [("header.ClinicalDocument", "ClinicalDocument")]
    waiting += [(name, "section") for name in found if name.startswith("section.")]
    waiting += [(name, "entry") for name in found if name.endswith(".unknown")]
    seen: set[tuple[str, str]] = set()
    while waiting:
        use = waiting.pop()
        if use in seen:
            continue
        seen.add(use)
        for row in found[use[0]].rows:
            last = _walked(row, use[1], faults)
            if row.map and row.map not in found:
                faults.append(f"{row.id}: no map {row.map}")
            elif row.map and last:
                waiting.append((row.map, last))
    used = {name for name, _ in seen}
    return [*faults, *(f"{name}: no row uses this map" for name in found if name not in used)]


def _walked(row: Row, start: str, faults: list[str]) -> str:
    """The name of the element that a row writes; "" where a step has no place."""
    known, here, kind = classes(), start, ""
    for step in row.target.steps:
        child = known.get(here, {}).get(step.name)
        if child is None:
            faults.append(f"{row.id}: {here} has no {step.name}")
            return ""
        here, kind = step.name, child.type
    if row.writer is not None and not row.target.attribute and not fits(row.type, kind):
        faults.append(f"{row.id}: {row.type} is no {kind or 'class'}")
    return here
