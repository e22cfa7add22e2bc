"""Which encounter a statement belongs to, and the one resource of an encounter that a document names several times.

The header's encounter, one that a section lists and one that a statement only names by number are one Encounter if
their number is one. Nearest to the statement counts: what it names itself, what it stands in, the document's.
Source: CDA R2 §4.2.4 (encompassingEncounter), §4.3.6; C-CDA on FHIR, encounters (equal ids are one resource).
"""

from typing import TYPE_CHECKING, Any

from mappings.cda.datatypes.identifiers import ii_identifier
from mappings.cda.element import Element
from mappings.cda.header import encounter_key
from mappings.cda.paths import is_valued

if TYPE_CHECKING:
    from mappings.cda.walk import Walk

Json = dict[str, Any]
Key = tuple[str, ...]

_TAG, _EVENT = "encounter", "EVN"
_NAMES = frozenset({"templateId", "id", "text", "statusCode"})  # what says of an encounter only which one it is


def key_of(el: Element, walk: "Walk") -> Key:
    """What identifies an encounter that a section holds: its number, else what it is and when it began."""
    for each in el.named("id"):
        if (each.get("root") or "").strip() and not each.get("nullFlavor"):
            return encounter_key(each, walk)
    code = next((walk.identifying(each) for each in el.named("code")), "")
    start = ""
    for time in el.named("effectiveTime"):
        low = time.named("low")
        start = (low[0].get("value") if low else time.get("value")) or ""
    if not code and not start:
        return walk.subject.id, _TAG, "document", walk.doc.digest.hex(), walk.doc.place(el).path
    return walk.subject.id, _TAG, "", "", code, start


def is_bare(el: Element, walk: "Walk") -> bool:
    """Whether it is only named, and nothing told of it."""
    return not any(is_valued(each) for name, found in el.kids.items() if name not in _NAMES for each in found)


def of(el: Element | None, walk: "Walk") -> Json | None:
    """The encounter that a statement belongs to."""
    here = el
    while here is not None and here is not walk.section:
        if here is not el and here.short == _TAG and _took_place(here):
            return reference(here, walk)
        for relation in here.named("entryRelationship"):
            for each in relation.named(_TAG):
                if each is not el and _took_place(each) and _is_of(relation, each, walk):
                    return reference(each, walk)
        here = here.parent
    return {"reference": walk.encounter.ref} if walk.encounter is not None else None


def _took_place(el: Element) -> bool:
    """Whether it is an encounter, and not one to come."""
    return el.get("moodCode", _EVENT) == _EVENT


def _is_of(relation: Element, el: Element, walk: "Walk") -> bool:
    """Whether an encounter inside a statement is the one around it: so it is said, or it is only named there."""
    inverted = relation.get("inversionInd") == "true" or is_bare(el, walk)
    return relation.get("typeCode") == "COMP" and inverted and bool(el.kids.get("id"))


def reference(el: Element, walk: "Walk") -> Json:
    """To the resource of an encounter: as it was made, else to what will be, of which only the number is known."""
    if el in walk.outcomes and walk.outcomes[el].resource.startswith("Encounter/"):
        return {"reference": walk.outcomes[el].resource}
    made = walk.place_one("Encounter", key_of(el, walk), "stub", el)
    if "subject" not in made.body:
        numbers = [found for each in el.named("id") if (found := ii_identifier(each, walk)) is not None]
        made.body |= {"identifier": numbers} if numbers else {}
        made.body |= {"status": "unknown", "subject": {"reference": walk.subject.ref}}
        made.filled = ["status"]
    return {"reference": made.ref}
