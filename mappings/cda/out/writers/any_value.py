"""Whatever a value is: `value[x]` as the datatype that holds it, with its xsi:type.

Source: HL7 v3 datatypes R1; FHIR R4 Observation.value[x]. `mappings/cda/datatypes/any_value.py` reads them.
"""

from collections.abc import Callable
from typing import Any

from mappings.cda.out.writers import coded, quantities, text, times
from mappings.cda.out.writers.identifiers import flavor_of, is_flavored
from mappings.cda.out.writing import Out, Writer, element, typed
from mappings.fhir.fhirpath import Node
from mappings.fhir.values import REASONS
from mappings.xml_parser import Element


def any_value(node: Node, tag: str, out: Out) -> Element | None:
    """By the type of the node."""
    shape = _SHAPES.get(node[0])
    if shape is None:
        out.issue("no-datatype")
        return None
    found = shape(node, tag, out)
    return None if found is None else typed(found[1], found[0])


def _as(kind: str, writer: Callable[[Node, str, Out], Any]) -> Callable[[Node, str, Out], "tuple[str, Element] | None"]:
    def shape(node: Node, tag: str, out: Out) -> tuple[str, Element] | None:
        made = writer(node, tag, out)
        return None if made is None else (kind, made)

    return shape


def _quantity(node: Node, tag: str, out: Out) -> tuple[str, Element] | None:
    return quantities.quantity(node[1], tag, out)


_SHAPES: dict[str, Callable[[Node, str, Out], "tuple[str, Element] | None"]] = {
    "Quantity": _quantity, "SimpleQuantity": _quantity, "Age": _quantity, "Duration": _quantity,
    "CodeableConcept": _as("CD", coded.cd), "string": _as("ST", text.st), "boolean": _as("BL", text.bl),
    "integer": _as("INT", text.integer), "Range": _as("IVL_PQ", quantities.ivl_pq),
    "Ratio": _as("RTO_PQ_PQ", quantities.rto), "dateTime": _as("TS", times.ts), "Period": _as("IVL_TS", times.ivl_ts),
    "time": _as("ST", text.st),
}  # fmt: skip


def absent(node: Node, tag: str, out: Out) -> Element | None:
    """A dataAbsentReason, as the null flavor of the value it stands for."""
    for coding in node[1].get("coding", ()):
        if coding.get("system") == REASONS and coding.get("code"):
            out.mark_all(coding)
            if not is_flavored(str(coding["code"])):
                out.left_out("a reason that has no null flavor")
            return typed(element(tag, nullFlavor=flavor_of(str(coding["code"]))), "CD")
    return None


WRITERS: dict[str, Writer] = {"ANY": any_value, "ANY.absent": absent}
