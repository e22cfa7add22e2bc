"""Goals: one Goal an observation in mood GOL, its target, how far it was reached, what it is set for.

A goal inside of a goal is a step towards it. How far it was reached is told by the goal itself or by an outcome: an
observation of its own, that becomes an Observation and evidence of the goals it evaluates. A goal that is negated is
nothing that FHIR could hold.
Source: C-CDA R2.1 and 5.0 (goal observation, progress toward goal, priority preference, outcome observation); US Core
goal.
"""

from typing import Any, Final

from mappings.cda.around import nearest, own
from mappings.cda.datatypes.any_value import any_value
from mappings.cda.datatypes.coded import cd_concept
from mappings.cda.datatypes.registry import datatype
from mappings.cda.domains import entry_reference
from mappings.cda.domains.medication import reason
from mappings.cda.domains.observation import finish, is_observation
from mappings.cda.element import Element
from mappings.cda.named import flag, resolver
from mappings.cda.parties import by_time, first_party, is_patient, role_of
from mappings.cda.paths import is_valued, parse_paths, reader
from mappings.cda.walk import Walk
from mappings.terminology.concept_map import ConceptMap, load

Json = dict[str, Any]

_RELATION: Final = "http://hl7.org/fhir/StructureDefinition/goal-relationship"
_KIND_OF_RELATION: Final = "http://terminology.hl7.org/CodeSystem/goal-relationship-type"
_DETAILS: Final = frozenset({"Quantity", "Range", "CodeableConcept", "String", "Boolean", "Integer", "Ratio"})

(_steps,) = (reader(ref) for ref in parse_paths("entryRelationship/observation[@moodCode='GOL']"))
(_evaluated,) = (
    reader(ref)
    for ref in parse_paths("entryRelationship[@typeCode='GEVL']/act[tid='2.16.840.1.113883.10.20.22.4.122']")
)
(_progress,) = (
    reader(ref) for ref in parse_paths("entryRelationship/observation[tid='2.16.840.1.113883.10.20.22.4.110']/value")
)


def goal(walk: Walk, el: Element) -> None:
    """One goal; the steps towards it first."""
    steps = []
    for step in _steps(el, walk):
        walk.read.discard(step)
        walk.take(step, "plan")
        if walk.outcomes[step].resource.startswith("Goal/"):
            steps.append(walk.outcomes[step].resource)
    walk.state("goal.Goal", el, also=lambda body: _finish(body, steps))


def _finish(body: Json, steps: list[str]) -> None:
    first, *others = body.get("target", [{}])
    for target in others:
        if "measure" in first and target.keys() - {"dueDate", "_dueDate"}:
            target["measure"] = dict(first["measure"])  # each says how much of the same (gol-1)
    for each in dict.fromkeys(steps):
        coded = {"coding": [{"system": _KIND_OF_RELATION, "code": "milestone", "display": "Milestone"}]}
        body.setdefault("extension", []).append({
            "url": _RELATION,
            "extension": [
                {"url": "type", "valueCodeableConcept": coded},
                {"url": "target", "valueReference": {"reference": each}},
            ],
        })  # fmt: skip


def outcome(walk: Walk, el: Element) -> None:
    """What came of it: an observation that goals it evaluates name as evidence."""
    if not is_observation(walk, el):
        return
    made = walk.state("observation.Observation", el, also=lambda body: _based(walk, el, body))
    reached = next((each for each in _progress(el, walk) if is_valued(each)), None)
    concept = cd_concept(reached, walk, load("cda-goal.achievement-status")) if reached is not None else None
    for each in _evaluated(el, walk):
        entry_reference.about(each, walk, "Goal", lambda found: _evidence(found.body, made.ref, concept))


def _based(walk: Walk, el: Element, body: Json) -> None:
    finish(walk, el, body, [])
    walk.run("goal.Observation-outcome", el, body)


def _evidence(body: Json, ref: str, concept: Json | None) -> None:
    known = body.setdefault("outcomeReference", [])
    if {"reference": ref} not in known:
        known.append({"reference": ref})
    if concept is not None:
        body.setdefault("achievementStatus", concept)


@flag("told-in-code")
def told_in_code(el: Element, ctx: Walk) -> bool:
    """Whether the code says in words what the goal is, so that its text need not."""
    return any(is_valued(text) for code in el.named("code") for text in code.named("originalText"))


@resolver("goal-set-by")
def set_by(ctx: Walk) -> Json | None:
    """The patient if she is one of those who set it, else the last of them."""
    authors = by_time(own("author", ctx) or nearest("author", ctx), ctx)
    roles = [(each, role_of(each, ctx)) for each in authors]
    first = [each for each, role in roles if role is not None and is_patient(role, ctx)]
    return first_party([*first, *authors], ctx)


@datatype("VALUE[detail]", gives="detail[x]", reads={"*"})
def detail(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """What is to be reached, of the kinds that a target holds; the rest as text."""
    found = any_value(node, ctx)
    if not found:
        return None
    made = {name.replace("value", "detail", 1): value for name, value in found.items()}
    if all(name.lstrip("_").removeprefix("detail") in _DETAILS for name in made):
        return made
    ctx.issue("extra-value", detail="no kind of target")
    return None


@datatype("REASON[Reference(Condition)]", gives="Reference", reads={"*"})
def reason_reference(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """What a goal is set for, where an observation inside it says so: a Condition inside the goal."""
    if isinstance(node, str) or (found := reason(node, ctx)) is None:
        return None
    body = {"resourceType": "Condition", "code": found, "subject": {"reference": ctx.subject.ref}}
    target = ctx.contained(body)
    return {"reference": target} if target else None
