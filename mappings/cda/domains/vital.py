"""Vital signs: an organizer is the panel 85353-1 of its members; what belongs together is told by time.

- systolic and diastolic of one time are one blood pressure, 85354-9, whose halves are components; a half that is
  missing is there with a reason. Those of one organizer go together first, the others of that time in their order
- the concentration and the flow of inhaled oxygen are components of the saturation of their time
- equal codes at one time stay several
- an average blood pressure is one Observation of its organizer's components

Source: C-CDA R2.1, vital signs organizer and observation; C-CDA R4, average blood pressure organizer; C-CDA on FHIR,
vital signs; FHIR R4 vital-signs profiles; US Core pulse oximetry.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from mappings import vitals
from mappings.cda.datatypes.coded import cd_concept
from mappings.cda.domains.answers import codes_of
from mappings.cda.domains.members import components, members, statements
from mappings.cda.domains.observation import attach, fit_time, is_observation, observed, panel
from mappings.cda.element import Element
from mappings.cda.handlers import handles
from mappings.cda.named import flag, resolver
from mappings.cda.paths import code_of, is_valued
from mappings.cda.walk import Walk

Json = dict[str, Any]

_MAP: Final = "observation.Observation"
_PANEL: Final = "85353-1"  # LOINC, vital signs panel
_AVERAGE: Final = "96607-7"  # LOINC, blood pressure panel mean
_OXIMETRY, _SATURATION = "59408-5", "2708-6"
_SATURATIONS: Final = frozenset(
    {_OXIMETRY, _SATURATION, "2710-2"}
)  # LOINC; the last of capillary blood, by older documents
# LOINC, inhaled oxygen concentration and flow rate; the guide and its examples write the first with a wrong check digit
_INHALED: Final = ("3150-6", "3150-0", "3151-8")
_LOINC: Final = "2.16.840.1.113883.6.1"
_ORGANIZERS: Final = (
    "2.16.840.1.113883.10.20.22.4.26",
    "1.3.6.1.4.1.19376.1.5.3.1.4.13.1",
    "2.16.840.1.113883.10.20.1.35",
)
_OF_THE_WHOLE: Final = frozenset({
    "resourceType", "id", "meta", "identifier", "status", "category", "subject", "focus", "encounter",
    "effectiveDateTime", "_effectiveDateTime", "effectivePeriod", "issued", "performer", "specimen", "bodySite",
    "method", "device", "note", "contained", "derivedFrom", "hasMember",
})  # fmt: skip


class _Sign(NamedTuple):
    """One observation of a section, and what it is paired by."""

    el: Element
    organizer: Element | None
    codes: frozenset[str]
    time: tuple[str, ...]


class _Pairs:
    """What belongs together in one section."""

    def __init__(self) -> None:
        self.pressures: dict[Element, tuple[_Sign | None, _Sign | None]] = {}
        self.oxygen: dict[Element, tuple[_Sign, list[_Sign]]] = {}


@handles("vital", "organizer", "observation", negation=True, subject=True)
def vital(walk: Walk, el: Element) -> None:
    """A panel, or one sign."""
    if el.short == "organizer":
        if _AVERAGE in codes_of(el, walk):
            _average(walk, el)
        else:
            panel(walk, el)
        return
    if el in walk.outcomes:
        return
    pairs = _pairs(walk)
    if el in pairs.pressures:
        _pressure(walk, *pairs.pressures[el])
    elif el in pairs.oxygen:
        _saturation(walk, *pairs.oxygen[el])
    else:
        observed(walk, el)


# pairs ----------------------------------------------------------------------------------------------------------------


def _pairs(walk: Walk) -> _Pairs:
    """Those of the section at hand, worked out once."""
    known: dict[Element | None, _Pairs] | None = walk.vital_pairs
    if known is None:
        known = walk.vital_pairs = {}
    if walk.section not in known:
        known[walk.section] = _paired(list(_signs(walk)))
    return known[walk.section]


def _signs(walk: Walk) -> Iterator[_Sign]:
    """The observations of a section that stand for something that was measured."""
    for entry in walk.section.named("entry") if walk.section is not None else ():
        for el in statements(entry):
            if el.short == "organizer" and _counts(el, walk) and _AVERAGE not in codes_of(el, walk):
                for component in el.named("component"):
                    yield from (_sign(each, el, walk) for each in component.named("observation")
                                if _counts(each, walk))  # fmt: skip
            elif el.short == "observation" and _counts(el, walk):
                yield _sign(el, None, walk)


def _counts(el: Element, walk: Walk) -> bool:
    """Not denied, not planned, nobody else's."""
    if el.get("negationInd", "").strip() in ("true", "1") or el.get("moodCode", "EVN") != "EVN":
        return False
    return not walk.is_of_another(el)


def _sign(el: Element, organizer: Element | None, walk: Walk) -> _Sign:
    codes: set[str] = set()
    for code in el.named("code"):
        for each in (code, *code.named("translation")):
            if each.get("codeSystem") == _LOINC:
                codes.add(code_of(each))
    status = [code_of(each) for each in el.named("statusCode")]
    time = _time(el, walk) or (_time(organizer, walk) if organizer is not None else "")
    return _Sign(el, organizer, frozenset(codes), (time, *status))


def _time(el: Element, walk: Walk) -> str:
    """As it is written, be it a point or the beginning of a stretch."""
    for time in el.named("effectiveTime"):
        ends = (time, *time.named("low"), *time.named("high"))
        for each in ends:
            if value := (each.get("value") or "").strip():
                return value
    return ""


def _paired(signs: list[_Sign]) -> _Pairs:
    pairs = _Pairs()
    systolic = [sign for sign in signs if vitals.SYSTOLIC in sign.codes]
    diastolic = [sign for sign in signs if vitals.DIASTOLIC in sign.codes]
    partner = _matched(systolic, diastolic)
    for sign in systolic:
        pairs.pressures[sign.el] = sign, partner.get(sign.el)
        if (other := partner.get(sign.el)) is not None:
            pairs.pressures[other.el] = sign, other
    for sign in diastolic:
        pairs.pressures.setdefault(sign.el, (None, sign))
    saturations = [sign for sign in signs if sign.codes & _SATURATIONS]
    for sign in saturations:
        pairs.oxygen[sign.el] = sign, []
    for code in _INHALED:
        inhaled = [sign for sign in signs if code in sign.codes]
        for el, other in _matched(saturations, inhaled).items():
            pairs.oxygen[el][1].append(other)
            pairs.oxygen[other.el] = pairs.oxygen[el]
    return pairs


def _matched(these: list[_Sign], those: list[_Sign]) -> dict[Element, _Sign]:
    """The partner of each: of one time and organizer first, then of one time in their order."""
    found: dict[Element, _Sign] = {}
    for near in (True, False):
        waiting: dict[tuple[Any, ...], deque[_Sign]] = {}
        taken = {other.el for other in found.values()}
        for other in those:
            if other.el not in taken and (key := _key(other, near=near)) is not None:
                waiting.setdefault(key, deque()).append(other)
        for one in these:
            key = _key(one, near=near)
            if one.el not in found and key is not None and (queue := waiting.get(key)):
                found[one.el] = queue.popleft()
    return found


def _key(sign: _Sign, *, near: bool) -> tuple[Any, ...] | None:
    """What a partner must have in common; without a time only the organizer tells."""
    if near:
        return (sign.organizer, *sign.time) if sign.organizer is not None else None
    return sign.time if sign.time[0] else None


# made -----------------------------------------------------------------------------------------------------------------


@contextmanager
def _at(walk: Walk, sign: _Sign) -> Iterator[None]:
    """Reads one sign where it stands: its partner may stand in another organizer."""
    outer = walk.statement, walk.act
    walk.statement = sign.el
    if sign.organizer is not None:
        walk.act = sign.organizer
    yield
    walk.statement, walk.act = outer


def _pressure(walk: Walk, systolic: _Sign | None, diastolic: _Sign | None) -> None:
    """Both halves as one; what is missing says so."""
    whole = systolic or diastolic
    if whole is None:
        return

    def both(body: Json) -> None:
        other = diastolic if systolic is not None else None
        halves = {whole.el: vitals.component(body)}
        if other is not None:
            halves[other.el] = vitals.component(_read(walk, other, body, 1))
        for name in [name for name in body if name not in _OF_THE_WHOLE]:
            del body[name]
        body["code"] = {"coding": [{"system": vitals.LOINC, "code": vitals.PANEL}]}
        body["component"] = [
            halves[sign.el] if sign is not None else vitals.missing(code)
            for code, sign in ((vitals.SYSTOLIC, systolic), (vitals.DIASTOLIC, diastolic))
        ]
        _finish(walk, body, vitals.PANEL)

    with _at(walk, whole):
        if not is_observation(walk, whole.el):
            return
        extra = _number(diastolic.el, walk) if systolic is not None and diastolic is not None else ()
        made = walk.state(_MAP, whole.el, *extra, also=both)
    if systolic is not None and diastolic is not None:
        walk.tell(diastolic.el, "mapped", made.ref)


def _number(el: Element, walk: Walk) -> tuple[str, ...]:
    """The first id of an observation, as part of an identity."""
    for each in el.named("id"):
        return (each.get("root") or "").lower(), each.get("extension") or ""
    return ()


def _saturation(walk: Walk, saturation: _Sign, inhaled: list[_Sign]) -> None:
    """Oxygen saturation, with what oxygen was breathed."""

    def whole(body: Json) -> None:
        for name, ref in inner:
            body.setdefault(name, []).append({"reference": ref})
        attach(walk, saturation.el, body)
        first = len(body.get("component", ()))
        if parts := [vitals.component(_read(walk, each, body, n)) for n, each in enumerate(inhaled, first)]:
            body.setdefault("component", []).extend(parts)
        if saturation.codes & {_OXIMETRY, _SATURATION}:
            for code in (_OXIMETRY, _SATURATION):
                vitals.add_code(body, code)
        _finish(walk, body, vitals.vital_code(body) or _SATURATION)

    with _at(walk, saturation):
        if not is_observation(walk, saturation.el):
            return
        inner = members(walk, saturation.el)
        made = walk.state(_MAP, saturation.el, also=whole)
    for other in inhaled:
        walk.tell(other.el, "mapped", made.ref)


def _read(walk: Walk, sign: _Sign, body: Json, index: int) -> Json:
    """What another sign says, for the component of that index; its number, comment and performer are kept."""
    found: Json = {}
    mark = walk.trace.mark() if walk.trace is not None else 0
    with _at(walk, sign):
        walk.run(_MAP, sign.el, found)
    if walk.trace is not None:
        walk.trace.below(mark, f"component[{index}]")
    for name in ("identifier", "note", "performer"):
        known = body.get(name, [])
        if more := [each for each in found.get(name, ()) if each not in known]:
            body[name] = known + more
    return found


def _finish(walk: Walk, body: Json, code: str) -> None:
    fit_time(body)
    vitals.fit(body, code)
    for each in body.get("component", ()):
        vitals.fit_component(each)


def _average(walk: Walk, el: Element) -> None:
    """The means of an organizer, as components of one Observation."""
    if not is_observation(walk, el):
        components(walk, el)  # what is denied of the whole is denied of each
        return
    parts = [
        _Sign(each, el, frozenset(), ())
        for component in el.named("component")
        for each in component.named("observation")
        if _counts(each, walk)
    ]
    if not parts:
        components(walk, el)
        walk.tell(el, "narrative")
        return

    def whole(body: Json) -> None:
        body["component"] = [vitals.component(_read(walk, each, body, n)) for n, each in enumerate(parts)]
        fit_time(body)

    made = walk.state("observation.Observation-panel", el, also=whole)
    for each in parts:
        walk.tell(each.el, "mapped", made.ref)


# the panel's code -----------------------------------------------------------------------------------------------------


@flag("vital-panel")
def is_vital_panel(el: Element, ctx: Walk) -> bool:
    """Whether an organizer is one of vital signs: those of physical examinations may be of anything."""
    if ctx.domain != "vital" or _AVERAGE in codes_of(el, ctx):
        return False
    row = ctx.section_row
    return row is None or row.category != "exam" or bool(ctx.has_template(el, *_ORGANIZERS))


@resolver("vital-panel")
def vital_panel(ctx: Walk) -> Json:
    """The code of FHIR's panel, and what was sent."""
    codings: list[Json] = [{"system": vitals.LOINC, "code": _PANEL}]
    for code in ctx.at_hand.named("code"):
        if is_valued(code):
            concept = cd_concept(code, ctx) or {}
            sent = [each for each in concept.get("coding", ()) if each.get("code") != _PANEL]
            return {**concept, "coding": codings + sent}
    return {"coding": codings}
