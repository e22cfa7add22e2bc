"""Known absence and absence of knowledge: "no known allergy" is a fact, "no information" is not.

    absence_of(nodes, ctx)      what the coded elements of a statement say of it, by `absent.csv`

A known absence becomes a resource with SNOMED CT's no-known code and the coding that was sent; no information becomes
no resource and the reason why the section is empty. A code beats what file, title or narrative say.
Source: IPS 2.0 (absent and unknown data); eHDSI patient summary (known absence, no information).
"""

import csv
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from mappings.cda.element import Element
from mappings.fhir import values

if TYPE_CHECKING:
    from mappings.cda.walk import Walk

Json = dict[str, Any]
SNOMED: Final = "http://snomed.info/sct"
_FILE: Final = Path(__file__).with_name("absent.csv")


class Absence(NamedTuple):
    """`known`: there is none, `code` says so; `unknown`: nobody knows."""

    said: Literal["known", "unknown"]
    domain: str
    code: Json | None  # coding


@cache
def _table() -> dict[tuple[str, str], Absence]:
    with _FILE.open(encoding="utf-8", newline="") as file:
        return {
            (row["system"], row["code"]): Absence(
                "known" if row["said"] == "known" else "unknown",
                row["domain"],
                values.coding(SNOMED, row["snomed"] or None, row["display"] or None) if row["snomed"] else None,
            )
            for row in csv.DictReader(file)
        }


def absence_of(nodes: Iterable[Element], ctx: "Walk") -> Absence | None:
    """What coded elements, or their translations, say of absence; None where they say something else."""
    for node in nodes:
        found = _table().get((node.get("codeSystem", "").strip(), node.get("code", "").strip()))
        if found is not None:
            return found
        if (inner := absence_of(node.named("translation"), ctx)) is not None:
            return inner
    return None


def no_known(domain: str, code: str) -> Json:
    """The coding of a known absence by its SNOMED CT code; KeyError for one that the table does not have."""
    for absence in _table().values():
        if absence.domain == domain and absence.code is not None and absence.code["code"] == code:
            return absence.code
    raise KeyError(code)


def says_nothing(nodes: list[Element]) -> bool:
    """Whether coded elements stand there and all of them only say that there is no information."""
    return bool(nodes) and all(
        node.get("nullFlavor") in ("NI", "UNK", "NASK", "NAV") and not node.get("code") and not len(node)
        for node in nodes
    )
