"""Observations of every kind: results, signs, scales, social facts, and what stands in no section that knows it.

One map serves them all (`observation.Observation`); a section adds its category, a domain what is its own. A negated
assertion is an observation that something is not so; any other negated observation is nothing that FHIR could hold
without turning it round, and is refused.
Source: CDA R2 §4.3.6 (Observation); C-CDA R2.1, result and vital sign observations; C-CDA on FHIR, results.
"""

from typing import Any

from mappings.cda.document import Element
from mappings.cda.handlers import handles
from mappings.cda.named import flag, resolver
from mappings.cda.paths import code_of, is_valued, parse_paths, reader
from mappings.cda.walk import Walk
from mappings.fhir import values

Json = dict[str, Any]

_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_BY_DOMAIN = {"result": "laboratory", "vital": "vital-signs", "social": "social-history", "pregnancy": "social-history"}
_ASSERTION = "ASSERTION"  # HL7 v3 ActCode: the value is what is asserted

(_observed,) = (reader(ref) for ref in parse_paths("component/observation"))


@handles("observation", "observation", negation=True)
def observation(walk: Walk, el: Element) -> None:
    """One observation."""
    observed(walk, el)


def observed(walk: Walk, el: Element, name: str = "observation.Observation") -> None:
    """By a map of observations, unless it denies an answer instead of a finding."""
    if walk.negated and not is_assertion(el, walk):
        walk.refuse(el, "negated")
    else:
        walk.state(name, el)


@flag("assertion")
def is_assertion(el: Element, ctx: Any) -> bool:
    """Whether the value says what was found, and the code only that it was."""
    codes = [code_of(each) for each in ctx.kids[el].get("code", ())]
    return bool(codes) and codes[0] == _ASSERTION and any(is_valued(each) for each in ctx.kids[el].get("value", ()))


@flag("several-values")
def several_values(el: Element, ctx: Any) -> bool:
    return len([each for each in ctx.kids[el].get("value", ()) if is_valued(each)]) > 1


@resolver("observation-category")
def category(ctx: Any) -> Json | None:
    """What kind of observation it is: its section says so, else its domain."""
    row = ctx.section_row
    known = row is not None and row.domain == ctx.domain
    code = row.category if known and row.category else _BY_DOMAIN.get(ctx.domain, "")
    return values.concept([{"system": _CATEGORY, "code": code}]) if code else None


@resolver("is-so")
def is_so(ctx: Any) -> bool:
    """Of an assertion: whether it is so."""
    return not ctx.negated
