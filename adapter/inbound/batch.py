"""Batches and messages in a row, cut into messages: bytes in, values out, no I/O.

    file  = [FHS] { [BHS] { message } [BTS] } [FTS]

The envelopes are optional, for senders leave them out. A message begins at a line with MSH and its separators; lines
that stand where only a message may are a part of their own, which will be refused alone. Framing bytes (VT, FS) around
a message are not its. What is cut is what came: no byte inside a message changes. Text of two or four bytes a character
is cut as text, the rest as bytes: in none of the other sets can a line end be part of a character.

BTS-1 counts the messages of a batch, FTS-1 the batches of a file. Where a count is wrong, or an envelope is not closed,
the last message of it is marked: something may be missing, and what is there is good.

`reply` is the way back: the same envelopes around one answer a message, BHS-12 = received BHS-11.
Source: HL7 v2.9 §2.10.3 (batch protocol), §2.14 (BHS, BTS, FHS, FTS); hl7v2 chapter §11.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise

from adapter.errors import TooLarge
from mappings.convert import is_document
from mappings.hl7v2.charset import wide
from mappings.hl7v2.message import Header, peek

MOST_PARTS = 10_000  # of one frame or request: each costs a journal row
_FRAMING = " \t\r\n\0\x0b\x1c"
# Blanks behind a VT end at the next VT, where the same begins again: a run of n would cost n² otherwise.
_LINE = re.compile(
    r"(?:(?:\A(?:\xef\xbb\xbf|\ufeff)?|(?<=[\r\n]))[ \t\0\x0b\x1c]*+|(?<=\x0b)[ \t\0\x1c]*+)"
    r"(?:(?P<head>MSH|FHS|BHS)(?P<sep>[^A-Za-z0-9\s])[^A-Za-z0-9\s]{1,5}(?:(?P=sep)|[\r\n]|\Z)"
    r"|(?P<tail>BTS|FTS)(?=[^A-Za-z0-9]|\Z))",
    re.IGNORECASE,
)
_END = re.compile(r"[\r\n]")


@dataclass(frozen=True, slots=True)
class Part:
    """One message of a batch. `miscounted`: the envelope that ends behind it says another number, or never ends."""

    data: bytes = field(repr=False)
    miscounted: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """The messages of one batch; `header` its BHS, b"" where they came without."""

    header: bytes = field(repr=False)
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one frame, request or file held; `header` its FHS, b"" where it came without."""

    header: bytes = field(repr=False)
    groups: tuple[Group, ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(part for group in self.groups for part in group.parts)


def split(data: bytes, most: int = MOST_PARTS) -> Batch | None:
    """The messages of a batch, or of several in a row; None for a single message, a document and what holds none.

    Raises TooLarge for more parts than `most`.
    """
    if data[:3] == b"MSH" and data.find(b"MSH", 3) < 0:
        return None  # nearly every message, on its way to its acknowledgement
    if is_document(data):
        return None  # whatever lines its narrative shows
    text, codec = _decoded(data)
    marks = list(islice(_LINE.finditer(text), 2 * most + 1))
    kinds = [(mark["head"] or mark["tail"]).upper() for mark in marks]
    if len(marks) > 2 * most:  # an envelope around each message is the most there can be; what follows is not known
        raise TooLarge(f"more than {most} messages in one batch", code="over-limit")
    if kinds.count("MSH") < 2 and not {"FHS", "BHS"} & set(kinds):
        return None
    batch = _read(list(_pieces(text, marks, kinds)), codec)
    if len(batch.parts) > most:
        raise TooLarge(f"more than {most} messages in one batch", code="over-limit")
    return batch


def _decoded(data: bytes) -> tuple[str, str]:
    """The bytes as text that cuts where they do, and the codec back."""
    if (shown := wide(data)) is not None:
        codec, lead = shown
        try:
            return data[lead:].decode(codec), codec
        except UnicodeDecodeError:
            pass  # it lies about itself: cut where ASCII says
    return data.decode("latin_1"), "latin_1"


def _pieces(text: str, marks: Sequence[re.Match[str]], kinds: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(kind, text) up to the next mark; kind "" for what stands before the first."""
    starts = [mark.start("head") if mark["head"] else mark.start("tail") for mark in marks]
    yield "", text[: marks[0].start()]
    for kind, (start, end) in zip(kinds, pairwise([*starts, len(text)]), strict=True):
        yield kind, text[start:end].rstrip(" \t\0\x0b\x1c") if kind == "MSH" else text[start:end]


class _Reader:
    """Collects groups; one pass, in order."""

    def __init__(self, codec: str) -> None:
        self.codec = codec
        self.header = b""
        self.groups: list[Group] = []
        self._open: list[Part] | None = None  # messages of the batch that is open, enveloped or not
        self._head = b""
        self._batches = 0  # enveloped ones since FHS

    def add(self, data: str) -> None:
        if data.strip(_FRAMING):
            if self._open is None:
                self._open, self._head = [], b""
            self._open.append(Part(_unframed(data).encode(self.codec)))

    def open(self, line: str) -> None:
        self.close(None)
        self._open, self._head = [], line.encode(self.codec)

    def close(self, declared: str | None) -> None:
        """End the open batch; `declared` is BTS-1, None where no BTS came."""
        if self._open is None:
            return
        enveloped = bool(self._head)
        wrong = enveloped and (declared is None or _differs(declared, len(self._open)))
        if wrong and self._open:
            self._open[-1] = replace(self._open[-1], miscounted=True)
        self._batches += enveloped
        self.groups.append(Group(self._head, tuple(self._open)))
        self._open, self._head = None, b""

    def open_file(self, line: str) -> None:
        self.close(None)
        self.header = self.header or line.encode(self.codec)
        self._batches = 0

    def close_file(self, declared: str | None) -> None:
        """`declared` is FTS-1: batches without an envelope count as one."""
        self.close(None)
        counted = self._batches or int(any(group.parts for group in self.groups))
        if self.header and (declared is None or _differs(declared, counted)):
            self._miscounted()

    def _miscounted(self) -> None:
        for n in range(len(self.groups) - 1, -1, -1):
            group = self.groups[n]
            if group.parts:
                last = replace(group.parts[-1], miscounted=True)
                self.groups[n] = replace(group, parts=(*group.parts[:-1], last))
                return


def _read(pieces: Sequence[tuple[str, str]], codec: str) -> Batch:
    reader, ended = _Reader(codec), True
    for kind, text in pieces:
        line, rest = _first_line(text)
        match kind:
            case "MSH" | "":
                reader.add(text)
                continue
            case "FHS":
                reader.open_file(line)
                ended = False
            case "BHS":
                reader.open(line)
            case "BTS":
                reader.close(_count(line))
            case _:
                reader.close_file(_count(line))
                ended = True
        reader.add(rest)  # lines between an envelope and a message: a message without its header
    if not ended:
        reader.close_file(None)
    reader.close(None)
    return Batch(reader.header, tuple(reader.groups))


def _first_line(text: str) -> tuple[str, str]:
    end = _END.search(text)
    return (text, "") if end is None else (text[: end.start()], text[end.end() :])


def _count(line: str) -> str:
    """BTS-1 or FTS-1; the separator is the character behind the name."""
    return line[4:].split(line[3], 1)[0].strip() if len(line) > 3 else ""


def _differs(declared: str, counted: int) -> bool:
    """An empty count says nothing."""
    return bool(declared) and (not declared.isdecimal() or int(declared[:9]) != counted)


def _unframed(text: str) -> str:
    """Without VT before and FS CR behind it."""
    bare = text.lstrip(_FRAMING)
    cut = bare.find("\x1c\r")
    return bare if cut < 0 or bare[cut:].strip(_FRAMING) else bare[:cut]


# The way back ------------------------------------------------------------------------------------------------------


def reply(batch: Batch, answers: Sequence[bytes], ids: Iterator[str], time: str) -> bytes:
    """One batch: in each envelope that was received, its messages' answers; b"" for one that its sender does not want.

    `ids` gives control ids of ours for the envelopes.
    """
    left = iter(answers)
    said: list[bytes] = []
    for group in batch.groups:
        inner = [answer for _, answer in zip(group.parts, left, strict=False) if answer]
        head = _envelope("BHS", group.header, ids, time)
        said += [head[0], *inner, _trailer("BTS", head[1], len(inner))] if head else inner
    if head := _envelope("FHS", batch.header, ids, time):
        said = [head[0], *said, _trailer("FTS", head[1], sum(bool(group.header) for group in batch.groups))]
    return b"".join(said)


def header_of(line: bytes) -> Header | None:
    """An FHS or BHS as the header it resembles: its first seven fields and the eleventh are those of MSH."""
    text, codec = _decoded(line)
    return peek(("MSH" + text[3:] + "\r").encode(codec))


def _envelope(name: str, line: bytes, ids: Iterator[str], time: str) -> tuple[bytes, Header] | None:
    header = header_of(line) if line else None
    if header is None:
        return None
    f, field_ = header.separators.field, header.field
    addressed = f"{field_(5)}{f}{field_(6)}{f}{field_(3)}{f}{field_(4)}{f}{time}"
    text = f"{name}{f}{field_(2)}{f}{addressed}{f * 4}{next(ids)}{f}{field_(11)}\r"
    return text.encode(header.encoding, "replace"), header


def _trailer(name: str, header: Header, count: int) -> bytes:
    return f"{name}{header.separators.field}{count}\r".encode(header.encoding)
