"""READ FIRST. FHIR resources in, the bytes of one HL7 v2 message out: `to_v2(resources, "ORU^R01", receiver, …)`.

0. copy the resources, so that every leaf is known by itself; contained ones get references of their own
1. walk the message's segments in order; for each node that `each` finds, one segment
2. for each row of its map: FHIRPath → nodes → writer → components; hl7apy's typed Segment of the receiver's version
3. encode in the receiver's character set; a character it lacks ends the message and names the field
4. list what nobody read, and what hl7apy finds wrong

Pure: control id and time are handed in. Nothing is lost in silence: what a field or a version has no room for is an
issue of the closed list, what no row reads is a path in `left`.

Source: design chapter HL7 v2 §16; HL7 v2.9 §2.5 to §2.7.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.core import Segment

from mappings.fhir.fhirpath import Compiled, Env, FhirpathError, Node
from mappings.fhir.fhirpath_model import resource_node
from mappings.hl7v2 import lint
from mappings.hl7v2.out import grammar
from mappings.hl7v2.out.receiver import Receiver
from mappings.hl7v2.out.rows import Layout, Row, Step, layout, messages
from mappings.hl7v2.out.writers.identifiers import trimmed
from mappings.hl7v2.out.writing import BREAK, FIELD, LINE_BREAK, REPETITION, Out, Repetition, Several, field_text
from mappings.issues import Issue
from mappings.outbound.errors import OutboundError
from mappings.outbound.left import left
from mappings.outbound.reading import Json, index, prepared

__all__ = ["Written", "messages", "to_v2"]

_SEPARATORS = "^~\\&"
_STARTS = {"OBR": ("OBX", "SPM"), "TXA": ("OBX",)}  # whose set ids begin again behind which; NTE behind everything
_TEXTS, _NUMBERS = frozenset({"TX", "ST"}), frozenset({"NM", "SN"})
_FLAG = re.compile(r"(\w+)\.ofType\(boolean\)")


@dataclass(frozen=True, slots=True)
class Written:
    """One message. `left`: paths that it does not carry; `findings`: what the standard's grammar says of it."""

    data: bytes
    issues: tuple[Issue, ...]
    left: tuple[str, ...]
    findings: tuple[lint.Finding, ...]


def to_v2(
    resources: Sequence[Json], message: str, receiver: Receiver, *, control_id: str, at: datetime, check: bool = True
) -> Written:
    """The message. Raises OutboundError where these resources cannot become it.

    `resources` may be entries of a Bundle (`{"fullUrl": …, "resource": …}`) or resources.
    """
    if at.tzinfo is None:
        raise RuntimeError("a time without its zone")
    if (len(control_id) > 20 and receiver.version < "2.7") or not control_id.isascii():
        raise RuntimeError("no control id of HL7 v2: up to 20 characters of ASCII")
    work = _Work(layout(message), prepared(resources), receiver, control_id, at)
    data = work.encoded()
    paths = tuple(path for resource in work.resources for path in left(resource, work.out.used))
    findings = lint.lint(data) if check else ()
    return Written(data, tuple(dict.fromkeys(work.out.issues)), paths, findings)


class _Work:
    """The state of one message."""

    def __init__(
        self, plan: Layout, found: list[tuple[str, Json]], receiver: Receiver, control_id: str, at: datetime
    ) -> None:
        self.segments = grammar.segments(receiver.version, plan.structure)
        self.plan, self.receiver, self.resources = plan, receiver, [body for _, body in found]
        self.known = index(found)
        self.out = Out(self.known.get, receiver=receiver)
        self.out.constants = _constants(plan, receiver, control_id, at)
        self.bundle: Json = {
            "resourceType": "Bundle", "type": "collection", "entry": [{"resource": body} for body in self.resources],
        }  # fmt: skip
        self.made: set[int] = set()
        self.counts: dict[str, int] = {}  # of a segment's name in the message, for places
        self.numbers: dict[str, int] = {}  # for set ids, which begin again
        self.lines: list[str] = []
        self.line: tuple[str, ...] = ("", "", "")  # OBX-2, OBX-3 and OBX-4 of the line before
        self.following = False  # whether references that FHIRPath resolves are being carried

    def encoded(self) -> bytes:
        bundle = resource_node(self.bundle)
        for step in self.plan.steps:
            self._step(step, bundle, self.bundle)
        return b"".join(line.encode(self.receiver.codec) + b"\r" for line in self.lines)

    # segments

    def _step(self, step: Step, focus: Node, root: Json) -> None:
        if self.receiver.version not in step.versions:
            return
        self.following = False
        nodes = self._found(step.each, focus, root, step.map.name)
        if step.once:
            nodes = [node for node in nodes if id(node[1]) not in self.made]
        if len(nodes) < step.fewest or (step.most and step.fewest and len(nodes) > step.most):
            raise OutboundError(
                f"{self.plan.message}: {step.map.name}: expected {step.fewest} of what it is made of, got {len(nodes)}"
            )
        if step.map.name not in self.segments:
            if nodes:
                self.out.slot, self.out.nth = grammar.Slot(step.map.name, 0, "", "", 1, False, ()), 1
                self.out.issue("not-in-version", detail="the segment")
            return
        for node in nodes[: step.most or None]:
            self.made.add(id(node[1]))
            inner = node[1] if isinstance(node[1], dict) and "resourceType" in node[1] else root
            if step.unless is None or not step.unless.test([node], self._env(node, inner)):
                self._segment(step, node, inner)
            for below in step.below:
                self._step(below, node, inner)

    def _segment(self, step: Step, node: Node, root: Json) -> None:
        """One segment; none where there is nothing to say but constants."""
        name = step.map.name
        self.out.nth = self.counts.get(name, 0) + 1
        self.out.constants["@nth"] = [str(self.numbers.get(name, 0) + 1)]
        fields: dict[int, list[str]] = {}
        spoken = False
        for row in step.map.rows:
            if self.receiver.version in row.versions:
                texts = self._texts(row, name, node, root)
                fields.setdefault(row.number, []).extend(texts)
                spoken = spoken or bool(texts and row.writer is not None)
        if spoken or step.always:
            if name == "OBX":
                self._keep_apart(fields)
            self.line = tuple("".join(fields.get(n, [])[:1]) for n in (2, 3, 4)) if name == "OBX" else ("", "", "")
            self.counts[name] = self.out.nth
            self.numbers[name] = self.numbers.get(name, 0) + 1
            for each in _STARTS.get(name, ()) if name == "NTE" else (*_STARTS.get(name, ()), "NTE"):
                self.numbers[each] = 0
            self.lines.append(self._line(name, fields))

    def _keep_apart(self, fields: dict[int, list[str]]) -> None:
        """Consecutive lines of text with one code read as one value, and text behind a number as its note: two
        observations get a sub-id between them, or lose the repetitions that mark such text.
        """
        kind, code, sub = ("".join(fields.get(n, [])[:1]) for n in (2, 3, 4))
        before_kind, before_code, before_sub = self.line
        if kind not in _TEXTS or code != before_code:
            return
        if before_kind in _TEXTS and not sub:
            fields[4] = [str(int(before_sub) + 2) if before_sub.isdecimal() else "1"]
            self.out.slot = grammar.slot(self.receiver.version, "OBX", 4) or self.out.slot
            self.out.issue("identity-by-position")
        elif before_kind in _NUMBERS and kind == "TX":
            fields[2], fields[5] = ["ST"], [BREAK.join(fields.get(5, []))]

    def _line(self, name: str, fields: dict[int, list[str]]) -> str:
        """hl7apy's typed segment of the receiver's version, as text. Its own text would close the gap of a field that
        the version has withdrawn, so each field is put in its place here.
        """
        segment = Segment(name, version=self.receiver.version, validation_level=VALIDATION_LEVEL.TOLERANT)
        placed = {1: FIELD, 2: _SEPARATORS} if name == "MSH" else {}
        for number in sorted(fields):
            texts = fields[number]
            while texts and not texts[-1]:
                texts.pop()
            typed = []
            for text in texts:
                typed.append(segment.add_field(f"{name}_{number}"))
                typed[-1].value = text
            placed[number] = REPETITION.join(field.to_er7() for field in typed)
        first = 2 if name == "MSH" else 1  # MSH-1 is the separator itself
        values = [placed.get(number, "") for number in range(first, max(placed, default=0) + 1)]
        return FIELD.join([name, *values]).rstrip(FIELD).replace(BREAK, LINE_BREAK)

    # fields

    def _texts(self, row: Row, name: str, node: Node, root: Json) -> list[str]:
        """The repetitions that one row gives."""
        out = self.out
        out.row, out.vocab, out.index = row.id, row.vocab, 0
        found = grammar.slot(self.receiver.version, name, row.number)
        out.slot = found or grammar.Slot(name, row.number, "", "", 1, False, ())
        self.following = False
        if row.when is not None and not self._holds(row.when, node, root):
            return []
        self.following = True
        if row.writer is None:
            value: Repetition | None = [row.value]
            if row.value.startswith("@"):
                value = out.constants.get(row.value)
            return [field_text(value, out, out.slot.parts)] if value and found else []
        nodes = self._found(row.source, node, root, row.id)
        if found is None:
            if nodes:
                out.issue("not-in-version")
            return []
        texts = list(self._written(row, nodes))
        if texts:
            self._carried(row, nodes, node, root)
        return texts

    def _carried(self, row: Row, nodes: list[Node], focus: Node, root: Json) -> None:
        """What the field says by being this one; a boolean, which is no object of its own, by its name."""
        for expression in row.says:
            for each in self._found(expression, focus, root, row.id):
                self.out.mark_all(each[1])
        flag = _FLAG.match(row.source.text) if row.source is not None else None
        if flag is not None and isinstance(focus[1], dict):
            self.out.used.add((id(focus[1]), f"{flag[1]}Boolean"))

    def _written(self, row: Row, nodes: list[Node]) -> Iterator[str]:
        out, most = self.out, self.out.slot.most
        for n, node in enumerate(nodes):
            if most > 0 and n >= most:
                out.issue("left-out", detail="a value beyond what the field repeats")
                return
            out.index = n
            made = row.writer(node, out) if row.writer is not None else None
            repetitions = made if isinstance(made, Several) else [made] if made else []
            if most > 0 and len(repetitions) > most:
                out.issue("left-out", detail="a line beyond what the field repeats")
            for each in repetitions[: most if most > 0 else None]:
                yield self._checked(field_text(each, out, self._room(row)))

    def _room(self, row: Row) -> tuple[int, ...]:
        """Of OBX-5, what OBX-2 says."""
        if self.out.slot.datatype != "varies":
            return self.out.slot.parts
        kind = self.out.constants.get("@kind", ["ST"])[0]
        return grammar.datatype(self.receiver.version, str(kind)) or ()

    def _checked(self, text: str) -> str:
        try:
            text.replace(BREAK, "").encode(self.receiver.codec)
        except UnicodeEncodeError as exc:
            place = self.out.place()
            raise OutboundError(f"{place}: the receiver's character set lacks a character of it") from exc
        return text

    # FHIRPath

    def _found(self, expression: Any, focus: Node, root: Json, where: str) -> list[Node]:
        if expression is None:
            return []
        try:
            return list(expression.run([focus], self._env(focus, root)))
        except FhirpathError as exc:
            raise OutboundError(f"{where}: {exc}") from exc

    def _holds(self, when: Compiled, focus: Node, root: Json) -> bool:
        return bool(when.test([focus], self._env(focus, root)))

    def _env(self, focus: Node, root: Json) -> Env:
        return replace(Env(self.bundle, root=root, resolve=self._resolve), context=focus)

    def _resolve(self, reference: str) -> Json | None:
        """A reference that a row follows is carried; one that only decides where a segment stands is not."""
        found = self.known.get(reference)
        if found is not None and self.following:
            self.out.mark(reference)
        return found


def _constants(plan: Layout, receiver: Receiver, control_id: str, at: datetime) -> dict[str, Repetition]:
    code, _, event = plan.message.partition("^")
    local = at.astimezone(receiver.zone) if receiver.zone is not None else at
    return {
        "@message": [code, event, plan.structure] if receiver.version >= "2.3.1" else [code, event],
        "@event": [event],
        "@control_id": [control_id],
        "@time": [f"{local:%Y%m%d%H%M%S%z}"],
        "@version": [receiver.version],
        "@processing": [receiver.processing],
        "@charset": [receiver.charset],
        "@sending_application": list(trimmed(receiver.sending_application)),
        "@sending_facility": list(trimmed(receiver.sending_facility)),
        "@receiving_application": list(trimmed(receiver.receiving_application)),
        "@receiving_facility": list(trimmed(receiver.receiving_facility)),
    }
