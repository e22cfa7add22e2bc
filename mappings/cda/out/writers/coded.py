"""Coded values: CD, CE, CS.

The first coding whose system has an OID is the code, the others are its translations. Where a row has a vocabulary map
it is read backwards: the code of the system that the row's `value` names. What a term is called in other languages
stands in translations of it: the pivot outside, the original inside. A text alone, or a code of a system that nobody
can name, is `OTH` with its original text.
Source: HL7 v3 datatypes R1, CD, CE, CS, CR; FHIR R4 CodeableConcept; eHDSI CDA guides (pivot documents).
`mappings/cda/datatypes/coded.py` reads them.
"""

from collections.abc import Iterator
from typing import Any

from mappings.cda.element import V3
from mappings.cda.out.writers.identifiers import flavor_of
from mappings.cda.out.writing import Out, Writer, element, said
from mappings.fhir.fhirpath import Node
from mappings.fhir.values import DATA_ABSENT_REASON, HL7_SYSTEMS, QUALIFIER, REASONS, TRANSLATION
from mappings.outbound.reading import Json
from mappings.outbound.vocabulary import backwards
from mappings.vitals import beside
from mappings.xml_parser import Element

_NULL_FLAVORS = f"{HL7_SYSTEMS}v3-NullFlavor"
_PIVOT = "en"  # the language into which a European country translates what it sends
_TRANSLATION, _ORIGINAL = f"{{{V3}}}translation", f"{{{V3}}}originalText"


def cd(node: Node, tag: str, out: Out) -> Element | None:
    """A CodeableConcept, Coding or code; `value` names the code system of what a map gives."""
    _, value, sibling = node
    if not isinstance(value, dict):
        return _code(value, sibling, tag, out)
    concept = value if not value.keys() & {"code", "system", "display"} else {"coding": [value]}
    if out.vocab is not None:
        return _mapped(concept, tag, out)
    return _concept(concept, tag, out)


def _code(value: Any, sibling: Json | None, tag: str, out: Out) -> Element | None:
    out.mark(value)
    if value is None:
        return _absent(sibling, tag, out)
    code = str(value)
    if out.vocab is None:
        return element(tag, code=code, codeSystem=out.value)
    return _of_map(code, tag, out)


def _of_map(code: str, tag: str, out: Out) -> Element | None:
    """The code that the map's target came from."""
    vocab = out.vocab
    sent = backwards(vocab.name).get(code) if vocab is not None else None
    if vocab is None or sent is None:
        out.left_out("a code that has none in CDA")
        return None
    return element(tag, code=sent, codeSystem=out.value, displayName=vocab.concepts[sent].display or "")


def _mapped(concept: Json, tag: str, out: Out) -> Element | None:
    """The first coding that the map gives, read backwards; the others it gives again, or they are told as left."""
    vocab = out.vocab
    for coding in concept.get("coding", ()):
        code = coding.get("code", "")
        if vocab is not None and code in backwards(vocab.name) and coding.get("system") == _system(code, out):
            out.mark_all(coding)
            out.text(concept, "text")
            return _of_map(code, tag, out)
    out.left_out("a code that has none in CDA")
    return None


def _system(code: str, out: Out) -> str:
    vocab = out.vocab
    return "" if vocab is None else vocab.concepts[backwards(vocab.name)[code]].system


# concepts -------------------------------------------------------------------------------------------------------------


def _concept(concept: Json, tag: str, out: Out) -> Element | None:
    codings = [each for each in concept.get("coding", ()) if isinstance(each, dict)]
    reasons = [each for each in codings if each.get("system") in (REASONS, _NULL_FLAVORS)]
    codings = [each for each in codings if each not in reasons]
    named = [each for each in codings if each.get("code") and _is_named(each, out)]
    text = out.text(concept, "text")
    if not named:
        words = _unnamed(codings, text, tag, out)
        return _absent_concept(concept, reasons, tag, out) if words is None else words
    first, *rest = named
    made = _coded(first, text, tag, out)
    if text and (text != made.get("displayName") or first.get("display")):
        made.append(element(_ORIGINAL, text))
    made.extend(_qualifiers(concept, out))
    made.extend(_translations(first, rest, made, out))
    for each in codings:
        if each not in named:
            out.issue("system-unnamed")
    return made


def _is_named(coding: Json, out: Out) -> bool:
    system = coding.get("system")
    return not system or bool(out.writing.oid(str(system)))


def _coded(coding: Json, text: str, tag: str, out: Out) -> Element:
    """A code with its system. HL7 words the displays of its own systems: what was said beside them is the text."""
    system = out.text(coding, "system")
    shown = out.text(coding, "display")
    if not shown and system.startswith(HL7_SYSTEMS):
        shown = text
    return element(
        tag,
        code=out.text(coding, "code"),
        codeSystem=out.writing.oid(system) if system else "",
        codeSystemVersion=out.text(coding, "version"),
        displayName=shown,
    )


def _unnamed(codings: list[Json], text: str, tag: str, out: Out) -> Element | None:
    """Words only: nobody could tell whose code it is."""
    shown = [out.text(each, "display") for each in codings]
    words = text or next(filter(None, shown), "") or next((str(each.get("code", "")) for each in codings), "")
    if any(each.get("code") for each in codings):
        out.issue("system-unnamed")
    if not words:
        return None
    made = element(tag, nullFlavor="OTH")
    made.append(element(_ORIGINAL, words))
    return made


def _absent_concept(concept: Json, reasons: list[Json], tag: str, out: Out) -> Element | None:
    for each in reasons:
        out.mark_all(each)
        code = str(each.get("code"))
        return element(tag, nullFlavor=code if each.get("system") == _NULL_FLAVORS else flavor_of(code))
    return _absent(concept, tag, out)


def _absent(holder: Json | None, tag: str, out: Out) -> Element | None:
    """Why a value is missing, as its null flavor."""
    reason = out.text(out.extension(holder, DATA_ABSENT_REASON), "valueCode")
    return element(tag, nullFlavor=flavor_of(reason)) if reason else None


# translations ---------------------------------------------------------------------------------------------------------


def _translations(first: Json, rest: list[Json], made: Element, out: Out) -> Iterator[Element]:
    """What the term is called elsewhere, then the other codings; the one that the author chose inside of the one
    before it, which is where documents keep the original."""
    words = _designations(first, out)
    pivot = next((each for each in words if each[0].partition("-")[0] == _PIVOT), None)
    outer: Element | None = None
    if pivot is not None:
        outer = _same_code(made, pivot[1])
        yield outer
    for lang, content in words:
        if (lang, content) != pivot:
            inner = _same_code(made, content)
            if outer is None:
                yield inner
            else:
                outer.append(inner)
    for each in rest:
        other = _coded(each, "", _TRANSLATION, out)
        if out.take(each, "userSelected") and outer is not None:
            outer.append(other)
        else:
            outer = other
            yield other
        for _, content in _designations(each, out):
            other.append(_same_code(other, content))


def _designations(coding: Json, out: Out) -> list[tuple[str, str]]:
    """(language, words) of the translations of a display."""
    out.take(coding, "userSelected")
    found = []
    for each in (coding.get("_display") or {}).get("extension", ()):
        if each.get("url") == TRANSLATION:
            out.mark_all(each)
            parts = {part.get("url"): part.get("valueCode") or part.get("valueString") for part in each["extension"]}
            found.append((str(parts.get("lang", "")), str(parts.get("content", ""))))
    return found


def _same_code(made: Element, words: str) -> Element:
    attributes = {name: made.get(name, "") for name in ("code", "codeSystem")}
    return element(_TRANSLATION, displayName=words, **attributes)


def _qualifiers(concept: Json, out: Out) -> Iterator[Element]:
    """What narrows the term."""
    for each in concept.get("extension", ()):
        if each.get("url") != QUALIFIER:
            continue
        out.mark(each["url"])
        whole = element(f"{{{V3}}}qualifier")
        for part in each.get("extension", ()):
            name = str(part.get("url"))
            out.mark(part["url"])
            found = _concept(part.get("valueCodeableConcept") or {}, f"{{{V3}}}{said(name)}", out)
            if found is not None and name in ("name", "value"):
                whole.append(found)
        if len(whole):
            yield whole


def cs(node: Node, tag: str, out: Out) -> Element | None:
    """A code of a system that its place names: language, status."""
    value = node[1]
    if isinstance(value, dict):
        codings = value.get("coding", [])
        code = next((out.text(each, "code") for each in codings if each.get("code")), "")
        for each in codings[:1]:
            out.take(each, "system")
        out.text(value, "text")
    else:
        out.mark(value)
        code = str(value or "")
    if out.vocab is not None and code:
        sent = backwards(out.vocab.name).get(code)
        if sent is None:
            out.left_out("a code that has none in CDA")
            return None
        code = sent
    return element(tag, code=code) if code else None


def observed(node: Node, tag: str, out: Out) -> Element | None:
    """The code of an observation: what R4's profile of a vital sign puts beside another code stands behind it."""
    concept = node[1]
    codings = concept.get("coding", ())
    added = {more for each in codings for more in beside().get(str(each.get("code")), "").split()}
    order = sorted(codings, key=lambda each: each.get("code") in added)
    return cd((node[0], {**concept, "coding": order} if codings else concept, node[2]), tag, out)


def words(node: Node, tag: str, out: Out) -> Element | None:
    """A concept as an element of text: what a person would read."""
    concept = node[1]
    shown = out.text(concept, "text") or next(
        (found for each in concept.get("coding", ()) if (found := out.text(each, "display"))), ""
    )
    return element(tag, shown) if shown else None


WRITERS: dict[str, Writer] = {"CD": cd, "CD.observed": observed, "CE": cd, "CS": cs, "ST.concept": words}
