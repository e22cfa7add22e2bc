"""The CDA rows of a profile, compiled when its first document comes: feeds of HL7 v2 never pay for them.

Layers as for HL7 v2: the shipped `entries/*.csv`, then those of each folder the profile extends; a later row with a
known id takes the place of the earlier one. `makes.csv` says what identifies the resource that a map makes:

    map     the table's name
    mode    state, update, stub: how it is joined with what is stored (`mappings/merge.py`)
    core    paths of what the statement is about: its code, else its text, is part of the identity; of `path[*]` all
    start   paths of when it began, part of the identity too

Source: design of identities: a statement's id alone is no identity, for real generators reuse it.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

from mappings.cda import datatypes, named
from mappings.cda.files import BASE, digest_of, files_of
from mappings.cda.paths import Reader, parse_paths, reader
from mappings.cda.rows import language
from mappings.fhir.schema import schema
from mappings.fhir.values import SOURCE_CODE
from mappings.hl7v2.wiring import Mode
from mappings.rows.compiler import CompiledRows, Environment, compile_maps
from mappings.rows.errors import RowsError
from mappings.rows.table import Row, lay_over, read_rows
from mappings.terminology import concept_map

_MAKES = BASE / "makes.csv"
_MOST = 8  # row sets a process keeps


@dataclass(frozen=True, slots=True)
class Make:
    """What identifies the resource that a map makes."""

    map: str
    mode: Mode
    core: tuple[Reader, ...]
    start: tuple[Reader, ...]


@dataclass(frozen=True, slots=True)
class Entries:
    """The compiled rows, every row by id, and a digest of all that went in."""

    rows: CompiledRows
    table: Mapping[str, Row]
    digest: str


_compiled: dict[str, Entries] = {}


def compiled(folders: tuple[Path, ...], policy: Mapping[str, str]) -> Entries:
    """The rows of these layers, compiled once. Raises RowsError with every fault."""
    from mappings.cda import domains  # registers what rows name; imports what imports this file

    domains.register()
    digest = digest_of(folders, policy)
    if digest not in _compiled:
        if len(_compiled) >= _MOST:
            _compiled.pop(next(iter(_compiled)))
        _compiled[digest] = _compile(folders, policy, digest)
    return _compiled[digest]


def _compile(folders: tuple[Path, ...], policy: Mapping[str, str], digest: str) -> Entries:
    spoken = language()
    layers = []
    for folder in (BASE, *folders):
        overlay = "base" if folder == BASE else folder.name
        read = [
            read_rows(f, overlay, f"entries/{f.name}", spoken.ids, spoken.grammar.sources) for f in files_of(folder)
        ]
        layers.append(tuple(row for each in read for row in each))
    table = lay_over(layers)
    by_map: dict[str, list[Row]] = {}
    for row in table:
        by_map.setdefault(row.map, []).append(row)
    env = Environment(
        schema=schema(),
        functions=datatypes.FUNCTIONS,
        resolvers=named.RESOLVERS,
        vocabulary=concept_map.load,
        policy=policy,
        ignore_null=True,
        source_code=SOURCE_CODE,
        language=spoken,
    )
    rows = compile_maps(by_map, env)
    if faults := [f"makes.csv: no map {name}" for name in makes() if name not in rows.maps]:
        raise RowsError(tuple(faults))
    return Entries(rows, {row.id: row for row in table}, digest)


@cache
def makes() -> Mapping[str, Make]:
    """What identifies each map's resource."""
    with _MAKES.open(encoding="utf-8", newline="") as file:
        return {
            line["map"]: Make(line["map"], _mode(line["mode"]), _readers(line["core"]), _readers(line["start"]))
            for line in csv.DictReader(file)
        }


def _mode(name: str) -> Mode:
    """A mode by its name; any other is a mistake of ours."""
    for known in get_args(Mode):
        if known == name:
            found: Mode = known
            return found
    raise RowsError((f"makes.csv: no mode {name}",))


def _readers(text: str) -> tuple[Reader, ...]:
    return tuple(_together(reader(ref)) if ref.all else reader(ref) for ref in parse_paths(text))


def _together(read: Reader) -> Reader:
    """What a path leads to, as one."""
    return lambda statement, ctx: [tuple(read(statement, ctx))]


def used(maps: CompiledRows) -> Any:
    """Every row that runs, by id."""
    return {fact.row.id: fact.row for each in maps.maps.values() for fact in each.facts}
