"""Statements of one identity that say different things in one document: each gets a name by what it says.

    tell_apart(walk, sections)      once every statement has been walked and every link is made

Until then the first of them has the name that it would have alone, the others names of no meaning. Alone is what none
of them is: another document that holds one of them must not say it of the other, so the name by identity goes to none.
What tells them apart is content and never order: whether it is denied, when it began, its value, else its words; where
these are equal too, the whole of it. References that were made meanwhile follow: those in resources and sections, the
outcomes and the trace.

Source: design of identities; a statement's id alone is no identity, for real generators reuse it.
"""

import hashlib
from typing import Any

from mappings.bundle import pointed
from mappings.cda.assemble import Assembly, Made, comparable
from mappings.cda.compiled import Make
from mappings.cda.document import XSI_TYPE
from mappings.cda.element import Element

Json = dict[str, Any]
Key = tuple[str, ...]


def tell_apart(walk: Assembly, sections: list[Json]) -> None:
    """Names all that share an identity."""
    if not walk.twins:
        return
    moved: dict[str, str] = {}
    alike: list[tuple[list[Made], list[Key]]] = []
    for ref, others in walk.twins.items():
        group = [walk.by_ref[ref], *others]
        told = [min(_said(walk, el, others[0].make) for el in each.said_by()) for each in group]
        if len(set(told)) == len(told):
            _named(walk, group, told, moved)
        else:
            alike.append((group, told))
    for group, told in alike:  # those without a body of their own to compare are named already
        whole = [
            (*said, repr(comparable(pointed(made.body, moved)))) if told.count(said) > 1 else said
            for made, said in zip(group, told, strict=True)
        ]
        _named(walk, group, whole, moved)
    _follow(walk, sections, moved)


def _named(walk: Assembly, group: list[Made], told: list[Key], moved: dict[str, str]) -> None:
    """The new names of a group, for whoever refers to it by the old ones."""
    key = group[-1].key  # the first may have been made by another rule, without one
    for made, said in zip(group, told, strict=True):
        digest = hashlib.sha256("\x1f".join(said).encode("utf-8", "surrogatepass")).hexdigest()
        moved[made.ref] = f"{made.type}/{walk.identities.make(made.type, (*key, digest))}"


def _said(walk: Assembly, el: Element, make: Make | None) -> Key:
    """What a statement says, in its own words: no anchor of the narrative, for these are of one document."""
    values = [_content(each) for each in el.named("value")]
    words = values or [walk.identifying(each) for each in el.named("text")]
    start = walk.first_of(make.start, el) if make is not None else ""
    return el.get("negationInd", ""), start, *words


def _content(el: Element) -> str:
    """Attributes and text of an element; the prefix of its type is the writer's."""
    told = [
        f"{name}={value.rpartition(':')[2] if name == XSI_TYPE else value};"
        for each in el.iter()
        if each.short != "reference"
        for name, value in sorted((str(name), str(value)) for name, value in each.attrib.items())
    ]
    return "".join(told) + " ".join("".join(el.itertext()).split()).casefold()


def _follow(walk: Assembly, sections: list[Json], moved: dict[str, str]) -> None:
    """Whatever was told of a resource under the name that it had."""
    for made in walk.made:
        if (ref := moved.get(made.ref)) is not None:
            made.ref, made.id = ref, ref.partition("/")[2]
            made.body["id"] = made.id
        _refer(made.body, moved)
    walk.by_ref = {made.ref: made for made in walk.made}
    for section in sections:
        _refer(section, moved)
    for outcome in walk.outcomes.values():
        outcome.resource = moved.get(outcome.resource, outcome.resource)
    if walk.trace is not None:
        walk.trace.rename({old: (new, "") for old, new in moved.items()})


def _refer(value: Any, moved: dict[str, str]) -> None:
    """In place, for what still waits for a reference knows it by the object that holds it."""
    if isinstance(value, list):
        for each in value:
            if not isinstance(each, str):
                _refer(each, moved)
    elif isinstance(value, dict):
        for name, each in value.items():
            if not isinstance(each, str):
                _refer(each, moved)
            elif name == "reference":
                value[name] = moved.get(each, each)
