"""What observations and panels hold: each a statement of its own, linked to what it is part of.

Source: CDA R2 §4.3.8 (relationships between statements: COMP, SUBJ, SPRT, XCRPT); FHIR R4 Observation.hasMember and
derivedFrom; C-CDA R2.1, result organizer, assessment scale.
"""

from collections.abc import Iterator
from typing import Any

from mappings.cda.around import outwards
from mappings.cda.datatypes.coded import cd_concept
from mappings.cda.datatypes.times import ts_datetime
from mappings.cda.document import Element, short
from mappings.cda.domains.answers import asserts, codes_of, is_pregnancy
from mappings.cda.named import flag, resolver
from mappings.cda.paths import STATEMENTS, is_valued
from mappings.cda.walk import Walk
from mappings.fhir import values

Json = dict[str, Any]

# HL7 v3 ActRelationshipType → what R4 calls it
_LINKS = {"COMP": "hasMember", "SUBJ": "hasMember", "SPRT": "derivedFrom", "XCRPT": "derivedFrom"}
_DERIVED = frozenset({"Media", "DocumentReference"})
_UNITS = "246514001"  # SNOMED CT, units
_DELIVERY = frozenset({"11778-8", "11779-6", "11780-4"})  # LOINC, expected dates of delivery: IPS 2.0
_ULCERS = "2.16.840.1.113883.10.20.22.4.76"  # C-CDA, number of pressure ulcers
_COMMENT = "48767-8"  # LOINC
_COLLECTIONS = frozenset({"17636008", "33882-2"})  # specimen collection: SNOMED CT, LOINC
_WHOLE_TIME = len("2026-01-01T00:00:00Z")  # an instant


def members(walk: Walk, el: Element) -> list[tuple[str, str]]:
    """The observations and images within an observation, each as a statement: (element of FHIR, reference)."""
    outer, walk.act = walk.act, el
    denied, walk.negated = walk.negated, False
    found: list[tuple[str, str]] = []
    for relation in walk.kids[el].get("entryRelationship", ()):
        link = _LINKS.get(relation.get("typeCode", ""))
        for child in statements(relation):
            tag = short(str(child.tag))
            if tag == "observationMedia" or (tag == "observation" and link and not _is_part(child, el, walk)):
                walk.take(child, walk.domain)
                ref = walk.outcomes[child].resource
                found += _linked(ref, link)
    walk.act, walk.negated = outer, denied
    return list(dict.fromkeys(found))


def statements(holder: Element) -> Iterator[Element]:
    """What a relationship or a component holds, in order."""
    for child in holder:
        if short(str(child.tag)) in STATEMENTS:
            yield child


def _linked(ref: str, link: str | None) -> list[tuple[str, str]]:
    kind = ref.partition("/")[0]
    if kind in _DERIVED:
        return [("derivedFrom", ref)]
    return [(link, ref)] if kind == "Observation" and link else []


def _is_part(child: Element, el: Element, walk: Walk) -> bool:
    """Whether rows of the observation read it: its unit, what is counted, when a child is due."""
    codes = set(codes_of(child, walk))
    if _UNITS in codes:
        return True
    if asserts(child, walk):
        return walk.has_template(el, _ULCERS)
    return bool(codes & _DELIVERY) and is_pregnancy(el, walk)


def components(walk: Walk, el: Element) -> list[str]:
    """What an organizer holds, each as a statement of its section; the references of what was made, in order.

    Comments and the taking of specimens are the organizer's own, its rows read them."""
    outer, walk.act = walk.act, el
    made: list[str] = []
    for component in walk.kids[el].get("component", ()):
        for child in statements(component):
            if is_comment(child, walk) or is_collection(child, walk):
                continue
            walk.take(child, walk.domain)
            ref = walk.outcomes[child].resource
            if ref and ref not in made:
                made.append(ref)
    walk.act = outer
    return made


def is_comment(el: Element, ctx: Any) -> bool:
    return short(str(el.tag)) == "act" and _COMMENT in codes_of(el, ctx)


def is_collection(el: Element, ctx: Any) -> bool:
    """The taking of a specimen, told with its results; one that was not done is no specimen."""
    if short(str(el.tag)) != "procedure" or el.get("negationInd", "").strip() in ("true", "1"):
        return False
    return not _COLLECTIONS.isdisjoint(codes_of(el, ctx)) and el.get("moodCode", "EVN") == "EVN"


@resolver("components-time")
def components_time(ctx: Any) -> Json | None:
    """The earliest and the latest time of the parts of a panel without one."""
    told, ctx.issues = ctx.issues, []  # each is told of where it stands
    times: list[str] = []
    for component in ctx.kids[ctx.statement].get("component", ()):
        for child in ctx.kids[component].get("observation", ()):
            for time in ctx.kids[child].get("effectiveTime", ()):
                found = ts_datetime(time, ctx, None)
                value = found[0] if isinstance(found, tuple) else found
                times += [value] if value else []
    ctx.issues = told
    if not times:
        return None
    start, end = min(times), max(times)
    return {"effectiveDateTime": start} if start == end else {"effectivePeriod": {"start": start, "end": end}}


@resolver("section-code")
def section_code(ctx: Any) -> Json | None:
    """What a panel without a code is: what its section is."""
    codes = ctx.kids[ctx.section].get("code", ()) if ctx.section is not None else ()
    return next((found for each in codes if (found := cd_concept(each, ctx)) is not None), None) or values.concept(
        [], "results"
    )


# times ----------------------------------------------------------------------------------------------------------------


@flag("own-time")
def own_time(el: Element, ctx: Any) -> bool:
    return any(is_valued(each) for each in ctx.kids[el].get("effectiveTime", ()))


@flag("in-panel")
def in_panel(el: Element, ctx: Any) -> bool:
    """Whether it is part of a panel or a scale, whose time is its own."""
    return ctx.act is not None and short(str(ctx.act.tag)) in ("organizer", "observation")


@resolver("issued")
def issued(ctx: Any) -> str | None:
    """When it was written down last, if that is an instant."""
    for here in outwards(ctx.statement):
        if here is ctx.section:
            return None
        if found := ctx.kids[here].get("author"):
            told, ctx.issues = ctx.issues, []  # a time that is none is told of where authors are read
            times = [_instant(time, ctx) for each in found for time in ctx.kids[each].get("time", ())]
            ctx.issues = told
            return max((time for time in times if time), default=None)
    return None


def _instant(time: Element, ctx: Any) -> str | None:
    found = ts_datetime(time, ctx, None)
    value: str | None = found[0] if isinstance(found, tuple) else found
    return value if value is not None and len(value) >= _WHOLE_TIME else None
