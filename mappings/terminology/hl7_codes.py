"""Which codes HL7's own code systems have, and whose a code is that they lack.

Templates copied by hand give LOINC codes the OID of ActClass, and sites add codes to HL7's tables. Under HL7's URI such
a coding would claim what is not so, and FHIR's validators refuse it: it is the feed's own, whichever way its system was
named. `v3_codes.csv` has columns `system, case_sensitive, codes, source`, the codes of one system parted by `|`: the v3
code systems that are published whole. The codes of v2 tables are those of `tables.csv`. Of other systems nothing is
said.
"""

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from mappings.terminology import tables

CODES, TABLE = "codes", "table"  # what a name of the feed's own stands for
_FILE: Final = Path(__file__).parent / "v3_codes.csv"
_HL7: Final = "http://terminology.hl7.org/CodeSystem/"
_V3: Final = f"{_HL7}v3-"
_V2: Final = f"{_HL7}v2-"


class System(NamedTuple):
    """A code system whose codes are all known."""

    is_case_sensitive: bool
    codes: frozenset[str]  # as published
    folded: frozenset[str]  # where case does not matter, else empty

    def has(self, code: str) -> bool:
        return code in self.codes or code.casefold() in self.folded


@cache
def v3_systems() -> Mapping[str, System]:
    """The v3 code systems that are published whole, by their URI."""
    found: dict[str, System] = {}
    with _FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            codes, is_case_sensitive = row["codes"].split("|"), row["case_sensitive"] == "yes"
            folded = frozenset(() if is_case_sensitive else map(str.casefold, codes))
            found[row["system"]] = System(is_case_sensitive, frozenset(codes), folded)
    return found


def lacks(system: str, code: str) -> bool:
    """Whether this code is none of those that HL7 publishes of the system, by its URI."""
    if system.startswith(_V3):
        found = v3_systems().get(system)
        return found is not None and not found.has(code)
    if system.startswith(_V2):
        table = system[len(_V2) :]
        return tables.system_of(table, code) is None and table in tables.names()
    return False


def own_name(system: str) -> tuple[str, str]:
    """What a feed's own codes under a system of HL7's go by: (`TABLE`, `0001`), (`CODES`, `v3-ActClass`)."""
    return (TABLE, system[len(_V2) :]) if system.startswith(_V2) else (CODES, system.removeprefix(_HL7))
