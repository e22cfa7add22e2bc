"""The way back: a FHIR narrative as the `text` of a section, and tables for sections whose text is written here.

Only what the schema of CDA allows where it stands is written; what it does not allow there leaves its text, on a line
of its own if it was a block. Struck text becomes a deleted revision, so that it reads as struck or not at all.

Source: CDA R2 §4.3.5 and its NarrativeBlock.xsd; FHIR R4 §2.4.0 (elements and classes of a narrative).
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from lxml import etree

from mappings.cda.narrative import attributes
from mappings.cda.narrative.elements import FROM_XHTML, ROWS, STYLES, V3, around
from mappings.xml_parser import parser

if TYPE_CHECKING:
    from mappings.xml_parser import Element

XHTML: Final = "{http://www.w3.org/1999/xhtml}"
_NAMESPACES: Final = {None: V3[1:-1]}
_STRUCK: Final = frozenset(("s", "strike"))
_BLOCKS: Final = frozenset(
    XHTML + name for name, (element, _) in FROM_XHTML.items() if element in ("paragraph", "list", "table")
)
_LINES: Final = _BLOCKS | {XHTML + name for name, (element, _) in FROM_XHTML.items() if ROWS[element].kind != "flow"}
_NEW_LINE: Final = frozenset(V3 + name for name in ("br", "paragraph", "list", "table"))
_WITHOUT_ID: Final = frozenset(("br", "sub", "sup"))


def from_xhtml(div: str) -> "Element":
    """The StrucDoc `text` of a narrative that the R4 rules accept. Raises ValueError for one that is no XML."""
    try:
        root = etree.fromstring(div, parser())
    except etree.XMLSyntaxError:
        raise ValueError("narrative is not well-formed XML") from None
    if root.getroottree().docinfo.doctype:
        raise ValueError("narrative has a document type declaration")
    writer = _Writer({name for node in root.iter() if (name := node.get("id"))})
    writer.attributes(root, writer.text, "text")
    writer.read(root)
    return writer.text


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], prefix: str) -> tuple["Element", list[str]]:
    """A `text` that holds one table, and the IDs of its rows: `prefix` with the number of the row."""
    text = etree.Element(V3 + "text", nsmap=_NAMESPACES)
    made = etree.SubElement(text, V3 + "table")
    _row(etree.SubElement(made, V3 + "thead"), "th", headers)
    body = etree.SubElement(made, V3 + "tbody")
    ids: list[str] = []
    for number, cells in enumerate(rows, 1):
        ids.append(f"{prefix}{number}")
        _row(body, "td", cells).set("ID", ids[-1])
    if not ids:
        raise RuntimeError("a narrative table needs a row")
    return text, ids


def _row(group: "Element", tag: str, cells: Sequence[str]) -> "Element":
    row = etree.SubElement(group, V3 + "tr")
    for cell in cells:
        etree.SubElement(row, V3 + tag).text = attributes.FORBIDDEN.sub("", cell)
    return row


class _Writer:
    """StrucDoc in the making: `open` are the elements begun and not ended, the text of the section first."""

    def __init__(self, ids: set[str]) -> None:
        self.text: Element = etree.Element(V3 + "text", nsmap=_NAMESPACES)
        self.open: list[Element] = [self.text]
        self.ids = ids
        self.used: set[str] = set()
        self.gap = False  # a block ended or begins: what comes next stands on a line of its own

    def read(self, root: "Element") -> None:
        """All nodes in document order; at the end of each, what it opened is ended."""
        opened: list[int] = []
        for event, node in etree.iterwalk(root, events=("start", "end")):
            if event == "start":
                opened.append(len(self.open))
                if node is not root:
                    self._start(node)
                self._write(node.text)
            else:
                depth = opened.pop()
                if node is not root:
                    self._end(node, depth)
                    self._write(node.tail)

    def _start(self, node: "Element") -> None:
        name = str(node.tag).removeprefix(XHTML)
        element, style = FROM_XHTML.get(name, ("", ""))
        if name == "img":
            self._write(node.get("alt"))
        elif element == "paragraph" and any(inner.tag in _BLOCKS for inner in node.iterdescendants()):
            self.gap = True  # a division of blocks: they speak for themselves
        elif element:
            self._begin(node, element, style, struck=name in _STRUCK)

    def _end(self, node: "Element", depth: int) -> None:
        if len(self.open) == depth:
            self.gap = self.gap or node.tag in _LINES
        del self.open[depth:]

    def _begin(self, node: "Element", element: str, style: str, struck: bool) -> None:
        """The element, in what it needs around it; or only a gap, where the schema has no place for it."""
        row, top = ROWS[element], self._local(self.open[-1])
        missing = around(ROWS[top].holds, row.kind) if ROWS[top].holds != "nothing" else (element,)
        outer = (*missing, element)[0]
        if outer == "tr" and top == "table":
            missing = ("tbody", *missing)
        elif outer not in ROWS[top].allows:
            self.gap = self.gap or row.kind != "flow" or element in ("paragraph", "list", "table", "br")
            return
        self._fill_gap(inline=element not in ("paragraph", "list", "table"))
        for name in missing:
            self._open(name)
        made = self._open(element)
        self.attributes(node, made, element, style)
        if struck:
            made.set("revised", "delete")
        if element == "br":
            self.open.pop()

    def _open(self, name: str) -> "Element":
        top = self.open[-1]
        if name == "tbody" and len(top) and top[-1].tag == V3 + name and not top[-1].attrib:
            made = top[-1]  # rows without a group of theirs share one
        else:
            made = etree.SubElement(top, V3 + name)
        self.open.append(made)
        return made

    def _write(self, text: str | None) -> None:
        """Text, where the schema allows text; in a table or list, within what it needs around it."""
        top = self.open[-1]
        holds = ROWS[self._local(top)].holds
        if not text or (not text.strip() and (holds != "flow" or self.gap)):
            return
        text = attributes.FORBIDDEN.sub("", text)
        if holds == "flow":
            self._fill_gap(inline=True)
            _append(top, text)
            return
        depth = len(self.open)
        missing = around(holds, "flow")
        for name in ("tbody", *missing) if self._local(top) == "table" else missing:
            self._open(name)
        _append(self.open[-1], text)
        del self.open[depth:]

    def _fill_gap(self, inline: bool) -> None:
        """A line break between a block that could not be one and what follows, if there is something before it."""
        top = self.open[-1]
        row = ROWS[self._local(top)]
        if self.gap and inline and row.holds == "flow" and not _begins_line(top):
            if "br" in row.allows:
                etree.SubElement(top, V3 + "br")
            else:
                _append(top, " ")
        self.gap = False

    def attributes(self, node: "Element", made: "Element", element: str, style: str = "") -> None:
        """What XHTML says in attributes that CDA has, too."""
        if element in _WITHOUT_ID:
            return
        name = attributes.xml_id(node.get("id", ""))
        if name and name not in self.used:
            self.used.add(name)
            made.set("ID", name)
        styles = [style] if style else []
        styles += [STYLES[each] for each in node.get("class", "").split() if each in STYLES]
        if styles:
            made.set("styleCode", " ".join(dict.fromkeys(styles)))
        if language := attributes.language(node.get("lang", "")):
            made.set("language", language)
        if element == "list" and str(node.tag) == XHTML + "ol":
            made.set("listType", "ordered")
        for each in ROWS[element].attributes:
            if value := attributes.cell_attribute(each, node.get(each, "")):
                made.set(each, value)
        if element == "linkHtml" and (href := self._href(node.get("href", ""))):
            made.set("href", href)

    def _href(self, href: str) -> str | None:
        if href.startswith("#"):
            return href if href[1:] in self.ids and attributes.xml_id(href[1:]) else None
        return attributes.link(href)

    @staticmethod
    def _local(element: "Element") -> str:
        return str(element.tag).removeprefix(V3)


def _begins_line(element: "Element") -> bool:
    """Whether what comes next in an element stands on a line of its own anyhow."""
    if not len(element):
        return not (element.text or "").strip()
    return element[-1].tag in _NEW_LINE and not (element[-1].tail or "").strip()


def _append(element: "Element", text: str) -> None:
    """Text after all that an element holds."""
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text
