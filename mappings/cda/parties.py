"""Who takes part: persons, organizations and devices of assigned entities and authors.

A person or organization with a number is one resource, created where nothing is stored; one without is contained in
what speaks of it, for no two people may merge.
Source: CDA R2 §4.2.2 (participants); C-CDA on FHIR, participations.
"""

from typing import Any

from mappings.cda.document import Element

Json = dict[str, Any]

_ROLES = ("assignedAuthor", "assignedEntity", "assignedCustodian", "relatedEntity", "participantRole")


def latest(authors: list[Element], ctx: Any) -> Element | None:
    """The author whose time is the last; the first of those without."""
    if not authors:
        return None
    return max(authors, key=lambda each: next((t.get("value") or "" for t in ctx.kids[each].get("time", ())), ""))


def party(participation: Element, ctx: Any) -> Json | None:
    """Who takes part, as a reference."""
    for name in _ROLES:
        for role in ctx.kids[participation].get(name, ()):
            return of_role(role, ctx)
    return None


def of_role(role: Element, ctx: Any) -> Json | None:
    """The person of an assigned entity, else its organization."""
    persons = ctx.kids[role].get("assignedPerson", ())
    if not persons:
        return None
    body: Json = {"resourceType": "Practitioner"}
    ctx.run("party.Practitioner", role, body)
    del body["resourceType"]
    if not body:
        return None
    for each in body.get("identifier", ()):
        if "system" in each and "value" in each:
            reference = ctx.make("Practitioner", (each["system"], each["value"]), body)
            return {"reference": reference} if reference else None
    reference = ctx.contained({"resourceType": "Practitioner", **body})
    return {"reference": reference} if reference else None
