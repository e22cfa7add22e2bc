"""Problems, diagnoses and concerns: one Condition an observation; the act around it tells what its own words do not.

Status, in order: the status observation; the end of the time (`UNK` means over, the date unknown; other null flavours
say nothing); the concern's statusCode. The observation's own statusCode says nothing of the problem. An end before the
document under an active status is a conflict, and an end still to come is none yet. Where the document has no time an
end is neither past nor to come, and resolves nothing.
Source: C-CDA R2.1 (problem concern act, problem observation, encounter diagnosis); C-CDA on FHIR, problems.
"""

from typing import Any, Final, Literal

from mappings.cda.absence import Absence, absence_of, no_known, says_nothing
from mappings.cda.around import outwards
from mappings.cda.datatypes.coded import cd_concept
from mappings.cda.datatypes.statuses import cd_status, said_status, unread_status
from mappings.cda.datatypes.times import ts_datetime
from mappings.cda.element import Element
from mappings.cda.handlers import handles
from mappings.cda.named import flag, resolver
from mappings.cda.paths import code_of, is_valued, parse_paths, reader
from mappings.cda.walk import Walk
from mappings.fhir import temporal
from mappings.terminology.concept_map import load

Json = dict[str, Any]

_PROBLEM: Final = frozenset({"55607006", "64572001", "404684003"})  # problem, disease, clinical finding: SNOMED CT
_ACTIVE: Final = frozenset({"active", "recurrence", "relapse"})  # con-4: no end has come
_NO_KNOWN: Final = "160245001"
_STATED: Final = frozenset({"", "EVN"})  # moods of what is: any other is planned, wished or feared
_STATUS: Final = "cda-clinical-status.condition-status"
_CATEGORIES: Final = "http://terminology.hl7.org/CodeSystem/condition-category"
_HEALTH_CONCERN: Final = "http://hl7.org/fhir/us/core/CodeSystem/condition-category"

(_told,) = (reader(ref) for ref in parse_paths("entryRelationship/observation[part='status']/value"))

End = Literal["", "past", "future", "unknown", "undated"]


@handles("condition", "observation", negation=True)
def condition(walk: Walk, el: Element) -> None:
    """One observation."""
    values = el.named("value")
    absence = _absence(el, walk)
    if walk.mood not in _STATED:
        walk.refuse(el, "planned, or a risk")
    elif absence is not None and absence.said == "unknown":
        walk.nothing_known(el)
    elif absence is None and not walk.negated and says_nothing(values) and not _text(el, walk):
        walk.nothing_known(el)
    else:
        walk.state("condition.Condition", el)
        if not walk.negated and not is_none(el, walk) and _is_active(el, walk) and end_of(el, walk) == "unknown":
            walk.issue("status-conflict", el)  # called active, and over


def _text(el: Element, ctx: Walk) -> bool:
    """Whether the statement says in words what its value does not."""
    return any(is_valued(each) for each in el.named("text"))


@flag("no-known-problem")
def is_none(el: Element, ctx: Walk) -> bool:
    """Whether it says that there is no problem at all."""
    sent = el.named("value")
    absence = _absence(el, ctx)
    if absence is not None:
        return absence.said == "known"
    if not ctx.negated or any(_is_specific(each, ctx) for each in sent):
        return False
    words = [each for each in el.named("text") if not each.kids.get("reference")]
    return any(is_valued(each) for each in sent) or not any(is_valued(each) for each in words)


def _absence(el: Element, ctx: Walk) -> Absence | None:
    """What the statement says of absence, of problems: "no known allergy" in a list of problems is an entry of it."""
    found = absence_of([*el.named("value"), *el.named("code")], ctx)
    return found if found is not None and found.domain == "condition" else None


def _is_specific(value: Element, ctx: Walk) -> bool:
    """Whether a value names a problem, be it in words or by a translation, and is not just "problem"."""
    if not is_valued(value):
        return False
    kids = value.kids
    if value.get("code") and code_of(value) not in _PROBLEM:
        return True
    words = [each for each in kids.get("originalText", ()) if not each.kids.get("reference") and is_valued(each)]
    return bool(words) or any(is_valued(each) and code_of(each) not in _PROBLEM for each in kids.get("translation", ()))


@flag("void")
def void(el: Element, ctx: Walk) -> bool:
    """Whether the statement, or the act around it, is nullified."""
    return any(
        code_of(status) == "nullified"
        for each in (el, ctx.act)
        if each is not None
        for status in each.named("statusCode")
    )


@resolver("no-known-problem")
def no_known_problem(ctx: Walk) -> Json:
    """SNOMED CT's code of the absence, and what was sent."""
    coding = no_known("condition", _NO_KNOWN)
    for each in (*ctx.at_hand.named("value"), *ctx.at_hand.named("code")):
        if absence_of([each], ctx) is not None:
            concept = cd_concept(each, ctx) or {}
            same = [known for known in concept.get("coding", ()) if known.get("code") != coding["code"]]
            return {**concept, "coding": [dict(coding), *same]}
    return {"coding": [dict(coding)]}


# status and end -------------------------------------------------------------------------------------------------------


def end_of(el: Element, ctx: Walk) -> End:
    """What the end of the time says, measured against the document's own time: the core has no clock. `undated` where
    that is not known: neither past nor future."""
    for time in el.named("effectiveTime"):
        for high in time.named("high"):
            if high.get("nullFlavor") == "UNK":
                return "unknown"
            if not is_valued(high):
                return ""
            told, ctx.issues = ctx.issues, []
            found = ts_datetime(high, ctx, None)
            ctx.issues = told
            value = found[0] if isinstance(found, tuple) else found
            if value is None:
                return ""
            if not ctx.at:
                return "undated"
            return "future" if temporal.compare(value, ctx.at[: len(value)]) == 1 else "past"
    return ""


def _is_active(el: Element, ctx: Walk) -> bool:
    return any(said_status(each, ctx, load(_STATUS)) in _ACTIVE for each in _told(el, ctx))


@flag("active-status")
def active_status(el: Element, ctx: Walk) -> bool:
    """Whether the status observation says that the problem is there."""
    return _is_active(el, ctx)


@flag("status-conflict")
def status_conflict(el: Element, ctx: Walk) -> bool:
    """An active problem that is over."""
    return _is_active(el, ctx) and end_of(el, ctx) == "past"


@flag("end-past")
def end_past(el: Element, ctx: Walk) -> bool:
    """Over, since then: by the document's time, or where that is not known by the word of its status alone."""
    end = end_of(el, ctx)
    return end == "past" or (end == "undated" and _is_called_over(el, ctx))


def _is_called_over(el: Element, ctx: Walk) -> bool:
    """Whether the status observation, else the concern, says that it is no longer there."""
    known = load(_STATUS)
    around = () if ctx.act is None or category_code(ctx) == "encounter-diagnosis" else ctx.act.named("statusCode")
    for each in _told(el, ctx):
        if (said := said_status(each, ctx, known)) is not None:
            return said not in _ACTIVE
    for each in around:
        if (hit := known.get(code_of(each))) is not None:
            return hit.code not in _ACTIVE
    return False


@flag("end-unknown")
def end_unknown(el: Element, ctx: Walk) -> bool:
    """Over, nobody knows since when; under an active status it is no end (con-4)."""
    return end_of(el, ctx) == "unknown" and not _is_active(el, ctx)


@resolver("conflicting-status")
def conflicting_status(ctx: Walk) -> Json:
    """Inactive is the reading that keeps both words: no longer a problem now, and not said to be cured."""
    ctx.issue("status-conflict", ctx.statement)
    return _clinical("inactive")


@resolver("condition-status")
def other_status(ctx: Walk) -> Json | None:
    """Without a status observation: over if the time ended, else what the concern around it says. Beside that stand the
    words of one that nobody understands: a reader must not take for plainly active what was said to be something else.
    """
    found = _status_around(ctx)
    words = next((said for each in _told(ctx.at_hand, ctx) if (said := unread_status(each, ctx, load(_STATUS)))), None)
    return found if found is None or words is None else {**found, "text": words}


def _status_around(ctx: Walk) -> Json | None:
    if end_of(ctx.at_hand, ctx) in ("past", "unknown"):
        return _clinical("resolved")
    kind = category_code(ctx)
    diagnosing = kind == "encounter-diagnosis"  # an act that is no concern: that it is completed ends nothing
    for code in ctx.act.named("statusCode") if ctx.act is not None else ():
        if diagnosing and code_of(code) != "active":
            continue
        if (found := cd_status(code, ctx, load(_STATUS))) is not None:
            return found
    return _clinical("active") if kind == "problem-list-item" else None  # con-3


def _clinical(code: str) -> Json:
    concept = next(each for each in load(_STATUS).concepts.values() if each.code == code)
    return {"coding": [{"system": concept.system, "code": concept.code, "display": concept.display}]}


# category -------------------------------------------------------------------------------------------------------------


def category_code(ctx: Walk) -> str:
    """What stands in an encounter is its diagnosis; else the section's category of its conditions; a list of problems
    where the section has none of its own."""
    if _in_encounter(ctx):
        return "encounter-diagnosis"
    row = ctx.section_row
    code: str = row.category if row is not None and row.domain == "condition" else ""
    return code or "problem-list-item"


def _in_encounter(ctx: Walk) -> bool:
    return any(str(here.tag).endswith("}encounter") for here in outwards(ctx.statement) if here is not ctx.doc.root)


@resolver("condition-category")
def category(ctx: Walk) -> Json:
    """As a concept."""
    code = category_code(ctx)
    system = _HEALTH_CONCERN if code == "health-concern" else _CATEGORIES
    return {"coding": [{"system": system, "code": code}]}
