"""Which encounter a statement belongs to, and the one resource of an encounter that a document names several times.

The header's encounter, one that a section lists and one that a statement only names by number are one Encounter if
their number is one. Nearest to the statement counts: what it names itself, what it stands in, the document's.
Source: CDA R2 §4.2.4 (encompassingEncounter), §4.3.6; C-CDA on FHIR, encounters (equal ids are one resource).
"""

from typing import Any

from mappings.cda.datatypes.identifiers import ii_identifier
from mappings.cda.document import Element, short
from mappings.cda.header import encounter_key
from mappings.cda.paths import is_valued

Json = dict[str, Any]
Key = tuple[str, ...]

_TAG, _EVENT = "encounter", "EVN"
_NAMES = frozenset({"templateId", "id", "text", "statusCode"})  # what says of an encounter only which one it is


def key_of(el: Element, walk: Any) -> Key:
    """What identifies an encounter that a section holds: its number, else what it is and when it began."""
    for each in walk.kids[el].get("id", ()):
        if (each.get("root") or "").strip() and not each.get("nullFlavor"):
            return encounter_key(each, walk)
    code = next((walk.identifying(each) for each in walk.kids[el].get("code", ())), "")
    start = ""
    for time in walk.kids[el].get("effectiveTime", ()):
        low = walk.kids[time].get("low", ())
        start = (low[0].get("value") if low else time.get("value")) or ""
    if not code and not start:
        return walk.patient.id, _TAG, "document", walk.doc.digest.hex(), walk.doc.place(el).path
    return walk.patient.id, _TAG, "", "", code, start


def is_bare(el: Element, walk: Any) -> bool:
    """Whether it is only named, and nothing told of it."""
    return not any(is_valued(each) for name, found in walk.kids[el].items() if name not in _NAMES for each in found)


def of(el: Element | None, walk: Any) -> Json | None:
    """The encounter that a statement belongs to."""
    here = el
    while here is not None and here is not walk.section:
        if here is not el and short(str(here.tag)) == _TAG and _took_place(here):
            return reference(here, walk)
        for relation in walk.kids[here].get("entryRelationship", ()):
            for each in walk.kids[relation].get(_TAG, ()):
                if each is not el and _took_place(each) and _is_of(relation, each, walk):
                    return reference(each, walk)
        here = here.getparent()
    return {"reference": walk.encounter.ref} if walk.encounter is not None else None


def _took_place(el: Element) -> bool:
    """Whether it is an encounter, and not one to come."""
    return el.get("moodCode", _EVENT) == _EVENT


def _is_of(relation: Element, el: Element, walk: Any) -> bool:
    """Whether an encounter inside a statement is the one around it: so it is said, or it is only named there."""
    inverted = relation.get("inversionInd") == "true" or is_bare(el, walk)
    return relation.get("typeCode") == "COMP" and inverted and bool(walk.kids[el].get("id"))


def reference(el: Element, walk: Any) -> Json:
    """To the resource of an encounter: as it was made, else to what will be, of which only the number is known."""
    if el in walk.outcomes and walk.outcomes[el].resource.startswith("Encounter/"):
        return {"reference": walk.outcomes[el].resource}
    made = walk.place_one("Encounter", key_of(el, walk), "stub", el)
    if "subject" not in made.body:
        numbers = [found for each in walk.kids[el].get("id", ()) if (found := ii_identifier(each, walk)) is not None]
        made.body |= {"identifier": numbers} if numbers else {}
        made.body |= {"status": "unknown", "subject": {"reference": walk.patient.ref}}
        made.filled = ["status"]
    return {"reference": made.ref}
