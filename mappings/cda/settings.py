"""What a profile says of documents: the table `[cda]`, and the rows that its folders lay over ours.

medication = "request" | "statement"    what an entry of a medication list becomes (mood EVN)
zero_offset = "verify" | "trust"        what an offset +0000 of the document means beside a zone of the profile
sections = { code = "domain" }          local section codes
oids = { "2.999.9" = "https://..." }    code systems and identifier roots
limits = { bytes = ..., elements = ... }
root = "2.999.1"                        under which this site's ids are unique in what it writes: an OID or a UUID
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mappings.cda.files import digest_of
from mappings.terminology.systems import is_oid, is_uuid

if TYPE_CHECKING:
    from mappings.cda.compiled import Entries

_CHOICES: Mapping[str, tuple[str, ...]] = {"medication": ("request", "statement"), "zero_offset": ("verify", "trust")}
_TABLES = ("sections", "oids", "limits")
_LIMITS = ("bytes", "elements", "attributes", "depth", "text")


@dataclass(frozen=True, slots=True)
class CdaSettings:
    """A profile's word on documents; its rows are compiled when the first one comes."""

    medication: str
    zero_offset: str
    sections: Mapping[str, str]
    oids: Mapping[str, str]
    limits: Mapping[str, int]  # of `document.Limits`
    folders: tuple[Path, ...]
    digest: str  # of the rows
    root: str = ""

    @property
    def entries(self) -> "Entries":
        """The compiled rows. Raises RowsError with every fault."""
        from mappings.cda.compiled import compiled

        return compiled(self.folders, {"medication": self.medication})


def cda_settings(table: Mapping[str, Any], folders: list[Path]) -> CdaSettings:
    """The settings of a checked table."""
    medication = table.get("medication", _CHOICES["medication"][0])
    own = tuple(folder for folder in folders if (folder / "entries").is_dir())
    return CdaSettings(
        medication=medication,
        zero_offset=table.get("zero_offset", _CHOICES["zero_offset"][0]),
        sections=table.get("sections", {}),
        oids=table.get("oids", {}),
        limits=table.get("limits", {}),
        folders=own,
        digest=digest_of(own, {"medication": medication}),
        root=table.get("root", ""),
    )


def faults(table: Any) -> Iterator[str]:
    """Everything wrong with the table."""
    if not isinstance(table, dict):
        yield "cda is not a table"
        return
    known = (*_CHOICES, *_TABLES, "root")
    for key in table.keys() - set(known):
        close = difflib.get_close_matches(key, known, 1)
        yield f"unknown key cda.{key}" + (f"; did you mean {close[0]}?" if close else "")
    for key, allowed in _CHOICES.items():
        if key in table and table[key] not in allowed:
            yield f"cda.{key} is one of {', '.join(allowed)}"
    if "root" in table and not (is_oid(str(table["root"])) or is_uuid(str(table["root"]))):
        yield "cda.root is no OID or UUID"
    for key in _TABLES:
        if not isinstance(table.get(key, {}), dict):
            yield f"cda.{key} is not a table"
            return
    for key, value in table.get("limits", {}).items():
        if key not in _LIMITS:
            yield f"unknown key cda.limits.{key}"
        elif not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            yield f"cda.limits.{key} is not a positive number"
