"""Results: an organizer is a DiagnosticReport, what it holds are its Observations.

A panel that is planned reports nothing; what it holds are requests (`plan.py`).
What the organizer says for all (time, specimen, performer) stands where a component says nothing of its own.
Components with equal codes stay several results. An organizer within another is an Observation of its members; so is
one about a fetus, for reports know no focus. A document that a result derives from is presented by the report too.
Source: C-CDA R2.1 (result organizer, result observation); C-CDA on FHIR, results; IHE PaLM TF-3 XD-LAB.
"""

from typing import Any, Final

from mappings.cda.domains.members import components, is_collection
from mappings.cda.domains.observation import observed, panel
from mappings.cda.domains.specimens import collected, specimens
from mappings.cda.element import Element
from mappings.cda.handlers import HANDLERS, handles
from mappings.cda.named import flag, resolver
from mappings.cda.paths import code_of
from mappings.cda.walk import Walk

Json = dict[str, Any]

_PENDING: Final = frozenset({"active", "held", "new", "suspended"})  # HL7 v3 ActStatus


@handles("result", "organizer", "observation", "procedure", negation=True, subject=True)
def result(walk: Walk, el: Element) -> None:
    """A panel with its results, a result that stands alone, the taking of a specimen."""
    tag = el.short
    if tag == "observation":
        observed(walk, el)
    elif tag == "procedure":
        _procedure(walk, el)
    elif walk.is_of_another(el) or (walk.act is not None and walk.act.short == "organizer"):
        panel(walk, el)
    elif walk.negated:
        walk.refuse(el, "negated")
        components(walk, el)  # what is denied of the whole is denied of each
    elif walk.mood not in ("", "EVN"):
        _planned(walk, el)
    else:
        _report(walk, el)


def _report(walk: Walk, el: Element) -> None:
    made = components(walk, el)

    def finish(body: Json) -> None:
        if results := [{"reference": ref} for ref in made if ref.startswith("Observation/") and not _void(walk, ref)]:
            body["result"] = results
        if media := [{"link": {"reference": ref}} for ref in made if ref.startswith("Media/")]:
            body["media"] = media
        if found := specimens(el, walk):
            body["specimen"] = found
        if forms := _documents(walk, made):
            body["presentedForm"] = forms

    walk.state("result.DiagnosticReport", el, also=finish)


def _planned(walk: Walk, el: Element) -> None:
    """A panel that is still to be made is no report: it only holds what is planned."""
    if (plan := HANDLERS.get("plan")) is None:
        walk.refuse(el, "planned")
    else:
        plan.call(walk, el)


def _void(walk: Walk, ref: str) -> bool:
    """Whether a result was entered in error: no report lists it, as of HL7 v2's."""
    return ref in walk.by_ref and walk.by_ref[ref].body.get("status") == "entered-in-error"


def _documents(walk: Walk, made: list[str]) -> list[Json]:
    """The attachments of the documents that results derive from."""
    found: list[Json] = []
    for ref in made:
        for each in walk.by_ref[ref].body.get("derivedFrom", ()) if ref in walk.by_ref else ():
            document = walk.by_ref.get(each["reference"])
            if document is not None and document.type == "DocumentReference":
                found += [dict(content["attachment"]) for content in document.body.get("content", ())]
    return found


def _procedure(walk: Walk, el: Element) -> None:
    """How a specimen was taken belongs to it; any other procedure is one."""
    if not walk.is_of_another(el) and is_collection(el, walk) and not walk.negated and collected(walk, el):
        return
    other = HANDLERS.get("procedure")
    if walk.negated and (other is None or not other.negation):
        walk.refuse(el, "negated")
    elif walk.is_of_another(el) and (other is None or not other.subject):
        walk.refuse(el, "about another person")
    elif other is None:
        walk.refuse(el, "")
    else:
        walk.domain = "procedure"
        other.call(walk, el)


@flag("unfinished")
def unfinished(el: Element, ctx: Walk) -> bool:
    """A panel that is called completed while one of its results is still to come."""
    if [code_of(each) for each in el.named("statusCode")] != ["completed"]:
        return False
    return any(
        code_of(status) in _PENDING
        for component in el.named("component")
        for child in component.named("observation")
        for status in child.named("statusCode")
    )


@resolver("unfinished-report")
def unfinished_report(ctx: Walk) -> str:
    """Some of it is there."""
    ctx.issue("status-conflict", ctx.statement)
    return "partial"
