"""A guarded CDA document: the bytes as received, their lxml tree, and the indexes that everything else reads it by.

Rules, each with its test in `test_hostile_xml.py`:

1. Size is bounded before the parser runs, elements, attributes and depth after it; libxml2 bounds depth, names and
   entities itself.
2. Neither DTD nor entity nor network: `mappings/xml_parser.py` makes the parser.
3. A DOCTYPE is refused once parsed, so that no encoding hides it.
4. Only encodings that health records use, and a text node over 10 MB (an embedded file) only where none of 2 and 3 can
   hide: its second parse has no limits of libxml2's.
5. A parser error says line, column and libxml2's name of it; its text may quote the document.

Source: CDA R2 §4.2 (ClinicalDocument), §4.3.5 (narrative and its ID); XML 1.0 §2.8 and §4.3.3.
"""

import codecs
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from lxml import etree

from mappings.cda.element import V3, Element, copied
from mappings.cda.errors import UnreadableDocument
from mappings.cda.place import XmlPlace
from mappings.issues import Issue, issue
from mappings.xml_parser import BEYOND, RESOURCE_LIMIT, name_of, tree

XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
XSI_TYPE: Final = f"{{{XSI}}}type"
ROOT: Final = f"{{{V3}}}ClinicalDocument"
_SECTION: Final = f"{{{V3}}}section"

_LONGEST_STEP: Final = 64  # characters of a name in a path

_WIDE: Final = "UTF-16"
_ALLOWED: Final = re.compile(
    r"UTF-?8|UTF-?16(?:LE|BE)?|(?:US-)?ASCII|ISO[-_]?8859[-_][0-9]{1,2}|LATIN-?1|(?:WINDOWS-|CP)125[0-8]",
    re.IGNORECASE,
)
_LATIN1: Final = re.compile(r"ISO[-_]?8859[-_]1|LATIN-?1", re.IGNORECASE)
_DECLARATION: Final = re.compile(rb"<\?xml\s[^>]{0,1000}?encoding\s*=\s*[\"']([A-Za-z0-9._:-]{1,64})[\"']")
# what ISO 8859-1 has control codes for and windows-1252 has letters for, and what neither has
_LETTERS_OF_1252: Final = re.compile(rb"[\x80\x82-\x8c\x8e\x91-\x9c\x9e\x9f]")
_NOT_IN_1252: Final = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_LOINC: Final = re.compile(r"[0-9]{1,7}-[0-9]")
_LIBXML2_DEPTH: Final = 256  # without huge_tree
_SHORTEST_ELEMENT: Final = 4  # bytes of `<a/>`


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stranger can make us hold; beyond it a document is refused (`over-limit`)."""

    bytes: int = 20_000_000
    elements: int = 500_000
    attributes: int = 256  # of one element
    depth: int = 256
    seconds: float = 20.0  # for the edge that runs a conversion: the core has no clock, bytes and elements bound it
    text: int = 10_000_000  # of one text node: libxml2's own bound; a longer document may be parsed without it


def type_of(el: Element) -> str:
    """The local name of xsi:type, whatever prefix the sender bound: `ns1:PQ` is PQ. "" where there is none."""
    return el.get(XSI_TYPE, "").rpartition(":")[2].strip()


class Document:
    """One ClinicalDocument."""

    __slots__ = (
        "_ordinals",
        "_paths",
        "_tagged",
        "digest",
        "elements",
        "encoding",
        "flavored",
        "ids",
        "issues",
        "raw",
        "root",
    )

    def __init__(self, raw: bytes, elements: list[Element], encoding: str, issues: list[Issue]) -> None:
        self.raw = raw
        self.digest = hashlib.sha256(raw).digest()
        self.root = elements[0]
        self.encoding = encoding
        self.issues = issues
        self.elements = elements
        self._tagged: dict[str, list[Element]] | None = None
        self._ordinals: dict[Element, str] = {}
        self._paths: dict[Element, str] = {}
        self.ids = self._index_ids([el for el in elements if "ID" in el.attrib])
        self.flavored = [el for el in elements if "nullFlavor" in el.attrib]

    def __del__(self) -> None:
        """Elements name each other: without this they would stay until the collector looks for cycles."""
        for el in self.elements:
            el.parent = None

    def every(self, *tags: str) -> list[Element]:
        """All elements of these tags, in their order."""
        if self._tagged is None:
            self._tagged = {}
            for el in self.elements:
                if (same := self._tagged.get(el.tag)) is None:
                    self._tagged[el.tag] = [el]
                else:
                    same.append(el)
        there = {tag for tag in tags if tag in self._tagged}
        if len(there) < 2:
            return [el for tag in there for el in self._tagged[tag]]
        return [el for el in self.elements if el.tag in there]

    def place(self, el: Element, attribute: str = "") -> XmlPlace:
        """Where an element, or an attribute of it, stands: from the outermost section, else from below the root."""
        path = self._path(el)
        return XmlPlace(f"{path}/@{_name(attribute)}" if attribute else path, el.sourceline or 0)

    def _path(self, el: Element) -> str:
        """The path, remembered for what stands beside and below: reports name many elements of one entry."""
        chain: list[Element] = []
        here: Element | None = el
        while here is not None and here not in self._paths and (here is not self.root or here is el):
            chain.append(here)
            here = here.parent
        if not chain:
            return self._paths[el]
        path = self._paths[here] if here is not None and here is not self.root else ""
        for node in reversed(chain):
            if node.tag == _SECTION:  # without its `component`, or all that leads to the body
                path = path.rpartition("/")[0] if path.startswith("section[") else ""
            path = self._paths[node] = f"{path}/{self._step(node)}" if path else self._step(node)
        return path

    def _step(self, el: Element) -> str:
        if el is self.root:
            return "ClinicalDocument"
        name = _name(el.short)
        if el not in self._ordinals:
            self._number(el)
        return name + self._ordinals[el]

    def _number(self, el: Element) -> None:
        """Number an element and its siblings of one name: once, for a document may hold 100,000 of them."""
        above = el.parent
        if above is None:
            self._ordinals[el] = ""
        elif el.tag == f"{{{V3}}}section":
            self._number_sections(above)
        else:
            same = above.kids[el.short]
            for nth, sibling in enumerate(same, 1):
                always = sibling.tag == f"{{{V3}}}entry"
                self._ordinals[sibling] = f"[{nth}]" if always or len(same) > 1 else ""

    def _number_sections(self, component: Element) -> None:
        """Sections are known by their code; numbered where it is no LOINC code, or where several have one."""
        body = component.parent
        beside = body.named("component") if body is not None else []
        if component not in beside:
            beside = [component]
        codes: dict[str, list[Element]] = {}
        sections = [each for sibling in beside for each in sibling.named("section")]
        for nth, section in enumerate(sections, 1):
            code = next((each.get("code", "").strip() for each in section.named("code")), "")
            if _LOINC.fullmatch(code):
                codes.setdefault(code, []).append(section)
            else:
                self._ordinals[section] = f"[{nth}]"
        for code, named in codes.items():
            for nth, section in enumerate(named, 1):
                self._ordinals[section] = f"[{code}][{nth}]" if len(named) > 1 else f"[{code}]"

    def _index_ids(self, named: list[Element]) -> dict[str, Element]:
        """@ID to its element. The first of two wins, unless the second is narrative and the first is not."""
        ids: dict[str, Element] = {}
        repeated: set[str] = set()
        for el in named:
            if not (name := el.get("ID", "").strip()):
                continue
            first = ids.setdefault(name, el)
            if first is not el:
                if name not in repeated:
                    self.issues.append(issue("duplicate-id", self.place(el)))
                repeated.add(name)
                if _is_narrative(el) and not _is_narrative(first):
                    ids[name] = el
        return ids


def parse(data: bytes, limits: Limits = Limits()) -> Document:
    """The document in these bytes. Raises UnreadableDocument, whose text never holds a word of them."""
    if len(data) > limits.bytes:
        raise UnreadableDocument("over-limit", text=f"more than {limits.bytes} bytes")
    if len(data) > limits.elements * _SHORTEST_ELEMENT and data.count(b"<") - data.count(b"</") > limits.elements:
        raise UnreadableDocument("over-limit", text=f"more than {limits.elements} elements")
    issues: list[Issue] = []
    root, encoding, huge = _parse(data, limits, issues)
    info = root.getroottree().docinfo
    if info.internalDTD is not None or info.doctype:
        raise UnreadableDocument("doctype-refused", XmlPlace("document"))
    if not _ALLOWED.fullmatch(info.encoding or ""):
        raise _unread_encoding()
    if root.tag != ROOT:
        raise UnreadableDocument("not-a-document", XmlPlace("document", root.sourceline or 0))
    return Document(data, _elements(root, huge, limits), encoding, issues)


def _parse(data: bytes, limits: Limits, issues: list[Issue]) -> tuple[etree._Element, str, bool]:
    """(root, encoding, whether it took the parse without limits). Only a wrong character set is repaired."""
    declared = _declared(data)
    if declared and not _ALLOWED.fullmatch(declared):
        raise _unread_encoding()
    encoding, forced = declared or "UTF-8", None
    if _LATIN1.fullmatch(declared) and _LETTERS_OF_1252.search(data) and not _NOT_IN_1252.search(data):
        encoding = forced = "windows-1252"  # as the WHATWG Encoding Standard reads that label
        issues.append(issue("charset-lies", XmlPlace("document", 1)))
    elif not declared and not _is_utf8(data):
        encoding = forced = "windows-1252"
        issues.append(issue("charset-guessed", XmlPlace("document", 1)))
    huge = False
    try:
        return tree(data, forced), encoding, False
    except etree.XMLSyntaxError as error:
        huge = error.code == RESOURCE_LIMIT and len(data) > limits.text and _may_be_huge(data, encoding)
        unreadable = _unreadable(error)
    if huge:
        try:  # the encoding is forced to the one in which no DOCTYPE was found
            return tree(data, encoding, huge_tree=True), encoding, True
        except etree.XMLSyntaxError as error:
            unreadable = _unreadable(error)
    raise unreadable  # out here: where libxml2's error is handled it would go along as the context, with its text


def _may_be_huge(data: bytes, encoding: str) -> bool:
    return not encoding.upper().startswith(_WIDE) and b"<!DOCTYPE" not in data


def _declared(data: bytes) -> str:
    """The encoding by byte order mark or declaration; "" where there is neither, which makes it UTF-8."""
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "UTF-32"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b"<\0?\0", b"\0<\0?")):
        return _WIDE
    if data.startswith(codecs.BOM_UTF8):
        return "UTF-8"
    found = _DECLARATION.match(data)
    return found[1].decode("ascii") if found else ""


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _elements(root: etree._Element, huge: bool, limits: Limits) -> list[Element]:
    """All elements, once the limits hold that only the tree can tell."""
    found = copied(root, limits.elements)
    if found is None:
        raise UnreadableDocument("over-limit", text=f"more than {limits.elements} elements")
    elements, widest, deepest = found
    if widest > limits.attributes:
        raise UnreadableDocument("over-limit", text=f"more than {limits.attributes} attributes on an element")
    if deepest > limits.depth and (limits.depth < _LIBXML2_DEPTH or huge):  # otherwise libxml2 has seen to it
        raise UnreadableDocument("over-limit", text=f"elements more than {limits.depth} deep")
    return elements


def _unreadable(error: etree.XMLSyntaxError) -> UnreadableDocument:
    """Ours for libxml2's: its name, line and column."""
    line, column = error.position
    code = "over-limit" if error.code in BEYOND else "not-xml"
    return UnreadableDocument(code, XmlPlace("document", line), f"column {column}, {name_of(error)}")


def _unread_encoding() -> UnreadableDocument:
    return UnreadableDocument("not-xml", XmlPlace("document", 1), "its encoding is none of those that are read")


def _name(tag: str) -> str:
    """A step of a path: no namespace, and no longer than a name of CDA could be."""
    return tag.rpartition("}")[2][:_LONGEST_STEP]


def _is_narrative(el: Element) -> bool:
    """Whether it stands in the `text` of a section."""
    return any(
        above.tag == f"{{{V3}}}text" and (owner := above.parent) is not None and owner.tag == f"{{{V3}}}section"
        for above in (el, *el.iterancestors())
    )
