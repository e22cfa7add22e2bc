"""Specimens of results: what a panel or a result says it was made of, and how that was taken.

One with a number is a resource of its own, by patient and number; one without is contained in what speaks of it. The
panel's is each of its results', if it is one; the procedure of its taking says more of the specimen of its number, or
of the only one.
Source: CDA R2 §4.3.6 (specimen); C-CDA R3, specimen collection procedure; IHE PaLM TF-3 XD-LAB, specimen collection;
C-CDA on FHIR, results.
"""

from typing import Any, Final

from mappings.cda.around import outwards
from mappings.cda.domains.members import is_collection
from mappings.cda.element import Element
from mappings.cda.named import resolver
from mappings.cda.parties import raw_keys
from mappings.cda.walk import Walk

Json = dict[str, Any]
Key = tuple[str, str]

_LISTS: Final = frozenset({"identifier", "note", "condition"})
_HOLDERS: Final = frozenset({"organizer", "observation", "act"})


class _Sample:
    """One specimen as it is told of: its role, and the procedures of its taking."""

    def __init__(self, role: Element | None) -> None:
        self.role = role
        self.taken: list[Element] = []


@resolver("specimen")
def specimen(ctx: Walk) -> Json | None:
    """The specimen of a statement: its own, else the one of what it is part of; of several none is the one."""
    for here in outwards(ctx.statement):
        if here is ctx.section:
            return None
        if here.short in _HOLDERS and (found := specimens(here, ctx)):
            return found[0] if here is ctx.statement or len(found) == 1 else None
    return None


def specimens(holder: Element, walk: Walk) -> list[Json]:
    """References to all specimens that a panel or a result tells of."""
    kids = holder.kids
    if "specimen" not in kids and "component" not in kids and "entryRelationship" not in kids:
        return []
    found: list[Json] = []
    for each in _samples(holder, walk):
        reference = _reference(each, walk)
        if reference is not None and reference not in found:
            found.append(reference)
    return found


def collected(walk: Walk, el: Element) -> bool:
    """The taking of a specimen that stands by itself; False where it names none by its number."""
    role = _role_of(el, walk)
    if role is None or _number(role, walk) is None:
        return False
    each = _Sample(role)
    each.taken.append(el)
    reference = _reference(each, walk)
    if reference is not None:
        walk.tell(el, "mapped", reference["reference"])
    return reference is not None


def _samples(holder: Element, walk: Walk) -> list[_Sample]:
    kids = holder.kids
    roles = [role for each in kids.get("specimen", ()) for role in each.named("specimenRole")]
    samples = [_Sample(role) for role in roles]
    for name in ("component", "entryRelationship"):
        for relation in kids.get(name, ()):
            for taking in relation.named("procedure"):
                if is_collection(taking, walk):
                    _of_taking(taking, samples, walk)
    return samples


def _of_taking(taking: Element, samples: list[_Sample], walk: Walk) -> None:
    """The specimen that was taken: the one of its number; the only one, where the procedure names none."""
    role = _role_of(taking, walk)
    numbers = raw_keys(role, walk) if role is not None else frozenset()
    for each in samples:
        own = raw_keys(each.role, walk) if each.role is not None else frozenset()
        if own & numbers or (len(samples) == 1 and not (own and numbers)):
            each.role = each.role if each.role is not None else role
            each.taken.append(taking)
            return
    samples.append(_Sample(role))
    samples[-1].taken.append(taking)


def _role_of(taking: Element, walk: Walk) -> Element | None:
    """What was taken: C-CDA has it as the specimen, IHE as the product."""
    kids = taking.kids
    for name, inner in (("specimen", "specimenRole"), ("participant", "participantRole")):
        for each in kids.get(name, ()):
            if name == "participant" and each.get("typeCode") != "PRD":
                continue
            for role in each.named(inner):
                found: Element = role
                return found
    return None


def _number(role: Element | None, walk: Walk) -> Key | None:
    """The number of a specimen: of its ids the first that has a root."""
    if role is None:
        return None
    for each in role.named("id"):
        if root := (each.get("root") or "").strip().lower():
            return root, (each.get("extension") or "").strip()
    return None


def _reference(sample: _Sample, walk: Walk) -> Json | None:
    for taking in sample.taken:
        walk.read.add(taking)
    number = _number(sample.role, walk)
    if number is None or sample.role is None:
        return _contained(sample, walk)
    made = walk.place_one("Specimen", ("specimen", walk.subject.id, *number), "state", sample.role)
    told = _told(walk, made.ref)
    for name, el in (
        ("result.Specimen", sample.role),
        *(("result.Specimen-collection", each) for each in sample.taken),
    ):
        if el not in told:
            told.add(el)
            walk.fill(name, el, made)
            for listed in _LISTS.intersection(made.body):  # each of its results may tell the same of it
                said = made.body[listed]
                made.body[listed] = [one for number, one in enumerate(said) if one not in said[:number]]
    return {"reference": made.ref}


def _told(walk: Walk, ref: str) -> set[Element]:
    """The elements that have said of a specimen what they say: it is told of by each of its results."""
    found: dict[str, set[Element]] | None = walk.specimens_told
    if found is None:
        found = walk.specimens_told = {}
    return found.setdefault(ref, set())


def _contained(sample: _Sample, walk: Walk) -> Json | None:
    body: Json = {"resourceType": "Specimen"}
    if sample.role is not None:
        walk.run("result.Specimen", sample.role, body)
    for taking in sample.taken:
        walk.run("result.Specimen-collection", taking, body)
    if not body.keys() - {"resourceType", "subject"}:
        return None
    target = walk.contained(body)
    return {"reference": target} if target is not None else None
