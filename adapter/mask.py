"""A message that may be shown without a reason: its shape, and none of its values.

Letters become `x`, digits `9`, in every field but those of MSH that say how to read it. What stays is what an interface
analyst needs to see a missing separator, an empty field or a date with too few digits. Of a document stay the names of
elements and attributes that CDA could have, and the values of those that say how to read others (`OPEN_ATTRIBUTES`).
Source: operations chapter §1.
"""

import re

from mappings.convert import is_document
from mappings.hl7v2.charset import decode

# of MSH: separators, sending and receiving application and facility, type, processing id, version, ACK modes, charset
OPEN_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 9, 11, 12, 15, 16, 18})
OPEN_ATTRIBUTES = frozenset({
    "classCode", "moodCode", "typeCode", "nullFlavor", "negationInd", "xsi:type", "version", "encoding",
})  # fmt: skip
_NAMES = re.compile(r"(?:[a-z][a-z0-9]{0,9}:)?(?:[a-z][A-Za-z0-9]{0,40}|ID|ClinicalDocument)")
_VALUES = re.compile(r"[A-Za-z0-9.:_-]{1,10}")
_TAG = re.compile(r"(<[/?]?)([^\s<>/?=\"']*)([^<>]*)(>?)")
_ATTRIBUTE = re.compile(r"(?<![^\s\"'])([^\s=<>\"']+)(\s*=\s*)(\"[^\"<>]*\"|'[^'<>]*')")
_LINE_END = re.compile(r"([\r\n]+)")
_LETTER = re.compile(r"[^\W\d_]")
_DIGIT = re.compile(r"\d")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{2}(?![A-Za-z0-9])")


def masked(data: bytes) -> str:
    """The message as text with CR line ends, its values masked. Bytes that are no message are masked whole."""
    if is_document(data):
        return _document(shown(data))
    text = decode(data).text
    return "".join(part if _LINE_END.fullmatch(part) else _line(part) for part in _LINE_END.split(text))


def shown(data: bytes) -> str:
    """Bytes as text for a person: those of a document in two bytes a character, too."""
    wide = is_document(data) and b"\0" in data[:4]
    codec = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    return data.decode(codec if wide or data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")


def _document(text: str) -> str:
    """A document, tag by tag; what stands between and is no tag is masked."""
    found, end = [], 0
    for tag in _TAG.finditer(text):
        found += [_mask(text[end : tag.start()]), tag[1], _name(tag[2]), _attributes(tag[3]), tag[4]]
        end = tag.end()
    return "".join([*found, _mask(text[end:])])


def _attributes(text: str) -> str:
    found, end = [], 0
    for one in _ATTRIBUTE.finditer(text):
        value = one[3] if one[1] in OPEN_ATTRIBUTES and _VALUES.fullmatch(one[3][1:-1]) else _mask(one[3])
        found += [_mask(text[end : one.start()]), _name(one[1]), one[2], value]
        end = one.end()
    return "".join([*found, _mask(text[end:])])


def _name(text: str) -> str:
    return text if _NAMES.fullmatch(text) else _mask(text)


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
