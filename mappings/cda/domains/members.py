"""What observations and panels hold: each a statement of its own, linked to what it is part of.

Source: CDA R2 §4.3.8 (relationships between statements: COMP, SUBJ, SPRT, XCRPT); FHIR R4 Observation.hasMember and
derivedFrom; C-CDA R2.1, result organizer, assessment scale.
"""

from typing import Any, Final

from mappings.cda.around import outwards
from mappings.cda.datatypes.coded import cd_concept
from mappings.cda.datatypes.times import ts_datetime
from mappings.cda.domains.answers import asserts, codes_of, is_pregnancy
from mappings.cda.element import Element
from mappings.cda.named import flag, resolver
from mappings.cda.paths import STATEMENTS, is_valued
from mappings.cda.walk import Walk
from mappings.fhir import values

Json = dict[str, Any]

# HL7 v3 ActRelationshipType → what R4 calls it
_LINKS: Final = {"COMP": "hasMember", "SUBJ": "hasMember", "SPRT": "derivedFrom", "XCRPT": "derivedFrom"}
_DERIVED: Final = frozenset({"Media", "DocumentReference"})
_UNITS: Final = "246514001"  # SNOMED CT, units
_DELIVERY: Final = frozenset({"11778-8", "11779-6", "11780-4"})  # LOINC, expected dates of delivery: IPS 2.0
_ULCERS: Final = "2.16.840.1.113883.10.20.22.4.76"  # C-CDA, number of pressure ulcers
_COMMENT: Final = "48767-8"  # LOINC
_COLLECTIONS: Final = frozenset({"17636008", "33882-2"})  # specimen collection: SNOMED CT, LOINC
_WHOLE_TIME: Final = len("2026-01-01T00:00:00Z")  # an instant


def members(walk: Walk, el: Element) -> list[tuple[str, str]]:
    """The observations and images within an observation, each as a statement: (element of FHIR, reference)."""
    outer, walk.act = walk.act, el
    denied, walk.negated = walk.negated, False
    found: list[tuple[str, str]] = []
    for relation in el.named("entryRelationship"):
        link = _LINKS.get(relation.get("typeCode", ""))
        for child in statements(relation):
            tag = child.short
            if tag == "observationMedia" or (tag == "observation" and link and not _is_part(child, el, walk)):
                walk.take(child, walk.domain)
                ref = walk.outcomes[child].resource
                found += _linked(ref, link)
    walk.act, walk.negated = outer, denied
    return list(dict.fromkeys(found))


def statements(holder: Element) -> list[Element]:
    """What a relationship or a component holds, in order."""
    return [child for child in holder.children if child.short in STATEMENTS]


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
    for component in el.named("component"):
        for child in statements(component):
            if is_comment(child, walk) or is_collection(child, walk):
                continue
            walk.take(child, walk.domain)
            ref = walk.outcomes[child].resource
            if ref and ref not in made:
                made.append(ref)
    walk.act = outer
    return made


def is_comment(el: Element, ctx: Walk) -> bool:
    return el.short == "act" and _COMMENT in codes_of(el, ctx)


def is_collection(el: Element, ctx: Walk) -> bool:
    """The taking of a specimen, told with its results; one that was not done is no specimen."""
    if el.short != "procedure" or el.get("negationInd", "").strip() in ("true", "1"):
        return False
    return not _COLLECTIONS.isdisjoint(codes_of(el, ctx)) and el.get("moodCode", "EVN") == "EVN"


@resolver("components-time")
def components_time(ctx: Walk) -> Json | None:
    """The earliest and the latest time of the parts of a panel without one."""
    told, ctx.issues = ctx.issues, []  # each is told of where it stands
    times: list[str] = []
    for component in ctx.at_hand.named("component"):
        for child in component.named("observation"):
            for time in child.named("effectiveTime"):
                found = ts_datetime(time, ctx, None)
                value = found[0] if isinstance(found, tuple) else found
                times += [value] if value else []
    ctx.issues = told
    if not times:
        return None
    start, end = min(times), max(times)
    return {"effectiveDateTime": start} if start == end else {"effectivePeriod": {"start": start, "end": end}}


@resolver("section-code")
def section_code(ctx: Walk) -> Json | None:
    """What a panel without a code is: what its section is."""
    codes = ctx.section.named("code") if ctx.section is not None else ()
    return next((found for each in codes if (found := cd_concept(each, ctx)) is not None), None) or values.concept(
        [], "results"
    )


# times ----------------------------------------------------------------------------------------------------------------


@flag("own-time")
def own_time(el: Element, ctx: Walk) -> bool:
    return any(is_valued(each) for each in el.named("effectiveTime"))


@flag("in-panel")
def in_panel(el: Element, ctx: Walk) -> bool:
    """Whether it is part of a panel or a scale, whose time is its own."""
    return ctx.act is not None and ctx.act.short in ("organizer", "observation")


@resolver("issued")
def issued(ctx: Walk) -> str | None:
    """When it was written down last, if that is an instant."""
    for here in outwards(ctx.statement):
        if here is ctx.section:
            return None
        if found := here.kids.get("author"):
            told, ctx.issues = ctx.issues, []  # a time that is none is told of where authors are read
            times = [_instant(time, ctx) for each in found for time in each.named("time")]
            ctx.issues = told
            return max((time for time in times if time), default=None)
    return None


def _instant(time: Element, ctx: Walk) -> str | None:
    found = ts_datetime(time, ctx, None)
    value: str | None = found[0] if isinstance(found, tuple) else found
    return value if value is not None and len(value) >= _WHOLE_TIME else None
