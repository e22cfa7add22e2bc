"""Results and orders that name their parent by number only: the number becomes a reference when exactly one holds it.

A child report names the line it comes from by the parent's order number, code and sub-id; each Observation carries that
triple as an identifier. The parent has to be the same patient's: numbers of two laboratories meet by accident. What is
not found stays a logical reference, and is searched as one.
Source: hl7v2 chapter §9 "Parents".
"""

from typing import TYPE_CHECKING

from adapter.store.names import Known
from mappings.fhir.codec import Json

if TYPE_CHECKING:
    from adapter.store.writing import Commit

LINKS = ("basedOn", "derivedFrom")


def with_parents(commit: "Commit", known: Known, body: Json) -> Json:
    """The same body, or a copy whose logical links are references as well. Raises NeedKeys."""
    found = {
        name: [_linked(commit, known, body, each) if _logical(each) else each for each in body[name]]
        for name in LINKS
        if any(map(_logical, body.get(name, ())))
    }
    return body | found if found else body


def _logical(link: Json) -> bool:
    return "identifier" in link and "reference" not in link and "type" in link


def _linked(commit: "Commit", known: Known, body: Json, link: Json) -> Json:
    system, value = link["identifier"].get("system"), link["identifier"].get("value")
    if not system or not value:
        return link
    owner = commit.belonging.owner_of(known, body)
    parents = [one for one in commit.names.holders(link["type"], system, value) if one.owner == owner]
    parents = [one for one in parents if one.rid != known.rid]
    return {"reference": parents[0].reference, **link} if len(parents) == 1 else link
