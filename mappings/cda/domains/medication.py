"""Medications: what is taken, was taken, is not to be taken, was ordered.

An order is a MedicationRequest, and so is an entry of a medication list (mood EVN, intent plan) unless the profile asks
for MedicationStatements. What was not taken is a statement whatever the profile says; what must not be given is a
request; and no product under a negation says that there are no medications at all. Times come as a list, and dose,
route and times make one Dosage; doses that change are statements inside the statement, each a Dosage.
Source: C-CDA R2.1 (medication activity and what stands inside it); C-CDA on FHIR, medications; IHE PCC TF-2 6.3.4.16;
eHDSI medication summary and prescription.
"""

from collections.abc import Callable, Collection
from typing import Any, Final

from mappings.cda.absence import Absence, absence_of, no_known
from mappings.cda.around import outwards
from mappings.cda.assemble import Made, number_in
from mappings.cda.datatypes.coded import cd_concept
from mappings.cda.datatypes.identifiers import first_number
from mappings.cda.datatypes.registry import datatype
from mappings.cda.datatypes.text import ed_text
from mappings.cda.datatypes.times import bound, ts_datetime
from mappings.cda.domains.product import coded, is_specific
from mappings.cda.element import Element
from mappings.cda.handlers import handles
from mappings.cda.named import flag, resolver
from mappings.cda.parties import ANYONE, SIGNERS, first_party, latest, party
from mappings.cda.paths import code_of, is_valued, parse_paths, reader
from mappings.cda.walk import Walk
from mappings.fhir import temporal, values
from mappings.terminology.concept_map import ConceptMap

Json = dict[str, Any]

REQUEST, STATEMENT = "medication.MedicationRequest", "medication.MedicationStatement"
ORDERS: Final = frozenset({"INT", "RQO"})  # moods of what is to be done
_EVENT: Final = "EVN"
_NO_KNOWN: Final = "787481004"
_PRESCRIPTION: Final = "57828-6"  # LOINC: in this section the author of the document prescribes
_REASONS: Final = ("Condition/", "Observation/")  # what reasonReference takes
_ASSERTION: Final = "ASSERTION"
_SIG: Final = "76662-6"  # LOINC: instructions of a medication
# kinds of instruction, which are none: education, of the patient, on immunization, on medication
_KINDS: Final = frozenset({"409073007", "311401005", "171044003", "422037009", "PINSTRUCT", "FINSTRUCT"})
_OF_THE_WHOLE: Final = ("route", "site", "method", "asNeededBoolean", "asNeededCodeableConcept", "maxDosePerPeriod")

(_parts,) = (
    reader(ref) for ref in parse_paths(f"entryRelationship[@typeCode='COMP']/substanceAdministration[code!='{_SIG}']")
)
_reasons_read = tuple(
    reader(ref)
    for ref in parse_paths(
        "entryRelationship[@typeCode='RSON']/observation[code!='225773000']"
        "|entryRelationship[@typeCode='RSON']/act[tid='2.16.840.1.113883.10.20.22.4.122']"
    )
)
(_reactions,) = (reader(ref) for ref in parse_paths("entryRelationship[@typeCode='CAUS|MFST']/observation"))
(_monitoring,) = (reader(ref) for ref in parse_paths("entryRelationship/act[tid='2.16.840.1.113883.10.20.22.4.123']"))


@handles("medication", "substanceAdministration", negation=True)
def medication(walk: Walk, el: Element) -> None:
    """One administration, ordered, planned or done."""
    from mappings.cda.domains.immunization import immunization, is_vaccine

    if is_vaccine(el, walk):
        walk.domain = "immunization"
        immunization(walk, el)
    else:
        administration(walk, el)


def administration(walk: Walk, el: Element) -> None:
    """A medication, or a vaccine that is to be given."""
    absence = absence_in(el, walk)
    if (absence is not None and absence.said == "unknown") or (absence is None and says_nothing(el, walk)):
        walk.nothing_known(el)
        return
    observe_reactions(el, walk)
    made = walk.state(STATEMENT if is_statement(el, walk) else REQUEST, el, also=_whole(walk, el))
    if not walk.negated and _reasons(el, walk):  # else they are why not
        walk.later.append(lambda: _link_reasons(walk, el, made))
    for act in _monitoring(el, walk):
        walk.statement = act
        walk.state("medication.ServiceRequest", act)
    walk.statement = el


def observe_reactions(el: Element, walk: Walk) -> None:
    """What the substance did to the patient is an observation, which the statement may refer to: no allergy."""
    for each in _reactions(el, walk):
        walk.read.discard(each)
        outer, walk.negated = walk.negated, False
        walk.take(each, "observation")
        walk.negated = outer


def is_statement(el: Element, walk: Walk) -> bool:
    """Whether it tells what was or was not taken, and not what is to be."""
    if is_none(el, walk):
        return True
    return el.get("moodCode") == _EVENT and (walk.negated or walk.profile.cda.medication == "statement")


def absence_in(el: Element, ctx: Walk) -> Absence | None:
    """What the codes of a statement and its product say of absence."""
    return absence_of([*el.named("code"), *coded(el, ctx)], ctx)


def says_nothing(el: Element, ctx: Walk) -> bool:
    """Whether the statement as a whole is declared to hold no information."""
    return el.get("nullFlavor") in ("NI", "UNK", "NASK", "NAV") and not ctx.negated and not is_specific(el, ctx)


@flag("no-known-medication")
def is_none(el: Element, ctx: Walk) -> bool:
    """Whether it says that there are no medications at all."""
    absence = absence_in(el, ctx)
    return absence.said == "known" if absence is not None else bool(ctx.negated) and not is_specific(el, ctx)


def known_absence(ctx: Walk, domain: str, code: str) -> Json:
    """The code of a known absence, and the codings and words that were sent for it."""
    coding = dict(no_known(domain, code))
    for each in (*ctx.at_hand.named("code"), *coded(ctx.at_hand, ctx)):
        if absence_of([each], ctx) is not None:
            found = cd_concept(each, ctx) or {}
            others = [known for known in found.get("coding", ()) if known.get("code") != coding["code"]]
            return {**found, "coding": [coding, *others]}
    return {"coding": [coding]}


@resolver("no-known-medication")
def no_known_medication(ctx: Walk) -> Json:
    return known_absence(ctx, "medication", _NO_KNOWN)


# status ---------------------------------------------------------------------------------------------------------------


def _reasons(el: Element, ctx: Walk) -> list[Element]:
    """What a statement gives as its reason, in full or as a reference to another entry."""
    return [each for read in _reasons_read for each in read(el, ctx)]


@flag("ends-later")
def ends_later(el: Element, ctx: Walk) -> bool:
    """Whether it is written down as completed, and goes on beyond the time of the document."""
    if not ctx.at or "completed" not in [code_of(each) for each in el.named("statusCode")]:
        return False
    before = len(ctx.issues)
    ends = [bound(high, ctx) for high in _highs(el.named("effectiveTime"), ctx)]
    del ctx.issues[before:]
    return any(end and end.value and temporal.compare(end.value, ctx.at[: len(end.value)]) == 1 for end in ends)


def _highs(times: Collection[Element], ctx: Walk) -> list[Element]:
    """The ends of all intervals of a list, of expressions too."""
    return [
        high for time in times for each in (time, *time.named("comp")) for high in each.named("high") if is_valued(high)
    ]


# dosage ---------------------------------------------------------------------------------------------------------------


def _whole(walk: Walk, el: Element) -> Callable[[Json], None]:
    """What only the statement as a whole tells: doses that change, and the supply that is ordered with it."""

    def add(body: Json) -> None:
        _steps(walk, el, body)
        if body["resourceType"] == "MedicationRequest" and (ordered := _ordered(el, walk)) is not None:
            outer, walk.statement = walk.statement, ordered
            walk.read.add(ordered)
            walk.run("supply.MedicationRequest-order", ordered, body)
            walk.statement = outer

    return add


def _steps(walk: Walk, el: Element, body: Json) -> None:
    """Doses that change: each statement inside that names no product of its own is a Dosage."""
    name = "dosage" if body["resourceType"] == "MedicationStatement" else "dosageInstruction"
    steps = []
    for part in _parts(el, walk):
        if is_specific(part, walk) or part.get("negationInd") in ("true", "1"):
            walk.read.discard(part)
            continue
        made: Json = {}
        walk.run("medication.Dosage", part, made)
        if made:
            steps.append(made)
    if steps:
        whole = body.get(name, [{}])[0]
        common = {key: value for key, value in whole.items() if key in _OF_THE_WHOLE}
        first = [whole] if whole.keys() - common.keys() else []
        body[name] = [*first, *({"sequence": n, **common, **step} for n, step in enumerate(steps, 1))]


def _ordered(el: Element, ctx: Walk) -> Element | None:
    """The first supply that is ordered of the same product: FHIR has room for one, others are requests themselves."""
    own = {code_of(each) for each in coded(el, ctx)} - {""}
    for relation in el.named("entryRelationship"):
        for each in relation.named("supply"):
            if each.get("moodCode") not in ORDERS or each.get("negationInd") in ("true", "1"):
                continue
            other = {code_of(code) for code in coded(each, ctx)} - {""}
            if not own or not other or own & other:
                found: Element = each
                return found
    return None


@datatype("PRECONDITION[asNeeded]", gives="asNeeded[x]", takes="all", reads={"criterion"})
def as_needed(nodes: list[Element], ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """What it is taken for when needed; a precondition that does not say what for, still says when needed."""
    found: list[Json] = []
    for criterion in (each for node in nodes for each in node.named("criterion")):
        kids = criterion.kids
        codes = [each for each in kids.get("code", ()) if code_of(each) != _ASSERTION]
        told = [made for each in (*kids.get("value", ()), *codes) if (made := _concept(each, ctx))]
        texts = [{"text": text} for each in kids.get("text", ()) if (text := ed_text(each, ctx))]
        found += told[:1] or texts[:1]
    if len(found) > 1:
        shown = [each.get("text") or each["coding"][0].get("display") or each["coding"][0]["code"] for each in found]
        ctx.issue("extra-value", detail="several preconditions are one text")
        found = [{"text": "; ".join(dict.fromkeys(shown))}]
    return {"asNeededCodeableConcept": found[0]} if found else {"asNeededBoolean": True}


def _concept(node: Element, ctx: Walk) -> Json | None:
    made = cd_concept(node, ctx) if not node.text or not node.text.strip() else {"text": ed_text(node, ctx)}
    return made if made is not None and ("coding" in made or "text" in made) else None


@datatype("ED[lines]", gives="string", takes="all", reads={"#text", "reference"})
def lines(nodes: list[Element], ctx: Walk, vocab: ConceptMap | None = None) -> str | None:
    """Several texts, a line each."""
    found = [text for node in nodes if (text := ed_text(node, ctx, keep_lines=True))]
    return "\n".join(dict.fromkeys(found)) or None


@datatype("CD[instruction]", gives="CodeableConcept")
def instruction(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """An instruction that has a code; a code that only says that it is one is none."""
    if isinstance(node, str) or code_of(node) in _KINDS:
        return None
    found = _concept(node, ctx)
    return found if found is not None and "coding" in found else None


@datatype("REASON[CodeableConcept]", gives="CodeableConcept", reads={"code", "value"})
def reason(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """What an observation gives as the reason: its value, else what it is."""
    if isinstance(node, str):
        return None
    kids = node.kids
    for each in (*kids.get("value", ()), *(code for code in kids.get("code", ()) if code_of(code) != _ASSERTION)):
        if (found := _concept(each, ctx)) is not None:
            return found
    for each in kids.get("text", ()):
        if text := ed_text(each, ctx):
            return {"text": text}
    return None


# why ------------------------------------------------------------------------------------------------------------------


def _link_reasons(walk: Walk, el: Element, made: Made) -> None:
    """A reason that the document also states as a problem of its own is that Condition."""
    if made.ref not in walk.by_ref:
        return
    for each in _reasons(el, walk):
        reference = _stated(each, walk)
        if reference is not None and reference not in made.body.get("reasonReference", ()):
            found = made.body.setdefault("reasonReference", [])
            found.append(reference)
            if walk.trace is not None:
                walk.trace.rule("reason-stated", made.ref, f"reasonReference[{len(found) - 1}]", walk.doc.place(each))


def _stated(reason: Element, walk: Walk) -> Json | None:
    """The Condition of the same number that says the same, for a number alone is used for different ones; what only
    refers to an entry that nothing was made of keeps its number."""
    kids = reason.kids
    said = {code_of(each) for each in kids.get("value", ())} - {""}
    for number in kids.get("id", ()):
        for other in walk.numbered(number_in(number)):
            resource = walk.outcomes[other].resource
            same = not said or said & {code_of(each) for each in other.named("value")}
            if other is not reason and same and resource.startswith(_REASONS):
                return {"reference": resource}
    own = first_number(kids.get("id", ()), walk) if "value" not in kids else None
    return {"identifier": own} if own is not None else None


# who ------------------------------------------------------------------------------------------------------------------


def _authors(ctx: Walk) -> list[Element]:
    """Who asks for it: authors of the statement, its wrapper or section; never of what was dispensed for it. Those of
    the document only where that is a prescription."""
    for here in outwards(ctx.statement):
        if here is not ctx.statement and str(here.tag).endswith("}supply"):
            return []
        if found := here.kids.get("author"):
            return list(found)
        if here is ctx.section:
            break
    return list(ctx.doc.root.named("author")) if ctx.section_code == _PRESCRIPTION else []


@resolver("prescriber")
def prescriber(ctx: Walk) -> Json | None:
    """The latest of its authors."""
    found = latest(_authors(ctx), ctx)
    return party(found, ctx, ANYONE) if found is not None else None


@resolver("prescribed")
def prescribed(ctx: Walk) -> Any:
    """The earliest time of its authors."""
    times = [time for each in _authors(ctx) for time in each.named("time") if is_valued(time)]
    times.sort(key=lambda time: time.get("value") or "9")
    return ts_datetime(times[0], ctx, None) if times else None


def informants(el: Element, ctx: Walk) -> list[Element]:
    """Who told of it: of the statement's own, not the document's."""
    return list(el.named("informant"))


@resolver("informant")
def informant(ctx: Walk) -> Json | None:
    """Who told of it."""
    return first_party(informants(ctx.at_hand, ctx), ctx, SIGNERS)


@resolver("owner")
def owner(ctx: Walk) -> Json | None:
    """What the statement around this one was made into."""
    for here in outwards(ctx.at_hand.parent):
        if here is ctx.section:
            return None
        if here in ctx.outcomes:
            return values.reference(ctx.outcomes[here].resource or None)
    return None
