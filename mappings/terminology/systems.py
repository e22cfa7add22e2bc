"""Code systems and identifier systems by the names that messages and documents use, and what such a name looks like.

`systems.csv` has columns `key, kind, uri, source`; kind is `mnemonic` (of HL7 table 0396, compared in capitals), `oid`,
or `name` (a codeSystemName as CDA writers spell it, compared by its letters and digits). A name that is not in it
belongs to the site (a profile, or the feed's own namespace): nothing is guessed here.
"""

import csv
from functools import cache
from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).parent / "systems.csv"
# FHIR R4 §4.5: known identifier systems; and those that HL7 registers of kind identifier
_ISSUERS: Final = (
    "http://hl7.org/fhir/sid/us-", "http://hl7.org/fhir/sid/passport-", "http://terminology.hl7.org/NamingSystem/",
    "http://www.gs1.org/gln", "https://www.gs1.org/gtin",
)  # fmt: skip
_HEX: Final = frozenset("0123456789abcdef")


@cache
def _rows() -> tuple[dict[str, str], dict[str, str]]:
    registered_: dict[str, str] = {}
    names: dict[str, str] = {}
    with _FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "name":
                names[_letters(row["key"])] = row["uri"]
            else:
                registered_[row["key"]] = row["uri"]
    return registered_, names


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def registered() -> dict[str, str]:
    """Every mnemonic (in capitals) and OID with its URI."""
    return _rows()[0]


def system_for(mnemonic_or_oid: str) -> str | None:
    """`LN` or `2.16.840.1.113883.6.1` → `http://loinc.org`; None for a name that is not registered."""
    found = registered()
    return found.get(mnemonic_or_oid) or found.get(mnemonic_or_oid.upper())


def system_named(name: str) -> str | None:
    """`SNOMED-CT`, `Snomed CT` → `http://snomed.info/sct`; a mnemonic of table 0396 serves, too."""
    return _rows()[1].get(_letters(name)) or registered().get(name.upper())


def oid_uri(oid: str) -> str:
    """The registered URI of a code system's OID, else the OID itself as a URN."""
    bare = oid.removeprefix("urn:oid:")
    return system_for(bare) or f"urn:oid:{bare}"


def issuer_uri(oid: str) -> str:
    """The URI of who gives numbers out: one that FHIR has for identifiers, else the OID. Most OIDs with a URI name code
    systems, and senders use whatever number they like: a patient's number is never of a code system."""
    known = system_for(oid)
    return known if known is not None and known.startswith(_ISSUERS) else f"urn:oid:{oid}"


def is_oid(found: str) -> bool:
    """Arcs of digits without leading zeros, the first 0 to 2; long enough to be somebody's: `2.6.1` is a root that
    FHIR's validators refuse, and names no authority."""
    arcs = found.split(".")
    return (
        len(arcs) > 2
        and found.rfind(".") > 3
        and arcs[0] in ("0", "1", "2")
        and all(arc.isascii() and arc.isdigit() and (arc == "0" or arc[0] != "0") for arc in arcs)
    )


def is_uuid(found: str) -> bool:
    lengths = [len(group) for group in found.split("-")]
    return lengths == [8, 4, 4, 4, 12] and _HEX.issuperset(found.replace("-", "").lower())


def is_absolute(found: str) -> bool:
    """Whether it is an absolute URI: `urn:x`, `https://…`, and neither `12:30` nor `a b:c`."""
    scheme, colon, rest = found.partition(":")
    return bool(colon and rest and scheme[:1].isalpha() and scheme.isascii()) and not any(
        letter.isspace() or letter in '<>"{}|^`\\' for letter in found
    )
