"""Family history: one FamilyMemberHistory a relative, with what she had and what she died of.

A negated problem of a relative is nothing that FHIR could hold: it stays in the narrative and is told of.
Source: C-CDA R2.1 (family history organizer, observation and death observation); C-CDA on FHIR, family history.
"""

from typing import Any

from mappings.cda.document import Element, short
from mappings.cda.domains.observation import observed
from mappings.cda.handlers import handles
from mappings.cda.named import flag
from mappings.cda.paths import code_of
from mappings.cda.walk import Walk

_DEAD = "419099009"  # SNOMED CT


@handles("family", "organizer", "observation", negation=True, subject=True)
def family(walk: Walk, el: Element) -> None:
    """What is known of one relative; an observation alone tells one thing of her, or of the whole family."""
    if walk.negated:
        walk.refuse(el, "negated")
    elif short(str(el.tag)) == "organizer":
        walk.state("family.FamilyMemberHistory", el)
    elif walk.is_of_another(el):
        walk.state("family.FamilyMemberHistory-lone", el)
    else:
        observed(walk, el)


def _killed(el: Element, ctx: Any) -> bool:
    """Whether the relative died of it."""
    return any(
        code_of(value) == _DEAD
        for relation in ctx.kids[el].get("entryRelationship", ())
        if relation.get("typeCode") == "CAUS"
        for observation in ctx.kids[relation].get("observation", ())
        for value in ctx.kids[observation].get("value", ())
    )


@flag("someone-died")
def someone_died(el: Element, ctx: Any) -> bool:
    """Whether a problem of the relative is told to have killed her."""
    return any(
        _killed(observation, ctx)
        for component in ctx.kids[el].get("component", ())
        for observation in ctx.kids[component].get("observation", ())
    )
