"""Narratives for tests: a section's `text` from its markup, its visible text read independently, any tree at all, and
whether what became of it is harmless."""

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st
from lxml import etree

from mappings.cda.context import Context
from mappings.cda.document import Document, parse
from mappings.cda.element import V3, Element, copied
from mappings.cda.narrative.elements import ROWS
from mappings.fhir.narrative import narrative_fault
from mappings.xml_parser import parser

H = f"{{{V3}}}"
STRUCDOC = (
    "content linkHtml sub sup br footnote footnoteRef renderMultiMedia paragraph list item table thead tbody tfoot tr "
    "th td col colgroup caption text"
).split()
HOSTILE = (
    "script", "style", "iframe", "object", "embed", "form", "input", "svg", "math", "base", "meta", "link", "img", "b",
    "div", "SCRIPT", "noscript", "template", "foreignObject", "xmp", "plaintext",
)  # fmt: skip
NAMESPACES = (V3, "http://www.w3.org/1999/xhtml", "http://www.w3.org/2000/svg", "urn:x", "")
LINKS = (
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\nscript:alert(1)", "\tjavascript:x",
    "vbscript:x", "data:text/html,<script>alert(1)</script>", "DATA:text/html;base64,PHNjcmlwdD4=", "file:///etc/passwd",
    "//example.org/x", "ftp://example.org/", "blob:x", "view-source:http://x", "http:javascript", "https://example.org/a",
    "mailto:a@example.org", "#a", "#b", "# a", "#", "", "x.pdf", 'https://example.org/"onclick="x', "https://e.org/\u00a0",
    "javascript&colon;x", "https://example.org/<b>", "{{x}}", "HTTPS://EXAMPLE.ORG/",
)  # fmt: skip
ATTRIBUTES = (
    "ID", "styleCode", "language", "listType", "colspan", "rowspan", "scope", "revised", "IDREF", "referencedObject",
    "href", "onclick", "onload", "style", "src", "class", "id", "name", "xmlns", "background", "formaction", "srcdoc",
    "{http://www.w3.org/1999/xlink}href", "{urn:x}onclick",
)  # fmt: skip
VALUES = (
    "a", "b", "a b", "Bold", "Bold Italics xEvil", "ordered", "delete", "insert", "2", "0", "-1", "99999", "row", "en",
    "de-CH", "alert(1)", '"><script>', "' onx='", "<b>&amp;", "]]>", "{{x}}", "${x}", "url(http://x)", "&#106;x",
)  # fmt: skip
XHTML = "{http://www.w3.org/1999/xhtml}"
MAY_STAND = {
    XHTML + name for name in "div span p a br sub sup ul ol li table caption thead tbody tfoot tr th td img".split()
}
MAY_SAY = {"id", "class", "lang", "href", "src", "alt", "colspan", "rowspan", "scope"}
LEADS = re.compile(r"(?:https?://|mailto:)[^\s\"'<>]+|#s1-.+", re.IGNORECASE)
SHOWS = re.compile(r"data:image/(?:png|jpeg|gif);base64,[A-Za-z0-9+/=]+|Binary/[A-Za-z0-9.-]+")
TEXTS = st.one_of(
    st.sampled_from(
        (
            "",
            " ",
            "\n  ",
            "Ida",
            "10 mg",
            "<script>alert(1)</script>",
            "&amp;",
            "]]>",
            "a\u00a0b",
            "{{x}}",
            "\r\n",
            "é",
            "𝒳",
        )
    ),
    st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="[\ufffe\uffff"), max_size=6),
)


def document(body: str, more: str = "") -> Document:
    """A document with one section, whose `text` holds this markup, and whatever follows that section."""
    markup = f"<component><section><text>{body}</text></section></component>{more}"
    return parse(
        f'<ClinicalDocument xmlns="{V3}"><component><structuredBody>{markup}</structuredBody></component>'
        "</ClinicalDocument>".encode()
    )


def context(doc: Document) -> Context:
    return Context(doc, SimpleNamespace(zone=None, cda=SimpleNamespace(zero_offset="verify")))


def around(top: Element) -> Context:
    """The context of a document that holds this `text` in its section."""
    doc = document("")
    old = text_of(doc)
    assert old.parent is not None
    top.parent = old.parent
    old.parent.children[:] = old.parent.kids["text"][:] = [top]
    return context(doc)


def text_of(doc: Document) -> Element:
    return next(text for section in doc.root.iter(f"{H}section") for text in section.findall(f"{H}text"))


def grown(top: Any) -> Element:
    """Elements of lxml's as a document has them."""
    found = copied(top, 1_000)
    assert found is not None
    return found[0][0]


@st.composite
def trees(draw: st.DrawFn) -> Element:
    """Any `text`: elements of CDA and of others anywhere, any attributes, comments and instructions, and texts."""
    top = etree.Element(H + "text")
    open_ = [top]
    top.text = draw(TEXTS)
    for _ in range(draw(st.integers(0, 14))):
        above = open_[draw(st.integers(max(0, len(open_) - 4), len(open_) - 1))]
        kind = draw(st.integers(0, 19))
        if kind == 0:
            made: Any = etree.Comment("<script>alert(1)</script>")
            above.append(made)
        elif kind == 1:
            made = etree.ProcessingInstruction("xml-stylesheet", "href='http://x'")
            above.append(made)
        else:
            if kind < 16:
                tag = H + draw(st.sampled_from(STRUCDOC))
            else:
                namespace = draw(st.sampled_from(NAMESPACES))
                name = draw(st.sampled_from((*HOSTILE, *STRUCDOC)))
                tag = f"{{{namespace}}}{name}" if namespace else name
            made = etree.SubElement(above, tag)
            made.text = draw(TEXTS)
            for name in draw(st.lists(st.sampled_from(ATTRIBUTES), max_size=3, unique=True)):
                made.set(name, draw(st.sampled_from(LINKS if name.endswith(("href", "src")) else VALUES)))
            open_.append(made)
        made.tail = draw(TEXTS)
    return grown(top)


def visible(top: Any) -> str:
    """What a reader of a `text` sees, without white space and the numbers of footnotes: an account of its own."""
    return squeezed(top.text or "") + "".join(_visible(child) for child in top)


def _visible(node: Any) -> str:
    shown = ""
    if node.tag and isinstance(node.tag, str) and node.get("revised") != "delete":
        shown = visible(node)
    return shown + squeezed(node.tail or "")


def squeezed(text: str) -> str:
    return "".join(text.split())


def local(node: Any) -> str:
    return str(node.tag).removeprefix(H)


def fits(top: Any) -> Iterator[str]:
    """Where a `text` breaks the content model of CDA."""
    for node in top.iter():
        row = ROWS[local(node)]
        yield from (f"{row.element}/{name}" for name in map(local, node) if name not in row.allows)
        texts = [node.text, *(child.tail for child in node)]
        if row.holds != "flow" and any(text and text.strip() for text in texts):
            yield f"text in {row.element}"


def harmless(div: str) -> Any:
    """The tree of a narrative, once nothing in it can run, and nothing but a link leads out of it."""
    assert narrative_fault(div) is None
    root = etree.fromstring(div, parser())
    ids = [node.get("id") for node in root.iter() if node.get("id")]
    assert len(ids) == len(set(ids))
    for node in root.iter():
        assert node.tag in MAY_STAND
        assert set(node.attrib) <= MAY_SAY
        href, src = node.get("href"), node.get("src")
        assert href is None or (node.tag == f"{XHTML}a" and LEADS.fullmatch(href))
        assert href is None or not href.startswith("#") or href[1:] in ids
        assert src is None or (node.tag == f"{XHTML}img" and SHOWS.fullmatch(src))
    return root
