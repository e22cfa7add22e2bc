"""Rows: one fact of a mapping a line, read from CSV, laid over by a profile's own.

Eight columns: `id, source, when, target, type, vocab, value, note`. This file knows the grammar of a source
(`PID-3`, `PID-3[1]`, `PID-3[*]`, `PID-3.4`, `OBR-3|OBR-2`) and of a target (`name[]`,
`participant[att].individual`, `_birthDate.extension(patient-birthTime).valueDateTime`, `value[x]`); conditions are
`condition.py`'s, what the words mean in FHIR is checked by `check.py`.

Source: design chapter HL7 v2 §3. The row ids are our own and stable: overlays, traces and coverage point at them.
"""

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any

from mappings.rows.errors import RowsError

COLUMNS = ("id", "source", "when", "target", "type", "vocab", "value", "note")
NEVER = "never"

_REMEMBERED = 8_192  # texts: rows, conditions and families name the same fields and paths again and again
FIELD_IDS = re.compile(r"([A-Z][A-Z0-9]{2})\.([A-Za-z-]+):([0-9]+)([a-z]*)\Z")
_FIELD = re.compile(r"([A-Z][A-Z0-9]{2})-([0-9]{1,3})(?:\[([1-9][0-9]{0,3}|\*)\])?(?:\.([1-9][0-9]?))?\Z")
_EXTENSION = re.compile(r"(extension|modifierExtension)\(([^()\s]+)\)\Z")
_STEP = re.compile(r"(_?[a-zA-Z][A-Za-z0-9]*)(?:\[([a-z0-9-]*)\])?\Z")


@dataclass(frozen=True, slots=True)
class FieldRef:
    """One field of one segment: `PID-3`, its first repetition, all of them as one list, or one component."""

    segment: str
    field: int
    rep: int | None = None  # 1 …; None means every repetition, or the first if the target holds one value
    all: bool = False
    comp: int | None = None

    def __str__(self) -> str:
        rep = "[*]" if self.all else f"[{self.rep}]" if self.rep else ""
        return f"{self.segment}-{self.field}{rep}" + (f".{self.comp}" if self.comp else "")


class Kind(Enum):
    """How a step of a target path finds its place."""

    PLAIN = "plain"  # period
    APPEND = "append"  # name[]
    SLOT = "slot"  # participant[att]
    EXTENSION = "extension"  # extension(patient-religion)
    CHOICE = "choice"  # value[x]: the function names the element


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a target path; `key` is the slot's name or the extension's url."""

    kind: Kind
    name: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One fact: this field, under this condition, is that element."""

    id: str
    source: str
    when: str
    target: str
    type: str
    vocab: str
    value: str
    note: str
    file: str
    line: int
    overlay: str

    @property
    def map(self) -> str:
        """`PID.Patient`: the guide's PID[Patient], and the file's name."""
        return self.id.partition(":")[0]

    @property
    def segment(self) -> str:
        return self.id[:3]

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def live(self) -> bool:
        return self.when != NEVER

    @property
    def constant(self) -> bool:
        return self.type == "="


@lru_cache(maxsize=_REMEMBERED)
def parse_source(text: str) -> tuple[FieldRef, ...]:
    """The alternatives of a source, the first valued one counts; raises ValueError."""
    return tuple(_field(part.strip()) for part in text.split("|")) if text else ()


def _field(text: str) -> FieldRef:
    if (match := _FIELD.match(text)) is None:
        raise ValueError(f"source is not a field: {text}")
    segment, field, rep, comp = match.groups()
    if field == "0":
        raise ValueError("fields count from 1")
    number = int(rep) if rep and rep != "*" else None
    return FieldRef(segment, int(field), number, rep == "*", int(comp) if comp else None)


@lru_cache(maxsize=_REMEMBERED)
def parse_target(text: str) -> tuple[Step, ...]:
    """The steps of a target path; raises ValueError."""
    return tuple(_step(part) for part in _split_path(text))


def _split_path(text: str) -> list[str]:
    """Splits at dots outside of parentheses: an extension's url holds dots."""
    parts, depth, start = [], 0, 0
    for index, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "." and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]]


def _step(text: str) -> Step:
    if (match := _EXTENSION.match(text)) is not None:
        return Step(Kind.EXTENSION, match[1], match[2])
    if (match := _STEP.match(text)) is None:
        raise ValueError(f"target step is not understood: {text}")
    name, key = match.groups()
    if key is None:
        return Step(Kind.PLAIN, name)
    if key == "x":
        return Step(Kind.CHOICE, name)
    return Step(Kind.SLOT, name, key) if key else Step(Kind.APPEND, name)


def read_rows(
    path: Path,
    overlay: str,
    name: str,
    ids: re.Pattern[str] = FIELD_IDS,
    sources: Callable[[str], tuple[Any, ...]] = parse_source,
) -> tuple[Row, ...]:
    """The rows of one CSV file; `name` is how faults and traces call the file. Raises RowsError with every fault.

    `ids` and `sources` are the format's: how its rows are numbered, and how a source is written.
    """
    faults: list[str] = []
    rows: list[Row] = []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        if tuple(next(reader, ())) != COLUMNS:
            raise RowsError((f"{name}:1: header is not {','.join(COLUMNS)}",))
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(COLUMNS):
                faults.append(f"{name}:{reader.line_num}: expected {len(COLUMNS)} columns, got {len(cells)}")
                continue
            row = make_row(cells, name, reader.line_num, overlay)
            faults += [f"{row.place}: {fault}" for fault in _row_faults(row, path.stem, ids, sources)]
            rows.append(row)
    if faults:
        raise RowsError(tuple(faults))
    return tuple(rows)


def make_row(cells: Sequence[str], file: str, line: int, overlay: str) -> Row:
    """A row of its eight cells."""
    id_, source, when, target, type_, vocab, value, note = (cell.strip() for cell in cells)
    return Row(id_, source, when, target, type_, vocab, value, note, file, line, overlay)


def _row_faults(row: Row, stem: str, ids: re.Pattern[str], sources: Callable[[str], tuple[Any, ...]]) -> list[str]:
    """What is wrong with one row, by its own grammar."""
    faults = []
    if ids.match(row.id) is None:
        faults.append("id is not map:field")
    elif row.map != stem:
        faults.append(f"id belongs into {row.map}.csv")
    if not row.live:
        return faults
    for parse, text in ((sources, row.source), (parse_target, row.target)):
        try:
            parse(text)
        except ValueError as exc:
            faults.append(str(exc))
    if not (row.value if row.constant else row.source and row.type):
        faults.append("a row needs a source and a datatype, or = and a value")
    return faults


def lay_over(layers: Iterable[Sequence[Row]]) -> tuple[Row, ...]:
    """All rows, each id once, by the last layer that has it; a row keeps the place of its first mention."""
    rows: dict[str, Row] = {}
    faults: list[str] = []
    for layer in layers:
        seen: set[str] = set()
        for row in layer:
            if row.id in seen:
                faults.append(f"{row.place}: id {row.id} stands twice")
            seen.add(row.id)
            rows[row.id] = row
    if faults:
        raise RowsError(tuple(faults))
    return tuple(rows.values())


def disabled(row: Row) -> Row:
    """The same row, switched off."""
    return replace(row, when=NEVER)
