"""Observations that only say more of another statement: its status, severity, reaction, criticality, the age at onset.

    part_of(el)     the kind of part that an observation is, by `parts.csv`; "" for one that stands for itself

None is a problem or an allergy of its own, though it stands in the section of one or carries a template of its kind. It
is known by its code, else by the first translation that has one; else, within another statement, by what the
relationship is, or by its template: vendors write ASSERTION, their own code or none. A code that is known wins over a
template that says otherwise. Where nothing is around it a template makes nothing a part: vendors carry wrong ones, and
a problem must not be lost by that.
Source: C-CDA R2.1 (status, severity, reaction, criticality and age observation), IHE PCC, CCD R1; cda.md §3.
"""

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from mappings.cda.element import Element

_FILE: Final = Path(__file__).with_name("parts.csv")
_MANIFESTS: Final = "MFST"  # HL7 v3 ActRelationshipType: what the statement around it shows itself by
_REACTION: Final = "reaction"
# statements that have parts: an act or organizer only holds others together
_OWNERS: Final = frozenset({"observation", "procedure", "substanceAdministration", "supply", "encounter"})


@cache
def _table() -> Mapping[str, Mapping[str, str]]:
    """The kind of part by its code and by its template."""
    found: dict[str, dict[str, str]] = {"code": {}, "template": {}}
    with _FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for column, parts in found.items():
                if row[column]:
                    parts[row[column]] = row["part"]
    return found


def part_of(el: Element) -> str:
    """The kind of part that an observation is, "" for one that stands for itself."""
    table = _table()
    known = table["code"]
    for code in el.named("code"):
        if (said := _code_of(code)) and (part := known.get(said)):
            return part
    above = el.parent
    if above is None:
        return ""
    if above.get("typeCode") == _MANIFESTS:
        return _REACTION
    if above.parent is None or above.parent.short not in _OWNERS:
        return ""
    claimed = table["template"]
    for each in el.named("templateId"):
        if part := claimed.get((each.get("root") or "").strip()):
            return part
    return ""


def _code_of(node: Element) -> str:
    """Its code, else that of the first translation with one."""
    if code := (node.get("code") or "").strip():
        return code
    return next((code for each in node.named("translation") if (code := (each.get("code") or "").strip())), "")
