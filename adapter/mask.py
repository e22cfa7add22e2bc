"""A message that may be shown without a reason: its shape, and none of its values.

Letters become `x`, digits `9`, in every field but those of MSH that say how to read it. What stays is what an interface
analyst needs to see a missing separator, an empty field or a date with too few digits. Source: operations chapter §1.
"""

import re

from mappings.hl7v2.charset import decode

# of MSH: separators, sending and receiving application and facility, type, processing id, version, ACK modes, charset
OPEN_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 9, 11, 12, 15, 16, 18})
_LINE_END = re.compile(r"([\r\n]+)")
_LETTER = re.compile(r"[^\W\d_]")
_DIGIT = re.compile(r"\d")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{2}(?![A-Za-z0-9])")


def masked(data: bytes) -> str:
    """The message as text with CR line ends, its values masked. Bytes that are no message are masked whole."""
    text = decode(data).text
    return "".join(part if _LINE_END.fullmatch(part) else _line(part) for part in _LINE_END.split(text))


def _line(line: str) -> str:
    if not _NAME.match(line):
        return _mask(line)
    if line[:3].upper() != "MSH" or len(line) < 4:
        return line[:3] + _mask(line[3:])
    separator = line[3]
    fields = line.split(separator)  # the first is the name, the next MSH-2
    return separator.join(field if n == 0 or n + 1 in OPEN_FIELDS else _mask(field) for n, field in enumerate(fields))


def _mask(text: str) -> str:
    return _DIGIT.sub("9", _LETTER.sub("x", text))
