"""What the standard's own grammar says about a message: hl7apy's opinion, beside our tolerant reading.

Reports only: `chartbridge map lint` prints it, nothing is refused for it. hl7apy does not know every structure, loses Z
segments and misplaces an OBR behind an unexpected segment; where it cannot read a message that is one finding. It is
asked in a version before the message's own where it lacks that one, under the event's structure where MSH-9.3 is none:
a finding each.

Source: hl7apy's tables of HL7 v2.1 to 2.8.2.
"""

import importlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hl7apy import SUPPORTED_LIBRARIES, get_default_version, parser, validation
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.core import Message
from hl7apy.exceptions import HL7apyException

from mappings.hl7v2 import message
from mappings.hl7v2.errors import UnreadableMessage
from mappings.hl7v2.structure import structure_of

_VERSION = re.compile(r"2\.\d(\.\d)?")
_SITES = re.compile(r"Z[A-Z0-9]{2}_Z[A-Z0-9]{2}")
# hl7apy's words: what they quote of the message is left out, and what it has no name for is said
_WORDS = (
    (re.compile(r"Value .* not in table"), r"a value is not in table"),
    (re.compile(r"Invalid children detected for <Segment (\w+)>: \[.*\bNone\b.*\]"), r"Unexpected field in \1"),
    (
        re.compile(r"Invalid children detected for <\w+ (\w+) .*of type (\w+)>: \[.*\bNone\b.*\]"),
        r"Unexpected component in \1 of type \2",
    ),
    (re.compile(r"Datatype None is not correct for (\S+) .*"), r"Unexpected component in \1"),
    (re.compile(r" \(it must be None\)"), r""),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One deviation; `text` is hl7apy's, of names and places, with what it quotes of the message left out."""

    severity: str  # error or warning
    text: str


def lint(data: bytes, *, charset: str | None = None) -> tuple[Finding, ...]:
    """The findings on one message."""
    try:
        read = message.parse(data, charset=charset)
    except UnreadableMessage as exc:
        return (Finding("error", str(exc)),)
    if not (version := _version(read.version)):
        return (Finding("error", "hl7apy cannot read the message: UnsupportedVersion"),)
    if not (structure := _structure(read, version)):
        return (Finding("error", f"hl7apy has no structure of {version} for the message"),)
    try:
        found = _parsed(read, version, structure)
        return (*_held_against(read, version, structure), *_strangers(read, found), *_validate(found))
    except (HL7apyException, AttributeError, KeyError, IndexError, TypeError, ValueError) as exc:
        return (Finding("error", f"hl7apy cannot read the message: {type(exc).__name__}"),)


def _version(said: str) -> str:
    """The version said, else the newest before it that hl7apy has; "" where there is none."""
    if not said:
        return str(get_default_version())
    known = [each for each in SUPPORTED_LIBRARIES if each <= said] if _VERSION.fullmatch(said) else []
    return max(known, default="")


def _structure(read: message.Message, version: str) -> str:
    """What MSH-9.3 says, else our own table, else MSH-9.1 and .2 together: the first that the version has, or "". A
    site's own structure is as it is.
    """
    row = structure_of(read)
    asked = (_told(read), row.structure if row is not None else "", f"{read.code}_{read.event}")
    known = _library(version).MESSAGES
    return next((each for each in asked if each in known or _SITES.fullmatch(each)), "")


def _told(read: message.Message) -> str:
    return read.component(9, 3).upper()


def _library(version: str) -> Any:
    return importlib.import_module(SUPPORTED_LIBRARIES[version])


def _held_against(read: message.Message, version: str, structure: str) -> Iterator[Finding]:
    """What another standard than the message names was asked in its place."""
    if read.version not in ("", version):
        yield Finding("warning", f"hl7apy has no {read.version}: held against {version}")
    if _told(read) not in ("", structure):
        yield Finding("error", f"MSH-9.3 is no structure of {version}: held against {structure}")


def _parsed(read: message.Message, version: str, structure: str) -> Any:
    """hl7apy's tree of the message under that structure, whatever its header says."""
    text = "\r".join(segment.line.replace("\n", " ") for segment in read.segments)
    separators, _, _ = parser.get_message_info(text)
    level = VALIDATION_LEVEL.TOLERANT
    found = Message(structure, version=version, validation_level=level, encoding_chars=separators)
    found.children = parser.parse_segments(text, version, separators, level, found.reference, True)
    return found


def _strangers(read: message.Message, found: Any) -> list[Finding]:
    """Segments that the structure has nowhere, which hl7apy lets pass; Z segments are the site's."""
    reference = _library(found.version).MESSAGES.get(found.name)
    if reference is None:
        return []
    known = set(segment_names(reference))
    names = dict.fromkeys(segment.name for segment in read.segments)
    strange = [name for name in names if name not in known and name[:1] != "Z"]
    return [Finding("error", f"Unexpected segment {found.name}.{name}") for name in strange]


def segment_names(reference: Any) -> Iterator[str]:
    """The segments of a structure as hl7apy describes it, in its groups too."""
    for name, child, _, kind in reference[1]:
        if kind == "SEG":
            yield name
        else:
            yield from segment_names(child)


def _validate(found: Any) -> list[Finding]:
    """hl7apy's validator. It writes its report into a file, so it gets one in memory: no message goes to a disk."""
    descriptor = os.memfd_create("hl7apy")
    try:
        validation.Validator.validate(found, report_file=os.dup(descriptor))
    except HL7apyException:
        pass  # the first error of the report, again
    with open(descriptor, encoding="utf-8", closefd=True) as report:
        report.seek(0)
        return [_finding(line) for line in report.read().split("\n") if line.strip()]


def _finding(line: str) -> Finding:
    severity, _, words = line.partition(": ")
    for hl7apy_s, ours in _WORDS:
        words = hl7apy_s.sub(ours, words)
    return Finding(severity.lower(), words)
