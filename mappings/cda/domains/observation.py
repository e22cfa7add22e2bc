"""Observations of every kind: results, signs, scales, social facts, and what stands in no section that knows it.

One map serves them all (`observation.Observation`), a second those that only hold others together
(`observation.Observation-panel`); a section adds its category, a domain what is its own.

- a negated assertion is an observation that something is not so; any other negated observation is nothing that FHIR
  could hold without turning it round, and is refused
- an assertion that is null as a whole asserts nothing: its finding has no value, but a reason
- an observation that is still to be made is a plan; one about a relative is not the patient's; one about a fetus is
  hers with the fetus as its focus
- observations within an observation are its members (COMP, SUBJ) or what it derives from (SPRT, XCRPT)
- a vital sign fits its profile, wherever it stands

Source: CDA R2 §4.3.6 (Observation); C-CDA R2.1, result and vital sign observations; C-CDA on FHIR, results.
"""

from typing import Any, Final

from mappings import vitals
from mappings.cda.around import outwards
from mappings.cda.assemble import Made
from mappings.cda.domains.answers import INTENTION, codes_of, deniable, says_nothing
from mappings.cda.domains.members import components, members
from mappings.cda.domains.personal import is_personal, personal
from mappings.cda.element import Element
from mappings.cda.handlers import HANDLERS, handles
from mappings.cda.named import resolver
from mappings.cda.paths import code_of
from mappings.cda.walk import Walk
from mappings.fhir import values

Json = dict[str, Any]

_FETUS: Final = "121026"  # DICOM PS3.16, fetus


@handles("observation", "observation", negation=True, subject=True)
def observation(walk: Walk, el: Element) -> None:
    """One observation."""
    observed(walk, el)


def observed(walk: Walk, el: Element, name: str = "observation.Observation") -> None:
    """By a map of observations: what is none is planned, about another, about the person, or nothing."""
    if el in walk.outcomes or not is_observation(walk, el):
        return
    if is_personal(el, walk):
        personal(walk, el)
        return
    inner = members(walk, el)
    walk.state(name, el, also=lambda body: finish(walk, el, body, inner))


def is_observation(walk: Walk, el: Element) -> bool:
    """Whether a statement is an observation of the patient; what it is else is told."""
    if walk.is_of_another(el) and not is_fetus(el, walk):
        walk.refuse(el, "about another person")
    elif walk.mood not in ("", "EVN") and INTENTION not in codes_of(el, walk):
        _planned(walk, el)
    elif walk.negated and not deniable(el, walk):
        walk.refuse(el, "negated")
    elif says_nothing(el, walk):
        walk.nothing_known(el)
    else:
        return True
    return False


def _planned(walk: Walk, el: Element) -> None:
    """An observation that is still to be made."""
    plan = HANDLERS.get("plan")
    if plan is None or "observation" not in plan.tags or walk.domain == "plan":
        walk.refuse(el, "planned")
    elif walk.negated and not plan.negation:
        walk.refuse(el, "negated")
    elif not plan.subject and walk.is_of_another(el):
        walk.refuse(el, "about another person")
    else:
        plan.call(walk, el)


def panel(walk: Walk, el: Element) -> None:
    """An organizer as an Observation of its members; with none it says nothing that they do not."""
    if not is_observation(walk, el):
        components(walk, el)  # what is denied of the whole is denied of each
        return
    made = [ref for ref in components(walk, el) if ref.startswith("Observation/")]
    if not made:
        walk.tell(el, "narrative")
        return
    inner = [("hasMember", ref) for ref in made]
    walk.state("observation.Observation-panel", el, also=lambda body: finish(walk, el, body, inner))


# what rows alone do not say -------------------------------------------------------------------------------------------


def finish(walk: Walk, el: Element, body: Json, inner: list[tuple[str, str]]) -> None:
    """What rows alone do not say: members, attachments, the profile of a vital sign."""
    for name, ref in inner:
        body.setdefault(name, []).append({"reference": ref})
    attach(walk, el, body)
    if body.get("status") == "registered" and any(name.startswith("value") for name in body):
        walk.issue("status-conflict", el)  # still to come, and here: both are kept as they were sent
    if (code := vitals.vital_code(body)) is not None:
        fit_time(body)
        vitals.fit(body, code)


def fit_time(body: Json) -> None:
    """A vital sign has a time of at least a day (vs-1): a month or a year is a period, and what has none says so."""
    if vitals.has_day(body):
        return
    known, beside = body.pop("effectiveDateTime", None), body.pop("_effectiveDateTime", None)
    if known is None:
        body["effectivePeriod"] = values.absent("unknown")
        return
    period = {"start": known, "end": known}
    body["effectivePeriod"] = period if beside is None else {**period, "_start": beside}


def attach(walk: Walk, el: Element, body: Json) -> None:
    """R4's Observation holds no attachment: it derives from a DocumentReference that does."""
    for holder in (body, *body.get("component", ())):
        attachment = holder.pop("valueAttachment", None)
        if attachment is None or not isinstance(walk.builder, Made):
            continue
        made = walk.place_one("DocumentReference", (*walk.builder.key, "attachment", repr(attachment)), "state", el)
        made.body |= {"status": "current", "content": [{"attachment": attachment}]}
        if "subject" in body:
            made.body["subject"] = body["subject"]
        if "encounter" in body:
            made.body["context"] = {"encounter": [body["encounter"]]}
        if all(each["reference"] != made.ref for each in body.get("derivedFrom", ())):
            body.setdefault("derivedFrom", []).append({"reference": made.ref})
        holder["dataAbsentReason"] = {
            "coding": [{"system": values.REASONS, "code": "as-text"}],
            "text": "see the document",
        }


# whose it is ----------------------------------------------------------------------------------------------------------


def is_fetus(el: Element, ctx: Walk) -> bool:
    return _fetus(el, ctx) is not None


def _fetus(el: Element | None, ctx: Walk) -> Element | None:
    """The subject around a statement, if it is the fetus."""
    for here in outwards(el):
        for subject in here.named("subject"):
            for related in subject.named("relatedSubject"):
                found = any(code_of(code) == _FETUS for code in related.named("code"))
                return related if found else None
        if here is ctx.section:
            break
    return None


@resolver("focus")
def focus(ctx: Walk) -> Json | None:
    """The fetus that it is about, by the name the document gives it."""
    related = _fetus(ctx.statement, ctx)
    if related is None:
        return None
    for subject in related.named("subject"):
        for name in subject.named("name"):
            if text := " ".join("".join(name.itertext()).split()):
                return {"display": text}
    return {"display": "fetus"}
