"""MSH alone: what a listener needs to route, to refuse and to acknowledge, without reading the message.

`peek` reads a line, not a message, and keeps the control id byte for byte. Source: HL7 v2.9 §2.13.9 MSH.
"""

import codecs
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from mappings.hl7v2 import charset as charsets
from mappings.hl7v2.errors import UnreadableMessage
from mappings.hl7v2.syntax import LINE_END, SKIP, SKIP_BYTES, Separators, separators

_HEADER_BYTES = 64 * 1024  # longest header line `peek` reads

# Message codes that ask for data (table 0076): they state nothing, and the FHIR API answers questions.
QUERIES: Final = frozenset({"QRY", "QBP", "QSB", "QSX", "QVR", "QCN", "EQQ", "SPQ", "VQQ", "VXQ", "OSQ", "SQM", "RQQ"})


@dataclass(frozen=True, slots=True, repr=False)
class Header:
    """MSH as the listener needs it: enough to route, to refuse and to acknowledge, without reading the message."""

    separators: Separators
    fields: tuple[str, ...]  # raw by number, [1] the separator itself
    control_id: bytes  # MSH-10 byte for byte, for MSA-2
    encoding: str  # Python codec of the sender's bytes, to answer in
    time_span: tuple[int, int]  # bytes of MSH-7

    def field(self, n: int) -> str:
        return self.fields[n] if n < len(self.fields) else ""

    def component(self, n: int, comp: int) -> str:
        parts = self.field(n).split(self.separators.comp)
        return parts[comp - 1].strip() if comp <= len(parts) else ""

    @property
    def sending_application(self) -> str:
        return self.component(3, 1)

    @property
    def sending_facility(self) -> str:
        return self.component(4, 1)

    @property
    def message_code(self) -> str:
        return self.component(9, 1).upper()

    @property
    def trigger(self) -> str:
        return self.component(9, 2).upper()

    @property
    def structure(self) -> str:
        return self.component(9, 3).upper()

    @property
    def processing_id(self) -> str:
        return self.component(11, 1).upper()

    @property
    def version(self) -> str:
        return self.component(12, 1)

    @property
    def accept_ack(self) -> str:
        return self.field(15).strip().upper()

    @property
    def application_ack(self) -> str:
        return self.field(16).strip().upper()

    @property
    def enhanced(self) -> bool:
        """Whether the sender asks for the enhanced acknowledgment mode (MSH-15 or MSH-16 valued)."""
        return bool(self.accept_ack or self.application_ack)


def peek(data: bytes) -> Header | None:
    """Read MSH alone; None where the bytes begin with no readable MSH (batch headers are no message)."""
    if (plain := _peek_plain(data)) is not None:
        return plain
    shown = charsets.wide(data)
    skipped = 0 if shown else len(data) - len(data.lstrip(SKIP_BYTES))
    if shown:
        codec, lead = shown
        limit = lead + 4 * _HEADER_BYTES
        line = data[lead:limit].decode(codec, "ignore").lstrip(SKIP)
    else:
        codec, lead = "latin_1", skipped
        if data[lead : lead + 3].upper() != b"MSH":
            return None
        line = data[lead : lead + _HEADER_BYTES].decode(codec)
    first, *rest = LINE_END.split(line, maxsplit=1)
    line = first if rest and rest[0].strip("\r\n\x1c") else first.rstrip("\x1c")
    try:
        sep, _ = separators(line)
    except UnreadableMessage:
        return None
    return None if line[:3].upper() != "MSH" else _header(data, line, sep, codec, lead)


def _peek_plain(data: bytes) -> Header | None:
    """The header of nearly every message: ASCII, ended by a CR, in a set of one state. None: read it with all care.

    `peek` stands between a message and its acknowledgement; this way it costs a fifth.
    """
    end = data.find(b"\r", 0, _HEADER_BYTES)
    raw = data[:end] if end > 0 else b""
    if not (raw.startswith(b"MSH") and raw.isascii() and data[end + 1 : end + 4].isalnum()):
        return None
    if b"\n" in raw or b"\0" in raw or b"\x1b" in raw:
        return None
    line = raw.decode("ascii")
    fields = line.split(line[3]) if end > 3 else []
    if len(fields) < 12:
        return None
    start = line[: 5 + len(fields[1])]
    sep, codec = _separators_of(start), _codec_of(start, fields[17] if len(fields) > 17 else "")
    if sep is None or codec is None:
        return None
    time_at = len(fields[0]) + sum(map(len, fields[1:6])) + 6
    control, span = fields[9].encode("ascii"), (time_at, time_at + len(fields[6]))
    fields.insert(1, sep.field)
    return Header(sep, tuple(fields), control, codec, span)


@lru_cache(maxsize=64)
def _separators_of(start: str) -> Separators | None:
    """`separators` of `MSH|^~\\&|`, which a feed repeats for ever; None where they cannot be read."""
    try:
        return separators(start)[0]
    except UnreadableMessage:
        return None


@lru_cache(maxsize=256)
def _codec_of(start: str, declared: str) -> str | None:
    """What an ASCII header is read as under this MSH-18; None where ASCII bytes may stand for other letters."""
    codec = charsets.decode((start + start[-1] * 15 + declared).encode("ascii")).codec
    return None if codec in charsets.ISO_2022 else codec


def _header(data: bytes, line: str, sep: Separators, codec: str, lead: int) -> Header:
    decoded = charsets.decode(line.encode(codec)) if codec == "latin_1" else None
    text = (decoded.text if decoded is not None else line).split(sep.field)
    fields = line.split(sep.field)
    if decoded is not None and len(text) != len(fields):
        fields = _pieces(line, sep.field, decoded.codec)
    fields.insert(1, sep.field)
    text.insert(1, sep.field)
    whole = (fields[0], *fields[2:])
    lengths = [len(field) if codec == "latin_1" else len(field.encode(codec)) for field in whole]
    width = len(sep.field.encode(codec))
    skip = 0 if codec == "latin_1" else data.find("MSH".encode(codec), lead) - lead
    starts = [lead + max(skip, 0)]
    for length in lengths:
        starts.append(starts[-1] + length + width)
    control = fields[10].encode(codec) if len(fields) > 10 else b""
    time_at = starts[6] if len(fields) > 7 else len(data)
    span = (time_at, time_at + (lengths[6] if len(fields) > 7 else 0))
    return Header(sep, tuple(text), control, decoded.codec if decoded is not None else codec, span)


def _pieces(line: str, mark: str, codec: str) -> list[str]:
    """The fields of a line of bytes, a character each, in whose letters the separator's byte may stand."""
    decoder = codecs.getincrementaldecoder(codec)("replace")
    ends = [at for at, byte in enumerate(line) if decoder.decode(byte.encode("latin_1")).endswith(mark)]
    return [line[before + 1 : end] for before, end in pairwise((-1, *ends, len(line)))]


def digest_without_time(data: bytes, header: Header | None = None) -> bytes:
    """SHA-256 of the message with MSH-7 blanked: a sender that repeats a message stamps it anew."""
    header = header or peek(data)
    if header is None:
        return hashlib.sha256(data).digest()
    start, end = header.time_span
    return hashlib.sha256(data[:start] + data[end:]).digest()
