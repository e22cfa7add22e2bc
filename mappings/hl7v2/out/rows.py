"""The rows of outbound messages, and the order of their segments; read once, checked whole.

`segments/PID.Patient.csv` is one map: `id, field, versions, source, when, type, vocab, value, says, note`.

- `field`: `PID-3`. Rows of one field append repetitions, in their order.
- `versions`: `2.3-2.4`, `2.7-`, or empty for every one; a row is not there for others. A field that the receiver's
  version lacks is an issue where there is something to say.
- `source`, `when`, `says`: FHIRPath over the resource the segment is made of. `%resource` is a Bundle of all that was
  handed in, `%rootResource` the resource around the node at work. `says`
  is what the field says by being this field, apart by semicolons: the type of a participant, the subject of a report.
- `type`: a writer; `=` for a constant in `value`, or a value of the message's own (`@time`).
- `vocab`: a map of `mappings/terminology/maps`, read backwards.

`messages/oru-r01.toml` lists segments: `map`, `each` (FHIRPath: one segment for each node found), `in` (the segment
whose node `each` starts from; else the Bundle), `id`, `fewest`, `most`, `once` (nodes that no segment before was made
of), `unless` (no segment of its own for such a node, only what stands below), `always` (though it says nothing but
constants), `versions`.
"""

import csv
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mappings.fhir.fhirpath import Compiled, compile
from mappings.hl7v2.out import grammar
from mappings.hl7v2.out.writers import WRITERS
from mappings.hl7v2.out.writing import Writer
from mappings.outbound.cells import compiled, vocabulary_of
from mappings.outbound.errors import OutboundError
from mappings.terminology.concept_map import ConceptMap

_FOLDER = Path(__file__).parent
_COLUMNS = ["id", "field", "versions", "source", "when", "type", "vocab", "value", "says", "note"]
_FIELD = re.compile(r"([A-Z][A-Z0-9]{2})-(\d{1,2})")
CONSTANTS = frozenset(
    {
        "@separators", "@message", "@event", "@control_id", "@time", "@version", "@processing", "@charset", "@nth",
        "@sending_application", "@sending_facility", "@receiving_application", "@receiving_facility",
    }
)  # fmt: skip
_KEYS = frozenset({"map", "each", "in", "id", "fewest", "most", "once", "unless", "always", "versions"})


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    number: int
    versions: frozenset[str]
    source: Compiled | None
    when: Compiled | None
    writer: Writer | None  # None: a constant
    vocab: ConceptMap | None
    value: str
    says: tuple[Compiled, ...]


@dataclass(frozen=True, slots=True)
class SegmentMap:
    """A file of rows."""

    name: str  # of the segment
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of a message: which segments stand here."""

    map: SegmentMap
    each: Compiled
    fewest: int
    most: int
    once: bool
    always: bool
    unless: Compiled | None
    versions: frozenset[str]
    below: "tuple[Step, ...]"


@dataclass(frozen=True, slots=True)
class Layout:
    message: str  # ORU^R01
    structure: str  # ORU_R01
    steps: tuple[Step, ...]


@cache
def layout(message: str) -> Layout:
    """The rows of one message. Raises OutboundError with everything that is wrong in them."""
    path = _FOLDER / "messages" / f"{message.lower().replace('^', '-')}.toml"
    if not path.is_file():
        raise OutboundError(f"no such message: expected one of {', '.join(messages())}")
    return read_layout(path, _FOLDER / "segments")


@cache
def messages() -> tuple[str, ...]:
    found = sorted((_FOLDER / "messages").glob("*.toml"))
    return tuple(path.stem.upper().replace("-", "^") for path in found)


def read_layout(path: Path, segments: Path) -> Layout:
    found = tomllib.loads(path.read_text("utf-8"))
    entries = found.get("segment", [])
    for entry in entries:
        if unknown := set(entry) - _KEYS:
            raise OutboundError(f"{path.name}: unknown key {sorted(unknown)[0]}")
    ids = {entry["id"] for entry in entries if "id" in entry}
    if strays := {entry["in"] for entry in entries if "in" in entry} - ids:
        raise OutboundError(f"{path.name}: no segment is {sorted(strays)[0]}")
    faults: list[str] = []
    maps = {name: read_map(segments / f"{name}.csv", faults) for name in {entry["map"] for entry in entries}}
    steps = _steps(entries, "", maps, path.name, faults)
    if faults:
        raise OutboundError("; ".join(faults))
    return Layout(found["message"], found["structure"], steps)


def _steps(
    entries: list[dict[str, Any]], inside: str, maps: dict[str, SegmentMap], name: str, faults: list[str]
) -> tuple[Step, ...]:
    made = []
    for entry in entries:
        if entry.get("in", "") != inside:
            continue
        each = compiled(entry.get("each", "$this"), f"{name}: {entry['map']}", faults)
        below = _steps(entries, entry["id"], maps, name, faults) if "id" in entry else ()
        where = f"{name}: {entry['map']}"
        unless = compiled(entry["unless"], where, faults) if "unless" in entry else None
        versions = _versions(entry.get("versions", ""), where, faults)
        numbers = entry.get("fewest", 0), entry.get("most", 0), entry.get("once", False)
        always = entry.get("always", "fewest" in entry)
        made.append(
            Step(maps[entry["map"]], each or compile("$this"), *numbers, always, unless, versions, below),
        )
    return tuple(made)


def read_map(path: Path, faults: list[str]) -> SegmentMap:
    """A file of rows; what is wrong with them is added to `faults`."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        if reader.fieldnames != _COLUMNS:
            raise OutboundError(f"{path.name}: expected the columns {','.join(_COLUMNS)}")
        raws = list(reader)
    ids = [raw["id"] for raw in raws]
    faults += [f"{each}: two rows of this id" for each in sorted({one for one in ids if ids.count(one) > 1})]
    rows = [row for raw in raws if (row := _row(raw, path.stem, faults)) is not None]
    return SegmentMap(path.stem[:3], tuple(rows))


def _row(raw: dict[str, str], stem: str, faults: list[str]) -> Row | None:
    where, before = raw["id"], len(faults)
    found = _FIELD.fullmatch(raw["field"])
    if None in raw.values() or found is None or found[1] != stem[:3] or not where.startswith(f"{stem}:"):
        faults.append(f"{where}: no row of {stem}")
        return None
    number = int(found[2])
    versions = _versions(raw["versions"], where, faults)
    lacking = [each for each in versions if raw["versions"] and grammar.slot(each, found[1], number) is None]
    if not grammar.known(found[1], number) or lacking:
        faults.append(f"{where}: {raw['field']} is no field of {', '.join(sorted(lacking)) or 'any version'}")
    writer = None if raw["type"] == "=" else WRITERS.get(raw["type"])
    if writer is None and raw["type"] != "=":
        faults.append(f"{where}: no writer {raw['type']}")
    if raw["value"].startswith("@") and raw["value"] not in CONSTANTS:
        faults.append(f"{where}: no value {raw['value']}")
    if bool(raw["value"]) != (raw["type"] == "=") or bool(raw["source"]) == (raw["type"] == "="):
        faults.append(f"{where}: a constant has a value, everything else a source")
    vocab = vocabulary_of(raw["vocab"], where, faults)
    source, when = (compiled(raw[name], where, faults) if raw[name] else None for name in ("source", "when"))
    says = [compiled(each, where, faults) for each in raw["says"].split(";") if each.strip()]
    if len(faults) > before:
        return None
    return Row(where, number, versions, source, when, writer, vocab, raw["value"], tuple(filter(None, says)))


def _versions(text: str, where: str, faults: list[str]) -> frozenset[str]:
    first, dash, last = text.partition("-")
    ends = [first or grammar.VERSIONS[0], last or (grammar.VERSIONS[-1] if dash or not text else first)]
    if any(each not in grammar.VERSIONS for each in ends):
        faults.append(f"{where}: versions: expected 2.3-2.6, 2.7- or 2.5")
        return frozenset()
    low, high = map(grammar.VERSIONS.index, ends)
    return frozenset(grammar.VERSIONS[low : high + 1])
