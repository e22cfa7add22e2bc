"""Vocabulary maps and system names read backwards: FHIR code → code of HL7 v2 or CDA, URI → mnemonic or OID.

Several codes may mean one FHIR code (V and F are both `final`); which one we write is a row of `preferences.csv`,
with its reason; a row without a code says that none of them says what FHIR's does. A map that rows use and that leaves
a choice open is an error when the rows are loaded.
"""

import csv
from collections import defaultdict
from functools import cache
from pathlib import Path

from mappings.outbound.errors import OutboundError
from mappings.terminology import concept_map
from mappings.terminology.systems import registered

_FOLDER = Path(__file__).parent
_COLUMNS = ["map", "target", "code", "source"]


@cache
def preferences() -> dict[tuple[str, str], str]:
    """(map, target) → code; for systems the map is `mnemonic` or `oid`."""
    with (_FOLDER / "preferences.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != _COLUMNS:
            raise OutboundError(f"preferences.csv: expected the columns {','.join(_COLUMNS)}")
        rows = list(reader)
    found = {(row["map"], row["target"]): row["code"] for row in rows}
    if len(found) < len(rows) or not all(row["source"] for row in rows):
        raise OutboundError("preferences.csv: a row twice, or without its source")
    return found


@cache
def backwards(name: str) -> dict[str, str]:
    """The map read backwards. Raises OutboundError where a target has several codes and no preference."""
    known: dict[str, list[str]] = defaultdict(list)
    for code, concept in concept_map.load(name).concepts.items():
        known[concept.code].append(code)
    found = {target: _one(name, target, codes) for target, codes in known.items()}
    return {target: code for target, code in found.items() if code}


def _one(name: str, target: str, codes: list[str]) -> str:
    preferred = preferences().get((name, target))
    if preferred is not None:
        if preferred and preferred not in codes:
            raise OutboundError(f"preferences.csv: {preferred} does not mean {target} in {name}")
        return preferred
    if target in codes:
        return target  # a code that means itself
    if len(codes) > 1:
        raise OutboundError(f"{name}: {target} has several codes, and preferences.csv does not say which")
    return codes[0]


@cache
def _named() -> tuple[dict[str, str], dict[str, str]]:
    """(URI → mnemonic of table 0396, URI → OID)."""
    found: tuple[dict[str, list[str]], dict[str, list[str]]] = (defaultdict(list), defaultdict(list))
    for key, uri in registered().items():
        found[1 if key[:1].isdigit() and "." in key else 0][uri].append(key)
    mnemonics, oids = (
        {uri: _one(kind, uri, keys) for uri, keys in side.items()}
        for kind, side in zip(("mnemonic", "oid"), found, strict=True)
    )
    return mnemonics, oids


def mnemonic(uri: str) -> str | None:
    """The name of a code system in HL7 table 0396."""
    return _named()[0].get(uri)


def oid(uri: str) -> str | None:
    """The registered OID of a system, or the one that its URI is."""
    return uri[8:] if uri.startswith("urn:oid:") else _named()[1].get(uri)
