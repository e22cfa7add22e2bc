"""Confidentiality: what a document, a section, a statement says of itself goes to `meta.security` of what it states.

    confidentialityCode of the document     all that it states
    confidentialityCode of a section        what its entries state, and those of the sections in it
    security observation beside a statement what the statement states: how confidential, why, what is not to be done

Consent decisions rest on these, so a code that `labels.csv` does not know is restricted, keeps its own coding and is
told of. Of several confidentialities the strictest stands, and what holds everything (Composition, DocumentReference,
Binary) is as confidential as its strictest part. What many patients share (`SHARED` of HL7 v2's labels) has none, and a
patient herself is never less protected because one document about her is ordinary.
Source: CDA R2 §4.2.1.7 (confidentialityCode), §4.3.3 (sections); HL7 CDA R2 data segmentation for privacy; v3 ActCode,
security observations.
"""

import csv
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mappings.cda.datatypes.coded import cd_coding
from mappings.cda.element import Element
from mappings.cda.paths import STATEMENTS, code_of
from mappings.fhir import values
from mappings.hl7v2.rules.labels import CONFIDENTIALITY, ORDER_OF, RESTRICTED, SHARED, add_label, strictness

if TYPE_CHECKING:
    from mappings.cda.walk import Walk

Json = dict[str, Any]

_FILE: Final = Path(__file__).with_name("labels.csv")
_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/"
_ACT_CODES: Final = _SYSTEM + "v3-ActCode"
_OBSERVATION: Final = "{urn:hl7-org:v3}observation"
_SECTION: Final = "{urn:hl7-org:v3}section"
_WRAPPERS: Final = frozenset({"{urn:hl7-org:v3}organizer", "{urn:hl7-org:v3}act"})
_KINDS: Final = frozenset({"SECCATOBS", "SECCLASSOBS", "SECCONOBS", "SECINTOBS"})  # v3 ActCode
_WHOLE: Final = frozenset({"Composition", "Binary", "Provenance"})
_ABOUT_HER: Final = frozenset({"Patient", "RelatedPerson", "Coverage"})
_USUAL: Final = ORDER_OF.index("N")
_STATEMENTS: Final = frozenset("{urn:hl7-org:v3}" + name for name in STATEMENTS)


@cache
def _table() -> dict[str, tuple[Json, ...]]:
    with _FILE.open(encoding="utf-8", newline="") as file:
        return {row["code"]: tuple(map(_label, row["labels"].split())) for row in csv.DictReader(file)}


def _label(text: str) -> Json:
    system, _, code = text.partition("#")
    return {"system": _SYSTEM + system, "code": code}


def labels_of(code: Element, ctx: "Walk") -> list[Json]:
    """The labels of one confidentialityCode; none where it says nothing, restricted where nobody knows what it says."""
    sent = cd_coding(code, ctx) if code.get("code") or len(code) else None
    if sent is None or "code" not in sent:
        return []
    known = _table().get(sent["code"], ()) if sent.get("system") in (None, CONFIDENTIALITY) else ()
    if any(each["system"] == CONFIDENTIALITY for each in known):
        return [dict(each) for each in known]
    ctx.issue("label-unknown", code)
    return [dict(RESTRICTED), _kept(sent)]


def _kept(sent: Json) -> Json:
    """The sender's own word, beside the label that closes: never as if it were one of HL7's."""
    if sent.get("system", "").startswith(values.HL7_SYSTEMS):
        return {name: value for name, value in sent.items() if name != "system"}
    return sent


# before the body is walked --------------------------------------------------------------------------------------------


def find_annotations(walk: "Walk") -> None:
    """Security observations are no findings of the patient: they are told of here, and label what they stand beside."""
    walk.annotations = {}
    for el in walk.doc.every(_OBSERVATION):
        if any(code_of(code) in _KINDS for code in el.named("code")):
            walk.annotations.setdefault(_labelled(el), []).extend(_said(el, walk))
            walk.tell(el, "mapped")


def _labelled(el: Element) -> Element:
    """The statement that an annotation stands beside, past the organizer that only holds annotations; else the
    section."""
    here = el.parent
    while here is not None:
        if here.tag == _SECTION or (here.tag in _STATEMENTS and here.tag != "{urn:hl7-org:v3}organizer"):
            return here
        if here.parent is None:
            return here
        here = here.parent
    return el


def _said(el: Element, walk: "Walk") -> Iterator[Json]:
    for value in el.named("value"):
        if any(code_of(code) == "SECCLASSOBS" for code in el.named("code")):
            yield from labels_of(value, walk)
        elif (sent := cd_coding(value, walk)) is not None and "code" in sent:
            if sent.get("system") == _ACT_CODES:
                yield sent
            elif (known := _table().get(sent["code"])) is not None:
                yield from (dict(each) for each in known)  # writers name a system of theirs for codes of HL7's
            else:
                walk.issue("label-unknown", value)
                yield from (dict(RESTRICTED), _kept(sent))


# once all is made -----------------------------------------------------------------------------------------------------


def apply(walk: "Walk", original: Any) -> None:
    """Every label, to what it covers. `original`: the DocumentReference to the document itself."""
    document = _own(walk.doc.root, walk)
    around: dict[Element, list[Json]] = {}
    strictest = list(document)
    if _is_divided(walk):
        for el, outcome in walk.outcomes.items():
            found = _around(el, walk, around)
            strictest += [each for each in found if each not in strictest]
            if (made := walk.by_ref.get(outcome.resource)) is not None:
                _cover(made, [*document, *found])
        strictest += [each for each in _of_sections(walk, around) if each not in strictest]
    for made in walk.made:
        if made is original or made.type in _WHOLE:
            _cover(made, strictest)
        elif made.type != original.type or made.stated:  # of another document this one says nothing
            _cover(made, document)
        if walk.trace is not None and "security" in made.body.get("meta", {}):
            walk.trace.rule("labels", made.ref, "meta.security")
    _mark(walk, original, strictest)


def _is_divided(walk: "Walk") -> bool:
    """Whether any part of the document has a label of its own; in most it has not."""
    return bool(walk.annotations) or any("confidentialityCode" in el.kids for el in walk.doc.every(_SECTION))


def _own(el: Element, walk: "Walk") -> list[Json]:
    return [each for code in el.named("confidentialityCode") for each in labels_of(code, walk)]


def _around(el: Element, walk: "Walk", known: dict[Element, list[Json]]) -> list[Json]:
    """What an element and all around it up to the document say; asked once of each."""
    path: list[Element] = []
    here: Element | None = el
    while here is not None and here is not walk.doc.root and here not in known:
        path.append(here)
        here = here.parent
    found = known[here] if here is not None and here in known else []
    for each in reversed(path):
        own = _own(each, walk) if each.tag == _SECTION else []
        own = [*own, *walk.annotations.get(each, ())]
        found = [*found, *own] if own else found
        known[each] = found
    return found


def _of_sections(walk: "Walk", known: dict[Element, list[Json]]) -> Iterator[Json]:
    """Of sections without entries, too: their narrative is in the whole."""
    for el in walk.doc.every(_SECTION):
        yield from _around(el, walk, known)


def _cover(made: Any, found: list[Json]) -> None:
    if made.type in SHARED:
        return
    for label in found:
        usual = label.get("system") == CONFIDENTIALITY and strictness(label) <= _USUAL
        if not (usual and made.type in _ABOUT_HER):
            add_label(made.body, label)


def _mark(walk: "Walk", original: Any, strictest: list[Json]) -> None:
    """R4 says it of a Composition and of a DocumentReference in elements of their own as well."""
    levels = [each for each in strictest if each.get("system") == CONFIDENTIALITY]
    for made in walk.made:
        if made.type == "Composition" and levels:
            made.body["confidentiality"] = max(levels, key=strictness)["code"]
            if walk.trace is not None:
                walk.trace.rule("labels", made.ref, "confidentiality")
    security = original.body.get("meta", {}).get("security", [])
    if security:
        original.body["securityLabel"] = [{"coding": [dict(each)]} for each in security]
        if walk.trace is not None:
            walk.trace.rule("labels", original.ref, "securityLabel")
