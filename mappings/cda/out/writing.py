"""The surroundings of a writer: kind of document, language, names of systems, what was read, what was left out.

A writer takes one FHIRPath node and the tag to write, and gives an element, several, or None where there is nothing to
say; it never gives an element that says nothing. Values become text and attributes of lxml elements, never markup.
Source: CDA R2; HL7 v3 datatypes R1.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from lxml import etree

from mappings.cda.document import XSI_TYPE
from mappings.cda.narrative.attributes import FORBIDDEN
from mappings.cda.out.settings import Writing
from mappings.cda.out.targets import NAMESPACES, PHARMACY
from mappings.cda.place import XmlPlace
from mappings.fhir.fhirpath import Node
from mappings.issues import Issue, issue
from mappings.outbound.reading import Taken
from mappings.terminology.concept_map import ConceptMap
from mappings.xml_parser import Element

__all__ = ["Out", "Writer", "element", "said", "typed"]


@dataclass(slots=True)
class Out(Taken):
    """What writers see."""

    writing: Writing = field(default_factory=lambda: Writing(""))
    kind: str = "ccd"
    language: str = ""  # of the document: BCP 47
    issues: list[Issue] = field(default_factory=list)
    where: list[str] = field(default_factory=list)  # the path of what is being written
    target: str = ""
    row: str = ""
    vocab: ConceptMap | None = None
    value: str = ""  # of the row: the code system of mapped codes
    declared: str = ""  # datatype of the element that is written

    def issue(self, code: str, detail: str = "") -> None:
        path = "/".join([*self.where, self.target] if self.target else self.where)
        self.issues.append(issue(code, XmlPlace(path), row=self.row, detail=detail))

    def left_out(self, what: str) -> None:
        self.issue("left-out", what)


Writer: TypeAlias = Callable[[Node, str, Out], "Element | list[Element] | None"]


def element(tag: str, text: str = "", **attributes: str) -> Element:
    """An element by its Clark name; attributes without a value are left out."""
    spaces = NAMESPACES | ({"epsos": PHARMACY} if tag.startswith(f"{{{PHARMACY}}}") else {})
    made = etree.Element(tag, nsmap=spaces)
    for name, value in attributes.items():
        if value:
            made.set(name, said(value))
    if text:
        made.text = said(text)
    return made


def typed(made: Element, kind: str) -> Element:
    """The same with its xsi:type."""
    made.set(XSI_TYPE, kind)
    return made


def said(text: str) -> str:
    """A text as XML can hold it."""
    return FORBIDDEN.sub("", text)
