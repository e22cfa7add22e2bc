"""Acknowledgements: what is refused and why, and the bytes of the answer.

An ACK holds what its sender needs to match it and nothing else of the message: MSA-2 is MSH-10 byte for byte, MSH-3 to
MSH-6 are swapped, MSH-11, MSH-12 and MSH-18 echoed, separators and character set are the sender's. Whether an answer is
due at all is `wanted`; framing is the edge's.
Source: HL7 v2.9 chapter 2, §2.9 (acknowledgment modes) and §2.14 (ACK, ERR, MSA), table 0357; hl7v2 chapter §11.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final, Literal

from mappings.hl7v2.message import NONE, Header

Mode = Literal["auto", "original", "enhanced"]
ACCEPT, REJECT, ERROR = "A", "R", "E"  # the second letter of MSA-1
APPLICATION = "CHARTBRIDGE"

# Message codes that ask for data (table 0076); the FHIR API answers questions.
QUERIES: Final = frozenset({"QRY", "QBP", "QSB", "QSX", "QVR", "QCN", "EQQ", "SPQ", "VQQ", "VXQ", "OSQ", "SQM", "RQQ"})

# Table 0357, Message error condition codes.
CONDITIONS: Final = {
    "100": "Segment sequence error",
    "101": "Required field missing",
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
        Reason(REJECT, "200", ("", 0), "batch", "send the messages of a batch one by one"),
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


@dataclass(frozen=True, slots=True)
class Answer:
    """What MSA and ERR will say. Code, control id (ours) and time are kept, so that a duplicate hears the same."""

    code: str
    control_id: str
    time: str
    reason: Reason | None = None
    fingerprint: str = ""

    @property
    def stored(self) -> str:
        return f"{self.code} {self.control_id} {self.time}"

    @classmethod
    def from_stored(cls, text: str) -> "Answer":
        code, control_id, time = text.split(" ")
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


def wanted(header: Header | None, code: str) -> bool:
    """Whether the sender wants this answer: in enhanced mode MSH-15 decides, blank is AL."""
    if header is None or code[0] == "A":
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


def render(header: Header | None, answer: Answer) -> bytes:
    """The ACK message. Without a readable header it goes out in ASCII with the usual separators."""
    if header is None:
        return _without_header(answer)
    f = header.separators.field
    field = header.field
    tail = f"{f * 6}{field(18)}" if field(18) else ""
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
    parts = version.split(".")
    return parts[0] == "2" and all(part.isascii() and part.isdigit() for part in parts)


def _version(header: Header) -> tuple[int, ...]:
    """MSH-12 for comparing; what is no version of 2.x is answered as 2.5."""
    version = header.version
    if not _is_version_2(version):
        return (2, 5)
    parts = tuple(int(part[:4]) for part in version.split("."))
    return parts if len(parts) > 1 else (2, 5)
