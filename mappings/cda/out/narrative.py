"""The narrative of a section that is written: a table with a row for each statement, in words a person reads.

Each row has an ID that the statement's `text` refers to. A column without a word in any row is left out.
Source: CDA R2 §4.3.5 (section narrative block).
"""

from collections.abc import Callable, Iterable
from typing import Any

from mappings.cda.element import V3
from mappings.cda.narrative import table
from mappings.cda.out.sections import Column
from mappings.cda.out.writers.quantities import lexeme
from mappings.cda.out.writing import element
from mappings.fhir.fhirpath import Node
from mappings.fhir.values import REASONS, name_line
from mappings.xml_parser import Element

Json = dict[str, Any]

NOTHING_KNOWN = "No information available."
NOTHING_SAID = "-"


class Table:
    """The rows of one section, in the making."""

    def __init__(self, prefix: str, columns: tuple[Column, ...]) -> None:
        self.prefix = prefix
        self.columns = columns
        self.rows: list[list[str]] = []

    def add(self, cells: Callable[[Column], Iterable[Node]]) -> str:
        """The ID of a new row."""
        self.rows.append(["; ".join(dict.fromkeys(filter(None, map(shown, cells(each))))) for each in self.columns])
        return f"{self.prefix}{len(self.rows)}"

    def text(self) -> Element | None:
        if not self.rows:
            return None
        said = [n for n in range(len(self.columns)) if any(row[n] for row in self.rows)] or [0]
        rows = [[row[n] or NOTHING_SAID for n in said] for row in self.rows]
        made, _ = table([self.columns[n].header for n in said], rows, self.prefix)
        return made


def paragraph(words: str) -> Element:
    """A `text` of one sentence."""
    made = element(f"{{{V3}}}text")
    made.append(element(f"{{{V3}}}paragraph", words))
    return made


def shown(node: Node) -> str:
    """What a person would read of a value."""
    value = node[1]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return ""
    if not isinstance(value, dict):
        return lexeme(value)
    if "coding" in value or node[0] == "CodeableConcept":
        return _concept(value)
    if "low" in value or "high" in value:
        return " to ".join(_amount(value[end]) if end in value else "..." for end in ("low", "high"))
    if "numerator" in value:
        return f"{_amount(value['numerator'])} / {_amount(value.get('denominator') or {})}"
    if "start" in value or "end" in value:
        return f"{value.get('start', '...')} to {value.get('end', '...')}"
    if "value" in value:
        return _amount(value)
    return name_line(value) or str(value.get("display") or value.get("text") or "")


def _concept(value: Json) -> str:
    codings = value.get("coding", ())
    words = [each.get("display") or each.get("code") for each in codings if each.get("system") != REASONS]
    return str(value.get("text") or next(filter(None, words), "") or ("unknown" if codings else ""))


def _amount(value: Json) -> str:
    if "value" not in value:
        return ""
    unit = value.get("unit") or value.get("code") or ""
    return f"{value.get('comparator', '')}{lexeme(value['value'])} {'' if unit == '1' else unit}".strip()
