r"""The surroundings of a writer, and how its values become the text of a field.

A writer takes one FHIRPath node and gives a repetition: components, each a text or a list of subcomponents, unescaped.
`field_text` leaves out what the receiver's version has no room for, says so, and escapes the rest.

Source: HL7 v2.9 §2.7 (escapes), §2.5.3 (components).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from mappings.fhir.fhirpath import Node
from mappings.hl7v2.out.grammar import Slot
from mappings.hl7v2.out.receiver import Receiver
from mappings.hl7v2.place import Place
from mappings.issues import Issue, issue
from mappings.outbound.errors import OutboundError
from mappings.outbound.reading import Taken
from mappings.terminology.concept_map import ConceptMap

Repetition: TypeAlias = list[str | list[str]]

FIELD, COMPONENT, REPETITION, ESCAPE, SUBCOMPONENT = "|", "^", "~", "\\", "&"
_NAMES = {FIELD: "F", COMPONENT: "S", REPETITION: "R", ESCAPE: "E", SUBCOMPONENT: "T"}
_ESCAPES = str.maketrans({letter: f"\\{name}\\" for letter, name in _NAMES.items()})
# hl7apy escapes what it does not know as an escape, `\.br\` too: characters that are no text stand in for it till then
BREAK, _MARKS = "\ufdd0", frozenset(map(chr, range(0xFDD0, 0xFDF0)))
LINE_BREAK = "\\.br\\"
NULL = '""'


_NOWHERE = Slot("MSH", 0, "ST", "", 1, False, ())


@dataclass(slots=True)
class Out(Taken):
    """What writers see."""

    receiver: Receiver = field(default_factory=Receiver)
    issues: list[Issue] = field(default_factory=list)
    constants: dict[str, Repetition] = field(default_factory=dict)
    slot: Slot = _NOWHERE
    nth: int = 1  # of segments of this name
    index: int = 0  # of the repetition at work
    row: str = ""
    vocab: ConceptMap | None = None

    def issue(self, code: str, comp: int = 0, sub: int = 0, detail: str = "") -> None:
        self.issues.append(issue(code, self.place(comp, sub), row=self.row, detail=detail))

    def left_out(self, what: str) -> None:
        self.issue("left-out", detail=what)

    def place(self, comp: int = 0, sub: int = 0) -> Place:
        rep = self.index + 1 if self.slot.most != 1 else 0
        return Place(self.slot.segment, self.nth, self.slot.number, rep=rep, comp=comp, sub=sub)


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
