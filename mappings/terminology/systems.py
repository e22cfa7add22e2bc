"""Code systems and identifier systems by the names messages use: table 0396 mnemonics and OIDs to URIs.

`systems.csv` has columns `key, kind, uri, source`; kind is `mnemonic` (compared in capitals) or `oid`. A name that is
not in it belongs to the site (a profile, or the feed's own namespace): nothing is guessed here.
"""

import csv
from functools import cache
from pathlib import Path

_FILE = Path(__file__).parent / "systems.csv"


@cache
def registered() -> dict[str, str]:
    """Every mnemonic (in capitals) and OID with its URI."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        return {row["key"]: row["uri"] for row in csv.DictReader(file)}


def system_for(mnemonic_or_oid: str) -> str | None:
    """`LN` or `2.16.840.1.113883.6.1` → `http://loinc.org`; None for a name that is not registered."""
    found = registered()
    return found.get(mnemonic_or_oid) or found.get(mnemonic_or_oid.upper())
