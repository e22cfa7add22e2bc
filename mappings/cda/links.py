"""Links between statements of one number: a reason that is a problem of its own, an entry reference that stands alone.

    reasons(walk, el, made, ("Condition/", "Observation/"))
    settle(walk, act)
    point(walk, el)

What is named may stand in a later section, so links are made when all statements have been walked
(`Assembly.later`). A number alone makes no link: real generators use one for different statements. Entry references
that rows read are `domains/entry_reference.py`'s.
Source: C-CDA on FHIR, encounters (indication); C-CDA R2.1 Entry Reference (2.16.840.1.113883.10.20.22.4.122).
"""

from typing import TYPE_CHECKING, Any

from mappings.cda.assemble import Made, number_in
from mappings.cda.bare import is_bare
from mappings.cda.domains.entry_reference import is_reference
from mappings.cda.element import Element
from mappings.cda.paths import code_of

if TYPE_CHECKING:
    from mappings.cda.walk import Walk

Json = dict[str, Any]
_OBSERVED = "Observation/"


def reasons(walk: "Walk", el: Element, made: Made, kinds: tuple[str, ...]) -> None:
    """The reasons of a statement that are statements of their own."""
    for relation in el.named("entryRelationship"):
        if relation.get("typeCode") == "RSON":
            for each in relation.named("observation"):
                _add(walk, made, each, kinds)


def _add(walk: "Walk", made: Made, reason: Element, kinds: tuple[str, ...]) -> None:
    """One more reason of a resource, once all is known; a traced conversion knows it too."""

    def link() -> None:
        found = _known(reason, walk, kinds) if made.ref in walk.by_ref else ""
        references = made.body.get("reasonReference", [])
        if not found or any(each.get("reference") == found for each in references):
            return
        made.body["reasonReference"] = [*references, {"reference": found}]
        if walk.trace is not None:
            walk.trace.rule("link", made.ref, f"reasonReference[{len(references)}]", walk.doc.place(reason))

    walk.later.append(link)


def _known(el: Element, walk: "Walk", kinds: tuple[str, ...]) -> str:
    own: str = walk.outcomes[el].resource if el in walk.outcomes else ""
    return own if own.startswith(_OBSERVED) else stated(el, walk, kinds, same=True)


def stated(el: Element, walk: "Walk", kinds: tuple[str, ...], *, same: bool = False) -> str:
    """The resource, of these kinds, of another statement with a number of this one; "" where there is none.

    `same`: only if their values share a code.
    """
    said = {code_of(each) for each in el.named("value")} - {""}
    for id_ in el.named("id"):
        for other in walk.numbered(number_in(id_)):
            found: str = walk.outcomes[other].resource
            if other is el or is_reference(other, walk) or not found.startswith(kinds):
                continue
            if not same or said & {code_of(each) for each in other.named("value")}:
                return found
    return ""


def settle(walk: "Walk", act: Element) -> None:
    """What becomes of an entry reference that stands alone is what becomes of the entry that it names."""
    walk.tell(act, "merged")

    def link() -> None:
        told = walk.outcomes[act]
        if told.outcome != "merged":
            return
        told.resource = stated(act, walk, ("",))
        if not told.resource:
            told.outcome = "narrative"
            walk.issue("dangling-reference", act)

    walk.later.append(link)


def point(walk: "Walk", el: Element) -> None:
    """What becomes of a statement that only has a number is what becomes of the one of its class that says something;
    where that is in another document, nothing is made up for it."""
    walk.tell(el, "merged")

    def link() -> None:
        told = walk.outcomes[el]
        others = (other for id_ in el.named("id") for other in walk.numbered(number_in(id_)))
        same = (other for other in others if other.tag == el.tag and other is not el and not is_bare(other, walk))
        told.resource = next((ref for other in same if (ref := walk.outcomes[other].resource)), "")
        if not told.resource:
            told.outcome = "narrative"
            walk.issue("dangling-reference", el)

    walk.later.append(link)
