"""Texts, booleans and whole numbers: ST, ED, BL, INT; and the row of the narrative that a statement refers to.

Source: HL7 v3 datatypes R1, ST, ED, BL, INT; FHIR R4 string, markdown, boolean, integer.
"""

from mappings.cda.out.writing import Out, Writer, element
from mappings.fhir.fhirpath import Node
from mappings.xml_parser import Element


def st(node: Node, tag: str, out: Out) -> Element | None:
    """A text as it is."""
    out.mark(node[1])
    found = "" if node[1] is None or isinstance(node[1], dict) else str(node[1])
    return element(tag, found) if found.strip() else None


def annotation(node: Node, tag: str, out: Out) -> Element | None:
    """The words of an Annotation."""
    found = out.text(node[1], "text")
    return element(tag, found) if found.strip() else None


def bl(node: Node, tag: str, out: Out) -> Element | None:
    if not isinstance(node[1], bool):
        return None
    return element(tag, value="true" if node[1] else "false")


def integer(node: Node, tag: str, out: Out) -> Element | None:
    out.mark(node[1])
    return None if node[1] is None else element(tag, value=str(node[1]))


def plus_one(node: Node, tag: str, out: Out) -> Element | None:
    """A count of repeats as CDA counts, with the first."""
    out.mark(node[1])
    return None if node[1] is None else element(tag, value=str(int(node[1]) + 1))


WRITERS: dict[str, Writer] = {
    "ST": st, "ED": st, "ED.note": annotation, "BL": bl, "INT": integer, "INT.plus-one": plus_one,
}  # fmt: skip
