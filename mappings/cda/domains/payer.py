"""Payers: one Coverage a policy; the act around it says in which order they pay; an authorization is a ClaimResponse.

The performer with the code or template of a payer is the insurance, whose number stands on its role; the covered party
is the patient, her number the member's; the holder, if it is not her, is a RelatedPerson inside the cover. Who
guarantees the bill pays it where no insurance does. A negated policy is nothing that FHIR could hold.
Source: C-CDA R2.1 and 5.0 (coverage activity, policy activity, planned coverage, authorization activity); CCD R1
payers; US Core coverage.
"""

from typing import Any, Final

from mappings.cda import parties
from mappings.cda.datatypes.identifiers import ii_identifier
from mappings.cda.datatypes.names import en_name
from mappings.cda.datatypes.registry import datatype
from mappings.cda.element import Element
from mappings.cda.handlers import handles
from mappings.cda.named import flag, resolver
from mappings.cda.paths import code_of, is_valued, parse_paths, reader
from mappings.cda.walk import Walk
from mappings.fhir import values
from mappings.terminology.concept_map import ConceptMap

Json = dict[str, Any]

_AUTHORIZATION: Final = "2.16.840.1.113883.10.20.1.19"
_PLANNED_COVERAGE: Final = "2.16.840.1.113883.10.20.22.4.129"
_SELF: Final = frozenset({"SELF", "ONESELF"})  # HL7 v3 RoleCode
_MEMBER_NUMBER: Final = {
    "coding": [
        {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MB", "display": "Member Number"}
    ]
}  # fmt: skip

(_policies,) = (reader(ref) for ref in parse_paths("entryRelationship/act"))
(_covered,) = (reader(ref) for ref in parse_paths("participant[@typeCode='COV']/participantRole/code"))


@handles("payer", "act", negation=True)
def payer(walk: Walk, el: Element) -> None:
    """A policy, an authorization of one, or what holds policies."""
    if walk.negated:
        walk.refuse(el, "negated")
        _parts(walk, el)
    elif walk.has_template(el, _AUTHORIZATION):
        walk.state("payer.ClaimResponse", el)
    elif walk.has_template(el, _PLANNED_COVERAGE):
        planned_coverage(walk, el)
    elif el.kids.get("performer") or _covered(el, walk):
        walk.state("payer.Coverage", el)
    else:
        _holder(walk, el)


def _parts(walk: Walk, el: Element) -> list[Element]:
    """What a statement holds: denied with it."""
    held = _policies(el, walk)
    outer, walk.act = walk.act, el
    for each in held:
        walk.read.discard(each)
        walk.take(each, "payer")
    walk.act = outer
    return held


def _holder(walk: Walk, el: Element) -> None:
    made = [ref for each in _parts(walk, el) if (ref := walk.outcomes[each].resource)]
    walk.tell(el, "mapped" if made else "narrative", made[0] if made else "")


def planned_coverage(walk: Walk, el: Element) -> None:
    """What is to pay for something that is planned."""
    walk.state("payer.Coverage-planned", el)


@flag("covers-oneself")
def covers_oneself(el: Element, ctx: Walk) -> bool:
    """Whether the patient holds the policy herself."""
    return any(code_of(each) in _SELF for each in _covered(el, ctx))


@resolver("policy")
def policy(ctx: Walk) -> Json | None:
    """The policy around an authorization."""
    outcome = ctx.outcomes.get(ctx.act) if ctx.act is not None else None
    if outcome is None or not outcome.resource.startswith("Coverage/"):
        return None
    return values.reference(outcome.resource)


@flag("of-policy")
def of_policy(el: Element, ctx: Walk) -> bool:
    """Whether an authorization stands in a policy."""
    return policy(ctx) is not None


@resolver("policy-payer")
def policy_payer(ctx: Walk) -> Json | None:
    """Who pays by the policy around an authorization."""
    found = policy(ctx)
    made: Json = ctx.by_ref[found["reference"]].body if found is not None else {}
    for each in made.get("payor", ()):
        inside = each.get("reference", "").removeprefix("#")
        body = next((one for one in made.get("contained", ()) if one["id"] == inside), None)
        if body is not None and body["resourceType"] == "Organization":
            return {**each, "reference": ctx.contained({name: value for name, value in body.items() if name != "id"})}
        if each.get("reference", "").startswith("Organization/"):
            return dict(each)
    return None


@resolver("document-time")
def document_time(ctx: Walk) -> str | None:
    """When the document was made."""
    return ctx.at or None


@datatype("PAYER[Reference(Organization)]", gives="Reference", reads={"*"})
def insurer(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """Who pays: an organization, by the number of its role where it has none of its own."""
    role = None if isinstance(node, str) else parties.role_of(node, ctx)
    if role is None:
        return None
    body: Json = {"resourceType": "Organization"}
    for each in role.named("representedOrganization")[:1]:
        ctx.run("party.Organization", each, body)
        if (key := parties.number_of(each, ctx)) is not None:
            return _organization(key, body, ctx)
    if "name" not in body and (person := _person(role, ctx)) is not None:
        return person
    numbers = [ii_identifier(each, ctx) for each in role.named("id")]
    if found := [each for each in numbers if each and "value" in each]:
        body.setdefault("identifier", []).extend(found)
    if not body.keys() & {"name", "identifier"}:
        return None
    return _organization(parties.number_of(role, ctx), body, ctx)


def _organization(key: tuple[str, ...] | None, body: Json, ctx: Walk) -> Json | None:
    rest = {name: value for name, value in body.items() if name != "resourceType"}
    target = ctx.make("Organization", key, rest) if key is not None else ctx.contained(body)
    return values.reference(target, body.get("name"))


@datatype("HOLDER[Reference(Patient)]", gives="Reference", reads={"*"})
def holder(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """Who holds the policy: the patient, or somebody with a name, inside the cover."""
    role = None if isinstance(node, str) else parties.role_of(node, ctx)
    if role is None:
        return None
    if parties.is_patient(role, ctx) or covers_oneself(ctx.at_hand, ctx):
        return {"reference": ctx.subject.ref}
    body: Json = {"resourceType": "RelatedPerson", "patient": {"reference": ctx.subject.ref}}
    ctx.run("party.RelatedPerson", role, body)
    names = [name for each in role.named("playingEntity") for name in each.named("name")]
    if shown := [found for each in names if (found := en_name(each, ctx)) is not None]:
        body.setdefault("name", shown)
    if "name" not in body and "identifier" not in body:
        return None
    return values.reference(ctx.contained(body), values.name_line(shown[0]) if shown else None)


@datatype("MEMBER[Identifier]", gives="Identifier", reads={"*"})
def member_number(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """The number of who is covered."""
    found = None if isinstance(node, str) else ii_identifier(node, ctx)
    return {"type": _MEMBER_NUMBER, **found} if found is not None and "value" in found else None


@datatype("GUARANTOR[Reference(Patient)]", gives="Reference", reads={"*"})
def guarantor(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """Who guarantees the bill, and so pays it where nobody else does."""
    role = None if isinstance(node, str) else parties.role_of(node, ctx)
    return None if role is None else _person(role, ctx)


def _person(role: Element, ctx: Walk) -> Json | None:
    """A person who pays: the patient, or somebody inside the cover, for R4 takes nobody by profession."""
    if not any(is_valued(each) for each in role.named("assignedPerson")):
        return None
    if parties.is_patient(role, ctx):
        return {"reference": ctx.subject.ref}
    body: Json = {"resourceType": "RelatedPerson", "patient": {"reference": ctx.subject.ref}}
    ctx.run("party.RelatedPerson", role, body)
    return values.reference(ctx.contained(body))
