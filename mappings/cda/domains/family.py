"""Family history: one FamilyMemberHistory a relative, with what she had and what she died of.

A negated problem of a relative is nothing that FHIR could hold: it stays in the narrative and is told of.
Source: C-CDA R2.1 (family history organizer, observation and death observation); C-CDA on FHIR, family history.
"""

from typing import Final

from mappings.cda.assemble import lexeme_of
from mappings.cda.element import Element
from mappings.cda.handlers import handles
from mappings.cda.named import flag
from mappings.cda.paths import code_of, denied, is_valued
from mappings.cda.walk import Walk

_DEAD: Final = "419099009"  # SNOMED CT


@handles("family", "organizer", "observation", negation=True, subject=True)
def family(walk: Walk, el: Element) -> None:
    """What is known of one relative; an observation alone tells one thing of her, or of the whole family."""
    if walk.negated:
        walk.refuse(el, "negated")
    elif el.short == "organizer":
        walk.state("family.FamilyMemberHistory", el, *_told_apart(walk, el))
    else:  # of whom is not said, but that it is no fact of the patient's own
        walk.state("family.FamilyMemberHistory-lone", el)


def _told_apart(walk: Walk, el: Element) -> tuple[str, ...]:
    """Relatives of one kind without number or name are told apart by what is said of them: two brothers are two."""
    numbered = any(walk.own_id(el)) or any(
        is_valued(name)
        for subject in el.named("subject")
        for relative in subject.named("relatedSubject")
        for person in relative.named("subject")
        for name in person.named("name")
    )
    return () if numbered else (lexeme_of(el),)


def _killed(el: Element, ctx: Walk) -> bool:
    """Whether the relative died of it."""
    return any(
        code_of(value) == _DEAD
        for relation in el.named("entryRelationship")
        if relation.get("typeCode") == "CAUS"
        for observation in relation.named("observation")
        if not denied(observation)
        for value in observation.named("value")
    )


@flag("someone-died")
def someone_died(el: Element, ctx: Walk) -> bool:
    """Whether a problem of the relative is told to have killed her."""
    return any(
        _killed(observation, ctx)
        for component in el.named("component")
        for observation in component.named("observation")
        if not denied(observation)
    )
