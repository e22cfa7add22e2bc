r"""The surroundings of a writer, and how its values become the text of a field.

A writer takes one FHIRPath node and gives a repetition: components, each a text or a list of subcomponents, unescaped.
`field_text` leaves out what the receiver's version has no room for, says so, and escapes the rest.

Leaves of the resources are objects of their own (`Leaf`, `Amount`), so that what was read can be told from an equal
value elsewhere; `left.py` lists what nobody took.

Source: HL7 v2.9 §2.7 (escapes), §2.5.3 (components).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

from mappings.fhir.fhirpath import Node
from mappings.hl7v2.out.errors import OutboundError
from mappings.hl7v2.out.grammar import Slot
from mappings.hl7v2.out.receiver import Receiver
from mappings.hl7v2.place import Place
from mappings.issues import Issue, issue
from mappings.terminology.concept_map import ConceptMap

Json: TypeAlias = dict[str, Any]
Repetition: TypeAlias = list[str | list[str]]

FIELD, COMPONENT, REPETITION, ESCAPE, SUBCOMPONENT = "|", "^", "~", "\\", "&"
_NAMES = {FIELD: "F", COMPONENT: "S", REPETITION: "R", ESCAPE: "E", SUBCOMPONENT: "T"}
_ESCAPES = str.maketrans({letter: f"\\{name}\\" for letter, name in _NAMES.items()})
# hl7apy escapes what it does not know as an escape, `\.br\` too: characters that are no text stand in for it till then
BREAK, _MARKS = "\ufdd0", frozenset(map(chr, range(0xFDD0, 0xFDF0)))
LINE_BREAK = "\\.br\\"
NULL = '""'


class Leaf(str):
    """A text of a resource, told from equal ones by being itself."""

    __slots__ = ()


class Amount(Decimal):
    """A number of a resource, likewise; `written` is its lexeme."""

    written: str

    def __new__(cls, lexeme: str) -> "Amount":
        made = super().__new__(cls, lexeme)
        made.written = lexeme
        return made


class Count(int):
    """A whole number of a resource, likewise."""


_NOWHERE = Slot("MSH", 0, "ST", "", 1, False, ())


@dataclass(slots=True)
class Out:
    """What writers see. `used` holds the leaves that were read, by identity; booleans by their holder and name."""

    receiver: Receiver
    find: Callable[[str], Json | None]  # a reference → the resource handed in
    used: set[Any] = field(default_factory=set)
    issues: list[Issue] = field(default_factory=list)
    constants: dict[str, Repetition] = field(default_factory=dict)
    slot: Slot = _NOWHERE
    nth: int = 1  # of segments of this name
    index: int = 0  # of the repetition at work
    row: str = ""
    vocab: ConceptMap | None = None

    def issue(self, code: str, comp: int = 0, sub: int = 0, detail: str = "") -> None:
        self.issues.append(issue(code, self.place(comp, sub), row=self.row, detail=detail))

    def place(self, comp: int = 0, sub: int = 0) -> Place:
        rep = self.index + 1 if self.slot.most != 1 else 0
        return Place(self.slot.segment, self.nth, self.slot.number, rep=rep, comp=comp, sub=sub)

    def take(self, holder: Json | None, name: str) -> Any:
        """A member, marked as read; a list of texts with all of them."""
        if not holder or (value := holder.get(name)) is None:
            return None
        self.mark(value)
        if value is True or value is False:
            self.used.add((id(holder), name))
        return value

    def text(self, holder: Json | None, name: str) -> str:
        found = self.take(holder, name)
        return "" if found is None or isinstance(found, dict | list) else str(found)

    def mark(self, value: Any) -> None:
        if isinstance(value, Leaf | Amount | Count):
            self.used.add(id(value))
        elif isinstance(value, list):
            for each in value:
                self.mark(each)

    def mark_all(self, value: Any) -> None:
        """Everything below a value, for what a row's field says by being the field it is."""
        if isinstance(value, dict):
            for name, each in value.items():
                self.used.add((id(value), name))
                self.mark_all(each)
        elif isinstance(value, list):
            for each in value:
                self.mark_all(each)
        else:
            self.mark(value)

    def extension(self, holder: Json | None, url: str) -> Json | None:
        """The first extension of that url, its url marked."""
        for each in (holder or {}).get("extension", ()):
            if isinstance(each, dict) and each.get("url") == url:
                self.mark(each["url"])
                return each
        return None

    def resolved(self, reference: Json | None) -> Json | None:
        """The resource that a Reference leads to; its display and type are then that resource's to tell."""
        target = self.take(reference, "reference")
        found = self.find(target) if isinstance(target, str) else None
        if found is not None:
            self.take(reference, "display")
            self.take(reference, "type")
        return found


class Several(list[Repetition]):
    """More than one repetition, where one value makes several."""


Writer: TypeAlias = Callable[[Node, Out], Repetition | Several | None]


def escaped(text: str) -> str:
    """A text as a component holds it: separators escaped, lines apart by a mark."""
    if not _MARKS.isdisjoint(text):
        raise OutboundError("a character that is none")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    made = text.translate(_ESCAPES)
    return made if made.isprintable() else "".join(map(_unprintable, made))


def _unprintable(letter: str) -> str:
    if letter == "\n":
        return BREAK
    if (letter < " " and letter != "\t") or letter == "\x7f":
        return " "
    return letter


def field_text(value: Repetition, out: Out, parts: tuple[int, ...]) -> str:
    """One repetition as hl7apy takes it. `parts`: the room of its datatype."""
    if not parts:
        _say_dropped(value[1:], 2, out)
        return _part(value[0] if value else "", 1, 1, out)
    _say_dropped(value[len(parts) :], len(parts) + 1, out)
    made = [_part(each, room, n, out) for n, (each, room) in enumerate(zip(value, parts, strict=False), 1)]
    return COMPONENT.join(made).rstrip(COMPONENT)


def _part(component: str | list[str], room: int, number: int, out: Out) -> str:
    if isinstance(component, str):
        return _said(component, number, 0, out)
    for sub, each in enumerate(component[room:], room + 1):
        if each:
            out.issue("not-in-version", number, sub)
    made = [_said(each, number, sub, out) for sub, each in enumerate(component[:room], 1)]
    return SUBCOMPONENT.join(made).rstrip(SUBCOMPONENT)


def _said(text: str, number: int, sub: int, out: Out) -> str:
    """A text that reads as HL7's null would delete what the receiver has."""
    if text.strip() == NULL:
        out.issue("left-out", number, sub, detail="two quotation marks, which mean delete")
        return ""
    return escaped(text)


def _say_dropped(components: Repetition, start: int, out: Out) -> None:
    for number, each in enumerate(components, start):
        if any(each):
            out.issue("not-in-version", number)


def bare(repetition: Repetition | None) -> Repetition | None:
    """Without the empty components at its end; None where nothing is left."""
    if repetition is None:
        return None
    found = [each if isinstance(each, str) else _trimmed(each) for each in repetition]
    while found and not any(found[-1]):
        found.pop()
    return found or None


def _trimmed(parts: list[str]) -> list[str]:
    while parts and not parts[-1]:
        parts = parts[:-1]
    return parts
