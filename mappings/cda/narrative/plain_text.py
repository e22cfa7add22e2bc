"""The words of a part of a narrative: what `#id` in an entry stands for.

A row is its cells, and a cell its words, each after the header over it, for "10 mg" alone says too little. White space
is one blank; what a revision deleted is left out.

Source: CDA R2 §4.3.5 (references from entries into the narrative), §4.3.5.9.
"""

from typing import TYPE_CHECKING

from mappings.cda.narrative import tables
from mappings.cda.narrative.tables import Headers

if TYPE_CHECKING:
    from mappings.cda.element import Element


def plain_text(element: "Element", header: bool = True, headers: Headers | None = None) -> str | None:
    """The words of an element; None where there are none. `header=False` leaves out what heads a row or cell.

    Who asks more than once hands in `headers`, so that a table is read once however many of its cells are asked for.
    """
    if tables.is_deleted(element):
        return None
    headers = headers or Headers()
    if header and element.tag == tables.TR and (text := tables.row_words(element, headers)):
        return text
    text = tables.words(element)
    if header and text and element.tag in tables.CELLS:
        text = tables.labelled(headers.over(element), text)
    return text or None
