"""Puts one document together: makes resources by their maps, gives them ids, joins what is said twice.

`walk.py` goes through the sections and asks `make` for each statement; `header.py`, `parties.py` and `compose.py` make
what stands around them. Pure: ids, time and profile arrive with the profile and the call.

Identity of a statement: patient, map, its id, what it is about (`makes.csv`), when it began, its mood. The id alone
would merge different facts, for real generators reuse it; the whole content would make each change of status a
duplicate. Said twice in one document: equal facts are one resource, different ones are told apart by what they say,
all of them and never by position (`twins.py`).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from mappings.cda.compiled import Entries, Make, makes
from mappings.cda.context import Context, nothing_contained, nothing_made
from mappings.cda.document import XSI_TYPE, Document
from mappings.cda.element import V3, Element
from mappings.cda.narrative import anchor, block
from mappings.cda.outcome import Outcome, Said
from mappings.cda.paths import Reader
from mappings.cda.place import XmlPlace
from mappings.cda.trace import DocumentTrace
from mappings.fhir.leaves import leaves
from mappings.fhir.schema import schema
from mappings.hl7v2.wiring import Mode
from mappings.identity import Identities
from mappings.statuses import ABOUT

Json = dict[str, Any]
Key = tuple[str, ...]

# What two sections may say differently of one and the same thing; everything else must agree.
_OF_THE_SECTION: Final = frozenset({
    "category", "text", "meta", "note", "recorder", "recordedDate", "asserter", "encounter", "authoredOn", "requester",
    "extension", "identifier",
})  # fmt: skip
_ABSENT_OF: Final = {"dataAbsentReason": "value[x]"}  # what stands for a value that is not there
_VERIFIED: Final = "verificationStatus"
_BOTH: Final = frozenset({"value", "component"})
_UNITED: Final = ("category", "note", "identifier", "extension")
NARRATIVE_LINK: Final = "http://hl7.org/fhir/StructureDefinition/narrativeLink"  # FHIR R4: on any element
_SECTION: Final = f"{{{V3}}}section"
_TEXT: Final = 200  # characters of a text that take part in an identity


def composition_key(doc: Document) -> Key:
    """What identifies the Composition of a document: its very bytes."""
    return "document", doc.digest.hex()


class Holder:
    """What holds a body under construction, and what that contains."""

    def __init__(self, body: Json) -> None:
        self.body = body


class Made(Holder):
    """One resource under construction."""

    def __init__(self, kind: str, id_: str, mode: Mode, first: int, el: Element | None = None) -> None:
        super().__init__({"resourceType": kind, "id": id_})
        self.type = kind
        self.id = id_
        self.ref = f"{kind}/{id_}"
        self.mode = mode
        self.first = first  # order in which it came into being
        self.el = el
        self.filled: list[str] = []
        self.own: tuple[str, ...] = ()  # what applies though a later document is stored
        self.key: Key = ()
        self.make: Make | None = None  # of a statement
        self.stated = False  # by a statement, not met on the way
        self.also: tuple[Element, ...] = ()  # other statements that say the same

    def said_by(self) -> tuple[Element, ...]:
        """The elements that state it, in no order that counts."""
        return self.also if self.el is None else (self.el, *self.also)


class Assembly(Context):
    """The context of one document's conversion, and everything that it makes."""

    def __init__(self, doc: Document, profile: Any, entries: Entries) -> None:
        super().__init__(doc, profile)
        self.entries = entries
        self.identities: Identities = profile.identities
        self.feed: str = profile.namespace
        self.at = ""  # time of the document's statements
        self.composition = ""  # its id, once somebody links to it
        self.made: list[Made] = []
        self.by_ref: dict[str, Made] = {}
        self.twins: dict[str, list[Made]] = {}  # what else has the identity of a resource, and says something else
        self.outcomes: dict[Element, Outcome] = {}
        self.patient: Made | None = None
        self.encounter: Made | None = None
        self.builder: Holder | None = None  # what is under construction: Made, or all that has a body
        self.prefix = ""  # of the ids of the narrative at hand
        self.section_made: list[str] = []  # references of what the section at hand states, in order
        self.later: list[Callable[[], None]] = []  # links to what another section may state, made when all of them have
        self._numbered: dict[Key, list[Element]] | None = None
        self._functions: dict[str, Callable[[Element, Assembly, Json], None]] = {}  # of maps, by name
        self.trace: DocumentTrace | None = None
        self.traced: Any = None
        self.make = self._stub
        self.contained = self._contain

    @property
    def subject(self) -> Made:
        """The patient; for what is asked only once it is known whose the document is."""
        if self.patient is None:
            raise RuntimeError("whose the document is comes first")
        return self.patient

    def release(self) -> None:
        """Lets go of itself, once all is made: else a document stays until the collector looks for cycles."""
        self.make, self.contained = nothing_made, nothing_contained
        self.later.clear()

    # rows -------------------------------------------------------------------------------------------------------------

    def run(self, name: str, el: Element, body: Json) -> list[str]:
        """One map on one element; the elements that `??` rows filled."""
        function = self._functions.get(name)
        if function is None:
            found = self.entries.rows[name].fast if self.traced is None else self.traced[name]
            function = self._functions[name] = found
        outer, self.filled = self.filled, []
        if self.trace is None or "resourceType" not in body or self._is_built(body):
            function(el, self, body)
        else:  # a resource whose place nobody knows yet
            around = self.trace.begin(body)
            function(el, self, body)
            self.trace.end(around, body)
        filled, self.filled = self.filled, outer
        self.row = ""
        return filled

    def _is_built(self, body: Json) -> bool:
        return isinstance(self.builder, Made) and body is self.builder.body

    # making -----------------------------------------------------------------------------------------------------------

    def state(
        self,
        name: str,
        el: Element,
        *extra: str,
        also: Callable[[Json], None] | None = None,
        key: Key | None = None,
    ) -> Made:
        """The resource that a statement states, by the map's rows. `extra` goes into its identity, `key` is another one
        altogether; `also` finishes its body before it is compared with what was said before."""
        make = makes()[name]
        kind = self.entries.rows[name].resource_type
        key = key or (*self._owner(), name, *self.own_id(el), *self._core(make, el), *extra)
        if self.negated:
            key = (*key, "denied")  # what is denied is another statement than what is said, in any order of arrival
        made = Made(kind, self.identities.make(kind, key), make.mode, len(self.made), el)
        made.key, made.make = key, make
        mark = self.trace.told_of(made.ref) if self.trace is not None and made.ref in self.by_ref else 0
        self._fill(name, el, made, also)
        known = self.by_ref.get(made.ref)
        if known is None:
            return self.stated(self._add(made), el, "mapped")
        if known.mode == "stub" and not known.stated:
            self._take_over(known, made)
            return self.stated(known, el, "mapped")
        for each in (known, *self.twins.get(made.ref, ())):
            if self._agree(each.body, made.body):
                _unite(each, made)
                self._traced_from(mark, made.ref, each.ref)
                return self.stated(each, el, "merged")
        self.issue("id-reused", el)
        return self._apart(made, el, mark)

    def _fill(self, name: str, el: Element, made: Made, also: Callable[[Json], None] | None) -> None:
        outer, self.builder = self.builder, made
        if self.trace is not None:
            self.trace.resource = made.ref
        made.filled = self.run(name, el, made.body)
        if also is not None:
            also(made.body)
        if made.mode == "state":
            self._tell_in_words(el, made.body)
        self.builder = outer
        if self.trace is not None and outer is not None:
            self.trace.resource = outer.ref if isinstance(outer, Made) else ""

    def _tell_in_words(self, el: Element, body: Json) -> None:
        """A resource's own narrative: the part of the section's that its statement points at."""
        for text in el.named("text"):
            for reference in text.named("reference"):
                part = self.doc.ids.get((reference.get("value") or "").strip().removeprefix("#"))
                div = block(part, self.prefix, headers=self.headers) if part is not None else None
                if part is not None and div is not None:
                    body["text"] = self._linked(part) | {"status": "additional", "div": div}
                    if self.trace is not None:
                        self.trace.rule("narrative", self.trace.resource, "text", self.doc.place(part))
                    return

    def _linked(self, part: Element) -> Json:
        """The link from a resource's own words to where they stand: in the section at hand of the Composition."""
        here: Element | None = part.parent
        while here is not None and here is not self.section and here.tag != _SECTION:
            here = here.parent
        if here is None or here is not self.section or part.parent is here:  # elsewhere, or the text as a whole
            return {}
        if not self.composition:
            self.composition = self.identities.make("Composition", composition_key(self.doc))
        address = f"Composition/{self.composition}#{anchor(self.prefix, part.get('ID', ''))}"
        return {"extension": [{"url": NARRATIVE_LINK, "valueUrl": address}]}

    def _apart(self, made: Made, el: Element, mark: int) -> Made:
        """What shares the identity of another statement and says something else, under a name for the time being."""
        others = self.twins.setdefault(made.ref, [])
        plain, made.id = made.ref, self.identities.make(made.type, (*made.key, "twin", str(len(others))))
        made.ref = f"{made.type}/{made.id}"
        made.body["id"] = made.id
        others.append(made)
        self._traced_from(mark, plain, made.ref)
        return self.stated(self._add(made), el, "mapped")

    def _traced_from(self, mark: int, old: str, new: str) -> None:
        """What was traced of a resource since the mark is another's."""
        if self.trace is not None and old != new:
            self.trace.split(old, mark, new)

    def _take_over(self, known: Made, made: Made) -> None:
        """A resource that was only referred to until now is stated."""
        known.mode, known.el, known.filled = made.mode, made.el, made.filled
        for name, value in known.body.items():
            made.body.setdefault(name, value)
        known.body = made.body

    def stated(self, made: Made, el: Element, said: Said) -> Made:
        """A statement has stated a resource: it is told of, and the section at hand holds it."""
        made.stated = True
        self.tell(el, said, made.ref)
        if made.ref not in self.section_made:
            self.section_made.append(made.ref)
        return made

    def tell(self, el: Element, said: Said, resource: str = "") -> None:
        """What became of a statement; the first word counts, but for an error."""
        if el not in self.outcomes or said == "error":
            self.outcomes[el] = Outcome(self.doc, el, self.domain, said, resource)

    def _add(self, made: Made) -> Made:
        self.made.append(made)
        self.by_ref[made.ref] = made
        return made

    def place_of(self, made: Made) -> XmlPlace:
        """The element that states a resource."""
        return self.doc.place(made.el if made.el is not None else self.doc.root)

    def place_one(self, kind: str, key: Key, mode: Mode, el: Element | None = None) -> Made:
        """A resource by a key of its own: header, document, parties. Made once."""
        id_ = self.identities.make(kind, key)
        known = self.by_ref.get(f"{kind}/{id_}")
        return known if known is not None else self._add(Made(kind, id_, mode, len(self.made), el))

    def fill(self, name: str, el: Element, made: Made, also: Callable[[Json], None] | None = None) -> Made:
        """Rows of a map into a resource that has its id already."""
        self._fill(name, el, made, also)
        return made

    # identity ---------------------------------------------------------------------------------------------------------

    def _owner(self) -> Key:
        return (self.patient.id,) if self.patient is not None else (self.feed, self.doc.digest.hex())

    def own_id(self, el: Element) -> Key:
        """The number of a statement, root and extension; both "" where it has none."""
        for each in el.named("id"):
            if (number := number_in(each))[0]:
                return number
        return "", ""

    def _core(self, make: Make, el: Element) -> Key:
        about = self.first_of(make.core, el)
        start = self.first_of(make.start, el)
        return about, start, el.get("moodCode", "")

    def first_of(self, readers: tuple[Reader, ...], el: Element) -> str:
        """What the first of these paths that leads to anything contributes to an identity."""
        for read in readers:
            for found in read(el, self):
                if text := self.identifying(found):
                    return text
        return ""

    def numbered(self, number: Key) -> list[Element]:
        """The statements of a number, root and extension; to be asked when all of them have been walked."""
        if self._numbered is None:
            self._numbered = {}
            for el in self.outcomes:
                for each in el.named("id"):
                    self._numbered.setdefault(number_in(each), []).append(el)
        return self._numbered.get(number, [])

    def identifying(self, found: Any) -> str:
        """What an element contributes to an identity: system and code, else its value, else its first translation with
        a code, else its text. Several at once contribute all that they say, in no order."""
        if isinstance(found, str):
            return found
        if isinstance(found, tuple):
            return "\x1f".join(sorted({self.identifying(each) for each in found} - {""}))
        if code := (found.get("code") or "").strip():
            return f"{found.get('codeSystem', '')}|{code}"
        if value := (found.get("value") or "").strip():
            return value
        if len(found) and (translated := _translated(found)):
            return translated
        for each in found.kids.get("originalText", (found,)):
            for reference in each.named("reference"):
                told, self.issues = self.issues, []
                text = self.narrative(reference.get("value") or "")
                self.issues = told
                if text:
                    return _normal(text)
            if text := _normal("".join(each.itertext())):
                return text
        return _normal(found.get("displayName") or _translated(found, "displayName"))

    # what is met on the way -------------------------------------------------------------------------------------------

    def _stub(self, kind: str, key: Key, body: Json) -> str | None:
        """A resource a datatype function meets: created only where nothing is stored."""
        made = self.place_one(kind, key, "stub")
        for name, value in body.items():
            known = made.body.setdefault(name, value)
            if known is not value and isinstance(known, list):  # one section knows the number, another the address
                made.body[name] = known + [each for each in value if each not in known]
        if self.trace is not None:
            told = self.trace.becomes(kind, body, made.ref)
            for path in (each for each, _ in leaves(body) if each.partition(".")[0].partition("[")[0] not in told):
                self.trace.rule(
                    self.row or "party", made.ref, path, None if self.node is None else self.doc.place(self.node)
                )
        return made.ref

    def _contain(self, body: Json) -> str | None:
        """A thing without an id of its own lives inside the resource that speaks of it."""
        if self.builder is None:
            return None
        id_ = "c" + self.identities.make("contained", (repr(body),))[:8]  # of its content: equal in every version
        self.hold(body, id_)
        return f"#{id_}"

    def hold(self, body: Json, id_: str) -> None:
        """What is contained goes into what is under construction, under the id that it has everywhere."""
        if self.builder is None:
            return
        inside = self.builder.body.setdefault("contained", [])
        if all(each["id"] != id_ for each in inside):
            inside.append({**body, "id": id_})
            if self.trace is not None:
                self.trace.contain(id_, body, getattr(self.builder, "ref", ""), len(inside) - 1)

    @staticmethod
    def _agree(one: Json, other: Json) -> bool:
        """Whether two statements of one identity say the same; what belongs to the section that says it aside. What
        only one of them says, the other may have left out: but for what it is about, and for what was an error."""
        if (_VERIFIED in one) != (_VERIFIED in other) or _answers(one) ^ _answers(other) == _BOTH:
            return False
        first, second = _by_element(one), _by_element(other)
        if any(first.get(name) != second.get(name) for name in ABOUT):
            return False
        return all(first[name] == second[name] for name in first.keys() & second.keys())


def _answers(body: Json) -> frozenset[str]:
    """How an observation answers: by its value, by parts. One may leave either out, but not say each another one."""
    return frozenset(part for part in _BOTH if any(name.startswith(part) for name in body))


def _by_element(body: Json) -> dict[str, Json]:
    """Members by their FHIR element: a value in two types, or a value and why there is none, are two values."""
    members = schema().members(body["resourceType"])
    found: dict[str, Json] = {}
    for name, value in body.items():
        if name in _OF_THE_SECTION:
            continue
        element = members.get(name.removeprefix("_"))
        group = _ABSENT_OF.get(name) or (element.name if element is not None else name)
        found.setdefault(group, {})[name] = value
    return found


def _unite(one: Made, other: Made) -> None:
    """Two statements of the same: categories, notes and identifiers of both, the rest of whichever says it. They have
    one body from then on: what waits for a reference of either finds it there."""
    known, more, other.body = one.body, other.body, one.body
    if other.el is not None:
        one.also = (*one.also, other.el)
    for name, value in more.items():
        if name not in known:
            known[name] = value
        elif name in _UNITED and type(value) is list:  # some resources have one category at most
            known[name] += [each for each in value if each not in known[name]]


def _translated(el: Element, name: str = "code") -> str:
    """The first translation of a code, at any depth, that has a code; or another attribute."""
    for each in el.children:
        if each.tag.rpartition("}")[2] != "translation":
            continue
        if text := (each.get(name) or "").strip():
            return f"{each.get('codeSystem', '')}|{text}" if name == "code" else text
        if deeper := _translated(each, name):
            return deeper
    return ""


def number_in(node: Element) -> Key:
    """Root and extension of an id."""
    return (node.get("root") or "").strip().lower(), (node.get("extension") or "").strip()


def comparable(body: Json) -> Mapping[str, Any]:
    """What a statement says, apart from what is of the section that says it."""
    return {name: body[name] for name in sorted(body) if name not in _OF_THE_SECTION and name != "id"}


def lexeme_of(el: Element) -> str:
    """What an element says, for telling it from another; the prefix of its type is the writer's."""
    told = (
        (name, value.rpartition(":")[2] if name == XSI_TYPE else value)
        for each in el.iter()
        for name, value in sorted(each.attrib.items())
    )
    inner = "".join(f"{name}={value};" for name, value in told)
    return inner + _normal("".join(el.itertext()))


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()[:_TEXT]
