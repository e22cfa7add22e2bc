"""A lazy HL7 v2 message: segments at once, fields when asked, everything deeper by the datatype functions.

Takes the bytes of one message, without framing (`adapter/inbound/mllp.py` and `batch.py` remove that). Values stay as
sent, escapes included; `byte_range` finds a value's bytes again when someone asks. `peek` reads the header alone.
Source: HL7 v2.9 chapter 2, §2.4–2.7. Where real feeds leave it (LF and CRLF ends, lower-case names, lines broken inside
a field, separators of their own) the reader follows them and says so in an issue.
"""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mappings.hl7v2 import charset as charsets
from mappings.hl7v2.errors import UnreadableMessage
from mappings.hl7v2.header import Header, digest_without_time, peek
from mappings.hl7v2.place import Place
from mappings.hl7v2.syntax import HEADERS, LINE_END, NONE, SKIP, SKIP_BYTES, Separators, separators
from mappings.issues import Issue, issue

__all__ = [
    "LIMITS", "NONE", "Header", "Limits", "Message", "Place", "Segment", "Separators", "byte_range",
    "digest_without_time", "edited", "parse", "peek", "separators",
]  # fmt: skip

_BLANK = "\x1c\x0b\0 \t"
_END_OF_BLOCK = ("\x1c", "\x1c\r", "\x1c\r\n")
# Names that need no look at their letters: nearly every segment of nearly every feed
_COMMON = frozenset(
    "MSH SFT EVN PID PD1 NK1 PV1 PV2 ROL PRT AL1 IAM DG1 PR1 IN1 IN2 GT1 MRG ORC OBR OBX NTE SPM TQ1 FT1 TXA".split()
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stranger can make us hold; beyond it a message is refused (`over-limit`)."""

    message_bytes: int = 32 * 1024 * 1024
    segments: int = 65_536
    fields: int = 1_024
    repetitions: int = 4_096


LIMITS = Limits()


class Segment:
    """One segment: `field(n)` is raw text, "" where absent; `reps(n)` its repetitions, [] where absent."""

    __slots__ = ("_fields", "_reps", "line", "name", "nth", "ordinal", "sep", "start")

    def __init__(self, name: str, ordinal: int, nth: int, start: int, line: str, sep: Separators) -> None:
        self.name = name
        self.ordinal = ordinal  # position in the message, from 0
        self.nth = nth  # the how-manieth of its name, from 1
        self.start = start  # of its first character in Message.text
        self.line = line
        self.sep = sep
        self._fields: list[str] | None = None
        self._reps: dict[int, list[str]] | None = None

    @property
    def fields(self) -> list[str]:
        """Raw fields by number; [0] is the name. In headers the separator itself is field 1."""
        fields = self._fields
        if fields is None:
            fields = self.line.split(self.sep.field)
            if self.name in HEADERS:
                fields.insert(1, self.sep.field)
            self._fields = fields
        return fields

    def field(self, n: int) -> str:
        fields = self._fields
        if fields is None:
            fields = self.fields
        return fields[n] if n < len(fields) else ""

    def reps(self, n: int) -> list[str]:
        cache = self._reps
        if cache is None:
            cache = self._reps = {}
        elif (cached := cache.get(n)) is not None:
            return cached
        raw = self.field(n)
        if not raw:
            found = []
        elif n <= 2 and self.name in HEADERS:
            found = [raw]  # MSH-2 holds the repetition separator and does not repeat
        else:
            found = raw.split(self.sep.rep)
        cache[n] = found
        return found

    def place(self, field: int = 0, rep: int = 0, comp: int = 0, sub: int = 0) -> Place:
        return Place(self.name, self.nth, field, rep, comp, sub)

    def __repr__(self) -> str:
        return f"<Segment {self.place()}>"  # never its text: a repr ends in logs


class Message:
    """`raw` as received; `text` is `raw[lead:]` decoded with the Python codec `charset`."""

    __slots__ = (
        "charset", "code", "declared", "edited", "event", "issues", "lead", "msh", "raw", "segments", "sep", "text",
        "version",
    )  # fmt: skip

    def __init__(
        self, raw: bytes, charset: charsets.Decoded, lead: int, sep: Separators, segments: tuple[Segment, ...],
        issues: tuple[Issue, ...],
    ) -> None:  # fmt: skip
        self.raw = raw
        self.edited = False  # a hook changed the text: its places are no longer those of `raw`
        self.text = charset.text
        self.charset = charset.codec
        self.declared = charset.declared  # codecs of MSH-18, for escapes that switch between them
        self.lead = lead
        self.sep = sep
        self.segments = segments
        self.issues = issues
        self.msh = segments[0]
        kind = self.msh.field(9).split(sep.comp, 2)
        self.code = kind[0].strip().upper()  # MSH-9.1
        self.event = (kind[1].strip() if len(kind) > 1 else "").upper() or self._event()
        self.version = self.component(12, 1)

    def all(self, name: str) -> list[Segment]:
        return [segment for segment in self.segments if segment.name == name]

    def first(self, name: str) -> Segment | None:
        for segment in self.segments:
            if segment.name == name:
                return segment
        return None

    def component(self, field: int, comp: int) -> str:
        """One raw component of an MSH field, "" where absent; enough for MSH-9, -11 and -12."""
        parts = self.msh.field(field).split(self.sep.comp)
        return parts[comp - 1].strip() if comp <= len(parts) else ""

    def _event(self) -> str:
        """EVN-1, where an old sender leaves MSH-9.2 out."""
        evn = self.first("EVN")
        return evn.field(1).strip().upper() if evn else ""

    def segment_at(self, place: Place) -> Segment | None:
        return next((s for s in self.segments if s.name == place.segment and s.nth == place.nth), None)


def parse(data: bytes, *, charset: str | None = None, trust: str = charsets.DETECT, limits: Limits = LIMITS) -> Message:
    """Read a message. `charset`: the feed's set where MSH-18 is silent; `trust`: "detect" or "declared".

    Raises UnreadableMessage (no-message, batch, bad-separators, over-limit) and nothing else.
    """
    if len(data) > limits.message_bytes:
        raise UnreadableMessage("over-limit", text="the message is too long")
    if charsets.wide(data) is None:
        skipped = len(data) - len(data.lstrip(SKIP_BYTES))
        decoded = charsets.decode(data[skipped:] if skipped else data, charset, trust)
    else:
        skipped, decoded = 0, charsets.decode(data, charset, trust)
    text = decoded.text
    begin = len(text) - len(text.lstrip(SKIP)) if text[:3] != "MSH" else 0
    sep, repeated = separators(text[begin : begin + 64] if begin else text)
    if text[begin : begin + 3].upper() != "MSH":
        raise UnreadableMessage("batch", text="a batch must be split first")
    issues = [issue(code, Place("MSH", field=18)) for code in decoded.issues]
    if repeated:
        issues.append(issue("separators-repeat", Place("MSH", field=2)))
    segments = _segments(text, begin, sep, issues, limits)
    return Message(data, decoded, skipped + decoded.lead, sep, segments, tuple(issues))


def edited(message: Message, lines: Iterable[str], *, limits: Limits = LIMITS) -> Message:
    """The same message with other segments, each a line; the first is its MSH, with the separators it came with.

    For a profile's `before` hook. `raw` stays what was received: journal, digest and identity rest on it.
    """
    text = "\r".join(lines)
    if not text.startswith(message.msh.line[:3]) or separators(text)[0] != message.sep:
        raise UnreadableMessage("no-message", text="an edited message keeps its MSH and its separators")
    issues = list(message.issues)
    segments = _segments(text, 0, message.sep, issues, limits)
    decoded = charsets.Decoded(text, message.charset, message.lead, message.declared, ())
    made = Message(message.raw, decoded, message.lead, message.sep, segments, tuple(issues))
    made.edited = True
    return made


def _segments(text: str, begin: int, sep: Separators, issues: list[Issue], limits: Limits) -> tuple[Segment, ...]:
    """Lines to segments; a line that begins no segment continues the one before it."""
    segments: list[Segment] = []
    counts: dict[str, int] = {}
    field, longest = sep.field, min(limits.fields, limits.repetitions)
    loose: list[str] = []  # lines since the last segment's own
    for start, line in _lines(text, begin):
        name = line[:3]
        if name not in _COMMON or line[3:4] != field:
            if not _opens(line, name, field):
                loose.append(line)
                continue
            if not name.isupper() and not name.isdigit():
                name = name.upper()
                issues.append(issue("segment-case", Place(name, counts.get(name, 0) + 1)))
        if loose:
            _join(segments, loose, issues)
        nth = counts[name] = counts.get(name, 0) + 1
        if len(line) > longest:
            _check_width(line, Place(name, nth), sep, limits)
        if len(segments) == limits.segments:
            raise UnreadableMessage("over-limit", text="too many segments")
        segments.append(Segment(name, len(segments), nth, start, line, sep))
    if loose:
        _join(segments, loose, issues)
    return tuple(segments)


def _join(segments: list[Segment], loose: list[str], issues: list[Issue]) -> None:
    """Loose lines to the segment before them; blank ones count only between others. Once a segment, to stay linear."""
    lines = list(loose)
    loose.clear()
    while lines and not lines[-1].strip(_BLANK):
        lines.pop()
    if lines and segments:
        last = segments[-1]
        last.line = "\n".join([last.line, *("" if not line.strip(_BLANK) else line for line in lines)])
        issues.append(issue("continuation-line", last.place()))


def _check_width(line: str, place: Place, sep: Separators, limits: Limits) -> None:
    if line.count(sep.field) > limits.fields:
        raise UnreadableMessage("over-limit", place, "too many fields")
    if line.count(sep.rep) >= limits.repetitions:
        for number, raw in enumerate(line.split(sep.field)):
            if raw.count(sep.rep) >= limits.repetitions:
                raise UnreadableMessage("over-limit", Place(place.segment, place.nth, number), "too many repetitions")


def _lines(text: str, begin: int) -> Iterator[tuple[int, str]]:
    """(start, line) for each line; a trailing end-of-block character is no part of the message."""
    body = text[begin:] if begin else text
    if body.endswith(_END_OF_BLOCK):
        body = body.rstrip("\r\n\x1c")
    start = begin
    if "\n" not in body:
        for line in body.split("\r"):
            yield start, line
            start += len(line) + 1
        return
    at = 0
    for end in LINE_END.finditer(body):
        yield begin + at, body[at : end.start()]
        at = end.end()
    yield begin + at, body[at:]


def _opens(line: str, name: str, field: str) -> bool:
    return len(name) == 3 and name.isalnum() and name.isascii() and (len(line) == 3 or line[3] == field)


# Places to bytes ----------------------------------------------------------------------------------------------------


def byte_range(message: Message, place: Place) -> tuple[int, int]:
    """First byte and the byte after the last of what stands at `place` in `message.raw`.

    A place that does not exist in the message raises RuntimeError: places come from the message itself.
    """
    segment = message.segment_at(place)
    if segment is None:
        raise RuntimeError(f"no {place.segment} number {place.nth} in this message")
    start, end = _line_range(segment, place, message.sep)
    first = segment.start + start + _joined_extra(message.text, segment, start)
    last = segment.start + end + _joined_extra(message.text, segment, end)
    return message.lead + _byte_offset(message, first), message.lead + _byte_offset(message, last)


def _line_range(segment: Segment, place: Place, sep: Separators) -> tuple[int, int]:
    """The place inside the segment's line."""
    start, end = 0, len(segment.line)
    if not place.field:
        return start, end
    if segment.name in HEADERS:
        if place.field == 1:
            return min(3, end), min(4, end)
        start, end = _part(segment.line, start, end, sep.field, place.field)
        if place.field == 2:
            return start, end
    else:
        start, end = _part(segment.line, start, end, sep.field, place.field + 1)
    start, end = _part(segment.line, start, end, sep.rep, place.rep) if place.rep else (start, end)
    start, end = _part(segment.line, start, end, sep.comp, place.comp) if place.comp else (start, end)
    return _part(segment.line, start, end, sep.sub, place.sub) if place.sub else (start, end)


def _part(line: str, start: int, end: int, separator: str, number: int) -> tuple[int, int]:
    """The number-th part (from 1) of line[start:end]; an absent one is empty and at the end."""
    for _ in range(number - 1):
        cut = line.find(separator, start, end)
        if cut < 0:
            return end, end
        start = cut + 1
    cut = line.find(separator, start, end)
    return start, cut if cut >= 0 else end


def _joined_extra(text: str, segment: Segment, offset: int) -> int:
    """Characters that joining lines with one LF took away before `offset`: the LF of each CRLF, skipped blanks."""
    extra = 0
    for at in range(offset):
        if segment.line[at] == "\n":
            here = segment.start + at + extra
            while text[here] not in "\r\n":  # blank lines may have held blanks
                here, extra = here + 1, extra + 1
            extra += text.startswith("\r\n", here)
    return extra


def _byte_offset(message: Message, chars: int) -> int:
    """Bytes of `raw[lead:]` that make the first `chars` characters, for any codec, stateful ones too."""
    if len(message.text) == len(message.raw) - message.lead:
        return chars  # a byte each
    before = message.text[:chars]
    if message.charset == "utf_8" and "\ufffd" not in before:
        return len(before.encode("utf_8"))
    data, low, high = message.raw[message.lead :], 0, len(message.raw) - message.lead
    decoder = codecs.getincrementaldecoder(message.charset)
    while low < high:
        middle = (low + high) // 2
        if len(decoder("replace").decode(data[:middle])) < chars:
            low = middle + 1
        else:
            high = middle
    return low
