"""Who plays a role in a statement: `participantRole` with the person in `playingEntity`, as verifiers, agents and
authenticators are written. Professionals unless the role says a relative.

Source: CDA R2 §4.3.8.4 (participantRole, playingEntity); C-CDA R2.1 (advance directive observation, note activity).
"""

from typing import Any

from mappings.cda import parties
from mappings.cda.datatypes.registry import datatype
from mappings.cda.document import Element
from mappings.cda.paths import is_valued
from mappings.fhir import values
from mappings.terminology.concept_map import ConceptMap

Json = dict[str, Any]


def player(role: Element, ctx: Any) -> Json | None:
    """The person of a role: the patient, a relative of hers, else a professional."""
    if parties.is_patient(role, ctx):
        return {"reference": ctx.patient.ref}
    kind = "RelatedPerson" if role.get("classCode") in parties.RELATIVES else "Practitioner"
    body: Json = {"resourceType": kind}
    ctx.run(f"player.{kind}", role, body)
    if not body.keys() & {"name", "identifier"}:
        return None
    if kind == "RelatedPerson":
        body["patient"] = {"reference": ctx.patient.ref}
    shown = values.name_line(body["name"][0]) if body.get("name") else None
    key = parties.number_of(role, ctx)
    if key is None:
        return values.reference(ctx.contained(body), shown)
    if kind == "RelatedPerson":
        key = ("related", ctx.patient.id, *key)
    made = ctx.make(kind, key, {name: value for name, value in body.items() if name != "resourceType"})
    return values.reference(made, shown or key[-1])


@datatype("ACTOR[Reference(Practitioner)]", gives="Reference")
def player_reference(node: Element | str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """Who plays a role; a role of which nothing is told is nobody."""
    return None if isinstance(node, str) or not is_valued(node) else player(node, ctx)
