"""Who plays a role in a statement: `participantRole` with the person in `playingEntity`, as verifiers, agents and
authenticators are written. Professionals unless the role says a relative.

Source: CDA R2 §4.3.8.4 (participantRole, playingEntity); C-CDA R2.1 (advance directive observation, note activity).
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from mappings.cda import parties
from mappings.cda.datatypes.registry import datatype
from mappings.cda.element import Element
from mappings.cda.paths import is_valued
from mappings.fhir import values
from mappings.terminology.concept_map import ConceptMap

if TYPE_CHECKING:
    from mappings.cda.walk import Walk

Json = dict[str, Any]

# row name -> who may stand there
_KINDS: Final = {
    "ACTOR[Reference(Patient)]": parties.PEOPLE,
    "ACTOR[Reference(RelatedPerson)]": parties.HELPERS,
    "ACTOR[Reference(Practitioner)]": parties.PROFESSIONALS,
}


def player(role: Element, ctx: "Walk", allowed: Collection[str] = parties.PEOPLE) -> Json | None:
    """The person of a role: the patient, a relative of hers, else a professional; None for one who is none of these."""
    if parties.is_patient(role, ctx):
        return {"reference": ctx.subject.ref} if "Patient" in allowed else None
    kind = "RelatedPerson" if role.get("classCode") in parties.RELATIVES else "Practitioner"
    if kind not in allowed:
        return None
    body: Json = {"resourceType": kind}
    ctx.run(f"player.{kind}", role, body)
    if not body.keys() & {"name", "identifier"}:
        return None
    if kind == "RelatedPerson":
        body["patient"] = {"reference": ctx.subject.ref}
    shown = values.name_line(body["name"][0]) if body.get("name") else None
    key = parties.number_of(role, ctx)
    if key is None:
        return values.reference(ctx.contained(body), shown)
    if kind == "RelatedPerson":
        key = ("related", ctx.subject.id, *key)
    made = ctx.make(kind, key, {name: value for name, value in body.items() if name != "resourceType"})
    return values.reference(made, shown or key[-1])


def _registered(name: str, allowed: frozenset[str]) -> None:
    def call(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
        return None if isinstance(node, str) or not is_valued(node) else player(node, ctx, allowed)

    call.__doc__ = f"Who plays a role: one of {', '.join(sorted(allowed))}; one of which nothing is told is nobody."
    datatype(name, gives="Reference")(call)


for _name, _allowed in _KINDS.items():
    _registered(_name, _allowed)
