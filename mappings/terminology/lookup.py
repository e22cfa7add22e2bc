"""Which code systems and value sets ship with us, and whether a code is in one.

- value sets: those that R4 binds as required (`http://hl7.org/fhir/ValueSet/…`), and HL7's v2 tables
  (`http://terminology.hl7.org/ValueSet/v2-0001`). Three of R4's cannot be listed: media types and UCUM have a grammar,
  and LOINC's answer list is not ours to hold.
- code systems: what these sets hold, HL7's v3 systems as far as they are published whole (three of them with their
  hierarchies), ISO 3166-1, UCUM by its grammar. Of the systems in `partial_systems.csv` some codes are known only: one
  that is not among them may well exist.

No answer is ever a guess: `None` says that it cannot be told here. Displays are not held.
Source: FHIR R4 4.0.1 terminology-service.html, by way of the compiled schema; `tables.csv`; `ucum.py`.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from mappings.fhir.primitives import is_media_type
from mappings.fhir.schema import schema
from mappings.terminology import tables, ucum
from mappings.terminology.hl7_codes import v3_systems

FHIR_SETS: Final = "http://hl7.org/fhir/ValueSet/"
V2_SETS: Final = "http://terminology.hl7.org/ValueSet/v2-"
FHIR_VERSION: Final = "4.0.1"
UCUM, MEDIA_TYPES = "http://unitsofmeasure.org", "urn:ietf:bcp:13"
_PARTIAL: Final = Path(__file__).with_name("partial_systems.csv")

Codes = Mapping[str, frozenset[str]]  # system → codes


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A value set that is known and cannot be listed. `system`: whose grammar says what is in it, where one does."""

    system: str | None


UNLISTED: Final = {"ucum-units": Unlisted(UCUM), "mimetypes": Unlisted(MEDIA_TYPES)}


def valueset(url: str, version: str | None = None) -> Codes | Unlisted | None:
    """The codes of a value set by its canonical, `|version` too; None for one that is not held, or in that version."""
    url, _, stated = url.partition("|")
    if url.startswith(V2_SETS):
        return None if stated or version else _table(url.removeprefix(V2_SETS))
    if {stated or FHIR_VERSION, version or FHIR_VERSION} != {FHIR_VERSION}:
        return None
    name = url.removeprefix(FHIR_SETS)
    is_short = "/" not in name
    if name not in schema().valuesets or is_short is (name == url):
        return None
    return schema().valueset(name) or UNLISTED.get(name, Unlisted(None))


@cache
def _table(name: str) -> Codes | None:
    found: dict[str, set[str]] = {}
    for code in tables.codes(name):
        if (system := tables.system_of(name, code)) is not None:
            found.setdefault(system, set()).add(code)
    return {system: frozenset(codes) for system, codes in found.items()} or None


def in_valueset(url: str, version: str | None, system: str, code: str) -> bool | None:
    """Whether a value set that is held has the code; None where that cannot be told."""
    found = valueset(url, version)
    if found is None:
        raise KeyError(url)
    if isinstance(found, Unlisted):
        return None if found.system is None else system == found.system and _by_grammar(system, code)
    return _has(found.get(system, frozenset()), system, code)


def _by_grammar(system: str, code: str) -> bool:
    if system == UCUM:
        return ucum.is_code(code)
    return system == MEDIA_TYPES and is_media_type(code)


def is_held(system: str) -> bool:
    """Whether anything is known of a code system."""
    return system in (UCUM, MEDIA_TYPES) or system in _systems()


def in_system(system: str, code: str) -> bool | None:
    """Whether a code system that is held has the code; None where only a part of it is known, without this code."""
    if system in (UCUM, MEDIA_TYPES):
        return _by_grammar(system, code)
    found = _has(_systems()[system], system, code)
    return None if not found and system in partial() else found


def _has(codes: frozenset[str], system: str, code: str) -> bool:
    if code in codes:
        return True
    if (v3 := v3_systems().get(system)) is not None and code.casefold() in v3.folded:
        return code.casefold() in map(str.casefold, codes)
    return not schema().case_sensitive.get(system, True) and code.casefold() in map(str.casefold, codes)


@cache
def partial() -> frozenset[str]:
    """The systems of which some codes are known only."""
    with _PARTIAL.open(encoding="utf-8", newline="") as rows:
        return frozenset(row["system"] for row in csv.DictReader(rows))


@cache
def _systems() -> Codes:
    known: dict[str, set[str]] = {system: set(parents) for system, parents in schema().parents.items()}
    listed = [schema().valueset(name) or {} for name in schema().valuesets]
    listed += [_table(name) or {} for name in tables.names()]
    for codes_of in listed:
        for system, codes in codes_of.items():
            known.setdefault(system, set()).update(codes)
    for system, v3 in v3_systems().items():
        known.setdefault(system, set()).update(v3.codes)
    known[tables.ISO_3166] = set(tables.countries())
    del known[UCUM]
    return {system: frozenset(codes) for system, codes in known.items()}
