"""Encounters: one Encounter for all that a document says of one number, in its header and in its sections.

The class is what HL7's own codes of encounters say, wherever they stand; any other code is a type. Without a status
code the time says whether it is over. What an encounter was cancelled for, or never was, is a cancelled one. Diagnoses
are Conditions of their own, which the Encounter names; a planned encounter is the plan domain's.
Source: C-CDA R2.1 (encounter activity, encounter diagnosis, hospital admission and discharge diagnosis); C-CDA on FHIR,
encounters; IHE PCC TF-2 6.3.4.14; CCD R1.
"""

from typing import Any, Final

from mappings.cda import encounters, links
from mappings.cda.assemble import Made
from mappings.cda.datatypes.coded import cd_concept
from mappings.cda.datatypes.registry import datatype
from mappings.cda.datatypes.times import interval
from mappings.cda.element import Element
from mappings.cda.handlers import HANDLERS, handles
from mappings.cda.named import resolver
from mappings.cda.paths import is_valued, parse_paths, reader
from mappings.cda.walk import Walk
from mappings.fhir import temporal, values
from mappings.terminology.concept_map import ConceptMap

Json = dict[str, Any]

_MAP: Final = "encounter.Encounter"
_EVENT: Final = "EVN"
_PARTS: Final = ("hospitalization", "period")  # what one place may begin and another complete
_DIAGNOSES: Final = (
    "entryRelationship/act[code='29308-4|11535-2|78375-3|46241-6|42347-5|10219-4|10218-6']"
    "|entryRelationship/act[tid='2.16.840.1.113883.10.20.22.4.80|2.16.840.1.113883.10.20.22.4.33"
    "|2.16.840.1.113883.10.20.22.4.34']"
)

_ranks = "entryRelationship/observation/entryRelationship/observation[code='263486008']"

(_rank,) = (reader(ref) for ref in parse_paths(_ranks))
_diagnoses = tuple(reader(ref) for ref in parse_paths(_DIAGNOSES))


@handles("encounter", "encounter", negation=True)
def encounter(walk: Walk, el: Element) -> None:
    """One encounter of a section, or one that a statement only names."""
    if el.get("moodCode", _EVENT) != _EVENT:
        _planned(walk, el)
    elif encounters.is_bare(el, walk) and not walk.negated:
        walk.tell(el, "merged", encounters.reference(el, walk)["reference"])
    else:
        acts = list(dict.fromkeys(act for read in _diagnoses for act in read(el, walk)))
        for act in acts:
            _rank(act, walk)  # a part of the Encounter, and no observation of its own
            walk.take(act, "condition")
            walk.statement = el
        made = _stated(walk, el)
        _belong(walk, acts, made)
        links.reasons(walk, el, made, ("Condition/", "Observation/", "Procedure/"))


def _planned(walk: Walk, el: Element) -> None:
    """One that is to be is no encounter yet."""
    plan = HANDLERS.get("plan")
    if plan is None or "encounter" not in plan.tags or (walk.negated and not plan.negation):
        walk.refuse(el, "planned")
        return
    walk.domain = "plan"
    plan.call(walk, el)


def _stated(walk: Walk, el: Element) -> Made:
    """The Encounter: what the header, or a statement, has made of its number is completed; two of a section that say
    different things under one number are two."""
    key = encounters.key_of(el, walk)
    known = walk.by_ref.get(f"Encounter/{walk.identities.make('Encounter', key)}")
    if known is None or (known.stated and known is not walk.encounter):
        return walk.state(_MAP, el, key=key)
    told = len(walk.issues)
    made = walk.fill(_MAP, el, Made(known.type, known.id, "state", len(walk.made), el))
    if _contradict(known.body, made.body):
        walk.issue("id-reused", el)
        return walk.state(_MAP, el, key=(*key, "other", made.body["period"]["start"]))
    if known.stated:  # listed before, too
        del walk.issues[told:]
        return walk.state(_MAP, el, key=key)
    _complete(known, made)
    if known.mode == "stub":
        known.mode, known.el = "state", el
    return walk.stated(known, el, "mapped")


def _contradict(known: Json, made: Json) -> bool:
    """Whether two encounters of one number began at different times: a number alone is used for several."""
    starts = [each.get("period", {}).get("start") for each in (known, made)]
    return all(starts) and temporal.compare(*starts) not in (None, 0)


def _complete(known: Made, made: Made) -> None:
    """Of two places the header's word stands; of lists both count, and what one of them does not know is no word."""
    for name, value in made.body.items():
        if name not in known.body or (name in known.filled and name not in made.filled):
            known.body[name] = value
            known.filled = [each for each in known.filled if each != name]
        elif isinstance(value, list) and isinstance(known.body[name], list):
            known.body[name] += [each for each in value if each not in known.body[name]]
        elif name in _PARTS and all(known.body[name].get(part, said) == said for part, said in value.items()):
            known.body[name] |= value
    made.body = known.body  # what waits for a reference finds it there


def _belong(walk: Walk, acts: list[Element], made: Made) -> None:
    """Diagnoses are of this encounter, also where its number is another's, too."""
    for act in acts:
        for el in act.iter():
            outcome = walk.outcomes.get(el)
            if outcome is None or outcome.outcome != "mapped" or not outcome.resource.startswith("Condition/"):
                continue
            if outcome.resource in walk.by_ref:
                walk.by_ref[outcome.resource].body["encounter"] = {"reference": made.ref}


# what rows call -------------------------------------------------------------------------------------------------------


@resolver("encounter-time-status")
def time_status(ctx: Walk) -> str | None:
    """Of an encounter without a status code: over if it was at one time or has ended, planned if it begins later; None
    where the document has no time."""
    if not ctx.at:
        return None
    told, ctx.issues = ctx.issues, []
    found = [span for each in ctx.at_hand.named("effectiveTime") if (span := interval(each, ctx))]
    ctx.issues = told
    for span in found:
        start, end = span.point or span.start, span.point or span.end
        if start is not None and _later(start.value, ctx):
            return "planned"
        if end is not None and end.value:
            return "in-progress" if _later(end.value, ctx) else "finished"
    return None


def _later(value: str | None, ctx: Walk) -> bool:
    """Whether a time is after that of the document: the core has no clock."""
    return bool(value and ctx.at and temporal.compare(value, ctx.at[: len(value)]) == 1)


@datatype("DIAGNOSIS[Reference(Condition)]", gives="Reference")
def diagnosis(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """The Condition that a diagnosis was made into."""
    outcome = None if isinstance(node, str) else ctx.outcomes.get(node)
    if outcome is None or not outcome.resource.startswith("Condition/"):
        return None
    return values.reference(outcome.resource)


@datatype("SERVICE[CodeableConcept]", gives="CodeableConcept", reads={"act"})
def service(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """A further code of the encounter: an act inside that is a code and nothing else."""
    if isinstance(node, str):
        return None
    for act in node.named("act"):
        codes = [each for each in act.named("code") if is_valued(each)]
        if codes and set(act.kids) == {"code"}:
            ctx.read.add(act)
            return cd_concept(codes[0], ctx)
    return None
