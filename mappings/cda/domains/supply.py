"""Supplies: what was dispensed, and what is ordered from a pharmacy.

A supply of a device, by its template or because a device takes part in it, is the device domain's. One that stands
inside of a medication is a part of its order (`medication.py`) or a dispense of it.
Source: C-CDA R2.1 (medication supply order, medication dispense); C-CDA on FHIR, medications; IHE PCC TF-2 6.3.4.18;
eHDSI eDispensation (dispensed medicine entry).
"""

from typing import Any, Final

from mappings.cda.bare import names_nothing
from mappings.cda.datatypes.registry import datatype
from mappings.cda.domains import entry_reference
from mappings.cda.domains.medication import ORDERS, owner
from mappings.cda.domains.product import is_specific
from mappings.cda.element import Element
from mappings.cda.handlers import HANDLERS, handles
from mappings.cda.named import resolver
from mappings.cda.paths import parse_paths, reader
from mappings.cda.walk import Walk
from mappings.terminology.concept_map import ConceptMap

Json = dict[str, Any]

_REQUEST: Final = "MedicationRequest/"
_ORDERED: Final = frozenset({"MedicationRequest"})

(_device,) = (reader(ref) for ref in parse_paths("participant/participantRole/playingDevice"))
_orders = tuple(
    reader(ref) for ref in parse_paths("entryRelationship/substanceAdministration|entryRelationship/supply")
)


@handles("supply", "supply")
def supply(walk: Walk, el: Element) -> None:
    """One supply, by its mood and by what is supplied."""
    device = HANDLERS.get("device")
    if _device(el, walk) and not is_specific(el, walk):
        if device is None or "supply" not in device.tags:
            walk.refuse(el, "a device")
        else:
            walk.domain = "device"
            device.call(walk, el)
    elif el.get("moodCode", "EVN") == "EVN":
        _dispense(walk, el)
    else:
        walk.state("supply.MedicationRequest", el, also=lambda body: _order(walk, el, body))


def _order(walk: Walk, el: Element, body: Json) -> None:
    walk.run("supply.MedicationRequest-order", el, body)


def _dispense(walk: Walk, el: Element) -> None:
    """What was dispensed; the orders that stand inside of it come first, since it refers to them."""
    for read in _orders:
        for order in read(el, walk):
            walk.read.discard(order)
            if order.get("moodCode") in ORDERS and not names_nothing(order, walk):
                walk.take(order)
                walk.statement = el
    walk.state("supply.MedicationDispense", el)


@datatype("ORDER[Reference(MedicationRequest)]", gives="Reference", reads={"id"})
def order_reference(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """The order inside of a dispense: what it was made into; one that is only pointed at is what the document states
    under its number, else the number, for it stands in another document."""
    if isinstance(node, str):
        return None
    made = ctx.outcomes[node].resource if node in ctx.outcomes else ""
    if made.startswith(_REQUEST):
        return {"reference": made}
    return entry_reference.pointing(node, ctx, _ORDERED, keeps=True)


@resolver("prescription")
def prescription(ctx: Walk) -> Json | None:
    """The request around a dispense."""
    found = owner(ctx)
    return found if found is not None and found["reference"].startswith(_REQUEST) else None


@resolver("reported-medication")
def reported(ctx: Walk) -> Json | None:
    """The statement around a dispense, where that is no request."""
    found = owner(ctx)
    return found if found is not None and not found["reference"].startswith(_REQUEST) else None
