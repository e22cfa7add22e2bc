"""Procedures: what was done, was not done, is to be done.

In a section of procedures a statement is a Procedure whatever its class; one with a value is an Observation, too, that
is part of it. Sections of what was found, lost or given during one hold what their statements are. Moods of intent are
ServiceRequests, and alternatives to one stand beside it in a RequestGroup of which one is to be chosen. A negated
procedure is not done, and a negated one of no kind says that there are none.
Source: C-CDA R2.1 (procedure activity act, observation and procedure; planned procedure); C-CDA R5; C-CDA on FHIR,
procedures; IHE PCC TF-2 6.3.4.33; eHDSI procedures.
"""

from typing import Any, Final

from mappings.cda import links
from mappings.cda.absence import Absence, absence_of
from mappings.cda.assemble import Made, number_in
from mappings.cda.datatypes.coded import cd_concept
from mappings.cda.datatypes.identifiers import ii_identifier
from mappings.cda.datatypes.registry import datatype
from mappings.cda.datatypes.text import ed_text
from mappings.cda.domains import device
from mappings.cda.domains.entry_reference import is_reference
from mappings.cda.element import Element
from mappings.cda.handlers import BY_CLASS, HANDLERS, handles
from mappings.cda.named import flag, resolver
from mappings.cda.paths import code_of, is_valued, parse_paths, reader
from mappings.cda.templates import templates
from mappings.cda.walk import Walk
from mappings.fhir import values
from mappings.terminology.concept_map import ConceptMap

Json = dict[str, Any]

PROCEDURE, REQUEST = "procedure.Procedure", "procedure.ServiceRequest"
_INTENDED: Final = frozenset({"INT", "RQO", "ARQ", "PRMS", "PRP"})
_GENERIC: Final = frozenset({"71388002"})  # procedure: SNOMED CT
_NO_KNOWN: Final = "787480003"
_NOTHING: Final = frozenset(
    {"NI", "NASK", "NAV", "NA"}
)  # of a code: that nobody says, whatever the words beside it are
_OWN: Final = ("procedure", "device")  # domains of the templates that a procedure, or its product, may claim
_BESIDE: Final = "procedure"  # the category of sections that tell what was found, lost or given, and not what was done
_CONCERN: Final = "CONC"  # HL7 v3 ActClass: a wrapper of problems, and nothing done
_FOLDED: Final = frozenset({"observation", "act"})  # of these classes other domains' templates count
# what else than an absent code says that something was done
_TELLS: Final = ("targetSiteCode", "methodCode", "performer", "specimen", "approachSiteCode")

(_alternatives,) = (
    reader(ref) for ref in parse_paths("entryRelationship/organizer[@moodCode='PRP']/component/procedure")
)
(_reasons,) = (reader(ref) for ref in parse_paths("entryRelationship[@typeCode='RSON']/observation"))


@handles("procedure", "procedure", "act", "observation", negation=True)
def procedure(walk: Walk, el: Element) -> None:
    """One statement of a section of procedures, or of a procedure's template or class elsewhere."""
    if _elsewhere(walk, el):
        return
    absence = absence_in(el, walk)
    if absence is not None and absence.domain == "device":
        device.absent(walk, el, absence)
    elif (absence is not None and absence.said == "unknown") or (absence is None and _says_nothing(el, walk)):
        walk.nothing_known(el)
    elif absence is None and walk.negated and not _is_specific(el, walk) and _of_devices(el, walk):
        device.none_known(walk, el)
    elif el.get("moodCode") in _INTENDED:
        _requested(walk, el)
    elif el.get("moodCode", "EVN") != "EVN":
        walk.refuse(el, "planned, or possible")
    else:
        _done(walk, el)


def give(walk: Walk, el: Element, domain: str) -> None:
    """A statement to another domain, which must have looked at what this one looks at."""
    found = HANDLERS.get(domain)
    if found is None or el.short not in found.tags:
        walk.refuse(el, "")
    elif walk.negated and not found.negation:
        walk.refuse(el, "negated")
    else:
        walk.domain = domain
        found.call(walk, el)


def _elsewhere(walk: Walk, el: Element) -> bool:
    """A note, a concern, a finding that stands among procedures goes where it belongs; False for a procedure.

    A procedure's own template, or none, leaves it to the section; vendors confuse those of one domain, not of two.
    """
    tag = el.short
    if tag not in _FOLDED:
        return False
    if is_reference(el, walk):
        give(walk, el, "note")
        return True
    claimed = [templates().get((each.get("root") or "").strip()) for each in el.named("templateId")]
    domains = [each.domain for each in claimed if each is not None and each.domain in HANDLERS]
    if any(each in _OWN for each in domains):
        return False
    row = walk.section_row
    beside = row is not None and row.domain == "procedure" and row.category == _BESIDE
    if not domains and not beside and not any(code_of(each) == _CONCERN for each in el.named("code")):
        return False
    domain = next((each for each in domains if tag in HANDLERS[each].tags), BY_CLASS.get(tag, ""))
    if domain:
        give(walk, el, domain)
    else:
        walk.inside(el, domains[0] if domains else "")
    return True


# what was done --------------------------------------------------------------------------------------------------------


def _done(walk: Walk, el: Element) -> None:
    """A Procedure, and what stands in it and beside it."""
    made = walk.state(PROCEDURE, el)
    _unread(walk, el)
    if walk.negated:
        return  # nothing was found, taken or put in, and its reasons are why not
    if any(is_valued(each) for each in el.named("value")):
        walk.state("observation.Observation", el, also=lambda body: body.update(partOf=[{"reference": made.ref}]))
    device.implanted(walk, el, made)
    for specimen in el.named("specimen"):
        _specimen(walk, el, specimen, made.ref)
    links.reasons(walk, el, made, ("Condition/", "Observation/", "Procedure/", "DiagnosticReport/"))


def _unread(walk: Walk, el: Element) -> None:
    """A reason that is a measurement stands for itself: no code says what it found."""
    for each in _reasons(el, walk):
        found = [value for value in each.named("value") if is_valued(value)]
        if found and not any(value.get("code") or len(value) for value in found):
            walk.read.discard(each)


def _specimen(walk: Walk, el: Element, specimen: Element, procedure: str) -> None:
    """What was taken: by its number, as of a result (`specimens.py`), else as one of this procedure."""
    for role in specimen.named("specimenRole"):
        numbers = (number_in(each) for each in role.named("id"))
        number = next((each for each in numbers if each[0]), ("of", procedure, *_kinds(role, walk)))
        if number[0] == "of" and not _kinds(role, walk):
            continue
        made = walk.place_one("Specimen", ("specimen", walk.patient.id if walk.patient else "", *number), "state", role)
        if "subject" not in made.body:
            walk.fill("result.Specimen", role, made)
            walk.fill("result.Specimen-collection", el, made)
        if made.ref not in walk.section_made:
            walk.section_made.append(made.ref)


def _kinds(role: Element, walk: Walk) -> list[str]:
    playing = role.named("specimenPlayingEntity")
    return [walk.identifying(code) for each in playing for code in each.named("code")]


# what is to be done ---------------------------------------------------------------------------------------------------


def _requested(walk: Walk, el: Element) -> None:
    """A ServiceRequest, and the group of its alternatives."""
    made = walk.state(REQUEST, el)
    alternatives(walk, el, made)
    links.reasons(walk, el, made, ("Condition/", "Observation/", "DiagnosticReport/"))


def alternatives(walk: Walk, el: Element, made: Made) -> None:
    """What may be done instead of a request: requests of their own, of all of which one is to be chosen."""
    others: list[Made] = []
    for each in _alternatives(el, walk):
        walk.take(each, walk.domain)
        walk.statement = el
        ref = walk.outcomes[each].resource
        if ref.startswith("ServiceRequest/"):
            others.append(walk.by_ref[ref])
    if others:
        _choice(walk, el, [made, *others])


def _choice(walk: Walk, el: Element, made: list[Made]) -> None:
    """One of several requests is to be chosen."""
    group = walk.place_one("RequestGroup", ("alternatives", *(each.ref for each in made)), "state", el)
    walk.fill("procedure.RequestGroup", el, group)
    actions = [{"resource": {"reference": each.ref}} for each in made]
    group.body["action"] = [{"selectionBehavior": "exactly-one", "action": actions}]
    if group.ref not in walk.section_made:
        walk.section_made.append(group.ref)


# absence --------------------------------------------------------------------------------------------------------------


def absence_in(el: Element, ctx: Walk) -> Absence | None:
    """What the codes of a statement and its product say of absence."""
    return absence_of([*el.named("code"), *device.coded(el, ctx)], ctx)


def _is_specific(el: Element, ctx: Walk) -> bool:
    """Whether it says what procedure it is, by a code or, without one, in words."""
    codes = [each for each in el.named("code") if is_valued(each)]
    if not codes:
        return any(is_valued(each) for each in el.named("text"))
    return any(code_of(each) not in _GENERIC for each in codes)


def _of_devices(el: Element, ctx: Walk) -> bool:
    """Whether it is about devices of no kind: by its product, or by its section."""
    named = device.coded(el, ctx)
    if named:
        return not any(device.is_specific(each) for each in named)
    row = ctx.section_row
    return row is not None and row.domain == "device"


def _says_nothing(el: Element, ctx: Walk) -> bool:
    """Whether all that stands there is that there is no information."""
    if ctx.negated or any(is_valued(each) for each in device.coded(el, ctx)) or device.numbered(el, ctx):
        return False
    kids = el.kids
    codes = kids.get("code", [])
    absent = bool(codes) and all(_is_absent(each, kids) for each in codes)
    told = ("effectiveTime", "value", *_TELLS)
    return absent and not any(is_valued(each) for name in told for each in kids.get(name, ()))


def _is_absent(code: Element, kids: Any) -> bool:
    """Whether a code says that there is nothing; an unknown one only if no words say what it is."""
    if is_valued(code):
        return False
    flavor = code.get("nullFlavor")
    return flavor in _NOTHING or (flavor == "UNK" and not any(is_valued(each) for each in kids.get("text", ())))


@flag("no-known-procedure")
def is_none(el: Element, ctx: Walk) -> bool:
    """Whether it says that there were no procedures at all."""
    absence = absence_in(el, ctx)
    return absence.said == "known" if absence is not None else bool(ctx.negated) and not _is_specific(el, ctx)


@resolver("no-known-procedure")
def no_known_procedure(ctx: Walk) -> Json:
    """SNOMED CT's code of the absence, and what was sent."""
    return device.none_of(ctx.at_hand.named("code"), "procedure", _NO_KNOWN, ctx)


# what rows call -------------------------------------------------------------------------------------------------------


@datatype("INSTRUCTION[CodeableConcept]", gives="CodeableConcept", reads={"code", "text"})
def instruction(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """An instruction: its code, and its words."""
    if isinstance(node, str):
        return None
    concept = next((made for each in node.named("code") if (made := cd_concept(each, ctx))), {})
    text = next((found for each in node.named("text") if (found := ed_text(each, ctx))), None)
    return values.concept(concept.get("coding", []), text or concept.get("text"))


@datatype("INSTRUCTION[string]", gives="string", reads={"code", "text"})
def instruction_text(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> str | None:
    """An instruction in words."""
    found = instruction(node, ctx, vocab)
    if found is None:
        return None
    shown = (each.get("display") for each in found.get("coding", ()))
    return found.get("text") or next((each for each in shown if each), None)


@datatype("II[Reference(ServiceRequest)]", gives="Reference", reads={"@root", "@extension"})
def order_number(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """An order outside of the document, by its number."""
    found = ii_identifier(node, ctx)
    return {"type": "ServiceRequest", "identifier": found} if found and "value" in found else None


@datatype("CD[Reference(BodyStructure)]", gives="Reference")
def body_structure(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """Where a procedure went in: R4 names it by a BodyStructure."""
    found = None if isinstance(node, str) else cd_concept(node, ctx)
    if found is None or ctx.patient is None:
        return None
    body = {"resourceType": "BodyStructure", "location": found, "patient": {"reference": ctx.patient.ref}}
    return values.reference(ctx.contained(body))
