"""The narrative layer: `Narrative.div` is a harmless piece of XHTML with something to read.

A narrative ends up in browsers, so whatever could run is refused: unknown elements and attributes, event handlers,
links and styles that run code, document type declarations, entities other than XML's own. lxml parses, with neither
DTD nor network.

Source: FHIR R4 4.0.1 §2.4.0 (Narrative), constraints txt-1 and txt-2; the elements are HTML 4.0 chapters 7 to 11
(except §4 of chapter 9) and 15, and `a`, `img` with their attributes.
"""

import re

from lxml import etree

XHTML = "{http://www.w3.org/1999/xhtml}"

# HTML 4.0, chapters 7 to 11 and 15, without what carries scripts, forms or frames.
ELEMENTS = frozenset(
    """a abbr acronym address b bdo big blockquote br caption center cite code col colgroup dd dfn div dl dt em
    font h1 h2 h3 h4 h5 h6 hr i img kbd li ol p pre q s samp small span strike strong sub sup table tbody td
    tfoot th thead tr tt u ul var""".split()
)

# Attributes of every element; those of tables are among them, for HL7's validator has them there. Then those of some.
EVERYWHERE = frozenset(
    """abbr accesskey align axis char charoff class colspan dir headers id lang rowspan scope span style tabindex title
    valign width""".split()
) | {"{http://www.w3.org/XML/1998/namespace}lang", "{http://www.w3.org/XML/1998/namespace}space"}
ATTRIBUTES = {
    "a": "href name rel rev type hreflang charset shape coords",
    "blockquote": "cite",
    "br": "clear",
    "dl": "compact",
    "font": "size color face",
    "hr": "size noshade",
    "img": "src alt longdesc name height border hspace vspace usemap ismap",
    "li": "type value",
    "ol": "type start compact",
    "q": "cite",
    "table": "summary border frame rules cellspacing cellpadding bgcolor",
    "td": "height bgcolor nowrap",
    "th": "height bgcolor nowrap",
    "tr": "bgcolor",
    "ul": "type compact",
}
ALLOWED = {XHTML + name: EVERYWHERE | frozenset(ATTRIBUTES.get(name, "").split()) for name in ELEMENTS}

LINKS = frozenset({"href", "src", "cite", "longdesc"})
# Schemes that a viewer runs. Browsers skip control characters and white space before and inside a scheme.
_RUNS = re.compile(r"javascript:|vbscript:|data:(?!image/(?:png|gif|jpeg|bmp|webp)[;,])", re.IGNORECASE)
_SKIPPED = re.compile(r"[\x00-\x20]+")
_STYLE_RUNS = re.compile(r"expression\s*\(|javascript\s*:|@import|behaviou?r\s*:|-moz-binding|\\", re.IGNORECASE)

_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def narrative_fault(div: str) -> str | None:
    """What is wrong with a narrative, without a word of it; None where nothing is."""
    if "<!" in div and "<!DOCTYPE" in div.upper():
        return "narrative has a document type declaration"
    try:
        root = etree.fromstring(div, _PARSER)
    except (etree.XMLSyntaxError, ValueError):
        return "narrative is not well-formed XML"
    if root.tag != f"{XHTML}div":
        return "narrative is not a div of the XHTML namespace"
    for node in root.iter():
        fault = _node_fault(node)
        if fault is not None:
            return fault
    return None if _readable(root) else "narrative has nothing to read"


def _node_fault(node: etree._Element) -> str | None:
    """What is wrong with one node: its name, an attribute, or a link. Comments are harmless."""
    if isinstance(node, etree._Comment):
        return None
    allowed = ALLOWED.get(node.tag) if isinstance(node.tag, str) else None
    if allowed is None:
        return "narrative has an element or node that is not allowed"
    for name, value in node.attrib.items():
        if name not in allowed:
            return "narrative has an attribute that is not allowed"
        if name in LINKS and _RUNS.match(_SKIPPED.sub("", str(value))):
            return "narrative has a link that runs code"
        if name == "style" and _STYLE_RUNS.search(str(value)):
            return "narrative has a style that runs code"
    return None


def _readable(root: etree._Element) -> bool:
    """Whether there is text, or an image (txt-2)."""
    return any(text.strip() for text in root.itertext(with_tail=True)) or root.find(f".//{XHTML}img") is not None
