"""Notes: a written account is a DocumentReference with its words, in the form they were written in.

The code of a note is its kind: what it is translated to, else that it is a note. Words are text where they have no
form, XHTML where they have one, and data that came with a media type stays what it is: RTF is kept and never rendered.
A comment alone in a section is a note, too; one inside a statement is that statement's (`note.Annotation`). An entry
reference is what it points at. The time range of a section belongs to the section.
Source: C-CDA R2.1 and R5 (note activity, notes section, comment activity, entry reference, section time range
observation); C-CDA on FHIR, notes; eHDSI comment.
"""

from collections.abc import Iterator
from typing import Any, Final

from mappings.cda import links, parties
from mappings.cda.datatypes.attachments import ed_attachment
from mappings.cda.datatypes.coded import cd_concept
from mappings.cda.datatypes.registry import datatype
from mappings.cda.datatypes.text import ed_text, inline, lines, pointer
from mappings.cda.datatypes.times import period_of, span_of
from mappings.cda.domains.entry_reference import is_reference
from mappings.cda.element import Element
from mappings.cda.handlers import BY_CLASS, HANDLERS, handles
from mappings.cda.narrative import block
from mappings.cda.paths import code_of, is_valued
from mappings.cda.walk import Walk
from mappings.fhir import values
from mappings.terminology.concept_map import ConceptMap

Json = dict[str, Any]

NOTE: Final = "note.DocumentReference"
SECTION_PERIOD: Final = f"{values.CANONICAL}:section-period"  # valuePeriod, on a section: the time that it tells of
_ANY_NOTE: Final = "34109-9"  # LOINC: note
_RANGE: Final = "82607-3"  # LOINC: section date and time range
_RANGES: Final = ("2.16.840.1.113883.10.20.22.4.201",)
_XHTML: Final = "application/xhtml+xml"
_PLAIN_MARKUP: Final = frozenset({"content", "paragraph", "br", "text", "item", "td"})  # what lines of text can say
_LINES: Final = frozenset({"paragraph", "item", "td", "text"})  # of these each is a line of its own
_COMMENTERS: Final = frozenset({"Practitioner", "RelatedPerson", "Patient", "Organization"})


@handles("note", "act", "observation")
def note(walk: Walk, el: Element) -> None:
    """A note, or what else stands among notes."""
    if el.short == "observation":
        _observation(walk, el)
    elif is_reference(el, walk):
        links.settle(walk, el)
    elif _has_words(el, walk):
        walk.state(NOTE, el)
    else:
        walk.inside(el)


def _has_words(el: Element, ctx: Walk) -> bool:
    return any(is_valued(each) for each in el.named("text"))


def _observation(walk: Walk, el: Element) -> None:
    """The time range of a section; anything else is what its class is."""
    ranged = any(code_of(each) == _RANGE for each in el.named("code")) or walk.has_template(el, *_RANGES)
    value = next(iter(el.named("value")), None)
    period = period_of(span_of(value, walk)) if ranged and value is not None else None
    if period is not None:
        walk.section_parts.append(values.extension(SECTION_PERIOD, "Period", period))
        walk.tell(el, "mapped")
        return
    walk.domain = BY_CLASS["observation"]
    HANDLERS[walk.domain].call(walk, el)


# what rows call -------------------------------------------------------------------------------------------------------


@datatype("NOTE[CodeableConcept]", gives="CodeableConcept", reads={"@code", "@displayName", "translation"})
def kind(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """What kind of note it is, the particular before the general."""
    found = None if isinstance(node, str) else cd_concept(node, ctx)
    if found is None or "coding" not in found:
        return found
    general = [each for each in found["coding"] if each.get("code") == _ANY_NOTE]
    return {**found, "coding": [each for each in found["coding"] if each not in general] + general}


@datatype("NOTE[Attachment]", gives="Attachment", reads={"#text", "reference", "@mediaType", "@representation"})
def words(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """The words of a note: what the narrative says, with its form where it has one; else what stands in the note."""
    if isinstance(node, str):
        return None
    target = pointer(node, ctx)
    part = ctx.doc.ids.get(target.removeprefix("#")) if target and "://" not in target else None
    if part is None:
        bare = node.get("mediaType") is None and node.get("representation") is None
        text = ed_text(node, ctx, keep_lines=True) if bare else None  # else the row of the data says it
    elif _has_form(part):
        div = block(part, "", headers=ctx.headers)  # a document of its own: IDs as they were written
        return values.attachment(_XHTML, div.encode("utf-8")) if div is not None else None
    else:
        text = lines("".join(_written(part)), ctx)
    return values.attachment("text/plain", text.encode("utf-8")) if text else None


def _written(part: Element) -> Iterator[str]:
    """Plain narrative, with the ends of its lines."""
    tag = part.short
    mark = "\n" if tag in _LINES else ""
    yield "\n" if tag == "br" else mark
    yield _folded(part.text or "")
    for each in part:
        yield from _written(each)
        yield _folded(each.tail or "")
    yield mark


def _folded(text: str) -> str:
    """Blanks and ends of lines are one blank each, as XML readers show them."""
    return " ".join(f"|{text}|".split())[1:-1]


def _has_form(part: Element) -> bool:
    """Whether a narrative says something by its form: a list, a table, emphasis."""
    if part.short not in _PLAIN_MARKUP:
        return True
    return any(
        each.short not in _PLAIN_MARKUP or each.get("styleCode") or each.get("revised") for each in part.iter("*")
    )


@datatype("NOTE[data]", gives="Attachment", reads={"#text", "@mediaType", "@representation", "@compression"})
def data(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """What a note holds in a form of its own."""
    if isinstance(node, str) or not (node.get("mediaType") or node.get("representation")) or not inline(node).strip():
        return None
    return ed_attachment(node, ctx)


@datatype("COMMENTER[Reference(Practitioner)]", gives="Reference", reads={"*"})
def commenter(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """Who wrote a comment: of these an Annotation may name a person, no role."""
    return None if isinstance(node, str) else parties.party(node, ctx, _COMMENTERS)
