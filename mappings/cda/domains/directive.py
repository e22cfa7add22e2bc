"""Advance directives: what a patient wishes for her care is a Consent of scope `adr`.

It is a clinical wish and never consent to disclose: nothing here says what data may be shown to whom. Its value is what
is to be done or not; a value that is yes or no is a rule of its own that permits or denies what the code names. Who
verified it and who speaks for the patient take part in it; the time it holds is its period. That there is a directive
at all, or none, is an Observation.
Source: C-CDA R2.1 (advance directive observation and organizer); C-CDA R5 (advance directive existence observation);
CCD R1 §3.4; IHE PCC, advance directive observation (a BL value says whether the procedure is permitted); FHIR R4
Consent.
"""

from typing import Any, Final

from mappings.cda.absence import absence_of
from mappings.cda.datatypes.coded import cd_concept
from mappings.cda.datatypes.identifiers import ii_identifier
from mappings.cda.datatypes.registry import datatype
from mappings.cda.datatypes.text import bl_boolean, ed_text, pointer
from mappings.cda.datatypes.times import bound
from mappings.cda.document import type_of
from mappings.cda.domains.observation import observed
from mappings.cda.element import Element
from mappings.cda.handlers import handles
from mappings.cda.named import flag
from mappings.cda.paths import code_of, is_valued
from mappings.cda.walk import Walk
from mappings.fhir import temporal, values
from mappings.terminology.concept_map import ConceptMap, load

Json = dict[str, Any]

_ANSWERS: Final = "cda-answer.provision-type"
_BOOLEAN: Final = frozenset({"BL", "BN", ""})  # without a type, a value that reads as one
_EXISTS: Final = "45473-6"  # LOINC: advance directive (living will), as a question whether there is one


@handles("directive", "observation", negation=True)
def directive(walk: Walk, el: Element) -> None:
    """One directive, or whether there is one."""
    sent = [*el.named("value"), *el.named("code")]
    absence = absence_of(sent, walk)
    if absence is not None and absence.said == "unknown":
        walk.nothing_known(el)
    elif any(code_of(each) == _EXISTS for each in el.named("code")) and not _documents(el, walk):
        observed(walk, el)
    elif walk.negated:
        walk.refuse(el, "negated")
    else:
        walk.state("directive.Consent", el)


def _documents(el: Element, ctx: Walk) -> bool:
    """Whether it names the document of the directive."""
    return "reference" in el.kids


@flag("directive-over")
def over(el: Element, ctx: Walk) -> bool:
    """Whether it had ended when the document was made."""
    told, ctx.issues = ctx.issues, []
    ends = [
        found.value
        for time in el.named("effectiveTime")
        for high in time.named("high")
        if (found := bound(high, ctx, end=True)) is not None and found.value
    ]
    ctx.issues = told
    return any(ctx.at and temporal.compare(end, ctx.at[: len(end)]) == -1 for end in ends)


def _answer(node: Element, ctx: Walk, vocab: ConceptMap) -> str | None:
    """Whether a value permits or denies; None where it is no yes and no no."""
    if code := (node.get("code") or "").strip():
        return found.code if (found := vocab.get(code)) is not None else None
    if type_of(node) in _BOOLEAN and (node.get("value") or "").strip():
        flag = bl_boolean(node, ctx)
        hit = vocab.get(str(flag).lower()) if isinstance(flag, bool) else None
        return hit.code if hit is not None else None
    return None


@flag("yes-or-no")
def yes_or_no(el: Element, ctx: Walk) -> bool:
    """Whether its value answers its code, and names nothing by itself."""
    told, ctx.issues = ctx.issues, []
    known = load(_ANSWERS)
    found = any(_answer(each, ctx, known) is not None for each in el.named("value"))
    ctx.issues = told
    return found


@datatype("ANSWER[type]", gives="code", reads={"@value", "@code"})
def answer(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> str | None:
    """What the answer means of what is asked."""
    return None if isinstance(node, str) or vocab is None else _answer(node, ctx, vocab)


@datatype("WISH[CodeableConcept]", gives="CodeableConcept")
def wish(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """What is wished, coded or in words."""
    if isinstance(node, str) or not is_valued(node):
        return None
    found = cd_concept(node, ctx)
    if found is not None and found.keys() & {"coding", "text"}:
        return found
    text = ed_text(node, ctx) or node.get("value")
    return {"text": text} if text else None


@datatype("EXTERNAL[Reference(DocumentReference)]", gives="Reference", reads={"id", "code", "text"})
def external(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """A document that is not here, by its number, and what it is called."""
    if isinstance(node, str):
        return None
    kids = node.kids
    number = next((made for each in kids.get("id", ()) if (made := ii_identifier(each, ctx))), None)
    shown = next((each.get("displayName") for each in kids.get("code", ()) if each.get("displayName")), None)
    name = next((said for each in kids.get("text", ()) if (said := pointer(each, ctx) or ed_text(each, ctx))), None)
    if number is None or "value" not in number:
        return None
    return values.present(type="DocumentReference", identifier=number, display=name or shown)
