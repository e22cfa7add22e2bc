"""Whether one of HL7's own code systems lacks a code that a sender says is of it.

Templates copied by hand give LOINC codes the OID of ActClass, and sites add codes to HL7's tables. With HL7's URI such
a coding would claim what is not so, and FHIR's validators refuse it. `v3_codes.csv` has columns `system,
case_sensitive, codes, source`, the codes of one system parted by `|`: the v3 code systems that are published whole. The
v2 tables are those of `tables.csv`. Of other systems nothing is said.
"""

import csv
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from mappings.terminology import tables

_FILE: Final = Path(__file__).parent / "v3_codes.csv"
_V3: Final = "http://terminology.hl7.org/CodeSystem/v3-"
_V2: Final = "http://terminology.hl7.org/CodeSystem/v2-"


def lacks(system: str, code: str) -> bool:
    """Whether the system, by its URI, is one whose codes are all known here, and this is none of them."""
    if system.startswith(_V3):
        found = _v3().get(system)
        return found is not None and found.lacks(code)
    if system.startswith(_V2):
        table = system[len(_V2) :]
        return tables.system_of(table, code) is None and bool(tables.codes(table))
    return False


class _System(NamedTuple):
    is_case_sensitive: bool
    codes: frozenset[str]

    def lacks(self, code: str) -> bool:
        return (code if self.is_case_sensitive else code.casefold()) not in self.codes


@cache
def _v3() -> dict[str, _System]:
    found: dict[str, _System] = {}
    with _FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            codes, is_case_sensitive = row["codes"].split("|"), row["case_sensitive"] == "yes"
            kept = frozenset(codes if is_case_sensitive else map(str.casefold, codes))
            found[row["system"]] = _System(is_case_sensitive, kept)
    return found
