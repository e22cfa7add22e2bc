"""Functional, mental and nutritional status, wounds: Observations; scales hold the answers to their questions.

Older documents state an impairment as a problem (functional and cognitive status problem observations), European ones
as a problem entry: these are Conditions.
Source: C-CDA R1.1 to R5, functional and mental status, assessment scale, wound observations; eHDSI functional status.
"""

from typing import Final

from mappings.cda.domains.observation import observed, panel
from mappings.cda.element import Element
from mappings.cda.handlers import HANDLERS, handles
from mappings.cda.templates import templates
from mappings.cda.walk import Walk

_PROBLEMS: Final = frozenset({"2.16.840.1.113883.10.20.22.4.68", "2.16.840.1.113883.10.20.22.4.73"})


@handles("function", "organizer", "observation", negation=True, subject=True)
def function(walk: Walk, el: Element) -> None:
    """One observation, a group of them, or a problem."""
    if el.short == "organizer":
        panel(walk, el)
    elif not _is_problem(walk, el):
        observed(walk, el)
    elif walk.is_of_another(el):
        walk.refuse(el, "about another person")
    else:
        walk.domain = "condition"
        HANDLERS["condition"].call(walk, el)


def _is_problem(walk: Walk, el: Element) -> bool:
    """Whether its template says that it is a problem."""
    roots = [(each.get("root") or "").strip() for each in el.named("templateId")]
    known = [templates().get(root) for root in roots]
    return bool(_PROBLEMS.intersection(roots)) or any(row is not None and row.domain == "condition" for row in known)
