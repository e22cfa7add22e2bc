"""The elements of a document as everything here reads them: a copy of lxml's, made once, in one pass.

lxml makes an object of an element each time it is asked for, and decodes a name or a value each time it is read. A
document is read many times over, by rows, rules and reports: so each element is copied once, with its attributes and
texts, its children by name and the element around it; lxml's tree is let go.

    elements, widest, deepest = copied(root, 500_000)

The names of its methods are lxml's; what they give is read and never changed. An element knows what is around it for as
long as its document is held.
Source: CDA R2, the namespaces of its elements.
"""

import sys
from collections.abc import Iterator
from typing import Any, Final, overload

from lxml import etree

V3: Final = "urn:hl7-org:v3"
SDTC: Final = "urn:hl7-org:sdtc"
_PHARMACY: Final = "pharm:"
_PREFIXES: Final = {
    V3: "",
    SDTC: "sdtc:",
    "urn:hl7-org:pharm": _PHARMACY,  # eHDSI from its wave 7
    "urn:epsos-org:ep:medication": _PHARMACY,  # eHDSI before
}
_TAGS_REMEMBERED: Final = 4_096  # CDA with its extensions has some four hundred; a stranger's inventions are not kept
_LONGEST_TAG: Final = 128
NO_TAG: Final = ""  # of a comment or an instruction, where somebody else has parsed


class _Tags(dict[str, tuple[str, str]]):
    """Tag -> (the same tag, its short form): of each there is one string, the one that our code names it by, too, for
    what is the same object is found at once."""

    def __missing__(self, tag: str) -> tuple[str, str]:
        namespace, brace, name = tag[1:].partition("}") if tag.startswith("{") else ("", "", tag)
        prefix = _PREFIXES.get(namespace) if brace else None
        tag = sys.intern(tag)
        found = tag, tag if prefix is None else sys.intern(prefix + name)
        if len(self) < _TAGS_REMEMBERED and len(tag) <= _LONGEST_TAG:
            self[tag] = found
        return found


_TAGS: Final = _Tags()


def short(tag: str) -> str:
    """`value` for `{urn:hl7-org:v3}value`, `sdtc:raceCode`, `pharm:asContent`; other namespaces stay in full."""
    return _TAGS[tag][1]


class Element:
    """One element. `kids["value"]`: its children of that short tag, in order."""

    __slots__ = ("attrib", "children", "kids", "parent", "short", "sourceline", "tag", "tail", "text")

    def __init__(self, tag: str, attrib: dict[str, str], parent: "Element | None", line: int) -> None:
        self.tag, self.short = _TAGS[tag]
        self.attrib = attrib
        self.text: str | None = None
        self.tail: str | None = None
        self.parent: Element | None = parent
        self.children: list[Element] = _NONE
        self.kids: dict[str, list[Element]] = _NO_KIDS
        self.sourceline = line  # that it begins in; 0 where nobody knows

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: str) -> str: ...
    def get(self, name: str, default: str | None = None) -> str | None:
        """An attribute."""
        return self.attrib.get(name, default)

    def named(self, name: str) -> "list[Element]":
        """The children of a short tag."""
        found = self.kids.get(name)
        return _NONE if found is None else found

    def first(self, name: str) -> "Element | None":
        """The first child of a short tag."""
        found = self.kids.get(name)
        return None if found is None else found[0]

    def items(self) -> list[tuple[str, str]]:
        return list(self.attrib.items())

    def getparent(self) -> "Element | None":
        return self.parent

    def __len__(self) -> int:
        return len(self.children)

    def __iter__(self) -> "Iterator[Element]":
        return iter(self.children)

    def __getitem__(self, index: int) -> "Element":
        return self.children[index]

    def iter(self, *tags: str) -> "Iterator[Element]":
        """Itself and all in it, in their order: of these tags, or all. `{*}value` is a name of any namespace."""
        return iter(self.within(*tags))

    def within(self, *tags: str) -> "list[Element]":
        """The same as a list."""
        found: list[Element] = []
        stack: list[Element] = [self]
        every = not tags or tags == ("*",)
        anywhere = [tag[3:] for tag in tags if tag.startswith("{*}")]
        while stack:
            here = stack.pop()
            tag = here.tag
            if every or tag in tags or (anywhere and tag.rpartition("}")[2] in anywhere):
                found.append(here)
            if here.children:
                stack.extend(reversed(here.children))
        return found

    def iterancestors(self, *tags: str) -> "Iterator[Element]":
        found: list[Element] = []
        here = self.parent
        while here is not None:
            if not tags or here.tag in tags:
                found.append(here)
            here = here.parent
        return iter(found)

    def iterchildren(self, *tags: str) -> "Iterator[Element]":
        return iter([each for each in self.children if not tags or each.tag in tags])

    def findall(self, tag: str) -> "list[Element]":
        """The children of a tag."""
        return [each for each in self.children if each.tag == tag]

    def itertext(self) -> "Iterator[str]":
        return iter(self.texts())

    def texts(self) -> list[str]:
        """Every text in it, in order."""
        found = [self.text] if self.text else []
        for child in self.children:
            found += child.texts()
            if child.tail:
                found.append(child.tail)
        return found


def alike(one: Element, other: Element) -> bool:
    """Whether two elements say the same to the letter, with all in them."""
    if one.tag != other.tag or one.text != other.text or one.attrib != other.attrib:
        return False
    if len(one.children) != len(other.children):
        return False
    for index, child in enumerate(one.children):
        beside = other.children[index]
        if child.tail != beside.tail or not alike(child, beside):
            return False
    return True


_NONE: Final[list[Element]] = []
_NO_KIDS: Final[dict[str, list[Element]]] = {}
_NO_ATTRIBUTES: Final[dict[str, str]] = {}


def copied(root: etree._Element, most: int) -> tuple[list[Element], int, int] | None:
    """All elements in their order, the most attributes of one, the deepest level; None for more than `most`."""
    found: list[Element] = []
    of_pharmacy: list[Element] = []
    names: dict[str, str] = {}  # of attributes: of each there is one string
    widest = deepest = left = 0
    above: list[tuple[Element | None, int]] = []  # what is open around `parent`, with how many children to come
    parent: Element | None = None
    for source in root.iter():
        while parent is not None and left == 0:
            parent, left = above.pop()
        tag: Any = source.tag
        written: list[tuple[str, str]] = source.items()
        attrib = _NO_ATTRIBUTES
        if written:
            attrib = {}
            for name, value in written:
                known = names.get(name)
                if known is None:
                    known = names[name] = sys.intern(name)
                attrib[known] = value
        made = Element(tag if isinstance(tag, str) else NO_TAG, attrib, parent, source.sourceline or 0)
        made.text = source.text
        made.tail = source.tail
        found.append(made)
        if len(found) > most:
            return None
        if len(written) > widest:
            widest = len(written)
        if len(above) >= deepest:
            deepest = len(above) + 1
        if parent is not None:
            parent.children.append(made)
            if (same := parent.kids.get(made.short)) is None:
                parent.kids[made.short] = [made]
            else:
                same.append(made)
            left -= 1
        inside = len(source)
        if inside:
            made.children = []
            made.kids = {}
            above.append((parent, left))
            parent, left = made, inside
            if made.short.startswith(_PHARMACY):
                of_pharmacy.append(made)
    for each in of_pharmacy:
        _also_bare(each)
    return found, widest, deepest


def tags_of(name: str) -> tuple[str, ...]:
    """Every tag under which a child can be found by this short name: HL7's, a pharmacy's, and one of no namespace."""
    return (name, *(f"{{{space}}}{name}" for space, prefix in _PREFIXES.items() if prefix in ("", _PHARMACY)))


def _also_bare(el: Element) -> None:
    """Inside an element of a pharmacy namespace its own children go by their bare names, too: their datatypes are
    HL7's."""
    for tag in [each for each in el.kids if each.startswith(_PHARMACY)]:
        bare = tag.removeprefix(_PHARMACY)
        el.kids[bare] = [each for each in el.children if each.short in (tag, bare)]
