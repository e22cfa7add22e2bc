"""Goes through a document's body: sections, entries, statements; every statement gets exactly one outcome.

1. a section's LOINC code says its domain (`sections.csv`)
2. a statement goes to the handler of that domain if it is of a class the domain has, else to that of its template,
   else to that of its class; an act or organizer that none takes is a wrapper and is walked inside
3. a statement inside another that no row has read is a statement of its own
4. an entry that fails never costs the document: it is left out of a second walk, so that it leaves nothing half

Source: CDA R2 §4.3 (body structures); C-CDA R2.1, section and entry templates.
"""

from collections.abc import Callable
from typing import Any, Final

from mappings.cda import links, narrative
from mappings.cda.absence import absence_of
from mappings.cda.assemble import Assembly
from mappings.cda.bare import is_bare
from mappings.cda.document import Document
from mappings.cda.element import V3, Element, tags_of
from mappings.cda.handlers import BY_CLASS, HANDLERS, Handler
from mappings.cda.parts import part_of
from mappings.cda.paths import DENIALS, STATEMENTS, denied, has_template
from mappings.cda.sections import Section, section_of
from mappings.cda.templates import templates
from mappings.cda.twins import tell_apart
from mappings.fhir import values

Json = dict[str, Any]

_SECTION: Final = "section "  # of the trace, until the Composition is made
_RELATIONS: Final = ("entryRelationship", "component", "entry")  # an entry within a statement is no CDA, and is sent
_ENTRY: Final = f"{{{V3}}}entry"
_OF_ENTRIES: Final = frozenset({"realmCode", "templateId", "typeId"})  # what else an entry may hold
_STATEMENT_TAGS: Final = tuple(f"{{{V3}}}{name}" for name in sorted(STATEMENTS))
_SAID: Final = DENIALS | {"false", "0"}
_WRAPPERS: Final = frozenset({"act", "organizer"})
_CODED: Final = (f"{{{V3}}}code", f"{{{V3}}}value")
# HL7 v3 ActMood: what happened, is intended, ordered, proposed, promised, booked, aimed at. A definition, a criterion
# and an option say none of it.
_MOODS: Final = frozenset({"", "EVN", "INT", "RQO", "PRP", "PRMS", "ARQ", "APT", "GOL"})
_NO_GOALS: Final = frozenset({"substanceAdministration", "supply"})
_RELATED: Final = tags_of("relatedSubject")
_EMPTY_REASON: Final = "http://terminology.hl7.org/CodeSystem/list-empty-reason"
# nullFlavor of a section → why it is empty
_EMPTY: Final = {"NI": "unavailable", "UNK": "unavailable", "NAV": "unavailable", "NASK": "notasked", "MSK": "withheld"}


class Walk(Assembly):
    """The assembly of one document, with its way through the body."""

    def __init__(self, doc: Document, profile: Any, entries: Any, without: frozenset[Element] = frozenset()) -> None:
        """`without`: entries that failed in an earlier walk."""
        super().__init__(doc, profile, entries)
        self.without = without
        self.failed: set[Element] = set()  # entries that failed in this walk, which is then no good
        self._others = bool(doc.every(*_RELATED))  # whether anything in the document can be about another person
        self._sections = 0
        self._bodies: list[Json] = []  # of sections, in the order of their trace
        self.section_row: Section | None = None
        self.empty: str = ""  # why the section at hand has no entries, where a statement says so
        self.section_parts: list[Json] = []  # extensions of the section at hand that a statement gives it

    # sections ---------------------------------------------------------------------------------------------------------

    def body(self) -> list[Json]:
        """Every section, mapped; as the Composition holds them."""
        found: list[Json] = []
        for component in self.doc.root.named("component"):
            for body in component.named("structuredBody"):
                for part in body.named("component"):
                    found += [self._section(each) for each in part.named("section")]
        for el in self.doc.every(*_STATEMENT_TAGS):
            if el not in self.outcomes:  # where no statement may stand
                self.refuse(el, "out of place")
        for link in self.later:
            link()
        tell_apart(self, found)
        return [each for each in found if each]

    def _section(self, el: Element) -> Json:
        outer = self.section, self.section_code, self.domain, self.section_made, self.empty, self.prefix
        parts, self.section_parts = self.section_parts, []
        self._sections += 1
        prefix = self.prefix = f"s{self._sections}-"
        row = self._row_of(el)
        self.section, self.section_code, self.domain = el, row.loinc, row.domain
        self.section_row = row
        self.section_made, self.empty = [], _EMPTY.get(el.get("nullFlavor", ""), "")
        for number, entry in enumerate((*el.named("entry"), el)):  # some write statements without entries
            self._entry(entry, row.domain, number)
        made, empty = self.section_made, self.empty
        inner = [self._section(each) for part in el.named("component") for each in part.named("section")]
        body: Json = {}
        if self.trace is not None:
            self.trace.resource = f"{_SECTION}{len(self._bodies)}"
            self._bodies.append(body)
        self.run("section.Composition.section", el, body)
        text = next((t for t in el.named("text")), None)
        self.node = el
        if text is not None and (div := narrative.to_xhtml(text, prefix, self, self._pictures(el))) is not None:
            body["text"] = {"status": "additional" if made else "generated", "div": div}
            if self.trace is not None:
                self.trace.rule("narrative", self.trace.resource, "text", self.doc.place(text))
        if made:
            body["entry"] = [{"reference": ref} for ref in made]
        if inner := [each for each in inner if each]:
            body["section"] = inner
        if self.section_parts:
            body["extension"] = [*self.section_parts, *body.get("extension", ())]
        self.section_parts = parts
        if empty and not made:
            body["emptyReason"] = values.concept([{"system": _EMPTY_REASON, "code": empty}])
        self.section, self.section_code, self.domain, self.section_made, self.empty, self.prefix = outer
        return body

    def name_sections(self, composition: str, sections: list[Json]) -> None:
        """What was traced of sections, told of their places in the Composition, once that has a reference."""
        if self.trace is None:
            return
        moved: dict[str, tuple[str, str]] = {}
        numbers = {id(body): f"{_SECTION}{number}" for number, body in enumerate(self._bodies)}

        def told(held: list[Json], path: str) -> None:
            for index, body in enumerate(held):
                here = f"{path}section[{index}]"
                if (name := numbers.get(id(body))) is not None:
                    moved[name] = composition, here
                told(body.get("section", []), f"{here}.")

        told(sections, "")
        self.trace.rename(moved)

    def _pictures(self, el: Element) -> Callable[[str], str | None]:
        """What the narrative of a section shows of its statements."""
        from mappings.cda.domains.media import shown

        return shown(el, self)

    def _row_of(self, el: Element) -> Section:
        code = next(iter(el.named("code")), None)
        roots = tuple((each.get("root") or "") for each in el.named("templateId"))
        name = (code.get("code") or "").strip() if code is not None else ""
        system = (code.get("codeSystem") or "") if code is not None else ""
        return section_of(name, system, roots, self.profile.cda.sections)

    # entries ----------------------------------------------------------------------------------------------------------

    def _entry(self, entry: Element, domain: str, number: int) -> None:
        """One entry: what goes wrong in it stays in it."""
        if entry in self.without:
            for child in self._statements(entry):
                for el in child.iter(*_STATEMENT_TAGS):
                    self.tell(el, "error")
            self.issue("entry-failed", entry)
            return
        around = self.statement, self.act, self.negated, self.mood, self.domain, self.builder, self.filled
        try:
            for child in self._statements(entry):
                self.take(child, domain)
        except Exception:  # a fault of ours in one entry: what the others say does not wait for its mending
            self.statement, self.act, self.negated, self.mood, self.domain, self.builder, self.filled = around
            self.failed.add(entry)
        if entry.tag == _ENTRY:
            for tag, named in entry.kids.items():
                if tag not in STATEMENTS and tag not in _OF_ENTRIES:
                    for each in named:
                        self.refuse(each, "no statement of CDA")

    def _statements(self, holder: Element) -> list[Element]:
        """What an entry, a relationship or a component holds: one statement, in what is valid."""
        found: list[Element] = []
        for tag, named in holder.kids.items():
            if tag in STATEMENTS:
                found += named
        return found

    def take(self, el: Element, domain: str = "") -> None:
        """One statement, and all inside of it. `domain`: the section's, "" for one that only its owner was to read."""
        if el in self.outcomes:  # somebody has taken it already
            return
        outer = self.statement, self.act, self.negated, self.mood, self.domain
        tag = el.short
        self.node = el
        self.negated = self.negated or denied(el)
        self.mood = el.get("moodCode", "") or self.mood
        self.domain, handler = self._handler(el, tag, domain)
        if el.get("negationInd", "false").strip().casefold() not in _SAID:
            self.refuse(el, "negationInd is neither true nor false")
        elif self.negated and self._denies_absence(el):
            self.refuse(el, "a known absence, denied")
        elif self._is_mere_thought(el, tag):
            self.refuse(el, "of a mood that neither states nor orders")
        elif handler is None:
            self.inside(el, domain)
        elif self.negated and not handler.negation:
            self.refuse(el, "negated")
        elif not handler.subject and self.is_of_another(el):
            self.refuse(el, "about another person")
        else:
            self.statement = el
            handler.call(self, el)
            if el not in self.outcomes:
                self.tell(el, "narrative")
        self._leftovers(el)
        self.statement, self.act, self.negated, self.mood, self.domain = outer

    def _handler(self, el: Element, tag: str, domain: str) -> tuple[str, Handler | None]:
        if tag == "observation" and part_of(el):  # of no kind but an observation, whatever else its template says
            return "observation", HANDLERS.get("observation")
        if (found := HANDLERS.get(domain)) is not None and tag in found.tags:
            return domain, found
        for each in el.named("templateId"):
            row = templates().get((each.get("root") or "").strip())
            if row is not None and (found := HANDLERS.get(row.domain)) is not None and tag in found.tags:
                return row.domain, found
        if tag in _WRAPPERS:
            return domain, None
        kind = BY_CLASS.get(tag, "")
        return kind, HANDLERS.get(kind)

    def _denies_absence(self, el: Element) -> bool:
        """Whether what is denied is that there is none of something: nobody knows what its writer meant."""
        absence = absence_of(el.iter(*_CODED), self)
        return absence is not None and absence.said == "known"

    @staticmethod
    def _is_mere_thought(el: Element, tag: str) -> bool:
        mood = el.get("moodCode", "").strip()
        return mood not in _MOODS or (mood == "GOL" and tag in _NO_GOALS)

    def inside(self, el: Element, domain: str = "") -> None:
        """A wrapper: what it holds is of its section; with nothing inside it only speaks to readers, and a denial of
        nothing is told of."""
        held = self._held(el)
        if el.short not in _WRAPPERS or (self.negated and not held):
            self.refuse(el, "negated" if self.negated else "")
            return
        outer, self.act = self.act, el
        for each in held:
            if each not in self.outcomes:
                self.take(each, domain)
        self.act = outer
        made = [self.outcomes[each].resource for each in held if self.outcomes[each].outcome in ("mapped", "merged")]
        self.tell(el, "mapped" if made else "narrative", made[0] if made else "")

    def _held(self, el: Element) -> list[Element]:
        """The statements that a statement holds: by its relationships, or right inside of it, as some write it."""
        found: list[Element] = []
        for name in _RELATIONS:
            for relation in el.named(name):
                found += self._statements(relation)
        return found + self._statements(el) if found else self._statements(el)

    def _leftovers(self, el: Element) -> None:
        """Statements inside: those that rows have read are part of what was made, the others stand for themselves."""
        owner = self.outcomes[el].resource if el in self.outcomes else ""
        outer, self.act = self.act, el
        for each in self._held(el):
            if each in self.outcomes:
                continue
            if each in self.read and owner:
                self.tell(each, "mapped", owner)
                self._leftovers(each)
            elif is_bare(each, self):
                links.point(self, each)
            else:
                outside, self.negated = self.negated, False
                self.take(each)
                self.negated = outside
        self.act = outer

    def nothing_known(self, el: Element) -> None:
        """A statement that nobody knows: no resource, and the section says why it is empty."""
        self.empty = self.empty or _EMPTY["NI"]
        self.tell(el, "mapped")

    def refuse(self, el: Element, why: str) -> None:
        """Nothing maps it: it stands in the narrative, and nobody can take it for something that was said."""
        self.tell(el, "unsupported")
        self.issue("unsupported-statement", el, why)

    def is_of_another(self, el: Element) -> bool:
        """Whether the statement, or what it stands in, its section too, is about a relative or a fetus."""
        here: Element | None = el if self._others else None
        while here is not None:
            if "subject" in here.kids:
                for subject in here.named("subject"):
                    if "relatedSubject" in subject.kids:
                        return True
            here = here.parent
        return False

    def has_template(self, el: Element, *roots: str) -> bool:
        """Whether a statement claims one of these templates, in any version."""
        return has_template(el, roots)
