"""What each version of HL7 v2 has room for: fields, their datatypes, components and repetitions.

Everything here is hl7apy's; a field that a version withdrew (datatype WD, or none at all) is not there. Where hl7apy
knows no table for a field, `fields.csv` (the newest version that names one) does.
Source: hl7apy's tables of HL7 v2.3 to 2.8.2.
"""

import importlib
from functools import cache
from typing import Any, NamedTuple

from hl7apy import SUPPORTED_LIBRARIES

from mappings.hl7v2 import fields
from mappings.hl7v2.lint import segment_names

VERSIONS = ("2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2")
_WITHDRAWN = ("WD", None)
_VARIES = "varies"


class Slot(NamedTuple):
    """One field of one version."""

    segment: str
    number: int
    datatype: str
    table: str  # four digits, "" where the field has none
    most: int  # repetitions; -1: any number
    required: bool
    parts: tuple[int, ...]  # how many subcomponents each component has room for; () where it has no components


@cache
def library(version: str) -> Any:
    return importlib.import_module(SUPPORTED_LIBRARIES[version])


@cache
def slot(version: str, segment: str, number: int) -> Slot | None:
    """None where the version has no such field, or has withdrawn it."""
    found = _fields(version, segment).get(number)
    if found is None:
        return None
    reference, (fewest, most) = found
    table = (reference[4] or "").removeprefix("HL7")
    table = table if len(table) == 4 and table < "9000" else fields.table_of(segment, number)
    return Slot(segment, number, reference[2], table, most, fewest > 0, _room(reference))


@cache
def _fields(version: str, segment: str) -> dict[int, Any]:
    entries = library(version).SEGMENTS.get(segment, ("", ()))[1]
    return {
        int(name.rsplit("_", 1)[1]): (reference, cardinality)
        for name, reference, cardinality, _ in entries
        if reference[2] not in _WITHDRAWN and cardinality[1] != 0
    }


def known(segment: str, number: int) -> bool:
    """Whether any version we write has the field."""
    return any(slot(version, segment, number) is not None for version in VERSIONS)


@cache
def datatype(version: str, name: str) -> tuple[int, ...] | None:
    """The room of a datatype (for OBX-5, whose own says `varies`); None where the version does not have it."""
    found = library(version)
    if name in found.BASE_DATATYPES:
        return ()
    struct = found.DATATYPES_STRUCTS.get(name)
    return None if struct is None else tuple(_subparts(reference) for _, reference, _, _ in struct)


@cache
def segments(version: str, structure: str) -> frozenset[str]:
    """The segments of a structure, those of its groups too; none where the version does not have it."""
    found = library(version).MESSAGES.get(structure)
    return frozenset(segment_names(found)) if found else frozenset()


def _room(reference: Any) -> tuple[int, ...]:
    if reference[0] != "sequence":
        return ()
    return tuple(_subparts(child) for _, child, _, _ in reference[1])


def _subparts(reference: Any) -> int:
    return len(reference[1]) if reference[0] == "sequence" else 1
