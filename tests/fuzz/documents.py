"""CDA documents for the fuzzer: a sample with its tree changed, one element of it, or any narrative at all.

A change is of the structure: an element goes, comes twice, stands elsewhere, comes from another sample; an attribute
gets a value that some sample has there, or one of `ODD`. So what is drawn stays XML, and gets behind the parser.
"""

import copy
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import Final

from lxml import etree

from mappings.cda.document import XSI_TYPE
from mappings.cda.element import V3
from mappings.cda.paths import STATEMENTS
from mappings.xml_parser import Element, parser
from tests.fuzz.choices import Choices
from tests.fuzz.lexemes import NUMBERS, WORDS
from tests.mappings.cda.datatypes.test_every_function import NAMES, TYPES
from tests.mappings.cda.documents import in_section, minimal
from tests.mappings.cda.narratives import ATTRIBUTES, HOSTILE, LINKS, NAMESPACES, STRUCDOC, VALUES, H
from tests.mappings.hl7v2.messages import ROOT

MOST_CHANGES = 24
MOST_NODES = 60  # of a narrative
_PATHS: Final = tuple(sorted((ROOT / "samples/cda").glob("*.xml")))
_DATATYPES: Final = tuple(f"{prefix}{kind}" for kind in TYPES for prefix in ("", "ns1:"))
NULLS: Final = ("NI", "UNK", "OTH", "MSK", "NA", "NAV", "NASK", "ASKU", "NINF", "PINF", "20200101", "", "x")
TIMES: Final = (
    "20260301", "2026", "202603011200", "20260301120000+0100", "20260301120000.123-0500", "20260301120000+0000", "00",
    "0000", "-99", "2400", "20260301240000", "99991231", "20260230", "2026-03-01", "",
)  # fmt: skip
ODD: Final[dict[str, tuple[str, ...]]] = {
    "value": (*NUMBERS, *TIMES, "#t1", "t1", "tel:+1", "mailto:", "http://[", "javascript:x", "%PDF"),
    "nullFlavor": NULLS,
    "negationInd": ("true", "false", "1", "0", "TRUE", "yes", ""),
    "inversionInd": ("true", "false", "x"),
    "moodCode": ("EVN", "INT", "RQO", "PRMS", "PRP", "GOL", "DEF", "EVN.CRT", "APT", "ARQ", "", "x"),
    "typeCode": ("SUBJ", "MFST", "RSON", "REFR", "COMP", "CAUS", "CSM", "PRD", "LOC", "DEV", "RPLC", "XFRM", "", "x"),
    "classCode": ("OBS", "ACT", "BATTERY", "CLUSTER", "SBADM", "SPLY", "PROC", "ENC", "DGIMG", "", "x"),
    "root": ("2.999.1", "2.16.840.1.113883.4.1", "2.16.840.1.113883.4.6", "2.16.840.1.113883.4.873", "urn:x", ""),
    "extension": ("1", "P1", "https://example.org/a/b", " ", "", "é", "x" * 300),
    "codeSystem": ("2.16.840.1.113883.6.1", "2.16.840.1.113883.6.96", "2.16.840.1.113883.5.4", "2.999", "x y", ""),
    "representation": ("B64", "TXT", "x"),
    "compression": ("DF", "GZ", "ZL", "x"),
    "institutionSpecified": ("true", "false", ""),
    "operator": ("A", "I", "E", "H", "x"),
    XSI_TYPE: _DATATYPES,
}  # fmt: skip


# samples --------------------------------------------------------------------------------------------------------------


@cache
def roots() -> tuple[Element, ...]:
    """The samples, parsed, each its own tree."""
    return tuple(etree.fromstring(path.read_bytes(), parser()) for path in _PATHS)


@cache
def elements() -> tuple[Element, ...]:
    """One element of each way in which it stands in a sample: its name and those of the two above it."""
    found: dict[tuple[str, ...], Element] = {}
    for root in roots():
        for el in root.iter():
            above = [str(each.tag) for each in el.iterancestors()][:2]
            found.setdefault((str(el.tag), *above), el)
    return tuple(found.values())


@cache
def tags() -> tuple[str, ...]:
    return tuple(sorted({str(el.tag) for el in elements()}))


@cache
def written() -> dict[str, tuple[str, ...]]:
    """Attribute → what the samples write there."""
    found: dict[str, set[str]] = defaultdict(set)
    for root in roots():
        for el in root.iter():
            for name, value in el.items():
                found[str(name)].add(str(value))
    return {name: tuple(sorted(values)) for name, values in sorted(found.items())}


# one change -----------------------------------------------------------------------------------------------------------

Change = Callable[[Choices, Element, list[Element]], None]


def lexeme(choices: Choices, name: str) -> str:
    """A value for an attribute: most often one that some sample has."""
    if choices.flip(150) and name in written():
        return choices.one(written()[name])
    return choices.one(ODD.get(name) or WORDS).replace("\x7f", " ")


def corrupt(choices: Choices, el: Element, among: list[Element]) -> None:
    name = choices.one([str(each) for each in el.keys()] or ["value"])
    el.set(name, lexeme(choices, name))


def add(choices: Choices, el: Element, among: list[Element]) -> None:
    name = choices.one((*ODD, *written()))
    el.set(name, lexeme(choices, name))


def strip(choices: Choices, el: Element, among: list[Element]) -> None:
    if names := el.keys():
        del el.attrib[choices.one(names)]


def retype(choices: Choices, el: Element, among: list[Element]) -> None:
    typed = [each for each in among if each.get(XSI_TYPE)]
    (choices.one(typed) if typed else el).set(XSI_TYPE, choices.one(_DATATYPES))


def nullify(choices: Choices, el: Element, among: list[Element]) -> None:
    if choices.flip(128):
        el.attrib.clear()
    el.set("nullFlavor", choices.one(NULLS))


def negate(choices: Choices, el: Element, among: list[Element]) -> None:
    said = [each for each in among if str(each.tag).rpartition("}")[2] in (*STATEMENTS, "entryRelationship")]
    (choices.one(said) if said else el).set("negationInd", choices.one(ODD["negationInd"]))


def renumber(choices: Choices, el: Element, among: list[Element]) -> None:
    numbers = [each for each in among if str(each.tag).endswith("}id")]
    if numbers:
        one, other = choices.one(numbers), choices.one(numbers)
        one.attrib.clear()
        one.attrib.update(dict(other.attrib))


def reword(choices: Choices, el: Element, among: list[Element]) -> None:
    el.text = choices.one(WORDS).replace("\x7f", " ")


def drop(choices: Choices, el: Element, among: list[Element]) -> None:
    if (above := el.getparent()) is not None:
        above.remove(el)


def double(choices: Choices, el: Element, among: list[Element]) -> None:
    if (above := el.getparent()) is not None:
        above.insert(choices.number(len(above) + 1), copy.deepcopy(el))


def move(choices: Choices, el: Element, among: list[Element]) -> None:
    where = choices.one(among)
    if el.getparent() is not None and where is not el and el not in where.iterancestors():
        where.insert(choices.number(len(where) + 1), el)


def rename(choices: Choices, el: Element, among: list[Element]) -> None:
    el.tag = choices.one(tags())


def graft(choices: Choices, el: Element, among: list[Element]) -> None:
    el.insert(choices.number(len(el) + 1), copy.deepcopy(choices.one(elements())))


def hollow(choices: Choices, el: Element, among: list[Element]) -> None:
    el[:] = []


CHANGES: Final[tuple[Change, ...]] = (
    corrupt, add, strip, retype, nullify, negate, renumber, reword, drop, double, move, rename, graft, hollow,
)  # fmt: skip


def change(choices: Choices, top: Element) -> None:
    """Some changes anywhere below an element, or of itself. What grows too large is left as it is."""
    for _ in range(MOST_CHANGES):
        if choices.ended:
            return
        among = list(top.iter())
        if len(among) > 4_000:
            return
        act = choices.one(CHANGES)
        act(choices, choices.one(among), among)


# what targets take ----------------------------------------------------------------------------------------------------


def changed(choices: Choices) -> bytes:
    """A sample with its tree changed; still a document, whatever became of its root's name."""
    root = copy.deepcopy(choices.one(roots()))
    change(choices, root)
    if not choices.flip(4):
        root.tag = f"{H}ClinicalDocument"
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True)


def datatype(choices: Choices) -> tuple[str, Element]:
    """The name of a datatype function, and an element of a sample, changed."""
    name = choices.one(NAMES)
    el = copy.deepcopy(choices.one(elements()))
    change(choices, el)
    return name, el


def narrative(choices: Choices) -> Element:
    """Any `text`: elements of CDA and of others anywhere, hostile attributes, comments and instructions."""
    top = etree.Element(f"{H}text")
    nodes = [top]
    while not choices.ended and len(nodes) < MOST_NODES:
        above = nodes[-1 - choices.number(min(len(nodes), 4))]
        kind = choices.number(20)
        if kind == 19:
            above.append(etree.Comment("<script>alert(1)</script>"))
            continue
        if kind == 18:
            above.append(etree.ProcessingInstruction("xml-stylesheet", "href='http://x'"))
            continue
        if kind > 13:
            namespace, name = choices.one(NAMESPACES), choices.one((*HOSTILE, *STRUCDOC))
        else:
            namespace, name = V3, choices.one(STRUCDOC)
        made = etree.SubElement(above, f"{{{namespace}}}{name}" if namespace else name)
        made.text, made.tail = (choices.one(WORDS).replace("\x7f", " ").replace("[", "(") for _ in range(2))
        for _ in range(choices.number(4)):
            attribute = choices.one(ATTRIBUTES)
            made.set(attribute, choices.one(LINKS if attribute.endswith(("href", "src")) else VALUES))
        nodes.append(made)
    return top


def seeds() -> tuple[bytes, ...]:
    """Documents to begin with, short and hostile."""
    plain = minimal(in_section('<entry><act classCode="ACT" moodCode="EVN"><code code="1"/></act></entry>', "48765-2"))
    text = plain.decode()
    wide = f'<?xml version="1.0" encoding="UTF-16"?>{text}'
    return (
        plain,
        wide.encode("utf-16"),
        f'<?xml version="1.0" encoding="ISO-8859-1"?>{text.replace("Ida", "Zoë")}'.encode("latin-1"),
        text.replace("Ida", "Zoë").encode("windows-1252"),
        b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + plain,
        f'<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x>{text}'.encode("utf-16"),
        b'<?xml version="1.0"?><?xml-stylesheet href="x"?><!-- c -->' + plain,
        plain.replace(b"Example", b"<![CDATA[Example]]>"),
        plain.replace(b"xmlns=", b"xmlns:a=").replace(b"<", b"<a:").replace(b"<a:/", b"</a:"),
        b"<a>" * 300,
        *(path.read_bytes() for path in _PATHS),
    )
