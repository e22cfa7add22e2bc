"""Acknowledgements: what is refused and why, and the bytes of the answer.

An ACK holds what its sender needs to match it and nothing else of the message: MSA-2 is MSH-10 byte for byte, MSH-3 to
MSH-6 are swapped, MSH-11, MSH-12 and MSH-18 echoed, separators and character set are the sender's. Whether an answer is
due at all is `wanted`; framing is the edge's.

There are two kinds. The first says that a message is durable, or why not: at once, AA in the original mode, CA in the
enhanced. The application's says what became of it (`outcome`): in the enhanced mode where MSH-16 asks for it, in the
original mode in the place of the first where the profile says `ack.after = "mapped"`. It has a control id of its own.
Source: HL7 v2.9 chapter 2, §2.9 (acknowledgment modes) and §2.14 (ACK, ERR, MSA), table 0357; hl7v2 chapter §11.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Final, Literal

from mappings.hl7v2.header import QUERIES
from mappings.hl7v2.message import NONE, Header

Mode = Literal["auto", "original", "enhanced"]
ACCEPT, REJECT, ERROR = "A", "R", "E"  # the second letter of MSA-1
ALWAYS, NEVER, ON_ERROR, ON_SUCCESS = "AL", "NE", "ER", "SU"  # table 0155
APPLICATION = "CHARTBRIDGE"

# What the quarantine says in the words of table 0357; all else is 207.
APPLICATION_CONDITIONS: Final = {
    "no-header": "100",
    "no-type": "101",
    "unprocessable": "102",
    "owner-unknown": "102",
    "invalid-resource": "102",
    "bad-value": "102",
    "not-a-date": "102",
    "vocab-miss": "103",
}
TAKEN: Final = frozenset({"mapped", "filtered"})
WAITS: Final = {
    "quarantined": "the message is kept and could not be processed, a person will look at it",
    "held": "the message is kept, one before it waits for a person",
    "discarded": "a person took the message out",
}
DOCUMENT_BYTES = 20_000_000  # of one CDA document, unless the profile says otherwise
_LONGEST_VERSION = 16  # characters of MSH-12.1 worth remembering
_PLACE = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[[0-9]+\])?(?:-([0-9]{1,4}))?")

# Table 0357, Message error condition codes.
CONDITIONS: Final = {
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "207": "Application internal error",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a message is not accepted. `place` is (segment, field), field 0 the whole segment, "" no place."""

    letter: str
    condition: str
    place: tuple[str, int]
    issue: str
    text: str


REASONS: Final = {
    reason.issue: reason
    for reason in (
        Reason(REJECT, "100", ("MSH", 0), "no-header", "no readable MSH segment"),
        Reason(REJECT, "101", ("MSH", 9), "no-type", "the message type is missing"),
        Reason(REJECT, "200", ("MSH", 9), "query", "queries are answered by the FHIR API"),
        Reason(REJECT, "100", ("", 0), "batch", "the batch holds no message"),
        Reason(REJECT, "201", ("MSH", 9), "unsupported-structure", "this listener does not take this structure"),
        Reason(REJECT, "202", ("MSH", 11), "processing-id", "this listener does not take this processing id"),
        Reason(REJECT, "203", ("MSH", 12), "version-id", "this listener takes versions 2.x"),
        Reason(REJECT, "207", ("", 0), "over-limit", "the message is over a limit of this listener"),
        Reason(ERROR, "207", ("", 0), "journal-unavailable", "the message could not be kept, send it again"),
    )
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What the profile says about receipt. `accepts` is its `match`, `kept` whether a structure has no map."""

    accepts: Callable[[Header], bool] = lambda header: True
    kept: Callable[[Header], bool] = lambda header: False
    mode: Mode = "auto"
    unsupported: Literal["accept", "reject"] = "accept"
    processing: frozenset[str] = frozenset({"P"})
    zone: tzinfo = UTC
    document_bytes: int = DOCUMENT_BYTES
    after: Literal["durable", "mapped"] = "durable"
    reply_to: str = ""  # where application acknowledgements go; "" is the connection that the message came on


@dataclass(frozen=True, slots=True)
class Answer:
    """What MSA and ERR will say. Code, control id (ours) and time are kept, so that a duplicate hears the same.

    `accept` is MSH-15 of an answer that is itself to be acknowledged.
    """

    code: str
    control_id: str
    time: str
    reason: Reason | None = None
    fingerprint: str = ""
    accept: str = ""

    @property
    def stored(self) -> str:
        return f"{self.code} {self.control_id} {self.time}"

    @classmethod
    def from_stored(cls, text: str) -> "Answer":
        """What the journal keeps; a fourth word is the application answer that is due."""
        code, control_id, time, *_ = text.split(" ")
        return cls(code, control_id, time)


def judge(header: Header | None, data: bytes, rules: Rules) -> Reason | None:
    """Why this message cannot be accepted; None if it can. Bad values are no reason: they are mapped with an issue."""
    if header is None:
        return REASONS["batch" if data.lstrip()[:3] in (b"FHS", b"BHS") else "no-header"]
    code = header.message_code
    if not code:
        return REASONS["no-type"]
    if not _is_version_2(header.version):
        return REASONS["version-id"]
    if code in QUERIES:
        return REASONS["query"]
    if header.processing_id not in rules.processing:
        return REASONS["processing-id"]
    if rules.unsupported == "reject" and rules.kept(header):
        return REASONS["unsupported-structure"]
    return None


def is_enhanced(header: Header | None, rules: Rules) -> bool:
    """Enhanced mode where the sender asks for it (MSH-15 or MSH-16 valued), unless the profile fixes the mode."""
    if rules.mode != "auto":
        return rules.mode == "enhanced"
    return header is not None and header.enhanced


def code_for(header: Header | None, letter: str, rules: Rules) -> str:
    """MSA-1: AA AR AE, or the commit codes CA CR CE."""
    return ("C" if is_enhanced(header, rules) else "A") + letter


def is_acknowledgement(header: Header) -> bool:
    """Whether a message is itself an answer: a general acknowledgement."""
    return header.message_code == "ACK"


def wanted(header: Header | None, code: str) -> bool:
    """Whether the sender wants this answer: in enhanced mode MSH-15 decides, blank is AL.

    What is an acknowledgement itself is not answered, or two systems would thank each other for ever: only where its
    own MSH-15 asks for receipt to be confirmed, which nobody says of a confirmation.
    """
    if header is None:
        return True
    if is_acknowledgement(header) and (code[0] == "A" or not header.accept_ack):
        return False
    if code[0] == "A":
        return True
    match header.accept_ack:
        case "NE":
            return False
        case "ER":
            return code[1] != ACCEPT
        case "SU":
            return code[1] == ACCEPT
        case _:
            return True


def application_due(header: Header, rules: Rules) -> str:
    """When the sender is to hear what became of this message: AL, ER, SU; NE for never."""
    if is_acknowledgement(header):
        return NEVER
    if not is_enhanced(header, rules):
        return ALWAYS if rules.after == "mapped" else NEVER
    asked = header.application_ack
    return asked if asked in (ALWAYS, ON_ERROR, ON_SUCCESS) else NEVER


def is_due(due: str, code: str) -> bool:
    """Whether an application answer with this code is one that was asked for."""
    return due == ALWAYS or due == (ON_SUCCESS if code[1] == ACCEPT else ON_ERROR)


def timestamp(at: datetime, zone: tzinfo) -> str:
    """MSH-7 of an ACK: seconds and offset."""
    return at.astimezone(zone).strftime("%Y%m%d%H%M%S%z")


def fingerprint(feed: str, stage: str, issue: str, place: str, row: str = "") -> str:
    """What groups equal errors; `place` without ordinals. Holds no data (hl7v2 chapter §13)."""
    return hashlib.sha256("\x1f".join((feed, stage, issue, place, row)).encode()).hexdigest()[:12]


def refusal(feed: str, code: str, control_id: str, time: str, reason: Reason) -> Answer:
    segment, field = reason.place
    place = f"{segment}-{field}" if field else segment
    return Answer(code, control_id, time, reason, fingerprint(feed, "receive", reason.issue, place))


def outcome(feed: str, became: str, issue: str, place: str, control_id: str, time: str, group: str) -> Answer:
    """The application's answer: AA for what took effect or was filtered out, AE for what waits for a person.

    `issue` and `place` are what the quarantine keeps, `group` its fingerprint.
    """
    if became in TAKEN:
        return Answer("AA", control_id, time)
    where = _PLACE.match(place)
    at = (where[1], int(where[2] or 0)) if where else ("", 0)
    reason = Reason(ERROR, APPLICATION_CONDITIONS.get(issue, "207"), at, issue or became, WAITS[became])
    return Answer("AE", control_id, time, reason, group)


def render(header: Header | None, answer: Answer) -> bytes:
    """The ACK message. Without a readable header it goes out in ASCII with the usual separators."""
    if header is None:
        return _without_header(answer)
    f = header.separators.field
    field = header.field
    asks = f"{f * 3}{answer.accept}{f}{NEVER}" if answer.accept else ""
    tail = f"{asks or f * 4}{f * 2}{field(18)}" if field(18) else asks
    head = (
        f"MSH{f}{field(2)}{f}{field(5)}{f}{field(6)}{f}{field(3)}{f}{field(4)}{f}{answer.time}{f}{f}{_type(header)}"
        f"{f}{answer.control_id}{f}{field(11)}{f}{field(12)}{tail}\rMSA{f}{answer.code}{f}"
    )
    rest = "\r" if answer.reason is None else _explanation(header, answer, answer.reason)
    return _encode(head, header.encoding) + header.control_id + _encode(rest, header.encoding)


def _encode(text: str, encoding: str) -> bytes:
    # "replace": a header that lies about its character set still gets its answer
    return text.encode("ascii" if text.isascii() and not encoding.startswith("utf_") else encoding, "replace")


def _type(header: Header) -> str:
    """MSH-9 of the ACK: three components from 2.3.1, the event up to 2.3, the bare type in 2.1."""
    c, version, trigger = header.separators.comp, _version(header), header.trigger
    if version < (2, 2) or not trigger:
        return "ACK"
    return f"ACK{c}{trigger}" if version < (2, 3, 1) else f"ACK{c}{trigger}{c}ACK"


def _explanation(header: Header, answer: Answer, reason: Reason) -> str:
    """What follows MSA-2: MSA-3 below 2.7, and ERR in the form of the version."""
    f, version = header.separators.field, _version(header)
    phrase = _plain(reason.text, header)
    msa_3 = f"{f}{phrase}" if version < (2, 7) else ""
    err = _err_before_2_5(header, reason) if version < (2, 5) else _err(header, answer, reason)
    return f"{msa_3}\rERR{f}{err}\r"


def _err(header: Header, answer: Answer, reason: Reason) -> str:
    """ERR-2 to ERR-8: place, condition, severity, our issue code, fingerprint, text."""
    f, c = header.separators.field, header.separators.comp
    condition = f"{reason.condition}{c}{_plain(CONDITIONS[reason.condition], header)}{c}HL70357"
    issue, text = _plain(reason.issue, header), _plain(reason.text, header)
    return f"{f}{_location(reason, c)}{f}{condition}{f}E{f}{issue}{f}{f}{answer.fingerprint}{f}{text}"


def _err_before_2_5(header: Header, reason: Reason) -> str:
    """ERR-1: segment ^ sequence ^ field ^ condition, its parts subcomponents where the sender has such a separator."""
    c, s = header.separators.comp, header.separators.sub
    segment, field = reason.place
    text = _plain(CONDITIONS[reason.condition], header)
    condition = reason.condition if s == NONE else f"{reason.condition}{s}{text}{s}HL70357"
    return c.join((segment, "1" if segment else "", str(field) if field else "", condition))


def _location(reason: Reason, c: str) -> str:
    segment, field = reason.place
    if not segment:
        return ""
    return c.join((segment, "1", str(field), "1") if field else (segment, "1"))


def _plain(text: str, header: Header) -> str:
    """One of our phrases, free of the sender's separators, whatever they are."""
    sep = header.separators
    return "".join(" " if char in (sep.field, sep.comp, sep.rep, sep.esc, sep.sub) else char for char in text)


def _without_header(answer: Answer) -> bytes:
    text = f"MSH|^~\\&|{APPLICATION}||||{answer.time}||ACK|{answer.control_id}|P|2.5.1\rMSA|{answer.code}|\r"
    if (reason := answer.reason) is not None:
        condition = f"{reason.condition}^{CONDITIONS[reason.condition]}^HL70357"
        where = _location(reason, "^")
        text = (
            text[:-1]
            + f"|{reason.text}\rERR||{where}|{condition}|E|{reason.issue}||{answer.fingerprint}|{reason.text}\r"
        )
    return text.encode("ascii")


def _is_version_2(version: str) -> bool:
    """2, 2.x or 2.x.y, in digits."""
    return _numbers(version) is not None


def _numbers(version: str) -> tuple[int, ...] | None:
    """Its parts; None for what is no version of 2.x. A feed sends the same one all day."""
    return (_known_numbers if len(version) <= _LONGEST_VERSION else _known_numbers.__wrapped__)(version)


@lru_cache(maxsize=64)
def _known_numbers(version: str) -> tuple[int, ...] | None:
    parts = version.split(".")
    if parts[0] != "2" or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    return tuple(int(part[:4]) for part in parts)


def _version(header: Header) -> tuple[int, ...]:
    """MSH-12 for comparing; what is no version of 2.x is answered as 2.5."""
    numbers = _numbers(header.version)
    return numbers if numbers is not None and len(numbers) > 1 else (2, 5)
