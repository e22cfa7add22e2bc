"""The narrative of a section, or a part of it, as XHTML for FHIR: an allow-list, and every text escaped.

What is written is markup and text in turn. Markup is made here, of `elements.csv` and checked attribute values; text is
the document's, and all of it is escaped, together, at the end.

1. An element of the list becomes its XHTML element; one that has no place where it stands gets what is missing around
   it. Any other element leaves its text and nothing else, and is counted.
2. Text that a revision deleted is suppressed, as CDA R2 §4.3.5.1 allows, since R4 has no `del`; it is counted.
3. A link leads to http, https, mailto or to another part of the narrative. A picture is in the document.
4. An ID gets a prefix, so that the narratives of several sections can stand in one page.

Source: CDA R2 §4.3.5; FHIR R4 §2.4.0 (Narrative), whose rules mappings/fhir/narrative.py checks.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from mappings.cda.narrative import attributes, tables
from mappings.cda.narrative.attributes import anchor, escape, escape_text
from mappings.cda.narrative.elements import RULES, STRAY, V3, Opened, Rule, within_word

if TYPE_CHECKING:
    from mappings.cda.context import Context
    from mappings.cda.element import Element

OPEN: Final = '<div xmlns="http://www.w3.org/1999/xhtml"'
NO_NARRATIVE: Final = OPEN + "><p>No narrative</p></div>"  # for a Narrative of status `empty`
DEEPEST: Final = 100  # XHTML elements in each other; readers refuse what is far deeper, libxml2 at 256
_DANGLING_REPORTED: Final = 20  # a section
_NO_RULES: Final[Mapping[Any, Rule]] = {}

_TEXT: Final = V3 + "text"
_FOOTNOTE: Final = V3 + "footnote"
_BLOCKS: Final = frozenset(V3 + name for name in ("caption", "list", "paragraph", "renderMultiMedia", "table", "text"))

Media = Callable[[str], str | None]
Elsewhere = Callable[["Element"], str | None]


def no_media(name: str) -> str | None:
    return None


def nowhere(element: "Element") -> str | None:
    return None


def to_xhtml(
    text: "Element", prefix: str, ctx: "Context", media: Media = no_media, elsewhere: Elsewhere = nowhere
) -> str | None:
    """The narrative of a section as a `div`; None where there is nothing to read.

    `media` gives the URL of the picture that an observationMedia or regionOfInterest with an ID holds (`data:` or a
    Binary, of png, jpeg or gif), "" for what is no picture, None for no such ID. `elsewhere` gives the XHTML id of an
    element outside of this text.
    """
    writer = Writer(text, prefix, media)
    attributes_ = writer.attributes(text.items(), RULES["flow"][_TEXT])
    if attributes_ is None:
        return None
    writer.children(text, "flow")
    writer.resolve(ctx, elsewhere)
    writer.report(ctx)
    return writer.div(attributes_)


def block(part: "Element", prefix: str, media: Media = no_media, headers: tables.Headers | None = None) -> str | None:
    """The part of a narrative that a statement refers to; a row or cell brings the header of its table.

    `headers` as for `plain_text`.
    """
    if tables.is_deleted(part):
        return None
    writer = Writer(part, prefix, media)
    headers = headers or tables.Headers()
    if part.tag == tables.TR and (rows := headers.rows(part)):
        _row_with_header(writer, part, rows)
    elif part.tag in tables.CELLS and (over := headers.over(part)):
        writer.mark(f"<table><thead><tr><th>{escape(over)}</th></tr></thead><tbody><tr>")
        writer.one(part, "row")
        writer.mark("</tr></tbody></table>")
    elif part.tag == _TEXT:
        writer.children(part, "flow")
    else:
        writer.one(part, "flow")
    writer.resolve(None, nowhere)
    return writer.div("")


def _row_with_header(writer: "Writer", part: "Element", header: list["Element"]) -> None:
    writer.mark("<table><thead>")
    for row in header:
        writer.one(row, "group")
    writer.mark("</thead><tbody>")
    writer.one(part, "group")
    writer.mark("</tbody></table>")


class Writer:
    """XHTML in the making: `out` is markup, text, markup, text; what was left out is counted."""

    def __init__(self, top: "Element", prefix: str, media: Media) -> None:
        self.top = top
        self.prefix = prefix
        self.media = media
        self.out: list[str] = []
        self.ids: set[str] = set()
        self.links: list[tuple[int, str, str, str, Element]] = []  # mark, its start and end, ID it leads to, element
        self.footnotes: dict[str, int] | None = None
        self.pictures = 0
        self.list_opened = (-1, "")  # the mark that opens the list last begun, and the tag it ends with
        self.dropped: list[Element] = []
        self.deleted: list[Element] = []
        self.lost: list[Element] = []  # media whose ID nothing has

    def mark(self, markup: str) -> None:
        self.out += (markup, "")

    def children(self, top: "Element", context: str) -> None:
        """All that an element holds."""
        self.out += ("", top.text or "")
        self._walk(iter(top), context)

    def one(self, element: "Element", context: str) -> None:
        """An element without the text behind it."""
        self._walk(iter((element,)), context, behind=False)

    def _walk(self, children: Iterator["Element"], context: str, behind: bool = True) -> None:
        """Elements in document order, without recursion: each writes tag and text, and at its end the text behind."""
        out = self.out
        rules, stray = RULES[context], STRAY[context]
        depth = 1
        above: list[_Frame] = []
        while True:
            for node in children:
                rule = rules.get(node.tag)
                items = node.items()
                if rule is None or rule.special or items:
                    head, close, holds, levels = self._open(node, items, rule, context)
                else:
                    head, close, holds, levels = rule.opened
                tail = node.tail or ""
                if stray is not None and tail:
                    tail = "" if tail.isspace() else tail
                if holds == "flow" and not len(node) and (stray is None or not tail) and (behind or above):
                    out += (head, node.text or "", close, tail)
                    continue
                ending = _in_place(close, tail if behind or above else "", stray)
                if not holds:  # nothing of it is written
                    out += ending
                    continue
                out += _in_place(head, node.text or "", STRAY[holds])
                above.append((children, rules, stray, context, ending, depth))
                children, context, depth = iter(node), holds, depth + levels
                rules, stray = RULES[holds] if depth < DEEPEST else _NO_RULES, STRAY[holds]
                break
            else:
                if not above:
                    return
                children, rules, stray, context, ending, depth = above.pop()
                out += ending

    def _open(self, node: "Element", items: list[tuple[str, str]], rule: Rule | None, context: str) -> "Opened":
        """The markup of an element that is not opened the same way everywhere."""
        if rule is None:
            return self._unlisted(node, context)
        if not rule.opened[1]:  # what holds nothing has no ID to link to, either
            if not tables.is_marked(node):
                return rule.opened
            self.deleted.append(node)
            return _NOTHING
        written = self.attributes(items, rule) if items else ""
        if written is None:
            self.deleted.append(node)
            return _NOTHING
        if rule.special and (found := _SPECIAL[rule.element](self, node, rule, written, context)):
            return found
        return rule.open(written)

    def _unlisted(self, node: "Element", context: str) -> "Opened":
        """No tag for what is not in the list; a blank on both sides unless it stands within a word."""
        if not node.tag:
            return _NOTHING  # a comment or processing instruction
        if tables.is_marked(node):
            self.deleted.append(node)
            return _NOTHING
        self.dropped.append(node)
        gap = "" if context != "flow" or within_word(node.tag) else " "
        return gap, gap, context, 0

    def attributes(self, items: list[tuple[str, str]], rule: Rule) -> str | None:
        """The attributes that are kept, each with a blank before it; None for an element that was deleted."""
        kept = identifier = ""
        for name, value in items:
            if name == "ID":
                identifier = value.strip()
            elif name == "styleCode":
                kept += _attribute("class", attributes.classes(value))
            elif name == "language":
                kept += _attribute("lang", attributes.language(value))
            elif name in rule.attributes:
                kept += _attribute(name, attributes.cell_attribute(name, value))
            elif name == "revised" and value.strip() == "delete":
                return None
        if identifier and identifier not in self.ids:  # the first element of an ID has it
            self.ids.add(identifier)
            kept = _attribute("id", anchor(self.prefix, identifier)) + kept
        return kept

    def open_paragraph(self, node: "Element", rule: Rule, written: str, context: str) -> "Opened | None":
        """A `div` where it holds what HTML allows in no `p`."""
        if not any(child.tag in _BLOCKS for child in node):
            return None
        wrap, after = STRAY[context] or ("", "")
        return f"{wrap}<div{written}>", f"</div>{after}", "flow", rule.opened[3]

    def open_list(self, node: "Element", rule: Rule, written: str, context: str) -> "Opened | None":
        tag = "ol" if node.get("listType") == "ordered" else "ul"
        opened = f"<{tag}{written}>"
        self.list_opened = (len(self.out), opened)
        wrap, after = STRAY[context] or ("", "")
        return wrap + opened, f"</{tag}>{after}", "list", rule.opened[3]

    def open_caption(self, node: "Element", rule: Rule, written: str, context: str) -> "Opened | None":
        """The caption of a list goes before it, for HTML lists hold items only."""
        index, opened = self.list_opened
        if index != len(self.out) - 2 or self.out[-1]:
            return None
        self.out[-2] = self.out[-2].removesuffix(opened)
        self.list_opened = (-1, "")
        return f"<div{written}>", f"</div>{opened}", "flow", 1

    def open_link(self, node: "Element", rule: Rule, written: str, context: str) -> "Opened | None":
        """A link to where one may lead; else the text of it."""
        href = node.get("href", "")
        if href.strip().startswith("#"):
            self._link_to(href.strip()[1:], rule.head, f"{written}>", node)
        elif (url := attributes.link(href)) is not None:
            return rule.open(_attribute("href", url) + written)
        elif href:
            self.dropped.append(node)
        return None

    def open_footnote(self, node: "Element", rule: Rule, written: str, context: str) -> "Opened | None":
        """Its number, then its text where it stands."""
        number = self._numbers().get(node.get("ID", "").strip())
        label = f"[{number}] " if number else ""
        return rule.open(written, label)

    def open_reference(self, node: "Element", rule: Rule, written: str, context: str) -> "Opened | None":
        """A link that shows the number of the footnote."""
        name = node.get("IDREF", "").strip()
        number = self._numbers().get(name)
        label = f"[{number}]" if number else ""
        self._link_to(name, rule.head, f"{written}>{label}", node)
        return rule.open(written, label)

    def _numbers(self) -> dict[str, int]:
        """The ID of each footnote and its place among them."""
        if self.footnotes is None:
            notes = [note.get("ID", "").strip() for note in self.top.iter(_FOOTNOTE)]
            self.footnotes = {name: n for n, name in reversed(list(enumerate(notes, 1))) if name}
        return self.footnotes

    def _link_to(self, name: str, start: str, end: str, node: "Element") -> None:
        """The next mark is a link to a part of the narrative; `resolve` writes it once all parts are known."""
        self.links.append((len(self.out), start, end, name, node))

    def open_multimedia(self, node: "Element", rule: Rule, written: str, context: str) -> "Opened | None":
        """The pictures it refers to; its caption follows."""
        images = ""
        for name in node.get("referencedObject", "").split():
            url = self.media(name)
            if url is None:
                self.lost.append(node)
            elif (found := attributes.picture(url)) is None:
                self.dropped.append(node)
            else:
                images += f'<img src="{escape(found)}" alt=""/>'
        self.pictures += bool(images)
        return rule.open(written, images)

    def resolve(self, ctx: "Context | None", elsewhere: Elsewhere) -> None:
        """Write the links to parts of narratives; one that leads nowhere keeps its text, and is an issue."""
        ids = ctx.doc.ids if ctx is not None else {}
        lost = [node for node in self.lost if not any(name in ids for name in node.get("referencedObject", "").split())]
        for mark, start, end, name, node in self.links:
            target = ids.get(name)
            if name in self.ids:
                url: str | None = anchor(self.prefix, name)
            else:
                url = elsewhere(target) if target is not None else None
            self.out[mark] = f"{start}{_attribute('href', url and '#' + url)}{end}"
            if url is None and target is None:
                lost.append(node)
        if ctx is not None:
            for node in lost[:_DANGLING_REPORTED]:
                ctx.issue("dangling-reference", node)

    def report(self, ctx: "Context") -> None:
        """What was left out, an issue a kind: markup without a counterpart, and what a revision deleted."""
        if self.dropped:
            ctx.issue("extra-value", self.dropped[0], "narrative markup that XHTML cannot hold; its text was kept")
        if self.deleted:
            ctx.issue("extra-value", self.deleted[0], "narrative that a revision deleted; it was suppressed")

    def div(self, written: str) -> str | None:
        """The whole, or None where there is nothing to read. Every text is escaped here."""
        texts = self.out[1::2]
        if not self.pictures and not any(map(str.strip, texts)):
            return None
        # All at once is three times as fast; what lxml holds has no U+0000.
        self.out[1::2] = escape_text("\0".join(texts)).split("\0")
        return f"{OPEN}{written}>{''.join(self.out)}</div>"


_Frame = tuple[Iterator["Element"], Mapping[Any, Rule], tuple[str, str] | None, str, tuple[str, ...], int]
_NOTHING: Final[Opened] = ("", "", "", 0)
_SPECIAL: Final[dict[str, Callable[[Writer, "Element", Rule, str, str], Opened | None]]] = {
    "caption": Writer.open_caption,
    "footnote": Writer.open_footnote,
    "footnoteRef": Writer.open_reference,
    "linkHtml": Writer.open_link,
    "list": Writer.open_list,
    "paragraph": Writer.open_paragraph,
    "renderMultiMedia": Writer.open_multimedia,
}


def _attribute(name: str, value: str | None) -> str:
    return f' {name}="{escape(value)}"' if value else ""


def _in_place(markup: str, text: str, stray: tuple[str, str] | None) -> tuple[str, ...]:
    """Markup, and the text after it within what it needs around it there; white space is nothing there."""
    if stray is None:
        return markup, text
    if not text or text.isspace():
        return markup, ""
    return markup + stray[0], text, stray[1], ""
