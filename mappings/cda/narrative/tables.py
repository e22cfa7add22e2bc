"""Tables of a narrative: which header stands over a cell.

Only what a reader of the table would take for the header of a column: the rows of `thead`, or else a first row of `th`
alone. How far a search goes is bounded, for documents may refer to every cell of a long table.

Source: CDA R2 §4.3.5.9; HTML 4.01 §11.2.6 (cells that span).
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from lxml import etree

from mappings.cda.narrative.elements import V3, within_word

if TYPE_CHECKING:
    from mappings.cda.document import Element

TR: Final = V3 + "tr"
TH: Final = V3 + "th"
CELLS: Final = (V3 + "td", TH)
_TABLE = V3 + "table"
_THEAD = V3 + "thead"
_SPACE = re.compile(r"\s+")

_HEADER_ROWS = 8  # of a thead
_ROWS_BACK = 50  # through which a cell above may reach down
_COLUMNS = 1_000  # HTML's own bound of colspan
_CELLS_ABOVE_SPAN = etree.XPath(
    f"boolean(preceding-sibling::h:tr[position() <= {_ROWS_BACK}]/*/@rowspan)", namespaces={"h": V3[1:-1]}
)


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
            if not isinstance(node.tag, str) or is_marked(node):
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


def header_rows(part: "Element") -> list["Element"]:
    """The rows that head the table in which a row or cell stands; none for what is itself among them."""
    table = next(part.iterancestors(_TABLE), None)
    if table is None or next(part.iterancestors(_THEAD), None) is not None:
        return []
    if (head := table.find(_THEAD)) is not None:
        return head.findall(TR)[:_HEADER_ROWS]
    first = next(table.iter(TR), None)
    if first is None or first is part or first is part.getparent() or not len(first):
        return []
    return [first] if all(cell.tag == TH for cell in first) else []


def header_of(cell: "Element") -> str:
    """The words over a cell; "" where there are none."""
    row = cell.getparent()
    if row is None or not (rows := header_rows(cell)):
        return ""
    columns = dict(_columns(row))
    return _over(_grid(rows), columns.get(cell, range(0)))


def row_words(row: "Element") -> str:
    """The cells of a row, each with the words over it: `Substance: Penicillin; Reaction: Hives`."""
    grid = _grid(header_rows(row))
    cells = []
    for cell, columns in _columns(row):
        if is_marked(cell) or not (text := words(cell)):
            continue
        over = _over(grid, columns)
        cells.append(labelled(over, text))
    return "; ".join(cells)


def labelled(header: str, text: str) -> str:
    """A text with the header over it, unless it says the same."""
    return text if not header or header == text else f"{header.removesuffix(':').rstrip()}: {text}"


def _over(grid: list[dict[int, str]], columns: range) -> str:
    """The words of the header rows over some columns, from the top down, each once."""
    found = dict.fromkeys(row[column] for row in grid for column in columns if row.get(column))
    return " ".join(found)


def _grid(rows: list["Element"]) -> list[dict[int, str]]:
    """For each header row: column to words; a header that spans rows says its words in the first of them."""
    grid: list[dict[int, str]] = []
    taken: dict[int, int] = {}  # column to the rows that a cell above still takes
    for row in rows:
        texts: dict[int, str] = {}
        for cell, columns in _place(row, taken):
            if text := "" if is_marked(cell) else words(cell):
                texts.update(dict.fromkeys(columns, text))
        grid.append(texts)
    return grid


def _columns(row: "Element") -> list[tuple["Element", range]]:
    """The cells of a row and the columns they stand in."""
    taken: dict[int, int] = {}
    if _CELLS_ABOVE_SPAN(row):
        before = [above for above, _ in zip(row.itersiblings(TR, preceding=True), range(_ROWS_BACK), strict=False)]
        for above in reversed(before):
            _place(above, taken)
    return _place(row, taken)


def _place(row: "Element", taken: dict[int, int]) -> list[tuple["Element", range]]:
    """Where the cells of a row stand, given what the rows above take; `taken` is then what the next row finds."""
    placed: list[tuple[Element, range]] = []
    below: dict[int, int] = {column: rows - 1 for column, rows in taken.items() if rows > 1}
    column = 0
    for cell in row.iterchildren(*CELLS):
        while column in taken:
            column += 1
        width = _span(cell, "colspan")
        columns = range(column, min(column + width, _COLUMNS))
        placed.append((cell, columns))
        if (height := _span(cell, "rowspan")) > 1:
            below.update(dict.fromkeys(columns, height - 1))
        column += width
    taken.clear()
    taken.update(below)
    return placed


def _span(cell: "Element", name: str) -> int:
    value = cell.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 4 and int(value) > 0 else 1
