"""What of a document's statements nothing mapped: elements that say something and that no row reads.

1. the paths of the rows of a statement's domain are followed once more, over the same document: what they lead to is
   read, with all inside of it
2. what is left is told by its topmost element below which nothing is read
3. a statement that nothing maps is told as a whole; so is one that stands in the narrative only, or that failed

An element that a row reads and that became nothing is told where the conversion says why: a code that no table knows,
a value that is none, a condition that did not hold.

Source: CDA R2 §4.3.6 (clinical statements); design of the unmapped-data report.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from mappings.cda.compiled import Entries
from mappings.cda.document import Document
from mappings.cda.element import Element
from mappings.cda.outcome import Outcome, Said
from mappings.cda.paths import STATEMENTS, PathRef, parse_paths, reader
from mappings.cda.place import XmlPlace
from mappings.cda.rows import language
from mappings.cda.walk import Walk
from mappings.convert import Conversion
from mappings.rows.condition import Never, fields_of, parse_condition
from mappings.rows.table import Row

_WHOLE: Mapping[Said, str] = {
    "unsupported": "unsupported-statement",
    "error": "entry-failed",
    "narrative": "narrative",
}
# told although what was written stays beside the element
_SAYS_WHY = frozenset({
    "vocab-miss", "bad-value", "not-a-date", "not-a-number", "not-a-boolean", "not-a-code", "bad-encoding",
    "bad-timing", "over-long", "bad-null-flavor",
})  # fmt: skip
# what identifies, refines or classifies a statement, and says nothing of the patient
_FORMAL = frozenset({"id", "templateId", "typeId", "realmCode", "sdtc:valueSet"})
_FORM = frozenset({
    "classCode", "moodCode", "typeCode", "determinerCode", "contextConductionInd", "contextControlCode", "nullFlavor",
    "inversionInd", "independentInd", "institutionSpecified", "operator", "unit", "mediaType", "representation", "use",
    "qualifier", "ID", "styleCode", "language", "{http://www.w3.org/2001/XMLSchema-instance}type",
})  # fmt: skip
_DEPTH = 4  # of maps inside of maps


@dataclass(frozen=True, slots=True)
class Unmapped:
    """One place of a document that became nothing, and why."""

    place: XmlPlace
    reason: str  # no-row, condition-false, vocab-miss, bad-value …, unsupported-statement, entry-failed, narrative


def unmapped(conversion: Conversion, walk: Walk) -> list[Unmapped]:
    """Everything of the statements that became nothing, in the order of the document. `walk`: of the same bytes."""
    doc, told = walk.doc, {str(outcome.place): outcome for outcome in conversion.tally}
    statements = [(el, told[str(doc.place(el))]) for el in _statements(doc) if str(doc.place(el)) in told]
    facts = _places(conversion)
    read = _read(walk, statements)
    found: dict[XmlPlace, str] = {}
    for el, outcome in statements:
        if outcome.outcome in _WHOLE:
            found[outcome.place] = _WHOLE[outcome.outcome]
        else:
            found |= {doc.place(each): "no-row" for each in _left(el, doc, read, facts)}
    found = _reasons(conversion, facts) | found
    lines = {place: (place.line, number) for number, place in enumerate(found)}
    return [Unmapped(place, found[place]) for place in sorted(found, key=lines.__getitem__)]


def _statements(doc: Document) -> Iterator[Element]:
    return (el for el in doc.root.iter() if el.short in STATEMENTS)


def _places(conversion: Conversion) -> set[XmlPlace]:
    """Elements that became a value."""
    steps = conversion.trace.steps if conversion.trace is not None else ()
    return {step.source for step in steps if isinstance(step.source, XmlPlace)}


def _reasons(conversion: Conversion, facts: set[XmlPlace]) -> dict[XmlPlace, str]:
    """Elements that a row reads and that became nothing, by what the conversion says of them."""
    missed = conversion.trace.missed if conversion.trace is not None else ()
    used = {place.path for place in facts}
    around = {above for path in used for above in _around(path)}
    found = {
        place: "condition-false"
        for _, place in missed
        if isinstance(place, XmlPlace) and place.path not in used | around and not used & {*_around(place.path)}
    }
    for issue in conversion.issues:
        if isinstance(issue.place, XmlPlace) and issue.code in _SAYS_WHY:
            found[issue.place] = issue.code
    return found


def _around(path: str) -> Iterator[str]:
    """The paths of what an element stands in."""
    while path := path.rpartition("/")[0]:
        yield path


# 1. what rows read ---------------------------------------------------------------------------------------------------


def _read(walk: Walk, statements: Iterable[tuple[Element, Outcome]]) -> set[Element]:
    by_domain = _by_domain(walk.entries)
    read: set[Element] = set()
    for el, outcome in statements:
        walk.statement = el
        walk.section = _above(el, ("section",))
        walk.act = _above(el, STATEMENTS)
        for name in by_domain.get(outcome.domain, ()):
            read |= set(_reads(name, el, walk, _DEPTH)) - {el}
    return read


def _above(el: Element, tags: Iterable[str]) -> Element | None:
    return next((each for each in el.iterancestors() if each.short in tags), None)


def _by_domain(entries: Entries) -> dict[str, list[str]]:
    """The maps of each domain: `allergy.AllergyIntolerance` is the domain allergy's."""
    found: dict[str, list[str]] = {}
    for name in entries.rows.maps:
        found.setdefault(name.partition(".")[0], []).append(name)
    return found


def _reads(name: str, el: Element, walk: Walk, depth: int) -> Iterator[Element]:
    """The elements that the rows of a map look at, from an element on."""
    for row in _rows(walk.entries, name):
        yield from _named(row, el, walk)
        inner = row.type.removeprefix("rows[").removesuffix("]") if row.type.startswith("rows[") else ""
        for ref in _refs(row):
            for found in reader(ref)(el, walk):
                if isinstance(found, str):
                    continue
                if inner in walk.entries.rows.maps and depth:
                    yield from _reads(inner, found, walk, depth - 1)
                elif found is not el:
                    yield found
        for ref in _conditions(row):
            yield from (found for found in reader(ref)(el, walk) if not isinstance(found, str))


def _named(row: Row, el: Element, walk: Walk) -> Iterator[Element]:
    """What a `@name` value reads by itself: `@author-time` the authors of a statement and of its wrapper."""
    if row.value.startswith("@"):
        tag = row.value[1:].partition("-")[0]
        for here in (el, walk.act):
            yield from here.named(tag) if here is not None else ()


def _rows(entries: Entries, name: str) -> list[Row]:
    return [fact.row for fact in entries.rows.maps[name].facts]


def _refs(row: Row) -> Iterator[PathRef]:
    return (_element(ref) for ref in parse_paths(row.source))


def _conditions(row: Row) -> Iterator[PathRef]:
    if not row.when:
        return
    condition = parse_condition(row.when, language().grammar)
    if not isinstance(condition, Never):
        yield from (_element(ref) for ref in fields_of(condition))


def _element(ref: PathRef) -> PathRef:
    """A path without the attribute it ends in."""
    if ref.steps[-1].name.startswith("@") and len(ref.steps) > 1:
        return replace(ref, steps=ref.steps[:-1])
    return ref


# 2. what is left -----------------------------------------------------------------------------------------------------


def _left(el: Element, doc: Document, read: set[Element], facts: set[XmlPlace]) -> Iterator[Element]:
    """The topmost elements below a statement that say something and that nothing reads; other statements aside."""
    for child in el:
        tag = child.short
        if child in read or tag in _FORMAL or tag in STATEMENTS or doc.place(child) in facts:
            continue
        inside = [each for each in child.iter() if each is not child]
        if any(each in read or each.short in STATEMENTS or doc.place(each) in facts for each in inside):
            yield from _left(child, doc, read, facts)
        elif any(map(_says, [child, *inside])):
            yield child


def _points(el: Element) -> bool:
    """Whether an element only points at the narrative, which stays in the Composition."""
    above = el.parent
    return el.short == "reference" and above is not None and above.short in ("text", "originalText")


def _says(el: Element) -> bool:
    """Whether an element has a value of its own: text, or an attribute that is not its form."""
    if el.short in _FORMAL or _points(el):
        return False
    return bool((el.text or "").strip()) or any(
        value.strip() and name not in _FORM for name, value in el.attrib.items()
    )
