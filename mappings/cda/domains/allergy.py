"""Allergies and intolerances: one AllergyIntolerance an observation; the concern act around it gives the status.

Facts are rows (`entries/allergy.*.csv`). Here: what is no allergy (no information), and the forms of "no known".
Source: C-CDA R2.1 (allergy concern act, allergy observation); C-CDA on FHIR, allergies; eHDSI allergies.
"""

from typing import Any, Final

from mappings.cda.absence import SNOMED, Absence, absence_of, no_known, says_nothing
from mappings.cda.datatypes.coded import cd_concept, read
from mappings.cda.datatypes.registry import datatype
from mappings.cda.datatypes.statuses import cd_status, unread_status
from mappings.cda.element import Element
from mappings.cda.handlers import handles
from mappings.cda.named import flag, resolver
from mappings.cda.paths import code_of, is_valued, parse_paths, reader
from mappings.cda.walk import Walk
from mappings.fhir import values
from mappings.terminology.concept_map import ConceptMap, load

Json = dict[str, Any]

_GENERIC: Final = frozenset({"410942007", "105590001", "762766007"})  # drug, substance, edible substance: SNOMED CT
# what kind of allergy a negated statement without a substance denies → the code that says so
_DENIED: Final = {"416098002": "409137002", "414285001": "429625007", "426232007": "428607008"}
_NO_KNOWN: Final = "716186003"
_STATED: Final = frozenset({"", "EVN"})  # moods of what is: any other is planned, wished or feared
_CLINICAL: Final = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
_STATUS: Final = "cda-clinical-status.allergy-status"
_READS: Final = frozenset({"@code", "@codeSystem", "@displayName", "@nullFlavor", "originalText", "translation"})

(_told,) = (reader(ref) for ref in parse_paths("entryRelationship/observation[part='status']/value"))
(_substance,) = (reader(ref) for ref in parse_paths("participant[@typeCode='CSM']/participantRole/playingEntity/code"))
(_name,) = (reader(ref) for ref in parse_paths("participant[@typeCode='CSM']/participantRole/playingEntity/name"))


@handles("allergy", "observation", negation=True)
def allergy(walk: Walk, el: Element) -> None:
    """One observation."""
    values = el.named("value")
    absence = _absence(el, walk)
    if walk.mood not in _STATED:
        walk.refuse(el, "planned, or a risk")
    elif absence is not None and absence.said == "unknown":
        walk.nothing_known(el)
    elif absence is None and not _has_substance(el, walk) and not walk.negated and says_nothing(values):
        walk.nothing_known(el)
    else:
        walk.state("allergy.AllergyIntolerance", el)


def _absence(el: Element, ctx: Walk) -> Absence | None:
    """What the statement says of absence, of allergies: that there is none of something else is no allergy's word."""
    found = absence_of(_sent(el, ctx), ctx)
    return found if found is not None and found.domain == "allergy" else None


def _sent(el: Element, ctx: Walk) -> list[Element]:
    """The codes that may say that there is none; some documents say it where the substance stands."""
    return [*el.named("value"), *el.named("code"), *_substance(el, ctx)]


def _has_substance(el: Element, ctx: Walk) -> bool:
    """Whether it names what the patient reacts to: a code or text that is no mere "drug" or "substance"."""
    named = [each for each in (*_substance(el, ctx), *_name(el, ctx)) if is_valued(each)]
    if any(code_of(each) not in _GENERIC for each in named):
        return True
    kinds = load("cda-allergy.allergy-type").known  # any other code or text of the value says to what
    return any(code_of(each) not in kinds | _GENERIC for each in el.named("value") if is_valued(each))


@flag("no-known-allergy")
def is_none(el: Element, ctx: Walk) -> bool:
    """Whether it says that there is no allergy at all, or none of a kind."""
    absence = _absence(el, ctx)
    if absence is not None:
        return absence.said == "known"
    return bool(ctx.negated) and not _has_substance(el, ctx)


@resolver("no-known-allergy")
def no_known_allergy(ctx: Walk) -> Json:
    """SNOMED CT's code of the absence, and what was sent."""
    el = ctx.at_hand
    sent = _sent(el, ctx)
    absence = absence_of(sent, ctx)
    if absence is not None and absence.code is not None:
        coding, node = absence.code, next(each for each in sent if absence_of([each], ctx) is not None)
        concept = cd_concept(node, ctx) or {}
        same = [each for each in concept.get("coding", ()) if each.get("code") != coding["code"]]
        return {**concept, "coding": [dict(coding), *same]}
    denied = next((_DENIED[code] for each in sent if (code := code_of(each)) in _DENIED), _NO_KNOWN)
    return {"coding": [dict(no_known("allergy", denied))]}


@resolver("concern-allergy-status")
def concern_status(ctx: Walk) -> Json:
    """The status of the concern around the statement; active where that says nothing, since R4 needs one (ait-1) and an
    allergy must not vanish from a list. Beside that stand the words of a status that nobody understands."""
    found = _status_around(ctx)
    words = next((said for each in _told(ctx.at_hand, ctx) if (said := unread_status(each, ctx, load(_STATUS)))), None)
    return found if words is None else {**found, "text": words}


def _status_around(ctx: Walk) -> Json:
    for code in ctx.act.named("statusCode") if ctx.act is not None else ():
        if (found := cd_status(code, ctx, load(_STATUS))) is not None:
            return found
    return {"coding": [{"system": _CLINICAL, "code": "active", "display": "Active"}]}


@resolver("allergy-value")
def value_as_code(ctx: Walk) -> Json | None:
    """What the value says, where no substance is named: the kind of allergy, or in some documents the substance."""
    for each in ctx.at_hand.named("value"):
        if (found := cd_concept(each, ctx)) is not None:
            return found
    return None


@flag("eu-allergy-kind")
def kind_in_code(el: Element, ctx: Walk) -> bool:
    """European documents say the kind of allergy in `code`, American ones in `value` of an assertion."""
    codes = [code_of(each) for each in el.named("code") if is_valued(each)]
    return bool(codes) and codes[0] != "ASSERTION"


@datatype("SEV[Annotation]", gives="Annotation", reads=_READS)
def severity_note(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """How severe the allergy as a whole is, in words that say of what they speak: a bare code would say nothing."""
    found = read(node, ctx, None)
    told = found.text or next((each["display"] for each in found.codings if each.get("display")), None)
    if told is None and (coding := next((each for each in found.codings if each.get("code")), None)) is not None:
        system = coding.get("system")
        told = f"{coding['code']} ({'SNOMED CT' if system == SNOMED else system})" if system else coding["code"]
    return values.annotation(f"Severity: {told}") if told else None
