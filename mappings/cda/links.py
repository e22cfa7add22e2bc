"""Links between statements that name each other by number: an entry reference, a reason that is a problem of its own.

    reasons(walk, el, made, ("Condition/", "Observation/"))
    settle(walk, act)

An entry reference is an act that holds nothing but the number of another statement. What it names may stand in a later
section, so links are made when all statements have been walked (`Assembly.later`). A number that the document does not
state stays an identifier.
Source: C-CDA R2.1 Entry Reference (2.16.840.1.113883.10.20.22.4.122); C-CDA on FHIR, encounters (indication).
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from mappings.cda.assemble import Made, number_in
from mappings.cda.datatypes.identifiers import ii_identifier
from mappings.cda.document import Element
from mappings.cda.paths import code_of, has_template, is_valued

Json = dict[str, Any]

ENTRY_REFERENCE = "2.16.840.1.113883.10.20.22.4.122"
_HELD = frozenset({"templateId", "id", "code", "statusCode"})


def is_reference(el: Element, walk: Any) -> bool:
    """Whether an act only points at another entry: so its template says, or it holds a number and no code."""
    if not str(el.tag).endswith("}act"):
        return False
    if has_template(el, walk.kids, (ENTRY_REFERENCE,)):
        return True
    kids = walk.kids[el]
    return "id" in kids and not kids.keys() - _HELD and not any(is_valued(each) for each in kids.get("code", ()))


def stated(el: Element, walk: Any, kinds: tuple[str, ...], *, same: bool = False) -> str:
    """The resource, of these kinds, of another statement with a number of this one; "" where there is none.

    `same`: only if their values share a code, for real generators use one number for different statements.
    """
    said = {code_of(each) for each in walk.kids[el].get("value", ())} - {""}
    for id_ in walk.kids[el].get("id", ()):
        for other in walk.numbered(number_in(id_)):
            found: str = walk.outcomes[other].resource
            if other is el or is_reference(other, walk) or not found.startswith(kinds):
                continue
            if not same or said & {code_of(each) for each in walk.kids[other].get("value", ())}:
                return found
    return ""


def identified(el: Element, walk: Any) -> Json | None:
    """A statement that nothing was made of, by its number."""
    numbers = (ii_identifier(each, walk) for each in walk.kids[el].get("id", ()))
    return next(({"identifier": found} for found in numbers if found and "value" in found), None)


def settle(walk: Any, act: Element) -> None:
    """What became of an entry reference is what became of the entry that it names."""
    walk.read.add(act)
    walk.tell(act, "merged")

    def link() -> None:
        if walk.outcomes[act].outcome != "merged":
            return
        if found := stated(act, walk, ("",)):
            walk.outcomes[act] = replace(walk.outcomes[act], resource=found)
        else:
            walk.outcomes[act] = replace(walk.outcomes[act], outcome="narrative")
            walk.issue("dangling-reference", act)

    walk.later.append(link)


def later_reference(el: Element, walk: Any) -> Json | None:
    """A reference to what an entry reference names: its number until all is known, then the resource."""
    found = identified(el, walk)
    if found is None:
        return None

    def link() -> None:
        if resource := stated(el, walk, ("",)):
            found.clear()
            found["reference"] = resource

    walk.later.append(link)
    return found


def reasons(walk: Any, el: Element, made: Made, kinds: tuple[str, ...]) -> None:
    """The reasons of a statement that are statements of their own; what an entry reference names, resolved or not."""
    for relation in walk.kids[el].get("entryRelationship", ()):
        if relation.get("typeCode") != "RSON":
            continue
        for each in walk.kids[relation].get("act", ()):
            if is_reference(each, walk):
                settle(walk, each)
                _add(walk, made, each, partial(_resolved, each, walk, kinds))
        for each in walk.kids[relation].get("observation", ()):
            _add(walk, made, each, partial(_known, each, walk, kinds))


def _resolved(act: Element, walk: Any, kinds: tuple[str, ...]) -> Json | None:
    found = stated(act, walk, kinds)
    return {"reference": found} if found else identified(act, walk)


def _known(el: Element, walk: Any, kinds: tuple[str, ...]) -> Json | None:
    own = walk.outcomes[el].resource if el in walk.outcomes else ""
    if own.startswith("Observation/"):  # a scale or a result, that no reason code could say
        return {"reference": own}
    found = stated(el, walk, kinds, same=True)
    return {"reference": found} if found else None


def _add(walk: Any, made: Made, el: Element, found: Callable[[], Json | None]) -> None:
    """One more reason of a resource, once all is known; a traced conversion knows it too."""
    name = "reasonReference"

    def link() -> None:
        reference = found() if made.ref in walk.by_ref else None
        known = made.body.get(name, [])
        if reference is None or reference in known:
            return
        made.body[name] = [*known, reference]
        if walk.trace is not None:
            walk.trace.rule("link", made.ref, f"{name}[{len(known)}]", walk.doc.place(el))

    walk.later.append(link)
