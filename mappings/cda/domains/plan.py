"""Plans: what is to be reached, to be done, to be said, and what came of it.

A section of plans holds statements of every class; the mood says what they are, a template or code only which kind:

    GOL                                 Goal (`goal.py`)
    INT RQO ARQ PRMS PRP APT            ServiceRequest; a visit an Appointment, an instruction a CommunicationRequest
    EVN                                 what happened: an outcome an Observation, a handoff a Communication, the rest
                                        as everywhere
    an intervention, a care plan        CarePlan, with what it consists of
    an organizer of what is planned     nothing of its own

What is given or supplied is the medication's and supply's, and any other statement that nothing here maps goes to its
template's domain, else to its class's. A negated request is one not to do it; a visit that must not be made, was made
or was entered in error is a ServiceRequest too, for no appointment could say so. Other negations are refused.
Source: C-CDA R2.1 and 5.0 (plan of treatment, interventions, goals, outcomes, instructions); CDA R2 §4.3.8 (moods);
C-CDA on FHIR, statuses and moods; US Core, preferences.
"""

from typing import Any, Final

from mappings.cda import parties
from mappings.cda.datatypes.coded import cd_code
from mappings.cda.datatypes.names import en_name
from mappings.cda.datatypes.registry import datatype
from mappings.cda.datatypes.times import interval
from mappings.cda.domains import entry_reference, goal, procedure
from mappings.cda.domains.medication import owner
from mappings.cda.domains.payer import planned_coverage
from mappings.cda.element import Element
from mappings.cda.handlers import BY_CLASS, HANDLERS, Handler, handles
from mappings.cda.named import flag, resolver
from mappings.cda.paths import STATEMENTS, code_of, is_valued
from mappings.cda.templates import templates
from mappings.cda.walk import Walk
from mappings.fhir import temporal, values
from mappings.terminology.concept_map import ConceptMap

Json = dict[str, Any]

_GOAL, _EVENT = "GOL", "EVN"
_PLANNED: Final = frozenset({"INT", "RQO", "ARQ", "PRMS", "PRP", "APT"})
_MOODS: Final = _PLANNED | {_GOAL, _EVENT}
_REQUESTED: Final = frozenset({"RQO"})
_OPEN: Final = frozenset(
    {"active", "new", "held", "suspended", "cancelled", "aborted", ""}
)  # an appointment can say so
_GIVEN: Final = frozenset({"substanceAdministration", "supply"})
_CCDA: Final = "2.16.840.1.113883.10.20.22.4."
_OUTCOME: Final = _CCDA + "144"
_PLANNED_COVERAGE: Final = _CCDA + "129"
_INTERVENTIONS: Final = (_CCDA + "131", _CCDA + "146", _CCDA + "518")
_INSTRUCTIONS: Final = (_CCDA + "20", "1.3.6.1.4.1.19376.1.5.3.1.4.3")
_INTERVENTION, _HANDOFF, _PREFERENCE = "362956003", "432138007", "225773000"  # SNOMED CT
_PREFERENCES: Final = frozenset({"75773-2", "95541-9", _PREFERENCE})  # LOINC: treatment, care experience
_CARE_PLAN, _COMMENT = "18776-5", "48767-8"  # LOINC
_COVERS: Final = ("Coverage/", "ClaimResponse/")
_REQUESTS: Final = frozenset({
    "Appointment", "CommunicationRequest", "DeviceRequest", "MedicationRequest", "NutritionOrder", "RequestGroup",
    "ServiceRequest", "Task", "VisionPrescription",
})  # fmt: skip


@handles("plan", *sorted(STATEMENTS - {"regionOfInterest", "observationMedia"}), negation=True, subject=True)
def plan(walk: Walk, el: Element) -> None:
    """One statement, by its mood."""
    mood, tag = walk.mood, el.short
    if entry_reference.is_reference(el, walk):
        walk.tell(el, "narrative")
    elif tag in _GIVEN or mood not in _MOODS:
        _elsewhere(walk, el, tag)
    elif walk.is_of_another(el):
        _elsewhere(walk, el, tag)
    elif mood == _GOAL:
        _unless_negated(walk, el, goal.goal)
    elif mood == _EVENT:
        _event(walk, el, tag)
    else:
        _planned(walk, el, tag)
    _inside(walk, el)
    entry_reference.settle(walk, el)


def _unless_negated(walk: Walk, el: Element, call: Any, *, parts: bool = False) -> None:
    """What nothing can deny is refused, and so is what stands inside of it: unless its parts can say so themselves."""
    if not walk.negated:
        call(walk, el)
        return
    walk.refuse(el, "negated")
    outer, walk.act = walk.act, el
    for each in _held(el, walk):
        if entry_reference.is_reference(each, walk):
            walk.tell(each, "narrative")
        elif parts:
            walk.take(each, "plan")
        else:
            _unless_negated(walk, each, call)
    walk.act = outer


def _code(el: Element, ctx: Walk) -> str:
    return next((code_of(each) for each in el.named("code")), "")


def _is_care_plan(el: Element, tag: str, ctx: Walk) -> bool:
    return tag == "act" and (ctx.has_template(el, *_INTERVENTIONS) or _code(el, ctx) in (_INTERVENTION, _CARE_PLAN))


def _event(walk: Walk, el: Element, tag: str) -> None:
    """What happened."""
    if _is_care_plan(el, tag, walk):
        _unless_negated(walk, el, _care_plan, parts=True)
    elif tag == "observation" and walk.has_template(el, _OUTCOME):
        goal.outcome(walk, el)
    elif tag == "observation" and _code(el, walk) in _PREFERENCES:
        _unless_negated(walk, el, _preference)
    elif tag == "act" and _code(el, walk) == _HANDOFF:
        _unless_negated(walk, el, lambda walk, el: walk.state("plan.Communication", el))
    else:
        _elsewhere(walk, el, tag)


def _planned(walk: Walk, el: Element, tag: str) -> None:
    """What is to be."""
    if _is_care_plan(el, tag, walk):
        _unless_negated(walk, el, _care_plan, parts=True)
    elif tag == "act" and walk.has_template(el, _PLANNED_COVERAGE):
        _unless_negated(walk, el, planned_coverage)
    elif tag == "observation" and _code(el, walk) in _PREFERENCES:
        _unless_negated(walk, el, _preference)
    elif tag == "act" and walk.has_template(el, *_INSTRUCTIONS):
        walk.state("plan.CommunicationRequest", el)
    elif tag == "organizer":
        _wrapper(walk, el, tag)
    elif not is_something(el, walk):
        walk.refuse(el, "negated" if walk.negated else "")
    elif tag == "encounter" and _is_appointment(el, walk):
        walk.state("plan.Appointment", el)
    else:
        _request(walk, el)


def is_something(el: Element, ctx: Walk) -> bool:
    """Whether it says what is to be done; a negated statement of no code says that nothing is."""
    codes = [each for each in el.named("code") if is_valued(each)]
    if ctx.negated:
        return any(each.get("code") or "translation" in each.kids for each in codes)
    return bool(codes) or any(is_valued(each) for each in el.named("text"))


def _is_appointment(el: Element, ctx: Walk) -> bool:
    status = next((code_of(each) for each in el.named("statusCode")), "")
    return not ctx.negated and ctx.mood not in _REQUESTED and status in _OPEN


def _preference(walk: Walk, el: Element) -> None:
    """A preference; of what is inside of another statement the same words about two things are two."""
    around = owner(walk)
    walk.state("plan.Observation", el, around["reference"] if around is not None else "")


def _request(walk: Walk, el: Element) -> None:
    """A service; what will pay for it comes first, since the request names it."""
    covers: list[str] = []
    for each in _held(el, walk):
        if walk.has_template(each, _PLANNED_COVERAGE):
            _take(walk, each, el)
            if walk.outcomes[each].resource.startswith(_COVERS):
                covers.append(walk.outcomes[each].resource)
    references = [{"reference": each} for each in dict.fromkeys(covers)]
    made = walk.state(
        "plan.ServiceRequest", el, also=lambda body: body.update(insurance=references) if covers else None
    )
    procedure.alternatives(walk, el, made)


# plans ----------------------------------------------------------------------------------------------------------------


def _care_plan(walk: Walk, el: Element) -> None:
    """An intervention, or a plan as a whole: what it consists of is mapped first."""
    made: list[str] = []
    goals: list[str] = []
    for relation in el.named("entryRelationship"):
        for each in _statements(relation, walk):
            if entry_reference.is_reference(each, walk) or _code(each, walk) == _COMMENT:
                continue
            _take(walk, each, el)
            ref = walk.outcomes[each].resource
            if ref.startswith("Goal/"):
                goals.append(ref)
            elif ref and relation.get("typeCode") in ("COMP", "REFR"):
                made.append(ref)
    walk.state("plan.CarePlan", el, also=lambda body: _consisting(body, made, goals))


def _consisting(body: Json, made: list[str], goals: list[str]) -> None:
    for each in dict.fromkeys(goals):
        body.setdefault("goal", []).append({"reference": each})
    for each in dict.fromkeys(made):
        reference = {"reference": each}
        planned = each.partition("/")[0] in _REQUESTS
        activity: Json = {"reference": reference} if planned else {"outcomeReference": [reference]}
        body.setdefault("activity", []).append(activity)


# what stands inside, and elsewhere ------------------------------------------------------------------------------------


def _held(el: Element, ctx: Walk) -> list[Element]:
    relations = [each for name in ("entryRelationship", "component") for each in el.named(name)]
    return [each for relation in relations for each in _statements(relation, ctx)]


def _statements(relation: Element, ctx: Walk) -> list[Element]:
    return [each for tag, held in relation.kids.items() if tag in STATEMENTS for each in held]


def _take(walk: Walk, el: Element, around: Element) -> None:
    """A statement inside of another, as one of a plan; what the outer one denies is not denied of it."""
    outer = walk.negated, walk.act, walk.statement
    walk.negated, walk.act = False, around
    walk.read.discard(el)
    if _code(el, walk) == _PREFERENCE and not entry_reference.is_reference(el, walk):
        walk.statement, walk.negated = el, el.get("negationInd", "").strip() in ("true", "1")
        _unless_negated(walk, el, _preference)
    else:
        walk.take(el, "plan")
    walk.negated, walk.act, walk.statement = outer


def _inside(walk: Walk, el: Element) -> None:
    """What no row has read stands for itself."""
    for each in _held(el, walk):
        if each not in walk.outcomes and each not in walk.read:
            _take(walk, each, el)


def _elsewhere(walk: Walk, el: Element, tag: str) -> None:
    """A statement that is no plan's: to the domain of its template, else of its class."""
    domain, handler = _other(el, tag, walk)
    if handler is None:
        _wrapper(walk, el, tag)
    elif walk.negated and not handler.negation:
        walk.refuse(el, "negated")
    elif not handler.subject and walk.is_of_another(el):
        walk.refuse(el, "about another person")
    elif el.get("moodCode", walk.mood or _EVENT) != _EVENT and tag not in _GIVEN:
        walk.refuse(el, "mood")
    else:
        walk.domain = domain
        handler.call(walk, el)


def _other(el: Element, tag: str, ctx: Walk) -> tuple[str, Handler | None]:
    for each in el.named("templateId"):
        row = templates().get((each.get("root") or "").strip())
        found = HANDLERS.get(row.domain) if row is not None and row.domain != "plan" else None
        if row is not None and found is not None and tag in found.tags:
            return row.domain, found
    kind = BY_CLASS.get(tag, "")
    return kind, HANDLERS.get(kind)


def _wrapper(walk: Walk, el: Element, tag: str) -> None:
    """An act or organizer that only holds others."""
    held = _held(el, walk)
    if tag not in ("act", "organizer") or walk.is_of_another(el) or (walk.negated and not held):
        walk.refuse(el, "negated" if walk.negated else "")
        return
    for each in held:
        if each not in walk.outcomes:
            outer, walk.act = walk.act, el
            walk.take(each, "plan")
            walk.act = outer
    made = [walk.outcomes[each].resource for each in held if walk.outcomes[each].outcome in ("mapped", "merged")]
    walk.tell(el, "mapped" if made else "narrative", made[0] if made else "")


# what rows name -------------------------------------------------------------------------------------------------------


@datatype("PLANNED[status]", gives="code", reads={"@code"})
def planned_status(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Any:
    """The status of what is planned, which is not done because its author calls it completed.

    Ahead of the document's time it is active, as what is taken is (C-CDA on FHIR, medications). An observation that
    says no time: C-CDA fixes the code for observations, so it tells of no plan; nobody knows.
    """
    el = None if isinstance(node, str) else node.parent
    if el is None or isinstance(node, str) or code_of(node) != "completed":
        return cd_code(node, ctx, vocab)
    times = _planned_for(el, ctx)
    if any(ctx.at and temporal.compare(each, ctx.at[: len(each)]) == 1 for each in times):
        ctx.issue("status-conflict", node)
        return "active"
    if not times and el.short == "observation":
        ctx.issue("status-conflict", node)
        return None
    return cd_code(node, ctx, vocab)


def _planned_for(el: Element, ctx: Walk) -> list[str]:
    """The times that something is planned for; of an interval its end, where it tells one."""
    told, ctx.issues = ctx.issues, []
    spans = [span for each in el.named("effectiveTime") if (span := interval(each, ctx))]
    ctx.issues = told
    bounds = [
        next((each for each in (span.point, span.end, span.start) if each and each.value), None) for span in spans
    ]
    return [each.value for each in bounds if each is not None and each.value is not None]


@flag("of-patients-care")
def of_patients_care(el: Element, ctx: Walk) -> bool:
    """Whether a preference is about care, and not about how much something else matters."""
    return _code(el, ctx) != _PREFERENCE


@resolver("preference-owner")
def preference_owner(ctx: Walk) -> Json | None:
    """Whose preference it is: its own author's."""
    return parties.first_party(ctx.at_hand.named("author"), ctx)


@datatype("PLAYER[Reference(Practitioner)]", gives="Reference", reads={"*"})
def player(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """Somebody who takes part in a role of C-CDA's participants, where a playing entity has the name."""
    role = None if isinstance(node, str) else parties.role_of(node, ctx)
    if role is None:
        return None
    body: Json = {"resourceType": "Practitioner"}
    ctx.run("party.Practitioner", role, body)
    names = [name for each in role.named("playingEntity") for name in each.named("name")]
    shown = [found for each in names if (found := en_name(each, ctx)) is not None]
    if shown:
        body.setdefault("name", shown)
    key = parties.number_of(role, ctx)
    if key is None and not shown:
        return None
    rest = {name: value for name, value in body.items() if name != "resourceType"}
    target = ctx.make("Practitioner", key, rest) if key is not None else ctx.contained(body)
    return values.reference(target, values.name_line(shown[0]) if shown else None)
