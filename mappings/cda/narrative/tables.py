"""Tables of a narrative: which header stands over a cell.

Only what a reader of the table would take for the header of a column: the rows of `thead`, or else a first row of `th`
alone. Where a cell cannot be placed, it has no header rather than a wrong one.

Source: CDA R2 §4.3.5.9; HTML 4.01 §11.2.6 (cells that span).
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mappings.cda.narrative.elements import V3, within_word

if TYPE_CHECKING:
    from mappings.cda.element import Element

TR: Final = V3 + "tr"
TH: Final = V3 + "th"
CELLS: Final = (V3 + "td", TH)
_TABLE: Final = V3 + "table"
_THEAD: Final = V3 + "thead"
_SPACE: Final = re.compile(r"\s+")

_GROUPS: Final = (_THEAD, V3 + "tbody", V3 + "tfoot")
_HEADER_ROWS: Final = 8  # of a thead
_COLUMNS: Final = 100  # what stands further to the right has no header
_ROWS: Final = 1_000  # that a cell reaches down at most
_LONGEST_HEADER: Final = 200  # characters: what is longer heads nothing, and would be repeated with every cell


def is_deleted(element: "Element") -> bool:
    """Whether a revision deleted it, or anything around it (CDA R2 §4.3.5.1)."""
    return is_marked(element) or any(is_marked(above) for above in element.iterancestors())


def is_marked(element: "Element") -> bool:
    """Whether the element itself says that a revision deleted it."""
    return element.get("revised", "").strip() == "delete"


def words(element: "Element") -> str:
    """All text of an element that was not deleted, in order, each run of white space one blank."""
    return _SPACE.sub(" ", "".join(_texts(element))).strip()


def _texts(top: "Element") -> Iterator[str]:
    """Texts in order, with a blank around what is no part of a word. No recursion: documents may be deep."""
    above: list[tuple[Iterator[Element], str]] = []
    children = iter(top)
    yield top.text or ""
    while True:
        for node in children:
            if not node.tag or is_marked(node):
                yield node.tail or ""
                continue
            gap = "" if within_word(node.tag) else " "
            yield gap + (node.text or "")
            above.append((children, gap + (node.tail or "")))
            children = iter(node)
            break
        else:
            if not above:
                return
            children, behind = above.pop()
            yield behind


class Headers:
    """What stands over the cells of tables. One a document, for each table is then read once; it holds elements."""

    def __init__(self) -> None:
        self._tables: dict[Element, tuple[list[Element], dict[Element, str]]] = {}

    def rows(self, part: "Element") -> list["Element"]:
        """The rows that head the table of a row or cell; none for what is itself in one of them."""
        table = next(part.iterancestors(_TABLE), None)
        if table is None:
            return []
        rows, _ = self._read(table)
        return [] if part in rows or part.parent in rows else rows

    def over(self, cell: "Element") -> str:
        """The words over a cell; "" where there are none."""
        table = next(cell.iterancestors(_TABLE), None)
        return "" if table is None else self._read(table)[1].get(cell, "")

    def _read(self, table: "Element") -> tuple[list["Element"], dict["Element", str]]:
        if table not in self._tables:
            self._tables[table] = _read(table)
        return self._tables[table]


def row_words(row: "Element", headers: Headers) -> str:
    """The cells of a row, each with the words over it: `Substance: Penicillin; Reaction: Hives`."""
    cells = [(cell, words(cell)) for cell in row.iterchildren(*CELLS) if not is_marked(cell)]
    return "; ".join(labelled(headers.over(cell), text) for cell, text in cells if text)


def labelled(header: str, text: str) -> str:
    """A text with the header over it, unless it says the same."""
    return text if not header or header == text else f"{header.removesuffix(':').rstrip()}: {text}"


def _read(table: "Element") -> tuple[list["Element"], dict["Element", str]]:
    """The header rows of a table, and the words over each of its other cells."""
    groups = _row_groups(table)
    heads = [rows for group, rows in groups if group == _THEAD]
    if heads:
        header = heads[0][:_HEADER_ROWS]
    else:
        first = next((rows[0] for _, rows in groups if rows), None)
        header = [first] if first is not None and len(first) and all(cell.tag == TH for cell in first) else []
    columns: list[dict[int, str]] = []  # for each header row: column to the words of it
    over: dict[Element, str] = {}
    for group, rows in sorted(groups, key=lambda each: each[0] != _THEAD):
        taken: dict[int, int] = {}
        for row in rows:
            placed = _place(row, taken)
            if row in header:
                columns.append({at: text for cell, places in placed if (text := _header(cell)) for at in places})
            elif group != _THEAD:
                over.update((cell, text) for cell, places in placed if (text := _over(columns, places)))
    return header, over


def _header(cell: "Element") -> str:
    text = "" if is_marked(cell) else words(cell)
    return text if len(text) <= _LONGEST_HEADER else ""


def _row_groups(table: "Element") -> list[tuple[str, list["Element"]]]:
    """Its rows, by the groups that no cell reaches out of: thead, tbody, tfoot, and what stands in none of them."""
    groups: list[tuple[str, list[Element]]] = []
    for child in table:
        if child.tag in _GROUPS:
            groups.append((str(child.tag), child.findall(TR)))
        elif child.tag == TR:
            if not groups or groups[-1][0]:
                groups.append(("", []))
            groups[-1][1].append(child)
    return groups


def _over(header: list[dict[int, str]], columns: range) -> str:
    """The words of the header rows over some columns, from the top down, each once."""
    return " ".join(dict.fromkeys(row[column] for row in header for column in columns if row.get(column)))


def _place(row: "Element", taken: dict[int, int]) -> list[tuple["Element", range]]:
    """Where the cells of a row stand, given what the rows above take; `taken` is then what the next row finds."""
    placed: list[tuple[Element, range]] = []
    below: dict[int, int] = {column: rows - 1 for column, rows in taken.items() if rows > 1}
    column = 0
    for cell in row.iterchildren(*CELLS):
        while column in taken:
            column += 1
        columns = range(column, min(column + _span(cell, "colspan"), _COLUMNS))
        if not columns:
            break
        placed.append((cell, columns))
        if (height := _span(cell, "rowspan")) > 1:
            below.update(dict.fromkeys(columns, height - 1))
        column = columns.stop
    taken.clear()
    taken.update(below)
    return placed


def _span(cell: "Element", name: str) -> int:
    """How many columns or rows; 0 rows are all that follow (HTML 4.01 §11.2.6)."""
    value = cell.get(name, "").strip()
    if not (value.isascii() and value.isdigit()):
        return 1
    return min(int(value) if len(value) < 5 else _ROWS, _ROWS) or (_ROWS if name == "rowspan" else 1)
