"""Immunizations: what was given or not, and why not.

What was not given is `not-done`, whatever its status code says; CVX 998 says so, too. A vaccine that is to be given is
a MedicationRequest. A vaccine is one by its section, its template, or because its product has a code of CVX, wherever
it stands.
Source: C-CDA R2.1 (immunization activity, refusal reason, reaction observation); C-CDA on FHIR, immunizations; IHE PCC
TF-2 6.3.4.17; eHDSI immunization.
"""

from typing import Any, Final

from mappings.cda.datatypes.registry import datatype
from mappings.cda.domains.medication import (
    ORDERS,
    absence_in,
    administration,
    informants,
    known_absence,
    observe_reactions,
    reason,
    says_nothing,
)
from mappings.cda.domains.product import coded, is_specific
from mappings.cda.element import Element
from mappings.cda.handlers import handles
from mappings.cda.named import flag, resolver
from mappings.cda.parties import is_patient, is_relative, role_of
from mappings.cda.paths import code_of, parse_paths, reader
from mappings.cda.walk import Walk
from mappings.terminology.concept_map import ConceptMap

Json = dict[str, Any]

IMMUNIZATION: Final = "immunization.Immunization"
_CVX: Final = "2.16.840.1.113883.12.292"
_NO_VACCINE: Final = "998"  # CVX: no vaccine administered; `RXA.Immunization.csv` reads RXA-5 the same way
_NO_KNOWN: Final = "787482006"
_PROPOSED: Final = frozenset({*ORDERS, "PRMS", "PRP", "ARQ"})
_ASKED: Final = "77301-0"  # LOINC: reason care action performed or not
# what the code of an observation may be that says why not: HL7 v3 ActReason, where its refusals are
_REASONS: Final = "2.16.840.1.113883.5.8"

(_whys,) = (reader(ref) for ref in parse_paths("entryRelationship[@typeCode='RSON']/observation[code!='225773000']"))


@handles("immunization", "substanceAdministration", negation=True)
def immunization(walk: Walk, el: Element) -> None:
    """One immunization; one that is to be is a request."""
    absence = absence_in(el, walk)
    if el.get("moodCode") in _PROPOSED and absence is None:
        administration(walk, el)
    elif el.get("moodCode", "EVN") != "EVN" and absence is None:
        walk.refuse(el, "planned, or possible")
    elif (absence is not None and absence.said == "unknown") or (absence is None and says_nothing(el, walk)):
        walk.nothing_known(el)
    else:
        observe_reactions(el, walk)
        walk.state(IMMUNIZATION, el)


def is_vaccine(el: Element, ctx: Walk) -> bool:
    """Whether the product has a code of CVX."""
    return any(each.get("codeSystem", "").strip() == _CVX for each in coded(el, ctx))


@flag("no-known-immunization")
def is_none(el: Element, ctx: Walk) -> bool:
    """Whether it says that there are no immunizations at all."""
    absence = absence_in(el, ctx)
    return absence.said == "known" if absence is not None else bool(ctx.negated) and not is_specific(el, ctx)


@flag("no-vaccine")
def is_no_vaccine(el: Element, ctx: Walk) -> bool:
    """Whether the product's code says that no vaccine was administered, and no other code of it names one."""
    told = {code_of(each) for each in coded(el, ctx) if each.get("codeSystem", "").strip() == _CVX}
    return told == {_NO_VACCINE}


@resolver("no-known-immunization")
def no_known_immunization(ctx: Walk) -> Json:
    return known_absence(ctx, "immunization", _NO_KNOWN)


@flag("told-by-patient")
def told_by_patient(el: Element, ctx: Walk) -> bool:
    """Whether the patient or a relative told of it."""
    roles = (role_of(each, ctx) for each in informants(el, ctx))
    return any(is_patient(role, ctx) or is_relative(role, ctx) for role in roles if role is not None)


# why ------------------------------------------------------------------------------------------------------------------


def _says_why_not(node: Element, ctx: Walk) -> bool:
    """Whether an observation is a refusal's or another reason not to: its code is one, or asks for one."""
    codes = node.named("code")
    return any(each.get("codeSystem") == _REASONS or code_of(each) == _ASKED for each in codes)


@datatype("WHYNOT[CodeableConcept]", gives="CodeableConcept", takes="all", reads={"code", "value"})
def why_not(nodes: list[Element], ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """Why it was not given: an observation of a refusal, else any that is given as a reason."""
    told = [each for each in nodes if _says_why_not(each, ctx)] or nodes
    found = [made for each in told if (made := reason(each, ctx))]
    if len(found) > 1:
        ctx.issue("extra-value", detail="one reason of several")
    return found[0] if found else None


@datatype("WHY[CodeableConcept]", gives="CodeableConcept", reads={"code", "value"})
def why(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """Why it was given, or was to be: a problem. One that explains why it was not, is not the reason for it."""
    if isinstance(node, str) or (ctx.negated and _is_why_not(node, ctx)):
        return None
    return reason(node, ctx)


def _is_why_not(node: Element, ctx: Walk) -> bool:
    return _says_why_not(node, ctx) or not any(_says_why_not(each, ctx) for each in _whys(ctx.statement, ctx))


# parts ----------------------------------------------------------------------------------------------------------------


@resolver("reaction")
def reaction(ctx: Walk) -> Json | None:
    """The observation of a reaction, as it was made."""
    outcome = ctx.outcomes.get(ctx.being_read)
    return (
        {"reference": outcome.resource} if outcome is not None and outcome.resource.startswith("Observation/") else None
    )
