"""What the standard's own grammar says about a message: hl7apy's opinion, beside our tolerant reading.

Reports only: `chartbridge map lint` prints it, nothing is refused for it. hl7apy does not know every structure, loses Z
segments and misplaces an OBR behind an unexpected segment; where it cannot read a message that is one finding.

Source: hl7apy's tables of HL7 v2.1 to 2.8.2.
"""

import importlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hl7apy import SUPPORTED_LIBRARIES, parser, validation
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import HL7apyException

from mappings.hl7v2 import message
from mappings.hl7v2.errors import UnreadableMessage
from mappings.hl7v2.structure import structure_of

_VALUE = re.compile(r"Value .* not in table")  # what it quotes of the message


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
    text = "\r".join(segment.line.replace("\n", " ") for segment in read.segments)
    if (structure := structure_of(read)) is not None and not read.msh.field(9).count(read.sep.comp) > 1:
        text = _with_structure(text, read, structure.structure)
    try:
        found = parser.parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=True)
        return (*_strangers(read, found), *_validate(found))
    except (HL7apyException, AttributeError, KeyError, IndexError, TypeError, ValueError) as exc:
        return (Finding("error", f"hl7apy cannot read the message: {type(exc).__name__}"),)


def _with_structure(text: str, read: message.Message, structure: str) -> str:
    """MSH-9 without a structure tells hl7apy nothing of A08: the event that gives the structure its name does."""
    header, _, rest = text.partition("\r")
    fields = header.split(read.sep.field)
    event = structure.partition("_")[2]
    if len(fields) > 8 and event and structure.startswith(read.code):
        fields[8] = read.sep.comp.join([read.code, event])
    return f"{read.sep.field.join(fields)}\r{rest}"


def _strangers(read: message.Message, found: Any) -> list[Finding]:
    """Segments that the structure has nowhere, which hl7apy lets pass; Z segments are the site's."""
    reference = importlib.import_module(SUPPORTED_LIBRARIES[found.version]).MESSAGES.get(found.name)
    if reference is None:
        return []
    known = set(_names(reference))
    names = dict.fromkeys(segment.name for segment in read.segments)
    strange = [name for name in names if name not in known and name[:1] != "Z"]
    return [Finding("error", f"Unexpected segment {found.name}.{name}") for name in strange]


def _names(reference: Any) -> Iterator[str]:
    """The segments of a structure, in its groups too."""
    for name, child, _, kind in reference[1]:
        if kind == "SEG":
            yield name
        else:
            yield from _names(child)


def _validate(found: Any) -> list[Finding]:
    """hl7apy's validator. It writes its report into a file, so it gets one in memory: no message goes to a disk."""
    descriptor = os.memfd_create("hl7apy")
    try:
        validation.Validator.validate(found, report_file=os.dup(descriptor))
    except HL7apyException:
        pass  # the first error of the report, again
    with open(descriptor, encoding="utf-8", closefd=True) as report:
        report.seek(0)
        return [_finding(line) for line in report.read().splitlines() if line.strip()]


def _finding(line: str) -> Finding:
    severity, _, words = line.partition(": ")
    return Finding(severity.lower(), _VALUE.sub("a value is not in table", words))
