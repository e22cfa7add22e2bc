"""What stands in which element, in which order, of which datatype: `classes.csv`.

Columns: `element`; `children`, in schema order, `name[:TYPE][*]` (`*`: it repeats); `source`. Only what rows write is
there. Elements that are not listed hold what their datatype says, in the order its writer gives.
Source: CDA R2 schema POCD_MT000040, with HL7's SDTC extensions.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mappings.cda.element import short
from mappings.xml_parser import Element

_FILE = Path(__file__).with_name("classes.csv")


@dataclass(frozen=True, slots=True)
class Child:
    """One child of a class."""

    at: int
    type: str  # "" for a class
    repeats: bool


@cache
def classes() -> dict[str, dict[str, Child]]:
    """Element → its children by name."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        return {row["element"]: dict(map(_child, enumerate(row["children"].split()))) for row in csv.DictReader(file)}


def _child(numbered: tuple[int, str]) -> tuple[str, Child]:
    at, text = numbered
    head, colon, kind = text.removesuffix("*").rpartition(":")
    if not colon or head in ("sdtc", "pharm"):
        head, kind = text.removesuffix("*"), ""
    return head, Child(at, kind, text.endswith("*"))


def in_order(root: Element) -> None:
    """Sort the children of every class as the schema has them; equal ones keep their order."""
    known = classes()
    for el in root.iter():
        children = known.get(short(str(el.tag)))
        if children is not None and len(el) > 1:
            el[:] = sorted(el, key=lambda each: children[name].at if (name := short(str(each.tag))) in children else 0)
