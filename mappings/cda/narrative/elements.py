"""What each element of the narrative becomes in XHTML, and what stands around it there: `elements.csv`, `styles.csv`.

An element has a kind (flow, item, group, row, cell, caption, column) and holds a context (flow, list, table, group,
row). One that stands where XHTML does not allow its kind, as text directly in a table, gets the elements around it that
are missing: nothing is thrown away, and no browser moves text to another place.

Source: CDA R2 §4.3.5 and its NarrativeBlock.xsd; FHIR R4 §2.4.0.4 for the classes.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

V3: Final = "{urn:hl7-org:v3}"
CONTEXTS: Final = ("flow", "list", "table", "group", "row")

SPECIAL: Final = frozenset(("caption", "footnote", "footnoteRef", "linkHtml", "list", "paragraph", "renderMultiMedia"))

# Within a word; any other element begins and ends one. Those of CDA, and what HTML some documents write beside them.
_WITHIN_WORDS: Final = frozenset(
    "content footnoteRef linkHtml sub sup a abbr b big code em font i small span strike strong s tt u".split()
)

_FOLDER: Final = Path(__file__).parent
_STANDS: Final = {
    ("flow", "flow"),
    ("flow", "caption"),
    ("list", "item"),
    ("table", "caption"),
    ("table", "group"),
    ("table", "row"),
    ("group", "row"),
    ("row", "cell"),
}
_TO_FLOW: Final = {"list": ("item",), "table": ("tr", "td"), "group": ("tr", "td"), "row": ("td",)}
_FROM_FLOW: Final = {
    "flow": (),
    "caption": (),
    "item": ("list",),
    "group": ("table",),
    "row": ("table",),
    "cell": ("table", "tr"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of `elements.csv`. `allows` are the children that the schema of CDA allows."""

    element: str
    xhtml: str
    kind: str
    holds: str
    attributes: frozenset[str]
    allows: frozenset[str]


# What opens it, what closes it, the context it holds ("" where nothing of it is written), elements in each other.
Opened = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True)
class Rule:
    """An element in a context, compiled: `opened` is it without attributes, `head` leaves its tag open for them."""

    element: str
    head: str
    opened: Opened
    attributes: frozenset[str]
    special: bool  # its markup depends on more than its attributes

    def open(self, attributes: str, content: str = "") -> Opened:
        """It with attributes, and with markup before its content."""
        _, close, holds, levels = self.opened
        return f"{self.head}{attributes}>{content}", close, holds, levels


def _rows(name: str) -> list[dict[str, str]]:
    with (_FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _load() -> dict[str, Row]:
    return {
        row["element"]: Row(
            row["element"],
            row["xhtml"],
            row["kind"],
            row["holds"],
            frozenset(row["attributes"].split()),
            frozenset(row["allows"].split()),
        )
        for row in _rows("elements.csv")
    }


ROWS: Final[Mapping[str, Row]] = _load()
CLASSES: Final[Mapping[str, str]] = {row["style"].lower(): row["class"] for row in _rows("styles.csv")}
STYLES: Final[Mapping[str, str]] = {row["class"]: row["style"] for row in reversed(_rows("styles.csv"))}
FROM_XHTML: Final[Mapping[str, tuple[str, str]]] = {
    row["xhtml"]: (row["element"], row["style"]) for row in _rows("xhtml_elements.csv")
}


def around(context: str, kind: str) -> tuple[str, ...]:
    """The elements, outermost first, that a kind needs around it in a context: a cell in a table needs a `tr`."""
    if (context, kind) in _STANDS:
        return ()
    if kind == "cell" and context in ("table", "group"):
        return ("tr",)
    if context == "flow":
        return _FROM_FLOW[kind]
    return _TO_FLOW[context] + _FROM_FLOW[kind]


def wrapping(names: tuple[str, ...]) -> tuple[str, str]:
    """What opens and closes these elements in XHTML."""
    tags = [ROWS[name].xhtml for name in names]
    return "".join(f"<{tag}>" for tag in tags), "".join(f"</{tag}>" for tag in reversed(tags))


def _rule(row: Row, context: str) -> Rule:
    if row.kind == "column":
        return Rule(row.element, "", ("", "", context, 0), frozenset(), False)
    names = around(context, row.kind)
    opening, closing = wrapping(names)
    tag = "caption" if row.kind == "caption" and context == "table" else row.xhtml
    head = f"{opening}<{tag}"
    if row.holds == "nothing":  # what stands in it nevertheless comes after it
        return Rule(row.element, head, (f"{head}/>{closing}", "", context, 0), row.attributes, False)
    opened = (f"{head}>", f"</{tag}>{closing}", row.holds, len(names) + 1)
    return Rule(row.element, head, opened, row.attributes, row.element in SPECIAL)


# Context to tag to rule; what lxml gives as the tag of a comment is in none.
RULES: Final[Mapping[str, Mapping[Any, Rule]]] = {
    context: {V3 + row.element: _rule(row, context) for row in ROWS.values()} for context in CONTEXTS
}
# What text directly in a context needs around it; None where it needs nothing.
STRAY: Final[Mapping[str, tuple[str, str] | None]] = {
    context: wrapping(around(context, "flow")) if context != "flow" else None for context in CONTEXTS
}


def within_word(tag: str) -> bool:
    """Whether the text of an element is part of the word around it."""
    return tag.rpartition("}")[2] in _WITHIN_WORDS
