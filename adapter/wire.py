"""What crosses the pipe between the pipeline and a conversion child: one question, one answer, as MessagePack.

Bodies cross as the canonical bytes of `mappings/fhir/codec.py`, so that numbers keep their lexemes. An answer is either
a conversion, a filter that took the message out, or a failure with its place; none of them is executable, so a child
that a message took over can only give wrong data, which the parent validates.
"""

from dataclasses import fields
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from adapter.errors import ChartbridgeError
from mappings.convert import Close, Conversion, Effect, Mapped, Reach, Repoint, Undo
from mappings.fhir.codec import decode, encode


class BadAnswer(ChartbridgeError):
    """A child answered what no child of ours says."""

    code = "conversion-answer"


EFFECTS: dict[str, type[Close] | type[Reach] | type[Repoint] | type[Undo]] = {
    "close": Close,
    "reach": Reach,
    "repoint": Repoint,
    "undo": Undo,
}
_NAMES = {kind: name for name, kind in EFFECTS.items()}


class Hello(msgspec.Struct, array_like=True, frozen=True):
    """First frame: where the profiles lie, which feed has which, the key that names resources, the memory cap."""

    site: str
    profiles: dict[str, str]
    identity_key: bytes
    memory_bytes: int
    limit_s: float


class Question(msgspec.Struct, array_like=True, frozen=True):
    """One message of one feed, and when it was received. `stranger`: its sender was not known then."""

    feed: str
    at: datetime
    data: bytes
    stranger: bool = False


class WireMapped(msgspec.Struct, array_like=True, frozen=True):
    """A resource: its canonical bytes, and all else that `Mapped` says, with an empty body."""

    body: bytes
    rest: Mapped


class WireIssue(msgspec.Struct, array_like=True, frozen=True):
    code: str
    severity: str
    place: str
    row: str


class Answer(msgspec.Struct, array_like=True, frozen=True):
    """`failure` or `filtered` is set, or neither and the rest is the conversion; `document`: of a CDA document."""

    resources: tuple[WireMapped, ...] = ()
    effects: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    issues: tuple[WireIssue, ...] = ()
    digest: bytes = b""
    rows: str = ""
    filtered: str = ""
    failure: WireIssue | None = None
    document: bool = False


_pack = msgspec.msgpack.Encoder().encode
_hello = msgspec.msgpack.Decoder(Hello)
_question = msgspec.msgpack.Decoder(Question)
_answer = msgspec.msgpack.Decoder(Answer)


def pack(value: Hello | Question | Answer) -> bytes:
    return _pack(value)


def read_hello(data: bytes) -> Hello:
    return _hello.decode(data)


def read_question(data: bytes) -> Question:
    return _question.decode(data)


def read_answer(data: bytes) -> Answer:
    """Raises BadAnswer."""
    try:
        return _answer.decode(data)
    except (msgspec.DecodeError, ValueError) as exc:  # ValueError: a text that is not UTF-8
        raise BadAnswer("a conversion child answered with something else") from exc


def answer(conversion: Conversion) -> Answer:
    """A conversion as it crosses; events that are in bundles only stay behind."""
    return Answer(
        tuple(_mapped(mapped) for mapped in conversion.resources if mapped.mode != "event"),
        tuple((_NAMES[type(effect)], _fields(effect)) for effect in conversion.effects),
        tuple(
            WireIssue(issue.code, issue.severity, "" if issue.place is None else str(issue.place), issue.row)
            for issue in conversion.issues
        ),
        conversion.digest,
        conversion.rows,
    )


def _fields(effect: Effect) -> tuple[Any, ...]:
    return tuple(getattr(effect, each.name) for each in fields(effect))


def _mapped(mapped: Mapped) -> WireMapped:
    return WireMapped(encode(mapped.body), replace(mapped, body={}))


def resources(received: Answer) -> tuple[Mapped, ...]:
    """The resources of an answer, as the store takes them. Raises BadAnswer."""
    try:
        return tuple(replace(one.rest, body=decode(one.body)) for one in received.resources)
    except (msgspec.DecodeError, ValueError) as exc:
        raise BadAnswer("a conversion child answered with a resource that is none") from exc


def effects(received: Answer) -> tuple[Effect, ...]:
    """Raises BadAnswer."""
    try:
        return tuple(EFFECTS[name](*_tuples(values)) for name, values in received.effects)
    except (KeyError, TypeError) as exc:
        raise BadAnswer("a conversion child answered with an effect that is none") from exc


def _tuples(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)
